"""Offline W&B runs, read back with W&B's own tool; metrics.csv; progress."""

import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TINY, Ran, only, save_tiny_prior, write_pictures
from PIL import Image
from rich.console import Console

from gan_inpaint import tracking

Run = Callable[..., Ran]


def records(directory: Path) -> dict[str, list[dict]]:
    """What the one offline run below a directory holds, by type of record."""
    file = only(directory, "wandb/offline-run-*/run-*.wandb")
    wandb = Path(sys.executable).with_name("wandb")
    ran = subprocess.run(
        [wandb, "leet", "inspect", "--json", file], capture_output=True, text=True, check=True
    )
    found: dict[str, list[dict]] = {}
    for line in ran.stdout.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record[record["type"]])
    return found


def summary(found: dict[str, list[dict]]) -> dict:
    merged: dict = {}
    for record in found["summary"]:
        merged |= record.get("update", {})
    return merged


def test_one_finished_run_a_job_grouped_by_sweep(run: Run, tmp_path: Path) -> None:
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={tiny}", "data=generated", "data.count=2", "candidates=8", "steps=20"]
    ran = run("reconstruct", "-m", "lam=0.25,1", *arguments)
    assert ran.code == 0, ran.err
    assert "W&B: offline" in ran.out
    assert "wandb sync" in ran.out
    sweep = only(tmp_path / "multirun", "*")
    ids = set()
    for job, lam in (("0", 0.25), ("1", 1.0)):
        found = records(sweep / job)
        started = found["run"][0]
        ids.add(started["run_id"])
        assert started["project"] == "gan_inpaint"
        assert started["run_group"] == sweep.name
        assert started["job_type"] == "reconstruct"
        assert started["display_name"] == f"lam={lam:g} lr=0.1 l2"
        config = started["config"]["update"]
        assert config["lam"] == lam
        assert config["mask"]["side"] == 0.5
        logged = [item["item"] for item in found["history"]]
        losses = [item for item in logged if "objective" in item]
        assert [item["trainer/global_step"] for item in losses] == [10, 20]
        assert {"contextual", "perceptual", "gradient_norm"} <= set(losses[0])
        picture = next(i for i in logged if "reconstructions._type" in i)
        size = (picture["reconstructions.width"], picture["reconstructions.height"])
        assert size == Image.open(sweep / job / "grid.png").size
        written = json.loads((sweep / job / "summary.json").read_text())
        assert summary(found)["psnr_hole"] == pytest.approx(written["psnr_hole"])
        assert found["exit"][0]["exit_code"] == 0
    assert len(ids) == 2


def test_a_failed_job_is_finished_as_failed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("gan_inpaint.search.search", broken)
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    assert run("reconstruct", f"prior={tiny}", "data=generated").code == 1
    found = records(only(tmp_path / "outputs" / "reconstruct", "*"))
    assert found["exit"][0]["exit_code"] == 1


def test_a_training_logs_losses_and_samples(run: Run, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 16)
    arguments = [*TINY, "data=folder", f"data.path={pictures}", "model.channels=1"]
    arguments += ["batch_size=4", "log_every=2", "trainer.max_epochs=2", "name=small"]
    ran = run("train", *arguments, "checkpoint.every_n_epochs=1")
    assert ran.code == 0, ran.err
    found = records(only(tmp_path / "outputs" / "train" / "small", "*"))
    assert found["run"][0]["job_type"] == "train"
    assert found["run"][0]["config"]["update"]["schedule"] == {"discriminator": 1, "generator": 1}
    logged = [item["item"] for item in found["history"]]
    losses = [item for item in logged if "loss/d" in item]
    assert [item["trainer/global_step"] for item in losses] == [2, 4, 6]
    assert {"loss/g", "prob/real", "prob/fake", "images_per_second"} <= set(losses[0])
    assert sum("samples._type" in item for item in logged) == 2


@pytest.mark.parametrize("reply", [False, RuntimeError("no server")])
def test_without_a_key_or_a_server_it_is_offline(
    monkeypatch: pytest.MonkeyPatch, reply: object
) -> None:
    import wandb

    def login(prompt: bool) -> bool:
        if isinstance(reply, Exception):
            raise reply
        return bool(reply)

    monkeypatch.setattr(wandb, "login", login)
    monkeypatch.delenv("WANDB_MODE")
    assert tracking._wandb_mode() == "offline"
    monkeypatch.setattr(wandb, "login", lambda prompt: True)
    assert tracking._wandb_mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert tracking._wandb_mode() == "disabled"


def test_no_logger_leaves_no_wandb(run: Run, tmp_path: Path) -> None:
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={tiny}", "data=generated", "data.count=2", "candidates=8", "steps=2"]
    ran = run("reconstruct", "logger=none", *arguments)
    assert ran.code == 0
    assert "W&B" not in ran.out
    assert not list(tmp_path.rglob("wandb"))


def test_metrics_continue_where_the_checkpoint_was(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = tracking.MetricsFile(path, ("loss/d", "epoch"))
    for step, loss in ((2, math.nan), (4, 0.4), (6, 0.6)):  # a diverged loss must be readable
        first.log_metrics({"loss/d": loss, "epoch": 0, "other": 1}, step)
    first.save()
    second = tracking.MetricsFile(path, ("loss/d", "epoch"))
    second.forget_after(4)
    second.log_metrics({"loss/d": 0.9, "epoch": 1}, 6)
    second.save()
    assert path.read_text() == "step,loss/d,epoch\n2,nan,0\n4,0.4,0\n6,0.9,1\n"


def test_progress_shows_percent_time_left_and_losses_in_80_columns() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True)
    trainer = SimpleNamespace(
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(total_batch_idx=9)),
        max_epochs=2,
        num_training_batches=10,
    )
    module = SimpleNamespace(history=[{"loss/d": 0.76543, "loss/g": 12.3456, "prob/real": 0.5}])
    with tracking.progress_bar("training", 200, ("loss/d", "loss/g"), console) as bar:
        bar.on_train_batch_end(trainer, module)  # type: ignore[arg-type]
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()).splitlines()[-1]
    assert re.search(r"training .* 50 % .*left loss/d 0\.765  loss/g 12\.3", shown), shown
