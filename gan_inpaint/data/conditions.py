"""Read what images show from the files beside them: tables of attributes, metadata, captions."""

import csv
import io
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np

from gan_inpaint.errors import InputError

_LARGEST = 2**28  # bytes of a file
_SIGNS = {text: sign for sign in (-1, 0, 1) for text in (str(sign), f"{sign}.0", f"+{sign}")} | {
    "": 0
}
METADATA = ("metadata.csv", "metadata.jsonl")  # the names of Hugging Face's ImageFolder


class AttributeTable:
    """CelebA's attributes: ``list_attr_celeba.txt``, or a csv with ``image_id`` and their names.

    Args:
        path: of the table.

    Raises:
        InputError: it cannot be read; the sentence names the line.
    """

    def __init__(self, path: str):
        lines = _text(Path(path), "data.attributes").splitlines()
        try:
            if len(lines) > 1 and lines[0].strip().isdecimal():  # the number of images
                rows = [(number, line.split()) for number, line in enumerate(lines[1:], 2)]
            else:
                rows = list(enumerate(csv.reader(lines), 1))
        except csv.Error as problem:
            raise InputError(f"data.attributes={path}: damaged ({problem})") from None
        header = rows.pop(0)[1] if rows else []
        names = header[1:] if header and header[0].strip() == "image_id" else header
        if not names or len(set(names)) < len(names):
            raise InputError(
                f"data.attributes={path}: its first line must hold the names of the attributes,"
                " each once"
            )
        self._names = [name.strip() for name in names]
        self._row: dict[str, int] = {}
        values: list[np.ndarray] = []
        for number, row in rows:
            if not row:
                continue
            signs = [_SIGNS.get(cell.strip()) for cell in row[1:]]
            if len(signs) != len(self._names) or None in signs:
                raise InputError(
                    f"data.attributes={path}: line {number} must hold an image's name and"
                    f" {len(self._names)} times 1, -1 or 0"
                )
            self._row[_stem(row[0])] = len(values)
            values.append(np.array(signs, np.int8))
        if not values:
            raise InputError(f"data.attributes={path}: holds no image")
        self._values = np.stack(values)

    def __getitem__(self, name: str) -> dict[str, int] | None:
        """The attributes of an image by its file's name; None if the table lacks it."""
        row = self._row.get(_stem(name))
        if row is None:
            return None
        return dict(zip(self._names, self._values[row].tolist(), strict=True))


def read_metadata(
    files: Mapping[str, Callable[[], BinaryIO | Path]], column: str | None
) -> dict[str, Any]:
    """Image -> its condition, from all ``metadata.csv`` and ``metadata.jsonl`` among some files.

    As in Hugging Face's ImageFolder, a row has ``file_name``, relative to the metadata's folder.

    Args:
        files: name -> opens it.
        column: which one holds the condition; None: the only other one, or all others as
            attributes.

    Raises:
        InputError: a table is damaged, or lacks a column.
    """
    found: dict[str, Any] = {}
    for name in files:
        present: set[str] = set()
        folder = PurePosixPath(name).parent
        for number, row in _rows(name, files[name]):
            if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
                raise InputError(f"{name}: line {number} has no file_name")
            own = {key: value for key, value in row.items() if key and key != "file_name"}
            present |= own.keys()
            path = str(folder / row["file_name"].strip().replace("\\", "/"))
            if column is not None:
                found[path] = own.get(column)
            else:
                found[path] = next(iter(own.values())) if len(own) == 1 else own
        if column is not None and column not in present:
            raise InputError(
                f"data.condition={column}: {name} has no such column, it has"
                f" {', '.join(sorted(present)) or 'none'}"
            )
    return found


def _rows(name: str, opened: Callable[[], BinaryIO | Path]) -> Iterator[tuple[int, Any]]:
    text = _text(opened(), name)
    try:
        if name.endswith(".csv"):
            yield from enumerate(csv.DictReader(io.StringIO(text)), 2)
        else:
            lines = enumerate(text.split("\n"), 1)  # JSON may hold other line breaks
            yield from ((number, json.loads(line)) for number, line in lines if line.strip())
    except (csv.Error, ValueError, RecursionError) as problem:
        raise InputError(f"{name}: damaged ({problem})") from None


