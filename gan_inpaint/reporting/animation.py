"""Draw the search while it runs: frames for the loggers, and an animation."""

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
        self._looks = self._shown = 0
        self.kept: list[np.ndarray] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        if self._animation and not self._done:
            self._keep(len(self.kept), pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        if self._done or not len(batch.images):
            return
        look = self._looks = self._looks + 1
        every = -(-(look + batch.again) // _LOOKS)
        step = int(pl_module.search.history[-1]["step"])
        if self._show and step != self._shown and (not batch.again or look % every == 0):
            self._shown = step  # a search may end before its last look
            images, damaged = self._drawn(pl_module)
            self._show(grid([damaged, images]), step)
        if batch.again:
            return
        self._done = True
        if self._animation:
            self._keep(len(self.kept), pl_module)
            self._save(self._animation)

    def _drawn(self, module: Any) -> tuple[Tensor, Tensor]:
        """``(N, 3, H, W)``: the best so far of the first images, and as they were given."""
        images, known = (t[:_IMAGES].cpu() for t in (module.batch.images, module.batch.known))
        damaged = highlight_hole(images, known)
        return module.best_images(_IMAGES).expand_as(damaged), damaged

    def _keep(self, step: int, module: Any) -> None:
        images, damaged = self._drawn(module)
        frame = grid([damaged[:1], images[:1]])
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
