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
    """Whether a file has the suffix of an image, in any case.

    Example:
        >>> is_image("a/IMG_1.JPG"), is_image("a/captions.json")
        (True, False)
    """
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def pillow_formats(name: str) -> list[str]:
    """The formats that Pillow may open; never EPS and others that run programs.

    Args:
        name: of the file. TGA has no signature, so its suffix decides.
    """
    tga = PurePosixPath(name).suffix.lower() in _SUFFIXES["TGA"].split()
    return [*(kind for kind in _SUFFIXES if kind != "TGA"), "DIB", *["TGA"] * tga]


def is_lfs_pointer(start: bytes) -> bool:
    """Whether a file that starts like this is a Git LFS pointer instead of the content."""
    return start.startswith(_POINTER)


def count_by_suffix(names: Iterable[str]) -> str:
    """Count files by suffix, in words.

    Example:
        >>> count_by_suffix(["a.json", "b.json", "c.heic"])
        '2 .json, 1 .heic: export HEIC files as JPEG'
    """
    suffixes = Counter(PurePosixPath(name).suffix.lower() or "without suffix" for name in names)
    words = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(4))
    words += ", ..." if len(suffixes) > 4 else ""
    hint = next((_HINTS[suffix] for suffix in suffixes if suffix in _HINTS), None)
    return f"{words}: export {hint} files as JPEG" if hint else words
