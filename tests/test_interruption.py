"""Killed or told to stop at any moment: files are whole, and going on gives the very same."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, save_tiny_prior, write_pictures
from processes import check_whole, started

from gan_inpaint.runtime import signals
from gan_inpaint.runtime.signals import Interrupted

TIMED = {"seconds", "image_steps_per_second", "images_per_second"}


def training(tmp_path: Path) -> list[str]:
    pictures = write_pictures(tmp_path / "pictures", 60)
    options = ["data=folder", f"data.path={pictures}", "batch_size=4", "log_every=3", *TINY]
    return [*options, "trainer.max_epochs=6", "checkpoint.every_n_epochs=2", "logger=none"]


def reconstruction(tmp_path: Path) -> list[str]:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "photographs", 12)
    (pictures / "03.png").write_bytes(b"no image")
    options = [f"prior={prior}", "data=folder", f"data.path={pictures}", "mask=random"]
    options += ["diagnose=true", "animate=true"]
    return [*options, "restarts=2", "batch_size=4", "steps=40", "candidates=16", "logger=none"]


def tensors(file: Path) -> dict[str, torch.Tensor]:
    """All tensors in a checkpoint, its optimizers' included."""
    found = {}

    def walk(name: str, value: object) -> None:
        if isinstance(value, torch.Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, item in value.items():
                walk(f"{name}/{key}", item)
        elif isinstance(value, list | tuple):
            for key, item in enumerate(value):
                walk(f"{name}/{key}", item)

    walk("", torch.load(file, weights_only=True))
    return found


def table(file: Path) -> list[dict[str, str]]:
    with file.open() as lines:
        return [{k: v for k, v in row.items() if k not in TIMED} for row in csv.DictReader(lines)]


def assert_equal(one: Path, other: Path) -> None:
    """All that two runs have left is the same, but for how long it took."""
    names = [
        {
            p.relative_to(run)
            for p in run.rglob("*")
            if p.is_file() and ".hydra" not in p.parts and p.suffix != ".log"
        }
        for run in (one, other)
    ]
    assert names[0] == names[1]
    for name in names[0]:
        first, second = one / name, other / name
        if name.suffix == ".ckpt":
            a, b = tensors(first), tensors(second)
            assert a.keys() == b.keys()
            assert all(torch.equal(a[key], b[key]) for key in a), name
        elif name.suffix == ".csv":
            assert table(first) == table(second), name
        elif name.suffix == ".json":
            a, b = json.loads(first.read_text()), json.loads(second.read_text())
            assert {k: a[k] for k in a if k not in TIMED} == {k: b[k] for k in b if k not in TIMED}
        elif name.suffix == ".safetensors":
            a, b = (torch_tensors(file) for file in (first, second))
            assert a.keys() == b.keys()
            assert all(torch.equal(a[key].nan_to_num(), b[key].nan_to_num()) for key in a), name
        elif name.suffix != ".html":  # the page names its run
            assert first.read_bytes() == second.read_bytes(), name


def torch_tensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(file)


def can_go_on(directory: Path) -> bool:
    """Whether the process lived to keep its settings; else nothing was begun."""
    kept = directory / ".hydra" / "overrides.yaml"
    return kept.is_file() and kept.stat().st_size > 0


def finished(name: str, arguments: list[str], log: Path) -> None:
    process = started(name, arguments, log)
    process.join(120)
    assert process.exitcode == 0, log.read_text()


@pytest.mark.parametrize(
    ("name", "options"), [("train", training), ("reconstruct", reconstruction)]
)
def test_kill_it_anywhere(
    name: str, options: Callable[[Path], list[str]], tmp_path: Path, soak: bool
) -> None:
    """Each run is killed at random moments until it comes to its end all the same."""
    arguments, whole, log = options(tmp_path), tmp_path / "whole", tmp_path / "log.txt"
    finished(name, [*arguments, f"hydra.run.dir={tmp_path / 'warm'}"], log)
    began = time.monotonic()
    finished(name, [*arguments, f"hydra.run.dir={whole}"], log)
    took = time.monotonic() - began
    rng, kills, runs = np.random.default_rng(0), 0, 0
    while kills < (50 if soak else 3):
        broken = tmp_path / f"broken_{runs}"
        runs += 1
        while True:
            start = f"resume={broken}" if can_go_on(broken) else f"hydra.run.dir={broken}"
            given = [start] if "resume" in start else [*arguments, start]
            process = started(name, given, log)
            process.join(rng.uniform(0, took))
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            kills += 1
            if broken.is_dir():
                check_whole(broken)
        assert process.exitcode == 0, log.read_text()
        assert_equal(whole, broken)
        assert not list(broken.rglob(".*.part*")), "what was unfinished is cleared away"
    print(f"{name}: {kills} kills, {runs} runs, each the same as the one that was left alone")


def reached(process: BaseProcess, file: Path) -> None:
    """Wait until a process has written a file."""
    for _ in range(1200):
        if file.exists():
            return
        assert process.exitcode is None, "it ended first"
        time.sleep(0.01)
    raise AssertionError(f"{file} was never written")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("name", "options", "sign"),
    [
        ("train", training, "checkpoints/last.ckpt"),
        ("reconstruct", reconstruction, "images/00000.png"),
    ],
)
def test_told_to_stop_it_keeps_what_is_done(
    name: str, options: Callable, sign: str, signum: int, tmp_path: Path
) -> None:
    arguments, log = options(tmp_path), tmp_path / "log.txt"
    more = ["trainer.max_epochs=200"] if name == "train" else ["steps=60", "patience=null"]
    stopped = tmp_path / "stopped"
    process = started(name, [*arguments, *more, f"hydra.run.dir={stopped}"], log)
    reached(process, stopped / sign)
    assert process.pid
    os.kill(process.pid, signum)
    process.join(30)
    assert process.exitcode == 128 + signum
    said = log.read_text()
    word = signal.Signals(signum).name
    assert f"stopped by {word}; continue with: python -m gan_inpaint.{name} resume=" in said
    assert "Traceback" not in said
    check_whole(stopped)
    assert (stopped / "losses.png").is_file()
    if name == "train":
        assert (stopped / "index.html").is_file()
        steps = int(table(stopped / "metrics.csv")[-1]["step"])
        last = torch.load(stopped / "checkpoints" / "last.ckpt", weights_only=True)
        done = int(last["state_dict"]["discriminator_steps"])
        assert steps <= done < 200 * 15
        more = [f"trainer.max_epochs={done // 15 + 2}"]
    else:
        assert (stopped / "grid.png").is_file()
        summary = json.loads((stopped / "summary.json").read_text())
        assert (summary["status"], summary["error"]) == ("failed", f"stopped by {word}")
        assert 0 < summary["images"] < 11
    finished(name, [f"resume={stopped}", *(more if name == "train" else [])], log)
    whole = tmp_path / "whole"
    finished(name, [*arguments, *more, f"hydra.run.dir={whole}"], log)
    assert_equal(whole, stopped)


