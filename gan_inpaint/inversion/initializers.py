"""Where a search starts: at random codes, at the nearest of many, or where a regression points."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from gan_inpaint.functional.code_regression import CodeRegression
from gan_inpaint.functional.grouping import group_rows
from gan_inpaint.functional.latent import project
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.priors.prior import Prior
from gan_inpaint.runtime.seeding import torch_rng

_CHUNK = 256  # candidates generated and compared at once
_ENOUGH = 2  # candidates for each number of a code: more do not make a regression better
_CONDITIONS = 8  # each condition has this fraction of the candidates, for a batch may hold many
# the last regression of a prior, small: a page or a loop searches many times with the same settings
_fitted: WeakKeyDictionary[Prior, tuple[Any, CodeRegression]] = WeakKeyDictionary()
_KEPT = 2**28  # bytes: the candidates' images are kept for later batches up to this size


@dataclass
class Starts:
    """Where the rows of a search begin, those of one image being neighbours.

    Attributes:
        codes: ``(B * restarts, nz)``.
        condition: ``(B * restarts, d)``; None: the prior takes none. Where nothing is known, a
            restart has one of the conditions of training, as often as they occur there.
        inverse_curvature: ``(B, nz, nz)``, a first guess for L-BFGS, up to a factor; None: none.
    """

    codes: Tensor
    condition: Tensor | None = None
    inverse_curvature: Tensor | None = None


class Initializer(Protocol):
    """Gives the starting codes of a batch."""

    def __call__(
        self,
        images: Tensor,
        known: Tensor,
        weight: Tensor,
        guide: Tensor | None = None,
        condition: Tensor | None = None,
    ) -> Starts:
        """The starts of all restarts.

        Args:
            images: ``(B, C, H, W)`` in [-1, 1]; pixels in the hole are ignored.
            known: ``(B, 1, H, W)`` bool, 1 = observed pixel.
            weight: ``(B, 1, H, W)`` of the contextual term, 0 in the hole.
            guide: ``(B, restarts, C, H, W)`` in [-1, 1], estimates of the hole; None: no guide.
            condition: ``(B, d)``, what the images show; zeros: unknown; None: the prior takes none.
        """


def make_initializer(prior: Prior, config: SearchConfig) -> Initializer:
    """The initializer that ``start`` and ``candidates`` of a resolved search ask for."""
    if config.start == "regression":
        return RegressionInit(prior, config)
    return NearestSampleInit(prior, config) if config.candidates else RandomInit(prior, config)


class RandomInit:
    """Random codes that depend only on the seed and on an image's known pixels.

    So an image gets the same codes in any batch.
    """

    def __init__(self, prior: Prior, config: SearchConfig):
        self._prior, self._config = prior, config
        self._constraint = config.constraint

    def __call__(
        self,
        images: Tensor,
        known: Tensor,
        weight: Tensor,
        guide: Tensor | None = None,
        condition: Tensor | None = None,
    ) -> Starts:
        """See ``Initializer``."""
        images, weight = _with_guide(images, known, weight, guide, self._config)
        config, codes, drawn = self._config, [], []
        for image in torch.where(weight > 0, images, 0.0).cpu():
            key = image.numpy().tobytes()
            rng = torch_rng("start", config.seed, key)
            codes.append(self._prior.latent.sample(config.restarts, rng))
            seed = zlib.crc32(key) ^ config.seed
            drawn.append(self._prior.drawn_conditions(config.restarts, seed))
        starts = project(torch.cat(codes), self._constraint, config.radius).to(images.device)
        if condition is None:
            return Starts(starts)
        own = condition.repeat_interleave(config.restarts, dim=0)
        others = torch.cat([one for one in drawn if one is not None]).to(own.device)
        return Starts(starts, torch.where((own != 0).any(dim=1, keepdim=True), own, others))


class Candidates:
    """Random codes and the images generated from them.

    The images are kept if they fit into 256 MiB (in half precision); otherwise they are generated
    again for each batch, so that memory does not grow with their number.

    Args:
        prior: generates them, on its device.
        config: uses ``constraint radius seed``.
        count: how many.
    """

    def __init__(self, prior: Prior, config: SearchConfig, count: int):
        self.prior = prior
        rng = torch_rng("candidates", config.seed)
        self.constraint = config.constraint
        codes = prior.latent.sample(count, rng)
        self.codes = project(codes, self.constraint, config.radius)
        self.conditions = prior.drawn_conditions(count, config.seed)
        self._images: list[Tensor] = []
        self._keep = count * math.prod(prior.image_shape) * 2 <= _KEPT

    @torch.no_grad()
    def images(self) -> Iterator[Tensor]:
        """``(chunk, C, H, W)``."""
        if self._images:
            yield from (part.float() for part in self._images)
            return
        made = []
        for part in self.generated(self.codes.to(self.prior.device), self.conditions):
            # also rounded the first time: every batch must see the same images
            rounded = part.half()
            yield rounded.float()
            if self._keep:
                made.append(rounded)
        self._images = made

    @torch.no_grad()
    def generated(self, codes: Tensor, condition: Tensor | None) -> Iterator[Tensor]:
        """The images of codes ``(N, nz)`` under conditions ``(N, d)``, in chunks."""
        for first in range(0, len(codes), _CHUNK):
            part = slice(first, first + _CHUNK)
            told = None if condition is None else condition[part].to(codes.device)
            yield self.prior.decode(codes[part], told)


class NearestSampleInit:
    """The codes of the candidates nearest to an image's known pixels, the nearest first.

    The distance is the contextual term with each image's own weights, plus that of the guide.
    Images under different conditions have candidates of their own, an eighth of the number.

    Args:
        prior: generates the candidates.
        config: uses ``candidates restarts norm guide_weight constraint radius seed``.
    """

    def __init__(self, prior: Prior, config: SearchConfig):
        self._config = config
        self._candidates = Candidates(prior, config, config.candidates)

    def __call__(
        self,
        images: Tensor,
        known: Tensor,
        weight: Tensor,
        guide: Tensor | None = None,
        condition: Tensor | None = None,
    ) -> Starts:
        """See ``Initializer``."""
        images, weight = _with_guide(images, known, weight, guide, self._config)
        visible, restarts = torch.where(weight > 0, images, 0.0), self._config.restarts
        candidates = self._candidates
        codes = candidates.codes.to(images.device)
        if condition is None or candidates.conditions is None:
            return Starts(codes[self._nearest(visible, weight, candidates.images()).flatten()])
        own = condition.repeat_interleave(restarts, dim=0).unflatten(0, (-1, restarts))
        fewer = max(restarts, len(codes) // _CONDITIONS)  # whatever else is in the batch
        index = torch.empty(len(images), restarts, dtype=torch.long, device=images.device)
        for (shared,), members in group_rows(condition):
            told = bool((shared != 0).any())
            among = shared.expand(fewer, -1)
            samples = candidates.generated(codes[:fewer], among) if told else candidates.images()
            index[members] = self._nearest(visible[members], weight[members], samples)
            if not told:
                own[members] = candidates.conditions.to(own.device)[index[members]]
        return Starts(codes[index.flatten()], own.flatten(0, 1))

    def _nearest(self, visible: Tensor, weight: Tensor, chunks: Iterator[Tensor]) -> Tensor:
        """``(B, restarts)``: indices of codes, the nearest first."""
        count, restarts, device = len(visible), self._config.restarts, visible.device
        groups = group_rows(weight)
        best = torch.full((count, restarts), torch.inf, device=device)
        index = torch.zeros(count, restarts, dtype=torch.long, device=device)
        first = 0
        for samples in chunks:
            distance = torch.empty(count, len(samples), device=device)
            for (shared,), members in groups:
                distance[members] = _distances(visible[members], samples, shared, self._config.norm)
            distance = torch.cat([best, distance], dim=1)
            number = torch.arange(first, first + len(samples), device=device).expand(count, -1)
            best, order = distance.topk(restarts, largest=False)
            index = torch.cat([index, number], dim=1).gather(1, order)
            first += len(samples)
        return index


class RegressionInit:
    """The codes that a regression on the candidates gives for an image and its guide.

    Each restart has its own guide, and so its own code. The same regression gives L-BFGS its first
    curvature. It is fitted once for a prior.

    Args:
        prior: generates the candidates.
        config: uses ``candidates guide_weight constraint radius seed``.
    """

    def __init__(self, prior: Prior, config: SearchConfig):
        self._prior, self._config = prior, config
        self._constraint = config.constraint

    @property
    def _regression(self) -> CodeRegression:
        prior, config = self._prior, self._config
        count = min(config.candidates, _ENOUGH * prior.nz)
        key = (count, self._constraint, config.radius, config.seed, prior.device)
        last = _fitted.get(prior)
        if last is None or last[0] != key:
            candidates = Candidates(prior, config, count)
            fit = CodeRegression(candidates.codes.to(prior.device), candidates.images())
            last = _fitted[prior] = key, fit
        return last[1]

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,
        known: Tensor,
        weight: Tensor,
        guide: Tensor | None = None,
        condition: Tensor | None = None,
    ) -> Starts:
        """See ``Initializer``; with a guide, and without conditions."""
        assert guide is not None
        regression, config = self._regression, self._config
        completed = torch.where(known[:, None], images[:, None], guide).flatten(0, 1)
        codes = project(regression.codes(completed), self._constraint, config.radius)
        _, weights = _with_guide(images, known, weight, guide, config)
        found: list[Tensor | None] = [None] * len(images)
        for (shared,), members in group_rows(weights):
            inverse = regression.inverse_curvature(shared)
            for member in members:
                found[member] = inverse
        inverses = [inverse for inverse in found if inverse is not None]
        return Starts(codes, inverse_curvature=torch.stack(inverses) if inverses else None)


def _with_guide(
    images: Tensor, known: Tensor, weight: Tensor, guide: Tensor | None, config: SearchConfig
) -> tuple[Tensor, Tensor]:
    """Images with the first guide in their holes, and the weights of all their pixels."""
    if guide is None:
        return images, weight
    return torch.where(known, images, guide[:, 0]), weight + config.guide_weight * ~known


def _distances(visible: Tensor, samples: Tensor, weight: Tensor, norm: str) -> Tensor:
    """``(B, N)``: sums of w·|G(z) − y| or w·|G(z) − y|² for every pair.

    For the square it returns the root, which has the same order.
    """
    used = weight[0] > 0
    factor = weight[0][used] if norm == "l1" else weight[0][used].sqrt()
    seen = (samples[:, :, used] * factor).flatten(1)
    wanted = (visible[:, :, used] * factor).flatten(1)
    # not as a matrix product, which rounds differently for one image and for many
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(wanted, seen, p=1.0 if norm == "l1" else 2.0, compute_mode=exact)
