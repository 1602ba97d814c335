"""Read image files from a folder, a zip or tar archive, a list, or alone."""

import codecs
import hashlib
import io
import re
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from gan_inpaint.data.formats import NAMES, SUFFIXES, count_by_suffix, is_image
from gan_inpaint.errors import InputError, printable

_LARGEST = 2**30  # bytes of an uncompressed file: 250 megapixels of three bytes, and more
_PACKED = 200  # largest growth of an archive: images hardly compress further
_FREE = 2**28  # bytes that need not have been packed so well
_LINKS = tarfile.LNKTYPE, tarfile.SYMTYPE
_TARS = (".tar", ".gz", ".tgz", ".bz2", ".xz")
_LISTS = (".txt", ".lst", ".flist")  # files that name images, one per line
_NAMED = re.compile(  # the shortest start of a line that could be the name of an image
    rf"(.*?(?:{'|'.join(map(re.escape, sorted(SUFFIXES)))}))(?=[\s,;\"']|$)", re.I
)


class Files(ABC):
    """Named files: ``names[i]`` and the bytes ``read(names[i])``; reading in order is fast.

    Characters of names that cannot be printed are escaped.

    Attributes:
        left_out: names of the files without an image's suffix.
    """

    def __init__(self, root: Path, names: Sequence[str]):
        self.root = root
        self._own = {printable(name): name for name in names}
        self.names = list(self._own)
        self.left_out: list[str] = []

    def read(self, name: str) -> BinaryIO | Path:
        """Something that Pillow can open; raises OSError or BadZipFile if missing or damaged."""
        return self._read(self._own[name])

    @abstractmethod
    def _read(self, name: str) -> BinaryIO | Path:
        """Of a file's own name."""

    def content(self, name: str) -> bytes:
        """A file's bytes; if it cannot be read, the error as bytes."""
        try:
            file = self.read(name)
            return file.read_bytes() if isinstance(file, Path) else file.read()
        except Exception as problem:  # damaged archives raise many kinds of errors
            return repr(problem).encode()

    def size_of(self, name: str) -> int:
        """A file's uncompressed size in bytes; 0 if it is not there."""
        return self._size_of(self._own[name])

    @abstractmethod
    def _size_of(self, name: str) -> int:
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
            raise OSError("not a regular file")
        _check_size(file.stat().st_size)
        return file

    def _size_of(self, name: str) -> int:
        file = self.root / name
        return file.stat().st_size if file.is_file() else 0

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
        _check_growth(member.file_size, member.compress_size)
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise OSError("unsupported zip compression method")
        with self._archive.open(member) as file:  # in pieces: its declared size may be wrong
            return io.BytesIO(b"".join(iter(lambda: file.read(2**20), b"")))

    def _size_of(self, name: str) -> int:
        return self._archive.getinfo(name).file_size


class _Member(tarfile.TarInfo):
    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """A member's header; limits long names and comments, which tarfile reads at once."""
        if self.size > 2**20 and self.type not in (*tarfile.REGULAR_TYPES, *_LINKS):
            raise tarfile.TarError(f"a header of {self.size / 2**20:.0f} MiB")
        return super()._proc_member(archive)  # type: ignore[misc]


class _Tar(Files):
    # in the archive's order: going back in a compressed tar means unpacking it from the start
    def __init__(self, root: Path):
        self._archive = tarfile.open(root, tarinfo=_Member)  # noqa: SIM115
        self._members = {}
        packed = root.stat().st_size
        for member in self._archive:  # reads through all members
            _check_growth(member.offset_data, packed)
            if member.isfile():
                self._members[member.name] = member
        super().__init__(root, list(self._members))

    def _read(self, name: str) -> BinaryIO:
        member = self._members[name]
        _check_size(member.size)
        _check_growth(member.size, self.root.stat().st_size)
        file = self._archive.extractfile(member)
        assert file is not None  # only regular files are listed
        return io.BytesIO(file.read())

    def _size_of(self, name: str) -> int:
        return self._members[name].size


