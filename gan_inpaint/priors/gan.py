"""A prior: a trained generator and discriminator, frozen, with their metadata."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_inpaint.errors import InputError
from gan_inpaint.functional.latent import project
from gan_inpaint.functional.shapes import Size, as_size
from gan_inpaint.priors import hub
from gan_inpaint.priors.freeze import reduce_precision
from gan_inpaint.priors.latent_space import LatentSpace
from gan_inpaint.priors.networks import Networks, read_networks
from gan_inpaint.runtime.seeding import torch_rng

_CHUNK = 256  # samples of 64x64 pixels generated at once


class Prior(nn.Module):
    """A generator, usually with a discriminator, ready for a search.

    ``load_prior`` reads one from a file; ``as_prior`` makes one of any module. A module without
    parameters: its weights are buffers, which follow ``.to(device)``. It is always in eval mode.

    Args:
        generator: ``(B, dim)`` flat codes -> ``(B, C, H, W)`` in [-1, 1]; fp32, no parameters,
            differentiable.
        discriminator: ``(B, C, H, W)`` -> ``(B,)`` logits, likewise; None if there is none.
        image_shape: ``(C, H, W)``; C is 1 (grey) or 3 (RGB).
        latent: the latent space.
        loss: the discriminator's training loss: ``bce`` if its logit is meant for a sigmoid.
        metadata: of the file; all values are strings.
        name: a short description of its source.
        files: the prior's file, and the discriminator's if that is another one.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module | None,
        *,
        image_shape: tuple[int, int, int],
        latent: LatentSpace,
        loss: str = "bce",
        metadata: Mapping[str, str] | None = None,
        name: str = "prior",
        files: tuple[Path, ...] = (),
    ):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.image_shape, self.latent, self.loss = image_shape, latent, loss
        self.metadata, self.name, self.files = metadata or {}, name, files
        self.register_buffer("_place", torch.zeros(()), persistent=False)  # knows the device
        self.eval()

    def train(self, mode: bool = True) -> "Prior":
        """Stay in eval mode: a LightningModule would put its parts into train mode."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Prior":
        """Move with the parent module, but keep the precision."""

        def moved(weights: Tensor) -> Tensor:
            result = fn(weights)
            return result if result.dtype == weights.dtype else weights.to(result.device)

        return super()._apply(moved, recurse)

    def decode(self, z: Tensor) -> Tensor:
        """``(B, dim)`` codes -> ``(B, C, H, W)`` images in [-1, 1]."""
        return self.generator(z)

    def realism(self, images: Tensor) -> Tensor | None:
        """``(B, C, H, W)`` images in [-1, 1] -> ``(B,)`` logits; None without a discriminator."""
        return None if self.discriminator is None else self.discriminator(images)

    @property
    def nz(self) -> int:
        """The number of coordinates of a latent code."""
        return self.latent.dim

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return self.image_shape[0]

    @property
    def size(self) -> int:
        """The side of its square images, in pixels.

        Raises:
            InputError: they are not square; ``image_shape`` has their height and width.
        """
        _, height, width = self.image_shape
        if height != width:
            raise InputError(f"the prior {self.name} makes {height}x{width} images: no single size")
        return height

    @property
    def resolution(self) -> Size:
        """The side of its images if they are square, else height and width."""
        return as_size(*self.image_shape[1:])

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self._place.device  # type: ignore[return-value]

    @property
    def digest(self) -> str:
        """A hash of what it generates and judges by, independent of where its files are."""
        own = Networks(self.generator, self.discriminator, self.metadata)  # type: ignore[arg-type]
        networks = read_networks(*self.files) if self.files else own  # type: ignore[arg-type]
        digest = hashlib.sha256(repr(sorted(self.metadata.items())).encode())
        for network in (networks.generator, networks.discriminator):
            tensors = network.state_dict() if network else {}
            for key, value in tensors.items():
                if value.ndim:  # skip counters of minibatches
                    digest.update(key.encode() + value.float().cpu().numpy().tobytes())
        if not self.generator.state_dict():  # a function: by its images, coarsely
            digest.update((self.sample(4, seed=0) * 32).round().numpy().tobytes())
        return digest.hexdigest()

    @classmethod
    def from_pretrained(cls, source: str | Path, revision: str | None = None) -> "Prior":
        """Load a prior from the Hugging Face Hub (``org/name``) or from a folder in its form."""
        from gan_inpaint.priors.registry import load_prior

        if Path(source).is_dir():
            return load_prior(source)
        return load_prior(f"{hub.PREFIX}{source}" + (f"@{revision}" if revision else ""))

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write a folder in the Hub's form, see ``priors.hub``; returns it."""
        return hub.save_pretrained(self, folder)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Publish it as ``org/name``, see ``priors.hub``; returns what ``prior=`` takes."""
        return hub.push_to_hub(self, repo_id, **options)

    def companion(self, kind: str) -> Path | None:
        """A file of the guide beside the prior's, if it is there.

        Args:
            kind: ``gaussian``, statistics of the training images, or ``guide``, a learned one.
        """
        for path in self.files[:1]:
            file = path.with_suffix(f".{kind}.safetensors")
            if path.suffix == ".ckpt":  # its run's
                file = path.parent.parent / f"prior.{kind}.safetensors"
            if file.is_file():
                return file
        return None

    def reduced(self) -> "Prior":
        """The same networks computing in bf16, with inputs and outputs in fp32.

        A network that cannot compute in bf16 stays as it is.
        """
        code = self.latent.sample(2, torch_rng("reduced")).to(self.device)
        with torch.no_grad():
            image = self.decode(code)
        return Prior(
            reduce_precision(self.generator, code),
            self.discriminator and reduce_precision(self.discriminator, image),
            image_shape=self.image_shape,
            latent=self.latent,
            loss=self.loss,
            metadata=self.metadata,
            name=self.name,
            files=self.files,
        )

    def sample(self, count: int, seed: int, radius: float = math.inf) -> Tensor:
        """``(count, C, H, W)`` images in [-1, 1] from the prior's own distribution.

        Args:
            radius: longer normal codes are shortened to this times √dim; smaller values give more
                typical images.
        """
        return torch.cat(list(self.samples(count, seed, radius)))

    @torch.no_grad()
    def samples(self, count: int, seed: int, radius: float = math.inf) -> Iterator[Tensor]:
        """``sample`` in parts, to save memory."""
        z = self.latent.sample(count, torch_rng("sample", seed))
        if self.latent.constraint == "ball" and math.isfinite(radius):
            z = project(z, "ball", radius)
        pixels = math.prod(self.image_shape[1:])
        for part in z.split(max(1, _CHUNK * 64**2 // max(64**2, pixels))):
            yield self.decode(part.to(self.device)).cpu().clamp(-1, 1)
