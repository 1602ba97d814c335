"""``python -m gan_inpaint.select``: compare the saved epochs of a training run; export one."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from gan_inpaint.cli.app import command, instantiate_checked, run_settings
from gan_inpaint.cli.run_directory import RunDirectory
from gan_inpaint.errors import InputError
from gan_inpaint.evaluation.config import SelectConfig
from gan_inpaint.training.config import TrainConfig

if TYPE_CHECKING:
    from torch import Tensor


@command("select", SelectConfig)
def main(settings: SelectConfig, run_directory: RunDirectory) -> None:
    """Write select.png and select.csv into the run's directory, or replace its prior."""
    if settings.run is None:
        raise InputError("select needs run=, the directory of a training run")
    run = Path(settings.run)

    from gan_inpaint.evaluation.epochs import saved_epochs

    checkpoints = saved_epochs(run)
    if settings.epoch is not None:
        export(run, checkpoints, settings.epoch)
        return

    import torch

    from gan_inpaint.data.images import grid
    from gan_inpaint.evaluation import frechet
    from gan_inpaint.evaluation.epochs import COLUMNS, epoch_losses, line, measure, recommended
    from gan_inpaint.functional.latent import draw_latent
    from gan_inpaint.priors.registry import load_prior
    from gan_inpaint.reporting.figures import labelled
    from gan_inpaint.reporting.training_page import write_training_page
    from gan_inpaint.reporting.wandb_logging import wandb_logger
    from gan_inpaint.runtime.environment import collect_environment
    from gan_inpaint.runtime.io import read_csv, write_csv, write_png
    from gan_inpaint.runtime.seeding import numpy_rng, torch_rng

    real = held_out_images(run, settings)
    mask = instantiate_checked("mask", settings.mask)
    known = torch.stack(
        [
            mask(real.shape[-1], numpy_rng("mask", settings.seed, index), str(index))
            for index in range(min(settings.images, len(real)))
        ]
    )
    distance = frechet.FrechetDistance(real) if frechet.available() else None
    rows = read_csv(run / "metrics.csv") if (run / "metrics.csv").is_file() else []
    print(f"{len(checkpoints)} epochs, {len(real)} held-out images, {len(known)} reconstructed")
    if distance is None:
        print("without the feature distance: pip install 'gan_inpaint[features]' adds it")

    epochs, samples, before = [], [], 0
    for number, checkpoint in checkpoints.items():
        prior = load_prior(checkpoint)
        losses = epoch_losses(rows, before, number)
        epochs.append(
            measure(
                prior,
                real,
                known,
                losses,
                distance,
                samples=settings.samples,
                steps=settings.steps,
                candidates=settings.candidates,
                seed=settings.seed,
            )
        )
        z = draw_latent(
            settings.columns, prior.nz, prior.latent, torch_rng("select", settings.seed)
        )
        samples.append(prior.generator(z))
        before = number
        print(line(epochs[-1]), flush=True)

    chosen, reason = recommended(epochs)
    table = [e.row() | {"recommended": "yes" if e is chosen else None} for e in epochs]
    write_csv(run / "select.csv", table, COLUMNS)
    tiled = grid(list(torch.stack(samples).unbind(1)))
    labels = [f"{e.number} *" if e is chosen else str(e.number) for e in epochs]
    write_png(run / "select.png", labelled(tiled, labels))
    write_training_page(run)
    with wandb_logger(
        settings.logger,
        run,
        name=f"select {run.name}",
        group=None,
        job_type="select",
        config=asdict(settings) | {"environment": collect_environment()},
    ) as wandb:
        if wandb:
            cells = [[row.get(column) for column in COLUMNS] for row in table]
            wandb.log_table("epochs", list(COLUMNS), cells)
            wandb.log_image("epochs", [labelled(tiled, labels)])
            wandb.experiment.summary.update(chosen.row())
    shown = Path(os.path.relpath(run))
    print(f"recommended: {reason}")
    print(f"{shown / 'select.png'}  a row an epoch, the same codes in every row; * is recommended")
    print(f"{shown / 'select.csv'}  what was measured")
    print(f"use it: python -m gan_inpaint.select run={shown} epoch={chosen.number}")


def held_out_images(run: Path, settings: SelectConfig) -> "Tensor":
    """``(M, C, H, W)`` in [-1, 1]: the first images that a run's data hold out."""
    from gan_inpaint.data.images import to_float
    from gan_inpaint.data.loading import decode_cached

    trained = run_settings(run, "train", TrainConfig)
    data = trained.data | ({"path": settings.path} if settings.path else {})
    model = trained.model
    source = instantiate_checked("data", data)(
        size=model.size, channels=model.channels, split="val"
    )
    pixels, _, _ = decode_cached(source)
    if len(pixels) < 2:
        raise InputError(f"run={run}: its data hold out only {len(pixels)} image; too few")
    return to_float(pixels[: max(settings.samples, settings.images)])


def export(run: Path, checkpoints: dict[int, Path], epoch: int) -> None:
    """Make a saved epoch the run's ``prior.safetensors``."""
    from gan_inpaint.priors.networks import read_networks, save_prior

    if epoch not in checkpoints:
        saved = ", ".join(map(str, checkpoints))
        raise InputError(f"epoch={epoch}: the run has saved epochs {saved}; name one of them")
    networks = read_networks(checkpoints[epoch])
    assert networks.discriminator is not None  # a checkpoint holds both
    prior = run / "prior.safetensors"
    save_prior(prior, networks.generator, networks.discriminator, networks.metadata)
    print(f"{os.path.relpath(prior)}  is epoch {epoch} now")
