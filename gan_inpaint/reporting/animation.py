"""Draw the search while it runs: frames for the loggers, and an animation."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from PIL import Image, ImageOps
from torch import Tensor

from gan_inpaint.data.images import grid, highlight_hole
from gan_inpaint.reporting.figures import labelled
from gan_inpaint.runtime.io import atomic_write

_IMAGES = 8  # on a frame
_LOOKS = 10  # frames shown during a search: each costs a forward pass
_LAST = 1500  # milliseconds of an animation's last frame


class Frames(pl.Callback):
    """Draws the first images of a job during their search.

    Args:
        show: called about ten times with a frame, uint8 ``(rows, width, 3)``, and its step.
        animation: path of a GIF of the first image, with one frame per step.
    """

    def __init__(
        self,
        show: Callable[[np.ndarray, int], None] | None = None,
        animation: Path | None = None,
    ):
        self._show, self._animation = show, animation
        self._done = False  # only the first images are drawn
        self._looks = 0
        self.kept: list[np.ndarray] = []

    def on_search_start(self, module: Any) -> None:
        if self._done:
            return
        if self._animation:
            self._usual, module.steps_per_look = module.steps_per_look, 1
        self._looks = 0
        self._images = module.batch.images[:_IMAGES].cpu()
        self._known = module.batch.known[:_IMAGES].cpu()
        self._planned = math.ceil(module.steps / module.steps_per_look)
        if self._animation:
            self._keep(0, self._draw(module))

    def on_search_step(self, module: Any) -> None:
        if self._done:
            return
        step = int(module.search.history[-1]["step"])
        self._looks += 1
        if self._animation:
            self._keep(step, self._draw(module))
        last = self._looks == self._planned
        if self._show and (last or self._looks % -(-self._planned // _LOOKS) == 0):
            images = self._draw(module)
            damaged = highlight_hole(self._images, self._known)
            self._show(grid([damaged, images.expand_as(damaged)]), step)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        if self._done or not self._looks:
            return
        self._done = True
        if self._animation:
            pl_module.steps_per_look = self._usual
            self._save(self._animation)

    def _draw(self, module: Any) -> Tensor:
        """``(N, C, H, W)``: the best so far of each image, or its start before the first step."""
        return module.best_images(_IMAGES)

    def _keep(self, step: int, images: Tensor) -> None:
        damaged = highlight_hole(self._images[:1], self._known[:1])
        frame = grid([damaged, images[:1].expand_as(damaged)])
        self.kept.append(labelled(frame.repeat(3, axis=0).repeat(3, axis=1), [f"step {step:4d}"]))

    def _save(self, path: Path) -> None:
        """Write the kept frames as an animated GIF."""
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
