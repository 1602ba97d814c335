"""Masks from files: white = missing."""

import hashlib
import logging
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_inpaint.data.archives import open_files
from gan_inpaint.data.images import open_image
from gan_inpaint.errors import InputError
from gan_inpaint.functional.shapes import Size, sides

_logger = logging.getLogger(__name__)
_WHITE = 128  # of 255: this and lighter is missing
_GREY = (32, 223)  # neither black nor white, even after JPEG compression
_COLOURED = 40  # difference of two channels: more than JPEG adds to grey
_SOME = 0.01  # of the pixels: less may be the rim of a stroke
_MASK = re.compile(r"[ ._-]mask[ ._-]?\d*$", re.I)  # what tools append to an image's name


class MaskFile:
    """Masks from files, of any mode and size: white = missing, see ``read_hole``.

    A mask with the image's proportions covers the whole image, at any size; one with the crop's
    covers the crop. A pixel is missing if any part of it is missing.

    Args:
        path: one mask for all images; or a folder, zip, tar or list with one mask per image,
            matched by name: ``NAME.png``, ``NAME.jpg.png``, ``NAME_mask.png`` or
            ``NAME_mask001.png``, with any image suffix.
        invert: white = known instead.
    """

    def __init__(self, path: str | None, invert: bool):
        if path is None:
            raise InputError("mask=file needs mask.path=, an image (white = missing) or a folder")
        self._invert = invert
        self._files = open_files(path, "mask.path")
        # a single file is the mask of all images, whatever their names
        self._one = Path(path).is_file() and self._files.names == [Path(path).name]
        self._named = _by_name(self._files.names, _normalized_stem)
        self._based = _by_name(
            self._files.names, lambda name: PurePosixPath(_normalized_stem(name)).name
        )
        self._read = lru_cache(maxsize=1)(self._read_file)  # a single mask is read once

    def __call__(self, size: Size, rng: np.random.Generator, name: str) -> Tensor:
        """``(1, H, W)`` bool, 1 = known, for an image of that size."""
        height, width = sides(size)
        return torch.from_numpy(~self.hole(name, (width, height), (0, 0, width, height))[0])[None]

    def hole(
        self,
        name: str,
        frame: tuple[int, int],
        box: tuple[int, int, int, int],
        image_file: Path | None = None,
    ) -> tuple[np.ndarray, float]:
        """See ``hole_in_box``.

        Args:
            name: of the image.
            frame: its width and height.
            box: left, top, right, bottom of the crop.
            image_file: the image's file (in an archive: below its path), which cannot be its mask.

        Raises:
            InputError: the mask is not there, cannot be read, or does not fit.
        """
        file = self._mask_for(name, image_file)
        return hole_in_box(self._read(file), frame, box, self._where(file), f"the image {name}")

    def masks_among(self, names: Sequence[str], root: Path) -> set[str]:
        """The images that are masks of other images: both may lie in one folder.

        Args:
            names: the images.
            root: the folder that the names are relative to.
        """
        masks, images = self._files.root.resolve(), root.resolve()
        if self._one or not masks.is_relative_to(images):
            return set()
        inside = {name for name in names if (root / name).resolve().is_relative_to(masks)}
        if masks != images and len(inside) < len(names):
            return inside  # a folder of masks within that of the images
        bare = {_normalized_stem(name) for name in names}
        found = {name for name in names if _MASK.search(_normalized_stem(name))}
        return {name for name in found if _MASK.sub("", _normalized_stem(name)) in bare}

    def digest(self, images: Sequence[tuple[str, Path | None]]) -> str:
        """A hash of the masks of these images, given as names and files."""
        digest = hashlib.sha256()
        for name, image_file in images[:1] if self._one else images:
            try:
                digest.update(self._files.content(self._mask_for(name, image_file)))
            except InputError as problem:
                digest.update(str(problem).encode())
        return digest.hexdigest()

    def _where(self, file: str) -> str:
        return str(self._files.root / file)

    def _mask_for(self, name: str, image_file: Path | None) -> str:
        """The name of an image's mask."""
        found = self._files.names if self._one else self._candidates(name, image_file)
        if not found:
            example = f"{PurePosixPath(name).stem}.png"
            raise InputError(
                f"{self._files.root}: holds no mask for the image {name}; add {example}"
            )
        if len(found) > 1:
            raise InputError(
                f"{self._files.root}: holds {len(found)} masks for the image {name}:"
                f" {', '.join(found[:4])}; keep one of them"
            )
        if self._same_file(found[0], image_file):
            raise InputError(
                f"{image_file}: the image is its own mask; name a folder of masks, or add"
                f" {PurePosixPath(name).stem}_mask.png beside it"
            )
        return found[0]

    def _candidates(self, name: str, image_file: Path | None) -> list[str]:
        """Candidate masks of an image, from the first naming scheme with a match."""
        bare = _normalized_stem(name)
        beside = image_file is not None and image_file.resolve().is_relative_to(
            self._files.root.resolve()
        )
        order = (True, False) if beside else (False, True)  # beside it, NAME is the image's own
        choices = [
            self._named.get((key, m), []) for key in (bare, _normalized_name(name)) for m in order
        ]
        bases = (PurePosixPath(bare).name, PurePosixPath(_normalized_name(name)).name)
        choices += [self._named.get((key, m), []) for key in bases for m in order]
        choices += [self._based.get((key, m), []) for key in bases for m in order]
        others = [
            [file for file in choice if not self._same_file(file, image_file)] for choice in choices
        ]
        return next(filter(None, others), next(filter(None, choices), []))

    def _same_file(self, file: str, image_file: Path | None) -> bool:
        mask = self._files.root / file
        return image_file is not None and mask.resolve() == image_file.resolve()

    def _read_file(self, file: str) -> np.ndarray:
        where = self._where(file)
        try:
            content = self._files.read(file)
        except Exception as problem:  # damaged archives raise many kinds of errors
            raise InputError(f"{where}: cannot be read ({problem}); replace it") from None
        hole = read_hole(open_image(content, where), where)
        return ~hole if self._invert else hole


