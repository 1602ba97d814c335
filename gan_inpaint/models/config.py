"""The keys of the ``model`` group: types and ranges."""

from dataclasses import dataclass

from gan_inpaint.config.validation import check_one_of
from gan_inpaint.errors import InputError

DCGAN = "gan_inpaint.models.dcgan.pair"


@dataclass
class ImagesConfig:
    """The keys that every pair has: what images it makes, and of which codes."""

    size: int
    channels: int
    latent: str

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"model.size={self.size}: must be at least 1")
        if self.channels not in (1, 3):
            raise InputError(f"model.channels={self.channels}: must be 1 (grey) or 3 (colour)")
        check_one_of(self, "latent", "normal", "uniform", group="model.")


@dataclass
class ModelConfig(ImagesConfig):
    """The ``model`` group of ``train``: a DCGAN."""

    nz: int
    ngf: int
    ndf: int
    discriminator_norm: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 16 or self.size & (self.size - 1):
            raise InputError(f"model.size={self.size}: must be a power of two of at least 16")
        check_one_of(self, "discriminator_norm", "batch", "spectral", "none", group="model.")
        for key in ("nz", "ngf", "ndf"):
            if getattr(self, key) < 1:
                raise InputError(f"model.{key}={getattr(self, key)}: must be at least 1")
