"""The guide: a linear estimate of the hole, as a soft target of the search."""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from gan_inpaint.functional.gaussian import Posterior
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.initializers import group_by_weight
from gan_inpaint.priors.gan import Prior
from gan_inpaint.priors.gaussian import sample_gaussian
from gan_inpaint.runtime.seeding import torch_rng

# the noise of the Gaussian model per pixel of mean distance between hole and known pixels, and its
# limits: chosen by the error in the hole, since likelihood gives a noise that is far too small
_NOISE, _NOISE_LIMITS = 0.01, (0.01, 0.1)


class Guide:
    """Estimates of the hole from the known pixels, one per restart.

    Restart 0 gets the conditional mean, the others samples from the posterior, so that they lead to
    different completions that all fit the known pixels.

    Args:
        prior: the Gaussian is fitted to its samples.
        config: uses ``restarts seed``.
    """

    def __init__(self, prior: Prior, config: SearchConfig):
        self._gaussian, self._config = sample_gaussian(prior), config

    @torch.no_grad()
    def __call__(self, images: Tensor, known: Tensor) -> Tensor:
        """``(B, restarts, C, H, W)`` in [-1, 1].

        Args:
            images: ``(B, C, H, W)`` in [-1, 1]; pixels in the hole are ignored.
            known: ``(B, 1, H, W)`` bool, 1 = observed pixel.
        """
        device, restarts = images.device, self._config.restarts
        images, known = torch.where(known, images, 0.0).cpu(), known.cpu()
        targets = images.new_empty(len(images), restarts, *images.shape[1:])
        rank = len(self._gaussian.variances)
        for shared, members in group_by_weight(known):
            posterior = Posterior(self._gaussian, shared, model_noise(shared))
            given = images[members]
            targets[members, 0] = posterior.mean(given)
            if restarts > 1:
                noise = torch.stack([self._noise(image, restarts - 1, rank) for image in given])
                targets[members, 1:] = posterior.sample(given, noise)
        return targets.clamp(-1, 1).to(device)

    def _noise(self, image: Tensor, count: int, rank: int) -> Tensor:
        """Keyed by the image, so that it does not depend on the batch."""
        rng = torch_rng("guide", self._config.seed, image.numpy().tobytes())
        return torch.randn(count, rank, generator=rng)


def model_noise(known: Tensor) -> float:
    """The noise σ² that suits a mask: the farther the hole's pixels are from known ones, the more.

    Args:
        known: ``(1, H, W)`` bool, with missing and known pixels.

    Example:
        >>> known = torch.ones(1, 64, 64, dtype=torch.bool)
        >>> known[:, :, 32:] = False  # half: 16.5 pixels on average
        >>> model_noise(known)
        0.1
    """
    distance = distance_transform_edt(~known[0].numpy())
    least, most = _NOISE_LIMITS
    return float(np.clip(_NOISE * distance[distance > 0].mean(), least, most))
