"""Mask shapes, as pure functions with an explicit random generator.

Every function returns ``known``, a bool tensor ``(1, H, W)``, True on observed pixels. All take the
same leading arguments, so that a config may choose any of them:

    size: side of a square image in pixels, or ``(height, width)``.
    rng: random generator, for random masks.
    name: of the image; used only by masks from files (``MaskFile``).
"""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, label
from torch import Tensor

from gan_inpaint.errors import InputError
from gan_inpaint.functional.shapes import Size, sides


def center(size: Size, rng: np.random.Generator, name: str, *, side: float) -> Tensor:
    """A missing square in the centre; of the image's proportions if that is not square.

    Args:
        side: its side as a fraction of the image's, in (0, 1).
    """
    _check_fraction("side", side)
    known = torch.ones(1, *sides(size), dtype=torch.bool)
    height, width = (_middle(length, round(length * side)) for length in sides(size))
    known[:, height, width] = False
    return known


def _middle(length: int, part: int) -> slice:
    start = (length - part) // 2
    return slice(start, start + part)


def half(size: Size, rng: np.random.Generator, name: str, *, missing: str) -> Tensor:
    """One half missing.

    Args:
        missing: ``left``, ``right``, ``top``, ``bottom`` or ``any`` (drawn for each image).
    """
    halves = ("left", "right", "top", "bottom")
    if missing not in (*halves, "any"):
        raise InputError(f"mask.missing must be one of {', '.join(halves)}, any; not {missing!r}")
    side = halves[rng.integers(4)] if missing == "any" else missing
    height, width = sides(size)
    known = torch.ones(1, height, width, dtype=torch.bool)
    rows, columns = {
        "left": (slice(None), slice(None, width // 2)),
        "right": (slice(None), slice(width // 2, None)),
        "top": (slice(None, height // 2), slice(None)),
        "bottom": (slice(height // 2, None), slice(None)),
    }[side]
    known[:, rows, columns] = False
    return known


def random(size: Size, rng: np.random.Generator, name: str, *, missing: float) -> Tensor:
    """Pixels missing independently of each other.

    Args:
        missing: the probability that a pixel is missing, in (0, 1).
    """
    _check_fraction("missing", missing)
    return torch.from_numpy(rng.random((1, *sides(size))) >= missing)


def pattern(
    size: Size, rng: np.random.Generator, name: str, *, missing: float, grain: float
) -> Tensor:
    """Irregular blobs missing: the low part of smooth noise, as in Pathak et al., CVPR 2016.

    Args:
        missing: the fraction of pixels that is missing, in (0, 1); exact to a pixel.
        grain: coarseness of the blobs: standard deviation of the smoothing as a fraction of the
            (shorter) side, in (0, 1).
    """
    _check_fraction("missing", missing)
    _check_fraction("grain", grain)
    # wrapped round, so that blobs are as frequent at the border as inside
    shape = sides(size)
    noise = gaussian_filter(rng.standard_normal(shape), grain * min(shape), mode="wrap")
    known = np.ones(noise.size, dtype=bool)
    known[noise.ravel().argsort()[: round(missing * noise.size)]] = False
    return torch.from_numpy(known.reshape(1, *shape))


def strokes(
    size: Size,
    rng: np.random.Generator,
    name: str,
    *,
    count: int,
    width: float,
    turning: float,
    missing: float,
) -> Tensor:
    """Free-form brush strokes missing, as if painted by a person.

    A stroke is a chain of straight pieces with round ends, each an eighth of the (shorter) side
    long.

    Source: Yu et al., ICCV 2019, "Free-form image inpainting with gated convolution", algorithm 1.

    Args:
        count: number of strokes, at least 1.
        width: width of the brush as a fraction of the side, in (0, 1).
        turning: standard deviation of the angle between two pieces, in radians.
        missing: the largest fraction of missing pixels, in (0, 1); painting stops there.
    """
    _check_fraction("width", width)
    _check_fraction("missing", missing)
    if count < 1:
        raise InputError(f"mask.count must be at least 1, not {count}")
    if not (np.isfinite(turning) and turning >= 0):
        raise InputError(f"mask.turning must be a number of at least 0, not {turning}")
    shape, side = np.array(sides(size)), min(sides(size))
    pixels, hole = _grid(size), np.zeros(shape, dtype=bool)
    for _ in range(count):
        position, heading = rng.uniform(0, shape - 1), rng.uniform(0, 2 * np.pi)
        for _ in range(rng.integers(4, 12)):
            heading += rng.normal(0, turning)
            onward = position + side / 8 * np.array([np.sin(heading), np.cos(heading)])
            painted = hole | (_distance(pixels, position, onward) <= width * side / 2)
            if painted.mean() > missing:
                break
            hole, position = painted, onward
            if not ((onward >= 0) & (onward < shape)).all():  # it has left the image
                break
    if not hole.any():
        raise InputError(
            f"mask.width={width}: one dab covers more than mask.missing={missing} of the image; use"
            " a narrower brush"
        )
    return torch.from_numpy(~hole)[None]


def _grid(size: Size) -> np.ndarray:
    """``(H, W, 2)``: row and column of every pixel."""
    height, width = sides(size)
    return np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1)


def _distance(pixels: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """``(H, W)``: distance of each pixel from the line between two points."""
    along = end - start
    share = ((pixels - start) @ along / max(float(along @ along), 1e-12)).clip(0, 1)
    return np.linalg.norm(pixels - start - share[..., None] * along, axis=-1)


def lama(
    size: Size,
    rng: np.random.Generator,
    name: str,
    *,
    strokes: list[int],
    width: float,
    length: float,
    boxes: int,
    sides: list[float],  # the name of a key, which hides the function
) -> Tensor:
    """The masks that LaMa is evaluated on: thick or thin strokes, at times boxes instead.

    Masks that hide more than half of the image are drawn again.

    Source: Suvorov et al., WACV 2022, "Resolution-robust large mask inpainting", the settings
    ``random_{thin,medium,thick}_256`` of its code, as fractions of 256 pixels.

    Args:
        strokes: the least and the largest number of strokes of one to five pieces.
        width: the largest width of a piece, beyond 5/256; a fraction of the side, in (0, 1).
        length: the largest length of a piece, beyond 10/256; likewise.
        boxes: the largest number of boxes; 0: no mask has boxes, else 23 % have boxes only.
        sides: the least and the largest side of a box, as fractions of the side.
    """
    _check_fraction("width", width)
    _check_fraction("length", length)
    for key, pair in (("strokes", strokes), ("sides", sides)):
        if len(pair) != 2 or not 0 < pair[0] <= pair[1] or (key == "sides" and pair[1] >= 1):
            raise InputError(f"mask.{key}={pair}: must be [least,largest], above 0")
    if boxes < 0:
        raise InputError(f"mask.boxes={boxes}: must be at least 0")
    for _ in range(100):
        with_boxes = boxes and rng.random() < 0.3 / 1.3
        hole = _boxes(size, rng, boxes, sides) if with_boxes else None
        if hole is None:
            hole = _zigzags(size, rng, strokes, width, length)
        if 0 < hole.mean() <= 0.5:
            return torch.from_numpy(~hole)[None]
    raise InputError("mask: these strokes hide more than half of the image; make them fewer")


def _zigzags(
    size: Size, rng: np.random.Generator, strokes: list[int], width: float, length: float
) -> np.ndarray:
    shape, side = np.array(sides(size)), min(sides(size))
    pixels, hole = _grid(size), np.zeros(shape, dtype=bool)
    for number in range(rng.integers(strokes[0], strokes[1] + 1)):
        position = rng.uniform(0, shape)
        for _ in range(rng.integers(1, 6)):
            angle = 0.01 + rng.integers(4)  # radians
            angle = -angle if number % 2 == 0 else angle
            reach = side * (10 / 256 + rng.uniform(0, length))
            onward = (position + reach * np.array([np.cos(angle), np.sin(angle)])).clip(0, shape)
            brush = side * (5 / 256 + rng.uniform(0, width))
            hole |= _distance(pixels, position, onward) <= brush / 2
            position = onward
    return hole


def _boxes(size: Size, rng: np.random.Generator, most: int, shares: list[float]) -> np.ndarray:
    shape = np.array(sides(size))
    hole = np.zeros(shape, dtype=bool)
    for _ in range(rng.integers(1, most + 1)):
        height, width = (shape * rng.uniform(shares[0], shares[1], 2)).round().astype(int)
        top = rng.integers(0, shape[0] - height + 1)
        left = rng.integers(0, shape[1] - width + 1)
        hole[top : top + height, left : left + width] = True
    return hole


def mixed(size: Size, rng: np.random.Generator, name: str) -> Tensor:
    """A mask of any kind, drawn for each image: to train or measure for all of them at once.

    Centre squares, boxes anywhere, halves, scattered pixels, blobs, and strokes.
    """
    kind = rng.choice(6, p=[0.15, 0.1, 0.25, 0.15, 0.2, 0.15])
    if kind == 0:
        return center(size, rng, name, side=0.5)
    if kind == 1:
        return torch.from_numpy(~_boxes(size, rng, 1, [0.19, 0.75]))[None]
    if kind == 2:
        return half(size, rng, name, missing="any")
    if kind == 3:
        return random(size, rng, name, missing=rng.uniform(0.5, 0.95))
    if kind == 4:
        share, grain = rng.uniform(0.15, 0.6), rng.uniform(0.03, 0.12)
        return pattern(size, rng, name, missing=share, grain=grain)
    count, width = int(rng.integers(2, 10)), rng.uniform(0.05, 0.25)
    return strokes(size, rng, name, count=count, width=width, turning=0.6, missing=0.6)


def lattice(size: Size, rng: np.random.Generator, name: str, *, every: int) -> Tensor:
    """One pixel known in every ``every`` x ``every`` square: super-resolution as inpainting."""
    if every < 1:
        raise InputError(f"mask.every must be at least 1, not {every}")
    known = torch.zeros(1, *sides(size), dtype=torch.bool)
    known[:, ::every, ::every] = True
    return known


def _check_fraction(key: str, value: float) -> None:
    if not 0 < value < 1:
        raise InputError(f"mask.{key}={value}: must be above 0 and below 1")


def validate_mask(known: Tensor, what: str) -> None:
    """Refuse a mask without a hole, or without known pixels.

    Args:
        known: ``(1, H, W)``.
        what: what the message calls it.
    """
    if bool(known.all()):
        raise InputError(f"{what} has no hole: every pixel is known; mark some as missing")
    if not bool(known.any()):
        raise InputError(f"{what} has no known pixel; keep some of the image")


def looks_inverted(known: np.ndarray) -> bool:
    """Whether a mask seems to have the opposite polarity.

    Its known part is one region, or a few, inside the hole: what a person paints as missing.
    Scattered known pixels do not count.

    Args:
        known: ``(H, W)`` bool.

    Example:
        >>> painted = np.zeros((8, 8), bool)
        >>> painted[2:5, 3:6] = True
        >>> looks_inverted(painted), looks_inverted(~painted)
        (True, False)
    """
    border = np.concatenate([known[0], known[-1], known[:, 0], known[:, -1]])
    if border.any() or not known.any():
        return False
    count = label(known)[1]
    return bool(count <= _PAINTED and known.sum() >= _COMPACT * count)


_PAINTED = 4  # eyes, nose and mouth
_COMPACT = 4  # pixels that a painted region has, at the least on average
