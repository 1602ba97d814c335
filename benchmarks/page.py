"""How large the page of a sweep is and how long a browser takes to open it.

    python benchmarks/page.py [--jobs 200] [--json PATH]

The jobs are made up; their images are colour noise at 64x64, which no PNG can shrink: real pages
are smaller. Needs playwright (the extra `dev`) and chromium.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.table import Table

from gan_inpaint.reporting import columns, comparison
from gan_inpaint.runtime.io import write_csv, write_json, write_png, write_text

IMAGES, STEPS = 12, 50


def make_job(directory: Path, number: int) -> None:
    """What a reconstruction job leaves, as far as the page looks at it."""
    rng = np.random.default_rng(number)
    rows = [
        {
            "image": i,
            "name": f"{i}.png",
            "objective": rng.random(),
            "psnr_hole": 20 * rng.random(),
        }
        for i in range(IMAGES)
    ]
    write_csv(directory / "results.csv", rows, columns.RESULTS)
    restarts = [{k: v for k, v in row.items() if k != "name"} for row in rows]
    write_csv(directory / "restarts.csv", restarts, columns.RESTARTS)
    history = [{"step": step, "objective": 1 / step} for step in range(1, STEPS + 1)]
    write_csv(directory / "metrics.csv", history, ("step", "objective"))
    for folder in ("images", "generated", "truth", "known"):
        for i in range(IMAGES):
            shared = np.random.default_rng(i)
            draw = shared if folder in ("truth", "known") else rng
            noise = draw.integers(0, 256, (64, 64, 3), np.uint8)
            write_png(directory / folder / f"{i:05d}.png", noise)
    summary = {"status": "done", "lam": 10.0 ** -(number % 10), "lr": 0.1 * (1 + number // 10)}
    mean = float(np.mean([row["psnr_hole"] for row in rows]))
    write_json(directory / "summary.json", summary | {"psnr_hole": mean, "images": IMAGES})
    told = [f"lam={summary['lam']:g}", f"lr={summary['lr']:.1f}"]
    write_text(directory / ".hydra" / "overrides.yaml", json.dumps(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, nargs="+", default=[12, 200])
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    table = Table(title=f"{IMAGES} images a job, of noise")
    for column in ("jobs", "written in", "size", "opened in"):
        table.add_column(column, justify="right")
    figures: dict[str, float] = {}
    for jobs in options.jobs:
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
            sweep = Path(folder)
            for number in range(jobs):
                make_job(sweep / str(number), number)
            started = time.perf_counter()
            comparison.compare(sweep)
            written = time.perf_counter() - started
            chromium = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            started = time.perf_counter()
            page.goto(f"file://{sweep / 'index.html'}")  # returns after the load event
            opened = time.perf_counter() - started
            size = (sweep / "index.html").stat().st_size / 1e6
            browser.close()
        table.add_row(str(jobs), f"{written:.1f} s", f"{size:.1f} MB", f"{opened:.2f} s")
        figures |= {f"written_{jobs}": written, f"megabytes_{jobs}": size, f"opened_{jobs}": opened}
    Console().print(table)
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
