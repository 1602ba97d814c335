"""A second command in a directory: old results never stand under new settings."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import processes
import pytest
import yaml
from conftest import TINY, Ran, save_tiny_prior, write_pictures
from PIL import Image

from gan_inpaint.errors import InputError
from gan_inpaint.runtime import precision
from gan_inpaint.runtime.io import read_csv, write_once

Run = Callable[..., Ran]
PRECISIONS = (
    {"AUTO": "bf16", "OTHER": "fp32"} if processes.bf16 else {"AUTO": "fp32", "OTHER": "bf16"}
)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def job(run: Run, tmp_path: Path) -> list[str]:
    """Arguments of a job that lies in ``d``."""
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "p", 3)
    mask = Image.new("L", (16, 16))
    mask.paste(255, (4, 4, 9, 9))
    mask.save(tmp_path / "m.png")
    arguments = [f"prior={prior}", "data=folder", f"data.path={pictures}", "mask=file"]
    arguments += [f"mask.path={tmp_path / 'm.png'}", "steps=3", "candidates=8", "logger=none"]
    assert run("reconstruct", *arguments, "hydra.run.dir=d").code == 0
    return arguments


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("steps=60", "steps=3 (now 60)"),
        ("candidates=16", "candidates=8 (now 16)"),
        ("optimizer=adam", "optimizer=lbfgs (now adam)"),
        ("weighting=yeh", "weighting=known"),
        ("blend=none", "blend=poisson"),
        ("radius=0.5", "radius=0.7"),
        ("limit=2", "limit=None (now 2)"),
        ("data.box=[0,0,8,8]", "data.box"),
        ("data.white=100", "data.white=None (now 100)"),
        ("mask.invert=true", "mask.invert"),
        ("baselines=true", "baselines"),
        ("precision=OTHER", "precision=AUTO (now OTHER)"),
    ],
)
def test_other_settings_are_refused_and_leave_everything_as_it_was(
    change: str, words: str, job: list[str], run: Run, tmp_path: Path
) -> None:
    for name, choice in PRECISIONS.items():
        change, words = change.replace(name, choice), words.replace(name, choice)
    before = content(tmp_path / "d")
    ran = run("reconstruct", *job, change, "hydra.run.dir=d")
    assert ran.code == 2
    assert f"d: this job was started with {words}" in ran.sentence
    assert content(tmp_path / "d") == before
    assert run("reconstruct", f"resume={tmp_path / 'd'}").code == 0, "and it can be resumed"


@pytest.mark.parametrize("what", ["images", "masks", "prior"])
def test_other_files_behind_the_same_names_are_refused(
    what: str, job: list[str], run: Run, tmp_path: Path
) -> None:
    if what == "images":
        Image.new("L", (16, 16), 9).save(tmp_path / "p" / "01.png")
    elif what == "masks":
        Image.new("L", (16, 16), 255).save(tmp_path / "m.png")
    else:
        save_tiny_prior(tmp_path / "tiny.safetensors", seed=1)
    before = content(tmp_path / "d")
    for command in ([*job, "hydra.run.dir=d"], ["resume=d"]):
        ran = run("reconstruct", *command)
        assert ran.code == 2
        other = "another prior" if what == "prior" else f"other {what}"
        assert f"this job was started with {other} (the content has changed)" in ran.sentence
    assert content(tmp_path / "d") == before


@pytest.mark.parametrize("change", [[], ["batch_size=2"], ["metrics=[frechet]", "diagnose=true"]])
def test_the_same_job_goes_on(change: list[str], job: list[str], run: Run, tmp_path: Path) -> None:
    before = (tmp_path / "d" / "results.csv").read_bytes()
    overrides = (tmp_path / "d" / ".hydra" / "overrides.yaml").read_bytes()
    ran = run("reconstruct", *job, *change, "hydra.run.dir=d")
    assert ran.code == 0, ran.err
    assert "resuming: 3 images are done" in ran.out
    assert f"precision: {PRECISIONS['AUTO']}, as recorded" in ran.out
    assert (tmp_path / "d" / "results.csv").read_bytes() == before
    assert (tmp_path / "d" / ".hydra" / "overrides.yaml").read_bytes() == overrides
    assert list((tmp_path / "d" / ".hydra").glob("resumed_*/overrides.yaml"))


def test_files_may_move(job: list[str], run: Run, tmp_path: Path) -> None:
    (tmp_path / "p").rename(tmp_path / "elsewhere")
    (tmp_path / "m.png").rename(tmp_path / "mask.png")
    moved = [f"data.path={tmp_path / 'elsewhere'}", f"mask.path={tmp_path / 'mask.png'}"]
    ran = run("reconstruct", "resume=d", "data=folder", "mask=file", *moved)
    assert ran.code == 0, ran.err


def test_a_damaged_identity_is_said(job: list[str], run: Run, tmp_path: Path) -> None:
    (tmp_path / "d" / ".hydra" / "identity.json").write_text("{")
    ran = run("reconstruct", "resume=d")
    assert ran.code == 2
    assert "damaged, or not written by this command" in ran.sentence


def test_a_failed_command_gives_the_directory_to_the_next(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={prior}", "data=generated", "data.count=2", "candidates=8"]
    arguments += ["logger=none", "hydra.run.dir=d"]
    assert run("reconstruct", *arguments, "steps=0").code == 2
    assert run("reconstruct", *arguments, "steps=2").code == 0
    told = yaml.safe_load((tmp_path / "d" / ".hydra" / "overrides.yaml").read_text())
    assert "steps=2" in told
    assert "steps=0" not in told


def test_a_sweep_into_the_directory_of_another_is_refused(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={prior}", "data=generated", "data.count=2", "candidates=8", "steps=2"]
    arguments += ["logger=none", "hydra.sweep.dir=sw"]
    assert run("reconstruct", "-m", "mask.side=0.2,0.3", *arguments).code == 0
    before = content(tmp_path / "sw")
    ran = run("reconstruct", "-m", "mask.side=0.6,0.8", *arguments)
    assert ran.code == 2
    assert "sw holds the sweep mask.side=0.2,0.3" in ran.sentence
    assert content(tmp_path / "sw") == before
    ran = run("reconstruct", "-m", "mask.side=0.2,0.3", *arguments)
    assert ran.code == 0, "the same one goes on"
    assert "resuming: 2 images are done" in ran.out


def test_a_job_of_a_sweep_looks_for_itself(run: Run, tmp_path: Path) -> None:
    """Where multirun.yaml is gone, each job is refused on its own."""
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={prior}", "data=generated", "data.count=2", "candidates=8", "steps=2"]
    arguments += ["logger=none", "hydra.sweep.dir=sw"]
    assert run("reconstruct", "-m", "lam=0,1", *arguments).code == 0
    (tmp_path / "sw" / "multirun.yaml").unlink()
    before = content(tmp_path / "sw" / "1")
    ran = run("reconstruct", "-m", "lam=0,2", *arguments)
    assert ran.code == 2
    assert "this job was started with lam=1.0 (now 2.0)" in ran.err
    assert content(tmp_path / "sw" / "1") == before


@pytest.mark.parametrize(
    ("subdir", "swept", "images"),
    [
        ("${hydra.job.override_dirname}", ["shards=2", "shard=0,1"], "4"),
        ("a/b${hydra.job.num}", ["shards=2", "shard=0,1"], "4"),
        ("x y", ["lam=0"], "4"),
    ],
)
def test_the_jobs_of_a_sweep_may_lie_anywhere_below_it(
    subdir: str, swept: list[str], images: str, run: Run, tmp_path: Path
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={prior}", "data=generated", "data.count=4", "candidates=8", "steps=2"]
    arguments += ["logger=none", "hydra.sweep.dir=sw", f"hydra.sweep.subdir={subdir}"]
    ran = run("reconstruct", "-m", *swept, *arguments)
    assert ran.code == 0, ran.err
    for _ in range(2):
        rows = read_csv(tmp_path / "sw" / "comparison.csv")
        assert [(row["job"], row["status"]) for row in rows] == [("0", "done")]
        assert rows[0]["images"] == images, "shards are merged"
        page = (tmp_path / "sw" / "index.html").read_text()
        for place in re.findall(r'href="([^"#:]+)"', page):
            assert (tmp_path / "sw" / unquote(place)).exists(), place
        assert run("compare", "sweep=sw").code == 0


@pytest.mark.parametrize("subdir", ["../elsewhere", "."])
def test_a_job_outside_of_its_sweep_is_refused(subdir: str, run: Run, tmp_path: Path) -> None:
    ran = run(
        *("reconstruct", "-m", "lam=0,1", "logger=none", "hydra.sweep.dir=sw"),
        f"hydra.sweep.subdir={subdir}",
    )
    assert ran.code == 2
    assert f"hydra.sweep.subdir={subdir}: a job's directory must lie below" in ran.err


def training(tmp_path: Path) -> list[str]:
    pictures = write_pictures(tmp_path / "pictures", 12)
    options = ["data=folder", f"data.path={pictures}", "batch_size=4", *TINY]
    return [*options, "trainer.max_epochs=1", "checkpoint.every_n_epochs=1", "logger=none"]


def test_two_trainings_are_not_mixed(run: Run, tmp_path: Path) -> None:
    arguments = training(tmp_path)
    assert run("train", *arguments, "hydra.run.dir=d").code == 0
    before = content(tmp_path / "d")
    for change in ([], ["seed=9"], ["loss=hinge", "trainer.max_epochs=2"]):
        ran = run("train", *arguments, *change, "hydra.run.dir=d")
        assert ran.code == 2
        assert "d holds a training: continue it with resume=" in ran.sentence
    assert content(tmp_path / "d") == before
    assert run("train", "resume=d", "trainer.max_epochs=2").code == 0


def test_a_training_and_a_reconstruction_are_not_mixed(
    job: list[str], run: Run, tmp_path: Path
) -> None:
    assert run("train", *training(tmp_path), "hydra.run.dir=t").code == 0
    before = content(tmp_path / "d"), content(tmp_path / "t")
    ran = run("train", *training(tmp_path), "hydra.run.dir=d")
    assert (ran.code, "d holds a reconstruction: name another" in ran.sentence) == (2, True)
    ran = run("reconstruct", *job, "hydra.run.dir=t")
    assert (ran.code, "t holds a training: name another" in ran.sentence) == (2, True)
    assert (content(tmp_path / "d"), content(tmp_path / "t")) == before


def test_a_resume_that_is_refused_changes_no_setting(run: Run, tmp_path: Path) -> None:
    assert run("train", *training(tmp_path), "hydra.run.dir=d").code == 0
    before = content(tmp_path / "d")
    for change in ("model.size=32", "loss=hinge", "seed=-1", "trainer.max_epochs=abc"):
        assert run("train", "resume=d", "trainer.max_epochs=2", change).code == 2
    assert content(tmp_path / "d") == before
    assert run("train", "resume=d", "trainer.max_epochs=2").code == 0


def test_slurm_starts_the_same_command_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*training(tmp_path), "hydra.run.dir=d"]
    assert run("train", *arguments).code == 0
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    ran = run("train", *arguments)
    assert ran.code == 0, ran.err
    assert "as recorded" in ran.out
    assert run("train", *arguments, "seed=3").code == 2


@pytest.mark.parametrize(
    ("limit", "words"),
    [("0", "never be trained"), ("0.01", "never be trained"), ("0.0", "never be trained")],
)
def test_an_untrained_prior_is_not_exported(
    limit: str, words: str, run: Run, tmp_path: Path
) -> None:
    ran = run("train", *training(tmp_path), f"+trainer.limit_train_batches={limit}")
    assert ran.code == 2
    assert words in ran.sentence
    assert not list(tmp_path.rglob("prior.safetensors"))


def test_a_training_that_ends_before_its_first_generator_step(run: Run, tmp_path: Path) -> None:
    arguments = [*training(tmp_path), "schedule.discriminator=3"]
    arguments += ["+trainer.max_time='00:00:00:00'"]
    ran = run("train", *arguments)
    assert ran.code == 2
    assert "ended before the generator's first step" in ran.sentence
    assert not list(tmp_path.rglob("prior.safetensors"))


# ---------------------------------------------------------------- precision


def test_precision_is_measured_once_for_a_job_and_for_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_has_bf16", lambda: True)
    own, shared = tmp_path / "0" / ".hydra" / "precision.json", tmp_path / "precision.json"
    gains = iter([2.0, 0.5, 0.5])
    monkeypatch.setattr(precision, "_gain", lambda: next(gains))
    assert precision.agree_on_precision("auto", own, "", shared) == "bf16"
    assert json.loads(own.read_text()) == json.loads(shared.read_text()) == "bf16"
    assert precision.agree_on_precision("auto", own, "", shared) == "bf16"
    assert precision.agree_on_precision("auto", tmp_path / "1.json", "", shared) == "bf16"
    assert precision.agree_on_precision("fp32", own, "", shared) == "fp32"
    monkeypatch.setattr(precision, "_has_bf16", lambda: False)
    with pytest.raises(InputError, match="bf16, which this processor does not support; do this"):
        precision.agree_on_precision("auto", own, "do this", shared)
    own.write_text("fp")
    with pytest.raises(InputError, match="damaged"):
        precision.agree_on_precision("auto", own, "", shared)
    assert precision.agree_on_precision("auto", tmp_path / "none.json", "", keep=False) == "fp32"
    assert not (tmp_path / "none.json").exists()


def test_of_many_processes_the_first_writes(tmp_path: Path) -> None:
    assert write_once(tmp_path / "a" / "f", "one") == "one"
    assert write_once(tmp_path / "a" / "f", "two") == "one"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["f"]


def test_where_the_processor_lacks_it_a_training_goes_on_and_a_reconstruction_does_not(
    job: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("train", *training(tmp_path), "hydra.run.dir=t").code == 0
    for directory in ("t", "d"):
        (tmp_path / directory / ".hydra" / "precision.json").write_text('"bf16"')
    monkeypatch.setattr(precision, "_has_bf16", lambda: False)
    ran = run("train", "resume=t", "trainer.max_epochs=2")
    assert ran.code == 2
    assert "give precision=fp32 to continue in that" in ran.sentence
    assert run("train", "resume=t", "trainer.max_epochs=2", "precision=fp32").code == 0
    ran = run("reconstruct", "resume=d")
    assert ran.code == 2
    assert "start a new job with precision=fp32" in ran.sentence


def test_pictures_of_somebody_else_are_not_written_over(
    job: list[str], run: Run, tmp_path: Path
) -> None:
    write_pictures(tmp_path / "own" / "images", 2)
    before = content(tmp_path / "own")
    ran = run("reconstruct", *job, "hydra.run.dir=own")
    assert ran.code == 2
    assert "own: its contents are damaged, or not written by this command" in ran.sentence
    assert content(tmp_path / "own") == before


def test_runs_and_sweeps_are_not_mixed(job: list[str], run: Run, tmp_path: Path) -> None:
    assert run("reconstruct", *job, "-m", "lam=0,1", "hydra.sweep.dir=sw").code == 0
    before = content(tmp_path / "d"), content(tmp_path / "sw")
    ran = run("reconstruct", *job, "-m", "lam=0,1", "hydra.sweep.dir=d")
    assert (ran.code, "d holds a reconstruction" in ran.sentence) == (2, True)
    ran = run("reconstruct", *job, "hydra.run.dir=sw")
    assert (ran.code, "sw holds a sweep" in ran.sentence) == (2, True)
    assert (content(tmp_path / "d"), content(tmp_path / "sw")) == before


@pytest.mark.parametrize("name", ["train", "reconstruct"])
def test_a_resume_stays_in_its_directory(
    name: str, job: list[str], run: Run, tmp_path: Path
) -> None:
    assert run("train", *training(tmp_path), "hydra.run.dir=t").code == 0
    resume = "resume=t" if name == "train" else "resume=d"
    ran = run(name, resume, "hydra.run.dir=other")
    assert ran.code == 2
    assert f"{resume} already sets the run's directory: leave out hydra.run.dir=" in ran.sentence


def test_levels_that_depend_on_all_files_are_part_of_a_job(run: Run, tmp_path: Path) -> None:
    import numpy as np

    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    (tmp_path / "s").mkdir()
    Image.fromarray(np.full((16, 16), 900, np.uint16)).save(tmp_path / "s" / "a.png")
    arguments = [f"prior={prior}", "data=folder", "data.path=s", "data.white=auto", "limit=1"]
    arguments += ["steps=1", "candidates=4", "logger=none", "hydra.run.dir=d"]
    assert run("reconstruct", *arguments).code == 0
    Image.fromarray(np.full((16, 16), 60000, np.uint16)).save(tmp_path / "s" / "z.png")
    ran = run("reconstruct", *arguments)
    assert ran.code == 2
    assert "this job was started with levels" in ran.sentence


def test_a_mask_beside_its_picture_is_part_of_a_job(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    write_pictures(tmp_path / "s", 1)
    (tmp_path / "s" / "00.png").rename(tmp_path / "s" / "a.bmp.png")
    with Image.open(tmp_path / "s" / "a.bmp.png") as picture:
        picture.save(tmp_path / "s" / "a.bmp")
    (tmp_path / "s" / "a.bmp.png").unlink()
    (tmp_path / "list.txt").write_text("s/a.bmp")
    arguments = [f"prior={prior}", "data=folder", "data.path=list.txt", "mask=file", "mask.path=s"]
    arguments += ["steps=1", "candidates=4", "logger=none", "hydra.run.dir=d"]
    for number, corner in enumerate((4, 6)):
        mask = Image.new("L", (16, 16))
        mask.paste(255, (corner, 4, 12, 9))
        mask.save(tmp_path / "s" / "a.png")
        ran = run("reconstruct", *arguments)
        assert ran.code == (2 if number else 0), ran.err
    assert "other masks (the content has changed)" in ran.sentence


@pytest.mark.parametrize("name", ["train", "reconstruct"])
def test_words_that_wandb_refuses_change_nothing(
    name: str, job: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("train", *training(tmp_path), "hydra.run.dir=t").code == 0
    directory = tmp_path / ("t" if name == "train" else "d")
    before = content(directory)
    for key, value in {"WANDB_MODE": "foo", "WANDB_PROJECT": "a/b"}.items():
        with monkeypatch.context() as patched:
            patched.setenv(key, value)
            assert run(name, f"resume={directory}", "logger=wandb").code == 2
    assert content(directory) == before
