"""The Gaussian of a prior's images: of its training images, or of its samples."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from gan_inpaint.data.images import to_float, to_uint8
from gan_inpaint.errors import InputError
from gan_inpaint.guide.posterior import Gaussian, fit_gaussian, split_condition
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.quantize import from_int4, from_int8, to_int4, to_int8
from gan_inpaint.runtime.io import atomic_write, cache_folder
from gan_inpaint.runtime.seeding import torch_rng

_SAMPLES = 16_384  # of 64 pixels; of larger images in inverse proportion to their side
_RANK = 1024  # directions at most; more change the estimate by less than 0.1 dB
_SAMPLES_PER_DIRECTION = 8
_EXACT = 64  # the first directions, which have 8 bits in a file, if there is no room for all
_FILE_BYTES = 6_300_000  # of the directions beside a prior: the others have 4 bits
_SIDE = 64  # pixels: larger images are reduced, since an estimate is smooth anyway
_BATCH = 128
_SLOW = 60  # seconds
log = logging.getLogger(__name__)

# to samples, in this process: of priors without a file, and so without a name for a cache
_fitted: WeakKeyDictionary[Prior, dict[int, Gaussian]] = WeakKeyDictionary()


def load_gaussian(prior: Prior, guide: str, tick: Callable[[], None] = lambda: None) -> Gaussian:
    """The Gaussian that a linear guide uses, on the CPU, at most 64 pixels wide.

    Args:
        guide: ``data`` or ``samples``.
        tick: called often while it is fitted to samples, which may take a minute.

    Raises:
        InputError: the prior carries no statistics of its training images.
    """
    return _data_gaussian(prior) if guide == "data" else sample_gaussian(prior, tick=tick)


def save_data_gaussian(
    prior_file: Path, pixels: np.ndarray, flip: bool, conditions: Tensor | None = None
) -> Path:
    """Write the statistics of the training images beside a prior; returns the file.

    Args:
        prior_file: of the prior.
        pixels: uint8 ``(N, C, H, W)``.
        flip: whether the prior was also trained on the mirrored images.
        conditions: ``(N, d)``, theirs, if the prior is conditional.
    """
    values = math.prod(reduced_shape(pixels.shape[1:]))
    exact = min(_RANK, values)
    rank = exact
    if exact * values > _FILE_BYTES:
        exact = _EXACT
        rank = min(_RANK, exact + 2 * (_FILE_BYTES - exact * values) // values)
    file = prior_file.with_suffix(".gaussian.safetensors")
    _write(file, _fit(pixels, rank, flip, conditions), exact)
    return file


def sample_gaussian(
    prior: Prior, samples: int | None = None, tick: Callable[[], None] = lambda: None
) -> Gaussian:
    """The Gaussian of samples of the prior.

    It is kept in the user's cache directory or ``GAN_INPAINT_CACHE``, named after the prior's
    weights.

    Args:
        prior: the prior.
        samples: how many; 16,384 by default, fewer above 64 pixels.
        tick: called often while it is fitted.
    """
    samples = samples or _SAMPLES * _SIDE // max(_SIDE, *prior.image_shape[1:])
    rank = min(_RANK, samples // _SAMPLES_PER_DIRECTION)
    in_memory = _fitted.setdefault(prior, {})
    if samples in in_memory:
        return in_memory[samples]
    name = f"gaussian_{prior.digest[:32]}_{samples}.safetensors" if prior.files else None
    file = cache_folder() / name if name else None
    if file and file.is_file():
        try:
            return _read(file)
        except (SafetensorError, OSError, KeyError):  # damaged: fit it again
            pass
    # as bytes: a quarter of the memory, and the fit reads them several times
    pixels, first = np.empty((samples, *reduced_shape(prior.image_shape)), np.uint8), 0
    started, conditions = time.perf_counter(), prior.drawn_conditions(samples, seed=0)
    for part in prior.samples(samples, 0, condition=conditions):
        if not first:
            _say_if_slow((time.perf_counter() - started) * samples / len(part), samples)
        pixels[first : first + len(part)] = to_uint8(_reduce(part))
        first += len(part)
        tick()
    fitted = _fit(pixels, rank, conditions=conditions, tick=tick)
    if file:
        _write(file, fitted, exact=rank)
        return _read(file)
    return in_memory.setdefault(samples, fitted)


def _say_if_slow(seconds: float, samples: int) -> None:
    if seconds > _SLOW:
        log.warning(
            f"the guide needs {samples} samples of the prior, about {seconds / 60:.0f} min;"
            " guide=none searches without it"
        )


def _data_gaussian(prior: Prior) -> Gaussian:
    file = prior.companion("gaussian")
    if file is None:
        raise InputError(
            f"guide=data: the prior {prior.name} carries no statistics of its training images; set"
            " guide=samples"
        )
    try:
        found = _read(file)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as problem:
        raise InputError(f"{file}: damaged ({problem}); set guide=samples") from None
    if tuple(found.mean.shape) != reduced_shape(prior.image_shape):
        shape = "x".join(map(str, found.mean.shape))
        raise InputError(
            f"{file}: holds statistics of {shape} images, which do not fit the prior {prior.name};"
            " set guide=samples"
        )
    if found.condition_scale:
        numbers, dim = found.condition_mean, prior.encoder.dim if prior.encoder else 0
        fits = numbers.shape == (dim,) and found.condition_directions.shape == (
            len(found.variances),
            dim,
        )
        finite = math.isfinite(found.condition_scale) and bool(numbers.isfinite().all())
        if not (fits and finite and bool(found.condition_directions.isfinite().all())):
            raise InputError(
                f"{file}: its conditions do not fit the prior {prior.name}; set guide=samples"
            )
    return found


@torch.no_grad()
def _fit(
    pixels: np.ndarray,
    rank: int,
    flip: bool = False,
    conditions: Tensor | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Gaussian:
    scale = 0.0
    if conditions is not None:  # as much variance as the pixels: they are known exactly
        spread = pixels[:: max(1, len(pixels) // 1000)].std(axis=0).astype(np.float64) / 127.5
        told = conditions.var(dim=0).sum()
        scale = float((spread**2).sum() / max(float(told), 1e-6)) ** 0.5

    def batches() -> Iterator[Tensor]:
        for first in range(0, len(pixels), _BATCH):
            tick()
            part = slice(first, first + _BATCH)
            batch = _reduce(to_float(pixels[part]))
            for images in (batch, batch.flip(-1)) if flip else (batch,):
                if conditions is None:
                    yield images
                else:
                    yield torch.cat([images.flatten(1), conditions[part] * scale], dim=1)

    fitted = fit_gaussian(batches, rank, torch_rng("gaussian"))
    if conditions is None:
        return fitted
    return split_condition(fitted, reduced_shape(pixels.shape[1:]), scale)


def reduced_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """``(C, H, W)`` of images as a Gaussian sees them: at most 64 pixels high and wide.

    Example:
        >>> reduced_shape((3, 64, 64)), reduced_shape((3, 128, 128)), reduced_shape((1, 218, 178))
        ((3, 64, 64), (3, 64, 64), (1, 55, 45))
    """
    channels, height, width = shape
    factor = math.ceil(max(height, width) / _SIDE)
    return channels, math.ceil(height / factor), math.ceil(width / factor)


def _reduce(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images, reduced_shape(images.shape[1:])[1:])


def _write(file: Path, gaussian: Gaussian, exact: int) -> None:
    """Store it: the first ``exact`` directions in 8 bits, the others in 4."""
    content = {"mean": gaussian.mean, "variances": gaussian.variances}
    content["directions"], content["scale"] = to_int8(gaussian.directions[:exact])
    if exact < len(gaussian.directions):
        content["coarse"], content["coarse_scale"] = to_int4(gaussian.directions[exact:])
    if gaussian.condition_scale:
        content["condition_scale"] = torch.tensor(gaussian.condition_scale)
        content["condition_mean"] = gaussian.condition_mean
        content["condition_directions"] = gaussian.condition_directions.half()
    with atomic_write(file) as temporary:
        temporary.write_bytes(save(content))


def _read(file: Path) -> Gaussian:
    stored = load_file(file)
    directions = from_int8(stored["directions"], stored["scale"])
    if "coarse" in stored:
        coarse = from_int4(stored["coarse"], stored["coarse_scale"])
        directions = torch.cat([directions, coarse.unflatten(1, directions.shape[1:])])
    found = Gaussian(stored["mean"], directions, stored["variances"])
    if "condition_scale" in stored:
        found.condition_scale = float(stored["condition_scale"])
        found.condition_mean = stored["condition_mean"]
        found.condition_directions = stored["condition_directions"].float()
    return found
