"""Offline W&B runs, read back with W&B's own tool; metrics.csv; progress."""

import importlib.util
import io
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from conftest import TINY, Ran, only, save_tiny_prior, write_pictures
from PIL import Image
from rich.console import Console

import gan_inpaint
from gan_inpaint.cli.conf_path import CONF
from gan_inpaint.reporting import wandb_logging
from gan_inpaint.reporting.metrics_file import MetricsFile
from gan_inpaint.reporting.progress import TrainingProgress, progress_bar
from gan_inpaint.reporting.wandb_logging import WandbRun

DOCS = Path(__file__).parents[1] / "docs"

Run = Callable[..., Ran]


def records(directory: Path, number: int = 0, of: int = 1) -> dict[str, list[dict]]:
    """What an offline run below a directory holds, by type of record; the oldest is number 0."""
    files = sorted(directory.glob("wandb/offline-run-*/run-*.wandb"), key=lambda f: f.parent.name)
    assert len(files) == of
    file = files[number]
    wandb = Path(sys.executable).with_name("wandb")
    ran = subprocess.run(
        [wandb, "leet", "inspect", "--json", file], capture_output=True, text=True, check=True
    )
    found: dict[str, list[dict]] = {}
    for line in ran.stdout.splitlines():
        record = json.loads(line)
        found.setdefault(record["type"], []).append(record[record["type"]])
    return found


def table_of(directory: Path, key: str, run: str = "") -> dict:
    """A table that was logged."""
    file = only(directory, f"wandb/offline-run-*{run}/files/media/table/{key}*.table.json")
    return json.loads(file.read_text())


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
    for job, lam in enumerate((0.25, 1.0)):
        found = records(sweep, job, of=2)
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
        assert [item["search/step"] for item in losses] == [10, 20]
        looks = [item for item in logged if "search._type" in item]
        assert [item["search/step"] for item in looks] == [10, 20]
        assert config["environment"]["torch"] == torch.__version__
        rows = table_of(sweep, "images", started["run_id"])
        assert rows["columns"][:3] == ["image", "name", "damaged"]
        assert {"unblended", "blended", "true", "psnr_hole"} <= set(rows["columns"])
        assert len(rows["data"]) == 2
        assert {"contextual", "perceptual", "gradient_norm"} <= set(losses[0])
        picture = next(i for i in logged if "reconstructions._type" in i)
        size = (picture["reconstructions.width"], picture["reconstructions.height"])
        assert size == Image.open(sweep / str(job) / "grid.png").size
        written = json.loads((sweep / str(job) / "summary.json").read_text())
        assert summary(found)["psnr_hole"] == pytest.approx(written["psnr_hole"])
        assert found["exit"][0]["exit_code"] == 0
    assert len(ids) == 2


def test_a_failed_job_is_finished_as_failed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(gan_inpaint.LatentReconstruction, "_search", broken)
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


def test_select_is_a_run_too(run: Run, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 40)
    arguments = [*TINY, "data=folder", f"data.path={pictures}", "model.channels=1", "logger=none"]
    arguments += ["batch_size=4", "trainer.max_epochs=2", "checkpoint.every_n_epochs=1"]
    assert run("train", *arguments).code == 0
    trained = only(tmp_path / "outputs" / "train" / "folder", "*")
    ran = run("select", f"run={trained}", "samples=2", "images=2", "steps=2", "candidates=4")
    assert ran.code == 0, ran.err
    found = records(trained)
    assert found["run"][0]["job_type"] == "select"
    assert table_of(trained, "epochs")["columns"][0] == "epoch"
    assert "Epochs compared" in (trained / "index.html").read_text()


class Fake:
    """A W&B run as far as artifacts go."""

    def __init__(self, offline: bool):
        self.offline = offline
        self.used: list = []
        self.logged: list = []
        self.use_artifact, self.log_artifact = self.used.append, self.logged.append


