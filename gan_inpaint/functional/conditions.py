"""Conditions of a minibatch, as vectors: leave some out, pair them, tell them apart."""

import torch
from torch import Tensor


def drop_conditions(
    condition: Tensor, share: float, rng: torch.Generator, partial: bool = False
) -> Tensor:
    """``(B, d)``: conditions of which some are left out at random, as zeros.

    Args:
        condition: ``(B, d)``.
        share: probability that one is left out, in [0, 1).
        rng: of the draws, on the device of the conditions.
        partial: whether also single entries are left out, a random share of those of each image.
    """
    shares = torch.rand(len(condition), 2, generator=rng, device=rng.device)
    kept = shares[:, :1] >= share
    if partial:
        each = torch.rand(condition.shape, generator=rng, device=rng.device)
        kept = kept & (each >= shares[:, 1:])
    return condition * kept


def in_pairs(condition: Tensor) -> Tensor:
    """The first half of the conditions, twice, for ``mode_seeking_loss``.

    Example:
        >>> in_pairs(torch.tensor([[1], [2], [3], [4]])).flatten().tolist()
        [1, 2, 1, 2]
    """
    half = condition[: (len(condition) + 1) // 2]
    return torch.cat([half, half])[: len(condition)]


def differ(condition: Tensor) -> Tensor:
    """``(B, B)`` bool: which conditions are known and different, for ``mismatch_loss``.

    Example:
        >>> differ(torch.tensor([[1.0], [2.0], [0.0]])).tolist()
        [[False, True, False], [True, False, False], [False, False, False]]
    """
    known = (condition != 0).any(dim=1)
    return (condition != condition[:, None]).any(dim=2) & known & known[:, None]
