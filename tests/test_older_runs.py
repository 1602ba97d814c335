"""Runs, priors, jobs and sweeps that an older version wrote: tests/fixtures, by its commit.

``data=digits`` at 16x16 for one epoch, then two images of ``data=generated``: see the overrides in
each ``.hydra``.
"""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import Ran

from gan_inpaint import AdversarialTraining, inpaint, load_prior
from gan_inpaint.cli.app import _former_defaults
from gan_inpaint.reporting.sweep import read_jobs

OLDER = Path(__file__).parent / "fixtures" / "7d261a9"
Run = Callable[..., Ran]


@pytest.fixture
def older(tmp_path: Path, run: Run) -> Path:
    """A copy, in the directory where commands run."""
    shutil.copytree(OLDER, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize("name", ["run", "run/prior.safetensors", "run/checkpoints/last.ckpt"])
def test_its_priors_load(older: Path, name: str) -> None:
    prior = load_prior(older / name)
    images = prior.sample(2, seed=0)
    known = images.new_ones(1, 1, 16, 16)
    known[..., 4:12, 4:12] = 0
    assert inpaint(images, known, prior, steps=2).images.isfinite().all()


def test_its_checkpoint_loads_and_its_training_goes_on(older: Path, run: Run) -> None:
    AdversarialTraining.load_from_checkpoint(older / "run" / "checkpoints" / "last.ckpt")
    ran = run("train", "resume=run", "trainer.max_epochs=2")
    assert ran.code == 0, ran.err
    assert (older / "run" / "checkpoints" / "epoch_002.ckpt").is_file()
    steps = [row["epoch"] for row in csv.DictReader((older / "run" / "metrics.csv").open())]
    assert steps[-1] == "1", "counted from 0"


def test_its_jobs_are_compared_and_go_on(older: Path, run: Run) -> None:
    assert [job.done for job in read_jobs(older / "sweep")] == [True, True]
    ran = run("compare", "sweep=sweep")
    assert ran.code == 0, ran.err
    before = (older / "job" / "results.csv").read_bytes()
    ran = run("reconstruct", "resume=job")
    assert ran.code == 0, ran.err
    assert "resuming: 2 images are done" in ran.out
    assert (older / "job" / "results.csv").read_bytes() == before
    assert json.loads((older / "job" / "summary.json").read_text())["status"] == "done"
    ran = run("reconstruct", "resume=job", "lam=0.5")
    assert ran.code == 2
    assert "this job was started with lam" in ran.sentence


def test_its_jobs_keep_the_defaults_of_their_time(older: Path) -> None:
    file = older / "job" / ".hydra" / "config.yaml"
    steps = yaml.safe_load(file.read_text())["steps"]  # the default of its time, or of a recipe
    former = ["guide=none", "start=nearest", f"steps={steps}"]
    assert _former_defaults(older / "job", "reconstruct") == former
    assert _former_defaults(older / "run", "train") == []
