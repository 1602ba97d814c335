"""Pictures from Hugging Face data sets."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from gan_inpaint.errors import InputError
from gan_inpaint.pictures import centre_square, fitted
from gan_inpaint.prior import Prior

if TYPE_CHECKING:
    import datasets


class Hub:
    """A Hugging Face data set with an image column; needs the ``hub`` extra.

    Args:
        name: of a data set on the hub, or a local loader: ``imagefolder``, ``parquet``.
        path: what a local loader reads: a folder, or a file.
        config: configuration of the data set, if it has several.
        image: the column.
        splits: which of its splits is ``train`` and which ``val``; any of their slices, such as
            ``train[:90%]``.
        grey: as for ``Folder``.
        license: of the data, for the metadata of the trained prior.
    """

    truth = True

    def __init__(
        self,
        size: int,
        channels: int,
        split: str | None,
        prior: Prior | None = None,
        *,
        name: str | None,
        path: str | None,
        config: str | None,
        image: str,
        splits: dict[str, str],
        grey: bool,
        license: str,
    ):
        if name is None:
            raise InputError("data=hub needs data.name=, a data set's name")
        self.dataset = name
        self.license = license
        if set(splits) != {"train", "val"}:
            raise InputError(f"data.splits={splits}: must name the splits for train and val")
        part = "+".join(splits.values()) if split == "all" else splits[split or "val"]
        self._rows = _rows(self.dataset, path, config, part)
        if image not in self._rows.column_names:
            raise InputError(
                f"data.image={image}: the data set has no such column, it has"
                f" {', '.join(self._rows.column_names)}"
            )
        self._rows = self._rows.select_columns([image])
        self._image, self._grey, self._size, self._channels = image, grey, size, channels
        self.names = [f"{part}_{index:06d}" for index in range(len(self._rows))]
        self.fingerprint = f"hub {size} {channels} {grey} {self._rows._fingerprint}"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> np.ndarray:
        shown = f"{self.dataset} {self.names[index]}"
        try:
            picture = self._rows[index][self._image]
        except Exception as problem:  # a damaged picture raises whatever its decoder likes
            raise InputError(f"{shown}: cannot be read ({problem})") from None
        if not isinstance(picture, Image.Image):
            raise InputError(f"data.image={self._image}: holds no pictures; name an image column")
        box = centre_square(picture)
        return fitted(picture, box, shown, self._size, self._channels, self._grey)


def _rows(name: str, path: str | None, config: str | None, split: str) -> "datasets.Dataset":
    try:
        import datasets
    except ImportError:
        raise InputError("data=hub needs an extra: pip install 'gan_inpaint[hub]'") from None
    kind = "data_dir" if path and Path(path).is_dir() else "data_files"
    local = {kind: path} if path else {}
    try:
        return datasets.load_dataset(name, config, split=split, **local)
    except Exception as problem:  # network, names, splits and files: each has errors of its own
        reason = " ".join(str(problem).split())
        raise InputError(f"data.name={name}: cannot be loaded ({reason})") from None
