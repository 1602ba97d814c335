"""Semantic image inpainting with a pre-trained GAN: train, reconstruct, compare."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# looked up when first used: `--help` must not wait for torch and Lightning
_HOMES = {
    "AdversarialTraining": "adversarial",
    "InputError": "errors",
    "LatentReconstruction": "latent",
    "Prior": "prior",
    "Result": "inpainting",
    "inpaint": "inpainting",
    "load_prior": "prior",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
