"""A prior: a trained generator and discriminator, frozen, with their metadata."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from gan_inpaint.conditioning.encoder import Encoder, short
from gan_inpaint.errors import InputError
from gan_inpaint.functional.latent import project
from gan_inpaint.functional.shapes import Size, as_size
from gan_inpaint.priors.files import Networks, read_networks
from gan_inpaint.priors.freeze import freeze, reduce_precision
from gan_inpaint.priors.hub import HubMixin
from gan_inpaint.priors.latent_space import LatentSpace
from gan_inpaint.runtime.seeding import torch_rng

_CHUNK = 256  # samples of 64x64 pixels generated at once


class Prior(HubMixin, nn.Module):
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
        encoder: of the conditions that both networks take as a second input; None: they take none.
        conditions: ``(n, d)``, encoded, of some of its training images.
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
        encoder: Encoder | None = None,
        conditions: Tensor | None = None,
        metadata: Mapping[str, str] | None = None,
        name: str = "prior",
        files: tuple[Path, ...] = (),
    ):
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.image_shape, self.latent, self.loss = image_shape, latent, loss
        self.encoder, self.conditions = encoder, conditions
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

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """``(B, dim)`` codes -> ``(B, C, H, W)`` images in [-1, 1].

        Args:
            condition: ``(B, d)`` vectors of ``encoder``; None: nothing is known.
        """
        return self.generator(z) if condition is None else self.generator(z, condition)

    def realism(self, images: Tensor, condition: Tensor | None = None) -> Tensor | None:
        """``(B, C, H, W)`` images in [-1, 1] -> ``(B,)`` logits; None without a discriminator.

        Args:
            condition: see ``decode``.
        """
        if self.discriminator is None:
            return None
        if condition is None:
            return self.discriminator(images)
        return self.discriminator(images, condition)

    def encode(self, conditions: Sequence[Any]) -> Tensor:
        """``(N, d)`` vectors of N conditions: labels, attributes or captions, None for unknown.

        Raises:
            InputError: the prior takes no conditions, or does not know one of these.
        """
        if self.encoder is None:
            raise InputError(
                f"condition={short(conditions[0])}: the prior {self.name} takes no conditions;"
                " train one with conditioning=label, attributes or text"
            )
        return self.encoder.encode(conditions)

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
        # as they are in the file: freezing folds BatchNorm; of other networks, as they are here
        readable = self.files and self.metadata.get("architecture", "dcgan") == "dcgan"
        networks = read_networks(*self.files) if readable else own  # type: ignore[arg-type]
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
    def from_file(
        cls,
        path: Path,
        name: str,
        discriminator: str | Path | None = None,
        latent: str | None = None,
    ) -> Self:
        """Read a file of this package's networks, and freeze them; see ``load_prior``.

        Args:
            name: a short description of the file.
        """
        networks = read_networks(path, discriminator, latent)
        judge, metadata = networks.discriminator, networks.metadata
        channels, size, nz = (int(metadata[key]) for key in ("channels", "size", "nz"))
        prior = cls(
            freeze(networks.generator),
            judge and freeze(judge),
            image_shape=(channels, size, size),
            latent=LatentSpace(metadata["latent"], (nz,)),
            loss=metadata["loss"],
            encoder=networks.encoder,
            conditions=networks.conditions,
            metadata=metadata,
            name=name,
            files=(path, Path(discriminator)) if discriminator else (path,),
        )
        if not bool(prior.sample(4, seed=0).isfinite().all()):
            raise InputError(
                f"{path}: its images are not finite; the file is damaged, train it again"
            )
        return prior

    def companion(self, kind: str) -> Path | None:
        """A file of the guide beside the prior's, if it is there.

        A prior of the same images as another one may use that one's: ``guide_of`` in its metadata
        names it.

        Args:
            kind: ``gaussian``, statistics of the training images, or ``guide``, a learned one.
        """
        for path in self.files[:1]:
            file = path.with_suffix(f".{kind}.safetensors")
            if path.suffix == ".ckpt":  # its run's
                file = path.parent.parent / f"prior.{kind}.safetensors"
            lender = Path(self.metadata.get("guide_of", path.stem)).name
            for there in (file, path.with_name(f"{lender}.{kind}.safetensors")):
                if there.is_file():
                    return there
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
            encoder=self.encoder,
            conditions=self.conditions,
            metadata=self.metadata,
            name=self.name,
            files=self.files,
        )

    def sample(
        self, count: int, seed: int, radius: float = math.inf, condition: Any = None
    ) -> Tensor:
        """``(count, C, H, W)`` images in [-1, 1] from the prior's own distribution.

        Args:
            radius: longer normal codes are shortened to this times √dim; smaller values give more
                typical images.
            condition: a label, attributes or a caption that all images show; None: of a conditional
                prior as often as in its training.
        """
        vectors = None
        if condition is not None:
            vectors = self.encode([condition]).expand(count, -1)
        return torch.cat(list(self.samples(count, seed, radius, vectors)))

    @torch.no_grad()
    def samples(
        self,
        count: int,
        seed: int,
        radius: float = math.inf,
        condition: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """``sample`` in parts, to save memory.

        Args:
            condition: ``(count, d)`` vectors; None: see ``drawn_conditions``.
        """
        if condition is None:
            condition = self.drawn_conditions(count, seed)
        z = self.latent.sample(count, torch_rng("sample", seed))
        if self.latent.constraint == "ball" and math.isfinite(radius):
            z = project(z, "ball", radius)
        pixels = math.prod(self.image_shape[1:])
        size = max(1, _CHUNK * 64**2 // max(64**2, pixels))
        for first in range(0, count, size):
            part = slice(first, first + size)
            given = None if condition is None else condition[part].to(self.device)
            yield self.decode(z[part].to(self.device), given).cpu().clamp(-1, 1)

    def drawn_conditions(self, count: int, seed: int) -> Tensor | None:
        """``(count, d)``: conditions as frequent as in training; None if the prior takes none."""
        if self.conditions is None:
            return None
        rng = torch_rng("conditions", seed)
        return self.conditions[torch.randint(len(self.conditions), (count,), generator=rng)]
