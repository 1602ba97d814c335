"""The DCGAN pair, for any power-of-two size."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

PROJECTED = 128  # length of the vectors in which D compares an image with a condition
WIDEST = 16  # feature maps stop doubling at this multiple, so that 256x256 is trainable


def _widths(size: int, base: int) -> list[int]:
    """Feature maps at 4x4, 8x8, ..., size/2."""
    if size < 16 or size & (size - 1):
        raise ValueError(f"size must be a power of two of at least 16, not {size}")
    levels = size.bit_length() - 3
    return [base * min(2**level, WIDEST) for level in reversed(range(levels))]


class Projection(nn.ConvTranspose2d):
    """A transposed convolution of a 1x1 input, computed as a matrix product: much faster."""

    def forward(self, z: Tensor) -> Tensor:  # type: ignore[override]
        """``(B, nz, 1, 1)`` -> ``(B, C, k, k)`` with a k x k kernel."""
        product = z.flatten(1) @ self.weight.flatten(1)
        images = product.unflatten(1, self.weight.shape[1:])
        return images if self.bias is None else images + self.bias[:, None, None]


class Generator(nn.Module):
    """``z -> image``: transposed convolutions from 1x1 to size x size, doubling from 4x4 on.

    At size 64 the layers and their names are those of the PyTorch DCGAN tutorial. A generator with
    a ``nz`` that takes ``(B, nz, 1, 1)`` as well fits where others expect one, as in deepinv.

    Source: Radford et al., ICLR 2016, "Unsupervised representation learning with DCGANs", fig. 1.

    Args:
        size: side of the image in pixels, a power of two of at least 16.
        channels: 1 or 3.
        nz: length of the latent code.
        ngf: feature maps before the last layer.
        widths: feature maps of every layer but the last, the first one's first; by default ``ngf``
            times powers of two.
        kernels: sides of the kernels of all layers: of the first any, of the others even; by
            default 4. The image's side is the first kernel's, doubled by every other layer.
        condition: length of a condition's vector, and of its projection, which joins z; None: the
            images depend on z alone.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        nz: int,
        ngf: int,
        widths: Sequence[int] | None = None,
        kernels: Sequence[int] | None = None,
        condition: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.nz = nz
        widths = widths or _widths(size, ngf)
        first, *others = kernels or [4] * (len(widths) + 1)
        self.embed = nn.Linear(*condition, bias=False) if condition else None
        inputs = nz + (condition[1] if condition else 0)
        layers: list[nn.Module] = [Projection(inputs, widths[0], first, bias=False)]
        for (wide, narrow), k in zip(pairwise([*widths, channels]), others, strict=True):
            layers += [nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(wide, narrow, k, 2, k // 2 - 1, bias=False)]
        layers.append(nn.Tanh())
        self.main = nn.Sequential(*layers)
        self.apply(_dcgan_init)
        if self.embed:  # a vector of length 1 becomes numbers of the size of a normal code
            nn.init.normal_(self.embed.weight, 0.0, 0.5)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """``(B, nz)`` or ``(B, nz, 1, 1)`` -> ``(B, C, H, W)`` in [-1, 1].

        Args:
            condition: ``(B, d)`` vectors; None or zeros: nothing is known.
        """
        codes = z.flatten(1)
        if self.embed:
            if condition is None:
                condition = codes.new_zeros(len(codes), self.embed.in_features)
            codes = torch.cat([codes, self.embed(condition)], dim=1)
        return self.main(codes[:, :, None, None])


class Discriminator(nn.Module):
    """``image -> logit``, the generator's mirror image; the sigmoid is left to the losses.

    Args:
        size: side of the image in pixels, a power of two of at least 16.
        channels: 1 or 3.
        ndf: feature maps after the first layer.
        norm: ``batch``; ``spectral``, each layer's largest singular value kept at 1 (Miyato et al.,
            ICLR 2018); or ``none``. With the last two, an image's logit does not depend on the
            others, as ``wgan_gp`` needs.
        condition: length of a condition's vector; None: it judges images alone.

    Source of the conditional logit: Miyato and Koyama, ICLR 2018, "cGANs with projection
    discriminator", eq. 3.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        ndf: int,
        norm: str = "batch",
        condition: int | None = None,
    ):
        super().__init__()
        widths = _widths(size, ndf)[::-1]
        bias = norm != "batch"  # BatchNorm has its own bias
        layers: list[nn.Module] = [nn.Conv2d(channels, widths[0], 4, 2, 1, bias=bias)]
        layers += [nn.LeakyReLU(0.2, inplace=True)]
        for narrow, wide in pairwise(widths):
            layers += [nn.Conv2d(narrow, wide, 4, 2, 1, bias=bias)]
            # always a layer, so that layer names do not depend on the norm
            layers += [nn.Identity() if bias else nn.BatchNorm2d(wide)]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        layers += [nn.Conv2d(widths[-1], 1, 4, bias=bias)]
        self.main = nn.Sequential(*layers)
        if norm == "batch":
            self.apply(_dcgan_init)  # without BatchNorm, weights of 0.02 would lose the signal
        if norm == "spectral":
            for layer in layers:
                if isinstance(layer, nn.Conv2d):
                    spectral_norm(layer)
        self.embed = None
        if condition:
            # not the mean over positions, as in the source: the shape of a thing would be lost
            self.project = nn.Conv2d(widths[-1], PROJECTED, 4, bias=False)
            self.embed = nn.Linear(condition, PROJECTED, bias=False)
            nn.init.normal_(self.embed.weight, 0.0, 0.1)

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] -> ``(B,)`` logits.

        Args:
            condition: ``(B, d)`` vectors; None or zeros: only the image is judged. Of n for each
                image, ``(B or 1, n, d)``, the logits are ``(B, n)``.
        """
        if self.embed is None or condition is None:
            return self.main(images)[:, 0, 0, 0]
        features = self.main[:-1](images)
        logit, seen = self.main[-1](features)[:, 0, 0, 0], self.project(features)[:, :, 0, 0]
        told = self.embed(condition)
        if condition.ndim == 2:
            return logit + (told * seen).sum(dim=1)
        return logit[:, None] + (told * seen[:, None]).sum(dim=2)


def pair(
    size: int,
    channels: int,
    nz: int,
    ngf: int,
    ndf: int,
    discriminator_norm: str = "batch",
    condition: tuple[int, int] | None = None,
) -> tuple[Generator, Discriminator]:
    """A generator and its discriminator; the arguments are theirs.

    Args:
        condition: length of a condition's vector, and of its projection in the generator.
    """
    generator = Generator(size, channels, nz, ngf, condition=condition)
    dim = condition[0] if condition else None
    return generator, Discriminator(size, channels, ndf, discriminator_norm, dim)


def _dcgan_init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


@contextmanager
def running_statistics_kept(network: nn.Module) -> Iterator[None]:
    """Within the block, BatchNorm uses batch statistics but keeps its running ones."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
