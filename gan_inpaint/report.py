"""What is left when the work is done: tables, and the comparison of a sweep's jobs."""

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from gan_inpaint import baselines, paper
from gan_inpaint.errors import InputError
from gan_inpaint.figures import figure
from gan_inpaint.files import read_csv, write_csv, write_text
from gan_inpaint.pictures import MISSING

RESULT_COLUMNS = (
    "image",
    "name",
    "restart",
    "steps",
    "stopped_by",
    "objective",
    "contextual",
    "perceptual",
    "psnr_hole",
    "psnr",
    "ssim",
)
RESTART_COLUMNS = ("image", "restart", "steps", "stopped_by", "objective", "psnr_hole")
_KEYS = ("lam", "lr", "norm", "prior", "data", "mask")
_MEANS = ("steps", *RESULT_COLUMNS[5:])
EXTRA_COLUMNS = (
    "psnr_known",
    "z_norm",
    "binding",
    "spread",  # with restarts, as the next
    "psnr_hole_average",
    "psnr_hole_raw",  # with blending
    *(f"psnr_hole_{name}" for name in baselines.NAMES),
)
_COST = ("perceptual_share", "images", "seconds", "image_steps", "image_steps_per_second")
COMPARISON_COLUMNS = ("job", "status", "error", *_KEYS, *_MEANS, *EXTRA_COLUMNS, *_COST)
_PAGE = Path(__file__).parent / "page.html.jinja"
_PAGE_IMAGES = 8  # rows of pictures in the comparison
_RUNNERS_UP = 8  # jobs that the best one is compared with in words


