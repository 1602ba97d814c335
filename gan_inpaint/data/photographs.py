"""Crop a photograph for the search, and paste the result back at full resolution."""

import hashlib
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from gan_inpaint.data.image_files import ImageFiles
from gan_inpaint.data.image_metadata import save_arguments
from gan_inpaint.data.images import (
    MISSING,
    Levels,
    crop_and_resize,
    cropped,
    infer_levels,
    is_deep,
    to_float,
    to_rgb,
    to_uint8,
)
from gan_inpaint.data.mask_files import MaskFile, hole_in_box, resize_mask
from gan_inpaint.functional.blending import poisson_multiscale
from gan_inpaint.functional.shapes import Box, Size, as_size
from gan_inpaint.runtime.io import atomic_write

_LONGEST = 230  # bytes of a name: a file system takes 255, and more is appended
_MARGIN = 64  # pixels around the hole that blending looks at; it needs two of its coarse grid
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

    @classmethod
    def from_mask(cls, image: Image.Image, box: Box, mask: np.ndarray) -> "Photograph":
        """A photograph in memory, with its hole from a mask over the whole of it.

        Args:
            image: from ``open_image``.
            mask: ``(height, width)`` bool, 1 = missing, in the image's proportions, at any size;
                or in those of the box.

        Raises:
            InputError: the mask has other proportions.
        """
        hole, outside = hole_in_box(mask, image.size, box, "mask", "the photograph")
        levels = infer_levels(image) if is_deep(image) else None
        return cls(image, box, levels, hole, outside)

    def crop(
        self, size: Size, channels: int, name: str = "photograph"
    ) -> tuple[np.ndarray, Tensor]:
        """The box at a prior's size: uint8 ``(C, H, W)``; bool ``(1, H, W)``, 1 = known.

        The hole is filled with the nearest known pixels before the image is reduced, so that the
        damage does not bleed into the known pixels.

        Args:
            name: for messages.

        Raises:
            InputError: a colour image for a grey prior.
        """
        part = self.undamaged()
        pixels = crop_and_resize(part, (0, 0, *part.size), name, size, channels, False)
        known = torch.from_numpy(~resize_mask(self.hole, (pixels.shape[2], pixels.shape[1])))
        return pixels, known[None]

    def undamaged(self) -> Image.Image:
        """The box in RGB, with its hole filled with the nearest known pixels, if there are both."""
        box = to_rgb(cropped(self.image, self.box), "white", self.levels)
        if not self.hole.any() or self.hole.all():
            return box
        rows, columns = surroundings(self.hole, 1)  # the nearest known pixel touches the hole
        hole, place = self.hole[rows, columns], (columns.start, rows.start)
        nearest = distance_transform_edt(hole, return_distances=False, return_indices=True)
        part = box.crop((*place, place[0] + hole.shape[1], place[1] + hole.shape[0]))
        filled = box.copy()  # to_rgb may return the photograph itself
        filled.paste(Image.fromarray(np.asarray(part)[tuple(nearest)]), place)
        return filled

    def reduced(self, side: int) -> "Photograph":
        """The box alone, at most ``side`` pixels wide and high: quick to fill and show.

        In 8 bits: grey if the photograph is, else RGB.
        """
        width, height = self.hole.shape[1], self.hole.shape[0]
        scale = min(1.0, side / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        square = to_rgb(cropped(self.image, self.box), "white", self.levels)
        small = square.resize(size, Image.Resampling.LANCZOS) if square.size != size else square
        if is_deep(self.image) or self.image.mode in ("1", "L", "LA", "La"):
            small = small.convert("L")
        return Photograph(small, (0, 0, *size), None, resize_mask(self.hole, size))

    @property
    def nbytes(self) -> int:
        """About how much memory it takes."""
        return self.image.width * self.image.height * 4 + self.hole.size

    def fill(self, generated: Tensor, blend: str) -> Image.Image:
        """A copy of the image with its hole filled, see ``filled``."""
        with self.filled(generated, blend) as image:
            return image.copy() if image is self.image else image

    @contextmanager
    def filled(self, generated: Tensor, blend: str) -> Iterator[Image.Image]:
        """The image with its hole filled, in its own size and mode; known pixels are untouched.

        It is the image itself for the duration of the block, if its mode allows: a copy of a large
        photograph needs much memory.

        The generated image is enlarged to the photograph's resolution and fills the hole there,
        with ``blend=poisson`` by its gradients if the box has a known pixel. Filled pixels become
        opaque. Metadata (EXIF, XMP, resolution, text, ICC profile) is kept.

        Args:
            generated: ``(C, H, W)`` in [-1, 1], G(z) without blending.
            blend: ``none`` or ``poisson``.
        """
        size = self.hole.shape
        filling = F.interpolate(generated[None], size, mode="bicubic", align_corners=False)[0]
        rows, columns = surroundings(self.hole, _MARGIN)
        filling, hole = filling[:, rows, columns], self.hole[rows, columns]
        filling = filling.expand(3, -1, -1).clamp(-1, 1)
        left, top = self.box[0] + columns.start, self.box[1] + rows.start
        part = left, top, left + hole.shape[1], top + hole.shape[0]
        if blend == "poisson" and not self.hole.all():
            square = to_rgb(cropped(self.image, part), background="white", levels=self.levels)
            pixels = to_float(np.asarray(square).transpose(2, 0, 1)).numpy()
            filling = torch.from_numpy(poisson_multiscale(filling.numpy(), pixels, ~hole))
        image = self.image
        if self.levels is not None:
            result = _pasted_deep(image, filling, part, hole, self.levels)
            result.info |= image.info
            yield result
        elif "transparency" in image.info:  # the hole may need that colour
            result = image.convert("RGBA")
            _paste(result, filling, part, hole)
            yield result
        else:
            before = cropped(image, part).copy()
            _paste(image, filling, part, hole)
            try:
                yield image
            finally:
                image.paste(before, part[:2])


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
    hole, outside = mask.hole(name, image.size, box, source.file(index))
    photograph = Photograph(image, box, levels, hole, outside)
    if source.truth:
        pixels = source.crop_resized(index, image, box)
    else:
        undamaged = photograph.undamaged()
        pixels = source.crop_resized(index, undamaged, (0, 0, *undamaged.size))
    known = torch.from_numpy(~resize_mask(hole, (pixels.shape[2], pixels.shape[1])))[None]
    return pixels, known, photograph


def surroundings(hole: np.ndarray, margin: int) -> tuple[slice, slice]:
    """Rows and columns of the smallest part of a mask that holds the hole and a margin.

    Args:
        hole: ``(H, W)`` bool, 1 = missing; without a hole, the part is the whole.
        margin: pixels on each side, as far as there are any.

    Example:
        >>> surroundings(np.ones((5, 1), bool) & (np.arange(5) == 2), 1)
        (slice(0, 5, None), slice(1, 4, None))
    """
    spans = []
    for axis, length in ((1, hole.shape[0]), (0, hole.shape[1])):
        there = np.flatnonzero(hole.any(axis=axis))
        first, last = (int(there[0]), int(there[-1])) if len(there) else (0, length - 1)
        spans.append(slice(max(0, first - margin), min(length, last + margin + 1)))
    return spans[0], spans[1]


def _pasted_deep(
    photograph: Image.Image, filling: Tensor, box: Box, hole: np.ndarray, levels: Levels
) -> Image.Image:
    """``_paste`` into a copy of a photograph of more than 8 bits."""
    assert is_deep(photograph)
    values = np.array(photograph)
    black, white = levels
    level = (filling.mean(dim=0).numpy() + 1) / 2 * (white - black) + black
    if photograph.mode.startswith("I"):
        level = level.round()
    region = values[box[1] : box[3], box[0] : box[2]]
    region[hole] = level[hole].astype(values.dtype)
    return Image.fromarray(values)


def _paste(photograph: Image.Image, filling: Tensor, box: Box, hole: np.ndarray) -> None:
    """Paste ``filling``, ``(3, H, W)`` in [-1, 1], into the hole, in the photograph's mode."""
    patch = Image.fromarray(to_uint8(filling).transpose(1, 2, 0))
    if photograph.mode == "P":
        patch = patch.quantize(palette=photograph, dither=Image.Dither.NONE)
    else:
        patch = patch.convert(photograph.mode)
    photograph.paste(patch, box[:2], Image.fromarray(hole))


def unique_names(names: Sequence[str]) -> list[str]:
    """Unique file names without suffixes, all below one folder.

    Names that would collide keep their suffixes; if that is not enough, they get a number. Names
    to which a file system would not let a suffix be appended are shortened.

    Example:
        >>> unique_names(["a.jpg", "b.jpg", "b.png", "../up/c.png"])
        ['a', 'b.jpg', 'b.png', 'up/c']
    """
    inside = [
        PurePosixPath(*(part for part in PurePosixPath(name).parts if part not in ("/", "..")))
        for name in names
    ]
    inside = [path.with_name(_shortened(path.name)) if path.name else path for path in inside]
    stems = [str(path.with_suffix("")) for path in inside]
    count, taken, found = Counter(stems), set[str](), []
    for number, (stem, path) in enumerate(zip(stems, inside, strict=True)):
        name = stem if count[stem] == 1 else str(path)
        name = f"{name}_{number}" if name in taken else name
        taken.add(name)
        found.append(name)
    return found


def _shortened(name: str) -> str:
    """A name of at most ``_LONGEST`` bytes; one that was longer ends with a digest of it."""
    content = name.encode(errors="surrogateescape")
    if len(content) <= _LONGEST:
        return name
    digest, suffix = hashlib.sha256(content).hexdigest()[:12], PurePosixPath(name).suffix
    suffix = suffix if len(suffix.encode(errors="surrogateescape")) < 8 else ""
    kept = content[: _LONGEST - 20].decode(errors="ignore")
    return f"{kept}~{digest}{suffix}"


def write_hole(folder: Path, name: str, photograph: Photograph) -> None:
    """Write a PNG of the photograph's size: red where its pixels are missing, else transparent."""
    colours = [0, 0, 0, *MISSING]
    marked = Image.new("P", photograph.image.size)
    marked.putpalette(colours)
    hole = Image.fromarray(photograph.hole.astype(np.uint8))
    hole.putpalette(colours)
    marked.paste(hole, photograph.box[:2])
    with atomic_write(folder / f"{name}.png") as temporary:
        marked.save(temporary, bits=1, transparency=0)


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
