"""The most memory that this process ever held."""

import sys


def megabytes():
    """Return the peak of the resident size.

    Not `ru_maxrss` where there is another way: on Linux that is at least what the process held that
    started this one.
    """
    try:
        with open("/proc/self/status") as status:
            return next(int(row.split()[1]) / 1024 for row in status if row.startswith("VmHWM"))
    except OSError:
        import resource

        unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
