"""Batches of a reconstruction job: pictures and masks in, results and photographs out."""

import gc
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from pytorch_lightning.loggers import Logger, WandbLogger
from torch import Tensor

from gan_inpaint.data.datasets import Folder, ImageFiles
from gan_inpaint.data.images import to_float
from gan_inpaint.data.loading import Source
from gan_inpaint.data.mask_files import MaskFile
from gan_inpaint.data.masks import validate_mask
from gan_inpaint.data.photographs import distinct, look, restored, write_photograph
from gan_inpaint.errors import InputError
from gan_inpaint.evaluation.config import ReconstructConfig
from gan_inpaint.evaluation.results import Batch, Record
from gan_inpaint.inversion.initializers import Starts
from gan_inpaint.inversion.result import Result
from gan_inpaint.inversion.search import search_batch
from gan_inpaint.priors.gan import Prior
from gan_inpaint.reporting.animation import Frames
from gan_inpaint.reporting.progress import Bar
from gan_inpaint.reporting.wandb_logging import log_look
from gan_inpaint.runtime.memory import free_memory, is_out_of_memory
from gan_inpaint.runtime.seeding import numpy_rng
from gan_inpaint.runtime.signals import defer_signals


@dataclass
class Job:
    """What is filled by what.

    Attributes:
        indices: of the job's images in ``source``.
        mask: makes an image's mask, see ``masks``.
        mask_name: of the mask's config.
    """

    directory: Path
    settings: ReconstructConfig
    prior: Prior
    source: Source
    indices: list[int]
    mask: Callable[..., Tensor]
    mask_name: str | None


def fill(
    job: Job, batches: Sequence[list[int]], record: Record, bar: Bar, wandb: WandbLogger | None
) -> None:
    """Search for images batch by batch.

    Args:
        batches: numbers of the images in the job, at most ``images_at_once`` each.
        record: takes the results.
    """
    settings, source, indices = job.settings, job.source, job.indices
    starts = Starts(job.prior, settings)
    once = len(batches) == 1  # several batches would draw their curves over each other
    total, done, ahead = sum(map(len, batches)), 0, deque(batches)
    while ahead:
        numbers = ahead.popleft()
        batch = read_batch(source, indices, numbers, job.mask, settings.seed, record)
        if batch is None:
            done += len(numbers)
            continue
        watching = []
        if not record.searched:
            print(f"mask: {job.mask_name}, {missing_in_words(batch.known)}")
            show = partial(log_look, wandb) if wandb else None
            watching = [Frames(batch.images, batch.known, show, settings.animate)]
        bar.start(done * settings.steps, len(numbers) * settings.steps)
        bar.note = f"{done}/{total} images"
        loggers = [wandb] if wandb and once else []
        if not searched(job, batch, starts, record, loggers, bar, watching):
            ahead.appendleft(batch.numbers)  # those that cannot be read are done with
            done += len(numbers) - len(batch.numbers)
            ahead = halved(ahead, settings.restarts)
            continue
        done += len(numbers)
        gc.collect()


def searched(
    job: Job,
    batch: Batch,
    starts: Starts,
    record: Record,
    loggers: Sequence[Logger],
    bar: Bar,
    watching: Sequence[Frames],
) -> bool:
    """Search for one batch and write what comes of it; false if memory ran out on the way."""
    settings = job.settings
    started = time.perf_counter()
    try:
        result = search_batch(
            job.prior,
            batch.images,
            batch.known,
            settings,
            starts,
            loggers=loggers,
            callbacks=[bar, *watching],
            updates_per_step=1 if watching and settings.animate else 10,
        )
        took = time.perf_counter() - started
        restore(job.directory, job.source, job.indices, job.mask, batch, result, settings.blend)
        for frames in watching if settings.animate else ():
            frames.save(job.directory / "search.gif")
        with defer_signals():  # last: what is recorded is not done again
            record.add(batch, result, took, job.prior)
            record.save()
    except Exception as problem:
        if not is_out_of_memory(problem):
            raise
        return False
    return True


def halved(batches: Sequence[list[int]], restarts: int) -> deque[list[int]]:
    """Batches of half as many images, after memory ran out on the first of them."""
    free_memory()
    images = len(batches[0])
    rows = f"batch_size={images * restarts}: memory ran out"
    if images == 1:
        raise InputError(f"{rows} on one image; set fewer restarts")
    half = (images + 1) // 2
    print(f"{rows}; going on with batch_size={half * restarts}", file=sys.stderr)
    return deque(
        numbers[first : first + half]
        for numbers in batches
        for first in range(0, len(numbers), half)
    )


def read_batch(
    source: Source,
    indices: Sequence[int],
    numbers: Sequence[int],
    mask: Callable,
    seed: int,
    record: Record,
) -> Batch | None:
    """Read pictures and draw their masks; what cannot be had is named and becomes a failed row.

    Args:
        indices: of the job's pictures in ``source``.
        numbers: of those wanted, in the job.
    """
    read, names, images, known = [], [], [], []
    for number in numbers:
        index = indices[number]
        name = source.names[index]
        try:
            if isinstance(mask, MaskFile) and isinstance(source, ImageFiles):
                pixels, drawn = look(source, index, mask)
            else:
                pixels = source[index]
                drawn = mask(pixels.shape[-1], numpy_rng("mask", seed, name), name)
            validate_mask(drawn, f"the mask of {name}")
        except InputError as problem:
            record.add_unread(number, name, str(problem))
            continue
        read.append(number)
        names.append(name)
        images.append(to_float(pixels))
        known.append(drawn)
    return Batch(read, names, torch.stack(images), torch.stack(known)) if read else None


def missing_in_words(known: Tensor) -> str:
    """How much of pictures is missing: a mask of the wrong polarity is seen at once."""
    shares = 100 * (~known).float().mean(dim=(1, 2, 3))
    least, most = f"{shares.min():.0f}", f"{shares.max():.0f}"
    return f"{least if least == most else f'{least} to {most}'} % of the pixels missing"


def restore(
    directory: Path,
    source: Source,
    indices: Sequence[int],
    mask: Callable,
    batch: Batch,
    result: Result,
    blend: str,
) -> None:
    """Write a user's own photographs, filled at their own size, to ``restored``."""
    if not isinstance(source, Folder):
        return
    names = distinct(source.names)
    for number, known, generated in zip(batch.numbers, batch.known, result.generated, strict=True):
        index = indices[number]
        try:
            photograph = restored(source, index, mask, known, generated, blend)
            write_photograph(directory / "restored", names[index], photograph)
        except (InputError, OSError, ValueError) as problem:  # one odd file must not lose the job
            print(f"not restored: {source.names[index]}: {problem}", file=sys.stderr)
