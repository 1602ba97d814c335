"""A U-Net that improves a linear estimate of the hole."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTHS = (64, 128, 192, 192)  # feature maps at size/2, size/4, ... down to 4x4


class GuideNetwork(nn.Module):
    """``(image, mask, linear estimate) -> better estimate``, the mean of what the hole may hold.

    The network adds a correction to the linear estimate, so it begins as good as that. It works at
    half resolution, with the four pixels of a block as channels.

    Source: Ronneberger et al., MICCAI 2015, "U-Net"; the task is that of Pathak et al., CVPR 2016,
    "Context encoders", without their adversarial loss.

    Args:
        size: side of the images in pixels: 16, 32 or 64.
        channels: 1 or 3.
    """

    def __init__(self, size: int, channels: int):
        super().__init__()
        if size not in (16, 32, 64):
            raise ValueError(f"size must be 16, 32 or 64, not {size}")
        widths = _WIDTHS[: size.bit_length() - 3]
        self.first = _convolution(4 * (2 * channels + 1), widths[0], 3, 1)
        self.down = nn.ModuleList(
            _convolution(wide, narrow, 4, 2) for wide, narrow in pairwise(widths)
        )
        self.middle = nn.ModuleList(_convolution(widths[-1], widths[-1], 3, 1) for _ in range(2))
        self.up = nn.ModuleList()
        inputs = widths[-1]
        for width in reversed(widths[:-1]):
            self.up.append(_upsampling(inputs, width))
            inputs = 2 * width  # with those of the way down
        self.last = nn.Conv2d(inputs, 4 * channels, 3, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor, known: Tensor, linear: Tensor) -> Tensor:
        """``(B, C, H, W)``: the estimate; unbounded, and of no use at known pixels.

        Args:
            images: ``(B, C, H, W)`` in [-1, 1]; pixels in the hole are ignored.
            known: ``(B, 1, H, W)`` bool, 1 = observed pixel.
            linear: ``(B, C, H, W)`` in [-1, 1], the linear estimate.
        """
        given = [torch.where(known, images, linear), linear, known * 2.0 - 1]
        features = self.first(F.pixel_unshuffle(torch.cat(given, dim=1), 2))
        skipped = []
        for layer in self.down:
            skipped.append(features)
            features = layer(features)
        for layer in self.middle:
            features = features + layer(features)
        for layer in self.up:
            features = torch.cat([layer(features), skipped.pop()], dim=1)
        return linear + F.pixel_shuffle(self.last(features), 2).float()


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1))


def _upsampling(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1))
