"""The losses of both problems, as pure functions on tensors, each image on its own."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def contextual(generated: Tensor, image: Tensor, weight: Tensor, norm: str) -> Tensor:
    """How far a generated image is from the known pixels: ``mean of w·|G(z) − y|^p``.

    Source: Yeh et al., CVPR 2017, eq. 4, as a mean over all C·H·W entries (the paper sums).

    Args:
        generated: ``(B, C, H, W)`` in [-1, 1].
        image: the damaged image, broadcastable to ``generated``; what it holds where ``weight`` is
            0 is never looked at, not even a NaN.
        weight: ``(B or 1, 1, H, W)``, 0 in the hole; ``known`` itself or importance weights.
        norm: ``l1`` (p = 1) or ``l2`` (p = 2).

    Returns:
        ``(B,)``, at least 0.

    Example:
        >>> generated, image = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[-1.0, 1.0]]]])
        >>> known = torch.tensor([[[[1.0, 0.0]]]])
        >>> contextual(generated, image, known, "l2")
        tensor([2.])
    """
    # where() comes before the power: its gradient in the hole is then exactly 0
    error = torch.where(weight > 0, generated - image, 0.0)
    error = error.abs() if norm == "l1" else error.square()
    return (weight * error).mean(dim=(1, 2, 3))


def perceptual(logit: Tensor, loss: str, form: str = "saturating") -> Tensor:
    """How real the discriminator finds an image, lower is more real: ``log(1 − D(G(z)))``.

    It saturates: a discriminator that is sure of a fake gives next to no gradient. ``−log D(G(z))``
    falls at the same images and pulls hardest there.

    Source: Yeh et al., CVPR 2017, eq. 6; Goodfellow et al., NeurIPS 2014, section 3.

    Args:
        logit: ``(B,)`` discriminator output before the sigmoid.
        loss: what the discriminator was trained with; ``bce`` has a sigmoid, a critic
            (``hinge``, ``wgan_gp``) has none and gives ``−logit``.
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


def discriminator_loss(real_logit: Tensor, fake_logit: Tensor, loss: str) -> Tensor:
    """What a discriminator minimises, a scalar from ``(B,)`` logits of real and generated images.

    Sources: ``bce``: ``−log D(x) − log(1 − D(G(z)))``, Goodfellow et al., NeurIPS 2014, eq. 1,
    through softplus so that it cannot overflow; ``hinge``: Lim and Ye, 2017, eq. 13; ``wgan_gp``:
    Gulrajani et al., NeurIPS 2017, eq. 3, without its ``gradient_penalty``.

    Example:
        >>> discriminator_loss(torch.zeros(4), torch.zeros(4), "bce")  # 2 log 2
        tensor(1.3863)
        >>> discriminator_loss(torch.zeros(4), torch.zeros(4), "hinge")
        tensor(2.)
    """
    if loss == "bce":
        return F.softplus(-real_logit).mean() + F.softplus(fake_logit).mean()
    if loss == "hinge":
        return F.relu(1 - real_logit).mean() + F.relu(1 + fake_logit).mean()
    return fake_logit.mean() - real_logit.mean()


def generator_loss(fake_logit: Tensor, loss: str) -> Tensor:
    """What a generator minimises, a scalar from the ``(B,)`` logits of its images.

    ``bce`` is the non-saturating ``−log D(G(z))`` (Goodfellow et al., 2014, section 3); the critics
    of ``hinge`` and ``wgan_gp`` give ``−D(G(z))``.

    Example:
        >>> generator_loss(torch.zeros(4), "bce")  # log 2
        tensor(0.6931)
    """
    return F.softplus(-fake_logit).mean() if loss == "bce" else -fake_logit.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, rng: torch.Generator
) -> Tensor:
    """``mean of (‖∇D(x̂)‖₂ − 1)²`` at points x̂ drawn evenly between real and generated images.

    Source: Gulrajani et al., NeurIPS 2017, "Improved training of Wasserstein GANs", eq. 3; their
    weight for it is 10.

    Args:
        critic: ``(B, C, H, W)`` -> ``(B,)``; must not mix the images of a batch, as BatchNorm does.
        real, fake: ``(B, C, H, W)``.

    Example:
        >>> steep = lambda x: 3 * x.sum(dim=(1, 2, 3)) / x[0].numel() ** 0.5  # slope 3 everywhere
        >>> one, other = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
        >>> float(gradient_penalty(steep, one, other, torch.Generator()))  # (3 - 1)^2
        4.0
    """
    share = torch.rand(len(real), 1, 1, 1, generator=rng, device=rng.device)
    between = torch.lerp(real.detach(), fake.detach(), share).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


def psnr(error: Tensor, weight: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB over the pixels where ``weight`` is 1.

    Args:
        error: ``(B, C, H, W)``, difference of two images in [-1, 1] (peak to peak 2).
        weight: ``(B or 1, 1, H, W)`` of 0 and 1: ``1 - known`` for the hole.

    Returns:
        ``(B,)``; infinite for a perfect match.

    Example:
        >>> psnr(torch.full((1, 1, 2, 2), 0.2), torch.ones(1, 1, 2, 2))  # 10 log10(4 / 0.04)
        tensor([20.])
    """
    weight = weight.expand_as(error)
    squared = torch.where(weight > 0, error, 0.0).square()
    return 10 * torch.log10(4.0 * weight.sum(dim=(1, 2, 3)) / squared.sum(dim=(1, 2, 3)))
