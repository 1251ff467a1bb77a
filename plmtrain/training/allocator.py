"""Keep glibc from returning the memory of large tensors to the kernel after every use.

By default it maps each block of more than a few megabytes anew and unmaps it when it is freed, so that in every training step
every page that is touched causes a page fault and is cleared by the kernel. Keeping the memory avoids that; the gain depends on
the machine. The cost is memory that other processes cannot use between two uses.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress

# mallopt's parameters, from <malloc.h>.
_TRIM_THRESHOLD = -1
_TOP_PAD = -2
_MMAP_MAX = -4

_NEVER = 2**31 - 1  # mallopt takes an int
_GROW_BY = 64 * 2**20


def release() -> None:
    """Return all freed memory to the kernel once, so that what is allocated next can be measured."""
    if sys.platform.startswith("linux"):
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)


def tune() -> bool:
    """Keep freed memory in this process from now on; call it before the first large tensor is created.

    Returns:
        Whether the C library accepted the settings; libraries other than glibc have none.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _GROW_BY))
    # Every setting is made, even if the one before failed.
    taken = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(taken)
