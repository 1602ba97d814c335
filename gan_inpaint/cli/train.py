"""``python -m gan_inpaint.train``: train a DCGAN and export it as a prior."""

import logging
import os
import signal
import sys
import warnings
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gan_inpaint.cli.app import command, instantiate_checked, resumed
from gan_inpaint.cli.run_directory import RunDirectory
from gan_inpaint.cli.trainer import check_trainer
from gan_inpaint.errors import InputError
from gan_inpaint.runtime.signals import defer_signals
from gan_inpaint.training.config import TrainConfig

if TYPE_CHECKING:
    import numpy as np

    from gan_inpaint.data.loading import Source


@command("train", TrainConfig)
def main(settings: TrainConfig, run: RunDirectory) -> None:
    """Train on the images of ``data``; everything it leaves is in the run's directory."""
    directory = run.path
    go_on = run.check_training(resume=settings.resume is not None)
    if settings.resume:
        settings = resumed(settings.resume, "train", TrainConfig)

    with defer_signals():  # an import that is cut in two breaks the next one
        from pytorch_lightning.utilities import rank_zero_only

        from gan_inpaint.data.loading import decode_cached
        from gan_inpaint.reporting.wandb_logging import check_wandb
        from gan_inpaint.runtime.io import remove_temporaries
        from gan_inpaint.runtime.memory import free_memory, is_out_of_memory, keep_freed_memory

    check_wandb(settings.logger)
    for engine in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(engine).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")  # on workers and log intervals
    say = rank_zero_only(print)  # of several processes the first one speaks

    keep_freed_memory()
    rank_zero_only(remove_temporaries)(directory)
    model = settings.model
    source = instantiate_checked("data", settings.data)(
        size=model.size, channels=model.channels, split="train"
    )
    pixels, problems, notes = decode_cached(source)
    for problem in problems[:20]:
        say(f"skipped: {problem}")
    if problems:
        say(f"skipped {len(problems)} of {len(source)} images that cannot be read")
    say(
        f"data: {len(pixels)} images of {source.dataset} as"
        f" {model.channels}x{model.size}x{model.size}"
    )
    for note in notes:
        say(note)
    while True:
        try:
            speed = train(settings, run, source, pixels, go_on)
            break
        except Exception as problem:
            if not is_out_of_memory(problem):
                raise
            settings, go_on = with_half_the_batch(settings, problem), True
        free_memory()
    if speed:
        say(f"trained at {speed:.0f} images/s")
    shown = Path(os.path.relpath(directory))
    for written, what in (
        ("samples", "sample grids, one each snapshot: choose an epoch by them"),
        ("losses.png", "loss curves, raw and smoothed"),
        ("index.html", "both on one page"),
        ("checkpoints", "to resume from"),
        ("prior.safetensors", "the generator and discriminator for reconstruct"),
    ):
        say(f"{shown / written}  {what}")


