"""What an image file holds besides pixels: EXIF, XMP, resolution, text, colour profile."""

import struct
from io import BytesIO
from typing import Any

from PIL import Image, PngImagePlugin

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_PNG_KEPT = (b"tRNS", b"pHYs")  # ancillary chunks that say something of the pixels
_JPEG_NOTES = {0xFE, *range(0xE1, 0xEE)}  # COM, APP1 to APP13; APP0 and APP14 tell colours apart
_XMP = "XML:com.adobe.xmp"
_NO_TEXT = ("Raw profile", _XMP, "compression")  # words in Pillow's ``info`` that nobody wrote
_TOLD = (270, 271, 272, 305, 306, 315, 33432)  # of a TIFF: description, camera, software, date ...
_FOLDERS = (34665, 34853)  # in EXIF: the camera's own tags, and the place


def without_notes(content: bytes) -> BytesIO | None:
    """A PNG or JPEG with nothing but its pixels: notes that cannot be read are no damage to them.

    Returns:
        None if it is neither, or too damaged to tell its parts.
    """
    try:
        if content.startswith(_PNG):
            return BytesIO(_png_without(content))
        if content.startswith(_JPEG):
            return BytesIO(_jpeg_without(content))
    except (struct.error, IndexError):
        pass
    return None


def _png_without(content: bytes) -> bytes:
    kept, at = [_PNG], len(_PNG)
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind = content[at + 4 : at + 8]
        if kind[0] & 0x20 == 0 or kind in _PNG_KEPT:  # an upper case letter: critical
            kept.append(content[at : at + 12 + length])
        at += 12 + length
    return b"".join(kept)


def _jpeg_without(content: bytes) -> bytes:
    kept, at = [_JPEG], 2
    while content[at] == 0xFF and content[at + 1] != 0xDA:  # until the scan begins
        (length,) = struct.unpack_from(">H", content, at + 2)
        if content[at + 1] not in _JPEG_NOTES:
            kept.append(content[at : at + 2 + length])
        at += 2 + length
    return b"".join([*kept, content[at:]])


def keep_tiff_exif(image: Image.Image) -> None:
    """Put what a TIFF's own tags say of the photograph where other formats have their EXIF."""
    if image.format != "TIFF":
        return
    own, kept = image.getexif(), Image.Exif()
    for tag in _TOLD:
        if tag in own:
            kept[tag] = own[tag]
    for folder in _FOLDERS:
        if tags := own.get_ifd(folder):
            kept.get_ifd(folder).update(tags)
    if len(kept) or any(kept.get_ifd(folder) for folder in _FOLDERS):
        image.info["exif"] = kept.tobytes()


def for_saving(image: Image.Image, suffix: str) -> dict[str, Any]:
    """The arguments of Pillow's ``save`` that carry an image's notes over.

    Args:
        image: upright, with the ``info`` of the file that it came from.
        suffix: ``.png`` or ``.tif``.
    """
    info = image.info
    found = {key: info[key] for key in ("icc_profile", "exif") if info.get(key)}
    dpi = info.get("dpi")
    if isinstance(dpi, tuple) and all(0 < float(value) < 1e6 for value in dpi):
        found["dpi"] = tuple(map(float, dpi))
    xmp = info.get("xmp") or info.get(_XMP)
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    if suffix == ".png":
        text = PngImagePlugin.PngInfo()
        for key, value in info.items():
            if isinstance(value, str) and not str(key).startswith(_NO_TEXT):
                text.add_itxt(str(key), value)
        if isinstance(comment := info.get("comment"), bytes):
            text.add_itxt("Comment", comment.decode("utf-8", "replace"))
        if xmp:
            text.add_itxt(_XMP, xmp.decode("utf-8", "replace"))
        found["pnginfo"] = text
    elif xmp:
        found["tiffinfo"] = {700: xmp}
    return found
