"""``python -m gan_inpaint.select``: compare the saved epochs of a training run; export one."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_inpaint.cli.command import command, instantiate_checked, run_settings
from gan_inpaint.cli.loggers import check_loggers, open_loggers
from gan_inpaint.cli.training_images import conditions_of
from gan_inpaint.errors import InputError
from gan_inpaint.jobs.claim import claim
from gan_inpaint.jobs.config import SelectConfig
from gan_inpaint.jobs.directory import RunDirectory
from gan_inpaint.training.config import TrainConfig

if TYPE_CHECKING:
    from torch import Tensor

    from gan_inpaint.data.loading import Decoded
    from gan_inpaint.evaluation.epoch_selection import Epoch


@command("select", SelectConfig)
def main(settings: SelectConfig, run_directory: RunDirectory) -> None:
    """Write select.png and select.csv into the run's directory, or replace its prior."""
    if settings.run is None:
        raise InputError("select needs run=, the directory of a training run")
    run = Path(settings.run)
    check_loggers(settings.logger)

    from gan_inpaint.evaluation.epoch_selection import saved_epochs

    checkpoints = saved_epochs(run)
    with claim(run, "select in a copy of it"):
        if settings.epoch is not None:
            export_epoch(run, checkpoints, settings.epoch)
        else:
            select(run, settings, checkpoints)


def select(run: Path, settings: SelectConfig, checkpoints: dict[int, Path]) -> None:
    """Measure the saved epochs, and recommend one."""
    from gan_inpaint.evaluation.epoch_selection import recommend_epoch

    images, held_out, told = read_splits(run, settings)
    epochs, samples = measure_epochs(run, settings, checkpoints, images, held_out, told)
    recommended, reason = recommend_epoch(epochs)
    write_selection(run, settings, epochs, recommended, samples)
    shown = Path(os.path.relpath(run))
    print(f"recommended: {reason}")
    print(f"{shown / 'select.png'}  one row per epoch, the same latent codes; * is recommended")
    print(f"{shown / 'select.csv'}  the measurements")
    print(f"use it: python -m gan_inpaint.select run={shown} epoch={recommended.number}")


def read_splits(run: Path, settings: SelectConfig) -> tuple["Decoded", "Decoded", list[Any]]:
    """The training images and the held-out images of a run's data, and the latter's conditions."""
    from gan_inpaint.data.loading import decode_cached

    trained = run_settings(run, "train", TrainConfig)
    data = trained.data | ({"path": settings.path} if settings.path else {})
    model = trained.model
    source = instantiate_checked("data", data)
    shape = {key: model[key] for key in ("size", "channels")}
    sources = [source(**shape, split=split) for split in ("train", "val")]
    images, held_out = map(decode_cached, sources)
    if len(held_out.names) < 2:
        raise InputError(
            f"run={run}: its data have only {len(held_out.names)} held-out image; at least 2 are"
            " needed"
        )
    told = conditions_of(sources[1], held_out) if trained.conditioning.encoder else []
    return images, held_out, told


