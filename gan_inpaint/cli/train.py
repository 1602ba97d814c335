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

from gan_inpaint.cli.app import command, instantiate_checked, load_resumed_settings
from gan_inpaint.cli.run_directory import RunDirectory
from gan_inpaint.cli.trainer import NOT_FOR_TRAINING, check_trainer
from gan_inpaint.errors import InputError
from gan_inpaint.runtime.memory import free_memory, is_out_of_memory, keep_freed_memory
from gan_inpaint.runtime.signals import defer_signals
from gan_inpaint.training.config import TrainConfig, TrainGuideConfig

if TYPE_CHECKING:
    import numpy as np
    from pytorch_lightning import Trainer
    from pytorch_lightning.loggers import WandbLogger
    from torch.utils.data import DataLoader

    from gan_inpaint.data.loading import Decoded, Source
    from gan_inpaint.training.gan_module import AdversarialTraining

_RESUMED = (  # what a checkpoint must share with the settings
    *("size", "channels", "nz", "ngf", "ndf", "latent", "loss", "discriminator_norm"),
    "feature_weight",
)
_SCORED = 256  # images of each kind by which overfitting is seen


@command("train", TrainConfig)
def main(settings: TrainConfig, run: RunDirectory) -> None:
    """Train on the images of ``data``; all output is in the run's directory."""
    go_on = run.check_training(resume=settings.resume is not None)
    if settings.resume:
        settings = load_resumed_settings(settings.resume, "train", TrainConfig)
    prepare_process(settings, run)
    source, images = read_images(settings)
    held_out = read_held_out(settings)
    while True:
        try:
            speed = train(settings, run, source, images.pixels, held_out, go_on)
            break
        except Exception as problem:
            if not is_out_of_memory(problem):
                raise
            settings, go_on = with_half_the_batch(settings, problem), True
        free_memory()
    print_outputs(run.path, speed)


def say(text: str) -> None:
    """Print; of several processes only the first one does."""
    from pytorch_lightning.utilities import rank_zero_only

    rank_zero_only(print)(text)


def prepare_process(settings: TrainConfig | TrainGuideConfig, run: RunDirectory) -> None:
    """Check W&B, silence Lightning, and remove what killed processes have left."""
    with defer_signals():  # an interrupted import would leave broken modules
        from pytorch_lightning.utilities import rank_zero_only

        from gan_inpaint.reporting.wandb_logging import check_wandb
        from gan_inpaint.runtime.io import remove_temporaries

    check_wandb(settings.logger)
    for engine in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(engine).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")  # on workers and log intervals
    keep_freed_memory()
    rank_zero_only(remove_temporaries)(run.path)


def read_images(settings: TrainConfig) -> tuple["Source", "Decoded"]:
    """The training images, decoded."""
    from gan_inpaint.data.loading import decode_cached

    model = settings.model
    source = instantiate_checked("data", settings.data)(
        size=model.size, channels=model.channels, split="train"
    )
    images = decode_cached(source)
    for problem in images.problems[:20]:
        say(f"skipped: {problem}")
    if images.problems:
        say(f"skipped {len(images.problems)} of {len(source)} images that cannot be read")
    say(
        f"data: {len(images.names)} images of {source.dataset} as"
        f" {model.channels}x{model.size}x{model.size}"
    )
    for note in images.notes:
        say(note)
    return source, images


def read_held_out(settings: TrainConfig) -> "np.ndarray | None":
    """Some held-out images, uint8 ``(N, C, H, W)``, by which overfitting is seen; None if none."""
    from gan_inpaint.data.images import spaced
    from gan_inpaint.data.loading import decode_cached

    model = settings.model
    try:
        source = instantiate_checked("data", settings.data)
        images = decode_cached(source(size=model.size, channels=model.channels, split="val"))
    except InputError:  # the training can do without
        return None
    return spaced(images.pixels, _SCORED) if len(images.names) > 1 else None


def print_outputs(directory: Path, speed: float | None) -> None:
    """Print the speed, in images/s, and what is where."""
    if speed:
        say(f"trained at {speed:.0f} images/s")
    shown = Path(os.path.relpath(directory))
    for written, what in (
        ("samples", "sample grids, one per snapshot, for choosing an epoch"),
        ("losses.png", "loss curves, raw and smoothed"),
        ("index.html", "both on one page"),
        ("checkpoints", "to resume from"),
        ("prior.safetensors", "the generator and discriminator for reconstruct"),
        ("prior.gaussian.safetensors", "statistics of the training images, for its guide"),
    ):
        say(f"{shown / written}  {what}")