def hole_in_box(
    mask: np.ndarray,
    frame: tuple[int, int],
    box: tuple[int, int, int, int],
    where: str,
    image: str,
) -> tuple[np.ndarray, float]:
    """The hole in a box of an image, and the share of the missing pixels that lie outside the box.

    Args:
        mask: ``(H, W)`` bool, 1 = missing: of the image's proportions, or of the box's.
        frame: the image's width and height.
        box: left, top, right, bottom.
        where, image: what messages call the mask and the image.

    Returns:
        ``(height, width)`` bool of the box, 1 = missing; in [0, 1].

    Raises:
        InputError: the mask has other proportions.
    """
    if _covers(mask, frame):
        left, top, right, bottom = box
        whole = resize_mask(mask, frame)
        hole = whole[top:bottom, left:right]
        return hole, float(1 - hole.sum() / whole.sum()) if whole.any() else 0.0
    part = box[2] - box[0], box[3] - box[1]
    if _covers(mask, part):
        return resize_mask(mask, part), 0.0
    height, width = mask.shape
    raise InputError(
        f"{where}: the mask has {width}x{height} pixels, {image} {frame[0]}x{frame[1]}: draw it"
        " over the whole image, at any size of the same proportions"
    )


def _covers(mask: np.ndarray, frame: tuple[int, int]) -> bool:
    """Whether a mask has an image's proportions, to one pixel of the coarser of the two."""
    height, width = mask.shape
    return abs(height * frame[0] / width - frame[1]) <= max(frame[0] / width, 1.0)


def _normalized_name(name: str) -> str:
    """A name for comparisons: Unicode composed, relative, without ``..``."""
    # an absolute name from a list must not point outside the folder of masks
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..", ".")]
    return unicodedata.normalize("NFC", "/".join(parts))


def _normalized_stem(name: str) -> str:
    """``_normalized_name`` without its suffix."""
    return str(PurePosixPath(_normalized_name(name)).with_suffix(""))


def _by_name(files: Sequence[str], key: Callable[[str], str]) -> dict[tuple[str, bool], list[str]]:
    """(image name, whether the file's name marks it as a mask) -> files."""
    named: dict[tuple[str, bool], list[str]] = {}
    for file in files:
        bare = key(file)
        named.setdefault((bare, False), []).append(file)
        if (stem := _MASK.sub("", bare)) != bare:
            named.setdefault((stem, True), []).append(file)
    return named


def read_hole(mask: Image.Image, name: str) -> np.ndarray:
    """``(H, W)`` bool, 1 = missing, of a mask as people and tools draw them.

    White is missing; black and transparent are known. Two values, one of them 0, are accepted
    whatever the other is (0 and 1, 0 and 255 in 16 bits, black and red). In an ordinary image with
    a transparent part, that part was erased and is missing. Soft edges are cut at the middle.

    Args:
        name: for messages.

    Raises:
        InputError: it can be read in more than one way; the message says what is in it.
    """
    if "A" in mask.getbands() or "transparency" in mask.info:
        rgba = np.asarray(mask.convert("RGBA"))
        painted = rgba[..., 3] >= max(int(rgba[..., 3].max()), 1) / 2
        if not painted.all():
            return _hole_from_transparency(rgba[..., :3].astype(float), painted, name)
        values = rgba[..., :3].astype(float)
    elif mask.mode.startswith(("I", "F")):
        values = np.asarray(mask, dtype=float)[..., None]
    else:
        values = np.asarray(mask.convert("RGB"), dtype=float)
    brightness = values.max(axis=2)  # red on black is as bright as white
    levels = np.unique(brightness)
    faint = levels[-1] <= _GREY[0] and name.lower().endswith((".jpg", ".jpeg", ".webp"))
    two = len(levels) == 2 and levels[0] == 0 and not faint  # which is noise in a lossy file
    hole = brightness > 0 if two else _threshold(brightness, levels, name)
    spread = np.ptp(values, axis=2) > _COLOURED
    if spread.mean() > _SOME and (_differ(values[spread]) or (hole & ~spread).mean() > _SOME):
        raise InputError(
            f"{name}: the mask has several colours ({_listed(values)}); paint what is missing in"
            " white, or in one colour on black"
        )
    return hole


