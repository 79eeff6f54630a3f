"""What the C library does with freed memory. Shell.

A call's request is built and sent in buffers as large as its rows (10 MB where 32 images are decoded), and
its frames were fetched in others. By default glibc gives such buffers back to the kernel when they are freed
and gets them anew for the next call, page by page: each costs a fault, and the kernel fills it with zeros.
"""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT_BYTES = 64 * 1024 * 1024
"""Freed memory at the end of each heap that is kept: three requests of 10 MB, and gRPC's copies of them."""
_FROM_HEAP_BYTES = 32 * 1024 * 1024
"""Smaller blocks come from the heap; glibc takes no higher threshold (DEFAULT_MMAP_THRESHOLD_MAX)."""
_VARIABLES = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
_TUNABLES = ("malloc.trim_threshold", "malloc.mmap_threshold")


def keep_freed_memory() -> bool:
    """Keep what is freed for the next call; whether it will be.

    Not where an operator has set glibc's own variables, nor with a C library that has no such thresholds.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if any(name in os.environ for name in _VARIABLES) or any(name in tunables for name in _TUNABLES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _FROM_HEAP_BYTES) and mallopt(_TRIM_THRESHOLD, _KEPT_BYTES))
