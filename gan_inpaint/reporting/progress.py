"""A progress bar with the current losses."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress_bar(
    what: str, total: int, losses: Sequence[str], console: Console | None = None
) -> Iterator["Bar"]:
    """A rich bar with the time left and the current losses; it fits into 80 columns.

    Args:
        what: one word.
        total: amount of work, in any unit.
        losses: which columns of the module's history to show.
        console: where; stderr if not given. Silent when that is not a terminal.
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


class Bar(pl.Callback):
    """Moves a progress bar as a Trainer's batches end, with the module's last row of losses."""

    def __init__(self, progress: Progress, what: str, total: int, losses: Sequence[str]):
        self._progress, self._losses = progress, losses
        self._task = progress.add_task(what, total=total, words="")
        self._before, self._share = 0, total
        self.note = ""  # stands before the losses

    def start(self, before: int, share: int) -> None:
        """What lies before the next Trainer's work and how much that is, in units of the total."""
        self._before, self._share = before, share

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        done = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        planned = (trainer.max_epochs or 1) * trainer.num_training_batches
        row = pl_module.history[-1] if pl_module.history else {}
        losses = [f"{key} {row[key]:.3g}" for key in self._losses if key in row]
        words = "  ".join([self.note, *losses] if self.note else losses)
        completed = self._before + self._share * done / planned
        self._progress.update(self._task, completed=completed, words=words)