def train(
    settings: TrainConfig,
    run: RunDirectory,
    source: "Source",
    pixels: "np.ndarray",
    held_out: "np.ndarray | None",
    go_on: bool,
) -> float | None:
    """Train and export a prior; returns images per second.

    Args:
        pixels: of ``source``, uint8 ``(N, C, H, W)``.
        held_out: some held-out images likewise, if there are any.
        go_on: whether to continue from the newest checkpoint in the run's directory, if any.
    """
    with defer_signals():  # an interrupted import would leave broken modules
        from gan_inpaint.data.images import spaced, to_float
        from gan_inpaint.data.loading import training_batches
        from gan_inpaint.functional.metrics import diversity
        from gan_inpaint.priors.gaussian import save_data_gaussian
        from gan_inpaint.reporting.metrics_file import MetricsFile
        from gan_inpaint.reporting.progress import TrainingProgress, progress_bar
        from gan_inpaint.reporting.wandb_logging import wandb_logger
        from gan_inpaint.runtime.environment import collect_environment
        from gan_inpaint.training.callbacks import DiscriminatorScores, Snapshots
        from gan_inpaint.training.gan_module import METRICS

    directory, epochs = run.path, settings.trainer["max_epochs"]
    module = make_module(settings, source)
    checkpoint = newest_checkpoint(directory) if go_on else None
    if checkpoint:
        check_resumable(checkpoint, module, epochs)
    elif settings.init:
        start_from(module, settings.init)
    trainer, precision = make_trainer(settings, run)
    ranks = trainer.world_size
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
    recorded = ", as recorded" if checkpoint else ""
    say(
        f"training: {epochs} epochs of {per_epoch} minibatches, precision {precision}"
        f"{recorded}{many}"
    )
    metrics = MetricsFile(directory / "metrics.csv", (*METRICS, "epoch"))
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
        trainer.loggers = [metrics, wandb] if wandb else [metrics]
        data_diversity = diversity(to_float(pixels[:1024]))
        every = settings.checkpoint.every_n_epochs
        if held_out is not None:
            scored = to_float(spaced(pixels, _SCORED)), to_float(held_out)
            trainer.callbacks.append(DiscriminatorScores(*scored))  # type: ignore[attr-defined]
        trainer.callbacks += [  # type: ignore[attr-defined]
            TrainingProgress(bar),
            Snapshots(directory, every, metrics, wandb, data_diversity),
        ]
        fit(trainer, module, batches, checkpoint, directory)
        if trainer.is_global_zero:
            export_prior(module, directory / "prior.safetensors", wandb)
            save_data_gaussian(directory / "prior.safetensors", pixels, settings.augment.flip)
    speed = [row["images_per_second"] for row in metrics.rows if "images_per_second" in row]
    return sum(speed) / len(speed) if speed else None


def make_module(settings: TrainConfig, source: "Source") -> "AdversarialTraining":
    """The LightningModule that trains on ``source``."""
    from gan_inpaint.training.gan_module import AdversarialTraining

    return AdversarialTraining(
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
        init=settings.init,
        freeze_discriminator=settings.freeze_discriminator,
        feature_weight=settings.feature_weight,
    )


def start_from(module: "AdversarialTraining", init: str) -> None:
    """Start from a trained pair; prints what does not fit."""
    from gan_inpaint.priors.networks import read_networks
    from gan_inpaint.priors.registry import find_prior

    try:
        path, name = find_prior(init)
    except InputError as problem:
        raise InputError(str(problem).replace("prior=", "init=", 1)) from None
    networks = read_networks(path)
    left = module.start_from(networks.generator, networks.discriminator)
    kernels = [k for k, v in module.state_dict().items() if v.ndim > 1 and "average" not in k]
    if len(left) == len(kernels):
        raise InputError(f"init={init}: none of its layers fits this model; {left[0]}")
    say(f"init: {name}, {len(kernels) - len(left)} of {len(kernels)} layers")
    for key in ("size", "channels", "nz", "ngf", "ndf"):
        if str(module.hparams[key]) != networks.metadata[key]:
            say(f"init: {key} is {networks.metadata[key]} there, {module.hparams[key]} here")
    for layer in left:
        say(f"init: starts at random: {layer}")


