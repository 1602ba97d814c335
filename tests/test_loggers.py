"""The group ``logger``: what was logged, read back by each logger's own reader."""

import csv
import errno
import importlib
import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY, Ran, only, save_tiny_prior, write_pictures
from PIL import Image
from pytorch_lightning.loggers import TensorBoardLogger

import gan_inpaint
from gan_inpaint.reporting import wandb_logging

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


def test_one_job_in_tensorboard_and_mlflow(job: list[str], run: Run, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    ran = run(
        *("reconstruct", "-m", "lam=0.5", *job, "logger=[tensorboard,mlflow]"),
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

    assert not list(tmp_path.rglob("wandb"))


def test_a_training_in_tensorboard(run: Run, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 16)
    arguments = [*TINY, "data=folder", f"data.path={pictures}", "model.channels=1", "batch_size=4"]
    arguments += ["log_every=2", "trainer.max_epochs=2", "checkpoint.every_n_epochs=1"]
    ran = run("train", *arguments, "logger=tensorboard", "hydra.run.dir=small")
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


# ---------------------------------------------------------------- loggers that fail

TRAINING = [*TINY, "+experiment=dcgan", "trainer.max_epochs=1", "+trainer.limit_train_batches=8"]
TRAINING += ["log_every=2", "checkpoint.every_n_epochs=1"]


class Tracking(ThreadingHTTPServer):
    """MLflow's server for ``good`` batches of metrics; then it answers ``code``, or nothing."""

    def __init__(self, good: int, code: int | None) -> None:
        self.good, self.code = good, code
        super().__init__(("127.0.0.1", 0), _Answers)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Tracking

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.good -= "log-batch" in self.path
        code = 200
        if self.server.good < 0:
            if self.server.code is None:
                self.close_connection = True
                return
            code = self.server.code
        info = {"run_id": "r", "experiment_id": "0", "status": "RUNNING", "artifact_uri": "art"}
        info |= {"lifecycle_stage": "active", "start_time": 1}
        experiment = {"experiment_id": "0", "name": "x", "artifact_location": "art"}
        body = {"experiment": experiment | {"lifecycle_stage": "active"}}
        if "experiments" not in self.path:
            body = {"run": {"info": info, "data": {}}}
        text = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PATCH = do_POST


@pytest.fixture
def tracking(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[str]]]:
    """``tracking(2, 500)``: the settings of a server that answers 500 after two batches."""
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    begun = []

    def begin(good: int, code: int | None) -> list[str]:
        begun.append(Tracking(good, code))
        threading.Thread(target=begun[-1].serve_forever, daemon=True).start()
        return [f"logger.mlflow.tracking_uri={begun[-1].address}"]

    yield begin
    for server in begun:
        server.shutdown()
        server.server_close()


def complete(directory: Path) -> None:
    """The run's own files are as without a logger."""
    if (directory / "train.log").is_file():
        assert list((directory / "checkpoints").glob("epoch_*.ckpt"))
        assert (directory / "prior.safetensors").is_file()
        assert len((directory / "metrics.csv").read_text().splitlines()) > 1
    else:
        assert json.loads((directory / "summary.json").read_text())["status"] == "done"
        assert len(list((directory / "images").glob("0000?.png"))) == 2
    assert (directory / "index.html").is_file()


def warned_once(ran: Ran, name: str) -> None:
    lines = [line for line in (ran.out + ran.err).splitlines() if f"logger={name}: " in line]
    assert len(lines) == 1, lines
    assert "Traceback" not in ran.out + ran.err


@pytest.mark.parametrize("code", [None, 500])
@pytest.mark.parametrize("good", [0, 2])
@pytest.mark.parametrize("verb", ["train", "reconstruct"])
def test_a_server_that_fails_ends_nothing(
    verb: str, good: int, code: int | None, job: list[str], run: Run, tracking: Callable[..., list]
) -> None:
    arguments = job if verb == "reconstruct" else TRAINING
    ran = run(verb, *arguments, "logger=mlflow", *tracking(good, code), "hydra.run.dir=one")
    assert ran.code == 0, ran.err
    warned_once(ran, "mlflow")
    complete(Path("one"))


def test_a_server_that_was_never_there(
    job: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    address = "logger.mlflow.tracking_uri=http://127.0.0.1:9"
    ran = run("reconstruct", *job, "logger=[mlflow,tensorboard]", address, "hydra.run.dir=one")
    assert ran.code == 0, ran.err
    warned_once(ran, "mlflow")
    complete(Path("one"))
    board = read_tensorboard(Path("one", "tensorboard", "version_0"))
    assert board.Scalars("objective"), "another logger goes on"


@pytest.mark.parametrize("verb", ["train", "reconstruct"])
def test_a_folder_of_tensorboard_that_vanishes(
    verb: str, job: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards = pytest.importorskip("tensorboard.summary.writer.event_file_writer")
    add = boards.EventFileWriter.add_event

    def vanishing(self: Any, event: Any) -> None:
        shutil.rmtree(self.get_logdir(), ignore_errors=True)
        add(self, event)
        self.flush()

    monkeypatch.setattr(boards.EventFileWriter, "add_event", vanishing)
    arguments = job if verb == "reconstruct" else TRAINING
    ran = run(verb, *arguments, "logger=tensorboard", "hydra.run.dir=one")
    assert ran.code == 0, ran.err
    assert "Traceback" not in ran.out + ran.err
    complete(Path("one"))


CALLS = ["log_metrics", "log_hyperparams", "save", "finalize", "experiment", "name", "version"]


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.parametrize("verb", ["train", "reconstruct"])
def test_an_error_in_any_call_of_a_logger(
    verb: str, method: str, job: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk under one logger, whatever it does at that moment."""

    def full(self: object, *args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    is_property = isinstance(getattr(TensorBoardLogger, method), property)
    monkeypatch.setattr(TensorBoardLogger, method, property(full) if is_property else full)
    arguments = job if verb == "reconstruct" else TRAINING
    ran = run(verb, *arguments, "logger=tensorboard", "hydra.run.dir=one")
    assert ran.code == 0, ran.err
    warned_once(ran, "tensorboard")
    assert "No space left on device; nothing" in ran.out + ran.err
    complete(Path("one"))


def test_wandb_that_cannot_write_ends_nothing(
    job: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, *args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(wandb_logging.WandbRun, "log_image", full)
    ran = run("reconstruct", *job, "logger=wandb", "hydra.run.dir=one")
    assert ran.code == 0, ran.err
    warned_once(ran, "wandb")
    complete(Path("one"))


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
