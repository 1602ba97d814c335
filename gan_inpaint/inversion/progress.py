"""What a search tells its caller as it goes, and how the caller stops it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from gan_inpaint.inversion.lightning_module import LatentReconstruction


class Cancelled(Exception):
    """Raise it in ``progress`` to stop a search within one update of z."""


@dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
        phase: ``guide``: the holes are estimated; ``starts``: the starting codes are chosen;
            ``search``: z is updated.
        step: updates of z so far.
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
    """Calls ``progress`` as each phase begins, and after every update of z.

    Args:
        progress: takes a ``Progress``; what it raises ends the search.
    """

    def __init__(self, progress: Callable[[Progress], None]):
        self._progress, self._done = progress, 0

    def on_search_phase(self, module: LatentReconstruction, phase: str) -> None:
        self._progress(Progress(phase, 0, module.steps, self._done))

    def on_search_update(self, module: LatentReconstruction) -> None:
        state, steps = module.search.state, module.steps
        best = state.objective.view(-1, module.rows_per_image).amin(dim=1).mean().item()
        step = int(state.steps.max())
        self._progress(Progress("search", step, steps, self._done, best, module.best_images))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        self._done += len(batch.images)
