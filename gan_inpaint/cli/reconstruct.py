"""``python -m gan_inpaint.reconstruct``: fill holes by searching a prior's latent space."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from gan_inpaint.cli.app import chosen, command, instantiate_checked, resumed
from gan_inpaint.cli.run_directory import RunDirectory
from gan_inpaint.cli.trainer import trainer_maker
from gan_inpaint.errors import InputError
from gan_inpaint.evaluation.config import ReconstructConfig
from gan_inpaint.runtime.signals import defer_signals

if TYPE_CHECKING:
    from pytorch_lightning import Trainer
    from pytorch_lightning.loggers import WandbLogger

    from gan_inpaint.data.loading import Source
    from gan_inpaint.evaluation.baselines import Baselines
    from gan_inpaint.evaluation.measure import Measure
    from gan_inpaint.evaluation.results import JobResults
    from gan_inpaint.priors.gan import Prior


def record_failure(directory: Path, cfg: DictConfig, error: str) -> None:
    """The summary.json of a job that failed: what was asked, and why it did not work."""
    from gan_inpaint.runtime.io import write_json

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


@command("reconstruct", ReconstructConfig, failed=record_failure)
def main(settings: ReconstructConfig, run: RunDirectory) -> None:
    """Reconstruct the images of ``data``; everything it leaves is in the run's directory."""
    if settings.resume:
        settings = resumed(settings.resume, "reconstruct", ReconstructConfig)
    with defer_signals():  # an import that is cut in two breaks the next one
        import gan_inpaint.evaluation.runner
        import gan_inpaint.reporting.wandb_logging  # noqa: F401
    job = prepare(settings, run)
    with wandb_run(job) as wandb:
        search(job, wandb)
        if run.process:  # the first one of several reports
            return
        summary = finish(job)
        if wandb:
            log(wandb, job, summary)
    say(job, summary)


@dataclass
class Job:
    """A reconstruction: what is filled by what, and what is done so far.

    Attributes:
        source: the images; ``indices`` are the job's in it.
        mask: makes an image's mask; ``mask_name`` is its config's.
        batches: numbers of the images that are left to do, batch by batch.
        images: how many are this job's.
    """

    settings: ReconstructConfig
    run: RunDirectory
    prior: "Prior"
    source: "Source"
    indices: list[int]
    mask: Callable
    mask_name: str | None
    environment: dict[str, Any]
    results: "JobResults"
    measure: "Measure"
    trainer: Callable[..., "Trainer"]
    batches: list[list[int]]
    images: int


def prepare(settings: ReconstructConfig, run: RunDirectory) -> Job:
    """Read the prior, the data and the masks, and accept the job if it may write here."""
    from gan_inpaint.evaluation.measure import Measure
    from gan_inpaint.evaluation.results import JobResults
    from gan_inpaint.priors.registry import load_prior
    from gan_inpaint.reporting.wandb_logging import check_wandb
    from gan_inpaint.runtime.environment import collect_environment
    from gan_inpaint.runtime.io import remove_temporaries
    from gan_inpaint.runtime.memory import keep_freed_memory
    from gan_inpaint.runtime.precision import agree_on_precision

    check_wandb(settings.logger)
    keep_freed_memory()
    resuming = run.path if settings.resume else None
    mask_name = chosen("mask", resuming)
    prior = load_prior(settings.prior, settings.discriminator)
    if settings.data.get("truth", True) is None:
        settings.data["truth"] = mask_name != "file"
    make_source = source_maker(settings, prior)
    source = make_source(split=settings.split)
    mask = instantiate_checked("mask", settings.mask)
    indices = to_fill(settings, source, mask)
    print(f"prior: {prior.name}, {prior.channels}x{prior.size}x{prior.size}")
    share = f", every {settings.shards}th of them here" if settings.shards > 1 else ""
    print(f"data: {len(indices)} of {len(source)} images of {source.dataset}{share}")
    mine = range(settings.shard, len(indices), settings.shards)
    if not mine:
        raise InputError(
            f"shard={settings.shard}: none of the {len(indices)} images falls to it; set fewer"
            " shards"
        )
    settings.precision = agree_on_precision(
        settings.precision,
        run.settings / "precision.json",
        "start a new job with precision=fp32",
        shared=run.sweep and run.sweep / "precision.json",
        keep=run.accepted,
    )
    about = {
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
        "recipe": chosen("recipe", resuming),
    }
    names = identity(settings, prior, source, mask, [indices[number] for number in mine])
    run.begin_reconstruction(names, about)
    environment = collect_environment()
    about |= {"precision": settings.precision, "environment": environment}
    results = JobResults(run.path, len(indices), prior.nz, about, run.process)
    if not run.process:
        remove_temporaries(run.path)
        results.collect()
    others = baselines(settings, source, make_source, prior) if settings.baselines else None
    measure = Measure(source.truth, settings.blend, others)
    if done := results.done:
        print(f"precision: {settings.precision}, as the job began")
        print(f"resuming: {len(done)} images are done")
        if settings.animate and not (run.path / "search.gif").is_file():
            print("animate is left out: the first image's search is done; start a new job for it")
    # what is left of the very batches of an uninterrupted job
    at_once = settings.images_at_once
    batches = [
        [number for number in mine[first : first + at_once] if number not in done]
        for first in range(0, len(mine), at_once)
    ]
    return Job(
        settings,
        run,
        prior,
        source,
        indices,
        mask,
        mask_name,
        environment,
        results,
        measure,
        trainer_maker(settings, run),
        [batch for batch in batches if batch],
        len(mine),
    )


