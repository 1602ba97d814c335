"""How seconds and peak memory of a reconstruction grow with images and restarts.

    python benchmarks/scaling.py [--json PATH]

Each line is one ``python -m gan_inpaint.reconstruct`` with the bundled digits and targets
that they generate; seconds are those of the search, memory is the most that the process ever held.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gan_inpaint.runtime.io import write_json


def job(images: int, restarts: int, steps: int, batch_size: int) -> tuple[float, float]:
    """Seconds of search and peak memory in MB of one job."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gan_inpaint.reconstruct", "prior=digits", "logger=none"]
        command += ["data=generated", f"data.count={images}", f"restarts={restarts}", "guide=none"]
        command += [
            f"steps={steps}",
            "patience=null",
            f"batch_size={batch_size}",
            f"hydra.run.dir={folder}",
        ]
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(running.pid, 0)
        if status:
            raise SystemExit(f"failed: {' '.join(command)}")
        summary = json.loads((Path(folder) / "summary.json").read_text())
    return summary["seconds"], usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1, 10, 100, 1000, 10000])
    parser.add_argument("--restarts", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64, help="rows: memory grows with it")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    sizes = [(images, 1) for images in options.images]
    sizes += [(16, restarts) for restarts in options.restarts]
    table = Table(title=f"digits, {options.steps} steps, {options.batch_size} rows at once")
    for column in ("images", "restarts", "seconds", "seconds an image", "peak memory"):
        table.add_column(column, justify="right")
    figures: dict[str, float] = {}
    for images, restarts in sizes:
        seconds, memory = job(images, restarts, options.steps, options.batch_size)
        cells = (f"{seconds:.2f}", f"{seconds / images:.4f}", f"{memory:.0f} MB")
        table.add_row(f"{images:,}", str(restarts), *cells)
        figures[f"seconds_{images}x{restarts}"] = seconds
        figures[f"memory_{images}x{restarts}"] = memory
    Console().print(table)
    if options.json:
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
