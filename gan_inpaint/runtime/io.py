"""Read and write files; writes are atomic."""

import csv
import hashlib
import json
import math
import os
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from platformdirs import user_cache_path

_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # what a spreadsheet would compute, or was escaped before
_ESCAPED = re.compile(r"''*[=+\-@\t\r]")
_TEMPORARY = re.compile(r"\.[0-9a-f]{12}\.part(\..*)?")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it on success, else remove it.

    Raises:
        OSError: the file cannot be written; ``filename`` is ``path``.
    """
    # without the file's name, which may have the maximum length, but with its suffix, by which
    # matplotlib and Pillow choose the format
    temporary = path.with_name(f".{secrets.token_hex(6)}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as problem:
        if problem.errno is not None and problem.filename in (None, str(temporary)):
            raise OSError(problem.errno, problem.strerror, str(path)) from problem
        raise
    finally:
        temporary.unlink(missing_ok=True)


def file_digest(file: Path) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def cache_folder() -> Path:
    """``GAN_INPAINT_CACHE``, or the user's cache directory."""
    return Path(os.environ.get("GAN_INPAINT_CACHE") or user_cache_path("gan_inpaint"))


def remove_temporaries(folder: Path, older_than: float = 0.0) -> None:
    """Remove unfinished files of killed processes from a folder and below it.

    Args:
        older_than: age in seconds; running processes may still write to younger files.
    """
    for path in folder.rglob(".*.part*"):
        if _TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime >= older_than:
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_once(path: Path, text: str) -> str:
    """Write a file if it does not exist; of several processes the first one wins.

    Returns:
        The file's content.
    """
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{secrets.token_hex(6)}.part")
        try:
            temporary.write_text(text, encoding="utf-8")
            os.link(temporary, path)
        except FileExistsError:  # another process was faster
            pass
        except OSError:  # a file system without links
            write_text(path, text)
        finally:
            temporary.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON atomically; NaN and infinity become null."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in content.items()
    }
    write_text(path, json.dumps(finite, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> None:
    """Write one line per row atomically; missing values and None become empty cells.

    A spreadsheet computes text that begins with ``=``, ``+``, ``-`` or ``@``: such text gets a
    ``'`` in front, which ``read_csv`` takes away.
    """
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _escaped(value) for key, value in row.items()} for row in rows)


def _escaped(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def read_csv(path: Path) -> list[dict[str, str]]:
    """One dict of strings per row."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {key: _unescaped(value) for key, value in row.items()} for row in csv.DictReader(file)
        ]


def _unescaped(value: Any) -> Any:
    return value[1:] if isinstance(value, str) and _ESCAPED.match(value) else value


def read_table(path: Path, words: Iterable[str] = ()) -> list[dict[str, Any]]:
    """Read the rows of ``write_csv``: numbers as numbers, without empty cells.

    Args:
        words: columns that hold text.
    """
    return [
        {
            key: value if key in words else int(value) if value.isdecimal() else float(value)
            for key, value in row.items()
            if value
        }
        for row in read_csv(path)
    ]


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 pixels ``(H, W, 1 or 3)`` atomically."""
    with atomic_write(path) as temporary:
        Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(temporary)
