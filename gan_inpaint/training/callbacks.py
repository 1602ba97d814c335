"""Checkpoints, sample grids and loss curves for choosing an epoch."""

import logging
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import Logger
from torch import Tensor, nn

from gan_inpaint.functional.adversarial import overfitting
from gan_inpaint.functional.metrics import diversity
from gan_inpaint.reporting.figures import draw_losses
from gan_inpaint.reporting.loggers import log_image
from gan_inpaint.reporting.metrics_file import MetricsFile
from gan_inpaint.reporting.training_page import write_training_page
from gan_inpaint.runtime import signals
from gan_inpaint.runtime.io import atomic_write, write_png
from gan_inpaint.training import divergence
from gan_inpaint.training.gan_module import AdversarialTraining

log = logging.getLogger(__name__)
_AT_ONCE = 64  # images that D judges
_BY_HEART = 0.9  # of the distance from training to generated images


class DiscriminatorScores(pl.Callback):
    """Logs what D makes of images that it has not seen; says when it knows the others by heart.

    After every epoch, D's mean logits of training, held-out and generated images
    (``logit/train logit/held_out logit/fake``), in eval mode.

    Source: Karras et al., NeurIPS 2020, "Training generative adversarial networks with limited
    data", section 3.

    Args:
        train, held_out: ``(N, C, H, W)`` images in [-1, 1], at least two each.
        train_conditions, held_out_conditions: theirs, ``(N, d)``, if the model is conditional.
    """

    def __init__(
        self,
        train: Tensor,
        held_out: Tensor,
        train_conditions: Tensor | None = None,
        held_out_conditions: Tensor | None = None,
    ):
        self._train, self._held_out = train, held_out
        self._conditions = train_conditions, held_out_conditions
        self._said = False

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: AdversarialTraining) -> None:  # type: ignore[override]
        if not trainer.is_global_zero:
            return
        of_train, of_held_out = self._conditions
        fake = pl_module.sample(pl_module.fixed_codes("scores", len(self._train)), of_train)
        judge = pl_module.discriminator.eval()
        logits = {
            name: _logits(judge, images, condition, pl_module.device)
            for name, images, condition in (
                ("train", self._train, of_train),
                ("held_out", self._held_out, of_held_out),
                ("fake", fake, of_train),
            )
        }
        judge.train()
        means = {f"logit/{name}": float(values.mean()) for name, values in logits.items()}
        pl_module.log_means(means)
        share = overfitting(*logits.values())
        if not self._said and share is not None and share >= _BY_HEART:
            self._said = True
            train, held_out, generated = means.values()
            log.warning(
                f"overfitting: after epoch {trainer.current_epoch + 1}, D scores held-out images"
                f" ({held_out:.1f}) as low as generated ones ({generated:.1f}; training images:"
                f" {train:.1f}), so it knows the training images by heart. More images, or"
                " augment.differentiable=[color,translation,cutout], help; select shows which epoch"
                " to use"
            )


def _logits(
    judge: nn.Module, images: Tensor, condition: Tensor | None, device: torch.device
) -> Tensor:
    """``(N,)``, in parts."""
    if condition is None:
        return torch.cat([judge(part.to(device)) for part in images.split(_AT_ONCE)])
    pairs = zip(images.split(_AT_ONCE), condition.split(_AT_ONCE), strict=True)
    return torch.cat([judge(part.to(device), own.to(device)) for part, own in pairs])


