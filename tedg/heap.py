"""How the C library's allocator treats memory that large tensors give back."""

from __future__ import annotations

import ctypes

# From malloc.h; the largest threshold that glibc takes for blocks which get a mapping of their own.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 << 20
_KEPT = 1 << 30  # bytes at the heap's end


def keep_freed_memory() -> None:
    """Have this process keep what it frees, up to blocks of 32 MiB, instead of giving it back to the system.

    A minibatch makes hundreds of tensors of a few megabytes. By itself glibc gives many back as soon as they
    are freed, and the system hands them out again page by page, each filled with zeros. Does nothing where
    there is another C library.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_TRIM_THRESHOLD, _KEPT)
