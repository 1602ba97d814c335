"""``python -m gan_inpaint.train_guide``: train a network that estimates holes, for a prior."""

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gan_inpaint.cli.command import command, instantiate_checked, load_resumed_settings
from gan_inpaint.cli.loggers import open_loggers
from gan_inpaint.cli.train import newest_checkpoint, prepare_process, say
from gan_inpaint.cli.trainer import NOT_FOR_TRAINING, check_trainer
from gan_inpaint.errors import InputError
from gan_inpaint.jobs.directory import RunDirectory
from gan_inpaint.runtime.signals import defer_signals
from gan_inpaint.training.config import TrainGuideConfig

if TYPE_CHECKING:
    import numpy as np
    from pytorch_lightning import Trainer
    from torch.utils.data import DataLoader

    from gan_inpaint.guide.network import GuideNetwork
    from gan_inpaint.priors.prior import Prior
    from gan_inpaint.training.guide_module import GuideTraining


@command("train_guide", TrainGuideConfig)
def main(settings: TrainGuideConfig, run: RunDirectory) -> None:
    """Train on the images of ``data``; all output is in the run's directory."""
    go_on = run.check_training(resume=settings.resume is not None)
    if settings.resume:
        settings = load_resumed_settings(settings.resume, "train_guide", TrainGuideConfig)
    prepare_process(settings, run)
    from gan_inpaint.data.loading import training_batches

    prior, source = choose_prior(settings, run, go_on)
    pixels, held_out = read_images(settings, prior)
    mask = instantiate_checked("mask", settings.mask)
    batches = training_batches(pixels, settings.batch_size, settings.seed)
    trainer = make_trainer(settings, run)
    run.accept()
    prior = copy_prior(source, run.path, pixels, settings.flip)
    module = make_module(settings, prior, mask, held_out)
    train(settings, run, trainer, module, batches)
    written = export(settings, prior, module)
    report(run.path, module, written)


def choose_prior(
    settings: TrainGuideConfig, run: RunDirectory, go_on: bool
) -> tuple["Prior", Path]:
    """The prior, and its file; a resumed training takes its own copy."""
    from gan_inpaint.priors.registry import load_prior

    copied = run.path / "prior.safetensors"
    prior = load_prior(copied if go_on and copied.is_file() else settings.prior)
    say(f"prior: {prior.name}, {prior.channels}x{prior.size}x{prior.size}")
    if prior.files[0].suffix not in (".safetensors", ".ckpt"):
        raise InputError(
            f"prior={settings.prior}: a learned guide needs a .safetensors prior, a training run"
            " or a checkpoint"
        )
    return prior, prior.files[0]


def read_images(
    settings: TrainGuideConfig, prior: "Prior"
) -> tuple["np.ndarray", "np.ndarray | None"]:
    """The training images, and up to ``held_out`` others, both uint8 ``(N, C, H, W)``."""
    from gan_inpaint.data.loading import decode_cached

    make = instantiate_checked("data", settings.data)
    shape = {"size": prior.size, "channels": prior.channels}
    source = make(**shape, split="train")
    pixels = decode_cached(source).pixels
    say(f"data: {len(pixels)} images of {source.dataset}")
    if not settings.held_out:
        return pixels, None
    return pixels, decode_cached(make(**shape, split="val")).pixels[: settings.held_out]


def make_trainer(settings: TrainGuideConfig, run: RunDirectory) -> "Trainer":
    """Lightning's Trainer, on one device."""
    from gan_inpaint.runtime.precision import LIGHTNING, agree_on_precision

    check_trainer(settings.trainer, NOT_FOR_TRAINING, "the training of a guide")
    precision = agree_on_precision(
        settings.precision,
        run.settings / "precision.json",
        "give precision=fp32 to continue in that",
        shared=run.sweep and run.sweep / "precision.json",
        keep=run.accepted,
    )
    trainer = instantiate_checked(
        "trainer",
        settings.trainer,
        precision=LIGHTNING[precision],
        max_steps=settings.steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=run.path,
    )
    if trainer.world_size > 1:
        raise InputError("train_guide uses one device; leave trainer.devices out")
    say(f"training: {settings.steps} steps of {settings.batch_size} images, precision {precision}")
    return trainer


