"""``python -m gan_inpaint.reconstruct``: fill holes by searching a prior's latent space."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gan_inpaint.command import built, chosen, command, resumed
from gan_inpaint.errors import InputError
from gan_inpaint.settings import ReconstructSettings

if TYPE_CHECKING:
    from torch import Tensor

    from gan_inpaint.baselines import Baselines
    from gan_inpaint.data import Source
    from gan_inpaint.prior import Prior
    from gan_inpaint.record import Batch, Record
    from gan_inpaint.search import Result


def record_failure(directory: Path, cfg: DictConfig, error: str) -> None:
    """The summary.json of a job that failed: what was asked, and why it did not work."""
    from gan_inpaint.files import write_json

    file = directory / "summary.json"
    reached = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if reached.get("status") == "done":  # a refused resume: what the job has done stands
        return
    keys = ("lam", "lr", "norm", "prior", "seed")
    choices = HydraConfig.get().runtime.choices
    asked = {key: cfg[key] for key in keys} | {key: choices[key] for key in ("data", "mask")}
    write_json(file, {**asked, **reached, "status": "failed", "error": error})


@command("reconstruct", ReconstructSettings, failed=record_failure)
def main(settings: ReconstructSettings, directory: Path) -> None:
    """Reconstruct the pictures of ``data``; everything it leaves is in ``directory``."""
    if settings.resume:
        settings = resumed(settings.resume, "reconstruct", ReconstructSettings)

    from gan_inpaint.data import choose
    from gan_inpaint.diagnosis import explained, self_test
    from gan_inpaint.environment import described
    from gan_inpaint.figures import draw_losses
    from gan_inpaint.files import write_json, write_png
    from gan_inpaint.frames import Frames
    from gan_inpaint.latent import METRICS
    from gan_inpaint.memory import keep_freed_memory
    from gan_inpaint.prior import find_prior, load_prior
    from gan_inpaint.record import Record
    from gan_inpaint.search import search
    from gan_inpaint.similarity import measured
    from gan_inpaint.starts import Starts
    from gan_inpaint.tracking import log_table, progress_bar, use_prior, wandb_logger

    keep_freed_memory()
    mask_name = chosen(directory, "mask")
    prior = load_prior(settings.prior, settings.discriminator)
    if settings.data.get("truth", True) is None:
        settings.data["truth"] = mask_name != "file"
    data = partial(
        built("data", settings.data), size=prior.size, channels=prior.channels, prior=prior
    )
    source = data(split=settings.split)
    mask = built("mask", settings.mask)
    indices = choose(len(source), settings.limit, settings.sample, settings.seed)
    print(f"prior: {prior.name}, {prior.channels}x{prior.size}x{prior.size}")
    print(f"data: {len(indices)} of {len(source)} pictures of {source.dataset}")

    record = Record(
        directory,
        source.truth,
        settings.blend,
        baselines(settings, source, data, prior) if settings.baselines else None,
        {
            "lam": settings.lam,
            "lr": settings.lr,
            "norm": settings.norm,
            "prior": prior.name,
            "data": source.dataset,
            "mask": mask_name,
            "seed": settings.seed,
            "restarts": settings.restarts,
            "recipe": chosen(directory, "recipe"),
            "environment": described(),
        },
    )
    left = [number for number in range(len(indices)) if number not in record.done]
    if len(left) < len(indices):
        print(f"resuming: {len(indices) - len(left)} pictures are done")
    parts = [
        left[first : first + settings.images_at_once]
        for first in range(0, len(left), settings.images_at_once)
    ]
    starts = Starts(prior, settings)
    known = None
    with (
        wandb_logger(
            settings.logger,
            directory,
            name=f"lam={settings.lam:g} lr={settings.lr:g} {settings.norm}",
            group=_sweep_name(),
            job_type="reconstruct",
            config=asdict(settings) | {"environment": described()},
        ) as wandb,
        progress_bar("searching", len(left) * settings.steps, ("objective",)) as bar,
    ):
        if wandb:
            use_prior(wandb, find_prior(settings.prior)[0], prior.metadata)
        for done, numbers in enumerate(parts):
            batch = read_batch(source, indices, numbers, mask, settings.seed, record)
            if batch is None:
                continue
            frames = []
            if known is None:
                known = batch.known
                print(f"mask: {mask_name}, {missing_in_words(known)}")
                show = (
                    (lambda step, frame: wandb.log_image("search", [frame], step=step))
                    if wandb
                    else None
                )
                frames = [Frames(batch.images, known, show, settings.animate)]
            bar.start(
                done * settings.images_at_once * settings.steps, len(numbers) * settings.steps
            )
            started = time.perf_counter()
            result = search(
                prior,
                batch.images,
                batch.known,
                settings,
                starts,
                # several parts would draw their curves over each other
                loggers=[wandb] if wandb and len(parts) == 1 else [],
                callbacks=[bar, *frames],
                updates_per_step=1 if frames and settings.animate else 10,
            )
            if frames and settings.animate:
                frames[0].save(directory / "search.gif")
            record.add(batch, result, time.perf_counter() - started, prior)
            restore(directory, source, indices, mask, batch, result, settings.blend)
            record.save()
        if not record.searched:
            raise InputError(f"no picture could be done; the first: {record.problems[0]}")
        summary = record.save("done")
        if settings.diagnose and known is not None:
            summary |= self_test(known, prior, settings)
        if settings.metrics and source.truth and record.searched > 1:
            found, notes = measured(settings.metrics, *record.gallery.pairs())
            summary |= found
            print(*notes, sep="\n", end="\n" if notes else "")
        write_json(directory / "summary.json", summary)
        write_png(directory / "grid.png", record.gallery.grid())
        curves = {"objective": "objective", "contextual": "contextual"}
        draw_losses(directory / "losses.png", record.history, curves, "step", smoothed=False)
        if wandb:
            for row in record.history if len(parts) != 1 else ():
                wandb.log_metrics({key: row[key] for key in METRICS}, step=int(row["step"]))
            wandb.experiment.summary.update(summary)
            wandb.log_image("reconstructions", [record.gallery.grid()])
            log_table(wandb, record.gallery.table())

    shown = [key for key in ("objective", "psnr_hole", "psnr_hole_mean") if key in summary]
    words = ", ".join(f"{key} {summary[key]:.4g}" for key in shown)
    print(f"{summary['images']} images in {summary['seconds']:.1f} s: mean {words}")
    for sentence in explained(summary):
        print(sentence)
    job = Path(os.path.relpath(directory))
    print(f"{job / 'grid.png'}  corrupted, reconstructed{', true' if source.truth else ''}")
    print(f"{job / 'results.csv'}  a row an image")
    print(f"{job / 'images'}  the pictures")
    if (directory / "restored").is_dir():
        print(f"{job / 'restored'}  your photographs, filled at their own size")


def baselines(
    settings: ReconstructSettings, source: "Source", data: Callable[..., "Source"], prior: "Prior"
) -> "Baselines":
    """The other ways to fill a hole; what cannot be had here is said.

    Args:
        data: makes the source of a ``split``.
    """
    from gan_inpaint.baselines import Baselines
    from gan_inpaint.sources import Folder
    from gan_inpaint.targets import mean_picture, training_pictures

    # any folder could be the one that the prior was trained on: only split=val says that it is
    same = not isinstance(source, Folder) or settings.split == "val"
    training = training_pictures(prior, source, partial(data, split="train")) if same else None
    made = Baselines(mean_picture(prior, training), training)
    for reason in made.left_out:
        print(f"baseline left out: {reason}")
    return made


def read_batch(
    source: "Source",
    indices: Sequence[int],
    numbers: Sequence[int],
    mask: Callable,
    seed: int,
    record: "Record",
) -> "Batch | None":
    """Read pictures and draw their masks; what cannot be had is named and becomes a failed row.

    Args:
        indices: of the job's pictures in ``source``.
        numbers: of those wanted, in the job.
    """
    import torch

    from gan_inpaint.drawn import DrawnMask
    from gan_inpaint.masks import check
    from gan_inpaint.photographs import look
    from gan_inpaint.pictures import to_float
    from gan_inpaint.randomness import numpy_rng
    from gan_inpaint.record import Batch
    from gan_inpaint.sources import Pictures

    read, names, images, known = [], [], [], []
    for number in numbers:
        index = indices[number]
        name = source.names[index]
        try:
            if isinstance(mask, DrawnMask) and isinstance(source, Pictures):
                pixels, drawn = look(source, index, mask)
            else:
                pixels = source[index]
                drawn = mask(pixels.shape[-1], numpy_rng("mask", seed, name), name)
            check(drawn, f"the mask of {name}")
        except InputError as problem:
            record.add_unread(number, name, str(problem))
            continue
        read.append(number)
        names.append(name)
        images.append(to_float(pixels))
        known.append(drawn)
    return Batch(read, names, torch.stack(images), torch.stack(known)) if read else None


def missing_in_words(known: "Tensor") -> str:
    """How much of pictures is missing: a mask of the wrong polarity is seen at once."""
    shares = 100 * (~known).float().mean(dim=(1, 2, 3))
    least, most = f"{shares.min():.0f}", f"{shares.max():.0f}"
    return f"{least if least == most else f'{least} to {most}'} % of the pixels missing"


def restore(
    directory: Path,
    source: "Source",
    indices: Sequence[int],
    mask: Callable,
    batch: "Batch",
    result: "Result",
    blend: str,
) -> None:
    """Write a user's own photographs, filled at their own size, to ``restored``."""
    from gan_inpaint.photographs import distinct, restored, write_photograph
    from gan_inpaint.sources import Folder

    if not isinstance(source, Folder):
        return
    names = distinct(source.names)
    for number, known, generated in zip(batch.numbers, batch.known, result.generated, strict=True):
        index = indices[number]
        try:
            photograph = restored(source, index, mask, known, generated, blend)
        except InputError as problem:  # its file has changed since it was read
            print(f"not restored: {problem}", file=sys.stderr)
            continue
        write_photograph(directory / "restored", names[index], photograph)


def _sweep_name() -> str | None:
    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else None


if __name__ == "__main__":
    main()
