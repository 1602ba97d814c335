"""Image metadata: EXIF, XMP, resolution, text, colour profile."""

import struct
from io import BytesIO
from typing import Any

from PIL import Image, PngImagePlugin

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_PNG_PIXEL_CHUNKS = (b"tRNS", b"pHYs")  # ancillary chunks that affect the pixels
_JPEG_METADATA = {0xFE, *range(0xE1, 0xEE)}  # COM, APP1 to APP13; APP0 and APP14 define the colours
_XMP = "XML:com.adobe.xmp"
_NOT_TEXT = ("Raw profile", _XMP, "compression")  # keys of Pillow's ``info`` that are not user text
_COPIED_TIFF_TAGS = (
    270,
    271,
    272,
    305,
    306,
    315,
    33432,
)  # of a TIFF: description, camera, software, date ...
_IFDS = (34665, 34853)  # in EXIF: the camera's tags, and the location


def strip_metadata(content: bytes) -> BytesIO | None:
    """A PNG or JPEG without metadata: damaged metadata does not make the pixels unreadable.

    Returns:
        None if it is neither, or too damaged to be split into its parts.
    """
    try:
        if content.startswith(_PNG):
            return BytesIO(_strip_png(content))
        if content.startswith(_JPEG):
            return BytesIO(_strip_jpeg(content))
    except (struct.error, IndexError):
        pass
    return None


def _strip_png(content: bytes) -> bytes:
    kept, at = [_PNG], len(_PNG)
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind = content[at + 4 : at + 8]
        if kind[0] & 0x20 == 0 or kind in _PNG_PIXEL_CHUNKS:  # upper case: a critical chunk
            kept.append(content[at : at + 12 + length])
        at += 12 + length
    return b"".join(kept)


def _strip_jpeg(content: bytes) -> bytes:
    kept, at = [_JPEG], 2
    while content[at] == 0xFF and content[at + 1] != 0xDA:  # until the scan begins
        (length,) = struct.unpack_from(">H", content, at + 2)
        if content[at + 1] not in _JPEG_METADATA:
            kept.append(content[at : at + 2 + length])
        at += 2 + length
    return b"".join([*kept, content[at:]])


def keep_tiff_exif(image: Image.Image) -> None:
    """Copy the descriptive tags of a TIFF into EXIF, where other formats have them."""
    if image.format != "TIFF":
        return
    own, kept = image.getexif(), Image.Exif()
    for tag in _COPIED_TIFF_TAGS:
        if tag in own:
            kept[tag] = own[tag]
    for folder in _IFDS:
        if tags := own.get_ifd(folder):
            kept.get_ifd(folder).update(tags)
    if len(kept) or any(kept.get_ifd(folder) for folder in _IFDS):
        image.info["exif"] = kept.tobytes()


def save_arguments(image: Image.Image, suffix: str) -> dict[str, Any]:
    """The arguments of Pillow's ``save`` that keep an image's metadata.

    Args:
        image: upright, with the ``info`` of its original file.
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
            if isinstance(value, str) and not str(key).startswith(_NOT_TEXT):
                text.add_itxt(str(key), value)
        if isinstance(comment := info.get("comment"), bytes):
            text.add_itxt("Comment", comment.decode("utf-8", "replace"))
        if xmp:
            text.add_itxt(_XMP, xmp.decode("utf-8", "replace"))
        found["pnginfo"] = text
    elif xmp:
        found["tiffinfo"] = {700: xmp}
    return found
