"""Prior files: write a trained pair of networks, and read one back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from gan_inpaint.conditioning.encoder import Encoder
from gan_inpaint.conditioning.stored import make_encoder
from gan_inpaint.data.formats import is_lfs_pointer
from gan_inpaint.errors import InputError
from gan_inpaint.models.config import ModelConfig
from gan_inpaint.models.dcgan import Discriminator, Generator
from gan_inpaint.priors.tutorial_weights import SUFFIXES as TUTORIAL
from gan_inpaint.priors.tutorial_weights import read_tutorial
from gan_inpaint.priors.weights import (
    CONDITIONS,
    Weights,
    check_numbers,
    load_into,
    read_checkpoint,
    read_safetensors,
)
from gan_inpaint.runtime.io import atomic_write

_SIZES = ("size", "channels", "nz", "ngf", "ndf")
_WIDEST = 4096  # projection of a condition


def save_prior(
    path: Path,
    generator: nn.Module,
    discriminator: nn.Module | None,
    metadata: Mapping[str, Any],
    conditions: Tensor | None = None,
) -> None:
    """Write both networks to a ``.safetensors`` file: no pickle, no Lightning needed to read it.

    Kernels are stored in half precision, which changes a weight by at most 1e-3 without visible
    effect. BatchNorm's vectors stay in fp32, because a variance may overflow.

    Args:
        conditions: ``(n, d)``, vectors of conditions of training images, of a conditional prior.
    """
    tensors = {} if conditions is None else {CONDITIONS: conditions.half().cpu().contiguous()}
    for prefix, network in (("generator", generator), ("discriminator", discriminator)):
        for key, value in network.state_dict().items() if network else ():
            kept = value.detach().cpu()
            tensors[f"{prefix}.{key}"] = (kept.half() if kept.ndim > 1 else kept).contiguous()
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(tensors, {key: str(value) for key, value in metadata.items()}))


@dataclass(frozen=True)
class Networks:
    """A generator and a discriminator as they were trained, with BatchNorm and parameters.

    Attributes:
        encoder: of the conditions of a conditional prior.
        conditions: ``(n, d)``, encoded, of some of its training images.
    """

    generator: Generator
    discriminator: Discriminator | None
    metadata: Mapping[str, str]
    encoder: Encoder | None = None
    conditions: Tensor | None = None

    def save(self, path: Path) -> None:
        """Write them as a prior, see ``save_prior``."""
        save_prior(path, self.generator, self.discriminator, self.metadata, self.conditions)


def read_networks(
    path: Path, discriminator: str | Path | None = None, latent: str | None = None
) -> Networks:
    """The networks in a file for ``load_prior``, not frozen."""
    others = path.suffix in TUTORIAL
    if not others:
        with path.open("rb") as file:
            if is_lfs_pointer(file.read(64)):
                reason = "a Git LFS pointer, not the weights themselves; run git lfs pull"
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
        raise InputError(
            f"discriminator={discriminator}: {path} already holds a discriminator; leave it out"
        )
    metadata = weights.metadata
    if latent and others:
        metadata["latent"] = latent
    elif latent and metadata.get("latent") != latent:
        raise InputError(
            f"latent={latent}: {path} says {metadata.get('latent')} itself; leave latent= out"
        )
    architecture = metadata.get("architecture", "dcgan")
    if architecture != "dcgan":
        raise InputError(
            f"{path}: its networks come from {architecture}, which is code: give"
            f" 'prior={{_target_: gan_inpaint.priors.trained_pair.trained_pair, path: {path},"
            f" networks: {{_target_: {architecture}, …}}}}'"
        )
    missing = [key for key in (*_SIZES, "latent", "loss") if key not in metadata]
    if missing:
        raise InputError(f"{path}: not a prior of gan_inpaint: its metadata lacks {missing[0]}")
    for key in _SIZES:
        if not metadata[key].isdecimal():
            raise InputError(f"{path}: its metadata says {key}={metadata[key]}, not a number")
    if metadata["loss"] not in ("bce", "hinge", "wgan_gp"):
        raise InputError(f"{path}: its metadata says loss={metadata['loss']}, which is unknown")
    sizes = {key: int(metadata[key]) for key in _SIZES}
    norm = metadata.get("discriminator_norm", "batch")
    layers = {
        k: [int(n) for n in metadata[k].split()]
        for k in ("widths", "kernels")
        if others and k in metadata
    }
    try:
        if not layers:
            ModelConfig(**sizes, latent=metadata["latent"], discriminator_norm=norm)
    except InputError as problem:
        raise InputError(f"{path}: its metadata is wrong: {problem}") from None
    size, channels = sizes["size"], sizes["channels"]
    encoder, width = _read_encoder(path, metadata)
    judge = None
    try:
        with torch.device("meta"):  # allocate nothing because of a size that a file claims
            condition = (encoder.dim, width) if encoder else None
            generator = Generator(
                size, channels, sizes["nz"], sizes["ngf"], **layers, condition=condition
            )
            if weights.discriminator is not None:
                dim = encoder.dim if encoder else None
                judge = Discriminator(size, channels, sizes["ndf"], norm, dim)
    except ValueError:
        reason = f"a discriminator of {size}x{size} images cannot be read; give none, with lam=0"
        raise InputError(f"{discriminator or path}: {reason}") from None
    except (RuntimeError, TypeError, OverflowError) as problem:
        raise InputError(f"{path}: its metadata is wrong: {problem}") from None
    load_into(generator, weights.generator, path, weights.generator_names)
    if judge is not None and weights.discriminator is not None:
        its_path = Path(discriminator) if discriminator else path
        load_into(judge, weights.discriminator, its_path, weights.discriminator_names)
    return Networks(generator, judge, metadata, encoder, _read_conditions(path, weights, encoder))


def _read_encoder(path: Path, metadata: Mapping[str, str]) -> tuple[Encoder | None, int]:
    """The encoder of a conditional prior, and the length of its projection."""
    if "conditioning" not in metadata:
        return None, 0
    try:
        stored = json.loads(metadata["conditioning"])
        width = int(stored["width"])
        if not 1 <= width <= _WIDEST:
            raise ValueError
        return make_encoder(stored["encoder"]), width
    except InputError as problem:
        raise InputError(f"{path}: {problem}") from None
    except (ValueError, TypeError, LookupError, RecursionError):
        raise InputError(f"{path}: its metadata is wrong: its conditioning is damaged") from None


def _read_conditions(path: Path, weights: Weights, encoder: Encoder | None) -> Tensor | None:
    if encoder is None:
        return None
    found = weights.conditions
    if found is None or found.ndim != 2 or found.shape[1] != encoder.dim or not len(found):
        raise InputError(f"{path}: damaged: it holds no conditions of training images")
    check_numbers(found, f"{path}: {CONDITIONS}")
    return found.float()
