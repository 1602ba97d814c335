"""Crop a photograph for the search, and paste the result back at full resolution."""

import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from gan_inpaint.data.datasets import ImageFiles
from gan_inpaint.data.image_metadata import save_arguments
from gan_inpaint.data.images import Levels, is_deep, to_float, to_rgb, to_uint8
from gan_inpaint.data.mask_files import MaskFile, resize_mask
from gan_inpaint.functional.blending import poisson_multiscale
from gan_inpaint.functional.shapes import Box, as_size
from gan_inpaint.runtime.io import atomic_write

_PNG = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}  # modes that Pillow writes as PNG


@dataclass
class Photograph:
    """A user's image at its own size and mode, with the hole in its crop.

    Attributes:
        image: upright, with the metadata of its file.
        box: the part that is searched for.
        levels: black and white if it has more than 8 bits.
        hole: ``(height, width)`` bool of the box, 1 = missing.
        outside: share of the missing pixels that lie outside the box; they are left unfilled.
    """

    image: Image.Image
    box: Box
    levels: Levels | None
    hole: np.ndarray
    outside: float = 0.0

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        return self.image.width * self.image.height * 4 + self.hole.size

    def fill(self, generated: Tensor, blend: str) -> Image.Image:
        """The image with its hole filled, in its own size and mode; known pixels are untouched.

        The generated image is enlarged to the photograph's resolution and fills the hole there,
        with ``blend=poisson`` by its gradients if the box has a known pixel. Filled pixels become
        opaque. Metadata (EXIF, XMP, resolution, text, ICC profile) is kept.

        Args:
            generated: ``(C, H, W)`` in [-1, 1], G(z) without blending.
            blend: ``none`` or ``poisson``.
        """
        size = self.hole.shape
        filling = F.interpolate(generated[None], size, mode="bicubic", align_corners=False)[0]
        filling = filling.expand(3, -1, -1).clamp(-1, 1)
        if blend == "poisson" and not self.hole.all():
            square = to_rgb(self.image, background="white", levels=self.levels).crop(self.box)
            pixels = to_float(np.asarray(square).transpose(2, 0, 1)).numpy()
            filling = torch.from_numpy(poisson_multiscale(filling.numpy(), pixels, ~self.hole))
        image = self.image
        if self.levels is None and "transparency" in image.info:  # the hole may need that colour
            image = image.convert("RGBA")
        result = _pasted(image, filling, self.box, self.hole, self.levels)
        result.info |= image.info
        return result


def read_photograph(
    source: ImageFiles, index: int, mask: Callable[..., Tensor], rng: np.random.Generator
) -> tuple[np.ndarray, Tensor, Photograph]:
    """An image at the prior's size, its mask there, and the image as it is in its file.

    Where the file is damaged, its hole is filled with the nearest known pixels before it is
    reduced, so that the damage does not bleed into the known pixels.

    Args:
        mask: a ``MaskFile``, or a function of ``masks``.
        rng: for random masks.

    Returns:
        uint8 ``(C, H, W)``; bool ``(1, H, W)``, 1 = known; the photograph.
    """
    image, box = source.photograph(index)
    name, levels = source.names[index], source.levels(index, image)
    if not isinstance(mask, MaskFile):
        pixels = source.crop_resized(index, image, box)
        known = mask(as_size(*pixels.shape[1:]), rng, name)
        hole = resize_mask(~known[0].numpy(), (box[2] - box[0], box[3] - box[1]))
        return pixels, known, Photograph(image, box, levels, hole)
    place = image.size, box, source.file(index)
    hole = mask.hole(name, *place)
    cropped = image
    if not source.truth and hole.any() and not hole.all():
        cropped = _filled_with_nearest(to_rgb(image, "white", levels), box, hole)
    pixels = source.crop_resized(index, cropped, box)
    known = torch.from_numpy(~resize_mask(hole, (pixels.shape[2], pixels.shape[1])))[None]
    return pixels, known, Photograph(image, box, levels, hole, mask.outside(name, *place))


def _filled_with_nearest(rgb: Image.Image, box: Box, hole: np.ndarray) -> Image.Image:
    nearest = distance_transform_edt(hole, return_distances=False, return_indices=True)
    square = np.asarray(rgb.crop(box))[tuple(nearest)]
    filled = rgb.copy()  # to_rgb may return the photograph itself
    filled.paste(Image.fromarray(square), box[:2])
    return filled


def _pasted(
    photograph: Image.Image, filling: Tensor, box: Box, hole: np.ndarray, levels: Levels | None
) -> Image.Image:
    """``filling``, ``(3, H, W)`` in [-1, 1], pasted into the hole, in the photograph's mode."""
    if levels is not None:
        assert is_deep(photograph)
        values = np.array(photograph)
        black, white = levels
        level = (filling.mean(dim=0).numpy() + 1) / 2 * (white - black) + black
        if photograph.mode.startswith("I"):
            level = level.round()
        region = values[box[1] : box[3], box[0] : box[2]]
        region[hole] = level[hole].astype(values.dtype)
        return Image.fromarray(values)
    patch = Image.fromarray(to_uint8(filling).transpose(1, 2, 0))
    if photograph.mode == "P":
        patch = patch.quantize(palette=photograph, dither=Image.Dither.NONE)
    else:
        patch = patch.convert(photograph.mode)
    result = photograph.copy()
    result.paste(patch, box[:2], Image.fromarray(hole))
    return result


def unique_names(names: Sequence[str]) -> list[str]:
    """Unique file names without suffixes, all below one folder.

    Names that would collide keep their suffixes; if that is not enough, they get a number.

    Example:
        >>> unique_names(["a.jpg", "b.jpg", "b.png", "../up/c.png"])
        ['a', 'b.jpg', 'b.png', 'up/c']
    """
    inside = [
        PurePosixPath(*(part for part in PurePosixPath(name).parts if part not in ("/", "..")))
        for name in names
    ]
    stems = [str(path.with_suffix("")) for path in inside]
    count, taken, found = Counter(stems), set[str](), []
    for number, (stem, path) in enumerate(zip(stems, inside, strict=True)):
        name = stem if count[stem] == 1 else str(path)
        name = f"{name}_{number}" if name in taken else name
        taken.add(name)
        found.append(name)
    return found


def write_photograph(folder: Path, name: str, photograph: Image.Image) -> None:
    """Write a lossless PNG, or a TIFF if PNG lacks the image's mode.

    Args:
        name: without suffix, from ``unique_names``.
    """
    path = folder / f"{name}{'.png' if photograph.mode in _PNG else '.tif'}"
    with atomic_write(path) as temporary:
        try:
            photograph.save(temporary, **save_arguments(photograph, path.suffix))
        except (ValueError, TypeError, struct.error):  # metadata that this format cannot hold
            photograph.save(temporary)
