"""Keep, free and run out of memory."""

import contextlib
import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
# in the errors of CUDA, torch's own allocator, C++, and oneDNN, which says no more than that
_SHORT = "out of memory", "t allocate memory", "not enough memory", "bad_alloc", "could not create"


def keep_freed_memory() -> bool:
    """Let the C library reuse the large blocks that one step frees for the next.

    By default it gives them back to the system, which then clears every page again: a tenth of a
    search's time. For commands, since it holds for the whole process; only glibc knows it.

    Returns:
        Whether it was understood.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 2**25) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's, NumPy's, or torch's on any device."""
    if isinstance(problem, MemoryError):
        return True
    return isinstance(problem, RuntimeError) and any(word in str(problem) for word in _SHORT)


def free_memory() -> None:
    """Give back what a failed attempt held, so that a smaller one has room.

    To be called outside of the ``except`` block: there the error still holds all its frames.
    """
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