def _check_size(size: int) -> None:
    if size > _LARGEST:
        raise OSError(f"{size / 2**20:.0f} MiB uncompressed is too large for an image")


def _check_growth(size: int, packed: int) -> None:
    if size > _FREE + _PACKED * packed:
        raise OSError(f"it expands to more than {_PACKED} times its size")


def open_files(path: str | Path, key: str = "data.path") -> Files:
    """The images at a path: all files with an image's suffix, except hidden ones.

    Args:
        path: a folder with everything below it, in name order, following links to folders; a
            ``.zip``; a tar archive, compressed or not, in its own order; a ``.txt`` list, one path
            per line, relative to the list's folder; or one image.
        key: what messages call the path.

    Raises:
        InputError: it does not exist, cannot be read, or holds no image.
    """
    root = Path(path)
    if not str(path):
        raise InputError(f"{key}= is empty; name a folder or a file")
    if not root.exists():
        raise InputError(f"{key}={path}: no such file or folder")
    if not (root.is_dir() or root.is_file()):  # a pipe or a device may never end
        raise InputError(f"{key}={path}: neither a folder nor a regular file")
    try:
        files = _opened(root)
    except UnicodeDecodeError:
        raise InputError(f"{key}={path}: the list is not UTF-8; save it as UTF-8") from None
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError) as problem:
        raise InputError(f"{key}={path}: cannot be read ({problem}); replace it") from None
    if not files.names and not files.left_out:
        kind = "folder" if root.is_dir() else "file"
        raise InputError(f"{key}={path}: the {kind} is empty; put images into it")
    if not files.names:
        raise InputError(
            f"{key}={path}: no image in it ({NAMES}), only {count_by_suffix(files.left_out)}"
        )
    return files


def _opened(root: Path) -> Files:
    if root.is_dir():
        return _images(_Loose(root, sorted(_below(root))))
    if root.suffix.lower() == ".zip":
        return _images(_Zip(root))
    if root.suffix.lower() in _LISTS:
        _check_size(root.stat().st_size)
        return _images(_Loose(root.parent, list(_listed(root))))
    if root.suffix.lower() in _TARS or (not is_image(root.name) and tarfile.is_tarfile(root)):
        return _images(_Tar(root))
    return _Loose(root.parent, [root.name])  # a single file: its content decides, not its suffix


def _images(files: Files) -> Files:
    visible = [name for name in files.names if _visible(Path(name))]
    files.names = [name for name in visible if is_image(name)]
    files.left_out = [name for name in visible if not is_image(name)]
    return files


def _visible(path: Path) -> bool:
    # macOS adds a second, hidden file beside each one in its zips
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _below(root: Path) -> Iterator[str]:
    """Names of the files below a folder; links to folders are followed, each folder read once."""
    seen: set[Path] = set()
    later = [root]  # links come after the folders themselves
    while later:
        folders, later = later, []
        while folders:
            folder = folders.pop()
            if (real := folder.resolve()) in seen:
                continue
            seen.add(real)
            for entry in sorted(folder.iterdir()):
                if entry.is_dir():
                    (later if entry.is_symlink() else folders).append(entry)
                elif entry.is_file():
                    yield entry.relative_to(root).as_posix()


def _listed(file: Path) -> Iterator[str]:
    """The names on a list, without comments; see ``_entry``."""
    content = file.read_bytes()
    encoding = "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in content[:2]:  # UTF-16 without its mark
        encoding = "utf-16-be" if content[:1] == b"\0" else "utf-16-le"
    for line in content.decode(encoding).splitlines():
        name = _entry(line.strip(), file.parent)
        if name and (not name.startswith("#") or _is_file(file.parent / name)):
            yield name


def _entry(line: str, folder: Path) -> str:
    """The file on a line of a list: perhaps in quotes, with backslashes, or before labels."""
    named = _NAMED.match(line.lstrip("\"'"))
    wanted = [line, line.strip("\"'"), named[1] if named else line]
    wanted += [name.replace("\\", "/") for name in wanted]
    return next((name for name in wanted if name and _is_file(folder / name)), wanted[-1])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that the system does not allow
        return False
