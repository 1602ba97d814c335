"""The Gaussian of a prior's samples, fitted once and cached on disk."""

from collections.abc import Iterator

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from gan_inpaint.data.images import to_float, to_uint8
from gan_inpaint.functional.gaussian import Gaussian, fit_gaussian
from gan_inpaint.priors.gan import Prior
from gan_inpaint.runtime.io import atomic_write, cache_folder
from gan_inpaint.runtime.seeding import torch_rng

_SAMPLES = 16_384
_RANK = 1024  # directions; more change the estimate by less than 0.1 dB
_BATCH = 1024


def sample_gaussian(prior: Prior, samples: int = _SAMPLES, rank: int = _RANK) -> Gaussian:
    """The Gaussian of ``samples`` samples of the prior, on the CPU.

    It is kept in the user's cache directory or ``GAN_INPAINT_CACHE``, named after the prior's
    weights; the directions in half precision.
    """
    name = f"gaussian_{prior.digest[:32]}_{samples}_{rank}.safetensors" if prior.files else None
    file = cache_folder() / name if name else None
    if file and file.is_file():
        try:
            stored = load_file(file)
            directions = stored["directions"].float()
            return Gaussian(stored["mean"], directions, stored["variances"])
        except (SafetensorError, OSError, KeyError):  # damaged: fit it again
            pass
    # as bytes: a quarter of the memory, and the fit reads them several times
    pixels = np.concatenate([to_uint8(part) for part in prior.samples(samples, seed=0)])

    def batches() -> Iterator[Tensor]:
        for first in range(0, len(pixels), _BATCH):
            yield to_float(pixels[first : first + _BATCH])

    with torch.no_grad():
        found = fit_gaussian(batches, rank, torch_rng("gaussian"))
    found.directions = found.directions.half()
    if file:
        content = {"mean": found.mean, "variances": found.variances}
        with atomic_write(file) as temporary:
            temporary.write_bytes(save(content | {"directions": found.directions}))
    found.directions = found.directions.float()
    return found
