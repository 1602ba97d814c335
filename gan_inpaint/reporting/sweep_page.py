"""The page of a sweep: which setting won, by how much, and all jobs side by side."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gan_inpaint.data.images import MISSING
from gan_inpaint.reporting import pages, yeh2017
from gan_inpaint.reporting.columns import BASELINES
from gan_inpaint.reporting.statistics import Lead, differences, findings, leads
from gan_inpaint.reporting.sweep import SweepJob, ranked, varied

_CONDITIONS, _COMPARED = 20, 8  # rows, and jobs in columns, of the table of conditions
_NAMED = 3  # images that are named, of those on which the best job loses


def write(
    sweep: Path, jobs: list[SweepJob], columns: Sequence[str], table: Sequence[Mapping[str, str]]
) -> None:
    """Write ``index.html`` of a sweep.

    Args:
        columns: of the table of jobs: keys of their summaries; empty columns are left out.
        table: the rows of the paper's table, if the sweep was for that.
    """
    columns = [c for c in columns if any(job.summary.get(c) is not None for job in jobs)]
    done = [job for job in jobs if job.done]
    best_first = ranked(done)
    pages.write_page(
        sweep / "index.html",
        "sweep",
        _payload(jobs, done, best_first),
        title=f"Comparison of {sweep.name}",
        about=_about(sweep, jobs),
        # the paper's table has four masks, none of which is the best
        findings=[] if table else findings(jobs),
        leads=[_lead(job, found) for job, found in leads(jobs)],
        best=best_first[0].label if done else "",
        paper=table,
        protocol=yeh2017.PROTOCOL,
        columns=columns,
        jobs=[
            {
                "job": job.number,
                "label": job.label,
                "status": job.summary["status"],
                "cells": [pages.short(job.summary.get(column)) for column in columns],
            }
            for job in jobs
        ],
        conditions=_conditions(best_first),
        bars=_bars(best_first[0]) if done and not table else [],
        interactive=bool(done),
        truth=any(job.truth for job in done),
    )


def _lead(best: SweepJob, found: Lead) -> dict[str, str]:
    named = list(found.lost.items())[:_NAMED]
    worst = ", ".join(f"{image} (by {behind:.1f} dB)" for image, behind in named)
    return {
        "best": best.label,
        "against": found.other,
        "lead, dB": f"{found.mean:+.2f}",
        "± s.e.": f"{found.error:.2f}",
        "which is": found.verdict,
        "it loses on": f"{len(found.lost)} of {found.images}",
        "most on image": worst,
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
        words = yaml.safe_load(told.read_text("utf-8"))["hydra"]["overrides"]["task"]
        line = " ".join(map(str, words))
        found.append(("command", f"python -m gan_inpaint.reconstruct -m {line}"))
    for key in ("prior", "data", "mask", "seed", "images", "restarts"):
        values = {str(job.summary[key]) for job in jobs if job.summary.get(key) is not None}
        if values:
            found.append((key, ", ".join(sorted(values))))
    known = (job.summary["environment"] for job in jobs if job.summary.get("environment"))
    ran: dict[str, Any] = next(known, {})
    versions = [f"{k} {ran[k]}" for k in ("gan_inpaint", "git", "python", "torch") if ran.get(k)]
    machine = [str(ran[k]) for k in ("gpu", "processor") if ran.get(k)]
    if versions:
        found += [("versions", ", ".join(versions)), ("machine", ", ".join(machine))]
    return found


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
    jobs: list[SweepJob], done: list[SweepJob], best_first: list[SweepJob]
) -> dict[str, Any]:
    """What the page's script works on: figures, curves, images."""
    values = varied(jobs)
    size, images = (0, 0), []
    if done:
        size = max(pages.cell_size(job.directories[0] / "images") for job in done)
        images = _page_images(done, best_first)
    tasks = list(dict.fromkeys(job.task for job in done))
    firsts = [next(job for job in done if job.task == task) for task in tasks]
    given = ["truth" if job.truth else "images" for job in firsts]
    return {
        "keys": list(values),
        "missing": list(MISSING),
        "width": size[0],
        "height": size[1],
        "images": [
            {"number": i, "name": done[0].results.get(i, {}).get("name", "")} for i in images
        ],
        "targets": [
            _sprite(job, (truth, "known"), images, size)
            for job, truth in zip(firsts, given, strict=True)
        ],
        "curves": [_curve(job) for job in done],
        "unit": "step",
        "loss": "objective",
        "jobs": [
            {
                "job": job.number,
                "label": job.label,
                "values": {k: v[job.number] for k, v in values.items() if job.number in v},
                "psnr": job.summary.get("psnr_hole"),
                "error": _standard_error(job),
                "psnrs": {i: psnr for i, psnr in job.psnrs.items() if i in images},
                "restarts": _restarts(job, images),
                "target": tasks.index(job.task),
                "sprite": _sprite(job, ("images", "generated"), images, size),
            }
            for job in done
        ],
    }


def _sprite(
    job: SweepJob, folders: Sequence[str], images: Sequence[int], size: tuple[int, int]
) -> str:
    return pages.sprite([[job.file_of(f, image) for image in images] for f in folders], size)


def _curve(job: SweepJob) -> dict[str, Any]:
    rows = [row for row in job.history if row.get("objective")]
    points = [(float(row["step"]), float(row["objective"])) for row in rows]
    return {"label": job.label, "job": job.number, "points": pages.thinned(points)}


def _page_images(done: list[SweepJob], best_first: list[SweepJob]) -> list[int]:
    """The images to show: the first ones, the worst, and those on which the best job loses."""
    best = best_first[0]
    room = pages.images_shown(len(done))
    worst = sorted(best.psnrs, key=lambda image: best.psnrs[image])[: room // 4]
    lost: list[int] = []
    for other in best_first[1:4]:
        apart = differences(best.psnrs, other.psnrs)
        lost += [i for i in sorted(apart, key=lambda image: apart[image])[:1] if apart[i] < 0]
    chosen = dict.fromkeys([*worst, *lost])
    first = [number for number in best.images if number not in chosen][: max(room - len(chosen), 0)]
    return sorted([*first, *chosen])


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
