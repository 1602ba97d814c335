"""Semantic image inpainting with a pre-trained GAN: train, reconstruct, compare."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gan_inpaint.errors import InputError as InputError
    from gan_inpaint.inversion.config import SearchConfig as SearchConfig
    from gan_inpaint.inversion.lightning_module import ImageBatch as ImageBatch
    from gan_inpaint.inversion.lightning_module import LatentReconstruction as LatentReconstruction
    from gan_inpaint.inversion.pipeline import inpaint as inpaint
    from gan_inpaint.inversion.progress import Cancelled as Cancelled
    from gan_inpaint.inversion.progress import Progress as Progress
    from gan_inpaint.inversion.result import Result as Result
    from gan_inpaint.priors.adapters import as_prior as as_prior
    from gan_inpaint.priors.prior import Prior as Prior
    from gan_inpaint.priors.registry import load_prior as load_prior
    from gan_inpaint.reporting.image_callbacks import SampleImages as SampleImages
    from gan_inpaint.reporting.image_callbacks import SearchImages as SearchImages
    from gan_inpaint.training.gan_module import AdversarialTraining as AdversarialTraining

__version__ = "0.1.0"

# looked up when first used: `--help` must not wait for torch and Lightning
_HOMES = {
    "AdversarialTraining": "training.gan_module",
    "Cancelled": "inversion.progress",
    "ImageBatch": "inversion.lightning_module",
    "InputError": "errors",
    "LatentReconstruction": "inversion.lightning_module",
    "Prior": "priors.prior",
    "Progress": "inversion.progress",
    "SampleImages": "reporting.image_callbacks",
    "SearchImages": "reporting.image_callbacks",
    "SearchConfig": "inversion.config",
    "Result": "inversion.result",
    "as_prior": "priors.adapters",
    "inpaint": "inversion.pipeline",
    "load_prior": "priors.registry",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
