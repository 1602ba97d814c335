"""Does a long run stay as it was: memory, open files and speed, from its first tenth to its last?

    python benchmarks/endurance.py train --minutes 120
    python benchmarks/endurance.py reconstruct --images 10000

The command runs in a process of its own, which is looked at from outside (Linux) every second. The
training is stopped with SIGTERM when the time is up, as a cluster would. Further arguments go to
the command.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gan_inpaint.runtime.environment import collect_environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["train", "reconstruct"])
    parser.add_argument("--minutes", type=float, default=120, help="of the training")
    parser.add_argument("--images", type=int, default=10_000, help="to reconstruct")
    parser.add_argument("--directory", type=Path, help="of the run; a temporary one if not given")
    arguments, overrides = parser.parse_known_args()
    directory = arguments.directory or Path(tempfile.mkdtemp())
    if arguments.command == "train":
        options = ["+experiment=dcgan", "trainer.max_epochs=1000000"]
        limit = 60 * arguments.minutes
    else:
        options = ["data=generated", "prior=digits", f"data.count={arguments.images}"]
        options += ["steps=20", "batch_size=64"]
        limit = float("inf")
    module = f"gan_inpaint.{arguments.command}"
    options += [f"hydra.run.dir={directory}", *overrides]
    process = subprocess.Popen([sys.executable, "-m", module, *options], stdout=subprocess.DEVNULL)
    looks = watched(process, directory, limit)
    print(json.dumps(collect_environment()))
    print(f"{' '.join(options)}: exit code {process.wait()}, {looks[-1][0] / 60:.1f} minutes")
    report(looks, {"train": "minibatches", "reconstruct": "images"}[arguments.command])


def watched(process: subprocess.Popen, directory: Path, limit: float) -> list[tuple[float, ...]]:
    """``(seconds, bytes resident, open files, units done)`` every second."""
    looks: list[tuple[float, ...]] = []
    done = 0
    started = time.monotonic()
    while process.poll() is None:
        seconds = time.monotonic() - started
        try:
            resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
            files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        except (OSError, IndexError):  # it has just ended
            break
        done = units_done(directory, done)
        if done:
            looks.append((seconds, resident * os.sysconf("SC_PAGE_SIZE"), files, done))
        if seconds > limit:
            process.send_signal(signal.SIGTERM)
            limit = float("inf")
        time.sleep(1)
    return looks


def units_done(directory: Path, done: int) -> int:
    """Minibatches that a training has logged, or images that a search has filled.

    Args:
        done: as it was the last time.
    """
    if (directory / "checkpoints").is_dir():
        with (directory / "metrics.csv").open() as file:
            return int(list(csv.reader(file))[-1][0])
    while (directory / "images" / f"{done:05d}.png").exists():
        done += 1
    return done


def report(looks: list[tuple[float, ...]], unit: str) -> None:
    seconds, resident, files, done = np.array(looks).T
    tenth = len(looks) // 10
    for name, part in (("first", slice(tenth)), ("last", slice(-tenth, None))):
        # from one change of the count to another: a training's grows once an epoch
        change = np.flatnonzero(np.diff(done[part], prepend=done[part][0]))
        first, last = change[0], change[-1]
        speed = (done[part][last] - done[part][first]) / (
            seconds[part][last] - seconds[part][first]
        )
        print(
            f"{name} tenth: {speed:.1f} {unit}/s, {resident[part].mean() / 2**20:.0f} MiB resident,"
            f" {files[part].mean():.1f} open files"
        )
    print(f"highest: {resident.max() / 2**20:.0f} MiB, {files.max():.0f} open files")


if __name__ == "__main__":
    main()