def measure_epochs(
    run: Path,
    settings: SelectConfig,
    checkpoints: dict[int, Path],
    images: "Decoded",
    held_out: "Decoded",
    told: list[Any],
) -> tuple[list["Epoch"], list[tuple[str, "Tensor"]]]:
    """Measure every saved epoch.

    Args:
        told: conditions of the held-out images, of a conditional model.

    Returns:
        The epochs, and rows of samples, ``(columns, C, H, W)`` in [-1, 1], each with a label: one
        for each epoch, and of a conditional model for each condition that grids show.
    """
    import torch

    from gan_inpaint.data.images import spaced, to_float
    from gan_inpaint.evaluation import frechet
    from gan_inpaint.evaluation.epoch_selection import epoch_losses, format_line, measure
    from gan_inpaint.priors.registry import load_prior
    from gan_inpaint.runtime.io import read_csv
    from gan_inpaint.runtime.seeding import numpy_rng, torch_rng

    real = to_float(held_out.pixels[: max(settings.samples, settings.images)])
    train = to_float(spaced(images.pixels, len(real)))
    mask = instantiate_checked("mask", settings.mask)
    known = torch.stack(
        [
            mask(real.shape[-1], numpy_rng("mask", settings.seed, name), name)
            for name in held_out.names[: min(settings.images, len(real))]
        ]
    )
    distance = frechet.FrechetDistance(real) if frechet.available() else None
    rows = read_csv(run / "metrics.csv") if (run / "metrics.csv").is_file() else []
    print(f"{len(checkpoints)} epochs, {len(real)} held-out images, {len(known)} reconstructed")
    if distance is None:
        print("without the Fréchet distance: pip install 'gan_inpaint[features]' adds it")
    epochs, samples, before = [], [], 0
    for number, checkpoint in checkpoints.items():
        prior = load_prior(checkpoint)
        conditions = None
        if prior.encoder:
            conditions = [prior.encoder.understood(value) for value in told[: len(known)]]
        epoch = measure(
            prior,
            real,
            known,
            train,
            epoch_losses(rows, before, number),
            distance,
            samples=settings.samples,
            steps=settings.steps,
            candidates=settings.candidates,
            seed=settings.seed,
            conditions=conditions,
        )
        codes = prior.latent.sample(settings.columns, torch_rng("select", settings.seed))
        for shown in prior.encoder.shown if prior.encoder else [None]:
            vectors = prior.encode([shown]).expand(len(codes), -1) if prior.encoder else None
            words = f" {prior.encoder.words(shown)}" if prior.encoder else ""
            samples.append((f"{number}{words}", prior.decode(codes, vectors)))
        epochs.append(epoch)
        before = number
        print(format_line(epoch), flush=True)
    return epochs, samples


def write_selection(
    run: Path,
    settings: SelectConfig,
    epochs: Sequence["Epoch"],
    recommended: "Epoch",
    samples: Sequence[tuple[str, "Tensor"]],
) -> None:
    """Write select.csv, select.png and the run's page, and log them to W&B."""
    import torch

    from gan_inpaint.data.images import grid
    from gan_inpaint.evaluation.epoch_selection import COLUMNS
    from gan_inpaint.reporting.figures import labelled
    from gan_inpaint.reporting.loggers import log_image, log_rows, log_summary
    from gan_inpaint.reporting.training_page import write_training_page
    from gan_inpaint.runtime.environment import collect_environment
    from gan_inpaint.runtime.io import write_csv, write_png

    table = [e.row() | {"recommended": "yes" if e is recommended else None} for e in epochs]
    write_csv(run / "select.csv", table, COLUMNS)
    best = str(recommended.number)
    labels = [f"{label} *" if label.split()[0] == best else label for label, _ in samples]
    columns = torch.stack([row for _, row in samples]).unbind(1)
    tiled = labelled(grid(list(columns)), labels)
    write_png(run / "select.png", tiled)
    write_training_page(run)
    with open_loggers(
        settings.logger,
        run,
        None,
        name=f"select {run.name}",
        job_type="select",
        config=asdict(settings) | {"environment": collect_environment()},
    ) as loggers:
        rows = [{column: row.get(column) for column in COLUMNS} for row in table]
        log_rows(loggers, "epochs", rows)
        log_image(loggers, "epochs", tiled)
        log_summary(loggers, asdict(settings), recommended.row())


def export_epoch(run: Path, checkpoints: dict[int, Path], epoch: int) -> None:
    """Make a saved epoch the run's ``prior.safetensors``."""
    from gan_inpaint.priors.files import read_networks

    if epoch not in checkpoints:
        saved = ", ".join(map(str, checkpoints))
        raise InputError(f"epoch={epoch}: the run has saved epochs {saved}; choose one of them")
    networks = read_networks(checkpoints[epoch])
    prior = run / "prior.safetensors"
    networks.save(prior)
    print(f"{os.path.relpath(prior)}  now holds epoch {epoch}")
