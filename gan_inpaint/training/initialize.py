"""Start an adversarial training from trained networks instead of from random weights."""

import torch
from torch import nn

from gan_inpaint.functional.latent import draw_latent
from gan_inpaint.functional.widening import widen
from gan_inpaint.runtime.seeding import torch_rng
from gan_inpaint.training.gan_module import AdversarialTraining

_SAMPLES, _AT_ONCE = 4096, 256  # that the code encoder is fitted to


def start_from(
    module: AdversarialTraining,
    generator: nn.Module,
    discriminator: nn.Module | None,
    conditions: bool = True,
) -> list[str]:
    """Take the weights that fit from trained networks, also for the averaged generator.

    Layers that are wider in the module are widened, see ``widen``. If only the module is
    conditional, its conditions have no effect at first.

    Args:
        module: to be trained.
        generator, discriminator: trained ones.
        conditions: whether these have the same conditions, so that their layers are taken, too.

    Returns:
        What did not fit, ``generator.main.0.weight (100, 256, 4, 4), here (64, 256, 4, 4)``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(module.seed)  # of the noise of widened layers
        left = _take(module.generator, generator, "generator", conditions)
        left += _take(module.discriminator, discriminator, "discriminator", conditions)
    module.average.module.load_state_dict(module.generator.state_dict())
    # the average goes on from these weights, instead of copying those of the first step
    module.average.n_averaged.fill_(1)
    if module.hparams["reconstruction_weight"]:
        _fit_code_encoder(module)
    return left


def _fit_code_encoder(module: AdversarialTraining) -> None:
    rng = torch_rng("encoder", module.seed)
    codes = draw_latent(_SAMPLES, module.nz, "normal", rng)
    images = (module.sample(part) for part in codes.split(_AT_ONCE))
    module.code_encoder.fit(codes, images)


def _take(own: nn.Module, other: nn.Module | None, name: str, conditions: bool) -> list[str]:
    """Copy the weights that fit; returns what did not."""
    given, left = other.state_dict() if other else {}, []
    if not conditions:
        given.pop("embed.weight", None)
    for key, value in own.state_dict().items():
        there = given.get(key)
        codes = (name, key) == ("generator", "main.0.weight")  # more of them are not copies
        part = value
        if codes and there is not None and len(there) == getattr(own, "nz", None):
            part = value[: len(there)]  # the other rows are those of a condition
            value[len(there) :] = 0
        if there is not None and _is_wider(part.shape, there.shape, codes):
            part.copy_(widen(there.float(), part.shape, int(name == "discriminator")))
        elif value.ndim > 1:
            shape = "missing" if there is None else tuple(there.shape)
            left.append(f"{name}.{key} is {shape} there, {tuple(value.shape)} here")
    return left


def _is_wider(here: torch.Size, there: torch.Size, codes: bool) -> bool:
    """Whether a tensor has as many feature maps as another or more, and equal kernels.

    Args:
        codes: whether the first dimension is that of codes, which must be equal.
    """
    maps = 2 if len(here) == 4 else 1
    if len(here) != len(there) or here[maps:] != there[maps:]:
        return False
    if codes and here[0] != there[0]:
        return False
    return all(a >= b for a, b in zip(here[:maps], there[:maps], strict=True))
