"""Standard streams that a command can always write to: a closed terminal spoils no work."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class _Stream:
    """A text stream that, once it cannot be written, takes everything and keeps nothing.

    Letters that its encoding lacks are written as escapes.

    Args:
        stream: of text; None: there is none (closed by a supervisor, ``pythonw``).
        pipe: whether a reader that has gone raises BrokenPipeError.
    """

    def __init__(self, stream: Any, pipe: bool):
        self._stream = _nowhere() if stream is None else stream
        self._pipe = pipe
        with suppress(AttributeError, ValueError):  # a stand-in may lack it
            self._stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, function: Any, *arguments: str) -> None:
        try:
            function(*arguments)
        except (OSError, ValueError) as problem:  # ValueError: somebody has closed it
            if isinstance(problem, BrokenPipeError) and self._pipe:
                raise
            discard(self._stream)
            if isinstance(problem, ValueError):
                self._stream = _nowhere()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _nowhere() -> Any:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123


def discard(stream: Any) -> None:
    """Send what is left of a stream to nowhere; Python would fail to write it at exit."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Replace ``sys.stdout`` and ``sys.stderr`` for the duration of the block."""
    for descriptor in range(3):  # else the next file that is opened would take its number
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    out, err = _Stream(sys.stdout, pipe=True), _Stream(sys.stderr, pipe=False)
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        with suppress(BrokenPipeError):
            out.flush()
        err.flush()
        sys.stdout, sys.stderr = before
