"""The group ``logger``: what was logged, read back by each logger's own reader."""

import csv
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, Ran, only, save_tiny_prior, write_pictures
from PIL import Image

import gan_inpaint

Run = Callable[..., Ran]


@pytest.fixture
def job(tmp_path: Path) -> list[str]:
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    return [f"prior={tiny}", "data=generated", "data.count=2", "candidates=8", "steps=20"]


def read_tensorboard(folder: Path):  # type: ignore[no-untyped-def]
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    return found.Reload()


def test_one_job_in_tensorboard_mlflow_and_csv(job: list[str], run: Run, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    ran = run(
        *("reconstruct", "-m", "lam=0.5", *job, "logger=[tensorboard,mlflow,csv]"),
        "hydra.sweep.dir=sweep",
    )
    assert ran.code == 0, ran.err
    directory = tmp_path / "sweep" / "0"
    summary = json.loads((directory / "summary.json").read_text())
    losses = list(csv.DictReader((directory / "metrics.csv").open()))
    steps = [int(row["step"]) for row in losses]
    assert steps == [10, 20]

    board = read_tensorboard(directory / "tensorboard" / "version_0")
    curve = board.Scalars("objective")
    assert [point.step for point in curve] == steps
    assert [point.value for point in curve] == pytest.approx(
        [float(row["objective"]) for row in losses]
    )
    final = board.Scalars("final/psnr_hole")[-1].value
    assert final == pytest.approx(summary["psnr_hole"], rel=1e-5)
    assert [image.step for image in board.Images("search")] == steps
    assert board.Images("reconstructions")[0].encoded_image_string.startswith(b"\x89PNG")
    assert "lam: 0.5" in (directory / "tensorboard" / "version_0" / "hparams.yaml").read_text()

    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    experiment = client.get_experiment_by_name("gan_inpaint")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.info.status == "FINISHED"
    assert kept.data.params["lam"] == "0.5"
    assert kept.data.tags["sweep"] == "sweep"
    assert kept.data.tags["job_type"] == "reconstruct"
    assert kept.data.metrics["final/psnr_hole"] == pytest.approx(summary["psnr_hole"])
    history = client.get_metric_history(kept.info.run_id, "objective")
    assert [point.step for point in history] == steps
    drawn = only(tmp_path / "mlruns", "**/reconstructions/*.png")
    assert np.array_equal(Image.open(drawn), Image.open(directory / "grid.png"))

    rows = list(csv.DictReader((directory / "csv" / "version_0" / "metrics.csv").open()))
    assert float(rows[0]["objective"]) == pytest.approx(float(losses[0]["objective"]))
    assert not list(tmp_path.rglob("wandb"))


def test_a_training_in_tensorboard(run: Run, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 16)
    arguments = [*TINY, "data=folder", f"data.path={pictures}", "model.channels=1", "batch_size=4"]
    arguments += ["log_every=2", "trainer.max_epochs=2", "checkpoint.every_n_epochs=1"]
    ran = run("train", *arguments, "logger=[tensorboard,csv]", "hydra.run.dir=small")
    assert ran.code == 0, ran.err
    board = read_tensorboard(tmp_path / "small" / "tensorboard" / "version_0")
    assert [point.step for point in board.Scalars("loss/d")] == [2, 4, 6]
    assert len(board.Images("samples")) == 2


def test_a_failed_job_is_failed_in_mlflow(
    job: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(gan_inpaint.LatentReconstruction, "_search", broken)
    assert run("reconstruct", *job, "logger=mlflow").code == 1
    client = mlflow.MlflowClient("sqlite:///mlflow.db")
    experiment = client.get_experiment_by_name("gan_inpaint")
    assert client.search_runs([experiment.experiment_id])[0].info.status == "FAILED"


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_missing_extra_is_one_sentence(
    name: str, job: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loggers = importlib.import_module("gan_inpaint.cli.loggers")
    monkeypatch.setattr(loggers, "find_spec", lambda package: None)
    ran = run("reconstruct", *job, f"logger={name}", "hydra.run.dir=one")
    assert ran.code == 2
    assert f"logger={name} needs pip install 'gan_inpaint[{name}]'" in ran.sentence
    assert not (tmp_path / "one" / "images").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["logger=neptune"], "neptune"),
        (["logger=tensorboard", "+logger.tensorboard.colour=red"], "colour"),
        (["logger=none", "+logger.mine=1"], "must be a mapping with a _target_"),
        (["logger=wandb", "logger.wandb.tag=x"], "logger.wandb.tag"),
    ],
)
def test_a_wrong_logger_is_one_sentence(
    words: list[str], said: str, job: list[str], run: Run
) -> None:
    ran = run("reconstruct", *job, *words)
    assert ran.code == 2, ran.err
    assert said in ran.sentence


def test_an_unreachable_server_is_one_sentence(
    job: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    ran = run("reconstruct", *job, "logger=mlflow", "logger.mlflow.tracking_uri=http://127.0.0.1:9")
    assert ran.code == 2
    assert "logger=mlflow:" in ran.sentence
    assert "set logger=none" in ran.sentence


def test_wandb_can_be_described(job: list[str], run: Run, tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    from test_tracking import records

    words = ["logger.wandb.project=holes", "logger.wandb.tags=[faces,try]", "hydra.run.dir=one"]
    ran = run("reconstruct", *job, *words, "logger.wandb.notes='half of it'")
    assert ran.code == 0, ran.err
    started = records(tmp_path / "one")["run"][0]
    assert started["project"] == "holes"
    assert started["tags"] == ["faces", "try"]
    assert started["notes"] == "half of it"
