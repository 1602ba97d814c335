"""Start a wide network from a narrow one."""

import torch
from torch import Tensor

_NOISE = 0.05  # relative: without it, copies of a feature map would stay equal


def widen(weights: Tensor, shape: torch.Size, inputs: int) -> Tensor:
    """Weights of a layer with more feature maps that computes nearly the same.

    Feature maps are repeated, and the kernels that take a repeated map are divided by how often it
    occurs. Noise of 5 % makes the copies different, so that training can part them.

    Source: Chen et al., ICLR 2016, "Net2Net: accelerating learning via knowledge transfer".

    Args:
        weights: kernels with their inputs and outputs in the first two dimensions, a vector with
            an entry for each feature map, or a scalar.
        shape: of the result; no dimension is smaller.
        inputs: the dimension of a kernel's inputs.

    Example:
        >>> widen(torch.tensor([1.0, 2.0]), torch.Size([3]), 0)
        tensor([1., 2., 1.])
    """
    if weights.shape == shape:
        return weights
    kernel = weights.ndim > 1
    for dim, side in enumerate(shape):
        narrow = weights.shape[dim]
        if side == narrow:
            continue
        copied = torch.arange(side) % narrow
        weights = weights.index_select(dim, copied)
        if kernel and dim == inputs:
            times = torch.bincount(copied, minlength=narrow)[copied]
            weights = weights / times.view([-1 if d == dim else 1 for d in range(weights.ndim)])
    return weights * (1 + _NOISE * torch.randn_like(weights)) if kernel else weights
