"""Between tensors in [-1, 1] and pictures: conversion, reading, tiling."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from gan_inpaint.errors import InputError

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels
Crop = Callable[[Image.Image], Box]  # which square of a picture is looked at

MISSING = (255, 120, 120)  # the colour of missing pixels wherever a person looks at them
_CELL = 64  # small pictures are enlarged by a whole factor until a cell has about this many pixels


def to_float(pixels: np.ndarray) -> Tensor:
    """uint8 ``(..., C, H, W)`` -> float in [-1, 1]."""
    return torch.from_numpy(pixels.astype(np.float32, order="C")) / 127.5 - 1


def to_uint8(images: Tensor) -> np.ndarray:
    """Float in [-1, 1] -> uint8, same shape; rounded, so that it undoes ``to_float`` exactly."""
    return ((images.detach().cpu() + 1) * 127.5).round().clamp(0, 255).byte().numpy()


def grid(columns: list[Tensor], gap: int = 2) -> np.ndarray:
    """Tile batches side by side: one column a batch, one row an image.

    Args:
        columns: batches ``(B, C, H, W)`` in [-1, 1], all of one shape.
        gap: white pixels between cells.

    Returns:
        uint8 ``(rows, width, C)``: the same picture goes to disk and to W&B.
    """
    cells = np.stack([to_uint8(column) for column in columns])  # (columns, rows, C, H, W)
    factor = max(1, _CELL // cells.shape[-1])
    cells = cells.repeat(factor, axis=-1).repeat(factor, axis=-2)
    cells = np.pad(cells, [(0, 0)] * 3 + [(0, gap)] * 2, constant_values=255)
    n_columns, n_rows, channels, height, width = cells.shape
    tiled = cells.transpose(1, 3, 0, 4, 2).reshape(n_rows * height, n_columns * width, channels)
    return tiled[: n_rows * height - gap, : n_columns * width - gap]


def with_hole(images: Tensor, known: Tensor) -> Tensor:
    """``(B, 3, H, W)``: the known pixels, the missing ones in a colour that pictures seldom have.

    Args:
        images: ``(B, 1 or 3, H, W)`` in [-1, 1].
        known: ``(B, 1, H, W)`` bool.
    """
    colour = to_float(np.array(MISSING, dtype=np.uint8))[:, None, None]
    return torch.where(known, images.expand(-1, 3, -1, -1), colour)


def open_picture(file: Path | BinaryIO, name: str | None = None) -> Image.Image:
    """Decode a picture file wholly, upright; an InputError names one that cannot be read.

    Args:
        name: what to call it; its path if not given.
    """
    name = name or str(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as picture:
                picture.load()
                if picture.mode == "F" and not np.isfinite(np.asarray(picture)).all():
                    raise ValueError("some pixels are not a number")
                return ImageOps.exif_transpose(picture)
    except UnidentifiedImageError:
        raise InputError(f"{name}: not a picture that Pillow can read; remove it") from None
    except Exception as problem:  # decoders raise whatever they like on damaged files
        raise InputError(f"{name}: cannot be read ({problem}); replace or remove it") from None


def centre_square(picture: Image.Image) -> Box:
    """The largest square in the middle of a picture."""
    return middle((0, 0, *picture.size))


def middle(box: Box) -> Box:
    """The largest square in the middle of a box.

    Example:
        >>> middle((10, 0, 30, 10))
        (15, 0, 25, 10)
    """
    side = min(box[2] - box[0], box[3] - box[1])
    left, top = (box[0] + box[2] - side) // 2, (box[1] + box[3] - side) // 2
    return left, top, left + side, top + side


def read_picture(
    file: Path | BinaryIO, size: int, channels: int, grey: bool, name: str | None = None
) -> np.ndarray:
    """The middle of a picture file as uint8 ``(C, size, size)``; see ``fitted``."""
    picture = open_picture(file, name)
    return fitted(picture, centre_square(picture), name or str(file), size, channels, grey)


def fitted(
    picture: Image.Image, box: Box, name: str, size: int, channels: int, grey: bool
) -> np.ndarray:
    """A square of a picture of any mode as uint8 ``(C, size, size)``, resized without aliasing.

    A square that has the size already is taken as it is.

    Args:
        name: for the message of an InputError.
        grey: whether a colour picture may be turned grey when ``channels`` is 1.
    """
    rgb = plain(picture, background="white")
    if channels == 1 and not grey:
        bands = np.asarray(rgb).astype(np.int16)
        if np.ptp(bands, axis=2).max() > 2:
            raise InputError(
                f"{name}: a colour picture (3 channels) for a grey network (1 channel); choose a"
                " colour prior or model, or set data.grey=true to drop the colour"
            )
    square = (rgb.convert("L") if channels == 1 else rgb).crop(box)
    if square.size != (size, size):
        square = square.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1).copy()


def plain(picture: Image.Image, background: str) -> Image.Image:
    """A picture of any mode as RGB with 8 bits, transparent parts over a background colour."""
    if picture.mode.startswith(("I", "F")):  # 16-bit and float files: 0 is black, the peak is white
        values = np.asarray(picture, dtype=np.float64)
        peak = 65535 if picture.mode.startswith("I") else max(float(values.max()), 1e-12)
        picture = Image.fromarray((values / peak * 255).round().clip(0, 255).astype(np.uint8))
    if "A" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, background), rgba)
    return picture.convert("RGB")
