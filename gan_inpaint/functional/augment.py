"""Random augmentation of batches on their device: mirroring and DiffAugment."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

POLICIES = ("color", "translation", "cutout")


def mirrored(images: Tensor, rng: torch.Generator) -> Tensor:
    """``(B, C, H, W)`` with each image mirrored left to right with probability 1/2."""
    flip = torch.rand(len(images), 1, 1, 1, generator=rng, device=rng.device) < 0.5
    return torch.where(flip, images.flip(3), images)


def diffaugment(images: Tensor, policies: Sequence[str], rng: torch.Generator) -> Tensor:
    """Augment images at random, differentiably, before the discriminator sees them.

    Real and generated images are augmented alike, so the generator does not learn the changes.

    Source: Zhao et al., NeurIPS 2020, "Differentiable augmentation for data-efficient GAN
    training", with its ranges: brightness ±0.25 of the range, saturation times 0 to 2, contrast
    times 0.5 to 1.5; shifts by up to 1/8 of the side, padded with zeros (grey); a square of half
    the side set to zero.

    Args:
        images: ``(B, C, H, W)`` in [-1, 1].
        policies: any of ``color``, ``translation``, ``cutout``; applied in this order.
    """
    for policy in POLICIES:
        if policy in policies:
            images = {"color": _color, "translation": _translation, "cutout": _cutout}[policy](
                images, rng
            )
    return images


def _uniform(images: Tensor, rng: torch.Generator) -> Tensor:
    """``(B, 1, 1, 1)`` in [0, 1)."""
    return torch.rand(len(images), 1, 1, 1, generator=rng, device=rng.device)


def _integers(images: Tensor, low: int, high: int, rng: torch.Generator) -> Tensor:
    """``(B, 1)`` whole numbers from ``low`` to ``high``, both included."""
    return torch.randint(low, high + 1, (len(images), 1), generator=rng, device=rng.device)


def _color(images: Tensor, rng: torch.Generator) -> Tensor:
    images = images + (_uniform(images, rng) - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = grey + (images - grey) * (2 * _uniform(images, rng))
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (images - mean) * (0.5 + _uniform(images, rng))


def _translation(images: Tensor, rng: torch.Generator) -> Tensor:
    side = images.shape[-1]
    reach = side // 8
    steps = torch.arange(side, device=images.device)
    # one row and column of zeros around the image is where everything outside comes from
    rows = (steps + 1 + _integers(images, -reach, reach, rng)).clamp(0, side + 1)  # (B, side)
    columns = (steps + 1 + _integers(images, -reach, reach, rng)).clamp(0, side + 1)
    padded = F.pad(images, [1, 1, 1, 1]).permute(0, 2, 3, 1)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _cutout(images: Tensor, rng: torch.Generator) -> Tensor:
    side = images.shape[-1]
    steps = torch.arange(side, device=images.device)
    inside = []
    for _ in range(2):  # rows, columns
        first = _integers(images, 0, side, rng) - side // 4  # the square may stick out
        inside.append((steps >= first) & (steps < first + side // 2))
    hole = (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
    return torch.where(hole, 0.0, images)
