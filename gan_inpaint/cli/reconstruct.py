"""``python -m gan_inpaint.reconstruct``: fill holes by searching a prior's latent space."""

import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gan_inpaint.cli.command import (
    command,
    config_choice,
    instantiate_checked,
    load_resumed_settings,
)
from gan_inpaint.cli.loggers import check_loggers, open_loggers
from gan_inpaint.cli.prior import make_prior, short_name
from gan_inpaint.cli.trainer import trainer_maker
from gan_inpaint.errors import InputError
from gan_inpaint.jobs.config import ReconstructConfig
from gan_inpaint.jobs.directory import RunDirectory
from gan_inpaint.jobs.identity import identity
from gan_inpaint.jobs.measures import figures, make_measure
from gan_inpaint.runtime.signals import defer_signals

if TYPE_CHECKING:
    from pytorch_lightning import Trainer
    from pytorch_lightning.loggers import Logger

    from gan_inpaint.data.loading import Source
    from gan_inpaint.evaluation.measure import Measure
    from gan_inpaint.jobs.results import JobResults
    from gan_inpaint.jobs.runner import JobBatches
    from gan_inpaint.priors.prior import Prior


def record_failure(directory: Path, cfg: DictConfig, error: str) -> None:
    """Write the summary.json of a failed job: its settings, and why it failed."""
    from gan_inpaint.runtime.io import write_json

    file = directory / "summary.json"
    try:
        reached = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # not there yet, or damaged
        reached = {}
    if reached.get("status") == "done":  # a refused resume must not change a finished job
        return
    keys = ("lam", "lr", "norm", "prior", "seed")
    choices = HydraConfig.get().runtime.choices
    asked = {key: cfg[key] for key in keys} | {"prior": short_name(cfg["prior"])}
    asked |= {key: choices[key] for key in ("data", "mask")}
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        asked["job"] = HydraConfig.get().job.num
    write_json(file, {**asked, **reached, "status": "failed", "error": error})


@command("reconstruct", ReconstructConfig, failed=record_failure)
def main(settings: ReconstructConfig, run: RunDirectory) -> Any:
    """Reconstruct the images of ``data``; all output is in the run's directory.

    Returns:
        The figures of ``maximize`` and ``minimize``, for a sweeper.
    """
    if settings.resume:
        settings = load_resumed_settings(settings.resume, "reconstruct", ReconstructConfig)
    with defer_signals():  # an interrupted import would leave broken modules
        import gan_inpaint.jobs.runner
        import gan_inpaint.reporting.loggers  # noqa: F401
    job = prepare(settings, run)
    with job_loggers(job) as loggers:
        search(job, loggers)
        if run.process:  # the first one of several reports
            return None
        summary = finish(job)
        report(job, summary)
        if loggers:
            log(loggers, job, summary)
    return figures(settings, summary)


@dataclass
class Job:
    """A reconstruction.

    Attributes:
        batches: the images that are left to do, with their source and masks.
        mask_name: the name of the mask's config.
        results: what is done so far.
        trainer: makes the Trainer.
        images: how many images the job has, including those that are done.
    """

    settings: ReconstructConfig
    run: RunDirectory
    prior: "Prior"
    batches: "JobBatches"
    mask_name: str | None
    results: "JobResults"
    measure: "Measure"
    trainer: Callable[..., "Trainer"]
    images: int