def train(
    settings: TrainConfig,
    run: RunDirectory,
    source: "Source",
    pixels: "np.ndarray",
    go_on: bool,
) -> float | None:
    """Train and export a prior; returns images a second.

    Args:
        pixels: of ``source``, uint8 ``(N, C, H, W)``.
        go_on: from the newest checkpoint in the run's directory, if there is one; else from the
            start.
    """
    directory = run.path
    with defer_signals():  # an import that is cut in two breaks the next one
        from pytorch_lightning.utilities import rank_zero_only
        from pytorch_lightning.utilities.exceptions import MisconfigurationException

        from gan_inpaint.data.images import to_float
        from gan_inpaint.data.loading import training_batches
        from gan_inpaint.functional.metrics import diversity
        from gan_inpaint.priors.networks import save_prior
        from gan_inpaint.reporting.metrics_file import MetricsFile
        from gan_inpaint.reporting.progress import TrainingProgress, progress_bar
        from gan_inpaint.reporting.wandb_logging import log_prior, wandb_logger
        from gan_inpaint.runtime.environment import collect_environment
        from gan_inpaint.runtime.precision import LIGHTNING, agree_on_precision
        from gan_inpaint.training import divergence
        from gan_inpaint.training.callbacks import Snapshots
        from gan_inpaint.training.gan_module import METRICS, AdversarialTraining

    module = AdversarialTraining(
        **asdict(settings.model),
        schedule=asdict(settings.schedule),
        loss=settings.loss,
        optimizer=asdict(settings.optimizer),
        augment=asdict(settings.augment),
        ema_decay=settings.ema.decay,
        batch_size=settings.batch_size,
        seed=settings.seed,
        log_every=settings.log_every,
        dataset=source.dataset,
        license=source.license,
        compile=settings.compile,
    )
    epochs = settings.trainer["max_epochs"]
    checkpoint = newest_checkpoint(directory) if go_on else None
    if checkpoint:
        check_resumable(checkpoint, module, epochs)
    precision = agree_on_precision(
        settings.precision,
        run.settings / "precision.json",
        "give precision=fp32 to go on with that",
        shared=run.sweep and run.sweep / "precision.json",
        keep=run.accepted,
    )
    why = "a GAN, whose two networks take turns"
    check_trainer(settings.trainer, _NOT_FOR_TWO_OPTIMIZERS, why)
    minibatches(0, settings.trainer.get("limit_train_batches"))
    trainer = instantiate_checked(
        "trainer",
        settings.trainer,
        precision=LIGHTNING[precision],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=directory,
    )
    ranks = trainer.world_size
    if ranks > 1 and settings.trainer.get("use_distributed_sampler", True):
        raise InputError(f"trainer.devices={ranks}: several devices need trainer=ddp")
    batches = training_batches(
        pixels, settings.batch_size, settings.seed, trainer.global_rank, ranks
    )
    per_epoch = minibatches(len(batches), settings.trainer.get("limit_train_batches"))
    if epochs * per_epoch < settings.schedule.discriminator:
        raise InputError(
            f"schedule.discriminator={settings.schedule.discriminator}: there are only"
            f" {epochs * per_epoch} minibatches, so the generator would never be trained"
        )
    run.accept()
    many = f" on {ranks} devices" if ranks > 1 else ""
    rank_zero_only(print)(
        f"training: {epochs} epochs of {per_epoch} minibatches, precision {precision}"
        f"{', as it began' if checkpoint else ''}{many}"
    )
    metrics = MetricsFile(directory / "metrics.csv", (*METRICS, "epoch"))
    variety = diversity(to_float(pixels[:1024]))
    with (
        wandb_logger(
            settings.logger if trainer.is_global_zero else "none",
            directory,
            name=settings.name,
            group=None,
            job_type="train",
            config=asdict(settings) | {"environment": collect_environment()},
        ) as wandb,
        progress_bar("training", epochs * per_epoch, ("loss/d", "loss/g")) as bar,
    ):
        snapshots = Snapshots(
            directory, settings.checkpoint.every_n_epochs, metrics, wandb, variety
        )
        trainer.loggers = [metrics, wandb] if wandb else [metrics]
        trainer.callbacks += [TrainingProgress(bar), snapshots]
        try:
            # several processes would have to agree on the step to stop after: they stop at once
            with defer_signals() if ranks == 1 else nullcontext():
                trainer.fit(module, batches, ckpt_path=checkpoint, weights_only=True)
        except BaseException as problem:
            if trainer.strategy.launcher:  # the other processes would wait for this one
                trainer.strategy.launcher.kill(signal.SIGTERM)
            if isinstance(problem, divergence.Unhealthy):
                last = newest_checkpoint(directory)
                kept = f"the last good checkpoint is {last}" if last else "no good checkpoint yet"
                raise InputError(f"{problem}; {kept}") from problem
            if isinstance(problem, MisconfigurationException):
                raise InputError(f"trainer: {' '.join(str(problem).split())}") from problem
            raise
        if not int(module.generator_steps):
            raise InputError(
                "the training ended before the generator's first step: there is no prior to"
                " export; let it make more minibatches"
            )
        if trainer.is_global_zero:
            prior = directory / "prior.safetensors"
            save_prior(prior, module.average.module, module.discriminator, module.metadata())
            if wandb:
                log_prior(wandb, prior, module.metadata())
    speed = [row["images_per_second"] for row in metrics.rows if "images_per_second" in row]
    return sum(speed) / len(speed) if speed else None


