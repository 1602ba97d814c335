"""SIGINT and SIGTERM stop a command cleanly: finished work is kept."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gan_inpaint.runtime.streams import discard

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_deferring = 0  # depth of the open `defer_signals` blocks
_requested: int | None = None  # the signal that waits for their end


class Interrupted(BaseException):
    """A signal asked the command to stop.

    Not an ``Exception``, so that no handler swallows it.

    Attributes:
        signum: the signal.
        code: the exit code, as shells report it: 130 or 143.
        cure: how to continue, in words, if known.
    """

    cure = ""

    def __init__(self, signum: int):
        self.signum, self.code = signum, 128 + signum
        super().__init__(signal.Signals(signum).name)


def install_handlers() -> None:
    """Turn both signals into ``Interrupted`` from now on; only the main thread can."""
    if threading.current_thread() is threading.main_thread():
        for signum in _SIGNALS:
            signal.signal(signum, _handle)


@contextmanager
def handle_signals() -> Iterator[None]:
    """``install_handlers``, and restore the previous ones at the end of the block."""
    global _requested
    before = {signum: signal.getsignal(signum) for signum in _SIGNALS}
    _requested = None
    install_handlers()
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for signum, handler in before.items():
                signal.signal(signum, handler)


@contextmanager
def defer_signals() -> Iterator[None]:
    """Defer a first signal to the end of the block, or to ``raise_if_requested``.

    For critical writes. A second signal interrupts at once.
    """
    global _deferring
    _deferring += 1
    try:
        yield
    finally:
        _deferring -= 1
    if not _deferring:
        raise_if_requested()


@contextmanager
def broken_pipe_interrupts() -> Iterator[None]:
    """Turn a closed stdout (``| head``) into ``Interrupted``, as SIGPIPE is off in Python."""
    try:
        yield
    except BrokenPipeError as problem:
        discard(sys.stdout)
        raise Interrupted(getattr(signal, "SIGPIPE", signal.SIGTERM)) from problem


def stop_requested() -> bool:
    """Whether a signal is waiting."""
    return _requested is not None


def raise_if_requested() -> None:
    """Raise ``Interrupted`` if a signal is waiting."""
    if _requested is not None:
        raise Interrupted(_requested)


def _handle(signum: int, frame: Any) -> None:
    global _requested
    again, _requested = stop_requested(), signum
    if again or not _deferring:
        raise Interrupted(signum)
