"""Data sets of image files: CelebA, COCO, and folders of your own images.

Every source takes ``size`` (the side of a square, or height and width), ``channels`` and ``split``
(``train``, ``val``, ``all``, or None for its default). Its other arguments are the keys of its file
in ``conf/data``.
"""

import zlib
from collections import Counter
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from gan_inpaint.data.archives import open_files
from gan_inpaint.data.boxes import box_within, checked_box, read_boxes
from gan_inpaint.data.conditions import METADATA, AttributeTable, Captions, read_metadata
from gan_inpaint.data.image_files import ImageFiles
from gan_inpaint.data.images import center_crop
from gan_inpaint.errors import InputError
from gan_inpaint.functional.shapes import Box, Size, sides

Propose = Callable[[Image.Image], tuple[Box, str | None]]


class Folder(ImageFiles):
    """Your own images: a folder with everything below it, a zip or tar, a list, or one file.

    Args:
        path: the folder or file.
        truth: false if the images are damaged already; then nothing is measured.
        grey: convert colour images to grey for a 1-channel prior instead of refusing them.
        box: ``[left, top, right, bottom]`` in pixels: use the largest centred part of this with the
            proportions of ``size``; None: of the whole image; ``auto``: what ``propose`` says.
        boxes: a csv with a box for each image, see ``boxes``.
        propose: finds the part of an image that a prior knows, and says why not.
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
        box: Any,
        boxes: str | None = None,
        white: Any = None,
        condition: str | None = None,
        propose: Propose | None = None,
    ):
        self._column = condition
        self._box, self._propose = checked_box(box), propose if box == "auto" else None
        self._boxes = read_boxes(boxes) if boxes else None
        self._unframed: dict[int, str] = {}  # images in which nothing was found, and why
        if box is not None and boxes:
            raise InputError(f"data.box={box}: data.boxes= has a box for each image; leave one out")
        if box == "auto" and not propose:
            raise InputError("data.box=auto: only reconstruct has a prior that it could look for")
        files = open_files(_require_path(path, "folder", "a folder of images, a zip or one image"))
        names = files.names
        if split in ("train", "val"):
            # by name, so that adding images does not move others between the splits
            held_out = [zlib.crc32(name.encode()) % 10 == 0 for name in names]
            names = [n for n, out in zip(names, held_out, strict=True) if out == (split == "val")]
        super().__init__(
            files,
            names,
            size,
            channels,
            truth=truth is not False,
            grey=grey,
            white=white,
            settings=str(self._boxes or box),
        )
        self._boxes_name = boxes

    @property
    def notes(self) -> list[str]:
        """See ``ImageFiles``."""
        reasons = Counter(self._unframed.values())
        return super().notes + [
            f"{reason} in {count} of the images: their centred part was used; frame them with"
            " data.box= or data.boxes="
            for reason, count in reasons.items()
        ]

    def box(self, index: int, image: Image.Image) -> Box:
        """See ``ImageFiles``."""
        name = self.names[index]
        if self._boxes is not None:
            if name not in self._boxes:
                raise InputError(f"{self._boxes_name}: holds no box for the image {name}; add it")
            return box_within(image, self.size, self._boxes[name], f"the box of {name}")
        if self._box:
            return box_within(image, self.size, self._box, f"data.box={list(self._box)}")
        if not self._propose:
            return center_crop(image, self.size)
        box, reason = self._propose(image)
        if reason:
            self._unframed[index] = reason
        return box

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
        path: a folder or zip with ``000001.jpg`` ..., or a ``.txt`` list of such files.
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
        super().__init__(files, names[split or "val"], size, channels)

    def box(self, index: int, image: Image.Image) -> Box:
        """See ``ImageFiles``."""
        scale, odd = divmod(image.width, 89)
        if odd or image.height != 109 * scale:
            raise InputError(
                f"data=celeba: an image has {image.width}x{image.height} pixels, not the 178x218"
                " of aligned CelebA; for other images use data=folder"
            )
        height, width = sides(self.size)
        if height != width:
            return center_crop(image, self.size)
        left, top, right, bottom = (edge * scale for edge in (7, 17, 81, 91))
        return left, top, right, bottom

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


def _require_path(value: str | None, data: str, what: str) -> str:
    if value is None:
        raise InputError(f"data={data} needs data.path=, {what}")
    return value