def test_the_line_from_training_to_reconstruction_is_drawn_online(tmp_path: Path) -> None:
    """Both name the prior after its content, wherever it lies."""
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    copy = tmp_path / "elsewhere.safetensors"
    copy.write_bytes(prior.read_bytes())
    training, search, offline = (Fake(offline) for offline in (False, False, True))
    WandbRun.log_prior(SimpleNamespace(experiment=training), prior, {"nz": "8"})  # type: ignore
    WandbRun.use_prior(SimpleNamespace(experiment=search), copy, {"nz": "8"})  # type: ignore
    WandbRun.use_prior(SimpleNamespace(experiment=offline), copy, {"nz": "8"})  # type: ignore
    assert training.logged[0].name == search.used[0].name
    assert training.logged[0].type == "prior"
    assert training.logged[0].metadata == {"nz": "8"}
    assert not offline.used


# ---------------------------------------------------------------- docs/wandb


def test_the_sweep_of_the_documentation_calls_the_command_with_keys_that_it_has() -> None:
    sweep = yaml.safe_load((DOCS / "wandb" / "sweep.yaml").read_text())
    defaults = yaml.safe_load((CONF / "reconstruct.yaml").read_text())
    assert set(sweep["parameters"]) == {"lam", "lr", "norm"} <= set(defaults)
    assert sweep["command"][1:4] == ["python", "-m", "gan_inpaint.reconstruct"]
    assert "${args_no_hyphens}" in sweep["command"]
    assert sweep["metric"]["name"] == "psnr_hole"
    given = [word for word in sweep["command"][4:] if not word.startswith("$")]
    for values in sweep["parameters"].values():
        assert values["values"]
    assert all(word.partition("=")[0].partition(".")[0] in {*defaults, "data"} for word in given)


def test_the_workspace_of_the_documentation_is_built_without_an_account() -> None:
    pytest.importorskip("wandb_workspaces")
    path = DOCS / "wandb" / "workspace.py"
    spec = importlib.util.spec_from_file_location("workspace", path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    made = module.workspace("someone", "gan_inpaint")
    assert [section.name for section in made.sections] == ["Settings", "Losses", "Pictures"]
    panels = [type(panel).__name__ for section in made.sections for panel in section.panels]
    assert {"ParallelCoordinatesPlot", "LinePlot", "MediaBrowser"} <= set(panels)


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
    assert wandb_logging.wandb_mode() == "offline"
    monkeypatch.setattr(wandb, "login", lambda prompt: True)
    assert wandb_logging.wandb_mode() == "online"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_logging.wandb_mode() == "disabled"


def test_no_logger_leaves_no_wandb(run: Run, tmp_path: Path) -> None:
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={tiny}", "data=generated", "data.count=2", "candidates=8", "steps=2"]
    ran = run("reconstruct", "logger=none", *arguments)
    assert ran.code == 0
    assert "W&B" not in ran.out
    assert not list(tmp_path.rglob("wandb"))


def test_metrics_continue_where_the_checkpoint_was(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = MetricsFile(path, ("loss/d", "epoch"))
    for step, loss in ((2, math.nan), (4, 0.4), (6, 0.6)):  # a diverged loss must be readable
        first.log_metrics({"loss/d": loss, "epoch": 0, "other": 1}, step)
    first.save()
    second = MetricsFile(path, ("loss/d", "epoch"))
    second.forget_after(4)
    second.log_metrics({"loss/d": 0.9, "epoch": 1}, 6)
    second.save()
    assert path.read_text() == "step,loss/d,epoch\n2,nan,0\n4,0.4,0\n6,0.9,1\n"


def test_progress_shows_percent_time_left_and_losses_in_80_columns() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True)
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(total_batch_idx=9))
    trainer = SimpleNamespace(fit_loop=loop)
    module = SimpleNamespace(history=[{"loss/d": 0.76543, "loss/g": 12.3456, "prob/real": 0.5}])
    with progress_bar("training", 20, ("loss/d", "loss/g"), console) as bar:
        TrainingProgress(bar).on_train_batch_end(trainer, module)  # type: ignore[arg-type]
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", out.getvalue()).splitlines()[-1]
    assert re.search(r"training .* 50 % .*left loss/d 0\.765  loss/g 12\.3", shown), shown