_NOT_FOR_TWO_OPTIMIZERS = {  # arguments of Lightning's Trainer, and what to do instead
    "gradient_clip_val": "set optimizer.discriminator.clip and optimizer.generator.clip",
    "gradient_clip_algorithm": "set optimizer.discriminator.clip and optimizer.generator.clip",
    "accumulate_grad_batches": "set a larger batch_size",
    "fast_dev_run": "set trainer.max_epochs=1, +trainer.limit_train_batches=1",
    "max_steps": "Lightning counts the steps of both; set trainer.max_epochs=",
    "overfit_batches": "name fewer images with data.path=",
    "precision": "set precision=",
    "logger": "set logger=",
    "callbacks": "a run keeps its own checkpoints, samples and curves",
    "enable_checkpointing": "set checkpoint.every_n_epochs=",
    "enable_progress_bar": "there is one wherever stderr is a terminal",
    "enable_model_summary": "leave it out",
    "default_root_dir": "set hydra.run.dir=",
}


def minibatches(there: int, limit: int | float | None) -> int:
    """How many minibatches of an epoch Lightning's ``limit_train_batches`` leaves.

    Example:
        >>> minibatches(100, 0.25), minibatches(100, 30), minibatches(100, None)
        (25, 30, 100)
    """
    if limit is None:
        return there
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise InputError(f"trainer.limit_train_batches={limit}: must be a number")
    return int(there * limit) if isinstance(limit, float) else min(there, limit)


def with_half_the_batch(settings: TrainConfig, problem: Exception) -> TrainConfig:
    """What to try when memory ran out."""
    half = settings.batch_size // 2
    if half < 2:
        raise InputError(
            f"batch_size={settings.batch_size}: memory ran out; choose smaller networks with"
            " model.ngf and model.ndf"
        ) from problem
    print(
        f"batch_size={settings.batch_size}: memory ran out; going on with batch_size={half}",
        file=sys.stderr,
    )
    return replace(settings, batch_size=half)


def newest_checkpoint(directory: Path) -> Path | None:
    """Of this run: the last one of its own, or one that Lightning wrote when SLURM told it to."""
    found = [*directory.glob("checkpoints/last.ckpt"), *directory.glob("hpc_ckpt_*.ckpt")]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def check_resumable(checkpoint: Path, module: object, epochs: int) -> None:
    """An InputError names what differs between a checkpoint and what it is to be loaded into."""
    from gan_inpaint.priors.weights import unpickled

    try:
        content = unpickled(checkpoint)
        saved, done = content["hyper_parameters"], content["epoch"] + 1
    except Exception:  # a damaged zip or pickle raises whatever it likes
        raise InputError(f"{checkpoint}: damaged, or no checkpoint of a training run") from None
    for key in ("size", "channels", "nz", "ngf", "ndf", "latent", "loss", "discriminator_norm"):
        wanted = module.hparams[key]  # type: ignore[attr-defined]
        if saved.get(key) != wanted:
            raise InputError(
                f"{checkpoint}: the run has {key} {saved.get(key)}, the settings say {wanted};"
                " leave it as it is when resuming, or start a new run"
            )
    if epochs < done:
        raise InputError(
            f"trainer.max_epochs={epochs}: the run has {done} epochs already; give at least {done}"
        )