def make_trainer(settings: TrainConfig, run: RunDirectory) -> tuple["Trainer", str]:
    """Lightning's Trainer on the chosen devices, and its precision."""
    from gan_inpaint.runtime.precision import LIGHTNING, agree_on_precision

    precision = agree_on_precision(
        settings.precision,
        run.settings / "precision.json",
        "give precision=fp32 to continue in that",
        shared=run.sweep and run.sweep / "precision.json",
        keep=run.accepted,
    )
    use = "GAN training (two alternating optimizers)"
    check_trainer(settings.trainer, NOT_FOR_TRAINING, use)
    minibatches(0, settings.trainer.get("limit_train_batches"))
    trainer = instantiate_checked(
        "trainer",
        settings.trainer,
        precision=LIGHTNING[precision],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run.path,
    )
    ranks = trainer.world_size
    if ranks > 1 and settings.trainer.get("use_distributed_sampler", True):
        raise InputError(f"trainer.devices={ranks}: several devices need trainer=ddp")
    return trainer, precision


def fit(
    trainer: "Trainer",
    module: "AdversarialTraining",
    batches: "DataLoader",
    checkpoint: Path | None,
    directory: Path,
) -> None:
    """Train; an InputError says why a training stopped early, and what is kept."""
    from pytorch_lightning.utilities.exceptions import MisconfigurationException

    from gan_inpaint.training import divergence

    try:
        # several processes would have to agree on the step to stop after, so they stop at once
        with defer_signals() if trainer.world_size == 1 else nullcontext():
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
            "the training ended before the generator's first step, so there is no prior to export;"
            " train for more minibatches"
        )


def export_prior(module: "AdversarialTraining", path: Path, wandb: "WandbLogger | None") -> None:
    """Write the averaged generator and the discriminator as a prior."""
    from gan_inpaint.priors.networks import save_prior
    from gan_inpaint.reporting.wandb_logging import log_prior

    save_prior(path, module.average.module, module.discriminator, module.metadata())
    if wandb:
        log_prior(wandb, path, module.metadata())


def minibatches(available: int, limit: int | float | None) -> int:
    """How many minibatches per epoch Lightning's ``limit_train_batches`` leaves.

    Example:
        >>> minibatches(100, 0.25), minibatches(100, 30), minibatches(100, None)
        (25, 30, 100)
    """
    if limit is None:
        return available
    if isinstance(limit, bool) or not isinstance(limit, int | float):
        raise InputError(f"trainer.limit_train_batches={limit}: must be a number")
    return int(available * limit) if isinstance(limit, float) else min(available, limit)


def with_half_the_batch(settings: TrainConfig, problem: Exception) -> TrainConfig:
    """The settings to try next when memory ran out."""
    half = settings.batch_size // 2
    if half < 2:
        raise InputError(
            f"batch_size={settings.batch_size}: out of memory; choose smaller networks with"
            " model.ngf and model.ndf"
        ) from problem
    print(
        f"batch_size={settings.batch_size}: out of memory; continuing with batch_size={half}",
        file=sys.stderr,
    )
    return replace(settings, batch_size=half)


def newest_checkpoint(directory: Path) -> Path | None:
    """The run's own last checkpoint, or a newer one that Lightning wrote for SLURM."""
    found = [*directory.glob("checkpoints/last.ckpt"), *directory.glob("hpc_ckpt_*.ckpt")]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def check_resumable(checkpoint: Path, module: object, epochs: int) -> None:
    """Raise an InputError if the checkpoint does not match the current settings."""
    from gan_inpaint.priors.weights import unpickled

    try:
        content = unpickled(checkpoint)
        saved, done = content["hyper_parameters"], content["epoch"] + 1
    except Exception:  # damaged zips and pickles raise many kinds of errors
        raise InputError(f"{checkpoint}: damaged, or no checkpoint of a training run") from None
    for key in _RESUMED:
        wanted = module.hparams[key]  # type: ignore[attr-defined]
        if saved.get(key, 0.0) != wanted:
            raise InputError(
                f"{checkpoint}: the run has {key} {saved.get(key)}, the settings say {wanted};"
                " leave it as it is when resuming, or start a new run"
            )
    if epochs < done:
        raise InputError(
            f"trainer.max_epochs={epochs}: the run has {done} epochs already; give at least {done}"
        )
