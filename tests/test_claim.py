"""Two commands in one directory at the same time: the second is refused, and changes nothing."""

import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY, Ran, save_tiny_prior, write_pictures
from filelock import FileLock
from processes import started
from test_run_directory import content

from gan_inpaint.errors import InputError
from gan_inpaint.jobs import claim as module
from gan_inpaint.jobs.claim import LOCK, claim

Run = Callable[..., Ran]


@pytest.fixture
def search(tmp_path: Path) -> list[str]:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={prior}", "data=generated", "data.count=2", "candidates=8"]
    return [*arguments, "steps=2", "logger=none"]


@pytest.fixture
def training(tmp_path: Path) -> list[str]:
    pictures = write_pictures(tmp_path / "pictures", 12)
    arguments = [*TINY, "data=folder", f"data.path={pictures}", "model.channels=1", "batch_size=4"]
    return [*arguments, "trainer.max_epochs=1", "checkpoint.every_n_epochs=1", "logger=none"]


def busy(directory: Path) -> FileLock:
    """A directory as another process leaves it while it works there."""
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / LOCK, is_singleton=False)
    lock.acquire()
    return lock


def refused(ran: Ran, directory: str) -> None:
    assert ran.code == 2, ran.err
    assert f"{directory}: another command is running there; wait until it ends" in ran.sentence


def test_a_second_search_is_refused_before_the_first_has_a_result(
    search: list[str], run: Run, tmp_path: Path
) -> None:
    slow = [*search, "steps=100000", "patience=null", "tolerance=0", "norm=l1"]
    first = started("reconstruct", [*slow, "hydra.run.dir=d"], tmp_path / "log")
    while not (tmp_path / "d" / ".hydra" / "identity.json").is_file():
        assert first.is_alive(), (tmp_path / "log").read_text()
    before = (tmp_path / "d" / ".hydra" / "overrides.yaml").read_bytes()
    for again in (["norm=l2"], []):
        refused(run("reconstruct", *search, *again, "hydra.run.dir=d"), "d")
    refused(run("reconstruct", "resume=d"), "d")
    assert (tmp_path / "d" / ".hydra" / "overrides.yaml").read_bytes() == before
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    assert (tmp_path / "d" / LOCK).is_file(), "a killed process leaves the file, not the lock"
    ran = run("reconstruct", *search, "norm=l2", "hydra.run.dir=d")
    assert ran.code == 2, "whoever comes later finds the settings of the first"
    assert "d: this job was started with" in ran.sentence


def test_two_trainings(training: list[str], run: Run, tmp_path: Path) -> None:
    lock = busy(tmp_path / "d")
    refused(run("train", *training, "seed=1", "hydra.run.dir=d"), "d")
    assert list((tmp_path / "d").iterdir()) == [tmp_path / "d" / LOCK]
    lock.release()
    assert run("train", *training, "seed=1", "hydra.run.dir=d").code == 0
    assert not (tmp_path / "d" / LOCK).exists()
    lock = busy(tmp_path / "d")
    before = content(tmp_path / "d")
    refused(run("train", "resume=d", "trainer.max_epochs=2"), "d")
    refused(run("select", "run=d", "logger=none"), "d")
    refused(run("select", "run=d", "epoch=1", "logger=none"), "d")
    refused(run("train_guide", "prior=d/prior.safetensors", "hydra.run.dir=d"), "d")
    assert content(tmp_path / "d") == before
    lock.release()


@pytest.mark.parametrize("study", [False, True])
def test_two_sweeps(study: bool, search: list[str], run: Run, tmp_path: Path) -> None:
    sweep = ["-m", "lam=0,1"]
    if study:
        pytest.importorskip("optuna")
        sweep = ["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "lam=interval(0,1)"]
    lock = busy(tmp_path / "sw")
    refused(run("reconstruct", *sweep, *search, "hydra.sweep.dir=sw"), "sw")
    assert list((tmp_path / "sw").iterdir()) == [tmp_path / "sw" / LOCK]
    lock.release()
    assert run("reconstruct", *sweep, *search, "hydra.sweep.dir=sw").code == 0
    lock = busy(tmp_path / "sw")
    assert run("compare", "sweep=sw").code == 0, "reading a running sweep is no trespass"
    lock.release()


def test_the_processes_of_one_run_are_no_strangers(
    search: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = busy(tmp_path / "d")
    monkeypatch.setenv("LOCAL_RANK", "1")
    ran = run("reconstruct", *search, "hydra.run.dir=d")
    lock.release()
    assert "another command" not in ran.err


def test_the_lock_is_free_after_an_error_and_after_each_thread(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a bug"), claim(tmp_path / "d", "go away"):
        raise RuntimeError("a bug")
    with claim(tmp_path / "d", "go away"):
        found: list[BaseException] = []

        def other() -> None:
            try:
                with claim(tmp_path / "d", "go away"):
                    pass
            except InputError as problem:
                found.append(problem)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert "wait until it ends, or go away" in str(found[0])
    with claim(tmp_path / "d", "go away"):
        pass


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Without(FileLock):  # type: ignore[misc, valid-type]
        def acquire(self, *args: object, **kwargs: object) -> None:
            raise OSError(module._NO_LOCKS[0], "No locks available")

    monkeypatch.setattr(module, "FileLock", Without)
    monkeypatch.setattr(logging.getLogger("gan_inpaint"), "propagate", True)
    with claim(tmp_path / "d", "go away"):
        pass
    assert "its file system has no locks; start only one command" in caplog.text
