"""A linear model of a generator, from samples: images from codes, and codes from images."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

_SIDE = 16  # pixels: regressions on finer images are no better
_RIDGE = 0.1  # added to the diagonals, in units of their mean: without it, few samples are noise
_DAMPING = 1.0  # the same of a curvature, since a generator is not linear
_LARGEST = 512  # numbers in a code; the curvature holds their square for every image


class CodeRegression:
    """Ridge regressions between codes and the images generated from them.

    Source: Hoerl and Kennard, Technometrics 1970 (the regression).

    Args:
        codes: ``(N, n)``.
        images: ``(N, C, H, W)``, generated from the codes, in parts; those that are not finite are
            left out.
    """

    def __init__(self, codes: Tensor, images: Iterable[Tensor]):
        seen = torch.cat([reduced(part) for part in images])
        usable = seen.isfinite().all(dim=1)
        codes, seen = codes[usable], seen[usable]
        self._mean_code, self._mean = codes.mean(dim=0), seen.mean(dim=0)
        codes, seen = codes - self._mean_code, seen - self._mean
        self._to_code, self._to_image = _ridge(seen, codes), _ridge(codes, seen)

    def codes(self, images: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, n)``, the codes that a linear generator would need."""
        # one by one: a product of matrices rounds differently for one image and for many
        found = [self._to_code.T @ (image - self._mean) for image in reduced(images)]
        return self._mean_code + torch.stack(found)

    @property
    def to_codes(self) -> tuple[Tensor, Tensor]:
        """``(n, values)`` and ``(n,)``: what ``codes`` does to ``reduced`` images, as one map."""
        weight = self._to_code.T
        return weight, self._mean_code - weight @ self._mean

    def inverse_curvature(self, weight: Tensor) -> Tensor | None:
        """``(n, n)``: of ``mean of w·(G(z) − y)²`` over z, were the generator linear.

        None if codes are too long for it.

        Args:
            weight: ``(1, H, W)``.
        """
        n, values = self._to_image.shape
        if n > _LARGEST:
            return None
        channels = values // reduced(weight[None]).shape[1]
        weights = reduced(weight[None])[0].repeat(channels)
        curvature = 2 / values * (self._to_image * weights) @ self._to_image.T
        return torch.linalg.inv(_damped(curvature, _DAMPING))


def reduced(images: Tensor) -> Tensor:
    """``(B, values)``: at most 16 pixels high and wide."""
    height, width = images.shape[-2:]
    return F.adaptive_avg_pool2d(images, (min(_SIDE, height), min(_SIDE, width))).flatten(1)


def _ridge(inputs: Tensor, outputs: Tensor) -> Tensor:
    """``(p, q)``: the map from ``(N, p)`` to ``(N, q)``, solved where the matrix is smaller."""
    if inputs.shape[1] <= len(inputs):
        return torch.linalg.solve(_damped(inputs.T @ inputs, _RIDGE), inputs.T @ outputs)
    return inputs.T @ torch.linalg.solve(_damped(inputs @ inputs.T, _RIDGE), outputs)


def _damped(matrix: Tensor, share: float) -> Tensor:
    level = matrix.diagonal().mean().clamp(min=1e-12)
    return matrix + share * level * torch.eye(len(matrix), device=matrix.device)