def prepare(settings: ReconstructConfig, run: RunDirectory) -> Job:
    """Read the prior, the data and the masks, and claim the run's directory."""
    from gan_inpaint.conditioning.encoder import short
    from gan_inpaint.guide.estimates import GUIDES
    from gan_inpaint.jobs.conditions import job_conditions
    from gan_inpaint.jobs.results import JobResults
    from gan_inpaint.jobs.runner import JobBatches
    from gan_inpaint.runtime.environment import collect_environment
    from gan_inpaint.runtime.io import remove_temporaries
    from gan_inpaint.runtime.memory import keep_freed_memory
    from gan_inpaint.runtime.precision import agree_on_precision
    from gan_inpaint.runtime.seeding import numpy_rng

    check_loggers(settings.logger)
    keep_freed_memory()
    resuming = run.path if settings.resume else None
    mask_name = config_choice("mask", resuming)
    if settings.data.get("truth", True) is None:
        settings = replace(settings, data=settings.data | {"truth": mask_name != "file"})
    prior = make_prior(settings, config_choice("prior_preset", resuming))
    print(f"prior: {prior.name}, {'x'.join(map(str, prior.image_shape))}")
    precision = agree_on_precision(
        settings.precision,
        run.settings / "precision.json",
        "start a new job with precision=fp32",
        shared=run.sweep and run.sweep / "precision.json",
        keep=run.accepted,
    )
    settings = replace(settings, precision=precision).resolved(prior)
    print(f"guide: {GUIDES[settings.guide]}")
    make_source = source_maker(settings, prior)
    source = make_source(split=settings.split)
    mask = instantiate_checked("mask", settings.mask)
    indices = images_to_fill(settings, source, mask)
    if mask_name != "file":  # a trial, so that invalid settings are refused before the job begins
        name = source.names[indices[0]]
        mask(prior.resolution, numpy_rng("mask", settings.seed, name), name)
    mine = shard(settings, source, len(indices))
    own = [indices[number] for number in mine]
    conditions = job_conditions(prior, source, settings.condition)
    for sentence in conditions.describe(own) if conditions else ():
        print(sentence)
    about = {key: getattr(settings, key) for key in _LEADS_THE_SUMMARY}
    about |= {"prior": prior.name, "data": source.dataset, "mask": mask_name}
    about["recipe"] = config_choice("recipe", resuming)
    if conditions:
        about["condition"] = short(settings.condition)
    content = identity(settings, prior, source, mask, own, conditions)
    run.begin_reconstruction(content)
    if run.job is not None:
        about["job"] = run.job
    about |= {"precision": settings.precision, "environment": collect_environment()}
    first = not run.process  # which continues the tables of all
    results = JobResults(run.path, len(indices), prior.nz, about, run.process, restore=first)
    if first:
        remove_temporaries(run.path)
        results.collect()
    measure = make_measure(settings, source, make_source, prior, conditions)
    groups = conditions.groups if conditions else 1
    left = batches_left(mine, max(1, settings.images_at_once // groups), results.done)
    if results.done:
        print(f"precision: {settings.precision}, as recorded")
        print(f"resuming: {len(results.done)} images are done")
        if settings.animate and not (run.path / "search.gif").is_file():
            print("animate is left out: the first image's search is done; start a new job for it")
    return Job(
        settings,
        run,
        prior,
        JobBatches(source, mask, indices, left, settings.seed, prior.image_shape, conditions),
        mask_name,
        results,
        measure,
        trainer_maker(settings, run),
        len(mine),
    )


_LEADS_THE_SUMMARY = ("lam", "lr", "norm", "seed", "restarts", "shard", "shards")


def shard(settings: ReconstructConfig, source: "Source", count: int) -> range:
    """The job's images, as numbers below ``count``."""
    mine = range(settings.shard, count, settings.shards)
    part = f", every {settings.shards}th of them here" if settings.shards > 1 else ""
    print(f"data: {count} of {len(source)} images of {source.dataset}{part}")
    if not mine:
        raise InputError(
            f"shard={settings.shard}: this shard is empty, there are only {count} images; set"
            " fewer shards"
        )
    return mine


def batches_left(mine: range, size: int, done: set[int]) -> list[list[int]]:
    """The batches of an uninterrupted job, without the images that are done.

    Example:
        >>> batches_left(range(5), 2, {0, 1, 3})
        [[2], [4]]
    """
    batches = [
        [number for number in mine[first : first + size] if number not in done]
        for first in range(0, len(mine), size)
    ]
    return [batch for batch in batches if batch]


def source_maker(settings: ReconstructConfig, prior: "Prior") -> Callable[..., "Source"]:
    """Makes the source of a ``split``, at the prior's resolution."""
    from gan_inpaint.priors.face_detection import propose_one

    make = instantiate_checked("data", settings.data)
    offered = {"prior": prior, "propose": partial(propose_one, prior=prior)}
    takes = signature(make).parameters
    given = {key: value for key, value in offered.items() if key in takes}
    return partial(make, size=prior.resolution, channels=prior.channels, **given)


def job_loggers(job: Job) -> AbstractContextManager["list[Logger]"]:
    """The job's run in each logger."""
    settings = job.settings
    return open_loggers(
        {} if job.run.process else settings.logger,
        job.run.path,
        job.run.sweep,
        name=f"lam={settings.lam:g} lr={settings.lr:g} {settings.norm}",
        job_type="reconstruct",
        config=asdict(settings) | {"environment": job.results.about["environment"]},
    )


def search(job: Job, loggers: "list[Logger]") -> None:
    """Search for the images that are left, and write the results of every batch."""
    from gan_inpaint.inversion.pipeline import reconstruct
    from gan_inpaint.jobs.runner import ResultWriter, SearchProgress
    from gan_inpaint.reporting.image_callbacks import SearchImages
    from gan_inpaint.reporting.loggers import log_prior
    from gan_inpaint.reporting.progress import progress_bar

    settings, results, directory = job.settings, job.results, job.run.path
    if not len(job.batches):
        check_done(job)
        return
    if job.prior.files:
        log_prior(loggers, job.prior.files[0], job.prior.metadata, made=False)
    batches, images = job.batches, job.batches.images
    callbacks: list[Any] = []
    if not (results.searched or job.run.process):
        animation = directory / "search.gif" if settings.animate else None
        callbacks.append(SearchImages(loggers, animation))
    # after the animation: a resume skips images that are recorded
    callbacks.append(ResultWriter(directory, results, job.measure, batches, job.mask_name, print))
    try:
        with progress_bar("searching", images * (settings.steps or 0), ("objective",)) as bar:
            callbacks.append(SearchProgress(bar, images))
            reconstruct(
                job.prior,
                settings,
                batches,
                groups=batches.conditions.groups if batches.conditions else 1,
                callbacks=callbacks,
                # several batches would draw their curves over each other
                loggers=loggers if len(batches) == 1 else [],
                trainer=job.trainer,
            )
    except BaseException as problem:
        # keep finished images, unless the disk has failed
        if results.searched and not isinstance(problem, OSError):
            results.save("failed")
            if not job.run.process:
                draw(directory, results)
        raise
    if not job.run.process:
        check_done(job)


def check_done(job: Job) -> None:
    """Raise an InputError if no image could be done, or some have not been tried."""
    results = job.results
    if missing := job.images - len(results.done):
        raise InputError(
            f"the search ended early: {missing} of {job.images} images are not done; continue with"
            f" resume={os.path.relpath(job.run.path)}"
        )
    if not results.searched:
        first = f"; the first: {results.problems[0]}" if results.problems else ""
        raise InputError(f"no image could be done{first or ', see error in results.csv'}")


def log(loggers: "list[Logger]", job: Job, summary: dict[str, Any]) -> None:
    """Log the finished job."""
    from gan_inpaint.reporting.loggers import log_results

    results = job.results
    log_results(
        loggers,
        asdict(job.settings),
        summary,
        results.gallery.grid(),
        results.gallery.table(),
        results.history,
        live=len(job.batches) == 1,
    )


def report(job: Job, summary: dict[str, Any]) -> None:
    """Print the results, and where they are."""
    from gan_inpaint.evaluation.diagnosis import explain_summary
    from gan_inpaint.reporting.comparison import print_summary
    from gan_inpaint.reporting.job_page import write_job_page

    print_summary(summary)
    if skipped := job.images - summary["images"]:
        print(f"{skipped} of {job.images} images were skipped: see error in results.csv")
    source = job.batches.source
    notes = [*source.notes, *explain_summary(summary)]
    for sentence in notes:
        print(sentence)
    write_job_page(job.run.path, summary, job.results.gallery, job.results.history, notes)
    here = Path(os.path.relpath(job.run.path))
    print(f"{here / 'index.html'}  all of it on one page")
    print(f"{here / 'grid.png'}  damaged, reconstructed{', true' if source.truth else ''}")
    print(f"{here / 'results.csv'}  one row per image")
    print(f"{here / 'images'}  the images")
    if (job.run.path / "restored").is_dir():
        print(f"{here / 'restored'}  your photographs, filled at their own size")


def images_to_fill(settings: ReconstructConfig, source: "Source", mask: Callable) -> list[int]:
    """Indices of the images, up to ``limit``; files that are masks of others are excluded."""
    from gan_inpaint.data.image_files import ImageFiles
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


def finish(job: Job) -> dict[str, Any]:
    """Measure and draw the whole job when all images are done; returns the summary."""
    from gan_inpaint.evaluation.diagnosis import TARGETS, self_test
    from gan_inpaint.evaluation.set_metrics import compute_set_metrics

    settings, results = job.settings, job.results
    more: dict[str, Any] = {}
    if settings.diagnose:
        more |= self_test(results.gallery.known(TARGETS), job.prior, settings)
    if settings.metrics and not (job.batches.source.truth and results.searched > 1):
        print("metrics are left out: they need at least two images, and their truth")
    elif settings.metrics:
        gallery = results.gallery
        of_sets = [metric for metric in settings.metrics if metric != "feature_distance"]
        found, notes = compute_set_metrics(of_sets, gallery.methods(), gallery.truth())
        more |= found
        for note in notes:
            print(note)
    draw(job.run.path, results)
    return results.save("done", more)


def draw(directory: Path, results: "JobResults") -> None:
    """Draw the grid and the loss curves of the images that are done."""
    from gan_inpaint.reporting.figures import draw_losses
    from gan_inpaint.runtime.io import write_png

    write_png(directory / "grid.png", results.gallery.grid())
    curves = {"objective": "objective", "contextual": "contextual"}
    draw_losses(directory / "losses.png", results.history, curves, "step", smoothed=False)
