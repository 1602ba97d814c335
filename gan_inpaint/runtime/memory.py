"""Keep and free memory; recognise errors that say it ran out.

The retries with half the batch are in ``cli.train`` and ``inversion.lightning_module``.
"""

import contextlib
import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
# parts of the errors of CUDA, torch's allocator, C++, and oneDNN
_SHORT = "out of memory", "t allocate memory", "not enough memory", "bad_alloc", "could not create"


def keep_freed_memory() -> bool:
    """Let glibc reuse large freed blocks instead of returning them to the system.

    Returned pages must be cleared again, which costs a tenth of a search's time. The setting
    affects the whole process, so only commands use it.

    Returns:
        Whether the C library supports it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 2**25) and mallopt(_TRIM_THRESHOLD, 2**31 - 1))


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether an error of Python, NumPy or torch (on any device) says that memory ran out."""
    if isinstance(problem, MemoryError):
        return True
    return isinstance(problem, RuntimeError) and any(word in str(problem) for word in _SHORT)


def free_memory() -> None:
    """Free the memory of a failed attempt, so that a smaller one has room.

    Call it outside of the ``except`` block, where the error still holds all its frames.
    """
    import torch

    gc.collect()
    torch.cuda.empty_cache()
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