def means(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of each measured column over the images that have a finite value there."""
    rows = list(rows)
    found = {}
    for column in (*_MEANS, *EXTRA_COLUMNS):
        values = [row[column] for row in rows if math.isfinite(row.get(column, math.nan))]
        if values:
            found[column] = float(np.mean(values))
    return found


def compare(sweep: Path) -> None:
    """Write comparison.csv, comparison.png and index.html over the jobs of a sweep so far."""
    jobs = _jobs(sweep)
    write_csv(
        sweep / "comparison.csv",
        [{c: job.get(c) for c in COMPARISON_COLUMNS} for job in jobs],
        COMPARISON_COLUMNS,
    )
    done = [job for job in jobs if job["status"] == "done"]
    if done:
        _draw_comparison(sweep, done)
    _write_page(sweep, jobs)
    if done and all(job.get("recipe") == paper.RECIPE for job in done):
        lines = [paper.row(job, list(_results(sweep, job).values())) for job in done]
        write_csv(sweep / "paper_table.csv", lines, paper.COLUMNS)


def show(sweep: Path) -> int:
    """Print the comparison and where its page is; returns how many jobs failed."""
    rows = read_csv(sweep / "comparison.csv")
    shown = ("job", "status", *_MEANS, *EXTRA_COLUMNS, "seconds")
    columns = [column for column in shown if any(row[column] for row in rows)]
    table = Table("setting", *columns)
    for row, label in zip(rows, _labels(sweep, rows), strict=True):
        table.add_row(label, *(_short(row[column]) for column in columns))
    console = Console()
    # piped, rich would cut the table at 80 columns
    wide = Console(width=None if console.is_terminal else 200)
    wide.print(table)
    if (sweep / "paper_table.csv").is_file():
        wide.print(_paper_table(sweep))
        wide.print(paper.PROTOCOL)
    failed = [row for row in rows if row["status"] == "failed"]
    for row in failed:
        print(f"job {row['job']} failed: {row['error']}")
    print(f"compare them at {sweep / 'index.html'}")
    return len(failed)


def _paper_table(sweep: Path) -> Table:
    """Hole PSNR in dB, a line a mask, the published figures first."""
    lines = [
        paper.cells({k: float(v) if k in paper.NUMBERS else v for k, v in line.items() if v})
        for line in read_csv(sweep / "paper_table.csv")
    ]
    table = Table(*lines[0], title="hole PSNR in dB")
    for line in lines:
        table.add_row(*(line.get(column, "") for column in lines[0]))
    return table


def _jobs(sweep: Path) -> list[dict[str, Any]]:
    numbered = [p.parent for p in sweep.glob("*/summary.json") if p.parent.name.isdigit()]
    if not numbered:
        raise InputError(f"sweep={sweep}: no finished job in it; name the directory of a sweep")
    jobs = []
    for job in sorted(numbered, key=lambda job: int(job.name)):
        try:
            summary = json.loads((job / "summary.json").read_text(encoding="utf-8"))
        except ValueError:
            summary = {"status": "failed", "error": "its summary.json is damaged"}
        jobs.append({"job": int(job.name), **summary})
    return jobs


def _labels(sweep: Path, jobs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each job has that not all of them have, in the words of the command line."""
    overrides = [_overrides(sweep / str(job["job"])) for job in jobs]
    common = set(overrides[0]).intersection(*overrides)
    own = [" ".join(o for o in mine if o not in common) for mine in overrides]
    return [label or f"job {job['job']}" for label, job in zip(own, jobs, strict=True)]


def _overrides(job: Path) -> list[str]:
    from omegaconf import OmegaConf

    file = job / ".hydra" / "overrides.yaml"
    return [str(override) for override in OmegaConf.load(file)] if file.is_file() else []


def _short(value: Any) -> str:
    """Four digits are enough to read."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "" if value is None else str(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e6 else f"{number:.4g}"


def _targets(sweep: Path, job: Mapping[str, Any]) -> tuple[bytes, ...]:
    """What a job had to fill: masks and true images; jobs with equal ones can be compared."""
    directory = sweep / str(job["job"])
    return tuple(
        file.read_bytes()
        for folder in ("known", "truth")
        for file in sorted((directory / folder).glob("?????.png"))[:_PAGE_IMAGES]
    )


def _draw_comparison(sweep: Path, jobs: list[dict[str, Any]]) -> None:
    """Rows images, columns corrupted, each job, true; hole PSNR above each picture.

    The first and the last column are left out where the jobs had different images or masks.
    """
    from PIL import Image

    first = sweep / str(jobs[0]["job"])
    names = sorted(p.name for p in (first / "images").glob("?????.png"))[:_PAGE_IMAGES]
    labels = [label.replace(" ", "\n") for label in _labels(sweep, jobs)]
    columns: list[tuple[str, Path, dict]] = [
        (label, sweep / str(job["job"]) / "images", _results(sweep, job))
        for job, label in zip(jobs, labels, strict=True)
    ]
    if len({_targets(sweep, job) for job in jobs}) == 1:
        columns.insert(0, ("corrupted", first / "images", {}))
        if (first / "truth").is_dir():
            columns.append(("true", first / "truth", {}))
    size = (1.3 * len(columns), 1.45 * len(names) + 0.6)
    with figure(sweep / "comparison.png", figsize=size) as drawing:
        cells = drawing.subplots(len(names), len(columns), squeeze=False)
        for row, name in enumerate(names):
            for axes, (heading, folder, results) in zip(cells[row], columns, strict=True):
                axes.set_axis_off()
                if (folder / name).is_file():
                    shown = np.array(Image.open(folder / name).convert("RGB"))
                    if heading == "corrupted":
                        shown[np.asarray(Image.open(first / "known" / name)) == 0] = MISSING
                    axes.imshow(shown)
                psnr = results.get(int(name[:5]), {}).get("psnr_hole")
                value = f"{float(psnr):.1f} dB" if psnr else ""
                title = [heading, value] if row == 0 else [value]
                axes.set_title("\n".join(filter(None, title)), fontsize=8)


def _results(sweep: Path, job: Mapping[str, Any]) -> dict[int, dict[str, str]]:
    file = sweep / str(job["job"]) / "results.csv"
    return {int(row["image"]): row for row in read_csv(file)} if file.is_file() else {}


def _write_page(sweep: Path, jobs: list[dict[str, Any]]) -> None:
    import jinja2

    def embedded(path: Path) -> str | None:
        if not path.is_file():
            return None
        return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()

    columns = [c for c in COMPARISON_COLUMNS if any(job.get(c) is not None for job in jobs)]
    template = jinja2.Environment(autoescape=True).from_string(_PAGE.read_text(encoding="utf-8"))
    page = template.render(
        title=f"Comparison of {sweep.name}",
        columns=columns,
        jobs=[{**job, "cells": [_short(job.get(c)) for c in columns]} for job in jobs],
        findings=_findings(sweep, jobs),
        comparison=embedded(sweep / "comparison.png"),
        grids=[
            {
                "label": label,
                "job": job["job"],
                "picture": embedded(sweep / str(job["job"]) / "grid.png"),
                "losses": embedded(sweep / str(job["job"]) / "losses.png"),
            }
            for job, label in zip(jobs, _labels(sweep, jobs), strict=True)
            if job["status"] == "done"
        ],
    )
    write_text(sweep / "index.html", page)


def _findings(sweep: Path, jobs: list[dict[str, Any]]) -> list[str]:
    """Plain sentences: the best job, and whether its lead is larger than the noise over images."""
    labels = dict(zip((job["job"] for job in jobs), _labels(sweep, jobs), strict=True))
    failed = sum(job["status"] == "failed" for job in jobs)
    sentences = [f"{failed} of {len(jobs)} jobs failed; the table says why."] if failed else []
    measured = [job for job in jobs if job.get("psnr_hole") is not None]
    if not measured:
        return sentences
    best, *others = sorted(measured, key=lambda job: -job["psnr_hole"])
    ours = _results(sweep, best)
    sentences.append(
        f"Highest mean hole PSNR: {best['psnr_hole']:.2f} dB, of {labels[best['job']]}."
    )
    if "psnr_hole_average" in best:
        average = {i: {"psnr_hole": row["psnr_hole_average"]} for i, row in ours.items()}
        sentences.append(_lead("the average over its own restarts (estimate=mean)", ours, average))
    if "psnr_hole_mean" in best:
        mean_fill = {i: {"psnr_hole": row["psnr_hole_mean"]} for i, row in ours.items()}
        sentences.append(_lead("filling the hole with the mean training image", ours, mean_fill))
    same = [job for job in others if _targets(sweep, job) == _targets(sweep, best)]
    if len(same) < len(others):
        sentences.append(
            f"{len(others) - len(same)} jobs had other images or masks: no fair comparison."
        )
    sentences += [
        _lead(labels[job["job"]], ours, _results(sweep, job)) for job in same[:_RUNNERS_UP]
    ]
    return list(filter(None, sentences))


def _lead(other: str, ours: Mapping, theirs: Mapping) -> str:
    """By how much the best job is ahead, image by image, and whether that means anything."""
    pairs = [
        float(row["psnr_hole"]) - float(theirs[image]["psnr_hole"])
        for image, row in ours.items()
        if row["psnr_hole"] and theirs.get(image, {}).get("psnr_hole")
    ]
    lead = np.array([pair for pair in pairs if math.isfinite(pair)])
    if len(lead) < 2 or not lead.any():
        return ""
    error = lead.std(ddof=1) / math.sqrt(len(lead))
    verdict = "more than the noise" if abs(lead.mean()) > 2 * error else "within the noise"
    return (
        f"It {'leads' if lead.mean() > 0 else 'trails'} {other} by {abs(lead.mean()):.2f} ±"
        f" {error:.2f} dB (mean and standard error over {len(lead)} images): {verdict}."
    )
