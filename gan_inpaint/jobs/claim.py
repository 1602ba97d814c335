"""A directory belongs to one running command: a lock file in it says so."""

import errno
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from gan_inpaint.errors import InputError

LOCK = ".lock"
_logger = logging.getLogger("gan_inpaint")
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)


@contextmanager
def claim(directory: Path, cure: str) -> Iterator[None]:
    """Keep other commands out of a directory for the duration of the block.

    A killed process leaves the file, but the system frees its lock. Where a file system has no
    locks, a warning says so, and the command goes on.

    Args:
        directory: it is made if it does not exist.
        cure: what to do instead, in words.

    Raises:
        InputError: another command runs there.
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / LOCK
    lock = FileLock(file, thread_local=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where the existence of the file is the lock
            lock.acquire(blocking=False)
    except Timeout:
        raise InputError(
            f"{directory}: another command is running there; wait until it ends, or {cure}"
        ) from None
    except OSError as problem:
        if problem.errno not in _NO_LOCKS:
            raise
        _logger.warning(
            "%s: its file system has no locks; start only one command there at a time", directory
        )
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # while it is locked: who has just opened the file notices
                file.unlink(missing_ok=True)
            with suppress(OSError):
                lock.release()
