"""The jobs of a sweep, as they lie in its directory."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gan_inpaint.errors import InputError
from gan_inpaint.files import read_csv

_COMPARED = 8  # pictures by which two jobs are told to have had the same task


@dataclass
class Job:
    """One job: its directory, its summary.json, and the rest when it is asked for.

    Attributes:
        number: in the sweep.
        label: what it has that not all jobs of the sweep have, in the words of the command line.
    """

    number: int
    directory: Path
    summary: Mapping[str, Any]
    label: str = field(default="", compare=False)

    @property
    def done(self) -> bool:
        return self.summary["status"] == "done"

    @cached_property
    def results(self) -> dict[int, dict[str, str]]:
        """Image -> its row of results.csv."""
        return {int(row["image"]): row for row in self._table("results.csv")}

    @cached_property
    def psnrs(self) -> dict[int, float]:
        """Image -> its hole PSNR, where that was measured."""
        rows = self.results.items()
        return {image: float(row["psnr_hole"]) for image, row in rows if row.get("psnr_hole")}

    @cached_property
    def restarts(self) -> list[dict[str, str]]:
        """The rows of restarts.csv."""
        return self._table("restarts.csv")

    @cached_property
    def history(self) -> list[dict[str, str]]:
        """The rows of metrics.csv."""
        return self._table("metrics.csv")

    def _table(self, name: str) -> list[dict[str, str]]:
        file = self.directory / name
        return read_csv(file) if file.is_file() else []

    @cached_property
    def overrides(self) -> list[str]:
        """What its command line said, ``key=value``."""
        from omegaconf import OmegaConf

        file = self.directory / ".hydra" / "overrides.yaml"
        return [str(override) for override in OmegaConf.load(file)] if file.is_file() else []

    @cached_property
    def task(self) -> str:
        """A digest of the masks and true images it had to fill: equal ones can be compared."""
        digest = hashlib.sha256()
        for folder in ("known", "truth"):
            for file in sorted((self.directory / folder).glob("?????.png"))[:_COMPARED]:
                digest.update(file.read_bytes())
        return digest.hexdigest()

    def picture(self, folder: str, image: int) -> Path:
        """``folder/00000.png`` of an image."""
        return self.directory / folder / f"{image:05d}.png"


def read_jobs(sweep: Path) -> list[Job]:
    """The jobs of a sweep that have left a summary, in order, and named by what sets them apart."""
    numbered = [p.parent for p in sweep.glob("*/summary.json") if p.parent.name.isdigit()]
    if not numbered:
        raise InputError(f"sweep={sweep}: no finished job in it; name the directory of a sweep")
    jobs = []
    for directory in sorted(numbered, key=lambda directory: int(directory.name)):
        try:
            summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        except ValueError:
            summary = {"status": "failed", "error": "its summary.json is damaged"}
        jobs.append(Job(int(directory.name), directory, summary))
    common = set(jobs[0].overrides).intersection(*(job.overrides for job in jobs))
    for job in jobs:
        own = [override for override in job.overrides if override not in common]
        job.label = " ".join(own) or f"job {job.number}"
    return jobs


def ranked(jobs: Iterable[Job]) -> list[Job]:
    """The highest mean hole PSNR first, those without one last."""
    return sorted(jobs, key=lambda job: -(job.summary.get("psnr_hole") or -math.inf))


def varied(jobs: Sequence[Job]) -> dict[str, dict[int, float | str]]:
    """Key -> job number -> value, of the keys that the sweep varied; numbers where they are."""
    found: dict[str, dict[int, float | str]] = {}
    for job in jobs:
        for override in job.overrides:
            key, _, value = override.lstrip("+").partition("=")
            found.setdefault(key, {})[job.number] = _number(value)
    return {key: values for key, values in found.items() if len(set(values.values())) > 1}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
