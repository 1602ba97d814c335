"""The search as it goes: pictures of the best so far, for W&B's slider and for an animation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gan_inpaint.data.images import grid, highlight_hole
from gan_inpaint.reporting.figures import labelled
from gan_inpaint.runtime.io import atomic_write

_IMAGES = 8  # on a frame
_LOOKS = 10  # frames that are shown as the search proceeds: each costs a forward pass
_LAST = 1500  # milliseconds that an animation rests at its end


class Frames(pl.Callback):
    """Draws the first images of a batch as the search improves on them.

    Args:
        images: ``(B, C, H, W)`` in [-1, 1].
        known: ``(B, 1, H, W)`` bool.
        show: called with a step and its frame, uint8 ``(rows, width, 3)``, about ten times.
        every: keep all frames of the first image, for ``save``.
    """

    def __init__(
        self,
        images: Tensor,
        known: Tensor,
        show: Callable[[int, np.ndarray], None] | None = None,
        every: bool = False,
    ):
        self._images, self._known = images[:_IMAGES], known[:_IMAGES]
        self._show, self._every = show, every
        self.kept: list[np.ndarray] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._count = len(pl_module.images)
        if self._every:
            self._keep(0, self._drawn(pl_module))

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        step = pl_module.history[-1]["step"]
        if self._every:
            self._keep(step, self._drawn(pl_module))
        number, batches = len(pl_module.history), int(trainer.num_training_batches)
        if self._show and (number == batches or number % -(-batches // _LOOKS) == 0):
            pictures = self._drawn(pl_module)
            corrupted = highlight_hole(self._images, self._known)
            self._show(step, grid([corrupted, pictures.expand_as(corrupted)]))

    @torch.no_grad()
    def _drawn(self, module: Any) -> Tensor:
        """``(N, C, H, W)``: the best so far of each image; at first, where its search starts."""
        objective = module.best.objective.view(self._count, -1)
        best = objective.argmin(dim=1)  # the nearest start while nothing is found yet
        z = module.best.z.view(*objective.shape, -1)
        z = z[torch.arange(self._count, device=z.device), best]
        generated = module.exact_generator(z[:_IMAGES]).cpu()
        return torch.where(self._known, self._images, generated)

    def _keep(self, step: int, pictures: Tensor) -> None:
        corrupted = highlight_hole(self._images[:1], self._known[:1])
        frame = grid([corrupted, pictures[:1].expand_as(corrupted)])
        self.kept.append(labelled(frame.repeat(3, axis=0).repeat(3, axis=1), [f"step {step:4d}"]))

    def save(self, path: Path) -> None:
        """An animation (GIF) of the frames that were kept, with a rest at the end."""
        width = max(frame.shape[1] for frame in self.kept)  # the step's digits differ in width
        frames = [
            ImageOps.pad(Image.fromarray(f), (width, f.shape[0]), color="white", centering=(1, 0))
            for f in self.kept
        ]
        durations = [max(40, 4000 // len(frames))] * (len(frames) - 1) + [_LAST]
        with atomic_write(path) as temporary:
            frames[0].save(
                temporary, save_all=True, append_images=frames[1:], duration=durations, loop=0
            )