def _hole_from_transparency(colours: np.ndarray, painted: np.ndarray, name: str) -> np.ndarray:
    """Missing pixels of a partly transparent mask.

    Args:
        colours: ``(H, W, 3)``.
        painted: ``(H, W)`` bool, the opaque pixels.
    """
    seen = colours[painted]
    bright = seen.max(axis=1)
    between = float(((bright > _GREY[0]) & (bright < _GREY[1])).mean())
    if between > 0.2 and len(np.unique(bright)) > 8:
        return ~painted  # an image with an erased part
    stroke = bright.min() > _GREY[0] and np.ptp(bright) <= 2 * _GREY[0]
    if stroke and not _differ(seen) and painted.mean() <= 0.6:
        return painted
    raise InputError(
        f"{name}: the mask is partly transparent, and its opaque part may be known or missing"
        f" ({_listed(seen)}); paint what is missing white and all else black"
    )


def _threshold(brightness: np.ndarray, levels: np.ndarray, name: str) -> np.ndarray:
    """Missing pixels of a mask with several grey levels: those at or above half of white."""
    small = 1 < levels[-1] < _WHITE
    if levels[0] < 0 or levels[-1] > 65535 or small or _has_small_numbers(brightness):
        raise InputError(
            f"{name}: the mask holds the values {_few(levels)}, which may be class labels; paint"
            " what is missing white (255) and all else black"
        )
    white = next(white for white in (1.0, 255.0, 65535.0) if levels[-1] <= white)
    if len(levels) > 8 and levels[-1] > 1:  # soft or lossy: cut at half of the maximum
        white = float(levels[-1])
    scaled = brightness / white * 255
    grey = float(((scaled > _GREY[0]) & (scaled < _GREY[1])).mean())
    if grey > 0.4 and len(levels) > 8:
        raise InputError(
            f"{name}: {grey:.0%} of the mask is neither black nor white; it may be an image:"
            " paint what is missing white and all else black"
        )
    if grey > _SOME:
        _logger.warning(
            "%s: %.0f %% of the mask is grey; values of %d of 255 and above count as white",
            name,
            100 * grey,
            _WHITE,
        )
    return scaled >= _WHITE


def _has_small_numbers(values: np.ndarray) -> bool:
    """Whether the mask looks like a map of class labels: solid areas of small values beside 0.

    The thin rims that lossy formats leave beside a stroke do not count.
    """
    if values.min() > 0:
        return False
    inner = values[1:-1, 1:-1]
    around = (values[:-2, 1:-1], values[2:, 1:-1], values[1:-1, :-2], values[1:-1, 2:])
    solid = (inner > 0) & (inner <= _GREY[0]) & np.all([inner == v for v in around], axis=0)
    return bool(solid.size and solid.mean() > _SOME / 2)


def _differ(coloured: np.ndarray) -> bool:
    """Whether coloured pixels ``(N, 3)`` have more than one colour."""
    hues = coloured / coloured.max(axis=1, keepdims=True).clip(min=1)
    return bool((np.abs(hues - np.median(hues, axis=0)).max(axis=1) > 0.4).mean() > 0.05)


def _few(levels: np.ndarray) -> str:
    shown = ", ".join(f"{level:g}" for level in levels[:6])
    return f"{shown}, ... {levels[-1]:g}" if len(levels) > 6 else shown


def _listed(values: np.ndarray) -> str:
    colours, counts = np.unique(values.reshape(-1, values.shape[-1]), axis=0, return_counts=True)
    common = colours[counts.argsort()[::-1][:4]].astype(int)
    return ", ".join(str(tuple(map(int, colour))) for colour in common)


def resize_mask(hole: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size; a pixel is missing if any part of it is missing.

    Args:
        hole: ``(H, W)`` bool, 1 = missing.
        size: width and height of the result.

    Example:
        >>> resize_mask(np.array([[False, False, False, True]]), (2, 1))
        array([[False,  True]])
    """
    if size == (hole.shape[1], hole.shape[0]):
        return hole
    share = Image.fromarray(hole.astype(np.float32)).resize(size, Image.Resampling.BOX)
    return np.asarray(share) > 1e-4
