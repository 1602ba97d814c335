"""A progress bar with the current losses."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(
    what: str, total: int, losses: Sequence[str], console: Console | None = None
) -> Iterator["Bar"]:
    """A rich progress bar with the time left and the current losses, within 80 columns.

    Args:
        what: one word.
        total: amount of work, in any unit.
        losses: columns of the module's history to show.
        console: stderr by default. Nothing is shown unless it is a terminal.
    """
    console = console or Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=15),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        TextColumn("{task.fields[words]}"),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        yield Bar(progress, what, total, losses)


class Bar:
    """A progress bar; see ``progress_bar``."""

    def __init__(self, progress: Progress, what: str, total: int, losses: Sequence[str]):
        self._progress, self._losses, self.total = progress, losses, total
        self._task = progress.add_task(what, total=total, words="")

    def show(self, completed: float, row: Mapping[str, float], note: str = "") -> None:
        """Update the bar.

        Args:
            completed: part of the total.
            row: of a history, with the losses.
            note: text before the losses.
        """
        losses = [f"{key} {row[key]:.3g}" for key in self._losses if key in row]
        words = "  ".join([note, *losses] if note else losses)
        self._progress.update(self._task, completed=completed, words=words)


class TrainingProgress(pl.Callback):
    """Moves a bar whose total is the minibatches of a training."""

    def __init__(self, bar: Bar):
        self._bar = bar

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        history = pl_module.history
        done = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        self._bar.show(done, history[-1] if history else {})
