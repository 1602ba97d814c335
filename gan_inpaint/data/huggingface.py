"""Images from Hugging Face data sets."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from gan_inpaint.data.images import center_crop, crop_and_resize, open_image
from gan_inpaint.errors import InputError
from gan_inpaint.functional.shapes import Size

if TYPE_CHECKING:
    import datasets


class Hub:
    """A Hugging Face data set with an image column; needs the ``hub`` extra.

    Args:
        name: a data set on the hub, a local loader (``imagefolder``, ``parquet``), or a folder
            written by ``save_to_disk``.
        path: the folder or file that a local loader reads.
        config: configuration of the data set, if it has several.
        image: the column with the images, decoded or as encoded bytes.
        splits: which of its splits is ``train`` and which is ``val``; slices such as
            ``train[:90%]`` work too.
        grey: as for ``Folder``.
        license: of the data, for the metadata of the trained prior.
        condition: the column that says what an image shows, if any; a class by its name.
    """

    truth = True
    notes: Sequence[str] = ()

    def __init__(
        self,
        size: Size,
        channels: int,
        split: str | None,
        *,
        name: str | None,
        path: str | None,
        config: str | None,
        image: str,
        splits: dict[str, str],
        grey: bool,
        license: str,
        condition: str | None = None,
    ):
        if name is None:
            raise InputError("data=hub needs data.name=, a data set's name")
        self.dataset = name
        self.license = license
        if set(splits) != {"train", "val"}:
            raise InputError(f"data.splits={splits}: must name the splits for train and val")
        part = "+".join(splits.values()) if split == "all" else splits[split or "val"]
        self._rows = _rows(self.dataset, path, config, part)
        if not len(self._rows):
            raise InputError(
                f"data.splits: {part} of {path or name} has no row; choose other slices with"
                " data.splits.train= and data.splits.val="
            )
        if image not in self._rows.column_names:
            raise InputError(
                f"data.image={image}: the data set has no such column, it has"
                f" {', '.join(self._rows.column_names)}"
            )
        self._conditions: Sequence[Any] | None = None
        if condition is not None:
            self._conditions = _column(self._rows, condition)
        self._rows = self._rows.select_columns([image]).with_format(None)
        self._image, self._grey, self._size, self._channels = image, grey, size, channels
        self.names = [f"{part}_{index:06d}" for index in range(len(self._rows))]
        self.fingerprint = f"hub {size} {channels} {grey} {self._rows._fingerprint}"

    def __len__(self) -> int:
        return len(self.names)

    def condition(self, index: int) -> Any:
        return None if self._conditions is None else self._conditions[index]

    def content(self, index: int) -> bytes:
        return f"{self.fingerprint} {index}".encode()

    def size_of(self, index: int) -> int:
        return 0

    def __getitem__(self, index: int) -> np.ndarray:
        shown = f"{self.dataset} {self.names[index]}"
        try:
            cell = self._rows[index][self._image]
        except Exception as problem:  # decoders raise many kinds of errors on damaged images
            raise InputError(f"{shown}: cannot be read ({problem})") from None
        image = self._picture(cell, shown)
        box = center_crop(image, self._size)
        return crop_and_resize(image, box, shown, self._size, self._channels, self._grey)

    def _picture(self, cell: Any, shown: str) -> Image.Image:
        """The image in a cell, which may also hold a file's bytes, alone or in a mapping."""
        if isinstance(cell, Mapping) and {"bytes", "path"} & cell.keys():
            if cell.get("bytes") is None and cell.get("path"):
                return open_image(Path(cell["path"]), shown)
            cell = cell.get("bytes")
        if cell is None:
            raise InputError(f"{shown}: the row has no image (null)")
        if isinstance(cell, bytes):
            return open_image(BytesIO(cell), shown)
        if not isinstance(cell, Image.Image):
            raise InputError(
                f"data.image={self._image}: holds {type(cell).__name__}, not images; choose an"
                " image column"
            )
        return cell


def _column(rows: "datasets.Dataset", name: str) -> list[Any]:
    """The values of a column; classes by their names."""
    if name not in rows.column_names:
        raise InputError(
            f"data.condition={name}: the data set has no such column, it has"
            f" {', '.join(rows.column_names)}"
        )
    values, feature = list(rows.with_format(None)[name]), rows.features[name]
    if hasattr(feature, "int2str"):  # a ClassLabel
        return [None if v is None or v < 0 else feature.int2str(v) for v in values]
    return values


def _rows(name: str, path: str | None, config: str | None, split: str) -> "datasets.Dataset":
    try:
        import datasets
    except ImportError:
        raise InputError("data=hub needs an extra: pip install 'gan_inpaint[hub]'") from None
    saved = next((p for p in (name, path) if p and _is_saved(Path(p))), None)
    if saved is not None:
        return _from_disk(saved, split).with_format(None)
    kind = "data_dir" if path and Path(path).is_dir() else "data_files"
    local = {kind: path} if path else {}
    try:
        return datasets.load_dataset(name, config, split=split, **local)
    except Exception as problem:  # network, names, splits and files each raise their own errors
        reason = " ".join(str(problem).split())
        raise InputError(f"data.name={name}: cannot be loaded ({reason})") from None


def _is_saved(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote a folder, with one split or several."""
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def _from_disk(folder: str, split: str) -> "datasets.Dataset":
    """A split of a saved data set, or a slice of it; a single saved split is ``train``."""
    import datasets

    try:
        content = datasets.load_from_disk(folder)
        splits = content if isinstance(content, datasets.DatasetDict) else {"train": content}
        parts = [_sliced(splits, part.strip()) for part in split.split("+")]
        return datasets.concatenate_datasets(parts)
    except InputError:
        raise
    except Exception as problem:
        reason = " ".join(str(problem).split())
        raise InputError(f"{folder}: cannot be loaded ({reason})") from None


def _sliced(splits: "Mapping[str, datasets.Dataset]", part: str) -> "datasets.Dataset":
    """A split such as ``train``, or a slice such as ``train[:90%]``."""
    import datasets

    name = part.partition("[")[0]
    if name not in splits:
        raise InputError(
            f"data.splits: the data set has no split {name}, only {', '.join(splits)}; name those"
            " with data.splits.train= and data.splits.val="
        )
    instruction = datasets.ReadInstruction.from_spec(part)
    (own,) = instruction.to_absolute({name: len(splits[name])})
    rows = range(len(splits[name]))[own.from_ : own.to]
    return splits[name].select(rows or [])  # an empty range is refused where it lies at the end
