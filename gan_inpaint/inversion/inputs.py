"""Images and masks as people give them to ``inpaint``: checks, and warnings on likely mistakes."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_inpaint.data.masks import looks_inverted, validate_mask
from gan_inpaint.errors import InputError
from gan_inpaint.priors.prior import Prior

_SAMPLES = 16  # of the prior, to see whether its images have values below 0


def checked_inputs(
    images: Tensor | np.ndarray | Sequence[Any],
    known: Tensor | np.ndarray | Sequence[Any],
    prior: Prior,
) -> tuple[Tensor, Tensor]:
    """Copies of images ``(B, C, H, W)`` and of bool masks ``(B, 1, H, W)``, on the CPU.

    Warns if the images seem to lie in [0, 1], or a mask to have the opposite polarity.

    Raises:
        InputError: a shape, a value or a mask is invalid.
    """
    images, known = _tensor(images, "images"), _tensor(known, "known")
    _check(images, known, prior)
    images, known = images.float().clone(), known.bool()
    known = known.expand(len(images), -1, -1, -1).clone()
    if _seems_0_to_1(images, known, prior):
        warnings.warn(
            "all known pixels lie in [0, 1], but images of this prior have values below 0: the"
            " range of images is [-1, 1]; for images in [0, 1] use 2 * x - 1",
            stacklevel=4,
        )
    inverted = next((i for i, mask in enumerate(known) if looks_inverted(mask[0].numpy())), None)
    if inverted is not None:
        warnings.warn(
            f"known[{inverted}] marks one region inside the hole as observed; if that region is"
            " what is missing, give its opposite: 1 = observed, 0 = missing",
            stacklevel=4,
        )
    return images, known


def _seems_0_to_1(images: Tensor, known: Tensor, prior: Prior) -> bool:
    """Whether no known pixel is below 0, as it hardly can be of images like the prior's."""
    if bool((images[known.expand_as(images)] < 0).any()):
        return False
    likely = torch.where(known[:1], prior.sample(_SAMPLES, seed=0).cpu(), 0.0)
    return bool((likely.flatten(1).amin(dim=1) < -0.1).all())


def _tensor(values: Any, name: str) -> Tensor:
    """A tensor, an array or a list of either, as a tensor on the CPU."""
    try:
        if isinstance(values, list | tuple) and any(isinstance(v, Tensor) for v in values):
            values = torch.stack([torch.as_tensor(value) for value in values])
        if not isinstance(values, Tensor):
            array = np.array(values)
            if array.dtype.kind not in "bfiu":
                raise TypeError(f"it holds {array.dtype}")
            kinds = {"b": bool, "f": np.float64, "i": np.int64, "u": np.int64}
            values = torch.from_numpy(array.astype(kinds[array.dtype.kind]))
        if values.layout != torch.strided or values.is_nested or values.is_meta:
            raise TypeError("it is sparse, nested or without values")
        return values.detach().cpu()
    except (TypeError, ValueError, RuntimeError) as problem:
        raise InputError(
            f"{name}: not a tensor or array of numbers ({' '.join(str(problem).split())})"
        ) from None


def _check(images: Tensor, known: Tensor, prior: Prior) -> None:
    channels, height, width = expected = prior.image_shape
    if images.ndim != 4 or not len(images) or tuple(images.shape[1:]) != expected:
        raise InputError(
            f"images have shape {tuple(images.shape)}, but the prior {prior.name} has"
            f" {channels} channel(s) and {height}x{width} pixels: give (B, {channels}, {height},"
            f" {width})"
        )
    if (
        known.ndim != 4
        or known.shape[1:] != (1, height, width)
        or len(known) not in (1, len(images))
    ):
        raise InputError(
            f"known has shape {tuple(known.shape)}, but ({len(images)} or 1, 1, {height},"
            f" {width}) fits the images"
        )
    if not bool(((known == 0) | (known == 1)).all()):
        raise InputError("known must hold only 0 (missing) and 1 (observed)")
    if not images.is_floating_point():
        raise InputError("images must be floats in [-1, 1]; for bytes use x / 127.5 - 1")
    known = known.bool()
    observed = torch.where(known, images, 0).flatten(1)
    for index, finite in enumerate(observed.isfinite().all(dim=1).tolist()):
        if not finite:
            raise InputError(
                f"images[{index}] has known pixels that are not finite numbers; mark them missing"
            )
    if observed.abs().max() > 1.001:
        raise InputError("images must be floats in [-1, 1]; for bytes use x / 127.5 - 1")
    for index, mask in enumerate(known):
        validate_mask(mask, f"known[{index}]")
