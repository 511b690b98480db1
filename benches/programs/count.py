"""A loop of few instructions: what one counted hit adds to an iteration."""

from timing import best_of

N = 1_000_000


def work(n):
    x = 0
    for i in range(n):
        x = i  # @count
    return x


print(best_of(work, N) / N)
