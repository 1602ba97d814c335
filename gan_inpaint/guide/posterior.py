"""Images as a Gaussian: the linear estimate of the hole, and samples of its posterior."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

_OVERSAMPLED = 32  # extra directions of the subspace iteration, for its accuracy
_PASSES = 3  # of the subspace iteration over the images
# the noise of the Gaussian model per pixel of mean distance between hole and known pixels, and its
# limits: chosen by the error in the hole, since likelihood gives a noise that is far too small
_NOISE, _NOISE_LIMITS = 0.015, (0.01, 0.2)


@dataclass
class Gaussian:
    """A low-rank Gaussian over images: ``x = mean + cᵀ·directions``, ``c ~ N(0, variances)``.

    It may also be one over images and what they show, their conditions: then the same c moves both,
    and a condition tells about the hole as a known pixel does.

    Attributes:
        mean: ``(C, H, W)``, in the range of the images.
        directions: ``(k, C, H, W)``, orthonormal (together with those of conditions).
        variances: ``(k,)``, descending.
        condition_scale: the factor of conditions; 0: it knows nothing of conditions.
        condition_mean: ``(d,)``, of the scaled conditions.
        condition_directions: ``(k, d)``, likewise.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor
    condition_scale: float = 0.0
    condition_mean: Tensor = field(default_factory=lambda: torch.zeros(0))
    condition_directions: Tensor = field(default_factory=lambda: torch.zeros(0, 0))

    @cached_property
    def factors(self) -> Tensor:
        """``(C·H·W, k)``: the directions times their standard deviations, a row for each value.

        Rows of neighbouring numbers are gathered much faster than columns.
        """
        return (self.directions.flatten(1) * self.variances.sqrt()[:, None]).T.contiguous()

    @cached_property
    def condition_factors(self) -> Tensor:
        """``(d, k)``: ``factors`` of the conditions."""
        return (self.condition_directions * self.variances.sqrt()[:, None]).T.contiguous()

    @cached_property
    def gram(self) -> Tensor:
        """``(k, k)``: factorsᵀ factors."""
        return self.factors.T @ self.factors


def fit_gaussian(
    batches: Callable[[], Iterable[Tensor]], rank: int, rng: torch.Generator
) -> Gaussian:
    """The mean and the principal directions of images, by subspace iteration.

    Source: Halko, Martinsson and Tropp, SIAM Review 2011, algorithm 4.4.

    Args:
        batches: gives ``(B, C, H, W)`` floats in batches; called up to five times.
        rank: number of directions, at most the number of values of an image.
        rng: of the initial subspace.
    """
    count, total = 0, torch.zeros(())
    for batch in batches():
        count, total = count + len(batch), total + batch.sum(dim=0, dtype=torch.float32)
    mean = total / count
    size = mean.numel()
    rank = min(rank, size, count - 1)
    width = min(rank + _OVERSAMPLED, size)
    basis = torch.linalg.qr(torch.randn(size, width, generator=rng))[0]
    for _ in range(_PASSES if width < size else 0):  # otherwise it spans the whole space
        product = torch.zeros(size, width)
        for batch in batches():
            centred = (batch - mean).flatten(1)
            product.addmm_(centred.T, centred @ basis)
        del basis  # it is large
        basis = torch.linalg.householder_product(*torch.geqrf(product))
    covariance = torch.zeros(width, width)
    for batch in batches():
        scores = (batch - mean).flatten(1) @ basis
        covariance += scores.T @ scores
    variances, rotation = torch.linalg.eigh(covariance / count)
    order = variances.argsort(descending=True)[:rank]
    directions = (basis @ rotation[:, order]).T.contiguous()
    return Gaussian(mean, directions.unflatten(1, mean.shape), variances[order].clamp(min=1e-8))


def split_condition(joint: Gaussian, shape: tuple[int, ...], scale: float) -> Gaussian:
    """The Gaussian of images and conditions, from that of both in one vector.

    Args:
        joint: of vectors of an image's values and its condition, scaled.
        shape: ``(C, H, W)`` of an image.
        scale: factor of the conditions.
    """
    values = math.prod(shape)
    return Gaussian(
        joint.mean[:values].unflatten(0, shape),
        joint.directions[:, :values].unflatten(1, shape).contiguous(),
        joint.variances,
        scale,
        joint.mean[values:].clone(),
        joint.directions[:, values:].contiguous(),
    )


