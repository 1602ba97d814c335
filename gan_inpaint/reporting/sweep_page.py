"""The page of a sweep: which setting won, by how much, and all jobs side by side."""

import math
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import yaml
from scipy.special import stdtrit

from gan_inpaint.data.images import MISSING
from gan_inpaint.reporting import pages, yeh2017
from gan_inpaint.reporting.columns import BASELINES
from gan_inpaint.reporting.figures import thinned
from gan_inpaint.reporting.statistics import (
    Lead,
    by_task,
    differences,
    findings,
    leads,
    task_label,
)
from gan_inpaint.reporting.sweep import SweepJob, ranked, varied

_CONDITIONS, _COMPARED = 20, 8  # rows, and jobs in columns, of the table of conditions
_NAMED = 3  # images that are named, of those on which the best job loses
_NUMBERS = 100_000  # PSNRs on a page
_COMBINATIONS = 64  # of two keys' values, whose largest deviation is judged
_SCRIPTS = (
    *("vendor/d3.min.js", "vendor/plot.umd.min.js"),
    *("shared.js", "effects.js", "charts.js", "viewer.js", "sweep.js"),
)
_PRIMARY = (  # columns that are shown at once
    *("status", "error", "psnr_hole", "psnr_hole_average", "psnr_hole_nearest"),
    *("psnr_hole_linear", "psnr_hole_network", "feature_distance", "seconds"),
)


def write(
    sweep: Path, jobs: list[SweepJob], columns: Sequence[str], table: Sequence[Mapping[str, str]]
) -> None:
    """Write ``index.html`` of a sweep.

    Args:
        columns: of the table of jobs: keys of their summaries; empty columns are left out.
        table: the rows of the paper's table, if the sweep was for that.
    """
    columns = [c for c in columns if any(job.summary.get(c) is not None for job in jobs)]
    columns = [c for c in _PRIMARY if c in columns] + [c for c in columns if c not in _PRIMARY]
    if all(job.done for job in jobs):
        columns.remove("status")
    done = ranked(job for job in jobs if job.done)
    rest = [job for job in jobs if not job.done]
    keys = varied(jobs)
    columns = [c for c in columns if c not in keys]
    tasks = by_task(done)
    pages.write_page(
        sweep / "index.html",
        "sweep",
        _payload(jobs, done, tasks),
        _SCRIPTS,
        title=f"Comparison of {sweep.name}",
        about=_about(sweep, jobs),
        # the paper's table has four masks, none of which is the best
        findings=[] if table else findings(jobs),
        leads=[_lead(job, found) for job, found in leads(jobs)],
        best=done[0].label if done else "",
        paper=table,
        protocol=yeh2017.PROTOCOL,
        tasks=[task_label(group, done) for group in tasks],
        columns=[
            {
                "name": name,
                "more": name not in ("job", *keys, *_PRIMARY),
                "number": any(isinstance(job.summary.get(name), int | float) for job in jobs),
            }
            for name in ("job", *keys, *columns)
        ],
        jobs=[
            {
                "job": job.number,
                "label": job.label,
                "status": job.summary["status"],
                "error": job.summary.get("error") or "",
                "page": _page(sweep, job),
                "cells": _cells(job, keys, columns),
            }
            for job in (*done, *rest)
        ],
        conditions=_conditions(done),
        bars=_bars(done[0]) if len(tasks) == 1 and not table else [],
    )


def _page(sweep: Path, job: SweepJob) -> str:
    """The address of a job's page, if it has one: that of one shard is not that of the job."""
    page = job.directories[0] / "index.html"
    if len(job.directories) > 1 or not page.is_file():
        return ""
    return quote(page.relative_to(sweep).as_posix())


def _cells(
    job: SweepJob, keys: Mapping[str, Mapping[int, Any]], columns: Sequence[str]
) -> list[dict[str, Any]]:
    """The row of a job: text, value to sort by, CSS class."""
    cells = [_cell(job.number)]
    cells += [_cell(values.get(job.number)) for values in keys.values()]
    for column in columns:
        cell = _cell(job.summary.get(column), "" if column in _PRIMARY else "more")
        error = _standard_error(job) if cell["text"] else None
        if column == "psnr_hole" and error is not None:
            cell["text"] = f"{job.summary[column]:.2f} ± {error:.2f}"
        cells.append(cell)
    return cells


def _cell(value: Any, kind: str = "") -> dict[str, Any]:
    number = isinstance(value, int | float)
    text = pages.short(value)
    return {"text": text, "value": value if number else None, "kind": f"{kind} {'number' * number}"}


def _lead(best: SweepJob, found: Lead) -> dict[str, str]:
    named = list(found.lost.items())[:_NAMED]
    worst = ", ".join(f"{image} (by {behind:.1f} dB)" for image, behind in named)
    return {
        "best": best.label,
        "against": found.other,
        "lead, dB": f"{found.mean:+.2f}",
        "± s.e.": f"{found.error:.2f}",
        "against the noise": found.verdict,
        "images lost": f"{len(found.lost)} of {found.images}",
        "largest losses on image": worst,
    }


