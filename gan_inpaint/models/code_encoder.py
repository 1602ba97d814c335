"""A linear encoder, by which a generator learns images from the codes that a search would use."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_inpaint.functional.code_regression import CodeRegression, reduced
from gan_inpaint.functional.latent import project

_RADIUS = 0.7  # of the ball that ``reconstruct`` searches


class CodeEncoder(nn.Module):
    """A linear map from images to codes in a ball, trained together with the generator.

    Normal codes are about √nz long, but a search looks in a ball of 0.7 √nz, and most generators
    have never seen a code from there. So half of a minibatch's codes stay normal, a quarter is
    shortened to the ball's sphere, and a quarter are the codes of real images, which the generator
    also learns to reconstruct.

    Source: after Larsen et al., ICML 2016, "Autoencoding beyond pixels using a learned similarity
    metric". There the encoder is deep and random, with a Kullback-Leibler term and without the
    adversarial loss, and the error is one of D's features; here it is one of pixels.

    Args:
        size, channels, nz: of the generator.
    """

    def __init__(self, size: int, channels: int, nz: int):
        super().__init__()
        values = reduced(torch.zeros(1, channels, size, size)).shape[1]
        self.linear = nn.Linear(values, nz)

    def forward(self, images: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> ``(B, nz)`` in the ball."""
        return project(self.linear(reduced(images)), "ball", _RADIUS)

    @torch.no_grad()
    def fit(self, codes: Tensor, images: Iterable[Tensor]) -> None:
        """Start from the regression of codes on the images that are generated from them.

        Args:
            codes, images: see ``CodeRegression``.
        """
        weight, bias = CodeRegression(codes, images).to_codes
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(bias)

    def mix(self, codes: Tensor, images: Tensor) -> Tensor:
        """``(B, nz)`` normal codes and ``(B, C, H, W)`` real images -> the codes to train on.

        Normal ones, then shortened ones, then those of the last images. B is at least 4.
        """
        quarter = len(codes) // 4
        outer, inner = codes[: -2 * quarter], codes[-2 * quarter : -quarter]
        inner = inner * (_RADIUS * inner.shape[1] ** 0.5 / inner.norm(dim=1, keepdim=True))
        return torch.cat([outer, inner, self(images[-quarter:])])

    @staticmethod
    def error(generated: Tensor, images: Tensor) -> Tensor:
        """The mean squared error of the images that were generated from real images' codes.

        Args:
            generated: ``(B, C, H, W)``, from the codes of ``mix``.
            images: ``(B, C, H, W)``, given to ``mix``.
        """
        quarter = len(generated) // 4
        return F.mse_loss(generated[-quarter:].float(), images[-quarter:].float())
