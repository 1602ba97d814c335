"""What a reconstruction job leaves: measured rows, pictures, latent codes, a summary."""

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from gan_inpaint import report
from gan_inpaint.files import atomic, write_csv, write_json, write_png
from gan_inpaint.inpainting import Result, final_restarts
from gan_inpaint.latent import STOPPED_BY
from gan_inpaint.losses import psnr
from gan_inpaint.pictures import grid, to_uint8
from gan_inpaint.prior import Prior

_GRID_ROWS = 32  # more would make a picture that nobody can open
_LINES = 10  # of problems on the terminal


@dataclass
class Batch:
    """Pictures that are searched together.

    Attributes:
        numbers: of the images in the job, counted from 0.
        names: where they came from.
        images: ``(B, C, H, W)`` in [-1, 1].
        known: ``(B, 1, H, W)`` bool.
    """

    numbers: list[int]
    names: list[str]
    images: Tensor
    known: Tensor


class Record:
    """Collects a job's results batch by batch; pictures go to disk at once.

    Args:
        directory: of the job.
        truth: whether the pictures are undamaged, so that results can be measured.
        fill: ``(C, H, W)`` baseline that fills the hole in ``psnr_hole_mean``, if wanted.
    """

    def __init__(self, directory: Path, truth: bool, fill: Tensor | None):
        self._directory, self._truth, self._fill = directory, truth, fill
        self._rows: list[dict[str, Any]] = []
        self._restarts: list[dict[str, Any]] = []
        self._codes: dict[int, Tensor] = {}
        self._grid: list[list[Tensor]] = []
        self._seconds = 0.0
        self.problems: list[str] = []

    @property
    def searched(self) -> int:
        """How many images were searched for so far."""
        return len(self._codes)

    def add_unread(self, number: int, name: str, problem: str) -> None:
        """A picture that could not be read, or has no mask: a line and a row that say so."""
        self.problems.append(problem)
        if len(self.problems) <= _LINES:
            print(f"skipped: {problem}", file=sys.stderr)
        elif len(self.problems) == _LINES + 1:
            print("skipped: more, see stopped_by=failed in results.csv", file=sys.stderr)
        self._rows.append({"image": number, "name": name, "stopped_by": "failed"})

    def add(self, batch: Batch, result: Result, seconds: float, prior: Prior) -> None:
        """Measure a batch and write its pictures."""
        self._seconds += seconds
        hole = (~batch.known).float()
        average = self._add_restarts(batch, result, hole, prior)
        columns: dict[str, list] = {
            "image": batch.numbers,
            "name": batch.names,
            "restart": result.restart.tolist(),
            "steps": result.steps.tolist(),
            "stopped_by": result.stopped_by,
            "objective": result.objective.tolist(),
            "contextual": result.contextual.tolist(),
        }
        if prior.discriminator is not None:
            columns["perceptual"] = result.perceptual.tolist()
        if self._truth:
            error = result.images - batch.images
            columns["psnr_hole"] = psnr(error, hole).tolist()
            columns["psnr"] = psnr(error, torch.ones_like(hole)).tolist()
            # on [0, 1], as it is published: SSIM changes with an offset
            unit = (result.images + 1) / 2, (batch.images + 1) / 2
            similarity = ssim(*unit, data_range=1.0, reduction="none")
            columns["ssim"] = torch.as_tensor(similarity).reshape(-1).tolist()
            if len(result.rows.z) > len(batch.numbers):
                columns["psnr_hole_average"] = average
            if self._fill is not None:
                columns["psnr_hole_mean"] = psnr(self._fill - batch.images, hole).tolist()
        self._rows += _rows(columns)
        for number, code in zip(batch.numbers, result.z, strict=True):
            self._codes[number] = code
        self._write_pictures(batch, result)

    def _add_restarts(
        self, batch: Batch, result: Result, hole: Tensor, prior: Prior
    ) -> list[float]:
        """Measure every restart by itself; returns the PSNR of each image's average over them."""
        rows, count = result.rows, len(batch.numbers)
        columns: dict[str, list] = {
            "image": [n for n in batch.numbers for _ in range(len(rows.z) // count)],
            "restart": list(range(len(rows.z) // count)) * count,
            "steps": rows.steps.tolist(),
            "stopped_by": [STOPPED_BY[reason] for reason in rows.stopped_by],
            "objective": rows.objective.tolist(),
        }
        average: list[float] = []
        if self._truth:
            with torch.no_grad():
                every = torch.cat([prior.generator(z) for z in rows.z.split(256)])
            error = every.unflatten(0, (count, -1)) - batch.images[:, None]
            per_restart = psnr(error.flatten(0, 1), hole.repeat_interleave(error.shape[1], dim=0))
            columns["psnr_hole"] = per_restart.tolist()
            weight = final_restarts(rows, count).float()[:, :, None, None, None]
            average = psnr((error * weight).sum(dim=1) / weight.sum(dim=1), hole).tolist()
        self._restarts += _rows(columns)
        return average

    def _write_pictures(self, batch: Batch, result: Result) -> None:
        known = (batch.known.numpy() * 255).astype(np.uint8)
        for index, number in enumerate(batch.numbers):
            folders = {"images": to_uint8(result.images[index]), "known": known[index]}
            if self._truth:
                folders["truth"] = to_uint8(batch.images[index])
            for folder, pixels in folders.items():
                write_png(self._directory / folder / f"{number:05d}.png", pixels.transpose(1, 2, 0))
            if len(self._grid) < _GRID_ROWS:
                corrupted = torch.where(batch.known[index], batch.images[index], 0.0)
                cells = [corrupted, result.images[index]]
                self._grid.append(cells + [batch.images[index]] * self._truth)

    def write(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Write the tables, the grid and summary.json; returns the summary.

        Args:
            about: what the job was: the keys that lead the summary.
        """
        self._rows.sort(key=lambda row: row["image"])  # unread ones came before their batch
        extra = [c for c in report.EXTRA_COLUMNS if any(c in row for row in self._rows)]
        write_csv(self._directory / "results.csv", self._rows, (*report.RESULT_COLUMNS, *extra))
        write_csv(self._directory / "restarts.csv", self._restarts, report.RESTART_COLUMNS)
        write_png(self._directory / "grid.png", self.grid())
        first = next(iter(self._codes.values()))
        missing = torch.full_like(first, torch.nan)
        z = torch.stack([self._codes.get(number, missing) for number in range(len(self._rows))])
        with atomic(self._directory / "latents.safetensors") as temporary:
            temporary.write_bytes(save({"z": z}))
        image_steps = sum(row["steps"] for row in self._restarts)
        summary = {
            **about,
            "images": len(self._codes),
            "stopped_by": dict(Counter(row["stopped_by"] for row in self._rows)),
            **report.means(self._rows),
            "seconds": self._seconds,
            "image_steps": image_steps,
            "image_steps_per_second": image_steps / self._seconds,
        }
        write_json(self._directory / "summary.json", summary)
        return summary

    def grid(self) -> np.ndarray:
        """Corrupted, reconstructed and, where there is one, true; the first 32 images."""
        return grid([torch.stack(column) for column in zip(*self._grid, strict=True)])


def _rows(columns: Mapping[str, list]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
