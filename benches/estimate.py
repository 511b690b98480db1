"""From paired measurements to a value with an interval.

Pairs are compared, not arms: a round's arms run one after the other, so what slows the machine down
slows a pair down together. The value is the median over the pairs. Its interval comes from the
order of the values alone (the sign test turned round): the true median lies in it with a
probability of at least 95 %, whatever the noise looks like.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

DOUBT = 0.05


@dataclass(frozen=True)
class Estimate:
    """A value, and the interval in which the true one lies."""

    value: float
    low: float
    high: float

    def decides(self, bound: float) -> bool:
        """Tell whether the interval lies on one side of `bound`."""
        return self.high <= bound or self.low > bound


def median_of(values: Sequence[float]) -> Estimate:
    """Return the median of `values` and its interval; few values give all they have."""
    ordered = sorted(values)
    count = len(ordered)
    below = 0
    tail = 0.0
    # How many values may be cut off at either end before the doubt is too large.
    while True:
        tail += math.comb(count, below) / 2**count
        if 2 * tail > DOUBT or 2 * below >= count - 1:
            break
        below += 1
    cut = max(0, below - 1)
    return Estimate(statistics.median(ordered), ordered[cut], ordered[count - 1 - cut])


def paired(
    results: dict[str, list[float]], name: str, base: str, of: Callable[[float, float], float]
) -> Estimate:
    """Return the median of `of(arm, base)` over the rounds."""
    return median_of([of(*pair) for pair in zip(results[name], results[base], strict=True)])


def ratio(results: dict[str, list[float]], name: str, base: str = "plain") -> Estimate:
    """Return the median of `name` divided by `base` of the same round."""
    return paired(results, name, base, lambda value, plain: value / plain)


def difference(results: dict[str, list[float]], name: str, base: str = "plain") -> Estimate:
    """Return the median of `name` less `base` of the same round."""
    return paired(results, name, base, lambda value, plain: value - plain)
