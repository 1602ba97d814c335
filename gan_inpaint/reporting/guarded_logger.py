"""Loggers that never end the work."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from pytorch_lightning.loggers import Logger

_logger = logging.getLogger("gan_inpaint")
T = TypeVar("T")


class GuardedLogger(Logger):
    """A logger whose first error becomes a warning, after which it takes everything in silence.

    A tracking server may stop, a disk may be full, a file may vanish: the work goes on, and the
    run's own files are complete.

    Args:
        key: of the logger in the config, for the warning.
        logger: does the logging.
    """

    def __init__(self, key: str, logger: Logger):
        super().__init__()
        self._key, self._inner, self._lost = key, logger, False

    def attempt(self, action: Callable[[Any], T], last: bool = False) -> T | None:
        """Call ``action`` with the logger; None after an error, now or before.

        Args:
            last: whether it ends the logger's run, which is tried after an error too.
        """
        if self._lost and not last:
            return None
        try:
            return action(self._inner)
        except Exception as problem:  # servers and disks raise many kinds of errors
            if self._lost:
                return None
            self._lost = True
            reason = " ".join(str(problem).split()) or type(problem).__name__
            _logger.warning("logger=%s: %s; nothing more is logged there", self._key, reason)
            return None

    @property
    def name(self) -> str | None:
        return self.attempt(lambda logger: logger.name)

    @property
    def version(self) -> int | str | None:
        return self.attempt(lambda logger: logger.version)

    @property
    def save_dir(self) -> str | None:
        return self.attempt(lambda logger: logger.save_dir)

    @property
    def experiment(self) -> Any:
        return self.attempt(lambda logger: getattr(logger, "experiment", None))

    def log_metrics(self, *args: Any, **kwargs: Any) -> None:
        self.attempt(lambda logger: logger.log_metrics(*args, **kwargs))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        self.attempt(lambda logger: logger.log_hyperparams(*args, **kwargs))

    def log_graph(self, *args: Any, **kwargs: Any) -> None:
        self.attempt(lambda logger: logger.log_graph(*args, **kwargs))

    def save(self) -> None:
        self.attempt(lambda logger: logger.save())

    def finalize(self, status: str) -> None:
        self.attempt(lambda logger: logger.finalize(status))


def attempt(logger: Logger, action: Callable[[Any], T]) -> T | None:
    """Call ``action`` with a logger, within its guard if it has one."""
    return logger.attempt(action) if isinstance(logger, GuardedLogger) else action(logger)
