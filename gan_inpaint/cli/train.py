"""``python -m gan_inpaint.train``: train a DCGAN and export it as a prior."""

import logging
import os
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import get_object

from gan_inpaint.cli.command import command, instantiate_checked, load_resumed_settings
from gan_inpaint.cli.error_messages import one_line
from gan_inpaint.cli.loggers import check_loggers, open_loggers
from gan_inpaint.cli.trainer import NOT_FOR_TRAINING, check_trainer
from gan_inpaint.cli.training_images import SCORED, TrainingImages, read_images, say
from gan_inpaint.errors import InputError
from gan_inpaint.jobs.directory import RunDirectory
from gan_inpaint.runtime.memory import free_memory, is_out_of_memory, keep_freed_memory
from gan_inpaint.runtime.signals import defer_signals
from gan_inpaint.training.config import TrainConfig, TrainGuideConfig

if TYPE_CHECKING:
    from pytorch_lightning import Trainer
    from pytorch_lightning.loggers import Logger
    from torch.nn import Module
    from torch.utils.data import DataLoader

    from gan_inpaint.training.gan_module import AdversarialTraining

_RESUMED = (  # what a checkpoint must share with the settings, beside the networks
    *("latent", "loss", "feature_weight", "reconstruction_weight", "conditioning"),
)
_OF_THE_DATA = "dataset", "license"  # may change as well
_MAY_CHANGE = "feature_weight", "reconstruction_weight"  # but not to or from 0


@command("train", TrainConfig)
def main(settings: TrainConfig, run: RunDirectory) -> None:
    """Train on the images of ``data``; all output is in the run's directory."""
    go_on = run.check_training(resume=settings.resume is not None)
    if settings.resume:
        settings = load_resumed_settings(settings.resume, "train", TrainConfig)
    prepare_process(settings, run)
    images = read_images(settings)
    while True:
        try:
            speed = train(settings, run, images, go_on)
            break
        except Exception as problem:
            if not is_out_of_memory(problem):
                raise
            settings, go_on = with_half_the_batch(settings, problem), True
        free_memory()
    print_outputs(run.path, speed)


def prepare_process(settings: TrainConfig | TrainGuideConfig, run: RunDirectory) -> None:
    """Check the loggers, silence Lightning, and remove what killed processes have left."""
    with defer_signals():  # an interrupted import would leave broken modules
        from pytorch_lightning.utilities import rank_zero_only

        import gan_inpaint.reporting.loggers  # noqa: F401
        from gan_inpaint.runtime.io import remove_temporaries

    check_loggers(settings.logger)
    for engine in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(engine).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")  # on workers and log intervals
    keep_freed_memory()
    rank_zero_only(remove_temporaries)(run.path)


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
    images: TrainingImages,
    go_on: bool,
) -> float | None:
    """Train and export a prior; returns images per second.

    Args:
        images: to train on.
        go_on: whether to continue from the newest checkpoint in the run's directory, if any.
    """
    with defer_signals():  # an interrupted import would leave broken modules
        from gan_inpaint.data.images import spaced, to_float
        from gan_inpaint.data.loading import training_batches
        from gan_inpaint.functional.metrics import diversity
        from gan_inpaint.guide.gaussian import save_data_gaussian
        from gan_inpaint.reporting.metrics_file import MetricsFile
        from gan_inpaint.reporting.progress import TrainingProgress, progress_bar
        from gan_inpaint.runtime.environment import collect_environment
        from gan_inpaint.training.callbacks import DiscriminatorScores, Snapshots
        from gan_inpaint.training.gan_module import METRICS

    directory, epochs, pixels = run.path, settings.trainer["max_epochs"], images.pixels
    module = make_module(settings, images)
    checkpoint = newest_checkpoint(directory) if go_on else None
    if checkpoint:
        check_resumable(checkpoint, module, epochs)
    elif settings.init:
        start_from(module, settings.init)
    trainer, precision = make_trainer(settings, run)
    ranks = trainer.world_size
    batches = training_batches(
        pixels,
        settings.batch_size,
        settings.seed,
        trainer.global_rank,
        ranks,
        images.conditions,
    )
    if settings.reconstruction_weight and settings.batch_size < 4 * ranks:
        raise InputError(
            f"batch_size={settings.batch_size}: reconstruction_weight needs at least {4 * ranks},"
            " four for each device"
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
        open_loggers(
            settings.logger if trainer.is_global_zero else {},
            directory,
            run.sweep,
            name=settings.name,
            job_type="train",
            config=asdict(settings) | {"environment": collect_environment()},
        ) as loggers,
        progress_bar("training", epochs * per_epoch, ("loss/d", "loss/g")) as bar,
    ):
        trainer.loggers = [metrics, *loggers]
        data_diversity = diversity(to_float(pixels[:1024]))
        every = settings.checkpoint.every_n_epochs
        if images.held_out is not None:
            scored = to_float(spaced(pixels, SCORED)), to_float(images.held_out)
            of_train = images.conditions.spaced(len(scored[0])) if images.conditions else None
            scores = DiscriminatorScores(*scored, of_train, images.held_out_conditions)
            trainer.callbacks.append(scores)  # type: ignore[attr-defined]
        trainer.callbacks += [  # type: ignore[attr-defined]
            TrainingProgress(bar),
            Snapshots(directory, every, metrics, loggers, data_diversity),
        ]
        fit(trainer, module, batches, checkpoint, directory)
        if trainer.is_global_zero:
            export_prior(module, directory / "prior.safetensors", loggers)
            vectors = images.conditions.spaced(len(pixels)) if images.conditions else None
            flip = settings.augment.flip
            save_data_gaussian(directory / "prior.safetensors", pixels, flip, vectors)
    speed = [row["images_per_second"] for row in metrics.rows if "images_per_second" in row]
    return sum(speed) / len(speed) if speed else None