class Captions:
    """The captions of COCO: those of the 2017 course archive, or COCO's own ``captions_*.json``.

    Args:
        file: a pickled dictionary of lists of captions, or the JSON; its name tells which.
        name: of the file.

    Raises:
        InputError: it is damaged, or a pickle that holds more than text, lists and dictionaries.
    """

    def __init__(self, file: BinaryIO | Path, name: str):
        read = _from_json if name.endswith(".json") else _from_pickle
        self._captions: dict[str, list[str]] = {}
        for image, captions in read(file, name):
            listed = captions if isinstance(captions, list | tuple) else [captions]
            own = [" ".join(text.split()) for text in map(_decoded, listed) if text.strip()]
            if own and isinstance(image, str | bytes | int):
                self._captions.setdefault(_number(image), []).extend(own)
        if not self._captions:
            raise InputError(f"{name}: holds no captions")

    @staticmethod
    def is_one(name: str) -> bool:
        """Whether a file is named as such a file is."""
        own = PurePosixPath(name).name
        pickled = own.startswith("dict_key_imgID_value_caps") and own.endswith(".pkl")
        return pickled or (own.startswith("captions_") and own.endswith(".json"))

    def __getitem__(self, name: str) -> list[str] | None:
        """The captions of an image by its file's name; None if there are none."""
        return self._captions.get(_number(name))


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, text, lists and dictionaries only: a pickle may call any function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}, and could run any code")


def _from_pickle(file: BinaryIO | Path, name: str) -> Iterator[tuple[Any, Any]]:
    content = _bytes(file, name)
    try:
        # latin1: text of Python 2
        table = _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as problem:  # damaged pickles raise many kinds of errors
        raise InputError(f"{name}: no plain dictionary of captions ({problem})") from None
    if not isinstance(table, dict):
        raise InputError(f"{name}: no dictionary of captions, but {type(table).__name__}")
    yield from table.items()


def _from_json(file: BinaryIO | Path, name: str) -> Iterator[tuple[Any, Any]]:
    try:
        content = json.loads(_bytes(file, name))
        for note in content["annotations"]:
            yield note["image_id"], [note["caption"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise InputError(f"{name}: not the captions of COCO: no annotations in it") from None


def _decoded(text: Any) -> str:
    """Python 2's bytes were UTF-8; they have been read as latin1."""
    if not isinstance(text, str):
        return ""
    try:
        return text.encode("latin1").decode("utf-8")
    except UnicodeError:
        return text


def _number(image: Any) -> str:
    """COCO's number of an image: the digits at the end of its name.

    Example:
        >>> _number("train2014/COCO_train2014_000000000009.jpg"), _number(9)
        ('9', '9')
    """
    text = image.decode("latin1") if isinstance(image, bytes) else f"{image!s:.200}"
    last = _stem(text).rpartition("_")[2]
    return last.lstrip("0") if last.isdecimal() else _stem(text)


def _stem(name: str) -> str:
    return PurePosixPath(name.strip()).stem


def _bytes(file: BinaryIO | Path, name: str) -> bytes:
    try:
        if not isinstance(file, Path):
            return file.read()
        if not file.is_file():
            raise InputError(f"{name}: no such file")
        if file.stat().st_size > _LARGEST:
            raise InputError(f"{name}: {file.stat().st_size / 2**20:.0f} MiB is too large")
        return file.read_bytes()
    except OSError as problem:
        raise InputError(f"{name}: cannot be read ({problem.strerror})") from None


def _text(file: BinaryIO | Path, name: str) -> str:
    shown = f"{name}={file}" if name.startswith("data.") else name
    try:
        return _bytes(file, shown).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{shown}: not UTF-8; save it as UTF-8") from None
