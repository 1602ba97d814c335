"""A prior: a trained generator and discriminator with their metadata; save, find, load."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from gan_inpaint.data.formats import is_lfs_pointer
from gan_inpaint.errors import InputError
from gan_inpaint.functional.latent import draw_latent, project
from gan_inpaint.models.config import ModelConfig
from gan_inpaint.models.dcgan import Discriminator, Generator
from gan_inpaint.priors.freeze import ReducedPrecision, freeze
from gan_inpaint.runtime.io import atomic_write
from gan_inpaint.runtime.seeding import torch_rng
from gan_inpaint.tutorial import SUFFIXES as TUTORIAL
from gan_inpaint.tutorial import read_tutorial
from gan_inpaint.weights import filled, read_checkpoint, read_safetensors

BUNDLED = Path(__file__).parent / "priors"
_TRAINED = ("outputs/train", "multirun/train")  # where `train` leaves its runs
_SIZES = ("size", "channels", "nz", "ngf", "ndf")


@dataclass(frozen=True)
class Prior:
    """A pair of frozen networks, ready for a search.

    Attributes:
        generator: ``(B, nz)`` -> ``(B, C, H, W)`` in [-1, 1]; eval mode, fp32, no parameters,
            differentiable in z.
        discriminator: ``(B, C, H, W)`` -> ``(B,)`` logits, likewise; None if the weights came
            without one.
        metadata: what the file says of itself, all strings.
        name: where it came from, in words.
        files: where it came from: the prior's, and the discriminator's if that is another.
    """

    generator: nn.Module
    discriminator: nn.Module | None
    metadata: Mapping[str, str]
    name: str
    files: tuple[Path, ...] = ()

    @property
    def digest(self) -> str:
        """Of the weights in its files: the same ones have the same, wherever they lie."""
        networks = read_networks(*self.files)
        digest = hashlib.sha256(repr(sorted(networks.metadata.items())).encode())
        for network in (networks.generator, networks.discriminator):
            tensors = network.state_dict() if network else {}
            for key, value in tensors.items():
                if value.ndim:  # not a count of minibatches
                    digest.update(key.encode() + value.float().numpy().tobytes())
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return int(self.metadata["size"])

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return int(self.metadata["channels"])

    @property
    def nz(self) -> int:
        """Length of the latent code."""
        return int(self.metadata["nz"])

    @property
    def latent(self) -> str:
        """Distribution of the latent code: ``normal``, N(0, 1), or ``uniform``, U(-1, 1)."""
        return self.metadata["latent"]

    @property
    def loss(self) -> str:
        """What the discriminator was trained with: ``bce`` if its logit belongs in a sigmoid."""
        return self.metadata["loss"]

    def reduced(self) -> "Prior":
        """The same networks computing in bf16; what goes in and comes out stays fp32."""
        judge = self.discriminator and ReducedPrecision(self.discriminator)
        return replace(self, generator=ReducedPrecision(self.generator), discriminator=judge)

    def sample(self, count: int, seed: int, radius: float = math.inf) -> Tensor:
        """``(count, C, H, W)`` images in [-1, 1] from the prior's own distribution.

        Args:
            radius: normal codes that are longer are shortened to this times √nz: fewer odd images.
        """
        return torch.cat(list(self.samples(count, seed, radius)))

    @torch.no_grad()
    def samples(self, count: int, seed: int, radius: float = math.inf) -> Iterator[Tensor]:
        """``sample`` in parts, for those who do not need all at once."""
        z = draw_latent(count, self.nz, self.latent, torch_rng("sample", seed))
        if self.latent == "normal" and math.isfinite(radius):
            z = project(z, "ball", radius)
        for part in z.split(256):
            yield self.generator(part)


def save_prior(
    path: Path, generator: nn.Module, discriminator: nn.Module, metadata: Mapping[str, Any]
) -> None:
    """Write both networks to a ``.safetensors`` file: no pickle, no Lightning needed to read it.

    Kernels are stored in half precision (they are used in fp32 again, and a change of 1e-3 of a
    weight shows nowhere); BatchNorm's vectors stay in fp32, since a variance may overflow.
    """
    tensors = {}
    for prefix, network in (("generator", generator), ("discriminator", discriminator)):
        for key, value in network.state_dict().items():
            kept = value.detach().cpu()
            tensors[f"{prefix}.{key}"] = (kept.half() if kept.ndim > 1 else kept).contiguous()
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(tensors, {key: str(value) for key, value in metadata.items()}))


def load_prior(source: str | Path, discriminator: str | Path | None = None) -> Prior:
    """Load a prior and freeze it.

    Args:
        source: a bundled name (``digits``, ``faces``), a training run's directory, a checkpoint
            (``.ckpt``), a ``.safetensors`` file, a ``netG.pth`` as the PyTorch DCGAN tutorial saves
            it, or ``latest``: the newest trained prior under ``outputs/train``, else the bundled
            digits.
        discriminator: the ``netD.pth`` that belongs to a ``netG.pth``; without it, only a search
            with ``lam=0`` is possible.

    Raises:
        InputError: there is no such prior, or the file does not hold one (a ValueError).
    """
    if not isinstance(source, str | Path):
        raise InputError(
            f"prior={type(source).__name__}: give a prior from load_prior, its name or its path"
        )
    with torch.inference_mode(False):  # what is made there could not be differentiated elsewhere
        return _loaded(str(source), discriminator)


def _loaded(source: str, discriminator: str | Path | None) -> Prior:
    path, name = find_prior(source)
    networks = read_networks(path, discriminator)
    judge = networks.discriminator
    files = (path, Path(discriminator)) if discriminator else (path,)
    prior = Prior(
        freeze(networks.generator), judge and freeze(judge), networks.metadata, name, files
    )
    if not bool(prior.sample(4, seed=0).isfinite().all()):
        raise InputError(f"{path}: its pictures are not finite; it is damaged: train it again")
    return prior


@dataclass(frozen=True)
class Networks:
    """A pair as it was trained, with BatchNorm and parameters."""

    generator: Generator
    discriminator: Discriminator | None
    metadata: Mapping[str, str]


def read_networks(path: Path, discriminator: str | Path | None = None) -> Networks:
    """The networks in a file that ``load_prior`` takes, not frozen."""
    others = path.suffix in TUTORIAL
    if not others:
        with path.open("rb") as file:
            if is_lfs_pointer(file.read(64)):
                reason = "only stands for weights that Git LFS keeps; run git lfs pull"
                raise InputError(f"{path}: {reason}")
    if path.suffix == ".ckpt":
        try:
            weights = read_checkpoint(path)
        except InputError as problem:  # perhaps somebody else's
            try:
                read_tutorial(path, None)
            except InputError:
                raise problem from None
            others = True
    elif not others:
        weights = read_safetensors(path)
        others = "size" not in weights.metadata and not weights.discriminator
    if others:
        weights = read_tutorial(path, Path(discriminator) if discriminator else None)
    elif discriminator:
        raise InputError(f"discriminator={discriminator}: {path} has its own; leave it out")
    metadata = weights.metadata
    missing = [key for key in (*_SIZES, "latent", "loss") if key not in metadata]
    if missing:
        raise InputError(f"{path}: not a prior of gan_inpaint: its metadata lacks {missing[0]}")
    for key in _SIZES:
        if not metadata[key].isdecimal():
            raise InputError(f"{path}: its metadata says {key}={metadata[key]}, not a number")
    if metadata["loss"] not in ("bce", "hinge", "wgan_gp"):
        raise InputError(f"{path}: its metadata says loss={metadata['loss']}, which is unknown")
    try:
        model = ModelConfig(
            **{k: int(metadata[k]) for k in _SIZES},
            latent=metadata["latent"],
            discriminator_norm=metadata.get("discriminator_norm", "batch"),
        )
    except InputError as problem:
        raise InputError(f"{path}: its metadata is wrong: {problem}") from None
    try:
        with torch.device("meta"):  # nothing is allocated on the word of a file
            generator = Generator(model.size, model.channels, model.nz, model.ngf)
            judge = Discriminator(model.size, model.channels, model.ndf, model.discriminator_norm)
    except (RuntimeError, TypeError, OverflowError) as problem:
        raise InputError(f"{path}: its metadata is wrong: {problem}") from None
    filled(generator, weights.generator, path, weights.generator_names)
    if weights.discriminator is None:
        return Networks(generator, None, metadata)
    its_path = Path(discriminator) if discriminator else path
    filled(judge, weights.discriminator, its_path, weights.discriminator_names)
    return Networks(generator, judge, metadata)


def find_prior(source: str) -> tuple[Path, str]:
    """The file behind a name, and how to speak of it."""
    path = Path(source)
    try:
        there = path.is_file()
    except OSError as problem:  # a name that the system does not allow
        raise InputError(f"prior={source[:80]}: {problem.strerror}; check the path") from None
    if source == "latest":
        trained = sorted(
            (p for d in _TRAINED for p in Path(d).glob("**/prior.safetensors")),
            key=lambda p: p.stat().st_mtime,
        )
        if trained:
            return trained[-1], str(trained[-1].parent)
        source = "digits"
    bundled = BUNDLED / f"{source}.safetensors"
    if "/" not in source and bundled.is_file():
        return bundled, f"{source} (bundled)"
    if there:
        if path.suffix in (".ckpt", ".safetensors", *TUTORIAL):
            return path, source
        raise InputError(
            f"prior={source}: a prior is a .safetensors, .ckpt or netG.pth file, or a run"
        )
    for inside in ("prior.safetensors", "checkpoints/last.ckpt"):
        if (path / inside).is_file():
            return path / inside, source
    names = ", ".join(sorted(p.stem for p in BUNDLED.glob("*.safetensors")))
    if path.is_dir():
        raise InputError(
            f"prior={source}: the folder holds neither prior.safetensors nor checkpoints/last.ckpt;"
            " name a training run"
        )
    raise InputError(
        f"prior={source}: no such file, training run or bundled prior ({names}, or latest);"
        " train one with python -m gan_inpaint.train +experiment=dcgan"
    )
