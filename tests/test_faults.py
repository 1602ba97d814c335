"""What goes wrong around a run: disks, caches, servers, memory."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import wandb
from conftest import Ran, only, save_tiny_prior, write_pictures
from processes import check_whole, started
from test_interruption import assert_equal, finished, reconstruction, table, training

from gan_inpaint.inversion.lightning_module import LatentReconstruction
from gan_inpaint.training import callbacks

Run = Callable[..., Ran]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 4 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


COMMANDS = [("train", training), ("reconstruct", reconstruction)]


@pytest.mark.parametrize("logger", ["none", "wandb"])
@pytest.mark.parametrize(("name", "options"), COMMANDS)
def test_a_full_disk_stops_a_run_and_room_lets_it_go_on(
    name: str, options: Callable, logger: str, small_disk: Path, tmp_path: Path, soak: bool
) -> None:
    if logger == "wandb" and not soak:
        pytest.skip("for make soak")
    arguments = [*options(tmp_path), f"logger={logger}"]
    whole, broken, log = tmp_path / "whole", small_disk / "run", tmp_path / "log.txt"
    finished(name, [*arguments, f"hydra.run.dir={whole}"], log)
    for room in (40_000, 90_000, 150_000) if soak else (90_000,):  # it fails at other places
        ballast = small_disk / "ballast"
        shutil.rmtree(broken, ignore_errors=True)
        ballast.unlink(missing_ok=True)
        free = os.statvfs(small_disk)
        ballast.write_bytes(bytes(free.f_bavail * free.f_frsize - room))
        process = started(name, [*arguments, f"hydra.run.dir={broken}"], log)
        process.join(60)
        said = log.read_text()
        assert process.exitcode == 2, said
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert "No space left on device; make room" in errors[0]
        assert "Traceback" not in said
        check_whole(broken)
    ballast.unlink()
    finished(name, [f"resume={broken}"], log)
    if logger == "none":
        assert_equal(whole, broken)


@pytest.mark.parametrize(("name", "options"), COMMANDS)
def test_where_nothing_can_be_written_a_sentence_says_so(
    name: str, options: Callable, small_disk: Path, tmp_path: Path, run: Run
) -> None:
    arguments = options(tmp_path)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    ran = run(name, *arguments, f"hydra.run.dir={small_disk / 'run'}")
    assert ran.code == 2
    assert f"{small_disk / 'run'}: Read-only file system; check who may write" in ran.sentence
    file = tmp_path / "file"
    file.write_text("in the way")
    ran = run(name, *arguments, f"hydra.run.dir={file / 'run'}")
    assert ran.code == 2
    assert "a part of it is a file" in ran.sentence
    assert file.read_text() == "in the way"


def test_a_cache_that_cannot_be_kept_names_the_cure(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GAN_INPAINT_CACHE", str(tmp_path / "file" / "cache"))
    ran = run("train", *training(tmp_path))
    assert ran.code == 2
    assert "set the environment variable GAN_INPAINT_CACHE" in ran.sentence


def test_a_cache_deleted_under_a_run_is_made_again_by_the_next(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = training(tmp_path)
    save = callbacks.Snapshots._save

    def delete_and_save(*args: object) -> None:
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        save(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(callbacks.Snapshots, "_save", delete_and_save)
        assert run("train", *arguments, "hydra.run.dir=one").code == 0
    assert not (tmp_path / "cache").exists()
    assert run("train", *arguments, "hydra.run.dir=two").code == 0
    assert_equal(tmp_path / "one", tmp_path / "two")


def test_two_runs_that_fill_the_cache_at_once(tmp_path: Path) -> None:
    arguments = training(tmp_path)
    runs = [tmp_path / "one", tmp_path / "two"]
    both = [
        started("train", [*arguments, f"hydra.run.dir={run}"], tmp_path / f"{run.name}.txt")
        for run in runs
    ]
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    assert_equal(*runs)
    # of the training and of the held-out images, each with its description
    assert check_whole(tmp_path / "cache") == 4
    assert len(list((tmp_path / "cache").iterdir())) == 4, "nothing unfinished is left"


def test_a_wandb_server_that_is_not_there_does_not_hold_up_a_run(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb.teardown()  # or W&B goes on with the settings of an earlier test: 90 seconds of patience
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    ran = run("reconstruct", f"prior={prior}", "data=generated", "data.count=2", "steps=2")
    assert ran.code == 0, ran.err
    assert "W&B: no connection" in ran.out
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    assert list(job.glob("wandb/offline-run-*"))
    assert json.loads((job / "summary.json").read_text())["status"] == "done"


SEARCH = LatentReconstruction._search


def no_memory_for(rows: int, failures: list[int]) -> Callable:
    """A search that has memory for so many rows."""
    search = SEARCH

    def limited(self: LatentReconstruction, images: torch.Tensor, *rest: object) -> object:
        if len(images) * self.config.restarts > rows:
            failures.append(len(images))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return search(self, images, *rest)

    return limited


def test_a_search_goes_on_in_smaller_batches_when_memory_runs_out(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*reconstruction(tmp_path), "batch_size=16", "steps=4"]
    assert run("reconstruct", *arguments, "hydra.run.dir=whole").code == 0
    failures: list[int] = []
    monkeypatch.setattr(LatentReconstruction, "_search", no_memory_for(5, failures))
    ran = run("reconstruct", *arguments, "hydra.run.dir=halved")
    assert ran.code == 0, ran.err
    assert failures == [7, 4, 8, 4]  # one of eight cannot be read; the self-test has eight
    assert "batch_size=14: out of memory; continuing with batch_size=8" in ran.err
    assert "batch_size=8: out of memory; continuing with batch_size=4" in ran.err
    assert ran.err.count("skipped") == 1
    for name in ("results.csv", "restarts.csv"):
        whole, halved = (table(tmp_path / job / name) for job in ("whole", "halved"))
        assert [row["image"] for row in whole] == [row["image"] for row in halved]
        for one, other in zip(whole, halved, strict=True):  # smaller batches round otherwise
            for column in ("objective", "psnr_hole"):
                if one[column]:
                    assert float(other[column]) == pytest.approx(float(one[column]), rel=1e-2)
    monkeypatch.setattr(LatentReconstruction, "_search", no_memory_for(1, failures))
    ran = run("reconstruct", *arguments)
    assert ran.code == 2
    assert "batch_size=2: out of memory on one image; set fewer restarts" in ran.sentence


def test_a_training_goes_on_with_smaller_batches_when_memory_runs_out(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_inpaint.training.gan_module import AdversarialTraining

    step = AdversarialTraining.training_step

    def limited(self: AdversarialTraining, batch: torch.Tensor, index: int) -> None:
        if len(batch) > 4:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to ...")
        step(self, batch, index)

    monkeypatch.setattr(AdversarialTraining, "training_step", limited)
    arguments = training(tmp_path)
    ran = run("train", *arguments, "batch_size=16", "hydra.run.dir=halved")
    assert ran.code == 0, ran.err
    assert "batch_size=16: out of memory; continuing with batch_size=8" in ran.err
    assert "batch_size=8: out of memory; continuing with batch_size=4" in ran.err
    monkeypatch.setattr(AdversarialTraining, "training_step", step)
    assert run("train", *arguments, "batch_size=4", "hydra.run.dir=small").code == 0
    assert_equal(tmp_path / "halved", tmp_path / "small")


@pytest.mark.soak
@pytest.mark.parametrize("name", ["train", "reconstruct"])
def test_memory_that_is_really_short(name: str, tmp_path: Path) -> None:
    """Under a limit of the system, with networks that are large enough to feel it."""
    log = tmp_path / "log.txt"
    if name == "train":
        pictures = write_pictures(tmp_path / "pictures", 300)
        arguments = ["data=folder", f"data.path={pictures}", "batch_size=256", "model.size=128"]
        arguments += ["model.ngf=32", "model.ndf=32", "trainer.max_epochs=1", "logger=none"]
        arguments += ["+trainer.limit_train_batches=1"]
    else:
        prior = save_tiny_prior(tmp_path / "large.safetensors", size=128, ngf=16)
        arguments = [f"prior={prior}", "data=generated", "data.count=256", "batch_size=256"]
        arguments += ["steps=1", "candidates=1", "logger=none"]
    process = started(name, [*arguments, "hydra.run.dir=run"], log, memory=3 * 2**29)
    process.join(240)
    said = log.read_text()
    assert process.exitcode == 0, said
    assert "out of memory; continuing with batch_size=" in said