class Snapshots(Checkpoint):
    """Writes checkpoints, sample grids, loss curves and metrics while a GAN trains.

    ``checkpoints/last.ckpt`` and ``metrics.csv`` after every epoch; ``checkpoints/epoch_005.ckpt``,
    ``samples/epoch_005.png`` and ``losses.png`` after every ``every_n_epochs`` complete
    ones and at the end. Lightning's ModelCheckpoint counts epochs from 0 in its names.

    A diverged or collapsed training stops before it is saved. After a signal (see
    ``runtime.signals``) the training saves after the current minibatch.

    Args:
        directory: the run's.
        every_n_epochs: see above.
        metrics: the run's metrics.csv.
        loggers: log the samples too.
        diversity: of the training images, for comparison with that of the samples.
    """

    def __init__(
        self,
        directory: Path,
        every_n_epochs: int,
        metrics: MetricsFile,
        loggers: Sequence[Logger],
        diversity: float,
    ):
        self._directory, self._every, self._metrics = directory, every_n_epochs, metrics
        self._loggers, self._diversity = loggers, diversity
        self._last = directory / "checkpoints" / "last.ckpt"

    def on_train_start(self, trainer: pl.Trainer, pl_module: AdversarialTraining) -> None:  # type: ignore[override]
        self._metrics.forget_after(int(pl_module.discriminator_steps))
        signals.install_handlers()  # again: Lightning has installed its own
        self._hold_requeue()

    def _hold_requeue(self) -> None:
        """Delay Lightning's reaction to SLURM until the end of a step."""
        self._requeue_asked = False
        if not hasattr(signal, "SIGUSR1"):  # Windows, where there is no SLURM
            return
        self._requeue = signal.getsignal(signal.SIGUSR1)
        if callable(self._requeue):
            signal.signal(signal.SIGUSR1, lambda *_: setattr(self, "_requeue_asked", True))

    def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
        if trainer.is_last_batch:  # the end of the epoch comes first
            return
        if self._requeue_asked:
            self._requeue_asked = False
            self._metrics.save()
            self._requeue(signal.SIGUSR1, None)  # type: ignore[operator,misc]
        if signals.stop_requested():
            self._metrics.save()
            self._save(trainer)
            self._draw()
            signals.raise_if_requested()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: AdversarialTraining) -> None:  # type: ignore[override]
        epoch = trainer.current_epoch + 1
        due = epoch % self._every == 0
        if trainer.is_global_zero:
            self._examine(pl_module)
            self._metrics.save()
            if due or epoch == trainer.max_epochs:
                self._show(epoch, pl_module)
        self._save(trainer, self._last.with_name(f"epoch_{epoch:03d}.ckpt") if due else None)
        shown = (due and epoch != trainer.max_epochs) or signals.stop_requested()
        if shown and trainer.is_global_zero:  # the page names the saved epochs
            self._draw()
        if signals.stop_requested():
            signals.raise_if_requested()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # also of a run without an epoch left, which was killed after its last checkpoint
        if trainer.is_global_zero:
            self._draw()

    def _save(self, trainer: pl.Trainer, copy: Path | None = None) -> None:
        if not trainer.is_global_zero:  # all processes take part; only the first one writes
            trainer.save_checkpoint(self._last)
            return
        with atomic_write(self._last) as temporary:
            trainer.save_checkpoint(temporary)
            if copy:  # first: a run resumed from last.ckpt does not write it again
                with atomic_write(copy) as beside:
                    shutil.copyfile(temporary, beside)

    def _examine(self, module: AdversarialTraining) -> None:
        """Log the diversity of the samples; stop a diverged or collapsed training."""
        divergence.check_finite(module, int(module.discriminator_steps))
        # identical training images have no diversity to compare with
        spread = diversity(module.fixed_samples())
        module.log_means({"diversity": spread / self._diversity if self._diversity else 1.0})
        if int(module.generator_steps) >= divergence.STEPS:
            divergence.check_diverse(self._metrics.rows)

    def _show(self, epoch: int, module: AdversarialTraining) -> None:
        tiled = module.samples()
        write_png(self._directory / "samples" / f"epoch_{epoch:03d}.png", tiled)
        step = int(module.discriminator_steps)
        log_image(self._loggers, "samples", tiled, step, caption=f"epoch {epoch}")

    def _draw(self) -> None:
        curves = {"discriminator": "loss/d", "generator": "loss/g"}
        draw_losses(self._directory / "losses.png", self._metrics.rows, curves, "minibatch")
        write_training_page(self._directory)
