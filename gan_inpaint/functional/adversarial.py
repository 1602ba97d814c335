"""The losses of adversarial training, as pure functions on tensors."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real_logit: Tensor, fake_logit: Tensor, loss: str) -> Tensor:
    """The discriminator's loss, a scalar from ``(B,)`` logits of real and generated images.

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


def mismatch_loss(logit: Tensor, differs: Tensor, loss: str, hardest: int = 4) -> Tensor:
    """The discriminator's loss on real images under conditions of others, a scalar.

    Such pairs are false, as generated images are, see ``discriminator_loss``. Without them, D could
    ignore the condition. Of each image only those that D takes for true most count: otherwise D
    learns what tells most pairs apart, and no details.

    Sources: Reed et al., ICML 2016, "Generative adversarial text to image synthesis", algorithm 1;
    Faghri et al., BMVC 2018, "VSE++" (the hardest ones).

    Args:
        logit: ``(B, n)``, of each image under n conditions.
        differs: ``(B, n)`` bool, whether that condition is not the image's own; only these count.
        hardest: how many conditions count for each image.

    Example:
        >>> logit = torch.tensor([[9.0, 0.0, -9.0], [9.0, 9.0, 9.0]])
        >>> own = torch.tensor([[True, False, False], [True, True, True]])
        >>> mismatch_loss(logit, ~own, "bce", hardest=1)  # log 2
        tensor(0.6931)
    """
    taken = logit.masked_fill(~differs, -torch.inf).topk(min(hardest, logit.shape[1]), dim=1).values
    taken = taken[taken.isfinite()]
    each = {"bce": F.softplus(taken), "hinge": F.relu(1 + taken), "wgan_gp": taken}[loss]
    return each.sum() / max(len(taken), 1)


def mode_seeking_loss(images: Tensor) -> Tensor:
    """Large if the generator ignores z: the inverse distance of images under the same condition.

    Source: Mao et al., CVPR 2019, "Mode seeking generative adversarial networks for diverse image
    synthesis", eq. 4, without the distance of the codes, which is nearly constant.

    Args:
        images: ``(2n, C, H, W)``; image i and image n + i have the same condition.

    Example:
        >>> float(mode_seeking_loss(torch.tensor([0.0, 0.5]).view(2, 1, 1, 1)))
        2.0
    """
    half = len(images) // 2
    apart = (images[:half] - images[len(images) - half :]).float().abs().mean()
    return 1 / apart.clamp(min=1e-3)


def generator_loss(fake_logit: Tensor, loss: str) -> Tensor:
    """The generator's loss, a scalar from the ``(B,)`` logits of its images.

    ``bce`` is the non-saturating ``−log D(G(z))`` (Goodfellow et al., 2014, section 3); the critics
    of ``hinge`` and ``wgan_gp`` give ``−D(G(z))``.

    Example:
        >>> generator_loss(torch.zeros(4), "bce")  # log 2
        tensor(0.6931)
    """
    return F.softplus(-fake_logit).mean() if loss == "bce" else -fake_logit.mean()


def overfitting(train: Tensor, held_out: Tensor, fake: Tensor) -> float | None:
    """How far a discriminator knows its training images by heart: about 0 not at all, 1 wholly.

    ``(E[D(train)] − E[D(held out)]) / (E[D(train)] − E[D(fake)])``: at 1, D scores real images that
    it has not seen as low as generated ones.

    Source: Karras et al., NeurIPS 2020, "Training generative adversarial networks with limited
    data", eq. 1.

    Args:
        train, held_out, fake: ``(N,)`` logits of training, held-out and generated images.

    Returns:
        None if D does not tell training images from generated ones.

    Example:
        >>> overfitting(torch.full((4,), 3.0), torch.full((4,), 0.0), torch.full((4,), -1.0))
        0.75
    """
    apart = float(train.mean() - fake.mean())
    noise = float((train.var() / len(train) + fake.var() / len(fake)).sqrt())
    if apart <= 3 * noise:
        return None
    return float(train.mean() - held_out.mean()) / apart


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, rng: torch.Generator
) -> Tensor:
    """``mean of (‖∇D(x̂)‖₂ − 1)²`` at random points x̂ between real and generated images.

    Source: Gulrajani et al., NeurIPS 2017, "Improved training of Wasserstein GANs", eq. 3, with
    weight 10 there.

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
    between = torch.lerp(real.detach().float(), fake.detach().float(), share).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