def _conditions(jobs: Sequence[SweepJob]) -> list[dict[str, str]]:
    """Mean hole PSNR of the best jobs by what the images show, of conditional priors."""
    jobs = jobs[:_COMPARED]
    groups: dict[str, dict[int, list[float]]] = {}
    for job in jobs:
        for image, psnr in job.psnrs.items():
            words = job.results[image].get("condition")
            if words and math.isfinite(psnr):
                groups.setdefault(words, {}).setdefault(job.number, []).append(psnr)
    if not 1 < len(groups) <= _CONDITIONS:
        return []
    table = []
    for words, found in sorted(groups.items()):
        line = {"condition": words}
        for job in jobs:
            own = found.get(job.number)
            line[job.label] = f"{np.mean(own):.2f} ({len(own)})" if own else ""
        table.append(line)
    return table


def _about(sweep: Path, jobs: Sequence[SweepJob]) -> list[tuple[str, str]]:
    """What was run, on which data, with which versions."""
    found = []
    told = sweep / "multirun.yaml"
    with suppress(OSError, ValueError, LookupError, TypeError, RecursionError, yaml.YAMLError):
        overrides = yaml.safe_load(told.read_text("utf-8"))["hydra"]["overrides"]
        sweeper = [word for word in overrides["hydra"] if str(word).startswith("hydra/sweeper")]
        sweeper += [word for word in overrides["hydra"] if str(word).startswith("hydra.sweeper")]
        line = shlex.join(map(str, [*sweeper, *overrides["task"]]))
        found.append(("command", f"python -m gan_inpaint.reconstruct -m {line}"))
    for key in ("prior", "data", "mask", "seed", "images", "restarts"):
        values = {str(job.summary[key]) for job in jobs if job.summary.get(key) is not None}
        if values:
            found.append((key, ", ".join(sorted(values))))
    known = (job.summary["environment"] for job in jobs if job.summary.get("environment"))
    return found + pages.versions(next(known, {}))


def _bars(best: SweepJob) -> list[dict[str, Any]]:
    """Mean hole PSNR of the best job, its average and the baselines, for a bar chart."""
    columns = {"psnr_hole": "this search", "psnr_hole_average": "mean of its restarts"}
    columns |= {f"psnr_hole_{name}": name for name in BASELINES}
    values = {words: best.summary.get(column) for column, words in columns.items()}
    there = {words: value for words, value in values.items() if value is not None}
    if not {*there} - {"this search", "mean of its restarts"}:
        return []
    top = max(there.values())
    return [
        {"name": words, "value": value, "share": 100 * max(value, 0) / top}
        for words, value in there.items()
    ]


