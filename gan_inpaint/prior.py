"""A prior: a trained generator and discriminator with their metadata; save, find, load."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gan_inpaint.config import ModelSettings
from gan_inpaint.errors import InputError
from gan_inpaint.files import atomic
from gan_inpaint.networks import Discriminator, Generator, frozen
from gan_inpaint.randomness import draw_latent, torch_rng

BUNDLED = Path(__file__).parent / "priors"
_TRAINED = ("outputs/train", "multirun/train")  # where `train` leaves its runs
_SIZES = ("size", "channels", "nz", "ngf", "ndf")


@dataclass(frozen=True)
class Prior:
    """A pair of frozen networks, ready for a search.

    Attributes:
        generator: ``(B, nz)`` -> ``(B, C, H, W)`` in [-1, 1]; eval mode, fp32, no parameters,
            differentiable in z.
        discriminator: ``(B, C, H, W)`` -> ``(B,)`` logits, likewise.
        metadata: what the file says of itself, all strings.
        name: where it came from, in words.
    """

    generator: nn.Module
    discriminator: nn.Module
    metadata: Mapping[str, str]
    name: str

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

    @torch.no_grad()
    def sample(self, count: int, seed: int) -> Tensor:
        """``(count, C, H, W)`` images in [-1, 1] from the prior's own distribution."""
        z = draw_latent(count, self.nz, self.latent, torch_rng("sample", seed))
        return torch.cat([self.generator(part) for part in z.split(256)])


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
    with atomic(path) as temporary:
        temporary.write_bytes(save(tensors, {key: str(value) for key, value in metadata.items()}))


def load_prior(source: str | Path) -> Prior:
    """Load a prior and freeze it.

    Args:
        source: a bundled name (``digits``), a training run's directory, a checkpoint (``.ckpt``),
            a ``.safetensors`` file, or ``latest``: the newest trained prior under
            ``outputs/train``, else the bundled digits.

    Raises:
        InputError: there is no such prior, or the file does not hold one (a ValueError).
    """
    path, name = _find(str(source))
    if path.suffix == ".ckpt":
        generator_state, discriminator_state, metadata = _read_checkpoint(path)
    else:
        generator_state, discriminator_state, metadata = _read_safetensors(path)
    missing = [key for key in (*_SIZES, "latent", "loss") if key not in metadata]
    if missing:
        raise InputError(f"{path}: not a prior of gan_inpaint: its metadata lacks {missing[0]}")
    for key in _SIZES:
        if not metadata[key].isdecimal():
            raise InputError(f"{path}: its metadata says {key}={metadata[key]}, not a number")
    if metadata["loss"] not in ("bce", "hinge", "wgan_gp"):
        raise InputError(f"{path}: its metadata says loss={metadata['loss']}, which is unknown")
    try:
        model = ModelSettings(
            **{k: int(metadata[k]) for k in _SIZES},
            latent=metadata["latent"],
            discriminator_norm=metadata.get("discriminator_norm", "batch"),
        )
    except InputError as problem:
        raise InputError(f"{path}: its metadata is wrong: {problem}") from None
    try:
        with torch.device("meta"):  # nothing is allocated on the word of a file
            generator = Generator(model.size, model.channels, model.nz, model.ngf)
            discriminator = Discriminator(
                model.size, model.channels, model.ndf, model.discriminator_norm
            )
        generator.load_state_dict(generator_state, assign=True)
        discriminator.load_state_dict(discriminator_state, assign=True)
    except (RuntimeError, TypeError, OverflowError) as problem:
        detail = " ".join(str(problem).split())
        raise InputError(f"{path}: weights and metadata disagree: {detail}") from None
    return Prior(frozen(generator), frozen(discriminator), metadata, name)


def _find(source: str) -> tuple[Path, str]:
    """The file behind a name, and how to speak of it."""
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
    path = Path(source)
    if path.is_file():
        if path.suffix in (".ckpt", ".safetensors"):
            return path, source
        raise InputError(f"prior={source}: a prior is a .safetensors or .ckpt file, or a run")
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


def _read_safetensors(path: Path) -> tuple[dict, dict, dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as problem:
        raise InputError(f"{path}: not a readable .safetensors file ({problem})") from None
    return _part(tensors, "generator."), _part(tensors, "discriminator."), metadata


def _read_checkpoint(path: Path) -> tuple[dict, dict, dict[str, str]]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = dict(content["state_dict"])
        metadata = {key: str(value) for key, value in content["hyper_parameters"].items()}
        metadata |= {"epoch": str(content["epoch"] + 1)}
    except Exception:  # a damaged zip or pickle raises whatever it likes; torch's advice is unsafe
        raise InputError(f"{path}: damaged, or no checkpoint of a training run") from None
    # the averaged generator is the one that samples were looked at and that runs export
    return _part(state, "average.module."), _part(state, "discriminator."), metadata


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
