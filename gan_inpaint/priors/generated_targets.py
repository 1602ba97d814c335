"""Images to reconstruct without any files: the prior's own samples, or held-out digits."""

import math
from collections.abc import Sequence

import numpy as np

from gan_inpaint.data.digits import CaptionedDigits, Digits
from gan_inpaint.data.images import to_uint8
from gan_inpaint.data.loading import Source
from gan_inpaint.errors import InputError
from gan_inpaint.priors.prior import Prior


class Generated:
    """Samples of the prior as targets: a perfect answer exists, so this tests the search.

    Args:
        count: number of samples.
        seed: of their latent codes.
        radius: longer codes are shortened to this times √nz, so that a search within the same ball
            can find them.
    """

    dataset = "generated"
    fingerprint = None
    notes: Sequence[str] = ()
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

    def condition(self, index: int) -> None:
        """Empty, as the samples'."""

    def content(self, index: int) -> bytes:
        return b""  # the settings and the prior define it

    def size_of(self, index: int) -> int:
        return 0

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
    """The held-out part of the prior's training set if it is bundled, else ``Generated``."""
    prior = _needed(prior, "auto")
    if prior.metadata.get("dataset") == Digits.dataset:
        return Digits(size, channels, split)
    if prior.metadata.get("dataset") == CaptionedDigits.dataset:
        return CaptionedDigits(size, channels, split)
    return Generated(size, channels, split, prior, count=count, seed=seed, radius=radius)


def _needed(prior: Prior | None, data: str) -> Prior:
    if prior is None:
        raise InputError(f"data={data} is for reconstruct; train on images, say data=digits")
    return prior