# ---------------------------------------------------------------- what stands in the environment


@pytest.fixture
def job(tmp_path: Path) -> list[str]:
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    return [f"prior={tiny}", "data=generated", "data.count=2", "candidates=8", "steps=2"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WANDB_PROJECT", "a/b"),
        ("WANDB_PROJECT", "50%"),
        ("WANDB_FINISH_TIMEOUT", "soon"),
        ("WANDB_MODE", "sometimes"),
    ],
)
def test_words_that_wandb_refuses_are_one_sentence(
    name: str, value: str, job: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    ran = run("reconstruct", *job)
    assert ran.code == 2, ran.err
    assert name in ran.sentence
    assert run("reconstruct", *job, "logger=none").code == 0, "and it can do without"


@pytest.mark.parametrize("mode", ["dryrun", "offline", "run"])
def test_old_names_of_modes(
    mode: str, job: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soak: bool
) -> None:
    if mode == "run" and not soak:
        pytest.skip("it waits for a server; test_faults has such a test")
    monkeypatch.setenv("WANDB_MODE", mode)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("WANDB_API_KEY", "0123456789" * 4)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "1")
    ran = run("reconstruct", *job)
    assert ran.code == 0, ran.err
    assert "W&B: offline" in ran.out
    assert ("no connection" in ran.out) == (mode == "run")
    assert list(tmp_path.rglob("offline-run-*"))


def shell(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: W&B reads its environment once."""
    return subprocess.run(
        [sys.executable, "-m", "gan_inpaint.reconstruct", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=200,
        check=False,
    )


def test_a_run_id_in_the_environment_is_not_shared_by_a_sweep(
    job: list[str], tmp_path: Path
) -> None:
    ran = shell("-m", "lam=0,1", *job, WANDB_RUN_ID="mine")
    assert ran.returncode == 0, ran.stderr
    assert "W&B: WANDB_RUN_ID is ignored" in ran.stdout
    names = {p.name.rpartition("-")[2] for p in tmp_path.rglob("offline-run-*")}
    assert len(names) == 2
    assert "mine" not in names


def test_a_run_id_of_one_job_is_checked(job: list[str]) -> None:
    ran = shell(*job, WANDB_RUN_ID="a/b")
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: W&B refuses its settings")
    assert "WANDB_RUN_ID" in ran.stderr


def test_an_empty_project_is_the_usual_one(
    job: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "")
    assert run("reconstruct", *job, "hydra.run.dir=one").code == 0
    assert records(tmp_path / "one")["run"][0]["project"] == "gan_inpaint"


def test_the_prior_that_is_credited_is_the_one_that_was_used(
    job: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``latest`` is looked up once, though a newer prior may appear while the job runs."""
    credited: list[Path] = []
    monkeypatch.setattr(WandbRun, "use_prior", lambda run, path, told: credited.append(path))
    folder = tmp_path / "outputs" / "train" / "x"
    save_tiny_prior(folder / "1" / "prior.safetensors")
    from gan_inpaint.priors import registry

    find = registry.find_prior

    def and_then_there_is_another(source: str) -> tuple[Path, str]:
        found = find(source)
        save_tiny_prior(folder / "2" / "prior.safetensors", seed=1)
        return found

    monkeypatch.setattr(registry, "find_prior", and_then_there_is_another)
    ran = run("reconstruct", "prior=latest", *job[1:])
    assert ran.code == 0, ran.err
    assert [path.parent.name for path in credited] == ["1"]
