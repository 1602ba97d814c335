"""Weights of the known pixels in the contextual loss."""

import torch.nn.functional as F
from torch import Tensor


def importance_weights(known: Tensor, window: int) -> Tensor:
    """Weights of the contextual term that emphasise known pixels near the hole.

    The weight of a known pixel is the fraction of missing pixels in its window (within the image,
    itself included). It is 0 in the hole, and where the whole window is known.

    Source: Yeh et al., CVPR 2017, eq. 3, where the window is 7x7.

    Args:
        known: ``(B, 1, H, W)`` bool.
        window: side of the window in pixels, odd.

    Returns:
        ``(B, 1, H, W)`` in [0, 1).

    Example:
        >>> import torch
        >>> importance_weights(torch.tensor([[[[True, True, True, False]]]]), 3)
        tensor([[[[0.0000, 0.0000, 0.3333, 0.0000]]]])
    """
    # the padding counts neither as missing nor as pixels
    missing = F.avg_pool2d((~known).float(), window, 1, window // 2, count_include_pad=False)
    return missing * known
