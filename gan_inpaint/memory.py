"""How this process gets its memory from the system, and whether it got it."""

import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


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


def ran_out(problem: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's, NumPy's, or torch's on any device."""
    if isinstance(problem, MemoryError):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc")
    return isinstance(problem, RuntimeError) and any(word in str(problem) for word in words)


def let_go(problem: BaseException) -> None:
    """Free what an error's frames hold, so that a smaller attempt has room."""
    import torch

    problem.__traceback__ = None
    gc.collect()
    torch.cuda.empty_cache()
