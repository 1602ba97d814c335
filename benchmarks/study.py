"""What 30 jobs that Optuna proposes find, beside a grid of 60 jobs over the same three keys.

    python benchmarks/study.py [--trials 30] [--images 64] [--seed 0] [--json PATH]

Held-out digits with a centre hole. Both may choose lam from 1e-6 to 1, lr from 0.02 to 0.5, and the
norm; both are judged by the mean hole PSNR of their best job on the same images and masks, and the
lead is paired by image. Needs the extra `optuna`.
"""

import argparse
import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gan_inpaint.reconstruct import main as reconstruct
from gan_inpaint.reporting.statistics import lead
from gan_inpaint.reporting.sweep import SweepJob, ranked, read_jobs
from gan_inpaint.runtime.io import write_json

GRID = ["lam=0,1e-6,1e-5,1e-4,1e-3,3e-3,1e-2,3e-2,1e-1,1", "norm=l1,l2", "lr=0.05,0.1,0.3"]
SPACE = ["lam=tag(log,interval(1e-6,1))", "norm=l1,l2", "lr=tag(log,interval(0.02,0.5))"]


def sweep(directory: Path, *words: str) -> tuple[list[SweepJob], float]:
    """The jobs of a sweep, the best first, and its seconds."""
    sys.argv[1:] = ["-m", *words, f"hydra.sweep.dir={directory}", "logger=none"]
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        reconstruct()
    return ranked(read_jobs(directory)), time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0, help="of the sampler")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    data = ["prior=digits", f"limit={options.images}", "start=nearest"]
    sampled = [
        f"hydra.sweeper.n_trials={options.trials}",
        f"hydra.sweeper.sampler.seed={options.seed}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        grid, grid_seconds = sweep(Path(folder) / "grid", *data, *GRID)
        study, seconds = sweep(
            Path(folder) / "study", *data, *SPACE, "hydra/sweeper=optuna", *sampled
        )
        table = Table("", "jobs", "seconds", "best setting", "hole PSNR, dB")
        for name, jobs, took in (("grid", grid, grid_seconds), ("optuna", study, seconds)):
            best = jobs[0].summary["psnr_hole"]
            table.add_row(name, str(len(jobs)), f"{took:.0f}", jobs[0].label, f"{best:.2f}")
        ahead = lead("grid", study[0].psnrs, grid[0].psnrs)
    Console().print(table)
    assert ahead is not None
    print(
        f"optuna against the grid: {ahead.mean:+.2f} ± {ahead.error:.2f} dB (s.e.), {ahead.verdict}"
    )
    if options.json:
        write_json(options.json, {"lead": ahead.mean, "error": ahead.error})


if __name__ == "__main__":
    main()
