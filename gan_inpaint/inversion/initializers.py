"""Where a search starts: at the nearest of many random codes, or at random ones."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gan_inpaint.functional.latent import draw_latent, project, resolve_constraint
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.priors.gan import Prior
from gan_inpaint.runtime.seeding import torch_rng

_CHUNK = 256  # candidates generated and compared at once
_KEPT = 2**28  # bytes of candidates' pictures that are kept for the next batch


class Starts:
    """Starting points for any number of batches of one job.

    The candidates are drawn once, and so are their pictures if they fit into a quarter of a
    gigabyte (as half-precision numbers); else they are generated again for each batch, so that
    memory does not grow with their number.

    Args:
        prior: whose codes they are.
        settings: ``candidates restarts norm constraint radius seed`` of them.
    """

    def __init__(self, prior: Prior, settings: SearchConfig):
        self._prior, self._settings = prior, settings
        self._constraint = resolve_constraint(settings.constraint, prior.latent)
        rng = torch_rng("candidates", settings.seed)
        codes = draw_latent(settings.candidates, prior.nz, prior.latent, rng)
        self._codes = project(codes, self._constraint, settings.radius)
        self._pictures: list[Tensor] = []
        size = prior.channels * prior.size**2
        self._keep = settings.candidates * size * 2 <= _KEPT

    def __call__(self, images: Tensor, weight: Tensor) -> Tensor:
        """``(B * restarts, nz)``: starts of a batch, those of one image being neighbours.

        Nearest by the contextual term under each image's own weights, best first. A random start
        (``candidates=0``) is a function of the seed and of the image's known pixels: the same image
        gets the same start in any batch.

        Args:
            images: ``(B, C, H, W)`` in [-1, 1].
            weight: ``(B, 1, H, W)``, 0 in the hole.
        """
        visible = torch.where(weight > 0, images, 0.0)
        if not self._settings.candidates:
            return self._random(visible)
        return self._codes[self._nearest(visible, weight).flatten()]

    def _random(self, visible: Tensor) -> Tensor:
        settings, starts = self._settings, []
        for image in visible:
            rng = torch_rng("start", settings.seed, image.cpu().numpy().tobytes())
            starts.append(draw_latent(settings.restarts, self._prior.nz, self._prior.latent, rng))
        return project(torch.cat(starts), self._constraint, settings.radius)

    def _nearest(self, visible: Tensor, weight: Tensor) -> Tensor:
        """``(B, restarts)``: indices of codes, the nearest first."""
        count, restarts = len(visible), self._settings.restarts
        groups = _equal(weight)
        best = torch.full((count, restarts), torch.inf)
        index = torch.zeros(count, restarts, dtype=torch.long)
        first = 0
        for pictures in self._chunks():
            distance = torch.empty(count, len(pictures))
            for shared, members in groups:
                distance[members] = _distances(
                    visible[members], pictures, shared, self._settings.norm
                )
            distance = torch.cat([best, distance], dim=1)
            number = torch.arange(first, first + len(pictures)).expand(count, -1)
            best, order = distance.topk(restarts, largest=False)
            index = torch.cat([index, number], dim=1).gather(1, order)
            first += len(pictures)
        return index

    @torch.no_grad()
    def _chunks(self) -> Iterator[Tensor]:
        """The candidates' pictures, ``(chunk, C, H, W)``."""
        if self._pictures:
            yield from (part.float() for part in self._pictures)
            return
        made = []
        for codes in self._codes.split(_CHUNK):
            # rounded also the first time: each batch must see the same pictures
            part = self._prior.generator(codes).half()
            yield part.float()
            if self._keep:
                made.append(part)
        self._pictures = made


def _equal(weight: Tensor) -> list[tuple[Tensor, list[int]]]:
    """The different weights of a batch, each with the images that have them."""
    groups: dict[bytes, list[int]] = {}
    for number, own in enumerate(weight):
        groups.setdefault(own.numpy().tobytes(), []).append(number)
    return [(weight[members[0]], members) for members in groups.values()]


def _distances(visible: Tensor, pictures: Tensor, weight: Tensor, norm: str) -> Tensor:
    """``(B, N)``: sums of w·|G(z) − y| or w·|G(z) − y|² for every pair.

    The square has its root taken, which leaves the order as it is.
    """
    used = weight[0] > 0
    factor = weight[0][used] if norm == "l1" else weight[0][used].sqrt()
    seen = (pictures[:, :, used] * factor).flatten(1)
    wanted = (visible[:, :, used] * factor).flatten(1)
    # no matrix product: it would round differently for one image and for many
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(wanted, seen, p=1.0 if norm == "l1" else 2.0, compute_mode=exact)
