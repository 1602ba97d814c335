"""Data sets of image files: CelebA, COCO, and folders of your own images.

Every source takes ``size`` (the side of a square, or height and width), ``channels`` and ``split``
(``train``, ``val``, ``all``, or None for its default). Its other arguments are the keys of its file
in ``conf/data``.
"""

import math
import zlib
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from gan_inpaint.data.archives import Files, open_files
from gan_inpaint.data.conditions import METADATA, AttributeTable, Captions, read_metadata
from gan_inpaint.data.formats import count_by_suffix
from gan_inpaint.data.images import (
    Crop,
    Levels,
    center_crop,
    crop_and_resize,
    infer_levels,
    is_deep,
    open_image,
)
from gan_inpaint.errors import InputError
from gan_inpaint.functional.shapes import Box, Size, centered_box, sides

_DIM = 0.3  # of white: a data set darker than this probably has a wrong white level


class ImageFiles:
    """Image files, each cropped and resized; the base of CelebA, COCO and your own folders.

    Args:
        files: where they are.
        names: which of them.
        grey: convert colour images to grey for a 1-channel prior instead of refusing them.
        crop: chooses the part of an image.
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
        crop: Crop = center_crop,
        white: Any = None,
        settings: str = "",
    ):
        self.names = list(names)
        self.truth = truth
        self._files, self._grey, self._crop = files, grey, crop
        self._size, self._channels = size, channels
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
        return image, self._crop(image, self._size)

    def crop_resized(self, index: int, image: Image.Image, box: Box) -> np.ndarray:
        """The part of an image as uint8 ``(C, H, W)``."""
        levels = self.levels(index, image)
        shape = self._size, self._channels
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


class Folder(ImageFiles):
    """Your own images: a folder with everything below it, a zip or tar, a list, or one file.

    Args:
        path: the folder or file.
        truth: false if the images are damaged already; then nothing is measured.
        grey: convert colour images to grey for a 1-channel prior instead of refusing them.
        box: ``[left, top, right, bottom]`` in pixels: use the largest centred part of this with the
            proportions of ``size``; None: of the whole image.
        white: see ``ImageFiles``.
        condition: column of ``metadata.csv`` or ``metadata.jsonl`` that says what an image shows;
            None: its only column, or all of them as attributes. Without such a file, the class of
            an image is the folder that holds it.
    """

    def __init__(
        self,
        size: Size,
        channels: int,
        split: str | None,
        *,
        path: str | None,
        truth: bool | None,
        grey: bool,
        box: list[int] | None,
        white: Any = None,
        condition: str | None = None,
    ):
        self._column = condition
        files = open_files(_require_path(path, "folder", "a folder of images, a zip or one image"))
        names = files.names
        if split in ("train", "val"):
            # by name, so that adding images does not move others between the splits
            held_out = [zlib.crc32(name.encode()) % 10 == 0 for name in names]
            names = [n for n, out in zip(names, held_out, strict=True) if out == (split == "val")]
        crop = partial(_within, box=box) if box else center_crop
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

    def condition(self, index: int) -> Any:
        """See ``ImageFiles``."""
        name = self.names[index]
        if self._metadata is not None:
            return self._metadata.get(name)
        return PurePosixPath(name).parent.name or None

    @cached_property
    def _metadata(self) -> dict[str, Any] | None:
        """Image -> condition; None without a metadata file."""
        tables = [n for n in self._files.left_out if n.rpartition("/")[2] in METADATA]
        readers: dict[str, Any] = {name: partial(self._files.read, name) for name in tables}
        for name in METADATA:  # beside a list or a single image
            if self.root.is_dir() and (self.root / name).is_file():
                readers.setdefault(name, partial(Path, self.root / name))
        if not readers and self._column is not None:
            raise InputError(
                f"data.condition={self._column}: no {' or '.join(METADATA)} beside the images"
            )
        return read_metadata(readers, self._column) if readers else None


class CelebA(ImageFiles):
    """CelebA faces (Liu et al., ICCV 2015), aligned: 178x218 originals or exactly half of them.

    The crop is that of most papers, a square of 148 (or 74) pixels; for other proportions the
    largest centred part.

    Args:
        path: a folder or zip with ``000001.jpg`` ....
        held_out: number of images at the end that are the ``val`` split.
        attributes: ``list_attr_celeba.txt``, or a csv with ``image_id`` and a column for each.
    """

    dataset = "celeba"
    license = "CelebA: non-commercial research only"

    def __init__(
        self,
        size: Size,
        channels: int,
        split: str | None,
        *,
        path: str | None,
        held_out: int,
        attributes: str | None = None,
    ):
        self._attributes = attributes
        files = open_files(_require_path(path, "celeba", "the folder or zip of aligned faces"))
        if not 0 < held_out < len(files.names):
            raise InputError(
                f"data.held_out={held_out}: must be at least 1 and under {len(files.names)},"
                " the number of faces"
            )
        first = len(files.names) - held_out
        names = {"train": files.names[:first], "val": files.names[first:], "all": files.names}
        super().__init__(files, names[split or "val"], size, channels, crop=_face)

    def condition(self, index: int) -> dict[str, int] | None:
        """Its attributes, each 1 or -1."""
        return None if self._table is None else self._table[self.names[index]]

    @cached_property
    def _table(self) -> AttributeTable | None:
        return AttributeTable(self._attributes) if self._attributes else None


class Coco(ImageFiles):
    """The 64x64 MSCOCO images of the 2017 course archive, as it is or unpacked.

    Args:
        path: the ``.tar.bz2``, or a folder above ``train2014`` and ``val2014``, which are the
            splits.
        captions: ``dict_key_imgID_value_caps_train_and_valid.pkl`` of the course, or COCO's
            ``captions_*.json``; None: those beside the images.
    """

    dataset = "coco"
    license = "MSCOCO: CC BY 4.0, each image under its own Flickr terms"

    def __init__(
        self,
        size: Size,
        channels: int,
        split: str | None,
        *,
        path: str | None,
        captions: str | None = None,
    ):
        self._captions = captions
        files = open_files(_require_path(path, "coco", "the archive or the folder of train2014"))
        folders = {"train": {"train2014"}, "val": {"val2014"}, "all": {"train2014", "val2014"}}
        wanted = folders[split or "val"]
        names = [n for n in files.names if wanted & set(PurePosixPath(n).parts)]
        if not names:
            raise InputError(
                f"data.path={path}: no {' or '.join(sorted(wanted))} in it; name the folder above"
            )
        super().__init__(files, names, size, channels)

    def condition(self, index: int) -> list[str] | None:
        """Its captions, usually five."""
        found = (table[self.names[index]] for table in self._tables)
        return next((captions for captions in found if captions), None)

    @cached_property
    def _tables(self) -> list[Captions]:
        if self._captions:
            return [Captions(Path(self._captions), self._captions)]
        beside = [name for name in self._files.left_out if Captions.is_one(name)]
        return [Captions(self._files.read(name), name) for name in beside]


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


def _require_path(value: str | None, data: str, what: str) -> str:
    if value is None:
        raise InputError(f"data={data} needs data.path=, {what}")
    return value


def _within(image: Image.Image, size: Size, box: Sequence[int]) -> Box:
    if box[2] > image.width or box[3] > image.height:
        raise InputError(
            f"data.box={list(box)}: an image has only {image.width}x{image.height} pixels"
        )
    return centered_box((box[0], box[1], box[2], box[3]), size)


def _face(image: Image.Image, size: Size) -> Box:
    scale, odd = divmod(image.width, 89)
    if odd or image.height != 109 * scale:
        raise InputError(
            f"data=celeba: an image has {image.width}x{image.height} pixels, not the 178x218"
            " of aligned CelebA; for other images use data=folder"
        )
    height, width = sides(size)
    if height != width:
        return center_crop(image, size)
    left, top, right, bottom = (edge * scale for edge in (7, 17, 81, 91))
    return left, top, right, bottom
