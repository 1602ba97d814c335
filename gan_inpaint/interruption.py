"""SIGINT and SIGTERM end a command politely: what is done is kept, and said."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_held = 0  # depth of the `held` blocks that are open
_asked: int | None = None  # the signal that waits for their end


class Interrupted(BaseException):
    """The command was told to stop; not an Exception, so that nothing on its way swallows it.

    Attributes:
        signum: of the signal.
        code: what the process exits with, as a shell would report it: 130 or 143.
        cure: how to go on, in words, if it is known.
    """

    cure = ""

    def __init__(self, signum: int):
        self.signum, self.code = signum, 128 + signum
        super().__init__(signal.Signals(signum).name)


def listen() -> None:
    """Turn both signals into ``Interrupted`` from now on; only a process's main thread can."""
    if threading.current_thread() is threading.main_thread():
        for signum in _SIGNALS:
            signal.signal(signum, _handle)


@contextmanager
def listening() -> Iterator[None]:
    """``listen``, and give the signals back at the end of the block."""
    global _asked
    before = {signum: signal.getsignal(signum) for signum in _SIGNALS}
    _asked = None
    listen()
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for signum, handler in before.items():
                signal.signal(signum, handler)


@contextmanager
def held() -> Iterator[None]:
    """A block that a first signal must not cut in two: it takes effect at its end, or at ``check``.

    A second signal does cut it.
    """
    global _held
    _held += 1
    try:
        yield
    finally:
        _held -= 1
    if not _held:
        check()


def asked() -> bool:
    """Whether a signal is waiting."""
    return _asked is not None


def check() -> None:
    """Raise ``Interrupted`` if a signal is waiting."""
    if _asked is not None:
        raise Interrupted(_asked)


def _handle(signum: int, frame: Any) -> None:
    global _asked
    again, _asked = asked(), signum
    if again or not _held:
        raise Interrupted(signum)
