"""One process against two (Lightning's DDP, gloo on a CPU), in training and in the search.

    python benchmarks/devices.py [--experiment dcgan] [--epochs 2]
    python benchmarks/devices.py --search

In training two processes share each minibatch, in the search (64 samples of `faces_small` in 4
batches) they take whole batches in turn. Each of two has one thread; one process is run with one
thread and with two. What counts is the ratio. Further arguments go to the command.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gan_inpaint.runtime.environment import collect_environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", default="dcgan")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--search", action="store_true", help="instead of a training")
    arguments, overrides = parser.parse_known_args()
    options = [f"+experiment={arguments.experiment}", f"trainer.max_epochs={arguments.epochs}"]
    if arguments.search:
        options = ["prior=faces_small", "guide=none", "data=generated", "limit=64"]
        options += ["restarts=4", "batch_size=64"]
    options += ["trainer.accelerator=cpu", "precision=fp32", "logger=none", *overrides]
    measured = searched if arguments.search else trained
    table = Table("processes", "threads each", "images/s", "ratio")
    first = None
    for processes, threads in ((1, 1), (1, 2), (2, 1)):
        more = ["trainer=ddp", f"trainer.devices={processes}"] if processes > 1 else []
        speed = measured([*options, *more], threads)
        first = first or speed
        table.add_row(str(processes), str(threads), f"{speed:.3g}", f"{speed / first:.2f}")
    print(json.dumps(collect_environment()))
    Console().print(table)


def trained(options: list[str], threads: int) -> float:
    """Images a second: the mean over the logged rows but for the first tenth."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gan_inpaint.train", *options, f"hydra.run.dir={folder}"]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        with (Path(folder) / "metrics.csv").open() as file:
            rows = [float(row["images_per_second"]) for row in csv.DictReader(file)]
    rows = rows[len(rows) // 10 :]
    return len(rows) / sum(1 / row for row in rows)


def searched(options: list[str], threads: int) -> float:
    """Images a second of the search; of several processes, by the one that took longest."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "gan_inpaint.reconstruct", *options]
        command.append(f"hydra.run.dir={folder}")
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        summary = json.loads((Path(folder) / "summary.json").read_text())
    return summary["images"] / summary["seconds"]


if __name__ == "__main__":
    main()
