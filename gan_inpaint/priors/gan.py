"""A prior: a trained generator and discriminator, frozen, with their metadata."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gan_inpaint.functional.latent import draw_latent, project
from gan_inpaint.priors.freeze import ReducedPrecision
from gan_inpaint.priors.networks import read_networks
from gan_inpaint.runtime.seeding import torch_rng


class Prior(nn.Module):
    """A pair of frozen networks, ready for a search.

    A module without parameters: its weights are buffers, which follow ``.to(device)``.

    Args:
        generator: ``(B, nz)`` -> ``(B, C, H, W)`` in [-1, 1]; eval mode, fp32, no parameters,
            differentiable in z.
        discriminator: ``(B, C, H, W)`` -> ``(B,)`` logits, likewise; None if there is none.
        metadata: of the file; all values are strings.
        name: a short description of its source.
        files: the prior's file, and the discriminator's if that is another one.

    Attributes:
        size: side of the images in pixels.
        channels: 1 (grey) or 3 (RGB).
        nz: length of the latent code.
        latent: distribution of the latent code: ``normal``, N(0, 1), or ``uniform``, U(-1, 1).
        loss: the discriminator's training loss: ``bce`` if its logit is meant for a sigmoid.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module | None,
        metadata: Mapping[str, str],
        name: str,
        files: tuple[Path, ...] = (),
    ):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.metadata, self.name, self.files = metadata, name, files
        self.size, self.channels = int(metadata["size"]), int(metadata["channels"])
        self.nz, self.latent, self.loss = int(metadata["nz"]), metadata["latent"], metadata["loss"]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Prior":
        """Move with the parent module, but keep the precision."""

        def moved(weights: Tensor) -> Tensor:
            result = fn(weights)
            return result if result.dtype == weights.dtype else weights.to(result.device)

        return super()._apply(moved, recurse)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.generator.buffers()).device

    @property
    def digest(self) -> str:
        """A hash of the weights, independent of where their files are."""
        networks = read_networks(*self.files)
        digest = hashlib.sha256(repr(sorted(networks.metadata.items())).encode())
        for network in (networks.generator, networks.discriminator):
            tensors = network.state_dict() if network else {}
            for key, value in tensors.items():
                if value.ndim:  # skip counters of minibatches
                    digest.update(key.encode() + value.float().numpy().tobytes())
        return digest.hexdigest()

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
        """The same networks computing in bf16, with inputs and outputs in fp32."""
        discriminator = self.discriminator and ReducedPrecision(self.discriminator)
        generator = ReducedPrecision(self.generator)
        return Prior(generator, discriminator, self.metadata, self.name, self.files)

    def sample(self, count: int, seed: int, radius: float = math.inf) -> Tensor:
        """``(count, C, H, W)`` images in [-1, 1] from the prior's own distribution.

        Args:
            radius: longer normal codes are shortened to this times √nz; smaller values give more
                typical images.
        """
        return torch.cat(list(self.samples(count, seed, radius)))

    @torch.no_grad()
    def samples(self, count: int, seed: int, radius: float = math.inf) -> Iterator[Tensor]:
        """``sample`` in parts, to save memory."""
        z = draw_latent(count, self.nz, self.latent, torch_rng("sample", seed))
        if self.latent == "normal" and math.isfinite(radius):
            z = project(z, "ball", radius)
        for part in z.split(max(1, 256 * 64**2 // max(64, self.size) ** 2)):
            yield self.generator(part.to(self.device)).cpu()
