"""Grids and tables of a job's images, read from its directory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_inpaint.data.images import grid, highlight_hole, to_float, to_uint8
from gan_inpaint.reporting.columns import BASELINES
from gan_inpaint.reporting.figures import labelled

_ROWS = 32  # of a grid; more would make it too large to view
_WORST = 8  # of these rows show the worst images, so that failures are not hidden


class Gallery:
    """The images that a job has written.

    Args:
        directory: the job's.
        rows: the rows of its results that have images, in order.
    """

    def __init__(self, directory: Path, rows: Sequence[Mapping[str, Any]]):
        self._directory = directory
        self._rows = {row["image"]: row for row in rows}
        self._truth = (directory / "truth").is_dir()

    def methods(self) -> dict[str, Tensor]:
        """The results ("") and the baselines by name, ``(N, C, H, W)`` in [-1, 1]."""
        numbers = list(self._rows)
        paths = {"": "images/{}"} | {name: f"baselines/{{}}_{name}" for name in BASELINES}
        there = {k: path for k, path in paths.items() if self._file(path, numbers[0]).is_file()}
        return {name: self._column(path, numbers) for name, path in there.items()}

    def truth(self) -> Tensor:
        """``(N, C, H, W)`` in [-1, 1]: the true images."""
        return self._column("truth/{}", list(self._rows))

    def known(self, count: int) -> Tensor:
        """``(N, 1, H, W)`` bool: the masks of the first ``count`` images."""
        return self._column("known/{}", list(self._rows)[:count]) > 0

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self._rows)

    def row(self, number: int) -> Mapping[str, Any]:
        """An image's row of the results."""
        return self._rows[number]

    def files(self, number: int) -> dict[str, str]:
        """Heading -> path within the directory of an image's pictures; ``known`` is its mask."""
        paths = self._paths(number) | {"disagreement": "spread/{}", "known": "known/{}"}
        there = {word: path for word, path in paths.items() if self._file(path, number).is_file()}
        return {word: f"{path.format(f'{number:05d}')}.png" for word, path in there.items()}

    def grid(self) -> np.ndarray:
        """One row per image; of more than 32, the first 24 and the 8 worst.

        Columns: damaged, reconstructed, other completions, baselines and, if known, the truth.
        """
        numbers, worst = self.chosen()
        paths = self._paths(numbers[0])
        shown = [self._column(path, numbers) for path in paths.values()]
        known = self._column("known/{}", numbers) > 0
        cells = [column.expand(-1, 3, -1, -1) for column in shown]
        labels = []
        for number in numbers:
            psnr = self._rows[number].get("psnr_hole")
            words = f"{number}" if psnr is None else f"{number} {psnr:.1f} dB"
            labels.append(f"worst: {words}" if number in worst else words)
        return labelled(
            grid([highlight_hole(shown[0], known), *cells]), labels, ["damaged", *paths]
        )

    def table(self) -> list[dict[str, Any]]:
        """One row per image of the grid: name, images as uint8 ``(H, W, C)``, measurements."""
        numbers, _ = self.chosen()
        paths = {"reconstructed": "images/{}"}
        if self._file("images/{}_raw", numbers[0]).is_file():
            paths = {"unblended": "images/{}_raw", "blended": "images/{}"}
        if self._truth:
            paths["true"] = "truth/{}"
        figures = sorted({key for row in self._rows.values() for key in row} - {"image", "name"})
        table = []
        for number in numbers:
            row = self._rows[number]
            panels = {column: self._read(path, number) for column, path in paths.items()}
            known = self._read("known/{}", number)[None] > 0
            damaged = highlight_hole(next(iter(panels.values()))[None], known)[0]
            cells: dict[str, Any] = {"image": number, "name": row["name"]}
            for column, grid_image in {"damaged": damaged, **panels}.items():
                cells[column] = to_uint8(grid_image).transpose(1, 2, 0)
            table.append(cells | {column: row.get(column) for column in figures})
        return table

    def chosen(self) -> tuple[list[int], set[int]]:
        """Numbers of the images to show, and which of them are the worst ones."""
        numbers = list(self._rows)
        if len(numbers) <= _ROWS:
            return numbers, set()
        first, rest = numbers[: _ROWS - _WORST], numbers[_ROWS - _WORST :]
        measured = [number for number in rest if "psnr_hole" in self._rows[number]]
        worst = sorted(measured, key=lambda number: self._rows[number]["psnr_hole"])[:_WORST]
        return (first + worst, set(worst)) if worst else (numbers[:_ROWS], set())

    def _paths(self, number: int) -> dict[str, str]:
        """Heading -> path of a column's images, for the columns that an image has."""
        paths = {"reconstructed": "images/{}"}
        paths |= {f"other {rank}": f"alternatives/{{}}_{rank}" for rank in range(1, 100)}
        paths |= {name: f"baselines/{{}}_{name}" for name in BASELINES}
        paths["true"] = "truth/{}"
        return {word: path for word, path in paths.items() if self._file(path, number).is_file()}

    def _column(self, path: str, numbers: Sequence[int]) -> Tensor:
        return torch.stack([self._read(path, number) for number in numbers])

    def _file(self, path: str, number: int) -> Path:
        return self._directory / f"{path.format(f'{number:05d}')}.png"

    def _read(self, path: str, number: int) -> Tensor:
        """``(C, H, W)`` in [-1, 1]."""
        with Image.open(self._file(path, number)) as grid_image:
            pixels = np.asarray(grid_image)
        return to_float(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
