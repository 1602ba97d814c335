"""Weights in 8 or 4 bits, with a scale for each row."""

import torch
from torch import Tensor

_CLIP = 2.5  # standard deviations of a row: 4 bits are too few for its rare large values


def to_int8(weights: Tensor) -> tuple[Tensor, Tensor]:
    """``(N, ...)`` floats -> int8 of the same shape, and the scales ``(N,)``."""
    scale = (weights.flatten(1).abs().amax(dim=1) / 127).clamp(min=1e-12)
    return (weights / _beside(scale, weights)).round().to(torch.int8), scale


def from_int8(steps: Tensor, scale: Tensor) -> Tensor:
    """The floats of ``to_int8``."""
    return steps.float() * _beside(scale, steps)


def to_int4(weights: Tensor) -> tuple[Tensor, Tensor]:
    """``(N, ...)`` floats, an even number a row -> two to a byte, ``(N, M / 2)``; the scales."""
    rows = weights.flatten(1)
    scale = (rows.std(dim=1) * _CLIP / 7).clamp(min=1e-12)
    steps = (rows / scale[:, None]).round().clamp(-7, 7).to(torch.uint8) & 15
    return steps[:, ::2] | steps[:, 1::2] << 4, scale


def from_int4(packed: Tensor, scale: Tensor) -> Tensor:
    """``(N, M)``: the floats of ``to_int4``."""
    steps = torch.stack([packed & 15, packed >> 4], dim=2).flatten(1).to(torch.int8)
    return torch.where(steps > 7, steps - 16, steps) * scale[:, None]


def _beside(scale: Tensor, weights: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (weights.ndim - 1))
