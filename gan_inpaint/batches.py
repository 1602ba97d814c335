"""Batches of a reconstruction job: pictures and masks in, restored photographs out."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from gan_inpaint.data import Source
from gan_inpaint.drawn import DrawnMask
from gan_inpaint.errors import InputError
from gan_inpaint.masks import check
from gan_inpaint.photographs import distinct, look, restored, write_photograph
from gan_inpaint.pictures import to_float
from gan_inpaint.randomness import numpy_rng
from gan_inpaint.record import Batch, Record
from gan_inpaint.search import Result
from gan_inpaint.sources import Folder, Pictures


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
