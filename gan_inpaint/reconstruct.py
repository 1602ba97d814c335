"""``python -m gan_inpaint.reconstruct``: fill holes by searching a prior's latent space."""

import gc
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gan_inpaint.command import built, chosen, command, resumed
from gan_inpaint.errors import InputError
from gan_inpaint.interruption import held
from gan_inpaint.settings import ReconstructSettings

if TYPE_CHECKING:
    from gan_inpaint.baselines import Baselines
    from gan_inpaint.data import Source
    from gan_inpaint.prior import Prior
    from gan_inpaint.record import Record


def record_failure(directory: Path, cfg: DictConfig, error: str) -> None:
    """The summary.json of a job that failed: what was asked, and why it did not work."""
    from gan_inpaint.files import write_json

    file = directory / "summary.json"
    try:
        reached = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # not there yet, or damaged
        reached = {}
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

    with held():  # an import that is cut in two breaks the next one
        from gan_inpaint.batches import Job, fill
        from gan_inpaint.data import choose
        from gan_inpaint.diagnosis import explained
        from gan_inpaint.environment import described
        from gan_inpaint.files import remove_temporaries
        from gan_inpaint.memory import keep_freed_memory
        from gan_inpaint.prior import find_prior, load_prior
        from gan_inpaint.record import Record
        from gan_inpaint.report import print_summary
        from gan_inpaint.tracking import log_results, progress_bar, use_prior, wandb_logger

    keep_freed_memory()
    remove_temporaries(directory)
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
    if not indices:
        raise InputError(f"split={settings.split}: the data hold no picture there; try split=all")
    print(f"prior: {prior.name}, {prior.channels}x{prior.size}x{prior.size}")
    share = f", every {settings.shards}th of them here" if settings.shards > 1 else ""
    print(f"data: {len(indices)} of {len(source)} pictures of {source.dataset}{share}")

    environment = described()
    record = Record(
        directory,
        len(indices),
        prior.nz,
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
            "shard": settings.shard,
            "shards": settings.shards,
            "recipe": chosen(directory, "recipe"),
            "environment": environment,
        },
    )
    mine = range(settings.shard, len(indices), settings.shards)
    if not mine:
        raise InputError(
            f"shard={settings.shard}: none of the {len(indices)} pictures falls to it; set fewer"
            " shards"
        )
    done = record.done
    # what is left of the very batches of an uninterrupted job
    batches = [
        [number for number in mine[first : first + settings.images_at_once] if number not in done]
        for first in range(0, len(mine), settings.images_at_once)
    ]
    if done:
        print(f"resuming: {len(done)} pictures are done")
    # a Trainer refers to itself: what its batch held would stay until a full collection, which is
    # quick if it need not look at what is there for the whole job
    gc.collect()
    gc.freeze()
    with (
        wandb_logger(
            settings.logger,
            directory,
            name=f"lam={settings.lam:g} lr={settings.lr:g} {settings.norm}",
            group=_sweep_name(),
            job_type="reconstruct",
            config=asdict(settings) | {"environment": environment},
        ) as wandb,
        progress_bar("searching", (len(mine) - len(done)) * settings.steps, ("objective",)) as bar,
    ):
        if wandb:
            use_prior(wandb, find_prior(settings.prior)[0], prior.metadata)
        job = Job(directory, settings, prior, source, indices, mask, mask_name)
        try:
            fill(job, batches, record, bar, wandb)
        except BaseException as problem:
            # what is done stays done, unless it was the disk that failed
            if record.searched and not isinstance(problem, OSError):
                record.save("failed")
                draw(directory, record)
            raise
        if not record.searched:
            raise InputError(f"no picture could be done; the first: {record.problems[0]}")
        summary = finish(directory, settings, record, prior)
        if wandb:
            log_results(wandb, record, summary, curves=len(batches) > 1)

    print_summary(summary)
    if skipped := len(mine) - summary["images"]:
        print(f"{skipped} of {len(mine)} pictures were skipped: see error in results.csv")
    for sentence in explained(summary):
        print(sentence)
    here = Path(os.path.relpath(directory))
    print(f"{here / 'grid.png'}  corrupted, reconstructed{', true' if source.truth else ''}")
    print(f"{here / 'results.csv'}  a row an image")
    print(f"{here / 'images'}  the pictures")
    if (directory / "restored").is_dir():
        print(f"{here / 'restored'}  your photographs, filled at their own size")


def finish(
    directory: Path,
    settings: ReconstructSettings,
    record: "Record",
    prior: "Prior",
) -> dict[str, Any]:
    """What is measured and drawn when all images are done; returns the summary."""
    from gan_inpaint.diagnosis import TARGETS, self_test
    from gan_inpaint.similarity import measured

    more: dict[str, Any] = {}
    if settings.diagnose:
        more |= self_test(record.gallery.known(TARGETS), prior, settings)
    if settings.metrics and not (record.truth and record.searched > 1):
        print("metrics are left out: they need the true pictures, and two of them")
    elif settings.metrics:
        found, notes = measured(settings.metrics, *record.gallery.pairs())
        more |= found
        for note in notes:
            print(note)
    draw(directory, record)
    return record.save("done", more)


def draw(directory: Path, record: "Record") -> None:
    """The pictures of what is done."""
    from gan_inpaint.figures import draw_losses
    from gan_inpaint.files import write_png

    write_png(directory / "grid.png", record.gallery.grid())
    curves = {"objective": "objective", "contextual": "contextual"}
    draw_losses(directory / "losses.png", record.history, curves, "step", smoothed=False)


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


def _sweep_name() -> str | None:
    hydra = HydraConfig.get()
    return Path(hydra.sweep.dir).name if hydra.mode == RunMode.MULTIRUN else None


if __name__ == "__main__":
    main()
