"""The two terms of the inpainting objective, as pure functions on tensors."""

import torch
import torch.nn.functional as F
from torch import Tensor


def contextual(generated: Tensor, image: Tensor, weight: Tensor, norm: str) -> Tensor:
    """The contextual loss, the distance to the known pixels: ``mean of w·|G(z) − y|^p``.

    Source: Yeh et al., CVPR 2017, eq. 4, as a mean over all C·H·W entries (the paper sums).

    Args:
        generated: ``(B, C, H, W)`` in [-1, 1].
        image: the damaged image, broadcastable to ``generated``. Pixels with weight 0 are ignored,
            even NaN.
        weight: ``(B or 1, 1, H, W)``, 0 in the hole; ``known`` or importance weights.
        norm: ``l1`` (p = 1) or ``l2`` (p = 2).

    Returns:
        ``(B,)``, at least 0.

    Example:
        >>> generated, image = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[-1.0, 1.0]]]])
        >>> known = torch.tensor([[[[1.0, 0.0]]]])
        >>> contextual(generated, image, known, "l2")
        tensor([2.])
    """
    # where() before the power, so that the gradient in the hole is exactly 0
    error = torch.where(weight > 0, generated - image, 0.0)
    error = error.abs() if norm == "l1" else error.square()
    return (weight * error).mean(dim=(1, 2, 3))


def weighted_errors(generated: Tensor, target: Tensor, weights: Tensor, norm: str) -> Tensor:
    """Several contextual losses with one target, in one pass over the pixels.

    Args:
        generated, target: ``(B, C, H, W)``, all finite.
        weights: ``(B, k, H, W)``.
        norm: see ``contextual``.

    Returns:
        ``(B, k)``.

    Example:
        >>> generated, target = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[-1.0, 1.0]]]])
        >>> weights = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
        >>> weighted_errors(generated, target, weights, "l2")
        tensor([[2.0000, 0.5000]])
    """
    error = generated - target
    error = (error.abs() if norm == "l1" else error.square()).sum(dim=1)
    values = generated.shape[1:].numel()
    return (weights.flatten(2) @ error.flatten(1)[:, :, None])[:, :, 0] / values


def perceptual(logit: Tensor, loss: str, form: str = "saturating") -> Tensor:
    """The perceptual loss, lower is more realistic: ``log(1 − D(G(z)))``.

    It saturates: where D is sure of a fake, there is almost no gradient. The nonsaturating
    ``−log D(G(z))`` has its largest gradient there.

    Source: Yeh et al., CVPR 2017, eq. 6; Goodfellow et al., NeurIPS 2014, section 3.

    Args:
        logit: ``(B,)`` discriminator output before the sigmoid.
        loss: the discriminator's training loss. ``bce`` has a sigmoid; a critic (``hinge``,
            ``wgan_gp``) has none and gives ``−logit``.
        form: ``saturating`` or ``nonsaturating``, for ``bce``.

    Returns:
        ``(B,)``; for ``bce`` at most 0, at least 0 if nonsaturating.

    Example:
        >>> perceptual(torch.tensor([0.0]), "bce")  # log(1 - 1/2)
        tensor([-0.6931])
    """
    if loss != "bce":
        return -logit
    return F.logsigmoid(-logit) if form == "saturating" else F.softplus(-logit)