def source_maker(settings: ReconstructConfig, prior: "Prior") -> Callable[..., "Source"]:
    """Makes the source of a ``split`` at the prior's size."""
    make = instantiate_checked("data", settings.data)
    given: dict[str, Any] = {"size": prior.size, "channels": prior.channels}
    if "prior" in signature(make).parameters:  # of images that depend on one
        given["prior"] = prior
    return partial(make, **given)


def wandb_run(job: Job) -> AbstractContextManager["WandbLogger | None"]:
    """The job's run in W&B, if it is wanted."""
    from gan_inpaint.reporting.wandb_logging import wandb_logger

    settings, sweep = job.settings, job.run.sweep
    return wandb_logger(
        "none" if job.run.process else settings.logger,
        job.run.path,
        name=f"lam={settings.lam:g} lr={settings.lr:g} {settings.norm}",
        group=sweep.name if sweep else None,
        job_type="reconstruct",
        config=asdict(settings) | {"environment": job.environment},
    )


def search(job: Job, wandb: "WandbLogger | None") -> None:
    """Search for the images that are left, batch by batch, and write the results."""
    from gan_inpaint.evaluation.runner import JobBatches, ResultWriter, SearchProgress
    from gan_inpaint.inversion.pipeline import reconstruct
    from gan_inpaint.reporting.animation import Frames
    from gan_inpaint.reporting.progress import progress_bar
    from gan_inpaint.reporting.wandb_logging import log_look, use_prior

    settings, results, directory = job.settings, job.results, job.run.path
    if wandb:
        use_prior(wandb, job.prior.files[0], job.prior.metadata)
    shape = job.prior.channels, job.prior.size, job.prior.size
    batches = JobBatches(job.source, job.mask, job.indices, job.batches, settings.seed, shape)
    callbacks: list[Any] = []
    if not (results.searched or job.run.process):
        show = partial(log_look, wandb) if wandb else None
        callbacks.append(Frames(show, directory / "search.gif" if settings.animate else None))
    # after the animation: what is recorded is not done again
    callbacks.append(ResultWriter(directory, results, job.measure, batches, job.mask_name))
    images = sum(map(len, job.batches))
    try:
        with progress_bar("searching", images * settings.steps, ("objective",)) as bar:
            callbacks.append(SearchProgress(bar, images))
            reconstruct(
                job.prior,
                settings,
                batches,
                callbacks=callbacks,
                # several batches would draw their curves over each other
                loggers=[wandb] if wandb and len(job.batches) == 1 else [],
                trainer=job.trainer,
            )
    except BaseException as problem:
        # what is done stays done, unless it was the disk that failed
        if results.searched and not isinstance(problem, OSError):
            results.save("failed")
            if not job.run.process:
                draw(directory, results)
        raise
    if not (results.searched or job.run.process):
        raise InputError(f"no image could be done; the first: {results.problems[0]}")


def log(wandb: "WandbLogger", job: Job, summary: dict[str, Any]) -> None:
    """Log the finished job to W&B."""
    from gan_inpaint.reporting.wandb_logging import log_results

    gallery = job.results.gallery
    history = job.results.history if len(job.batches) > 1 else ()
    log_results(wandb, summary, gallery.grid(), gallery.table(), history)


def say(job: Job, summary: dict[str, Any]) -> None:
    """Print what was found, and where it is."""
    from gan_inpaint.evaluation.diagnosis import explained
    from gan_inpaint.reporting.comparison import print_summary

    print_summary(summary)
    if skipped := job.images - summary["images"]:
        print(f"{skipped} of {job.images} images were skipped: see error in results.csv")
    for sentence in (*job.source.notes, *explained(summary)):
        print(sentence)
    here = Path(os.path.relpath(job.run.path))
    print(f"{here / 'grid.png'}  corrupted, reconstructed{', true' if job.source.truth else ''}")
    print(f"{here / 'results.csv'}  a row an image")
    print(f"{here / 'images'}  the images")
    if (job.run.path / "restored").is_dir():
        print(f"{here / 'restored'}  your photographs, filled at their own size")


