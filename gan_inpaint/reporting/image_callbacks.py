"""Image grids for loggers while a module runs, and an animation of a search."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from PIL import Image, ImageOps
from pytorch_lightning.loggers import Logger
from torch import Tensor

from gan_inpaint.data.images import grid, highlight_hole
from gan_inpaint.reporting.figures import labelled
from gan_inpaint.reporting.loggers import log_image
from gan_inpaint.runtime.io import atomic_write

_IMAGES = 8  # on a frame
_LOOKS = 10  # frames shown during a search: each costs a forward pass
_LAST = 1500  # milliseconds of an animation's last frame


class SearchImages(pl.Callback):
    """Logs the first images of a search while it runs: damaged, and the best so far.

    Args:
        loggers: where to; by default the Trainer's.
        animation: path of a GIF of the first image, with one frame per step.
    """

    def __init__(self, loggers: Sequence[Logger] | None = None, animation: Path | None = None):
        self._loggers, self._animation = loggers, animation
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
        loggers = trainer.loggers if self._loggers is None else self._loggers
        if loggers and step != self._shown and (not batch.again or look % every == 0):
            self._shown = step  # a search may end before its last look
            images, damaged = self._drawn(pl_module)
            log_image(loggers, "search", grid([damaged, images]), step)
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


class SampleImages(pl.Callback):
    """Logs samples from fixed codes while a GAN trains.

    Args:
        every_n_epochs: how often.
    """

    def __init__(self, every_n_epochs: int = 1):
        self._every = every_n_epochs

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        epoch = trainer.current_epoch + 1
        if trainer.is_global_zero and epoch % self._every == 0:
            step = int(pl_module.discriminator_steps)
            log_image(trainer.loggers, "samples", pl_module.samples(), step, f"epoch {epoch}")
