"""Read image files, convert them to tensors in [-1, 1] and back, tile them."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from gan_inpaint.data.annotations import keep_tiff_exif, without_notes
from gan_inpaint.data.formats import is_lfs_pointer, pillow_formats
from gan_inpaint.errors import InputError

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels
Crop = Callable[[Image.Image], Box]  # which square of an image is looked at
Levels = tuple[float, float]  # the values of black and of white in a file of more than 8 bits

MISSING = (255, 120, 120)  # the colour of missing pixels wherever a person looks at them
_CELL = 64  # small images are enlarged by a whole factor until a cell has about this many pixels


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
        uint8 ``(rows, width, C)``: the same image goes to disk and to W&B.
    """
    cells = np.stack([to_uint8(column) for column in columns])  # (columns, rows, C, H, W)
    factor = max(1, _CELL // cells.shape[-1])
    cells = cells.repeat(factor, axis=-1).repeat(factor, axis=-2)
    cells = np.pad(cells, [(0, 0)] * 3 + [(0, gap)] * 2, constant_values=255)
    n_columns, n_rows, channels, height, width = cells.shape
    tiled = cells.transpose(1, 3, 0, 4, 2).reshape(n_rows * height, n_columns * width, channels)
    return tiled[: n_rows * height - gap, : n_columns * width - gap]


def highlight_hole(images: Tensor, known: Tensor) -> Tensor:
    """``(B, 3, H, W)``: the known pixels, the missing ones in a colour that images seldom have.

    Args:
        images: ``(B, 1 or 3, H, W)`` in [-1, 1].
        known: ``(B, 1, H, W)`` bool.
    """
    colour = to_float(np.array(MISSING, dtype=np.uint8))[:, None, None]
    return torch.where(known, images.expand(-1, 3, -1, -1), colour)


def open_image(file: Path | BinaryIO, name: str | None = None) -> Image.Image:
    """Decode an image file wholly, upright; an InputError names one that cannot be read.

    Only the formats of ``formats`` are opened. EXIF, text and other notes that are damaged are
    left out: the pixels are what counts.

    Args:
        name: what to call it; its path if not given.
    """
    name = name or str(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = _decoded(file, name)
            try:
                keep_tiff_exif(picture)
                return ImageOps.exif_transpose(picture)
            except Exception:  # damaged EXIF raises whatever it likes
                picture.info.pop("exif", None)
                return picture
    except UnidentifiedImageError:
        if is_lfs_pointer(_content(file)[:64]):
            reason = "only stands for an image that Git LFS keeps; run git lfs pull"
            raise InputError(f"{name}: {reason}") from None
        raise InputError(f"{name}: not an image that Pillow can read; remove it") from None
    except Exception as problem:  # decoders raise whatever they like on damaged files
        raise InputError(f"{name}: cannot be read ({problem}); replace or remove it") from None


def _decoded(file: Path | BinaryIO, name: str) -> Image.Image:
    try:
        picture = _loaded(file, name)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise
    except Exception:
        bare = without_notes(_content(file))
        if bare is None:
            raise
        try:
            picture = _loaded(bare, name)
        except Exception:
            bare = None
        if bare is None:  # it was not the notes: say what was wrong at first
            raise
    if picture.mode == "F" and not np.isfinite(np.asarray(picture)).all():
        raise ValueError("some pixels are not a number")
    return picture


def _loaded(file: Path | BinaryIO, name: str) -> Image.Image:
    with Image.open(file, formats=pillow_formats(name)) as picture:
        # a phone's JPEG may carry a map of depths as its second image: no page
        several = picture.format in ("TIFF", "GIF", "WEBP", "PNG", "AVIF")
        picture.info["several"] = several and getattr(picture, "is_animated", False)
        picture.load()
        return picture


def _content(file: Path | BinaryIO) -> bytes:
    if isinstance(file, Path):
        return file.read_bytes() if file.is_file() else b""
    file.seek(0)
    return file.read()


def centre_square(picture: Image.Image) -> Box:
    """The largest square in the middle of an image."""
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


def read_image(
    file: Path | BinaryIO, size: int, channels: int, grey: bool, name: str | None = None
) -> np.ndarray:
    """The middle of an image file as uint8 ``(C, size, size)``; see ``crop_and_resize``."""
    picture = open_image(file, name)
    return crop_and_resize(picture, centre_square(picture), name or str(file), size, channels, grey)


def crop_and_resize(
    picture: Image.Image,
    box: Box,
    name: str,
    size: int,
    channels: int,
    grey: bool,
    levels: Levels | None = None,
) -> np.ndarray:
    """A square of an image of any mode as uint8 ``(C, size, size)``, resized without aliasing.

    A square that has the size already is taken as it is.

    Args:
        name: for the message of an InputError.
        grey: whether a colour image may be turned grey when ``channels`` is 1.
        levels: see ``to_rgb``.
    """
    try:
        rgb = to_rgb(picture, background="white", levels=levels)
    except InputError as problem:
        raise InputError(f"{name}: {problem}") from None
    if channels == 1 and not grey:
        bands = np.asarray(rgb).astype(np.int16)
        if np.ptp(bands, axis=2).max() > 2:
            raise InputError(
                f"{name}: a colour image (3 channels) for a grey network (1 channel); choose a"
                " colour prior or model, or set data.grey=true to drop the colour"
            )
    square = (rgb.convert("L") if channels == 1 else rgb).crop(box)
    if square.size != (size, size):
        square = square.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(square).reshape(size, size, channels).transpose(2, 0, 1).copy()


def is_deep(picture: Image.Image) -> bool:
    """Whether an image has more than 8 bits a pixel: integers of 16 or 32 bits, or floats."""
    return picture.mode.startswith(("I", "F"))


def levels_of(picture: Image.Image) -> Levels:
    """Black and white of a deep image by its kind of numbers alone, so that all share them.

    White is 65535 for integers; for floats the least of 1, 255 and 65535 that none exceeds.

    Raises:
        InputError: its values are negative or larger: there is more than one way to read them.
    """
    values = np.asarray(picture)
    least, most = float(values.min()), float(values.max())
    known = (1.0, 255.0, 65535.0) if picture.mode == "F" else (65535.0,)
    white = next((white for white in known if most <= white), None)
    if least < 0 or white is None:
        raise InputError(
            f"its values go from {least:g} to {most:g}; say which are black and white, as in"
            " data.white=[-1,1], or data.white=auto: the least and the most of all images"
        )
    return 0.0, white


def to_rgb(picture: Image.Image, background: str, levels: Levels | None = None) -> Image.Image:
    """An image of any mode as RGB with 8 bits, transparent parts over a background colour.

    Args:
        levels: of a deep image; ``levels_of`` it if not given. Values beyond them are clipped.
    """
    if is_deep(picture):
        black, white = levels or levels_of(picture)
        values = (np.asarray(picture, dtype=np.float64) - black) / (white - black) * 255
        picture = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    if "A" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, background), rgba)
    return picture.convert("RGB")
