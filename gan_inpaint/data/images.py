"""Read image files, convert them to tensors in [-1, 1] and back, tile them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from gan_inpaint.data.formats import is_lfs_pointer, pillow_formats
from gan_inpaint.data.image_metadata import keep_tiff_exif, strip_metadata
from gan_inpaint.errors import InputError
from gan_inpaint.functional.shapes import Box, Size, centered_box, sides

Levels = tuple[float, float]  # black and white level of an image with more than 8 bits

MISSING = (255, 120, 120)  # the colour that shows missing pixels
_MEGAPIXELS = 250  # of the largest image that is opened
_pillow = Lock()  # its limit belongs to all threads
_CELL = 64  # grids enlarge small images by a whole factor to about this many pixels


def to_float(pixels: np.ndarray) -> Tensor:
    """uint8 ``(..., C, H, W)`` -> float in [-1, 1]."""
    return torch.from_numpy(pixels.astype(np.float32, order="C")) / 127.5 - 1


def spaced(pixels: np.ndarray, count: int) -> np.ndarray:
    """``count`` images at equal distances, or all if there are not more.

    Example:
        >>> spaced(np.arange(10), 4).tolist()
        [0, 3, 6, 9]
    """
    return pixels[np.linspace(0, len(pixels) - 1, min(count, len(pixels))).round().astype(int)]


def to_uint8(images: Tensor) -> np.ndarray:
    """Float in [-1, 1] -> uint8, same shape; rounded, so it inverts ``to_float`` exactly."""
    return ((images.detach().cpu() + 1) * 127.5).round().clamp(0, 255).byte().numpy()


def grid(columns: list[Tensor], gap: int = 2) -> np.ndarray:
    """Tile batches side by side: one column per batch, one row per image.

    Args:
        columns: batches ``(B, C, H, W)`` in [-1, 1], all with the same shape.
        gap: white pixels between cells.

    Returns:
        uint8 ``(rows, width, C)``.
    """
    cells = np.stack([to_uint8(column) for column in columns])  # (columns, rows, C, H, W)
    factor = max(1, _CELL // max(cells.shape[-2:]))
    cells = cells.repeat(factor, axis=-1).repeat(factor, axis=-2)
    cells = np.pad(cells, [(0, 0)] * 3 + [(0, gap)] * 2, constant_values=255)
    n_columns, n_rows, channels, height, width = cells.shape
    tiled = cells.transpose(1, 3, 0, 4, 2).reshape(n_rows * height, n_columns * width, channels)
    return tiled[: n_rows * height - gap, : n_columns * width - gap]


def highlight_hole(images: Tensor, known: Tensor) -> Tensor:
    """``(B, 3, H, W)``: the images with their missing pixels in light red.

    Args:
        images: ``(B, 1 or 3, H, W)`` in [-1, 1].
        known: ``(B, 1, H, W)`` bool.
    """
    colour = to_float(np.array(MISSING, dtype=np.uint8))[:, None, None]
    return torch.where(known, images.expand(-1, 3, -1, -1), colour)


def open_image(
    file: Path | BinaryIO, name: str | None = None, formats: tuple[str, ...] | None = None
) -> Image.Image:
    """Decode an image file completely, and turn it upright.

    Damaged EXIF, text and other metadata are dropped.

    Args:
        name: what messages call it; its path if not given.
        formats: Pillow's names of the formats that may be opened; None: those of ``data.formats``.

    Raises:
        InputError: it cannot be read.
    """
    name = name or str(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = _decoded(file, name, formats or tuple(pillow_formats(name)))
            try:
                keep_tiff_exif(image)
                ImageOps.exif_transpose(image, in_place=True)  # a copy may need a gigabyte
            except Exception:  # damaged EXIF raises many kinds of errors
                image.info.pop("exif", None)
            return image
    except UnidentifiedImageError:
        if is_lfs_pointer(_content(file)[:64]):
            reason = "a Git LFS pointer, not the image itself; run git lfs pull"
            raise InputError(f"{name}: {reason}") from None
        raise InputError(f"{name}: not an image that Pillow can read; remove it") from None
    except _TooLarge as problem:
        raise InputError(f"{name}: {problem}") from None
    except Exception as problem:  # decoders raise many kinds of errors on damaged files
        raise InputError(f"{name}: cannot be read ({problem}); replace or remove it") from None


def _decoded(file: Path | BinaryIO, name: str, formats: tuple[str, ...]) -> Image.Image:
    try:
        image = _loaded(file, formats)
    except _TooLarge:
        raise
    except Exception:
        bare = strip_metadata(_content(file))
        if bare is None:
            raise
        try:
            image = _loaded(bare, formats)
        except Exception:
            bare = None
        if bare is None:  # the metadata was not the cause: raise the original error
            raise
    if image.mode == "F" and not np.isfinite(np.asarray(image)).all():
        raise ValueError("some pixels are not a number")
    return image


class _TooLarge(Exception):
    pass


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Pillow refuses 179 megapixels when it opens or crops an image; phones make 200."""
    with _pillow:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _loaded(file: Path | BinaryIO, formats: tuple[str, ...]) -> Image.Image:
    with _without_pillows_limit():  # reads the header only
        opened = Image.open(file, formats=formats)
    with opened as image:
        if image.width * image.height > _MEGAPIXELS * 10**6:
            raise _TooLarge(
                f"{image.width}x{image.height}, {image.width * image.height / 1e6:.0f} megapixels,"
                f" more than {_MEGAPIXELS}; reduce it"
            )
        # a JPEG of a phone may hold a depth map as its second image, which is not a page
        several = image.format in ("TIFF", "GIF", "WEBP", "PNG", "AVIF")
        image.info["several"] = several and getattr(image, "is_animated", False)
        image.load()
        return image


