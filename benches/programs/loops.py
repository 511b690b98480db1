"""Loop-heavy: arithmetic in nested loops of one function, no calls."""

from timing import best_of

N = 900


def work(n):
    total = 0
    for i in range(n):
        for j in range(n):
            total += i ^ j
            if total < 0:
                total = 0  # @hot
            total &= 0xFFFFFF
        if i < 0:
            total -= 1  # @hot
    return total


def never(a):
    b = a * 2  # @cold
    return b


if __name__ == "__main__":
    print(best_of(work, N))
