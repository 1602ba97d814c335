"""What a reconstruction job leaves: measured rows, pictures, latent codes, a summary."""

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from gan_inpaint.data.images import to_uint8
from gan_inpaint.errors import InputError
from gan_inpaint.evaluation.baselines import Baselines
from gan_inpaint.functional.completions import mean_completion
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.inversion.lightning_module import ImageBatch
from gan_inpaint.inversion.optimize import METRICS
from gan_inpaint.inversion.result import Result, fill, mean_history
from gan_inpaint.inversion.state import final_restarts
from gan_inpaint.priors.gan import Prior
from gan_inpaint.reporting import schema
from gan_inpaint.reporting.grids import Gallery
from gan_inpaint.runtime.io import atomic_write, read_table, write_csv, write_json, write_png

_LINES = 10  # of problems on the terminal
_SAVE_AFTER, _SPARING = 10.0, 100  # seconds, and times as long as the last time took
_ASTRAY = {  # why a search failed, by whether it had found anything before it did
    False: "its objective is not a finite number, from the first step on",
    True: "the search went astray, the best before is kept; another lr may do better",
}


class Record:
    """Collects a job's results batch by batch and keeps the directory's files up to date.

    Pictures go to disk at once; tables and summary.json at the first ``save`` after ten seconds, so
    that a job of many images spends its time on searching. A record for the same directory goes on
    with what an interrupted one has left there.

    Args:
        directory: of the job.
        count: of its images.
        nz: length of a latent code.
        truth: whether the pictures are undamaged, so that results can be measured.
        blend: ``none`` or ``poisson``: how the results were filled.
        baselines: other ways to fill the hole, measured beside ours, if wanted.
        about: what the job is: the keys that lead the summary.
    """

    def __init__(
        self,
        directory: Path,
        count: int,
        nz: int,
        truth: bool,
        blend: str,
        baselines: Baselines | None,
        about: Mapping[str, Any],
    ):
        self._directory, self.truth, self._blend = directory, truth, blend
        self._baselines = baselines
        self._about = dict(about)
        self._rows: list[dict[str, Any]] = []
        self._restarts: list[dict[str, Any]] = []
        self._searched: set[int] = set()
        # one block for all: a small tensor left by every batch would hold its neighbours' memory
        self._codes = torch.full((count, nz), torch.nan)
        self._seconds = 0.0
        self._next_save = time.monotonic() + _SAVE_AFTER
        self.history: list[dict[str, float]] = []
        self.problems: list[str] = []
        if (directory / "summary.json").is_file():
            try:
                self._restore()
            except Exception:  # tables and tensors raise whatever they like
                raise InputError(
                    f"{directory}: what the job has left is damaged; start a new job"
                ) from None

    def _restore(self) -> None:
        summary = json.loads((self._directory / "summary.json").read_text(encoding="utf-8"))
        if "seconds" not in summary:  # it failed before there was anything to keep
            return
        # the tables may be a batch ahead of the codes, if the job was killed while it wrote them
        with safe_open(self._directory / "latents.safetensors", framework="pt") as file:
            self._codes[:] = file.get_tensor("z")
            self.history = json.loads(file.metadata()["history"])
        self._seconds = summary["seconds"]
        self._searched = set((~self._codes.isnan().any(dim=1)).nonzero()[:, 0].tolist())
        rows = read_table(self._directory / "results.csv", schema.WORDS)
        self._rows = [r for r in rows if r["image"] in self._searched or "steps" not in r]
        restarts = read_table(self._directory / "restarts.csv", schema.WORDS)
        self._restarts = [row for row in restarts if row["image"] in self._searched]

    @property
    def done(self) -> set[int]:
        """Numbers of the images that need no search any more."""
        return {row["image"] for row in self._rows}

    @property
    def searched(self) -> int:
        """How many images were searched for so far."""
        return len(self._searched)

    def add_unread(self, number: int, name: str, problem: str) -> None:
        """A picture that could not be read, or has no mask: a line and a row that say so."""
        self._say("skipped", problem)
        row = {"image": number, "name": name, "stopped_by": "failed", "error": problem}
        self._rows.append(row)

    def _say(self, what: str, problem: str) -> None:
        self.problems.append(problem)
        if len(self.problems) <= _LINES:
            print(f"{what}: {problem}", file=sys.stderr)
        elif len(self.problems) == _LINES + 1:
            print(f"{what}: more, see error in results.csv", file=sys.stderr)

    def add(
        self, batch: ImageBatch, result: Result, every: Tensor, seconds: float, prior: Prior
    ) -> None:
        """Measure a batch and write its pictures.

        Args:
            every: ``(B, restarts, C, H, W)``, what every restart generates.
            seconds: that the search took.
        """
        batch = replace(batch, images=batch.images.cpu(), known=batch.known.cpu())
        hole = (~batch.known).float()
        raw = fill(batch.images, batch.known, result.generated, "none")
        others = self._baselines(batch.images, batch.known) if self._baselines else {}
        restarts = self._restart_rows(batch, result, every, hole)
        table: dict[str, list] = {
            "image": list(batch.numbers),
            "name": list(batch.names),
            "restart": result.restart.tolist(),
            "steps": result.steps.tolist(),
            "stopped_by": result.stopped_by,
            "objective": result.objective.tolist(),
            "contextual": result.contextual.tolist(),
            "psnr_known": psnr(result.generated - batch.images, batch.known.float()).tolist(),
            "z_norm": (result.z.norm(dim=1) / prior.nz**0.5).tolist(),
            "binding": result.binding.tolist(),
        }
        failed = [reason == "failed" for reason in result.stopped_by]
        if any(failed):
            finite = result.objective.isfinite().tolist()
            table["error"] = [
                _ASTRAY[good] if bad else None for bad, good in zip(failed, finite, strict=True)
            ]
        if prior.discriminator is not None:
            table["perceptual"] = result.perceptual.tolist()
        if every.shape[1] > 1:
            squares = (result.spread.square() * hole).sum(dim=(1, 2, 3)) / hole.sum(dim=(1, 2, 3))
            table["spread"] = squares.sqrt().tolist()
        if self.truth:
            error = result.images - batch.images
            table["psnr_hole"] = psnr(error, hole).tolist()
            table["psnr"] = psnr(error, torch.ones_like(hole)).tolist()
            # on [0, 1], as it is published: SSIM changes with an offset
            unit = (result.images + 1) / 2, (batch.images + 1) / 2
            similarity = ssim(*unit, data_range=1.0, reduction="none")
            table["ssim"] = torch.as_tensor(similarity).reshape(-1).tolist()
            if every.shape[1] > 1:
                mean = mean_completion(every, final_restarts(result.rows, len(batch.numbers)))
                mean = fill(batch.images, batch.known, mean, self._blend)
                table["psnr_hole_average"] = psnr(mean - batch.images, hole).tolist()
            if self._blend != "none":
                table["psnr_hole_raw"] = psnr(raw - batch.images, hole).tolist()
            for name, picture in others.items():
                table[f"psnr_hole_{name}"] = psnr(picture - batch.images, hole).tolist()
        self._write_pictures(batch, result, raw, others)
        parts = [(self.searched, self.history), (len(batch.numbers), result.history)]
        self.history = mean_history([part for part in parts if part[0]])
        self._seconds += seconds
        self._rows += _rows(table)
        self._restarts += restarts
        for number, code in zip(batch.numbers, result.z, strict=True):
            self._codes[number] = code
        self._searched |= set(batch.numbers)
        for name, problem in zip(batch.names, table.get("error", ()), strict=False):
            if problem:
                self._say("failed", f"{name}: {problem}")

    def _restart_rows(
        self, batch: ImageBatch, result: Result, every: Tensor, hole: Tensor
    ) -> list[dict[str, Any]]:
        rows, (count, restarts) = result.rows, every.shape[:2]
        table: dict[str, list] = {
            "image": [n for n in batch.numbers for _ in range(restarts)],
            "restart": list(range(restarts)) * count,
            "steps": rows.steps.tolist(),
            "stopped_by": rows.reasons,
            "objective": rows.objective.tolist(),
        }
        if self.truth:
            error = (every - batch.images[:, None]).flatten(0, 1)
            table["psnr_hole"] = psnr(error, hole.repeat_interleave(restarts, dim=0)).tolist()
        return _rows(table)

    def _write_pictures(
        self, batch: ImageBatch, result: Result, raw: Tensor, others: Mapping[str, Tensor]
    ) -> None:
        pictures = {"images/{}": result.images, "known/{}": batch.known * 2.0 - 1}
        pictures["generated/{}"] = result.generated
        if self.truth:
            pictures["truth/{}"] = batch.images
        if self._blend != "none":
            pictures["images/{}_raw"] = raw
        if len(result.rows.z) > len(batch.numbers):
            pictures["spread/{}"] = result.spread * 2 - 1  # black: all restarts agree
        if result.alternatives.shape[1] > 1:
            for rank, images in enumerate(result.alternatives.unbind(1)):
                pictures[f"alternatives/{{}}_{rank}"] = images
        pictures |= {f"baselines/{{}}_{name}": images for name, images in others.items()}
        for path, images in pictures.items():
            for number, image in zip(batch.numbers, images, strict=True):
                file = self._directory / f"{path.format(f'{number:05d}')}.png"
                write_png(file, to_uint8(image).transpose(1, 2, 0))

    def save(
        self, status: str = "running", more: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Write tables and summary.json; returns the summary.

        While the status is ``running`` nothing happens within ten seconds of the last time, or a
        hundred times as long as that took.

        Args:
            more: for the summary.
        """
        started = time.monotonic()
        if not self._searched or (status == "running" and started < self._next_save):
            return {}
        self._rows.sort(key=lambda row: row["image"])  # unread ones came before their batch
        self._restarts.sort(key=lambda row: (row["image"], row["restart"]))
        extra = [c for c in schema.EXTRA if any(c in row for row in self._rows)]
        write_csv(self._directory / "results.csv", self._rows, (*schema.RESULTS, *extra))
        write_csv(self._directory / "restarts.csv", self._restarts, schema.RESTARTS)
        write_csv(self._directory / "metrics.csv", self.history, ("step", *METRICS))
        # a resume goes by this file: all that is not in the tables, in one piece
        history = {"history": json.dumps(self.history)}
        with atomic_write(self._directory / "latents.safetensors") as temporary:
            temporary.write_bytes(save({"z": self._codes}, history))
        image_steps = sum(row["steps"] for row in self._restarts)
        shares = [row["perceptual_share"] for row in self.history]
        known = [10 ** (-row["psnr_known"] / 20) for row in self._rows if "psnr_known" in row]
        summary = {
            "status": status,
            "error": None,
            **self._about,
            "images": self.searched,
            "stopped_by": dict(Counter(row["stopped_by"] for row in self._rows)),
            **schema.means(self._rows),
            "known_error": float(np.nanmean(known)),
            "perceptual_share": sum(shares) / len(shares),
            "seconds": self._seconds,
            "image_steps": image_steps,
            "image_steps_per_second": image_steps / self._seconds,
            **(more or {}),
        }
        # last: what it tells of is there
        write_json(self._directory / "summary.json", summary)
        ended = time.monotonic()
        self._next_save = ended + max(_SAVE_AFTER, _SPARING * (ended - started))
        return summary

    @property
    def gallery(self) -> Gallery:
        """The pictures of the images that were searched for."""
        return Gallery(self._directory, [r for r in self._rows if r["image"] in self._searched])


def _rows(table: Mapping[str, list]) -> list[dict[str, Any]]:
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
