"""Metrics of images and of sets of images, as pure functions on tensors."""

import torch
from torch import Tensor


def psnr(error: Tensor, weight: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB over the pixels where ``weight`` is 1.

    Args:
        error: ``(B, C, H, W)``, difference of two images in [-1, 1] (peak to peak 2).
        weight: ``(B or 1, 1, H, W)`` of 0 and 1: ``1 - known`` for the hole.

    Returns:
        ``(B,)``; infinite for a perfect match.

    Example:
        >>> psnr(torch.full((1, 1, 2, 2), 0.2), torch.ones(1, 1, 2, 2))  # 10 log10(4 / 0.04)
        tensor([20.])
    """
    weight = weight.expand_as(error)
    squared = torch.where(weight > 0, error, 0.0).square()
    return 10 * torch.log10(4.0 * weight.sum(dim=(1, 2, 3)) / squared.sum(dim=(1, 2, 3)))


def diversity(images: Tensor) -> float:
    """The spread of images: root mean square distance of their pixels from the mean image.

    Args:
        images: ``(B, C, H, W)`` in [-1, 1], at least two.

    Example:
        >>> diversity(Tensor([-1.0, 1.0]).view(2, 1, 1, 1))
        1.0
    """
    return images.var(dim=0, correction=0).mean().sqrt().item()


def precision_recall(real: Tensor, fake: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """How many generated images look real, and how much of the real variety is generated.

    Precision is the share of generated images within the k-th nearest neighbour's distance of some
    real image; recall is the reverse. Both depend on the number of images: compare equal ones.

    Source: Kynkäänniemi et al., NeurIPS 2019, "Improved precision and recall metric for assessing
    generative models", eq. 1 to 3.

    Args:
        real, fake: ``(N, F)`` features, equally many.
        neighbours: k.

    Example:
        >>> real = torch.arange(8.0)[:, None]
        >>> precision_recall(real, real + 0.1), precision_recall(real, real + 99)
        ((1.0, 1.0), (0.0, 0.0))
    """

    def covered(points: Tensor, others: Tensor) -> float:
        radius = torch.cdist(points, points).kthvalue(neighbours + 1).values  # the first is itself
        inside = torch.cdist(points, others) <= radius[:, None]
        return float(inside.any(dim=0).float().mean())

    return covered(real, fake), covered(fake, real)


def explained_share(images: Tensor, generated: Tensor, weight: Tensor) -> Tensor:
    """How much of the pixels' variance generated images explain (R²): 1 is a perfect fit.

    It is below 0 if their mean would fit better. Unlike an error, it does not depend on contrast.

    Args:
        images, generated: ``(B, C, H, W)`` in [-1, 1].
        weight: ``(B, 1, H, W)`` of the pixels, 0 in the hole.

    Returns:
        ``(B,)``; nan without a known pixel, or without contrast.

    Example:
        >>> image = torch.tensor([-1.0, 1.0]).view(1, 1, 1, 2)
        >>> explained_share(image, image / 2, torch.ones(1, 1, 1, 2))
        tensor([0.7500])
    """
    weight = weight.expand_as(images)
    dims = (2, 3)
    count = weight.sum(dim=dims, keepdim=True)
    mean = (images * weight).sum(dim=dims, keepdim=True) / count
    total = ((images - mean).square() * weight).sum(dim=(1, 2, 3))
    left = ((images - generated).square() * weight).sum(dim=(1, 2, 3))
    return torch.where(total > 1e-6, 1 - left / total, torch.nan)
