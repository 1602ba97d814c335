"""Image files as a data set: read, cropped and resized one by one."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gan_inpaint.data.archives import Files
from gan_inpaint.data.conditions import METADATA, Captions
from gan_inpaint.data.formats import count_by_suffix
from gan_inpaint.data.images import (
    Levels,
    center_crop,
    crop_and_resize,
    infer_levels,
    is_deep,
    open_image,
)
from gan_inpaint.errors import InputError
from gan_inpaint.functional.shapes import Box, Size

_DIM = 0.3  # of white: a data set darker than this probably has a wrong white level


class ImageFiles:
    """Image files, each cropped and resized; the base of CelebA, COCO and your own folders.

    Args:
        files: where they are.
        names: which of them.
        grey: convert colour images to grey for a 1-channel prior instead of refusing them.
        white: of deep images, the value of white, both levels ``[black, white]``, ``auto`` (minimum
            and maximum over all files) or None, see ``images.infer_levels``.
        settings: whatever else a decoded image depends on, for the cache.
    """

    dataset = "folder"
    license = "that of the images"

    def __init__(
        self,
        files: Files,
        names: Sequence[str],
        size: Size,
        channels: int,
        *,
        truth: bool = True,
        grey: bool = True,
        white: Any = None,
        settings: str = "",
    ):
        self.names = list(names)
        self.truth = truth
        self._files, self._grey = files, grey
        self.size, self._channels = size, channels
        self._levels = checked_levels(white)
        self._deep: set[int] = set()  # images with more than 8 bits, of those read so far
        self._brightest = self._white = 0.0  # their maximum, and their white level
        self._several: set[int] = set()  # files with several pages or frames, of those read so far
        self._settings = (type(self).__name__, size, channels, grey, str(white), settings)

    @property
    def fingerprint(self) -> str:
        # with white=auto the levels, and so the pixels, depend on all files
        names = self._files.names if "auto" in self._settings else self.names
        return f"{self._settings} {self._files.fingerprint(names)}"

    @property
    def notes(self) -> list[str]:
        """Sentences on ignored files, and on problems in the images read so far."""
        notes = []
        if left_out := [name for name in self._files.left_out if not _says_conditions(name)]:
            notes.append(f"{len(left_out)} files are not images: {count_by_suffix(left_out)}")
        if self._several:
            notes.append(
                f"{len(self._several)} files hold several pages or frames: only the first was used;"
                " to use the others, save them as separate files"
            )
        if self._deep and not self._levels and self._brightest < _DIM * self._white:
            notes.append(
                f"the brightest value of {len(self._deep)} images is {self._brightest:g} of"
                f" {self._white:g}, so they are dark; if that is wrong, set data.white="
                f"{2 ** math.ceil(math.log2(self._brightest + 1)) - 1}, or data.white=auto"
            )
        return notes

    def condition(self, index: int) -> Any:
        """What an image shows, for ``conditioning.encoder``; None if nothing says it."""
        return None

    def content(self, index: int) -> bytes:
        return self._files.content(self.names[index])

    def size_of(self, index: int) -> int:
        return self._files.size_of(self.names[index])

    def leave_out(self, names: set[str]) -> None:
        """Exclude files that are not images to fill."""
        self.names = [name for name in self.names if name not in names]
        self._files.names = [name for name in self._files.names if name not in names]

    def shared_levels(self) -> Levels | None:
        """Black and white level that all images with more than 8 bits share, if any."""
        if self._levels == "auto":
            self._levels = self._all_levels()
        return self._levels

    def levels(self, index: int, image: Image.Image) -> Levels | None:
        """Black and white level of an image with more than 8 bits; None for others."""
        if not is_deep(image):
            return None
        try:
            levels = self.shared_levels() or infer_levels(image)
        except InputError as problem:
            raise InputError(f"{self.where(index)}: {problem}") from None
        self._deep.add(index)
        self._brightest = max(self._brightest, float(np.asarray(image).max()) - levels[0])
        self._white = max(self._white, levels[1] - levels[0])
        return levels

    def _all_levels(self) -> Levels:
        """Minimum (at most 0) and maximum over all deep images."""
        least, most = 0.0, 0.0
        for name in self._files.names:
            try:
                image = open_image(self._files.read(name), name)
            except Exception:  # it will be reported when it is read
                continue
            if is_deep(image):
                values = np.asarray(image)
                least, most = min(least, float(values.min())), max(most, float(values.max()))
        return least, most if most > least else least + 1

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.crop_resized(index, *self.photograph(index))

    def photograph(self, index: int) -> tuple[Image.Image, Box]:
        """An image as it is in its file, upright, and the part of it that is used."""
        shown = self.where(index)
        try:
            file = self._files.read(self.names[index])
        except Exception as problem:  # damaged archives raise many kinds of errors
            raise InputError(f"{shown}: cannot be read ({problem}); replace it") from None
        image = open_image(file, shown)
        if image.info.get("several"):
            self._several.add(index)
        return image, self.box(index, image)

    def box(self, index: int, image: Image.Image) -> Box:
        """The part of an image that is used."""
        return center_crop(image, self.size)

    def crop_resized(self, index: int, image: Image.Image, box: Box) -> np.ndarray:
        """The part of an image as uint8 ``(C, H, W)``."""
        levels = self.levels(index, image)
        shape = self.size, self._channels
        return crop_and_resize(image, box, self.where(index), *shape, self._grey, levels)

    @property
    def root(self) -> Path:
        """The folder or archive that the names are relative to."""
        return self._files.root

    def file(self, index: int) -> Path:
        """An image's file; in an archive, below the archive's path."""
        return self.root / self.names[index]

    def where(self, index: int) -> str:
        """An image's file, for messages."""
        return str(self.file(index))


def _says_conditions(name: str) -> bool:
    return name.rpartition("/")[2] in METADATA or Captions.is_one(name)


def checked_levels(white: Any) -> Any:
    """``data.white`` as ``Levels``, ``auto`` or None.

    Example:
        >>> checked_levels(4095)
        (0.0, 4095.0)
    """
    if white is None or white == "auto":
        return white
    levels = white if isinstance(white, list | tuple) else (0, white)
    try:
        black, most = map(float, levels)
    except (TypeError, ValueError):
        black, most = 0.0, math.nan
    if not (math.isfinite(black) and math.isfinite(most) and black < most):
        raise InputError(
            f"data.white={white}: must be the value of white (above 0), [black,white], or auto"
        )
    return black, most
