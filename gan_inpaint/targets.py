"""What to reconstruct: pictures drawn from the prior itself, or those it was not trained on."""

import math

import numpy as np
from torch import Tensor

from gan_inpaint.data import Source, read_all
from gan_inpaint.errors import InputError
from gan_inpaint.pictures import to_float, to_uint8
from gan_inpaint.prior import Prior
from gan_inpaint.sources import Digits


class Generated:
    """Targets drawn from the prior itself, where a perfect answer exists: a test of the search.

    Args:
        count: how many there are.
        seed: their latent codes are a function of it.
        radius: longer codes are shortened to this times √nz, so that a search that is held to the
            same ball can find them.
    """

    dataset = "generated"
    fingerprint = None
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
        radius: float = math.inf,
    ):
        prior = _needed(prior, "generated")
        if count < 1:
            raise InputError(f"data.count={count}: must be at least 1")
        if seed < 0:
            raise InputError(f"data.seed={seed}: must be at least 0")
        self._pixels = np.concatenate(
            [to_uint8(part) for part in prior.samples(count, seed, radius)]
        )
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
    radius: float = math.inf,
) -> Source:
    """What the prior was not trained on, where it can be had without asking; else ``Generated``."""
    prior = _needed(prior, "auto")
    if prior.metadata.get("dataset") == Digits.dataset:
        return Digits(size, channels, split)
    return Generated(size, channels, split, prior, count=count, seed=seed, radius=radius)


def _needed(prior: Prior | None, data: str) -> Prior:
    if prior is None:
        raise InputError(f"data={data} is for reconstruct; train on pictures, say data=digits")
    return prior


def mean_image(prior: Prior) -> Tensor:
    """``(C, H, W)``: the mean picture of the prior's training set.

    Where that is not at hand, the mean of 1,024 pictures that the prior generates stands in for it.
    """
    if prior.metadata.get("dataset") == Digits.dataset:
        pixels, _ = read_all(Digits(prior.size, prior.channels, "train"))
        return to_float(pixels).mean(dim=0)
    return prior.sample(1024, seed=0).mean(dim=0)
