"""Image formats: an explicit list, recognised by suffix."""

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath

_SUFFIXES = {
    "JPEG": ".jpg .jpeg .jpe .jfif .jif .mpo",
    "PNG": ".png .apng",
    "WEBP": ".webp",
    "TIFF": ".tif .tiff",
    "BMP": ".bmp .dib",
    "GIF": ".gif",
    "AVIF": ".avif .avifs",
    "JPEG2000": ".jp2 .j2k .j2c .jpc .jpf .jpx",
    "TGA": ".tga .icb .vda .vst",
    "PPM": ".ppm .pgm .pbm .pnm .pfm",
}
SUFFIXES = {suffix for listed in _SUFFIXES.values() for suffix in listed.split()}
NAMES = "JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000, TGA, PPM"
_HINTS = {".heic": "HEIC", ".heif": "HEIC", ".cr2": "raw", ".nef": "raw", ".dng": "raw"}
_POINTER = b"version https://git-lfs.github.com/spec/"


def is_image(name: str) -> bool:
    """Whether a file's suffix, in any case, is one of an image.

    Example:
        >>> is_image("a/IMG_1.JPG"), is_image("a/captions.json")
        (True, False)
    """
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def pillow_formats(name: str) -> list[str]:
    """What Pillow may take a file for; never EPS and other formats that run programs.

    Args:
        name: of the file. TGA has no signature: only a file with its suffix is one.
    """
    tga = PurePosixPath(name).suffix.lower() in _SUFFIXES["TGA"].split()
    return [*(kind for kind in _SUFFIXES if kind != "TGA"), "DIB", *["TGA"] * tga]


def is_lfs_pointer(start: bytes) -> bool:
    """Whether a file that begins like this only stands for one that Git LFS has not fetched."""
    return start.startswith(_POINTER)


def counted(names: Iterable[str]) -> str:
    """Files that are no images, by suffix, in words.

    Example:
        >>> counted(["a.json", "b.json", "c.heic"])
        '2 .json, 1 .heic: export HEIC files as JPEG'
    """
    suffixes = Counter(PurePosixPath(name).suffix.lower() or "without suffix" for name in names)
    words = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(4))
    words += ", ..." if len(suffixes) > 4 else ""
    hint = next((_HINTS[suffix] for suffix in suffixes if suffix in _HINTS), None)
    return f"{words}: export {hint} files as JPEG" if hint else words
