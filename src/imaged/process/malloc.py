"""Tuning of glibc's allocator. By default it maps and unmaps each large chunk of a body, which
costs more than receiving it; with these thresholds it reuses the memory.
"""

from __future__ import annotations

import ctypes
import platform

from imaged.core.limits import MIB

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def tune_malloc() -> None:
    """Set the thresholds. Call it once, before the first transfer; a no-op without glibc."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 32 * MIB)
    libc.mallopt(_M_TRIM_THRESHOLD, 256 * MIB)
