"""Read the jobs of a sweep from its directory."""

import csv
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from gan_inpaint.errors import InputError, printable
from gan_inpaint.reporting.columns import COST, MEANS, WORDS, means
from gan_inpaint.runtime.io import read_csv, read_table

_NEEDED = {"results": {"image"}, "restarts": {"image", "objective"}, "metrics": {"step"}}
_DAMAGE = (  # errors from reading damaged files
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    csv.Error,
)
_COMPARED = 8  # images that are compared to decide whether two jobs had the same task


@dataclass
class SweepJob:
    """One job of a sweep; its tables are read on demand.

    Attributes:
        number: in the sweep; for shards, the first one's.
        directories: one, or one per shard, in order.
        summary: its summary.json, or the merged ones of its shards.
        label: the overrides that not all jobs of the sweep have in common.
    """

    number: int
    directories: list[Path]
    summary: Mapping[str, Any]
    label: str = field(default="", compare=False)

    @property
    def done(self) -> bool:
        return self.summary["status"] == "done"

    @cached_property
    def results(self) -> dict[int, dict[str, str]]:
        """Image -> its row of results.csv, in order."""
        rows = {int(row["image"]): row for row in self._table("results.csv")}
        return dict(sorted(rows.items()))

    @cached_property
    def psnrs(self) -> dict[int, float]:
        """Image -> hole PSNR, where measured."""
        rows = self.results.items()
        return {image: float(row["psnr_hole"]) for image, row in rows if row.get("psnr_hole")}

    @cached_property
    def restarts(self) -> list[dict[str, str]]:
        """The rows of restarts.csv."""
        return self._table("restarts.csv")

    @cached_property
    def history(self) -> list[dict[str, str]]:
        """The rows of metrics.csv; for shards, the first one's."""
        return _read(self.directories[0] / "metrics.csv")

    def _table(self, name: str) -> list[dict[str, str]]:
        return [row for directory in self.directories for row in _read(directory / name)]

    @cached_property
    def overrides(self) -> list[str]:
        """The overrides on its command line, ``key=value``."""
        return [o for o in _overrides(self.directories[0]) if not _of_shard(o)]

    @cached_property
    def images(self) -> list[int]:
        """Numbers of the images that it has written."""
        found = (d.glob("images/?????.png") for d in self.directories)
        names = (path.stem for paths in found for path in paths)
        return sorted(int(name) for name in names if name.isdecimal())

    @cached_property
    def task(self) -> str:
        """A hash of its masks and true images: jobs with equal ones can be compared."""
        digest = hashlib.sha256()
        for folder in ("known", "truth"):
            for image in self.images[:_COMPARED]:
                if (file := self.file_of(folder, image)).is_file():
                    digest.update(file.read_bytes())
        return digest.hexdigest()

    @property
    def truth(self) -> bool:
        """Whether the true images are available."""
        return (self.directories[0] / "truth").is_dir()

    def file_of(self, folder: str, image: int, suffix: str = "") -> Path:
        """``folder/00000<suffix>.png`` of an image."""
        directory = self.directories[image % len(self.directories)]
        return directory / folder / f"{image:05d}{suffix}.png"


def read_jobs(sweep: Path) -> list[SweepJob]:
    """The jobs of a sweep that have a summary, in order, labelled by their differences.

    Shards of one set with equal other keys are merged into one job.
    """
    numbers = _numbers(sweep)
    if not numbers:
        raise InputError(f"sweep={sweep}: no finished job in it; name the directory of a sweep")
    summaries: dict[Path, dict[str, Any]] = {}
    groups: dict[tuple[str, ...], list[Path]] = {}
    for directory in sorted(numbers, key=lambda directory: (numbers[directory], directory)):
        summaries[directory] = _summary(directory)
        told = _overrides(directory)
        split = any(override.startswith("shards=") for override in told)
        alike = sorted(override for override in told if not _of_shard(override))
        groups.setdefault((*alike, "" if split else str(directory)), []).append(directory)
    jobs = []
    for directories in groups.values():
        directories.sort(key=lambda directory: summaries[directory].get("shard", 0))
        number = min(numbers[directory] for directory in directories)
        parts = [summaries[directory] for directory in directories]
        job = SweepJob(number, directories, parts[0])
        if parts[0].get("shards", 1) > 1:
            job.summary = _merged(parts, job)
        jobs.append(job)
    common = set(jobs[0].overrides).intersection(*(job.overrides for job in jobs))
    for job in jobs:
        own = [_brief(override) for override in job.overrides if override not in common]
        job.label = " ".join(own) or f"job {job.number}"
    count = Counter(job.label for job in jobs)
    for job in jobs:
        if count[job.label] > 1:
            job.label += f" (job {job.number})"
    return jobs


