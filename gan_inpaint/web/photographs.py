"""The photographs that a page has opened, with their frames and masks, in memory."""

import io
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import PurePath
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from gan_inpaint.data.formats import is_image
from gan_inpaint.data.image_metadata import strip_metadata
from gan_inpaint.data.images import open_image, to_rgb
from gan_inpaint.data.mask_files import hole_in_box, read_hole
from gan_inpaint.errors import InputError
from gan_inpaint.priors.face_detection import Proposal
from gan_inpaint.web.request import Refused

KEPT = 8  # photographs
_UNSAFE = '/:*?"<>|$'  # $ would be Hydra's interpolation
_LONGEST = 150  # bytes of a name: a file system takes 255, and more is appended
_SUFFIXES = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp", "GIF": "gif"}
_PREVIEW = 2048  # largest side in pixels
_HEIC = (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis")


@dataclass
class Opened:
    """A photograph of the page.

    Attributes:
        id: 128 random bits.
        name: its file's, only a label.
        content: of its file.
        image: upright.
        proposal: frames.
        mask: ``(H, W)`` bool in the proportions of the image, 1 = missing; None: none yet.
    """

    id: str
    name: str
    content: bytes
    image: Image.Image
    proposal: Proposal
    mask: np.ndarray | None = None
    preview: bytes = field(default=b"", repr=False)

    def describe(self) -> dict[str, Any]:
        """What the page is told."""
        return {
            "id": self.id,
            "name": self.name,
            "width": self.image.width,
            "height": self.image.height,
            "mode": self.image.mode,
            "proposals": self.proposal.boxes,
            "fallback": self.proposal.reason,
        }

    def set_mask(self, content: bytes) -> dict[str, float]:
        """Take a mask from a PNG; white is missing.

        Returns:
            ``missing``: share of the photograph that is missing.

        Raises:
            Refused: it cannot be read, or has other proportions.
        """
        try:
            mask = read_hole(_open(content, "mask")[0], "mask")
            size = self.image.size
            hole, _ = hole_in_box(mask, size, (0, 0, *size), "mask", "the photograph")
        except InputError as problem:
            raise Refused(str(problem), "mask") from None
        self.mask = mask
        return {"missing": float(hole.mean())}

    def mask_png(self) -> bytes:
        """The mask, white = missing.

        Raises:
            KeyError: there is none.
        """
        if self.mask is None:
            raise KeyError("mask")
        return mask_png(self.mask)


class Album:
    """The photographs of a page; the oldest goes when there are too many."""

    def __init__(self) -> None:
        self._opened: OrderedDict[str, Opened] = OrderedDict()
        self._lock = Lock()

    def add(self, opened: Opened) -> None:
        """Keep a photograph."""
        with self._lock:
            self._opened[opened.id] = opened
            while len(self._opened) > KEPT:
                self._opened.popitem(last=False)

    def get(self, identity: str) -> Opened:
        """The photograph with this id.

        Raises:
            KeyError: there is none.
        """
        return self._opened[identity]

    def all(self) -> list[Opened]:
        """The oldest first."""
        return list(self._opened.values())

    def remove(self, identity: str) -> None:
        """Forget a photograph, if it is there."""
        with self._lock:
            self._opened.pop(identity, None)


def open_photograph(name: str, content: bytes) -> tuple[str, Image.Image, bytes]:
    """Decode an uploaded file: its label, the image upright, a PNG to show.

    Raises:
        InputError: it is not an image of a format that the page takes.
    """
    name = file_name(name)
    image, kind = _open(content, name)
    if not is_image(name):  # the shell's commands go by the suffix
        name = f"{name}.{_SUFFIXES.get(kind, 'png')}"
    try:
        return name, image, preview_of(to_rgb(image, "white"))
    except InputError as problem:  # on the levels of black and white
        raise InputError(f"{name}: {problem}") from None


def preview_of(rgb: Image.Image) -> bytes:
    """A PNG of at most 2,048 pixels, without metadata."""
    preview = rgb.copy()
    preview.thumbnail((_PREVIEW, _PREVIEW), reducing_gap=2.0)
    preview.info.clear()
    return png(preview, compress_level=1)  # it does not go far


def mask_png(mask: np.ndarray) -> bytes:
    """``(H, W)`` bool as a PNG, white where it is true."""
    return png(Image.fromarray(mask.astype(np.uint8) * 255))


def new_id() -> str:
    """128 random bits."""
    return secrets.token_hex(16)


def file_name(label: str) -> str:
    r"""A file name without folders from whatever a browser sends.

    Example:
        >>> file_name("../../etc/passwd:1"), file_name("")
        ('passwd_1', 'photograph')
    """
    base = PurePath(label.replace("\\", "/")).name
    safe = "".join(c if c.isprintable() and c not in _UNSAFE else "_" for c in base).strip()
    path = PurePath(safe.lstrip(".-") or "photograph")
    stem = path.stem.encode(errors="replace")[:_LONGEST].decode(errors="ignore")
    return stem + path.suffix[:10]


def png(image: Image.Image, compress_level: int = 6) -> bytes:
    """The image as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=compress_level)
    return file.getvalue()


def _open(content: bytes, name: str) -> tuple[Image.Image, str]:
    """The image upright, and Pillow's name of its format."""
    kind = ""
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC:
        raise InputError(f"{name}: a HEIC image; export it as JPEG")
    try:
        with Image.open(io.BytesIO(content), formats=tuple(_SUFFIXES)) as image:
            kind = image.format or ""
    except UnidentifiedImageError:
        if strip_metadata(content) is None:
            raise InputError(
                f"{name}: not an image of a known format; choose a JPEG, PNG, WebP, TIFF, BMP or"
                " GIF file"
            ) from None
    except Exception:
        pass  # open_image tries without the metadata, or says what is wrong
    return open_image(io.BytesIO(content), name, tuple(_SUFFIXES)), kind