def test_a_signal_waits_for_the_end_of_a_block() -> None:
    passed, before = [], signal.getsignal(signal.SIGINT)

    def block(*signums: int) -> None:
        with signals.defer_signals():
            for signum in signums:
                signal.raise_signal(signum)
            passed.append(signums)

    with signals.handle_signals():
        with pytest.raises(Interrupted, match="SIGTERM") as stop:
            block(signal.SIGTERM)
        assert passed == [(signal.SIGTERM,)]
        assert stop.value.code == 143
    with signals.handle_signals():
        with pytest.raises(Interrupted, match="SIGINT"):
            block(signal.SIGTERM, signal.SIGINT)
        assert len(passed) == 1, "the second does not wait"
    assert signal.getsignal(signal.SIGINT) is before, "given back"


@pytest.mark.parametrize("batch", [13, 26, 39, 14])
def test_a_signal_at_the_end_of_an_epoch_loses_nothing_of_it(batch: int, tmp_path: Path) -> None:
    """Of 13 minibatches; the second epoch has its snapshot."""
    from types import SimpleNamespace

    from gan_inpaint.train import main
    from gan_inpaint.training import callbacks

    arguments = [*training(tmp_path), "trainer.max_epochs=3"]

    def ran(*given: str) -> int:
        sys.argv = ["train.py", *given]
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    argv, end = sys.argv, callbacks.Snapshots.on_train_batch_end
    try:
        assert ran(*arguments, "hydra.run.dir=whole") == 0

        def signalled(self: callbacks.Snapshots, trainer: SimpleNamespace, *rest: object) -> None:
            if trainer.fit_loop.epoch_loop.total_batch_idx + 1 == batch:
                signal.raise_signal(signal.SIGTERM)
            end(self, trainer, *rest)  # type: ignore[arg-type]

        callbacks.Snapshots.on_train_batch_end = signalled  # type: ignore[method-assign,assignment]
        assert ran(*arguments, "hydra.run.dir=part") == 143
        callbacks.Snapshots.on_train_batch_end = end  # type: ignore[method-assign]
        assert ran("resume=part") == 0
    finally:
        sys.argv, callbacks.Snapshots.on_train_batch_end = argv, end  # type: ignore[method-assign]
    assert_equal(tmp_path / "whole", tmp_path / "part")


@pytest.mark.parametrize(
    ("name", "options"), [("train", training), ("reconstruct", reconstruction)]
)
def test_a_sweep_that_is_told_to_stop_starts_no_other_job(
    name: str, options: Callable, tmp_path: Path
) -> None:
    log = tmp_path / "log.txt"
    more = ["trainer.max_epochs=2000"] if name == "train" else ["steps=60", "patience=null"]
    sweep = ["-m", "seed=0,1", "hydra.sweep.dir=sweep"]
    process = started(name, [*sweep, *options(tmp_path), *more], log)
    sign = "checkpoints/last.ckpt" if name == "train" else "images/00000.png"
    reached(process, tmp_path / "sweep" / "0" / sign)
    assert process.pid
    os.kill(process.pid, signal.SIGTERM)
    process.join(30)
    assert process.exitcode == 143, log.read_text()
    assert "Traceback" not in log.read_text()
    assert not (tmp_path / "sweep" / "1").exists()
    if name == "reconstruct":
        assert "stopped by SIGTERM" in (tmp_path / "sweep" / "comparison.csv").read_text()


def test_a_closed_stdout_ends_a_command_quietly() -> None:
    """As ``| head`` does."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "gan_inpaint.compare", "--help"]
    ran = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert ran.returncode == 128 + signal.SIGPIPE
    assert ran.stderr == ""