def _numbers(sweep: Path) -> dict[Path, int]:
    """The directories of a sweep's jobs, and the jobs' numbers.

    ``hydra.sweep.subdir`` may name them otherwise, and nest them.
    """
    found = {}
    for folder, folders, files in os.walk(sweep):
        directory = Path(folder)
        if "summary.json" in files and directory != sweep:
            folders.clear()
            with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
                number = json.loads((directory / "summary.json").read_text("utf-8"))["job"]
                if type(number) is int:
                    found[directory] = number
            if directory not in found and directory.name.isdecimal():
                found[directory] = int(directory.name)  # its summary is damaged
    return found


def _brief(override: str) -> str:
    """An override with at most three digits of a long number.

    Example:
        >>> _brief("lam=0.00015676677195506063"), _brief("lr=0.1"), _brief("norm=l1")
        ('lam=0.000157', 'lr=0.1', 'norm=l1')
    """
    key, _, value = override.partition("=")
    number = _number(value)
    short = len(value) <= 7 or isinstance(number, str)
    return override if short else f"{key}={number:.3g}"


def _summary(directory: Path) -> dict[str, Any]:
    """A job's summary.json; if it or a table is damaged, a summary that says so."""
    damaged = "summary.json"
    try:
        summary = json.loads((directory / damaged).read_text(encoding="utf-8"))
        wrong = summary["status"] == "failed"  # perhaps because a setting is not a number
        for key in ("lam", "lr", "shard", "shards", *MEANS, *COST):
            value = summary.get(key)
            if wrong and key in ("lam", "lr") and isinstance(value, str):
                summary[key] = printable(value)
            elif value is not None and (isinstance(value, bool) or not math.isfinite(float(value))):
                raise ValueError(key)
        for key in ("status", "error", "norm", "prior", "data", "mask", "recipe"):
            value = summary.get(key)
            if not isinstance(value, str | None):
                raise ValueError(key)
            if value:
                summary[key] = printable(value)
        if summary["status"] not in ("running", "done", "failed"):
            raise ValueError("status")
        for table, needed in _NEEDED.items():
            damaged = f"{table}.csv"
            rows = read_table(directory / damaged, WORDS) if (directory / damaged).is_file() else []
            if any(not needed <= row.keys() for row in rows):
                raise ValueError(table)
            if any(not isinstance(row.get("image", 0), int) for row in rows):
                raise ValueError("image")
        if summary["status"] == "done" and not any((directory / "images").glob("?????.png")):
            return summary | {"status": "failed", "error": "its images are missing"}
    except _DAMAGE:
        return {"status": "failed", "error": f"its {damaged} is damaged"}
    return summary


def _merged(parts: Sequence[Mapping[str, Any]], job: SweepJob) -> dict[str, Any]:
    """The summary of one job over the images of all shards."""
    wanted = parts[0]["shards"]
    bad = [part for part in parts if part["status"] != "done"]
    summary = {**parts[0], **means(job.results.values())}
    if bad:
        summary |= {"status": bad[0]["status"], "error": bad[0].get("error")}
    elif len(parts) < wanted:
        missing = f"{wanted - len(parts)} of {wanted} shards are missing"
        summary |= {"status": "running", "error": missing}
    for key in ("images", "seconds", "image_steps"):
        summary[key] = sum(part.get(key) or 0 for part in parts)
    for key in ("perceptual_share", "known_error"):  # means that are not in the tables
        given = [
            (part[key], part.get("images") or 0) for part in parts if part.get(key) is not None
        ]
        if sum(n for _, n in given):
            summary[key] = sum(value * n for value, n in given) / sum(n for _, n in given)
    if summary["seconds"]:
        summary["image_steps_per_second"] = summary["image_steps"] / summary["seconds"]
    return summary


def _overrides(directory: Path) -> list[str]:
    try:
        told = yaml.safe_load((directory / ".hydra" / "overrides.yaml").read_text("utf-8"))
        return [printable(str(override)) for override in told]
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError):
        return []  # missing or damaged


def _of_shard(override: str) -> bool:
    return override.partition("=")[0] in ("shard", "shards")


def _read(file: Path) -> list[dict[str, str]]:
    return read_csv(file) if file.is_file() else []


def ranked(jobs: Iterable[SweepJob]) -> list[SweepJob]:
    """The highest mean hole PSNR first, those without one last."""
    return sorted(jobs, key=lambda job: -(job.summary.get("psnr_hole") or -math.inf))


def varied(jobs: Sequence[SweepJob]) -> dict[str, dict[int, float | str]]:
    """Key -> job number -> value, for the keys that the sweep varied."""
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
