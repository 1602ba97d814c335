"""The training images of a prior, if available, and their mean."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gan_inpaint.data.digits import Digits
from gan_inpaint.data.loading import Source, decode_cached
from gan_inpaint.priors.prior import Prior


def training_images(prior: Prior, source: Source, train: Callable[[], Source]) -> np.ndarray | None:
    """uint8 ``(N, C, H, W)``: the images that the prior was trained on; None if not available.

    Args:
        source: the images to reconstruct.
        train: makes the training split of the same data.
    """
    dataset = prior.metadata.get("dataset")
    if dataset == Digits.dataset:
        return decode_cached(Digits(prior.resolution, prior.channels, "train")).pixels
    return decode_cached(train()).pixels if source.dataset == dataset else None


def mean_image(prior: Prior, training: np.ndarray | None) -> Tensor:
    """``(C, H, W)``: the mean of the training images, or without them of 1,024 samples."""
    if training is None:
        return prior.sample(1024, seed=0).mean(dim=0)
    return torch.from_numpy(training.mean(axis=0, dtype=np.float64)).float() / 127.5 - 1
