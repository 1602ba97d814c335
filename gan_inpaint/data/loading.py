"""From a data set to batches of decoded images.

A source is a sequence: ``len(source)``, ``source.names[i]``, and ``source[i]``, which reads one
image as uint8 ``(C, size, size)`` or raises an InputError that names the file.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gan_inpaint.conditioning.encoder import Encoder
from gan_inpaint.errors import InputError
from gan_inpaint.runtime.io import atomic_write, cache_folder, remove_temporaries, write_json
from gan_inpaint.runtime.seeding import numpy_rng

_ENCODED = 4096  # conditions encoded at once


class Source(Protocol):
    """The interface of every source of images."""

    dataset: str  # for the metadata of a prior
    license: str  # likewise
    truth: bool  # whether the images are undamaged, so that results can be measured
    names: list[str]

    @property
    def fingerprint(self) -> str | None:
        """Changes whenever the decoded images may have changed; None if caching is not needed."""

    @property
    def notes(self) -> Sequence[str]:
        """Sentences on ignored files, and on problems in the images read so far."""

    def condition(self, index: int) -> Any:
        """What an image shows: a label, attributes or captions; None if nothing says it."""

    def content(self, index: int) -> bytes:
        """The bytes of an image's file."""

    def size_of(self, index: int) -> int:
        """The number of these bytes."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> np.ndarray: ...


def subset_indices(count: int, limit: int | None, sample: str, seed: int) -> list[int]:
    """Ascending indices: the first ``limit`` images, or ``limit`` random ones."""
    if limit is None or limit >= count:
        return list(range(count))
    if sample == "first":
        return list(range(limit))
    return sorted(numpy_rng("choose", seed).choice(count, limit, replace=False).tolist())


def content_digest(source: Source, indices: Sequence[int], seed: int) -> str:
    """A digest of the names, sizes and contents of images.

    Args:
        indices: which images. Of more than 10,000, only the contents of 1,000 are read.
        seed: of that sample.
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


@dataclass
class Decoded:
    """The readable images of a source.

    Attributes:
        pixels: uint8 ``(N, C, H, W)``; memory-mapped if it comes from the cache.
        names: of these images.
        problems: one sentence for each image that cannot be read.
        notes: what else the user should know, see ``Source``.
    """

    pixels: np.ndarray
    names: list[str]
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


def decode_cached(source: Source) -> Decoded:
    """Decode all images once, into the user's cache directory or ``GAN_INPAINT_CACHE``.

    The cache is memory-mapped, so the data may be larger than memory.
    """
    if source.fingerprint is None:
        pixels = np.stack([source[index] for index in range(len(source))])
        return Decoded(pixels, source.names, notes=source.notes)
    folder = cache_folder()
    cache = folder / f"{hashlib.sha256(source.fingerprint.encode()).hexdigest()[:32]}.uint8"
    try:
        about = json.loads(cache.with_suffix(".json").read_text(encoding="utf-8"))
        complete = cache.stat().st_size == math.prod(about["shape"])
        complete = complete and len(about["names"]) == about["shape"][0]
    except (OSError, ValueError, LookupError, TypeError):
        complete = False
    if not complete:  # not there yet, or damaged
        try:
            remove_temporaries(folder, older_than=86400)
            about = _decode(source, cache) | {"notes": list(source.notes)}
            write_json(cache.with_suffix(".json"), about)
        except OSError as problem:
            raise InputError(
                f"{folder}: decoded images cannot be kept there ({problem.strerror}); make room,"
                " or set the environment variable GAN_INPAINT_CACHE to another folder"
            ) from problem
    pixels = np.memmap(cache, np.uint8, "r", shape=tuple(about["shape"]))
    return Decoded(pixels, about["names"], about["problems"], about["notes"])


def _decode(source: Source, file: Path) -> dict[str, Any]:
    """Write the bytes of every readable image one after the other; returns what the file holds."""
    shape: list[int] = [0]
    names: list[str] = []
    problems: list[str] = []
    console = Console(stderr=True)
    with atomic_write(file) as temporary, temporary.open("wb") as out:
        for index in track(
            range(len(source)), "decoding", console=console, disable=not console.is_terminal
        ):
            try:
                image = source[index]
            except InputError as problem:
                problems.append(str(problem))
                continue
            out.write(image.tobytes())
            names.append(source.names[index])
            shape = [len(names), *image.shape]
        if not names:
            first = problems[0] if problems else "the split is empty"
            raise InputError(f"no image can be read; the first: {first}")
    return {"shape": shape, "names": names, "problems": problems}


class _Pixels(Dataset):
    """Indexed by a whole batch at once: one gather instead of B small ones."""

    def __init__(self, pixels: np.ndarray, conditions: "EncodedConditions | None"):
        self._pixels, self._conditions = pixels, conditions

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, indices: np.ndarray) -> Tensor | tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(self._pixels[indices])
        return pixels if self._conditions is None else (pixels, self._conditions(indices))


class EncodedConditions:
    """The training images' conditions as vectors; of several captions one is drawn each time.

    Args:
        encoder: of the conditions.
        conditions: one per image, as its source gives it; what is not understood is empty.
        seed: of the draws, which also depend on the images of a batch.

    Attributes:
        missing: how many images have an empty condition.
    """

    def __init__(self, encoder: Encoder, conditions: Sequence[Any], seed: int):
        listed = [value if isinstance(value, list) and value else [value] for value in conditions]
        plain = [[encoder.understood(one) for one in several] for several in listed]
        self._counts = np.array([len(several) for several in plain])
        self._firsts = np.cumsum(self._counts) - self._counts
        flat = [one for several in plain for one in several]
        parts = (flat[first : first + _ENCODED] for first in range(0, len(flat), _ENCODED))
        self._vectors = torch.cat([encoder.encode(part).half() for part in parts])
        self._seed = seed
        self.missing = sum(all(one is None for one in several) for several in plain)

    def __call__(self, indices: np.ndarray) -> Tensor:
        """``(B, d)`` of the images with these indices."""
        rng = numpy_rng("caption", self._seed, indices.tobytes())
        drawn = rng.integers(self._counts[indices])
        return self._vectors[torch.from_numpy(self._firsts[indices] + drawn)].float()

    def spaced(self, count: int) -> Tensor:
        """``(count, d)``: the first condition of images evenly spaced over all."""
        places = np.linspace(0, len(self._firsts) - 1, count).round().astype(np.int64)
        return self._vectors[torch.from_numpy(self._firsts[places])].float()


class ShuffledBatches(Sampler):
    """Batches of indices in an order that depends only on (seed, epoch).

    So a resumed run sees the same batches as an uninterrupted one. The last, smaller batch is
    dropped: BatchNorm's statistics would be noisy on it.

    Args:
        count: the number of images.
        batch_size: images per batch.
        seed: see above.
        rank, ranks: this process takes every ``ranks``-th image of each batch, starting at
            ``rank``.

    Attributes:
        taken: batches already taken in this epoch.
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
    pixels: np.ndarray,
    batch_size: int,
    seed: int,
    rank: int = 0,
    ranks: int = 1,
    conditions: EncodedConditions | None = None,
) -> DataLoader:
    """Batches of uint8 ``(B, C, H, W)``; the device converts them to float.

    Args:
        rank, ranks: number of this process, and of all processes that share each batch.
        conditions: of the images; the batches are then pairs with their ``(B, d)`` vectors.
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
        _Pixels(pixels, conditions),
        batch_size=None,
        sampler=sampler,
        pin_memory=torch.cuda.is_available(),  # a GPU copies such memory while it computes
    )
