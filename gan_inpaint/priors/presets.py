"""Public generators as priors: NVIDIA's StyleGANs, BigGAN, and decoders of autoencoders.

Each needs its own package or repository, which this package neither installs nor downloads.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_inpaint.errors import InputError
from gan_inpaint.priors.adapters import as_prior
from gan_inpaint.priors.gan import Prior


def stylegan(path: str, repository: str, latent_space: str = "w", trust: bool = False) -> Prior:
    """A pickle of StyleGAN2-ADA (PyTorch) or StyleGAN3, such as ``ffhq.pkl``.

    Args:
        path: the ``.pkl`` file.
        repository: a checkout of NVIDIA's stylegan2-ada-pytorch or stylegan3, whose ``legacy`` and
            ``dnnlib`` read it.
        latent_space: ``z``, ``w`` or ``w+``.
        trust: must be true, because loading the pickle runs code that its author has put there.
    """
    _check_trust(path, trust)
    if not (Path(repository) / "legacy.py").is_file():
        raise InputError(
            f"prior.repository={repository}: holds no legacy.py; name a checkout of NVIDIA's"
            " stylegan2-ada-pytorch or stylegan3"
        )
    if not Path(path).is_file():
        raise InputError(f"prior.path={path}: no such file")
    sys.path.insert(0, str(repository))
    try:
        with Path(path).open("rb") as file:
            networks = import_module("legacy").load_network_pkl(file)
    except Exception as problem:  # whatever the repository raises
        raise InputError(f"{path}: the repository cannot read it ({problem})") from problem
    finally:
        sys.path.remove(str(repository))
    generator = networks["G_ema"].float()
    if getattr(generator, "c_dim", 0):
        raise InputError(f"{path}: a generator with labels, which need a function of your own")
    judge = _WithoutLabels(networks["D"].float()) if networks.get("D") is not None else None
    return as_prior(generator, latent_space=latent_space, discriminator=judge, name=Path(path).stem)


class _WithoutLabels(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images, None)


def _check_trust(path: str, trust: bool) -> None:
    if not trust:
        raise InputError(
            f"{path}: a pickle, and loading it runs whatever code its author has put into it; if"
            " you trust its source, set trust=true"
        )


def biggan(
    model: str,
    class_index: int,
    truncation: float = 0.4,
    latent_space: str = "z",
    trust: bool = False,
) -> Prior:
    """BigGAN-deep of one ImageNet class, from the package ``pytorch-pretrained-biggan``.

    Args:
        model: ``biggan-deep-128``, ``-256`` or ``-512``, which the package downloads, or a folder
            with ``config.json`` and ``pytorch_model.bin``.
        class_index: of ImageNet, from 0.
        truncation: of the statistics of its BatchNorm, in (0, 1].
        latent_space: ``z``, the only one.
        trust: not needed.

    Source: Brock et al., ICLR 2019, "Large scale GAN training for high fidelity natural image
    synthesis".
    """
    _check_space(latent_space, "BigGAN")
    network = _imported("pytorch_pretrained_biggan").BigGAN.from_pretrained(model)
    return biggan_of(network, class_index, truncation)


def biggan_of(network: Any, class_index: int, truncation: float = 0.4) -> Prior:
    """``biggan`` of a network that is loaded already."""
    count = network.config.num_classes
    if not 0 <= class_index < count:
        raise InputError(f"prior.class_index={class_index}: must be from 0 to {count - 1}")
    wrapped = _OfClass(network, class_index, count, truncation)
    return as_prior(wrapped, nz=network.config.z_dim, name=f"BigGAN, class {class_index}")


class _OfClass(nn.Module):
    """A generator of classes, with the class chosen."""

    def __init__(self, network: nn.Module, index: int, count: int, truncation: float):
        super().__init__()
        self.network, self._truncation = network, truncation
        self.register_buffer("label", torch.eye(count)[index : index + 1])

    def forward(self, z: Tensor) -> Tensor:
        return self.network(z, self.label.expand(len(z), -1), self._truncation)  # type: ignore[operator]


def autoencoder(
    path: str,
    side: int = 32,
    subfolder: str | None = None,
    latent_space: str = "z",
    trust: bool = False,
) -> Prior:
    """The decoder of ``diffusers.AutoencoderKL``, such as that of Stable Diffusion.

    Its codes are maps, (4, side, side), and their prior is a crude one: independent normal
    coordinates. So it paints textures, not objects.

    Args:
        path: a folder or a repository of the Hugging Face Hub.
        side: of the code; the images are 8 times as large with Stable Diffusion's.
        subfolder: of the repository.
        latent_space: ``z``, the only one.
        trust: not needed.
    """
    _check_space(latent_space, "an autoencoder")
    kind = _imported("diffusers").AutoencoderKL
    options = {"subfolder": subfolder} if subfolder else {}
    return autoencoder_of(kind.from_pretrained(path, **options), side)


def autoencoder_of(network: Any, side: int = 32) -> Prior:
    """``autoencoder`` of a network that is loaded already."""
    shape = network.config.latent_channels, side, side
    decoder = _Decoder(network, float(network.config.scaling_factor))
    return as_prior(decoder, nz=shape, name="AutoencoderKL")


class _Decoder(nn.Module):
    def __init__(self, network: nn.Module, scale: float):
        super().__init__()
        self.network, self._scale = network, scale

    def forward(self, z: Tensor) -> Tensor:
        return self.network.decode(z / self._scale).sample  # type: ignore[operator]


def _check_space(space: str, what: str) -> None:
    if space != "z":
        raise InputError(f"latent_space={space}: {what} has only z")


def _imported(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as problem:
        name = package.replace("_", "-")
        raise InputError(f"this prior needs a package: pip install {name} ({problem})") from None
