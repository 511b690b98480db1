"""Give every process a memory layout of its own.

Where objects happen to lie can move a small program by several percent, for as long as the process
lives. Merely importing a module shifts the odds, so without this one arm may always draw the lucky
layout and another never. With it all arms draw from the same many.
"""

import os
import random

# Just above the size classes of the allocator.
SIZES = (1, 17, 33, 49, 65, 97, 129, 193, 257, 385)
MOST = 600
_kept = []


def scatter():
    """Allocate a random number of objects of many kinds and free a third of them."""
    chance = random.Random(os.urandom(8))

    def some():
        return range(chance.randrange(MOST))

    parts = [[bytes(size + chance.randrange(16)) for _ in some()] for size in SIZES]
    parts.append([chance.random() for _ in some()])
    parts.append([10**6 + number for number in some()])
    parts.append([[] for _ in some()])
    parts.append([{number: number} for number in some()])
    parts.append([(number,) for number in some()])
    chance.shuffle(parts)
    for part in parts:
        del part[::3]
    _kept.extend(parts)