def _content(file: Path | BinaryIO) -> bytes:
    if isinstance(file, Path):
        return file.read_bytes() if file.is_file() else b""
    file.seek(0)
    return file.read()


def center_crop(image: Image.Image, size: Size) -> Box:
    """The largest centred part of an image with the proportions of ``size``."""
    return centered_box((0, 0, *image.size), size)


def read_image(
    file: Path | BinaryIO, size: Size, channels: int, grey: bool, name: str | None = None
) -> np.ndarray:
    """The largest centred part of an image file, see ``crop_and_resize``."""
    image = open_image(file, name)
    box = center_crop(image, size)
    return crop_and_resize(image, box, name or str(file), size, channels, grey)


def crop_and_resize(
    image: Image.Image,
    box: Box,
    name: str,
    size: Size,
    channels: int,
    grey: bool,
    levels: Levels | None = None,
) -> np.ndarray:
    """A part of an image of any mode as uint8 ``(C, H, W)``, resized with antialiasing.

    A part of the right size is not changed.

    Args:
        name: for messages.
        grey: whether a colour image may be converted to grey when ``channels`` is 1.
        levels: see ``to_rgb``.
    """
    try:
        levels = levels or (infer_levels(image) if is_deep(image) else None)
    except InputError as problem:
        raise InputError(f"{name}: {problem}") from None
    rgb = to_rgb(cropped(image, box), background="white", levels=levels)
    if channels == 1 and not grey:
        bands = np.asarray(rgb).astype(np.int16)
        if np.ptp(bands, axis=2).max() > 2:
            raise InputError(
                f"{name}: a colour image (3 channels) for a grey network (1 channel); choose a"
                " colour prior or model, or set data.grey=true to drop the colour"
            )
    height, width = sides(size)
    part = rgb.convert("L") if channels == 1 else rgb
    if part.size != (width, height):
        part = part.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(part).reshape(height, width, channels).transpose(2, 0, 1).copy()


def cropped(image: Image.Image, box: Box) -> Image.Image:
    """A part of an image of any size; the image itself if it is the whole."""
    if box == (0, 0, *image.size):
        return image
    with _without_pillows_limit():
        return image.crop(box)


def is_deep(image: Image.Image) -> bool:
    """Whether a pixel has more than 8 bits: integers of 16 or 32 bits, or floats."""
    return image.mode.startswith(("I", "F"))


def infer_levels(image: Image.Image) -> Levels:
    """Black and white level of a deep image, chosen from its dtype and value range.

    White is 65535 for integers; for floats the smallest of 1, 255 and 65535 that no value exceeds.

    Raises:
        InputError: values are negative or larger, so black and white are ambiguous.
    """
    values = np.asarray(image)
    least, most = float(values.min()), float(values.max())
    known = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0,)
    white = next((white for white in known if most <= white), None)
    if least < 0 or white is None:
        raise InputError(
            f"its values range from {least:g} to {most:g}; set the levels of black and white, as in"
            " data.white=[-1,1], or data.white=auto for the minimum and maximum over all images"
        )
    return 0.0, white


def to_rgb(image: Image.Image, background: str, levels: Levels | None = None) -> Image.Image:
    """An image of any mode as 8-bit RGB, with transparent parts over a background colour.

    Args:
        levels: black and white of a deep image; ``infer_levels`` by default. Values beyond them
            are clipped.
    """
    if is_deep(image):
        black, white = levels or infer_levels(image)
        values = (np.asarray(image, dtype=np.float64) - black) / (white - black) * 255
        image = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, background), rgba)
    return image.convert("RGB")
