"""Several completions of one image: diverse alternatives, their mean, their standard deviation."""

import torch
from torch import Tensor


def mean_completion(completions: Tensor, counted: Tensor) -> Tensor:
    """``(B, C, H, W)``: mean over the restarts of each image that count.

    Args:
        completions: ``(B, R, C, H, W)``.
        counted: ``(B, R)`` bool, at least one true for each image.
    """
    weight = (counted / counted.sum(dim=1, keepdim=True))[:, :, None, None, None]
    return (completions * weight).sum(dim=1)


def completion_std(completions: Tensor, counted: Tensor) -> Tensor:
    """``(B, 1, H, W)``: standard deviation over the restarts, root mean square over the channels.

    Where it is large, the known pixels do not determine the content.

    Args:
        completions, counted: see ``mean_completion``.

    Example:
        >>> two = torch.tensor([0.5, -0.5])[None, :, None, None, None]  # one pixel, two opinions
        >>> float(completion_std(two, torch.ones(1, 2, dtype=torch.bool)))
        0.5
    """
    apart = completions - mean_completion(completions, counted)[:, None]
    return mean_completion(apart.square(), counted).mean(dim=1, keepdim=True).sqrt()


def select_diverse(completions: Tensor, objective: Tensor, hole: Tensor, count: int) -> Tensor:
    """``(B, count)``: indices of the best completions of each image that differ from each other.

    In the order of their objectives, a completion is taken if its hole differs from all taken ones
    by more than half of the mean distance between two restarts of the image. If too few differ, the
    others follow in the order of their objectives.

    Args:
        completions: ``(B, R, C, H, W)``.
        objective: ``(B, R)``, lower is better.
        hole: ``(B or 1, 1, H, W)``, 1 = missing; completions are compared only there.
        count: at most R.

    Example:
        >>> values = torch.tensor([0.0, 0.01, 1.0])[None, :, None, None, None]
        >>> select_diverse(values, torch.tensor([[1.0, 2.0, 3.0]]), torch.ones(1, 1, 1, 1), 2)
        tensor([[0, 2]])
    """
    filled = (completions * hole[:, None]).flatten(2)
    apart = torch.cdist(filled, filled, compute_mode="donot_use_mm_for_euclid_dist")
    restarts = completions.shape[1]
    near = apart < apart.sum(dim=(1, 2), keepdim=True) / max(restarts * (restarts - 1), 1) / 2
    chosen = []
    for order, close in zip(objective.argsort(dim=1).tolist(), near, strict=True):
        taken: list[int] = []
        for index in order:
            if not close[index, taken].any():
                taken.append(index)
        taken += [index for index in order if index not in taken]
        chosen.append(taken[:count])
    return torch.tensor(chosen)
