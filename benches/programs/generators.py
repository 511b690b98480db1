"""Generator-heavy: a chain of generators, each resumed for every item."""

from timing import best_of

N = 150_000


def numbers(n):
    for i in range(n):
        if i < 0:
            return  # @hot
        yield i


def doubled(items):
    for item in items:
        if item < 0:
            item = 0  # @hot
        yield item * 2


def work(n):
    total = 0
    for item in doubled(numbers(n)):
        total += item
        if total < 0:
            total = 0  # @hot
    return total


def never(a):
    b = a * 2  # @cold
    yield b


if __name__ == "__main__":
    print(best_of(work, N))
