"""Training of a learned guide: regression of the hole from the known pixels."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gan_inpaint.functional.augment import mirrored
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.guide.network import GuideNetwork
from gan_inpaint.guide.posterior import Gaussian, Posterior, model_noise
from gan_inpaint.reporting.metrics_file import MetricsFile
from gan_inpaint.runtime import signals
from gan_inpaint.runtime.io import atomic_write
from gan_inpaint.runtime.seeding import numpy_rng, torch_rng

METRICS = ("loss", "psnr_hole_linear", "psnr_hole_network")
_IMAGES_PER_MASK = 32  # a mask costs a factorisation
_FLOOR = 0.01  # added to the linear estimate's squared error, so that easy masks do not dominate
_WARM_UP = 200  # steps over which the learning rate rises
_EMA_DECAY = 0.999


class GuideTraining(pl.LightningModule):
    """Trains a ``GuideNetwork`` to predict holes of images, by least squares.

    The loss of an image is the network's squared error in the hole relative to that of the linear
    estimate, so that all masks count alike. Masks and flips depend only on the step, so a resumed
    training goes on as if it had not stopped.

    Args:
        gaussian: gives the linear estimates.
        mask: ``(size, rng, name) -> known``, see ``data.masks``.
        steps: number of steps; the learning rate falls to 0 along half a cosine.
        lr: the highest learning rate, of AdamW.
        flip: whether images are mirrored at random.
        seed: of weights, masks and flips.
        held_out: ``(N, C, H, W)`` in [-1, 1], to measure the network on.

    Attributes:
        average: the network with averaged weights, which is exported.
    """

    def __init__(
        self,
        gaussian: Gaussian,
        mask: Callable[..., Tensor],
        steps: int,
        lr: float,
        flip: bool,
        seed: int,
        held_out: Tensor,
    ):
        super().__init__()
        channels, self._size, _ = gaussian.mean.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = GuideNetwork(self._size, channels)
        self.average = AveragedModel(
            self.network, multi_avg_fn=self._average, use_buffers=True
        ).requires_grad_(False)
        self._gaussian, self._mask, self._steps, self._lr = gaussian, mask, steps, lr
        self._flip, self._seed, self._held_out = flip, seed, held_out
        self.history: list[dict[str, float]] = []

    def _average(self, averaged: Any, current: Any, count: Any) -> None:
        decay = min(_EMA_DECAY, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(decay)(averaged, current, count)

    def setup(self, stage: str) -> None:
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def configure_optimizers(self) -> Any:
        """AdamW with a warm-up, then half a cosine."""
        optimizer = torch.optim.AdamW(self.network.parameters(), self._lr, betas=(0.9, 0.99))

        def factor(step: int) -> float:
            falling = (1 + math.cos(math.pi * min(1, step / self._steps))) / 2
            return min(1, (step + 1) / _WARM_UP) * falling

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """The loss on uint8 ``(B, C, H, W)`` images."""
        images = self.prepared(batch)
        if self._flip:
            images = mirrored(images, torch_rng("flip", self._seed, self.global_step))
        known, linear = self.linear(images, f"step {self.global_step}")
        estimate = self.network(images, known, linear)
        hole = (~known).float()
        error, former = (_squared_error(x - images, hole) for x in (estimate, linear))
        loss = (error / (former + _FLOOR)).mean()
        self._loss = loss.detach()
        return loss

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Update the average as well: before the callbacks save a checkpoint."""
        super().optimizer_step(*args, **kwargs)
        self.average.update_parameters(self.network)

    def prepared(self, pixels: Tensor) -> Tensor:
        """Bytes as floats in [-1, 1], at the guide's size."""
        images = pixels.float() / 127.5 - 1
        return F.avg_pool2d(images, images.shape[-1] // self._size)

    @torch.no_grad()
    @torch.autocast("cpu", enabled=False)  # a factorisation needs full precision
    def linear(self, images: Tensor, name: str) -> tuple[Tensor, Tensor]:
        """Random masks for images, and the linear estimates.

        Args:
            images: ``(B, C, H, W)`` in [-1, 1].
            name: the masks depend on it.
        """
        known, linear = [], []
        for number, part in enumerate(images.cpu().split(_IMAGES_PER_MASK)):
            drawn = f"{name} {number}"
            own = self._mask(self._size, numpy_rng("guide", self._seed, drawn), drawn)
            known.append(own.expand(len(part), -1, -1, -1))
            linear.append(Posterior(self._gaussian, own, model_noise(own)).mean(part).clamp(-1, 1))
        return torch.cat(known).to(images.device), torch.cat(linear).to(images.device)

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Mean loss of the last step, and hole PSNR in dB on the held-out images."""
        row = {"loss": float(self._loss)}
        if len(self._held_out):
            images = self._held_out.to(self.device)
            known, linear = self.linear(images, "held-out")
            self.average.eval()
            estimate = self.average(images, known, linear).clamp(-1, 1)
            self.average.train()
            for name, found in (("linear", linear), ("network", estimate)):
                row[f"psnr_hole_{name}"] = psnr(found - images, (~known).float()).mean().item()
        return row


class GuideSnapshots(Checkpoint):
    """Saves checkpoints/last.ckpt and metrics.csv every so many steps, and after a signal.

    Args:
        directory: the run's.
        every: see above.
        metrics: the run's metrics.csv.
    """

    def __init__(self, directory: Path, every: int, metrics: MetricsFile):
        self._last = directory / "checkpoints" / "last.ckpt"
        self._every, self._metrics = every, metrics

    def on_train_start(self, trainer: pl.Trainer, pl_module: GuideTraining) -> None:  # type: ignore[override]
        self._metrics.forget_after(trainer.global_step)
        signals.install_handlers()  # again: Lightning has installed its own

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: GuideTraining, *args: Any) -> None:  # type: ignore[override]
        step = trainer.global_step
        stopping = signals.stop_requested()
        if step % self._every == 0 or step == trainer.max_steps or stopping:
            row = pl_module.measure()
            pl_module.history.append(row)
            for logger in pl_module.loggers:
                logger.log_metrics(row, step=step)
            self._metrics.save()
            with atomic_write(self._last) as temporary:
                trainer.save_checkpoint(temporary)
        if stopping:
            signals.raise_if_requested()


def _squared_error(difference: Tensor, hole: Tensor) -> Tensor:
    """``(B,)``: means over the hole."""
    total = (difference.square() * hole).sum(dim=(1, 2, 3))
    return total / (hole.sum(dim=(1, 2, 3)) * difference.shape[1]).clamp(min=1)