def to_fill(settings: ReconstructConfig, source: "Source", mask: Callable) -> list[int]:
    """Indices of the images that ``limit`` leaves.

    An image that is the mask of another one is none.
    """
    from gan_inpaint.data.datasets import ImageFiles
    from gan_inpaint.data.loading import subset_indices
    from gan_inpaint.data.mask_files import MaskFile

    if isinstance(mask, MaskFile) and isinstance(source, ImageFiles):
        masks = mask.masks_among(source.names, source.root)
        source.leave_out(masks)
        if masks:
            print(f"{len(masks)} files are masks of other images, not images to fill")
    indices = subset_indices(len(source), settings.limit, settings.sample, settings.seed)
    if not indices:
        raise InputError(f"split={settings.split}: the data hold no image there; try split=all")
    return indices


_FREE = {  # keys that results do not depend on, or that name what counts by its content
    *("prior", "discriminator", "resume", "logger", "batch_size", "device", "trainer"),
    *("animate", "diagnose", "metrics"),  # made or measured from what is there
}


def identity(
    settings: ReconstructConfig,
    prior: "Prior",
    source: "Source",
    mask: Callable,
    indices: list[int],
) -> dict[str, Any]:
    """Everything that a job's results depend on, as plain values.

    Args:
        indices: of the job's images in ``source``.
    """
    from gan_inpaint.data.datasets import ImageFiles
    from gan_inpaint.data.loading import content_digest
    from gan_inpaint.data.mask_files import MaskFile

    kept = {key: value for key, value in asdict(settings).items() if key not in _FREE}
    for group in ("data", "mask"):  # where files lie does not matter, what they hold does
        kept[group] = {k: v for k, v in kept[group].items() if k not in ("path", "_partial_")}
        kept[group]["_target_"] = kept[group]["_target_"].rpartition(".")[2]
    files = isinstance(source, ImageFiles)
    own = [(source.names[i], source.file(i) if files else None) for i in indices]  # type: ignore[attr-defined]
    return {
        "settings": kept,
        "prior": prior.digest,
        "images": content_digest(source, indices, settings.seed),
        "levels": source.shared_levels() if isinstance(source, ImageFiles) else None,
        "masks": mask.digest(own) if isinstance(mask, MaskFile) else None,
    }


def finish(job: Job) -> dict[str, Any]:
    """Measure and draw what is there when all images are done; returns the summary."""
    from gan_inpaint.evaluation.diagnosis import TARGETS, self_test
    from gan_inpaint.evaluation.set_metrics import measured

    settings, results = job.settings, job.results
    more: dict[str, Any] = {}
    if settings.diagnose:
        more |= self_test(results.gallery.known(TARGETS), job.prior, settings)
    if settings.metrics and not (job.source.truth and results.searched > 1):
        print("metrics are left out: they need the true images, and two of them")
    elif settings.metrics:
        found, notes = measured(settings.metrics, *results.gallery.pairs())
        more |= found
        for note in notes:
            print(note)
    draw(job.run.path, results)
    return results.save("done", more)


def draw(directory: Path, results: "JobResults") -> None:
    """The images of what is done."""
    from gan_inpaint.reporting.figures import draw_losses
    from gan_inpaint.runtime.io import write_png

    write_png(directory / "grid.png", results.gallery.grid())
    curves = {"objective": "objective", "contextual": "contextual"}
    draw_losses(directory / "losses.png", results.history, curves, "step", smoothed=False)


def baselines(
    settings: ReconstructConfig, source: "Source", data: Callable[..., "Source"], prior: "Prior"
) -> "Baselines":
    """The other ways to fill a hole; what cannot be had here is said.

    Args:
        data: makes the source of a ``split``.
    """
    from gan_inpaint.data.datasets import Folder
    from gan_inpaint.evaluation.baselines import Baselines
    from gan_inpaint.evaluation.targets import mean_image, training_images

    # any folder could be the one that the prior was trained on: only split=val says that it is
    same = not isinstance(source, Folder) or settings.split == "val"
    training = training_images(prior, source, partial(data, split="train")) if same else None
    made = Baselines(mean_image(prior, training), training)
    for reason in made.left_out:
        print(f"baseline left out: {reason}")
    return made
