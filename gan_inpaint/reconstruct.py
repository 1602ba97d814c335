"""``python -m gan_inpaint.reconstruct``: fill holes by searching a prior's latent space."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gan_inpaint.command import built, command
from gan_inpaint.config import ReconstructSettings
from gan_inpaint.errors import InputError

if TYPE_CHECKING:
    from gan_inpaint.data import Source
    from gan_inpaint.record import Batch, Record


def record_failure(directory: Path, cfg: DictConfig, error: str) -> None:
    """The summary.json of a job that failed: what was asked, and why it did not work."""
    from gan_inpaint.files import write_json

    keys = ("lam", "lr", "norm", "prior", "seed")
    choices = HydraConfig.get().runtime.choices
    asked = {key: cfg[key] for key in keys} | {key: choices[key] for key in ("data", "mask")}
    write_json(directory / "summary.json", {"status": "failed", "error": error, **asked})


@command("reconstruct", ReconstructSettings, failed=record_failure)
def main(settings: ReconstructSettings, directory: Path) -> None:
    """Reconstruct the pictures of ``data``; everything it leaves is in ``directory``."""
    from gan_inpaint.data import choose
    from gan_inpaint.figures import draw_losses
    from gan_inpaint.files import write_csv
    from gan_inpaint.inpainting import mean_history, search
    from gan_inpaint.latent import METRICS
    from gan_inpaint.prior import load_prior
    from gan_inpaint.record import Record
    from gan_inpaint.starts import Starts
    from gan_inpaint.targets import mean_image
    from gan_inpaint.tracking import progress_bar, wandb_logger

    mask_name = HydraConfig.get().runtime.choices["mask"]
    prior = load_prior(settings.prior, settings.discriminator)
    shape = {"size": prior.size, "channels": prior.channels}
    source = built("data", settings.data)(**shape, split=settings.split, prior=prior)
    mask = built("mask", settings.mask)
    chosen = choose(len(source), settings.limit, settings.sample, settings.seed)
    print(f"prior: {prior.name}, {prior.channels}x{prior.size}x{prior.size}")
    print(f"data: {len(chosen)} of {len(source)} pictures of {source.dataset}; mask: {mask_name}")

    record = Record(directory, source.truth, mean_image(prior) if settings.baselines else None)
    starts = Starts(prior, settings)
    histories = []
    parts = range(0, len(chosen), settings.images_at_once)
    with (
        wandb_logger(
            settings.logger,
            directory,
            name=f"lam={settings.lam:g} lr={settings.lr:g} {settings.norm}",
            group=_sweep_name(),
            job_type="reconstruct",
            config=asdict(settings),
        ) as wandb,
        progress_bar("searching", len(chosen) * settings.steps, ("objective",)) as bar,
    ):
        for first in parts:
            indices = chosen[first : first + settings.images_at_once]
            batch = read_batch(source, indices, first, mask, settings.seed, record)
            if batch is None:
                continue
            bar.start(first * settings.steps, len(indices) * settings.steps)
            started = time.perf_counter()
            result = search(
                prior,
                batch.images,
                batch.known,
                settings,
                starts,
                # several parts would draw their curves over each other
                loggers=[wandb] if wandb and len(parts) == 1 else [],
                callbacks=[bar],
            )
            histories.append((len(batch.numbers), result.history))
            record.add(batch, result, time.perf_counter() - started, prior)
        if not record.searched:
            raise InputError(f"no picture could be done; the first: {record.problems[0]}")
        history = mean_history(histories)
        write_csv(directory / "metrics.csv", history, ("step", *METRICS))
        curves = {"objective": "objective", "contextual": "contextual"}
        draw_losses(directory / "losses.png", history, curves, "step", smoothed=False)
        summary = record.write(
            {
                "status": "done",
                "error": None,
                "lam": settings.lam,
                "lr": settings.lr,
                "norm": settings.norm,
                "prior": prior.name,
                "data": source.dataset,
                "mask": mask_name,
                "seed": settings.seed,
                "restarts": settings.restarts,
            }
        )
        if wandb:
            for row in history if len(parts) > 1 else ():
                wandb.log_metrics({key: row[key] for key in METRICS}, step=int(row["step"]))
            wandb.experiment.summary.update(summary)
            wandb.log_image("reconstructions", [record.grid()])

    measured = [key for key in ("objective", "psnr_hole", "psnr_hole_mean") if key in summary]
    words = ", ".join(f"{key} {summary[key]:.4g}" for key in measured)
    print(f"{summary['images']} images in {summary['seconds']:.1f} s: mean {words}")
    job = Path(os.path.relpath(directory))
    print(f"{job / 'grid.png'}  corrupted, reconstructed{', true' if source.truth else ''}")
    print(f"{job / 'results.csv'}  a row an image")
    print(f"{job / 'images'}  the pictures")


def read_batch(
    source: "Source",
    indices: Sequence[int],
    first: int,
    mask: Callable,
    seed: int,
    record: "Record",
) -> "Batch | None":
    """Read pictures and draw their masks; what cannot be had is named and becomes a failed row.

    Args:
        indices: of the pictures in ``source``.
        first: number of the first of them in the job.
    """
    import torch

    from gan_inpaint.masks import check
    from gan_inpaint.pictures import to_float
    from gan_inpaint.randomness import numpy_rng
    from gan_inpaint.record import Batch

    numbers, names, images, known = [], [], [], []
    for number, index in enumerate(indices, first):
        name = source.names[index]
        try:
            image = to_float(source[index])
            drawn = mask(image.shape[-1], numpy_rng("mask", seed, name), name)
            check(drawn, f"the mask of {name}")
        except InputError as problem:
            record.add_unread(number, name, str(problem))
            continue
        numbers.append(number)
        names.append(name)
        images.append(image)
        known.append(drawn)
    return Batch(numbers, names, torch.stack(images), torch.stack(known)) if numbers else None


def _sweep_name() -> str | None:
    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else None


if __name__ == "__main__":
    main()
