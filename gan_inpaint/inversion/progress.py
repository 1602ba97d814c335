"""What a search tells its caller as it goes, and how the caller stops it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch import Tensor


class Cancelled(Exception):
    """Raise it in ``progress`` to stop a search within one update of z."""


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
        phase: ``guide``: the holes are estimated; ``starts``: the starting codes are chosen;
            ``search``: z is updated.
        step: updates of z so far, with the one that is being made.
        steps: how many there will be at most.
        done: number of images of earlier batches.
        objective: mean over the batch's images of the best so far; None before the first step.
        images: call it for the best images so far, ``(B, C, H, W)`` in [-1, 1] with the known
            pixels unchanged; this evaluates the generator once. None before the first step.
    """

    phase: str
    step: int
    steps: int
    done: int
    objective: float | None = None
    images: Callable[[], Tensor] | None = None


class ReportProgress(pl.Callback):
    """Calls ``progress`` as each phase begins, and at every update of z.

    Args:
        progress: takes a ``Progress``; what it raises ends the search.
        steps: how many updates there will be at most.
    """

    def __init__(self, progress: Callable[[Progress], None], steps: int):
        self._progress, self._steps, self._done = progress, steps, 0

    def phase(self, phase: str) -> None:
        """For ``on_phase`` of the module."""
        self._progress(Progress(phase, 0, self._steps, self._done))

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        state = pl_module.search.state
        best = state.objective.view(-1, pl_module.rows_per_image).amin(dim=1).mean().item()
        step, images = 1 + int(state.steps.max()), pl_module.best_images
        self._progress(Progress("search", step, self._steps, self._done, best, images))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        if not batch.again:
            self._done += len(batch.images)
