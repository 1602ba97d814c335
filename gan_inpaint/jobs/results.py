"""The results of a job on disk: tables, images, latent codes, a summary."""

import json
import logging
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save

from gan_inpaint.data.images import to_uint8
from gan_inpaint.errors import InputError
from gan_inpaint.evaluation.measure import Measurements, Row
from gan_inpaint.inversion.lightning_module import ImageBatch
from gan_inpaint.inversion.optimize import METRICS
from gan_inpaint.inversion.result import Result, mean_history
from gan_inpaint.reporting import columns
from gan_inpaint.reporting.grids import Gallery
from gan_inpaint.runtime.io import atomic_write, read_table, write_csv, write_json, write_png

_logger = logging.getLogger(__name__)
_MAX_PRINTED = 10  # problems on the terminal
_SAVE_AFTER, _SAVE_INTERVAL_FACTOR = 10.0, 100  # seconds; multiples of the last save's duration
_PROCESS_PREFIX = ".process_"  # folders with the results of other processes


class JobResults:
    """Collects a job's results batch by batch and keeps the directory's files up to date.

    Images are written at once. Tables and summary.json are written at most every ten seconds, so
    that a job of many images spends its time on searching. In the directory of an interrupted job
    its results are continued.

    Args:
        directory: the job's.
        count: number of images.
        nz: length of a latent code.
        about: the first keys of the summary.
        process: number among the processes that share a job. All but the first keep their tables
            in their own folders until ``collect``.
        restore: whether to continue the tables of an interrupted job.
    """

    def __init__(
        self,
        directory: Path,
        count: int,
        nz: int,
        about: Mapping[str, Any],
        process: int = 0,
        restore: bool = True,
    ):
        self.directory, self.about = directory, dict(about)
        self._tables = directory / f"{_PROCESS_PREFIX}{process}" if process else directory
        self._rows: list[Row] = []
        self._restarts: list[Row] = []
        self._searched: set[int] = set()
        # one block for all: a small tensor left by every batch would hold its neighbours' memory
        self._codes = torch.full((count, nz), torch.nan)
        self._seconds = 0.0
        self._next_save = time.monotonic() + _SAVE_AFTER
        self.history: list[dict[str, float]] = []
        self.problems: list[str] = []
        if restore and (self._tables / "summary.json").is_file():
            try:
                self._restore()
            except Exception:  # damaged tables and tensors raise many kinds of errors
                raise InputError(
                    f"{directory}: the job's files are damaged; start a new job"
                ) from None

    def _restore(self) -> None:
        summary = json.loads((self._tables / "summary.json").read_text(encoding="utf-8"))
        if "seconds" not in summary:  # it failed before its first result
            return
        # the tables may be a batch ahead of the codes, if the job was killed while it wrote them
        with safe_open(self._tables / "latents.safetensors", framework="pt") as file:
            self._codes[:] = file.get_tensor("z")
            self.history = json.loads(file.metadata()["history"])
        self._seconds = summary["seconds"]
        self._searched = set((~self._codes.isnan().any(dim=1)).nonzero()[:, 0].tolist())
        rows = read_table(self._tables / "results.csv", columns.WORDS)
        self._rows = [r for r in rows if r["image"] in self._searched or "steps" not in r]
        restarts = read_table(self._tables / "restarts.csv", columns.WORDS)
        self._restarts = [row for row in restarts if row["image"] in self._searched]

    @property
    def done(self) -> set[int]:
        """Numbers of the images that need no further search."""
        return {row["image"] for row in self._rows}

    @property
    def searched(self) -> int:
        """How many images have been searched for."""
        return len(self._searched)

    @property
    def gallery(self) -> Gallery:
        """The images that have been searched for."""
        return Gallery(self.directory, [r for r in self._rows if r["image"] in self._searched])

    def add_unread(self, number: int, name: str, problem: str) -> None:
        """Record an image that cannot be read or has no mask."""
        self._warn("skipped", problem)
        row = {"image": number, "name": name, "stopped_by": "failed", "error": problem}
        self._rows.append(row)

    def _warn(self, what: str, problem: str) -> None:
        self.problems.append(problem)
        if len(self.problems) <= _MAX_PRINTED:
            _logger.warning("%s: %s", what, problem)
        elif len(self.problems) == _MAX_PRINTED + 1:
            _logger.warning("%s: more, see error in results.csv", what)

    def add(
        self, batch: ImageBatch, result: Result, measured: Measurements, seconds: float
    ) -> None:
        """Keep a batch's results and write its images.

        Args:
            seconds: duration of the search.
        """
        for path, images in measured.images.items():
            for number, image in zip(batch.numbers, images, strict=True):
                file = self.directory / f"{path.format(f'{number:05d}')}.png"
                write_png(file, to_uint8(image).transpose(1, 2, 0))
        self._add_history(len(batch.numbers), result.history)
        self._seconds += seconds
        self._rows += measured.rows
        self._restarts += measured.restarts
        for number, code in zip(batch.numbers, result.z, strict=True):
            self._codes[number] = code
        self._searched |= set(batch.numbers)
        for row in measured.rows:
            if row.get("error"):
                self._warn("failed", f"{row['name']}: {row['error']}")

    def _add_history(self, images: int, history: list[dict[str, float]]) -> None:
        parts = [(self.searched, self.history), (images, history)]
        self.history = mean_history([part for part in parts if part[0]])

    def collect(self) -> None:
        """Merge the tables of other processes, also of an interrupted job."""
        folders = sorted(self.directory.glob(f"{_PROCESS_PREFIX}*"))
        for folder in folders:
            process = int(folder.name.removeprefix(_PROCESS_PREFIX))
            other = JobResults(self.directory, len(self._codes), self._codes.shape[1], {}, process)
            if not other.searched and (folder / "results.csv").is_file():
                other._rows = read_table(folder / "results.csv", columns.WORDS)
            self._add_history(other.searched, other.history)
            self._rows += [row for row in other._rows if row["image"] not in self.done]
            self._restarts += [r for r in other._restarts if r["image"] not in self._searched]
            self._codes = torch.where(self._codes.isnan(), other._codes, self._codes)
            self._searched |= other._searched
            self._seconds = max(self._seconds, other._seconds)  # they ran in parallel
        if folders:
            self.save("running", at_once=True)
            for folder in folders:
                shutil.rmtree(folder)

    def save(
        self,
        status: str = "running",
        more: Mapping[str, Any] | None = None,
        at_once: bool = False,
    ) -> dict[str, Any]:
        """Write tables and summary.json; returns the summary.

        While the status is ``running``, a save is skipped until 10 s or 100 times the duration of
        the last save have passed, whichever is longer.

        Args:
            more: further keys of the summary.
            at_once: save regardless of that limit.
        """
        started = time.monotonic()
        if status == "running" and not at_once and started < self._next_save:
            return {}
        if not self._searched:
            if self._tables != self.directory:  # keep the reasons for unreadable images
                write_csv(self._tables / "results.csv", self._rows, (*columns.RESULTS, "error"))
            return {}
        self._rows.sort(key=lambda row: row["image"])  # unreadable ones were added first
        self._restarts.sort(key=lambda row: (row["image"], row["restart"]))
        extra = [c for c in columns.EXTRA if any(c in row for row in self._rows)]
        write_csv(self._tables / "results.csv", self._rows, (*columns.RESULTS, *extra))
        told = ("condition",) if any("condition" in row for row in self._restarts) else ()
        write_csv(self._tables / "restarts.csv", self._restarts, (*columns.RESTARTS, *told))
        write_csv(self._tables / "metrics.csv", self.history, ("step", *METRICS))
        # resume reads this file; it holds everything that is not in the tables
        history = {"history": json.dumps(self.history)}
        with atomic_write(self._tables / "latents.safetensors") as temporary:
            temporary.write_bytes(save({"z": self._codes}, history))
        image_steps = sum(row["steps"] for row in self._restarts)
        shares = [row["perceptual_share"] for row in self.history]
        known = [10 ** (-row["psnr_known"] / 20) for row in self._rows if "psnr_known" in row]
        summary = {
            "status": status,
            "error": None,
            **self.about,
            "images": self.searched,
            "stopped_by": dict(Counter(row["stopped_by"] for row in self._rows)),
            **columns.means(self._rows),
            "known_error": float(np.nanmean(known)),
            "perceptual_share": sum(shares) / len(shares),
            "seconds": self._seconds,
            "image_steps": image_steps,
            "image_steps_per_second": image_steps / self._seconds,
            **(more or {}),
        }
        # written last, so every file that it describes exists
        write_json(self._tables / "summary.json", summary)
        ended = time.monotonic()
        self._next_save = ended + max(_SAVE_AFTER, _SAVE_INTERVAL_FACTOR * (ended - started))
        return summary