def copy_prior(source: Path, directory: Path, pixels: "np.ndarray", flip: bool) -> "Prior":
    """Copy the prior into the run's directory, with statistics of the training images."""
    from gan_inpaint.guide.gaussian import save_data_gaussian
    from gan_inpaint.priors.files import read_networks
    from gan_inpaint.priors.registry import load_prior
    from gan_inpaint.runtime.io import atomic_write

    file = directory / "prior.safetensors"
    if source.suffix == ".ckpt":
        read_networks(source).save(file)
    elif source != file:
        with atomic_write(file) as temporary:
            shutil.copyfile(source, temporary)
    prior = load_prior(file)
    if prior.companion("gaussian") is None:
        save_data_gaussian(file, pixels, flip)
    return prior


def make_module(
    settings: TrainGuideConfig, prior: "Prior", mask: Callable, held_out: "np.ndarray | None"
) -> "GuideTraining":
    """The LightningModule."""
    import torch

    from gan_inpaint.data.images import to_float
    from gan_inpaint.guide.gaussian import load_gaussian
    from gan_inpaint.training.guide_module import GuideTraining

    return GuideTraining(
        load_gaussian(prior, "data"),
        mask,
        settings.steps,
        settings.lr,
        settings.flip,
        settings.seed,
        torch.empty(0) if held_out is None else to_float(held_out),
    )


def train(
    settings: TrainGuideConfig,
    run: RunDirectory,
    trainer: "Trainer",
    module: "GuideTraining",
    batches: "DataLoader",
) -> None:
    """Train, from the newest checkpoint in the run's directory if there is one."""
    with defer_signals():  # an interrupted import would leave broken modules
        from gan_inpaint.reporting.metrics_file import MetricsFile
        from gan_inpaint.reporting.progress import TrainingProgress, progress_bar
        from gan_inpaint.runtime.environment import collect_environment
        from gan_inpaint.training.guide_module import METRICS, GuideSnapshots

    metrics = MetricsFile(run.path / "metrics.csv", METRICS)
    with (
        open_loggers(
            settings.logger,
            run.path,
            run.sweep,
            name=f"guide for {settings.prior}",
            job_type="train_guide",
            config=asdict(settings) | {"environment": collect_environment()},
        ) as loggers,
        progress_bar("training", settings.steps, METRICS) as bar,
    ):
        trainer.loggers = [metrics, *loggers]
        trainer.callbacks += [  # type: ignore[attr-defined]
            TrainingProgress(bar),
            GuideSnapshots(run.path, settings.every_n_steps, metrics),
        ]
        with defer_signals():
            trainer.fit(module, batches, ckpt_path=newest_checkpoint(run.path), weights_only=True)


def export(settings: TrainGuideConfig, prior: "Prior", module: "GuideTraining") -> Path:
    """Write the averaged network beside the copy of the prior."""
    from gan_inpaint.guide.learned import save_guide_network

    gaussian = prior.companion("gaussian")
    assert gaussian is not None  # written with the copy
    network = cast("GuideNetwork", module.average.module)
    about = {"steps": settings.steps, "batch_size": settings.batch_size, "seed": settings.seed}
    return save_guide_network(prior.files[0], network, gaussian, about)


def report(directory: Path, module: "GuideTraining", written: Path) -> None:
    """Print how good the guide is, and where it is."""
    last = module.history[-1] if module.history else {}
    if "psnr_hole_network" in last:
        say(
            f"hole PSNR on held-out images: {last['psnr_hole_network']:.2f} dB, linear estimate"
            f" {last['psnr_hole_linear']:.2f} dB"
        )
    say(f"{os.path.relpath(written)}  the guide")
    say(f"use it: python -m gan_inpaint.reconstruct prior={os.path.relpath(directory)}")
