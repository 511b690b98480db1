"""Method-heavy: attribute access, properties and methods of one small class."""

from timing import best_of

N = 120_000


class Account:
    __slots__ = ("balance", "entries")

    def __init__(self):
        self.balance = 0
        self.entries = 0

    @property
    def mean(self):
        if self.entries == 0:
            return 0  # @hot
        return self.balance // self.entries

    def add(self, amount):
        if amount < 0:
            raise ValueError(amount)  # @hot
        self.balance += amount
        self.entries += 1
        return self

    def never(self):
        self.balance = 0  # @cold


def work(n):
    account = Account().add(1)
    total = 0
    for i in range(n):
        account.add(i)
        total += account.mean
        if total < 0:
            total = 0  # @hot
    return total


if __name__ == "__main__":
    print(best_of(work, N))