def make_networks(settings: TrainConfig, images: TrainingImages) -> "tuple[Module, Module, dict]":
    """The generator, the discriminator, and what a prior's metadata says about both."""
    import torch
    from torch import nn

    from gan_inpaint.models.config import DCGAN, ModelConfig

    target, keys = settings.model["_target_"], dict(settings.model)
    latent, own = keys.pop("latent"), target == DCGAN
    if own and images.encoder:
        keys["condition"] = images.encoder.dim, settings.conditioning.width
    elif images.encoder:
        raise InputError(f"conditioning: {target} takes no conditions; set conditioning=none")
    if not own:  # those of the group that it does not take are for the DCGAN
        try:
            takes = signature(get_object(target)).parameters
        except Exception as problem:  # whatever an import raises
            raise InputError(f"model._target_={target}: {one_line(problem)}") from problem
        known = ModelConfig.__dataclass_fields__
        keys = {key: value for key, value in keys.items() if key in takes or key not in known}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        made = instantiate_checked("model", {"_target_": target, **keys})
    networks = made if isinstance(made, Sequence) else ()
    if len(networks) != 2 or not all(isinstance(network, nn.Module) for network in networks):
        raise InputError(f"model._target_={target}: must return a generator and a discriminator")
    about = {key: settings.model[key] for key in ("size", "channels")} | keys
    about |= {"architecture": "dcgan" if own else target, "latent": latent}
    about.pop("_target_", None)
    about.pop("condition", None)
    return *networks, about | {"dataset": images.source.dataset, "license": images.source.license}


