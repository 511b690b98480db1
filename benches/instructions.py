"""How many instructions a part of a program takes, where Valgrind is there to count them.

On a machine that others share, times of one import differ by a fifth from run to run, so they
cannot decide a bound of 1.0. What a program executes differs by half a percent, with the addresses
and the order of what is collected. What the kernel does for it is not counted, and hashing counts
for more than it takes: Valgrind has not the widest vector instructions of the processor.
"""

from __future__ import annotations

import re
import shutil

from arms import Arm, BenchError, said_by

COUNTER = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
COUNTED = re.compile(r"^==\d+== I +refs: +([\d,]+)$", re.MULTILINE)


def can_count() -> bool:
    """Tell whether there is a Valgrind."""
    return shutil.which(COUNTER[0]) is not None


def counted(arm: Arm, turn: int) -> int:
    """Return how many instructions all processes of an arm execute in a round, start to end."""
    command = [*COUNTER, "--trace-children=yes", *arm.command]
    counts = COUNTED.findall(said_by(command, arm.variables, turn).stderr)
    if not counts:
        raise BenchError(f"{' '.join(command)}: no instructions were counted")
    return sum(int(count.replace(",", "")) for count in counts)
