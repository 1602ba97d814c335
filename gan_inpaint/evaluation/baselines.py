"""Inpainting baselines without a search, measured beside it."""

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from gan_inpaint.data.images import to_float, to_uint8

_CHUNK = 1024  # training images compared at once
_RADIUS = 3  # pixels around a missing one that OpenCV's methods use; the usual choice


class Baselines:
    """Methods to fill a hole without a search; those whose package is missing are left out.

    ``mean``: the mean training image. ``nearest``: the training image that is nearest to the
    known pixels (l2). ``linear`` and ``network``: the estimates that a guide uses, if given,
    without a search. ``biharmonic``: scikit-image, Damelin and Hoang, 2018. ``telea`` and ``ns``:
    OpenCV, Telea, 2004, and Bertalmio et al., 2001 (Navier-Stokes).

    Args:
        mean: ``(C, H, W)`` in [-1, 1].
        training: uint8 ``(N, C, H, W)``, the prior's training images; without them ``nearest`` is
            left out.
        guides: name -> estimates of the hole, of images, ``known`` and conditions, see
            ``guide.estimates.Guide``.

    Attributes:
        left_out: which methods are missing, and why.
    """

    def __init__(
        self,
        mean: Tensor,
        training: np.ndarray | None,
        guides: Mapping[str, Callable[..., Tensor]] | None = None,
    ):
        self._mean, self._training = mean, training
        self._methods: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mean": self._mean_fill}
        self.left_out: list[str] = []
        if training is None:
            self.left_out.append("nearest (the prior's training images are not available)")
        else:
            self._methods["nearest"] = self._nearest_fill
        self._guides = guides or {}
        for package, methods in (
            ("skimage", {"biharmonic": biharmonic}),
            ("cv2", {"telea": telea, "ns": navier_stokes}),
        ):
            if find_spec(package):
                self._methods |= methods
            else:
                words = " and ".join(methods)
                self.left_out.append(f"{words} (pip install 'gan_inpaint[baselines]')")

    def __call__(
        self, images: Tensor, known: Tensor, condition: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Name -> ``(B, C, H, W)`` in [-1, 1], with unchanged known pixels.

        Args:
            images: ``(B, C, H, W)`` in [-1, 1]; pixels in the hole are ignored.
            known: ``(B, 1, H, W)`` bool, at least one known pixel each.
            condition: ``(B, d)``, what the images show, for the guides of a conditional prior.
        """
        visible = torch.where(known, images, 0.0)
        filled = {name: method(visible, known) for name, method in self._methods.items()}
        filled |= {name: guide(visible, known, condition) for name, guide in self._guides.items()}
        return {name: torch.where(known, images, filling) for name, filling in filled.items()}

    def _mean_fill(self, visible: Tensor, known: Tensor) -> Tensor:
        return self._mean.expand_as(visible)

    def _nearest_fill(self, visible: Tensor, known: Tensor) -> Tensor:
        assert self._training is not None
        wanted, weight = visible.flatten(1), known.expand_as(visible).flatten(1).float()
        # sum of known·(p − y)², without the part that is the same for all images p
        distance = torch.cat(
            [weight @ part.square().T - 2 * wanted @ part.T for part in self._parts()], dim=1
        )
        return to_float(self._training[distance.argmin(dim=1).numpy()])

    def _parts(self) -> Iterator[Tensor]:
        assert self._training is not None
        for first in range(0, len(self._training), _CHUNK):
            yield to_float(self._training[first : first + _CHUNK]).flatten(1)


def biharmonic(visible: Tensor, known: Tensor) -> Tensor:
    """The smoothest surface through the known pixels."""
    from skimage.restoration import inpaint_biharmonic

    filled = [
        inpaint_biharmonic(image.double().numpy(), ~mask[0].numpy(), channel_axis=0)
        for image, mask in zip(visible, known, strict=True)
    ]
    return torch.from_numpy(np.stack(filled)).float().clamp(-1, 1)


def telea(visible: Tensor, known: Tensor) -> Tensor:
    """Fills from the border inwards with weighted means (fast marching)."""
    import cv2

    return _opencv(visible, known, cv2.INPAINT_TELEA)


def navier_stokes(visible: Tensor, known: Tensor) -> Tensor:
    """Continues lines of equal brightness into the hole."""
    import cv2

    return _opencv(visible, known, cv2.INPAINT_NS)


def _opencv(visible: Tensor, known: Tensor, method: int) -> Tensor:
    import cv2

    filled = []
    for image, mask in zip(to_uint8(visible), known, strict=True):
        pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
        hole = (~mask[0].numpy()).astype(np.uint8)
        result = cv2.inpaint(pixels, hole, _RADIUS, method)
        filled.append(result.reshape(pixels.shape).transpose(2, 0, 1))
    return to_float(np.stack(filled))
