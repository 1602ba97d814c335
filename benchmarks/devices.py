"""Training on one process and on two that share each minibatch (Lightning's DDP, gloo on a CPU).

    python benchmarks/devices.py [--experiment dcgan] [--epochs 2]

Each process of two has one thread; one process is run with one thread and with two. What counts is
the ratio. Further arguments go to the command.
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
    arguments, overrides = parser.parse_known_args()
    options = [f"+experiment={arguments.experiment}", f"trainer.max_epochs={arguments.epochs}"]
    options += ["trainer.accelerator=cpu", "precision=fp32", "logger=none", *overrides]
    table = Table("processes", "threads each", "images/s", "ratio")
    first = None
    for processes, threads in ((1, 1), (1, 2), (2, 1)):
        more = ["trainer=ddp", f"trainer.devices={processes}"] if processes > 1 else []
        speed = trained([*options, *more], threads)
        first = first or speed
        table.add_row(str(processes), str(threads), f"{speed:.0f}", f"{speed / first:.2f}")
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


if __name__ == "__main__":
    main()
