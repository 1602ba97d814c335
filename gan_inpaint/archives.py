"""Files to read one after the other: in a folder, in a zip or tar archive, on a list, or alone."""

import hashlib
import io
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from gan_inpaint.errors import InputError, printable

_LARGEST = 2**28  # bytes of one file, unpacked: a picture of 89 million pixels, the most that
# Pillow opens, has no more
_PACKED = 200  # times that an archive may grow: pictures are packed already
_LINKS = tarfile.LNKTYPE, tarfile.SYMTYPE
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}


class Files(ABC):
    """Named files: ``names[i]`` and the bytes ``read(names[i])``; reading in order is fast.

    Names are shown as they are, but for what cannot be shown.
    """

    def __init__(self, root: Path, names: Sequence[str]):
        self.root = root
        self._own = {printable(name): name for name in names}
        self.names = list(self._own)

    def read(self, name: str) -> BinaryIO | Path:
        """What Pillow can open; an OSError or a BadZipFile if it is not there or damaged."""
        return self._read(self._own[name])

    @abstractmethod
    def _read(self, name: str) -> BinaryIO | Path:
        """Of a file's own name."""

    def fingerprint(self, names: Sequence[str]) -> str:
        """Changes whenever one of the named files may have changed."""
        state = self.root.stat()
        facts = [str(self.root.resolve()), str((state.st_size, state.st_mtime_ns)), *names]
        return hashlib.sha256("\n".join(facts).encode(errors="surrogatepass")).hexdigest()


class _Loose(Files):
    def _read(self, name: str) -> Path:
        file = self.root / name
        if file.exists() and not file.is_file():  # a pipe or a device may never end
            raise OSError("it is no regular file")
        _check_size(file.stat().st_size)
        return file

    def fingerprint(self, names: Sequence[str]) -> str:
        facts = [str(self.root.resolve())]
        for name in names:
            file = self.root / self._own[name]
            state = file.stat() if file.is_file() else None
            facts.append(f"{name} {state and (state.st_size, state.st_mtime_ns)}")
        return hashlib.sha256("\n".join(facts).encode(errors="surrogatepass")).hexdigest()


class _Zip(Files):
    def __init__(self, root: Path):
        self._archive = zipfile.ZipFile(root)
        super().__init__(
            root, sorted(i.filename for i in self._archive.infolist() if not i.is_dir())
        )

    def _read(self, name: str) -> BinaryIO:
        member = self._archive.getinfo(name)
        _check_size(member.file_size)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise OSError("packed in a way that other programs do not unpack either")
        with self._archive.open(member) as file:  # in pieces: what it says of its size may be wrong
            return io.BytesIO(b"".join(iter(lambda: file.read(2**20), b"")))


class _Member(tarfile.TarInfo):
    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """A member's header; tarfile reads long names and notes at once: they have their limit."""
        if self.size > 2**20 and self.type not in (*tarfile.REGULAR_TYPES, *_LINKS):
            raise tarfile.TarError(f"a header of {self.size / 2**20:.0f} MiB")
        return super()._proc_member(archive)  # type: ignore[misc]


class _Tar(Files):
    # in the archive's own order: going back in a compressed tar means unpacking it from the start
    def __init__(self, root: Path):
        self._archive = tarfile.open(root, tarinfo=_Member)  # noqa: SIM115
        self._members = {}
        most = _LARGEST + _PACKED * root.stat().st_size
        for member in self._archive:  # each is unpacked on the way to the next
            _check_size(member.size)
            if member.offset_data > most:
                raise tarfile.TarError(f"it unpacks to more than {_PACKED} times its size")
            if member.isfile():
                self._members[member.name] = member
        super().__init__(root, list(self._members))

    def _read(self, name: str) -> BinaryIO:
        file = self._archive.extractfile(self._members[name])
        assert file is not None  # only regular files are listed
        return io.BytesIO(file.read())


def _check_size(size: int) -> None:
    if size > _LARGEST:
        raise OSError(f"{size / 2**20:.0f} MiB unpacked is no picture")


def pictures_in(path: str | Path) -> Files:
    """The files behind a path, hidden ones left out.

    Args:
        path: a folder with everything below it, in name order; a ``.zip``; a tar archive, packed or
            not, in its own order; a ``.txt`` list, a path a line, relative to the list's folder; or
            one picture.

    Raises:
        InputError: it is not there, cannot be read, or holds no picture.
    """
    root = Path(path)
    if not root.exists():
        raise InputError(f"data.path={path}: there is no such file or folder")
    if not (root.is_dir() or root.is_file()):  # a pipe or a device may never end
        raise InputError(f"data.path={path}: neither a folder nor a regular file")
    try:
        files = _opened(root)
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, UnicodeDecodeError) as problem:
        raise InputError(f"data.path={path}: cannot be read ({problem}); replace it") from None
    if not files.names:
        kind = "folder" if root.is_dir() else "file"
        raise InputError(f"data.path={path}: the {kind} is empty; put pictures into it")
    if not any(Path(name).suffix.lower() in SUFFIXES for name in files.names):
        raise InputError(f"data.path={path}: no picture in it ({', '.join(sorted(SUFFIXES))})")
    return files


def _opened(root: Path) -> Files:
    if root.is_dir():
        found = (p.relative_to(root) for p in root.rglob("*") if p.is_file())
        return _Loose(root, sorted(p.as_posix() for p in found if _visible(p)))
    if root.suffix.lower() == ".zip":
        return _without_hidden(_Zip(root))
    if root.suffix.lower() == ".txt":
        _check_size(root.stat().st_size)
        lines = (line.strip() for line in root.read_text(encoding="utf-8").splitlines())
        return _Loose(root.parent, [line for line in lines if line])
    if root.suffix.lower() not in SUFFIXES and tarfile.is_tarfile(root):
        return _without_hidden(_Tar(root))
    return _Loose(root.parent, [root.name])


def _without_hidden(files: Files) -> Files:
    files.names = [name for name in files.names if _visible(Path(name))]
    return files


def _visible(path: Path) -> bool:
    # macOS puts a second, hidden file beside each one it packs
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
