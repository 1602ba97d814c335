"""Masks that a person has drawn on the pictures: files, white = missing."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_inpaint.errors import InputError
from gan_inpaint.pictures import open_picture, plain

_SUFFIXES = (".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".jpg", ".jpeg")
_WHITE = 128  # and lighter is missing
_GREY = (32, 223)  # neither black nor white, whatever a JPEG has done to it


class DrawnMask:
    """Masks from files, of any mode and size: white = missing, transparent counts as black.

    A mask of a picture's proportions lies over the whole picture, whatever its size; else a square
    one lies over the square of it that is looked at. A pixel is missing if any part of it is.

    Args:
        path: one picture for all images, or a folder with one for each, matched by name.
        invert: white = known instead.
    """

    def __init__(self, path: str | None, invert: bool):
        if path is None:
            raise InputError("mask=file needs mask.path=, a picture (white = missing) or a folder")
        self._path, self._invert = Path(path), invert
        if not (self._path.is_file() or self._path.is_dir()):
            raise InputError(f"mask.path={path}: there is no such file or folder")
        self._read = lru_cache(maxsize=1)(self._read_file)  # one for all is read once

    def __call__(self, size: int, rng: np.random.Generator, name: str) -> Tensor:
        """``(1, size, size)`` bool, 1 = known: for a picture that is a square of that size."""
        square = (0, 0, size, size)
        return torch.from_numpy(~self.hole(name, (size, size), square))[None]

    def hole(self, name: str, frame: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
        """``(height, width)`` bool of a box in a picture, 1 = missing.

        Args:
            name: of the picture.
            frame: its width and height.
            box: left, top, right, bottom of the part that is looked at.

        Raises:
            InputError: there is no mask for it, it cannot be read, or it does not fit.
        """
        file = self._file(name)
        hole = self._read(file)
        height, width = hole.shape
        if self._covers(hole, frame):
            left, top, right, bottom = box
            return touched(hole, frame)[top:bottom, left:right]
        if height == width:
            return touched(hole, (box[2] - box[0], box[3] - box[1]))
        raise InputError(
            f"{file}: the mask has {width}x{height} pixels, the picture {name} {frame[0]}x"
            f"{frame[1]}: draw it over the whole picture, at any size of the same proportions"
        )

    def outside(self, name: str, frame: tuple[int, int], box: tuple[int, int, int, int]) -> float:
        """The share of a picture's missing pixels that do not lie in a box; see ``hole``."""
        hole = self._read(self._file(name))
        if not self._covers(hole, frame):
            return 0.0
        whole = touched(hole, frame)
        inside = whole[box[1] : box[3], box[0] : box[2]].sum()
        return float(1 - inside / whole.sum()) if whole.any() else 0.0

    @staticmethod
    def _covers(hole: np.ndarray, frame: tuple[int, int]) -> bool:
        """Whether a mask has a picture's proportions, to a pixel of the coarser of both."""
        height, width = hole.shape
        return abs(height * frame[0] / width - frame[1]) <= max(frame[0] / width, 1.0)

    def _file(self, name: str) -> Path:
        if not self._path.is_dir():
            return self._path
        # an absolute name, from a list, must not lead out of the folder of masks
        inside = [part for part in Path(name).parts if part not in (Path(name).anchor, "..")]
        stem = self._path.joinpath(*inside).with_suffix("")
        for candidate in (stem, self._path / stem.name):
            for suffix in _SUFFIXES:
                if (file := candidate.with_name(candidate.name + suffix)).is_file():
                    return file
        raise InputError(f"{self._path}: holds no mask for the picture {name}; add {stem.name}.png")

    def _read_file(self, file: Path) -> np.ndarray:
        values = np.asarray(plain(open_picture(file), background="black").convert("L"))
        grey = float(((values > _GREY[0]) & (values < _GREY[1])).mean())
        if grey > 0.01:
            print(f"{file}: {grey:.0%} of the mask is grey; from {_WHITE} of 255 on it is white")
        return (values < _WHITE) if self._invert else (values >= _WHITE)


def touched(hole: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask at another size: a pixel is missing if any part of it is.

    Args:
        hole: ``(H, W)`` bool, 1 = missing.
        size: width and height of the result.

    Example:
        >>> touched(np.array([[False, False, False, True]]), (2, 1))
        array([[False,  True]])
    """
    if size == (hole.shape[1], hole.shape[0]):
        return hole
    share = Image.fromarray(hole.astype(np.float32)).resize(size, Image.Resampling.BOX)
    return np.asarray(share) > 1e-4
