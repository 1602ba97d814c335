"""Semantic image inpainting with a pre-trained GAN: train, reconstruct, compare."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_inpaint.adversarial import AdversarialTraining as AdversarialTraining
    from gan_inpaint.errors import InputError as InputError
    from gan_inpaint.inpainting import inpaint as inpaint
    from gan_inpaint.latent import LatentReconstruction as LatentReconstruction
    from gan_inpaint.priors.gan import Prior as Prior
    from gan_inpaint.priors.registry import load_prior as load_prior
    from gan_inpaint.search import Result as Result

__version__ = "0.1.0"

# looked up when first used: `--help` must not wait for torch and Lightning
_HOMES = {
    "AdversarialTraining": "adversarial",
    "InputError": "errors",
    "LatentReconstruction": "latent",
    "Prior": "prior",
    "Result": "search",
    "inpaint": "inpainting",
    "load_prior": "prior",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
