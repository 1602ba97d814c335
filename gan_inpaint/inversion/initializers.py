"""Where a search starts: at random codes, or at the nearest of many random samples."""

import math
import zlib
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from gan_inpaint.functional.latent import project, resolve_constraint
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.priors.gan import Prior
from gan_inpaint.runtime.seeding import torch_rng

_CHUNK = 256  # candidates generated and compared at once
_CONDITIONS = 8  # each condition has this fraction of the candidates, for a batch may hold many
_KEPT = 2**28  # bytes: the candidates' images are kept for later batches up to this size


class Initializer(Protocol):
    """Gives the starting codes of a batch."""

    def __call__(
        self, images: Tensor, weight: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """The codes and the conditions of all restarts, those of one image being neighbours.

        Args:
            images: ``(B, C, H, W)`` in [-1, 1].
            weight: ``(B, 1, H, W)``, 0 in the hole.
            condition: ``(B, d)``, what the images show; zeros: unknown; None: the prior takes none.

        Returns:
            ``(B * restarts, nz)`` and ``(B * restarts, d)``. Where nothing is known, a restart has
            one of the conditions of training, as often as they occur there.
        """


def make_initializer(prior: Prior, config: SearchConfig) -> Initializer:
    """The initializer that ``candidates`` asks for."""
    return NearestSampleInit(prior, config) if config.candidates else RandomInit(prior, config)


class RandomInit:
    """Random codes that depend only on the seed and on an image's known pixels.

    So an image gets the same codes in any batch.
    """

    def __init__(self, prior: Prior, config: SearchConfig):
        self._prior, self._config = prior, config
        self._constraint = resolve_constraint(config.constraint, prior.latent.constraint)

    def __call__(
        self, images: Tensor, weight: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        config, codes, drawn = self._config, [], []
        for image in torch.where(weight > 0, images, 0.0).cpu():
            key = image.numpy().tobytes()
            rng = torch_rng("start", config.seed, key)
            codes.append(self._prior.latent.sample(config.restarts, rng))
            seed = zlib.crc32(key) ^ config.seed
            drawn.append(self._prior.drawn_conditions(config.restarts, seed))
        starts = project(torch.cat(codes), self._constraint, config.radius).to(images.device)
        if condition is None:
            return starts, None
        own = condition.repeat_interleave(config.restarts, dim=0)
        others = torch.cat([one for one in drawn if one is not None]).to(own.device)
        return starts, torch.where((own != 0).any(dim=1, keepdim=True), own, others)


class NearestSampleInit:
    """The codes of the samples nearest to an image's known pixels, the nearest first.

    The distance is the contextual term with each image's own weights. The candidates are drawn
    once. Their images are kept if they fit into 256 MiB (in half precision); otherwise they are
    generated again for each batch, so that memory does not grow with their number. Images under
    different conditions have candidates of their own, an eighth of the number.

    Args:
        prior: generates the candidates, on its device.
        config: uses ``candidates restarts norm constraint radius seed``.
    """

    def __init__(self, prior: Prior, config: SearchConfig):
        self._prior, self._config = prior, config
        rng = torch_rng("candidates", config.seed)
        codes = prior.latent.sample(config.candidates, rng)
        constraint = resolve_constraint(config.constraint, prior.latent.constraint)
        self._codes = project(codes, constraint, config.radius)
        self._conditions = prior.drawn_conditions(config.candidates, config.seed)
        self._samples: list[Tensor] = []
        self._keep = config.candidates * math.prod(prior.image_shape) * 2 <= _KEPT

    def __call__(
        self, images: Tensor, weight: Tensor, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        visible, restarts = torch.where(weight > 0, images, 0.0), self._config.restarts
        codes = self._codes.to(images.device)
        if condition is None or self._conditions is None:
            return codes[self._nearest(visible, weight, self._chunks()).flatten()], None
        own = condition.repeat_interleave(restarts, dim=0).unflatten(0, (-1, restarts))
        fewer = max(restarts, len(codes) // _CONDITIONS)  # whatever else is in the batch
        index = torch.empty(len(images), restarts, dtype=torch.long, device=images.device)
        for (shared,), members in group_rows(condition):
            known = bool((shared != 0).any())
            among = shared.expand(fewer, -1)
            samples = self._generated(codes[:fewer], among) if known else self._chunks()
            index[members] = self._nearest(visible[members], weight[members], samples)
            if not known:
                own[members] = self._conditions.to(own.device)[index[members]]
        return codes[index.flatten()], own.flatten(0, 1)

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

    @torch.no_grad()
    def _chunks(self) -> Iterator[Tensor]:
        """The candidates' images, ``(chunk, C, H, W)``."""
        if self._samples:
            yield from (part.float() for part in self._samples)
            return
        made = []
        for part in self._generated(self._codes.to(self._prior.device), self._conditions):
            # also rounded the first time: every batch must see the same images
            rounded = part.half()
            yield rounded.float()
            if self._keep:
                made.append(rounded)
        self._samples = made

    @torch.no_grad()
    def _generated(self, codes: Tensor, condition: Tensor | None) -> Iterator[Tensor]:
        """The images of codes ``(N, nz)`` under conditions ``(N, d)``, in chunks."""
        for first in range(0, len(codes), _CHUNK):
            part = slice(first, first + _CHUNK)
            told = None if condition is None else condition[part].to(codes.device)
            yield self._prior.decode(codes[part], told)


def group_rows(*tensors: Tensor) -> list[tuple[tuple[Tensor, ...], list[int]]]:
    """The distinct rows of a batch's tensors, each with the numbers of the images that share them.

    Example:
        >>> [members for _, members in group_rows(torch.tensor([[1], [2], [1]]))]
        [[0, 2], [1]]
    """
    groups: dict[bytes, list[int]] = {}
    for number, rows in enumerate(zip(*(tensor.cpu() for tensor in tensors), strict=True)):
        key = b"".join(row.numpy().tobytes() for row in rows)
        groups.setdefault(key, []).append(number)
    return [(tuple(t[members[0]] for t in tensors), members) for members in groups.values()]


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