def make_module(settings: TrainConfig, images: TrainingImages) -> "AdversarialTraining":
    """The LightningModule that trains on these images."""
    from gan_inpaint.training.gan_module import AdversarialTraining, image_shape

    conditioning = None
    if images.encoder:
        conditioning = asdict(settings.conditioning) | {"encoder": images.encoder.state}
    generator, discriminator, about = make_networks(settings, images)
    module = AdversarialTraining(
        generator,
        discriminator,
        latent=settings.model["latent"],
        schedule=asdict(settings.schedule),
        loss=settings.loss,
        optimizers=asdict(settings.optimizer),
        augment=asdict(settings.augment),
        ema_decay=settings.ema.decay,
        batch_size=settings.batch_size,
        seed=settings.seed,
        log_every=settings.log_every,
        about=about,
        compile=settings.compile,
        trained=settings.init is not None,
        freeze_discriminator=settings.freeze_discriminator,
        feature_weight=settings.feature_weight,
        reconstruction_weight=settings.reconstruction_weight,
        conditioning=conditioning,
    )
    shape, wanted = image_shape(generator, module.nz), images.pixels.shape[1:]
    if shape != wanted:
        raise InputError(
            f"model: the generator makes {'x'.join(map(str, shape))} images, the data are"
            f" {'x'.join(map(str, wanted))}; set model.size= and model.channels="
        )
    if images.conditions and module.conditions is not None:
        module.conditions.copy_(images.conditions.spaced(len(module.conditions)))
    return module


def start_from(module: "AdversarialTraining", init: str) -> None:
    """Start from a trained pair; prints what does not fit."""
    from gan_inpaint.priors.files import read_networks
    from gan_inpaint.priors.registry import find_prior
    from gan_inpaint.training import initialize

    try:
        path, name = find_prior(init)
    except InputError as problem:
        raise InputError(str(problem).replace("prior=", "init=", 1)) from None
    networks = read_networks(path)
    own = module.encoder and module.encoder.state
    same = networks.encoder is None or networks.encoder.state == own
    left = initialize.start_from(module, networks.generator, networks.discriminator, same)
    taken = "generator.", "discriminator."
    kernels = [k for k, v in module.state_dict().items() if v.ndim > 1 and k.startswith(taken)]
    if len(left) == len(kernels):
        raise InputError(f"init={init}: none of its layers fits this model; {left[0]}")
    say(f"init: {name}, {len(kernels) - len(left)} of {len(kernels)} layers")
    for key in ("size", "channels", "nz", "ngf", "ndf"):
        here = module.hparams["about"].get(key)
        if str(here) != networks.metadata[key]:
            say(f"init: {key} is {networks.metadata[key]} there, {here} here")
    if not same:
        say("init: the conditions there are others")
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


def export_prior(module: "AdversarialTraining", path: Path, loggers: "list[Logger]") -> None:
    """Write the averaged generator and the discriminator as a prior."""
    from gan_inpaint.priors.files import save_prior
    from gan_inpaint.reporting.loggers import log_prior

    save_prior(
        path, module.average.module, module.discriminator, module.metadata(), module.conditions
    )
    log_prior(loggers, path, module.metadata(), made=True)


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
    if half < (4 if settings.reconstruction_weight else 2):
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
        networks = dict(saved["about"])
    except Exception:  # damaged zips and pickles raise many kinds of errors
        raise InputError(f"{checkpoint}: damaged, or no checkpoint of a training run") from None
    hparams: Mapping[str, Any] = module.hparams  # type: ignore[attr-defined]
    pairs = {key: (saved.get(key), hparams[key]) for key in _RESUMED}
    for key, wanted in hparams["about"].items():
        if key not in _OF_THE_DATA:
            pairs[key] = networks.get(key), wanted
    for key, (before, wanted) in pairs.items():
        if key in _MAY_CHANGE and before and wanted:
            continue  # the networks are there; how much they weigh may change
        if before != wanted:
            if key == "conditioning":
                raise InputError(
                    f"{checkpoint}: the run has other conditions than these data and settings;"
                    " leave them as they are when resuming, or start a new run"
                )
            raise InputError(
                f"{checkpoint}: the run has {key} {before}, the settings say {wanted};"
                " leave it as it is when resuming, or start a new run"
            )
    known, now = content["state_dict"].get("conditions"), module.conditions  # type: ignore[attr-defined]
    if now is not None and not (known is not None and known.equal(now)):
        raise InputError(
            f"{checkpoint}: the images have other conditions now; restore them, or start a new run"
        )
    if epochs < done:
        raise InputError(
            f"trainer.max_epochs={epochs}: the run has {done} epochs already; give at least {done}"
        )
