"""Keep glibc from giving large tensors' memory back to the kernel after every use.

By default it maps each block of more than a few megabytes afresh and unmaps it when it is freed, so that every training step
faults in, and has the kernel clear, every page that it touches. Holding on to the memory spares that; how much it
gains depends on the machine. The price is memory that other processes cannot have between two uses.
"""

from __future__ import annotations

import ctypes
import sys

# mallopt's parameters, from <malloc.h>.
_TRIM_THRESHOLD = -1
_TOP_PAD = -2
_MMAP_MAX = -4

_NEVER = 2**31 - 1  # an int is all that mallopt takes
_GROW_BY = 64 * 2**20


def tune() -> bool:
    """Hold on to freed memory in this process from now on; call it before the first large tensor is made.

    Returns:
        Whether the C library took the settings; other libraries than glibc have none to take.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _GROW_BY))
    # Every setting is made, whatever becomes of the one before.
    taken = [mallopt(parameter, value) == 1 for parameter, value in settings]
    return all(taken)
