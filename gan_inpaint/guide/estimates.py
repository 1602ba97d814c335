"""The guide: an estimate of the hole from the known pixels, as a soft target of the search."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_inpaint.functional.grouping import group_rows
from gan_inpaint.guide.gaussian import load_gaussian
from gan_inpaint.guide.learned import load_guide_network
from gan_inpaint.guide.posterior import Posterior, model_noise, reduce_known
from gan_inpaint.priors.prior import Prior
from gan_inpaint.runtime.seeding import torch_rng

GUIDES = {  # in words
    "none": "none",
    "samples": "a Gaussian of the prior's samples, fitted once and then cached",
    "data": "a Gaussian of the prior's training images",
    "network": "a network trained for the prior, on top of a Gaussian of its training images",
}


def best_guide(prior: Prior) -> str:
    """The best guide that a prior has.

    ``network`` if it carries a learned guide, ``data`` if it carries statistics of its training
    images, else ``samples``.
    """
    carried = {"network": "guide", "data": "gaussian"}
    return next((kind for kind, file in carried.items() if prior.companion(file)), "samples")


def estimates(prior: Prior) -> dict[str, Callable[..., Tensor]]:
    """The estimates that a prior has without a search: ``linear``, and perhaps ``network``.

    Each fills ``(B, C, H, W)`` images, given ``known`` and perhaps conditions, see ``Guide``.
    """
    best = best_guide(prior)
    kinds = {"linear": "data", "network": best} if best == "network" else {"linear": best}
    return {name: partial(_estimate, Guide(prior, kind)) for name, kind in kinds.items()}


def _estimate(
    guide: "Guide", images: Tensor, known: Tensor, condition: Tensor | None = None
) -> Tensor:
    return guide(images, known, condition)[:, 0]


class Guide:
    """Estimates of the hole from the known pixels, one per restart.

    Restart 0 gets the conditional mean, the others samples from the posterior, so that they lead to
    different completions that all fit the known pixels. A learned guide moves the mean, and the
    samples with it.

    Args:
        prior: has the Gaussian, or the network.
        kind: ``samples``, ``data`` or ``network``; None: the best that the prior has.
        restarts: how many estimates.
        temperature: factor on the deviations of the posterior's samples.
        seed: of these samples.
        tick: called often while the Gaussian is fitted, if it must be.
    """

    def __init__(
        self,
        prior: Prior,
        kind: str | None = None,
        restarts: int = 1,
        temperature: float = 1.0,
        seed: int = 0,
        tick: Callable[[], None] = lambda: None,
    ):
        kind = kind or best_guide(prior)
        self._network = load_guide_network(prior) if kind == "network" else None
        self._gaussian = load_gaussian(prior, "samples" if kind == "samples" else "data", tick)
        self._partial = prior.encoder is not None and prior.encoder.partial
        self._restarts, self._temperature, self._seed = restarts, temperature, seed

    @torch.no_grad()
    def __call__(self, images: Tensor, known: Tensor, condition: Tensor | None = None) -> Tensor:
        """``(B, restarts, C, H, W)`` in [-1, 1].

        Args:
            images: ``(B, C, H, W)`` in [-1, 1]; pixels in the hole are ignored.
            known: ``(B, 1, H, W)`` bool, 1 = observed pixel.
            condition: ``(B, d)``, what the images show; zeros and None: unknown.
        """
        device, restarts, size = images.device, self._restarts, images.shape[-2:]
        images, known = torch.where(known, images, 0.0).cpu(), known.cpu()
        height, width = self._gaussian.mean.shape[-2:]
        images, known = reduce_known(images, known, (height, width))
        targets = images.new_empty(len(images), restarts, *images.shape[1:])
        rank = len(self._gaussian.variances)
        told = self._told(images, condition)
        for (shared, of_condition), members in group_rows(known, told):
            posterior = Posterior(self._gaussian, shared, model_noise(shared), of_condition)
            given = images[members]
            own = None if condition is None else condition.cpu()[members]
            targets[members, 0] = posterior.mean(given, own)
            if restarts > 1:
                noise = torch.stack([self._noise(image, restarts - 1, rank) for image in given])
                targets[members, 1:] = posterior.sample(given, noise, own)
        if self._network:
            linear = targets[:, 0].clamp(-1, 1)
            targets += (self._network(images, known, linear) - targets[:, 0])[:, None]
        targets = targets.clamp(-1, 1).to(device)
        if size == targets.shape[-2:]:
            return targets
        larger = F.interpolate(targets.flatten(0, 1), tuple(size), mode="bilinear")
        return larger.unflatten(0, targets.shape[:2])

    def _told(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """``(B, d)`` bool: which entries of the conditions are known."""
        if condition is None:
            return images.new_zeros(len(images), self._gaussian.condition_mean.numel()).bool()
        given = condition.cpu() != 0
        return given if self._partial else given.any(dim=1, keepdim=True).expand_as(given)

    def _noise(self, image: Tensor, count: int, rank: int) -> Tensor:
        """Keyed by the image, so that it does not depend on the batch."""
        rng = torch_rng("guide", self._seed, image.numpy().tobytes())
        return torch.randn(count, rank, generator=rng) * self._temperature
