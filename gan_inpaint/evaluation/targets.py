"""The training images of a prior, and their mean, where they are at hand."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gan_inpaint.data.datasets import Digits
from gan_inpaint.data.loading import Source, decode_cached
from gan_inpaint.priors.gan import Prior


def training_images(prior: Prior, source: Source, train: Callable[[], Source]) -> np.ndarray | None:
    """uint8 ``(N, C, H, W)``: what the prior was trained on, where that is at hand; else None.

    Args:
        source: what is being reconstructed.
        train: makes the training part of the same data.
    """
    dataset = prior.metadata.get("dataset")
    if dataset == Digits.dataset:
        return decode_cached(Digits(prior.size, prior.channels, "train"))[0]
    return decode_cached(train())[0] if source.dataset == dataset else None


def mean_image(prior: Prior, training: np.ndarray | None) -> Tensor:
    """``(C, H, W)``: the mean of the training images.

    Without them the mean of 1,024 images that the prior generates stands in for it.
    """
    if training is None:
        return prior.sample(1024, seed=0).mean(dim=0)
    return torch.from_numpy(training.mean(axis=0, dtype=np.float64)).float() / 127.5 - 1
