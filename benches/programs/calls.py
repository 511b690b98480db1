"""Call-heavy: small functions calling small functions."""

from timing import best_of

N = 120_000


def leaf(a, b):
    if a < 0:
        return never(a)  # @hot
    return a + b


def middle(a):
    if a < -1:
        raise ValueError(a)  # @hot
    return leaf(a, 1) + leaf(a, 2)


def work(n):
    total = 0
    for i in range(n):
        total += middle(i)
        if total < 0:
            total = 0  # @hot
    return total


def never(a):
    b = a * 2  # @cold
    return b


if __name__ == "__main__":
    print(best_of(work, N))
