"""From a data set to batches of bytes, decoded once.

A source is a sequence: ``len(source)``, ``source.names[i]``, and ``source[i]``, which reads one
image as uint8 ``(C, size, size)`` or raises an InputError that names the file.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from platformdirs import user_cache_path
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gan_inpaint.errors import InputError
from gan_inpaint.runtime.io import atomic_write, remove_temporaries, write_json
from gan_inpaint.runtime.seeding import numpy_rng


class Source(Protocol):
    """What every source of images offers."""

    dataset: str  # for a prior's metadata
    license: str  # likewise
    truth: bool  # whether the images are undamaged, so that results can be measured
    names: list[str]

    @property
    def fingerprint(self) -> str | None:
        """Changes with what is read from where; None if there is nothing worth caching."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences on what was left out, and on what looks wrong in the images read so far."""

    def content(self, index: int) -> bytes:
        """The bytes that an image is made of."""

    def size_of(self, index: int) -> int:
        """How many those are."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> np.ndarray: ...


def subset_indices(count: int, limit: int | None, sample: str, seed: int) -> list[int]:
    """Indices of the images to take: the first ``limit``, or ``limit`` at random, in order."""
    if limit is None or limit >= count:
        return list(range(count))
    if sample == "first":
        return list(range(limit))
    return sorted(numpy_rng("choose", seed).choice(count, limit, replace=False).tolist())


def content_digest(source: Source, indices: Sequence[int], seed: int) -> str:
    """A digest of images: their names and sizes, and the content of them or of 1,000 of them.

    Args:
        indices: which images; of more than 10,000 a sample is read.
        seed: of the sample.
    """
    read = set(indices)
    if len(indices) > 10_000:
        read = set(numpy_rng("digest", seed).choice(indices, 1000, replace=False).tolist())
    digest = hashlib.sha256()
    for index in indices:
        digest.update(
            f"{source.names[index]}\0{source.size_of(index)}\0".encode("utf-8", "replace")
        )
        if index in read:
            digest.update(hashlib.sha256(source.content(index)).digest())
    return digest.hexdigest()


def decode_cached(source: Source) -> tuple[np.ndarray, list[str], Sequence[str]]:
    """Every readable image as one uint8 array, why the others are not, and the source's notes.

    The array is ``(N, C, H, W)``.

    Files are decoded once, into the user's cache directory (or ``GAN_INPAINT_CACHE``); the array is
    a map of that file, so that more images than memory holds can be trained on.
    """
    if source.fingerprint is None:
        return np.stack([source[index] for index in range(len(source))]), [], source.notes
    folder = Path(os.environ.get("GAN_INPAINT_CACHE") or user_cache_path("gan_inpaint"))
    pixels = folder / f"{hashlib.sha256(source.fingerprint.encode()).hexdigest()[:32]}.uint8"
    facts = pixels.with_suffix(".json")
    try:
        known = json.loads(facts.read_text(encoding="utf-8"))
        whole = pixels.stat().st_size == math.prod(known["shape"])
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    if not whole:  # not there yet, or damaged
        try:
            remove_temporaries(folder, older_than=86400)
            shape, problems = _decode(source, pixels)
            known = {"shape": shape, "problems": problems, "notes": list(source.notes)}
            write_json(facts, known)
        except OSError as problem:
            raise InputError(
                f"{folder}: decoded images cannot be kept there ({problem.strerror}); make room,"
                " or set the environment variable GAN_INPAINT_CACHE to another folder"
            ) from problem
    array = np.memmap(pixels, np.uint8, "r", shape=tuple(known["shape"]))
    return array, known["problems"], known.get("notes", ())


def _decode(source: Source, file: Path) -> tuple[list[int], list[str]]:
    """Write every readable image's bytes one after the other; the shape and the problems."""
    shape: list[int] = [0]
    problems: list[str] = []
    console = Console(stderr=True)
    with atomic_write(file) as temporary, temporary.open("wb") as out:
        for index in track(
            range(len(source)), "decoding", console=console, disable=not console.is_terminal
        ):
            try:
                picture = source[index]
            except InputError as problem:
                problems.append(str(problem))
                continue
            out.write(picture.tobytes())
            shape = [shape[0] + 1, *picture.shape]
        if not shape[0]:
            first = problems[0] if problems else "the split is empty"
            raise InputError(f"no image can be read; the first: {first}")
    return shape, problems


class _Pixels(Dataset):
    """Indexed by a whole batch at once: one gather of bytes instead of B small ones."""

    def __init__(self, pixels: np.ndarray):
        self._pixels = pixels

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, indices: np.ndarray) -> Tensor:
        return torch.from_numpy(self._pixels[indices])


class ShuffledBatches(Sampler):
    """Batches of indices in an order that is a function of (seed, epoch) alone.

    A resumed run therefore sees what an uninterrupted one would have seen. The last, smaller batch
    is left out: BatchNorm's statistics would be noisy on it.

    Args:
        count: of the images.
        batch_size: of them in a batch.
        seed: see above.
        rank, ranks: this process takes every ``ranks``-th image of each batch, from that one on.

    Attributes:
        taken: batches taken in this epoch; the next one starts there.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, ranks: int = 1):
        self._count, self._batch_size, self._seed = count, batch_size, seed
        self._share = slice(rank, None, ranks)
        self._epoch = self.taken = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count // self._batch_size

    def __iter__(self) -> Iterator[np.ndarray]:
        order = numpy_rng("order", self._seed, self._epoch).permutation(self._count)
        batches = order[: len(self) * self._batch_size].reshape(len(self), self._batch_size)
        for index in range(self.taken % len(self), len(self)):
            self.taken = index + 1
            yield batches[index, self._share]


class _Batches(DataLoader):
    """Remembers its place in an epoch: Lightning saves and restores it with its checkpoints."""

    def state_dict(self) -> dict[str, int]:
        return {"taken": self.sampler.taken}  # type: ignore[attr-defined]

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.sampler.taken = state["taken"]  # type: ignore[attr-defined]


def training_batches(
    pixels: np.ndarray, batch_size: int, seed: int, rank: int = 0, ranks: int = 1
) -> DataLoader:
    """Batches of uint8 ``(B, C, H, W)``; conversion to float is left to the device.

    Args:
        rank, ranks: of several processes that share each batch.
    """
    if len(pixels) < 2:
        raise InputError("there is only one training image: BatchNorm needs at least two")
    if len(pixels) < batch_size:
        raise InputError(
            f"batch_size={batch_size}: there are only {len(pixels)} training images;"
            f" set batch_size={len(pixels)} or less"
        )
    if batch_size % ranks:
        raise InputError(f"batch_size={batch_size}: must be a multiple of the {ranks} devices")
    sampler = ShuffledBatches(len(pixels), batch_size, seed, rank, ranks)
    return _Batches(
        _Pixels(pixels),
        batch_size=None,
        sampler=sampler,
        pin_memory=torch.cuda.is_available(),  # a GPU copies such memory while it computes
    )