def reduce_known(images: Tensor, known: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Images and masks at a lower resolution: a block is the mean of its known pixels.

    Args:
        images: ``(B, C, H, W)``; pixels in the hole are ignored.
        known: ``(B, 1, H, W)`` bool, 1 = observed pixel.
        size: height h and width w of the result.

    Returns:
        ``(B, C, h, w)`` and ``(B, 1, h, w)``; a block with a known pixel is known.
    """
    if images.shape[-2:] == size:
        return images, known
    total = F.adaptive_avg_pool2d(torch.where(known, images, 0.0), size)
    share = F.adaptive_avg_pool2d(known.float(), size)
    return torch.where(share > 0, total / share, 0.0), share > 0


def model_noise(known: Tensor) -> float:
    """The noise σ² that suits a mask: the farther the hole's pixels are from known ones, the more.

    Args:
        known: ``(1, H, W)`` bool, with known pixels.

    Example:
        >>> known = torch.ones(1, 64, 64, dtype=torch.bool)
        >>> known[:, :, 32:] = False  # half: 16.5 pixels on average
        >>> model_noise(known)
        0.2
    """
    distance = distance_transform_edt(~known[0].numpy())
    least, most = _NOISE_LIMITS
    missing = distance[distance > 0]
    return float(np.clip(_NOISE * missing.mean(), least, most)) if len(missing) else least


class Posterior:
    """The distribution of whole images under a Gaussian, given their known pixels.

    With V the directions at the known pixels, Λ the variances and σ² the noise, the coefficients
    have the mean ``c = (V Vᵀ/σ² + Λ⁻¹)⁻¹ V (y − μ)/σ²`` and the covariance ``(V Vᵀ/σ² + Λ⁻¹)⁻¹``.
    One Cholesky factorisation per mask serves all images and samples.

    Source: Tipping and Bishop, J. Royal Statistical Society B, 1999 (probabilistic PCA), with the
    missing pixels left out.

    Args:
        gaussian: of the images.
        known: ``(1, H, W)`` bool, 1 = observed pixel.
        noise: σ², the variance of a pixel beyond the Gaussian.
        given: ``(d,)`` bool, which entries of a condition are known; None: none of them.
    """

    def __init__(
        self, gaussian: Gaussian, known: Tensor, noise: float, given: Tensor | None = None
    ):
        self._gaussian, self._noise = gaussian, noise
        self._known = known.expand_as(gaussian.mean)
        flat = self._known.flatten()
        if 2 * int(flat.sum()) > len(flat):  # fewer products: all values less the missing ones
            rows = gaussian.factors[~flat]
            product = torch.addmm(gaussian.gram, rows.T, rows, alpha=-1)
        else:
            rows = gaussian.factors[flat]
            product = rows.T @ rows
        self._given = given if given is not None and gaussian.condition_scale else None
        if self._given is not None:
            told = gaussian.condition_factors[self._given]
            product = product + told.T @ told
        product.diagonal().add_(noise)
        self._factor = torch.linalg.cholesky(product)

    def mean(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)``: the conditional mean, also at known pixels.

        Args:
            images: ``(B, C, H, W)``; pixels in the hole are ignored.
            condition: ``(B, d)``; entries that are not ``given`` are ignored.
        """
        return self._images(self._coefficients(images, condition))

    def sample(self, images: Tensor, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """``(B, n, C, H, W)``: samples from the posterior.

        Args:
            noise: ``(B, n, k)``, standard normal.
            images, condition: see ``mean``.
        """
        upper = self._factor.T
        flat = noise.flatten(0, 1).T
        apart = torch.linalg.solve_triangular(upper, flat, upper=True).T * self._noise**0.5
        apart = apart.unflatten(0, noise.shape[:2])
        coefficients = self._coefficients(images, condition)[:, None] + apart
        return self._images(coefficients.flatten(0, 1)).unflatten(0, noise.shape[:2])

    def _coefficients(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """In units of the directions' standard deviations."""
        gaussian = self._gaussian
        difference = torch.where(self._known, images - gaussian.mean, 0.0)
        projected = difference.flatten(1) @ gaussian.factors
        if self._given is not None and condition is not None:
            apart = condition * gaussian.condition_scale - gaussian.condition_mean
            own = gaussian.condition_factors[self._given]
            projected = projected + apart[:, self._given] @ own
        return torch.cholesky_solve(projected.T, self._factor).T

    def _images(self, coefficients: Tensor) -> Tensor:
        flat = coefficients @ self._gaussian.factors.T
        return self._gaussian.mean + flat.unflatten(1, self._gaussian.mean.shape)
