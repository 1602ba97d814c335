"""Compare the jobs of a sweep: tables, a figure, a page."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gan_inpaint.data.images import MISSING, open_image
from gan_inpaint.errors import InputError
from gan_inpaint.reporting import columns, sweep_page, yeh2017
from gan_inpaint.reporting.columns import BASELINES
from gan_inpaint.reporting.figures import figure
from gan_inpaint.reporting.pages import short
from gan_inpaint.reporting.statistics import verdict
from gan_inpaint.reporting.sweep import SweepJob, ranked, read_jobs
from gan_inpaint.runtime.io import read_csv, write_csv

_RIVALS = tuple(f"psnr_hole_{name}" for name in ("average", *BASELINES))
# on a terminal
_SHOWN = ("status", "seconds", "objective", "contextual", "psnr_hole", *_RIVALS, "feature_distance")
_FIGURE_IMAGES, _FIGURE_JOBS = 8, 16  # rows and columns of comparison.png


def compare(sweep: Path) -> None:
    """Write comparison.csv, comparison.png and index.html over the jobs of a sweep so far."""
    jobs = read_jobs(sweep)
    table = [{**job.summary, "job": job.number} for job in jobs]
    table = [{column: row.get(column) for column in columns.COMPARISON} for row in table]
    write_csv(sweep / "comparison.csv", table, columns.COMPARISON)
    done = [job for job in jobs if job.done]
    if done and all(job.summary.get("recipe") == yeh2017.RECIPE for job in done):
        lines = [yeh2017.row(job.summary, list(job.results.values())) for job in done]
        write_csv(sweep / "paper_table.csv", lines, yeh2017.COLUMNS)
    if done:
        _draw_comparison(sweep / "comparison.png", done)
    sweep_page.write(sweep, jobs, columns.COMPARISON[1:], _paper_table(sweep))


def show(sweep: Path) -> int:
    """Print the comparison and the path of its page; returns the number of failed jobs."""
    jobs = read_jobs(sweep)
    shown = [c for c in _SHOWN if any(job.summary.get(c) is not None for job in jobs)]
    headings = [column.removeprefix("psnr_hole_") for column in shown]
    table = Table("job", "setting", *headings, caption="psnr_hole and right of it: dB in the hole")
    for job in jobs:
        figures = (short(job.summary.get(c)) for c in shown)
        table.add_row(str(job.number), escape(job.label), *map(escape, figures))
    console = Console()
    # without a terminal, rich would cut the table at 80 columns
    wide = Console(width=None if console.is_terminal else 200)
    wide.print(table)
    if lines := _paper_table(sweep):
        table = Table(*lines[0], title="hole PSNR in dB")
        for line in lines:
            table.add_row(*(escape(line.get(column, "")) for column in lines[0]))
        wide.print(table)
        wide.print(yeh2017.PROTOCOL)
    failed = [job for job in jobs if job.summary["status"] == "failed"]
    for job in failed:
        print(f"job {job.number} failed: {job.summary['error']}")
    print(f"compare them at {sweep / 'index.html'}")
    if sentence := verdict(jobs):
        print(sentence)
    return len(failed)


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print a finished job as a table with one row."""
    shown = [c for c in ("images", *_SHOWN[1:]) if summary.get(c) is not None]
    table = Table(*(column.removeprefix("psnr_hole_") for column in shown))
    table.add_row(*(short(summary[column]) for column in shown))
    console = Console()
    Console(width=None if console.is_terminal else 200).print(table)


def _paper_table(sweep: Path) -> list[dict[str, str]]:
    """The rows of the paper's table as text, if the sweep was for that."""
    file = sweep / "paper_table.csv"
    if not file.is_file():
        return []
    return [
        yeh2017.cells({k: float(v) if k in yeh2017.NUMBERS else v for k, v in line.items() if v})
        for line in read_csv(file)
    ]


def _draw_comparison(path: Path, jobs: list[SweepJob]) -> None:
    """One row per image; columns: damaged, each job (of many the best), true.

    The first and last columns are left out if the jobs had different images or masks.
    """
    if len(jobs) > _FIGURE_JOBS:
        best = {job.number for job in ranked(jobs)[:_FIGURE_JOBS]}
        jobs = [job for job in jobs if job.number in best]
    first = jobs[0]
    images = first.images[:_FIGURE_IMAGES]
    panels: list[tuple[str, SweepJob, str]] = [
        (job.label.replace(" ", "\n"), job, "images") for job in jobs
    ]
    if len({job.task for job in jobs}) == 1:
        panels.insert(0, ("damaged", first, "known"))
        if first.truth:
            panels.append(("true", first, "truth"))
    above = 0.1 + 0.15 * (2 + max(heading.count("\n") for heading, _, _ in panels))  # inches
    height = 1.45 * len(images) + above
    places = {"left": 0.01, "right": 0.99, "bottom": 0.01, "top": 1 - above / height}
    places |= {"wspace": 0.06, "hspace": 0.2}  # a layout would take longer than all else
    with figure(path, figsize=(1.3 * len(panels), height)) as drawing:
        cells = drawing.subplots(len(images), len(panels), squeeze=False, gridspec_kw=places)
        for row, image in enumerate(images):
            for axes, (heading, job, folder) in zip(cells[row], panels, strict=True):
                axes.set_axis_off()
                with suppress(InputError):  # a missing or damaged image stays white
                    shown = np.array(open_image(job.file_of(folder, image)).convert("RGB"))
                    if heading == "damaged":
                        result = np.array(open_image(job.file_of("images", image)).convert("RGB"))
                        shown = np.where(shown > 0, result, np.array(MISSING, np.uint8))
                    axes.imshow(shown)
                found = job.results.get(image, {}) if folder == "images" else {}
                value = f"{float(found['psnr_hole']):.1f} dB" if found.get("psnr_hole") else ""
                title = [heading, value] if row == 0 else [value]
                axes.set_title("\n".join(filter(None, title)), fontsize=8)