def _payload(
    jobs: list[SweepJob], done: list[SweepJob], tasks: list[list[SweepJob]]
) -> dict[str, Any]:
    """What the page's scripts work on: figures, curves, images; the best jobs first."""
    values = varied(jobs)
    figures = _figures(done)
    size = max((pages.cell_size(j.directories[0] / "images") for j in done), default=(0, 0))
    pictures = 2 + max((len(_more_pictures(job)) for job in done), default=0)
    if pages.images_shown(len(done), pictures) < pages.images_shown(len(done), 2):
        pictures = 2
    found: list[dict[str, Any]] = []
    described = []
    for number, group in enumerate(tasks):
        chosen = _page_images(group, pages.images_shown(len(done), pictures))
        common = _common(group)[: max(50, _NUMBERS // len(done))]
        first = group[0]
        described.append(
            {
                "images": [
                    {"number": i, "name": first.results.get(i, {}).get("name", ""), "chosen": why}
                    for i, why in chosen.items()
                ],
                "truth": first.truth,
                "sprite": _sprite(
                    first, ["truth" if first.truth else "images", "known"], list(chosen), size
                ),
                "t": _quantiles(len(common)),
            }
        )
        for job in group:
            rows = ["images", "generated", *_more_pictures(job)[: pictures - 2]]
            measured = (
                common
                and set(common) <= job.psnrs.keys()
                and job.summary.get("psnr_hole") is not None
            )
            found.append(
                {
                    "job": job.number,
                    "label": job.label,
                    "task": number,
                    "values": {k: v[job.number] for k, v in values.items() if job.number in v},
                    "figures": {
                        key: job.summary.get(key)
                        for key in dict.fromkeys(["psnr_hole", *(f["name"] for f in figures)])
                    },
                    "psnrs": [round(job.psnrs[i], 4) for i in common] if measured else None,
                    "norm": job.summary.get("norm"),
                    "curve": _curve(job),
                    "restarts": _restarts(job, list(chosen)),
                    "shown": {i: job.psnrs[i] for i in chosen if i in job.psnrs},
                    "rows": rows,
                    "sprite": _sprite(job, rows, list(chosen), size),
                }
            )
    return {
        "keys": list(values),
        "missing": list(MISSING),
        "width": size[0],
        "height": size[1],
        "figures": figures,
        "tasks": described,
        "jobs": found,
    }


def _common(group: Sequence[SweepJob]) -> list[int]:
    """The images that the measured jobs of a task have in common.

    Jobs with less than half as many images as others are left out.
    """
    sets = [
        {image for image, psnr in job.psnrs.items() if math.isfinite(psnr)}
        for job in group
        if job.summary.get("psnr_hole") is not None
    ]
    most = max(map(len, sets), default=0)
    return sorted(set.intersection(*(s for s in sets if 2 * len(s) > most))) if most else []


def _quantiles(images: int) -> list[float]:
    """Student's 97.5 % quantile for the largest of m comparisons (Bonferroni), by m from 0."""
    return [float(stdtrit(max(images - 1, 1), 1 - 0.025 / max(m, 1))) for m in range(_COMBINATIONS)]


def _figures(jobs: Sequence[SweepJob]) -> list[dict[str, Any]]:
    """Two figures to weigh against each other: those that were optimised, or likeness and realism.

    With the sign 1 if more is better, else -1.
    """
    signs = {"maximize": 1, "minimize": -1}
    wanted = [
        {"name": name.strip(), "label": name.strip(), "sign": signs[key]}
        for key, _, text in (o.partition("=") for o in (jobs[0].overrides if jobs else ()))
        if key in signs and text != "null"
        for name in text.strip("[]").split(",")
    ]
    if len(wanted) > 1:
        return wanted[:2]
    likeness = {"name": "psnr_hole", "label": "likeness: hole PSNR, dB", "sign": 1}
    for name, label in (
        ("feature_distance", "realism: feature distance"),
        ("perceptual", "realism: perceptual term"),
    ):
        if sum(job.summary.get(name) is not None for job in jobs) > 1:
            return [likeness, {"name": name, "label": label, "sign": -1}]
    return [likeness]


def _file(job: SweepJob, picture: str, image: int) -> Path:
    """The file of a picture of an image; ``alternative 2`` is the third completion."""
    kind, _, rank = picture.partition(" ")
    if kind == "alternative":
        return job.file_of("alternatives", image, f"_{rank}")
    return job.file_of(kind, image)


def _more_pictures(job: SweepJob) -> list[str]:
    """Further pictures of each image: other completions, where the restarts disagree."""
    asked = [*(f"alternative {rank}" for rank in range(1, 4)), "spread"]
    return [
        picture for picture in asked if job.images and _file(job, picture, job.images[0]).is_file()
    ]


def _sprite(
    job: SweepJob, pictures: Sequence[str], images: Sequence[int], size: tuple[int, int]
) -> str:
    files = [[_file(job, picture, image) for image in images] for picture in pictures]
    return pages.sprite(files, size)


def _curve(job: SweepJob) -> dict[str, list[float]]:
    rows = thinned([row for row in job.history if row.get("step")])
    shown = ["step", "contextual"]
    if job.summary.get("lam"):  # else the search did not ask D
        shown.append("perceptual")
    return {
        column: [float(row[column]) if row.get(column) else math.nan for row in rows]
        for column in shown
    }


def _page_images(best_first: list[SweepJob], room: int) -> dict[int, str]:
    """The images to show, and why: the first ones, the worst, and where the best job loses."""
    best = best_first[0]
    chosen: dict[int, str] = {}
    for image in sorted(best.psnrs, key=lambda image: best.psnrs[image])[: room // 4]:
        chosen[image] = "among the worst of the best job"
    for other in best_first[1:4]:
        apart = differences(best.psnrs, other.psnrs)
        for image in sorted(apart, key=lambda image: apart[image])[:1]:
            if apart[image] < 0:
                chosen.setdefault(image, f"most behind {other.label}")
    first = [number for number in best.images if number not in chosen]
    for image in first[: max(room - len(chosen), 0)]:
        chosen[image] = ""
    return dict(sorted(chosen.items()))


def _standard_error(job: SweepJob) -> float | None:
    finite = np.array([value for value in job.psnrs.values() if math.isfinite(value)])
    return float(finite.std(ddof=1) / len(finite) ** 0.5) if len(finite) > 1 else None


def _restarts(job: SweepJob, images: Sequence[int]) -> dict[int, list[list[float | None]]]:
    """Image -> objective and hole PSNR of each restart, the best objective first."""
    found: dict[int, list[list[float | None]]] = {image: [] for image in images}
    for row in job.restarts:
        if int(row["image"]) in found:
            psnr = float(row["psnr_hole"]) if row.get("psnr_hole") else None
            found[int(row["image"])].append([float(row["objective"]), psnr])
    return {image: sorted(rows, key=lambda row: row[0] or 0.0) for image, rows in found.items()}
