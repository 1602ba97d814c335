"""Many devices, by other people's engines: Lightning's DDP, SLURM's requeue, Hydra's launchers."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY, Ran, save_tiny_prior, write_pictures
from processes import check_whole
from safetensors import safe_open
from safetensors.torch import save_file
from test_interruption import assert_equal, tensors

from gan_inpaint.data.loading import ShuffledBatches
from gan_inpaint.jobs.runner import JobBatches

ENVIRONMENT = {"WANDB_MODE": "offline"}

TWO = """
import sys
import pytorch_lightning as pl
import torch
from conftest import tiny_training
from gan_inpaint.data.loading import training_batches

ranks = int(sys.argv[1])
pixels = torch.randint(0, 256, (64, 1, 16, 16), generator=torch.manual_seed(0)).byte().numpy()
module = tiny_training(
    batch_size=8, schedule={"discriminator": 3, "generator": 2}, discriminator_norm="spectral",
    augment={"flip": True, "differentiable": ["color", "translation"]},
)
trainer = pl.Trainer(
    max_epochs=3, accelerator="cpu", devices=ranks, logger=False, enable_checkpointing=False,
    strategy="ddp_find_unused_parameters_true" if ranks > 1 else "auto",
    use_distributed_sampler=False, enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(module, training_batches(pixels, 8, 0, trainer.global_rank, ranks))
torch.save(
    {"state": module.state_dict(), "images": module.images_seen, "history": len(module.history)},
    f"{ranks}_{trainer.global_rank}.pt",
)
"""


def python(*arguments: object, **more: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(Path(__file__).parent)} | more
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=200,
        check=False,
    )


def test_two_processes_keep_equal_networks_and_the_schedule_of_one(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO)
    for ranks in (1, 2):
        ran = python("two.py", ranks)
        assert ran.returncode == 0, ran.stderr
    one, first, second = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1_0", "2_0", "2_1")
    )
    assert first["images"] == second["images"] == one["images"] == 3 * 64
    assert first["history"] == one["history"]
    weights = [k for k in first["state"] if "running" not in k and not k.endswith("_u")]
    for key in weights:
        if not ("._v" in key or "._u" in key):  # a process's own estimate, see spectral_norm
            assert torch.equal(first["state"][key], second["state"][key]), key
    for counter in ("discriminator_steps", "generator_steps"):
        assert int(first["state"][counter]) == int(one["state"][counter])
    assert int(one["state"]["generator_steps"]) == 24 // 3 * 2


def test_shares_of_a_batch_make_the_batch() -> None:
    whole = list(ShuffledBatches(20, 6, seed=1))
    shares = [list(ShuffledBatches(20, 6, 1, rank, 3)) for rank in range(3)]
    for index, batch in enumerate(whole):
        parts = [share[index] for share in shares]
        assert all(len(part) == 2 for part in parts)
        assert sorted(batch) == sorted(number for part in parts for number in part)


@pytest.mark.parametrize("command", ["gan_inpaint.train", "gan_inpaint train"])
def test_a_command_trains_on_two_devices(
    tmp_path: Path, run: Callable[..., Ran], command: str, soak: bool
) -> None:
    if " " in command and not soak:
        pytest.skip("the other spelling of the command is in `make soak`")
    pictures = write_pictures(tmp_path / "pictures", 40)
    options = ["data=folder", f"data.path={pictures}", "batch_size=4", *TINY, "log_every=3"]
    options += ["trainer.accelerator=cpu", "trainer.devices=2", "checkpoint.every_n_epochs=1"]
    train = ["-m", *command.split()]
    ran = python(*train, *options, "trainer=ddp", "trainer.max_epochs=2", "hydra.run.dir=run")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("training: 2 epochs of") == 1, "one process speaks"
    assert "on 2 devices" in ran.stdout
    assert len(list((tmp_path / "run" / "wandb").glob("offline-run-*"))) == 1
    check_whole(tmp_path / "run")
    ran = python(*train, "resume=run", "trainer.max_epochs=3")
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "run" / "checkpoints" / "epoch_003.ckpt").is_file()
    tried = run("train", *options, "trainer.max_epochs=2", "logger=none")
    assert tried.code == 2
    assert "trainer.devices=2: several devices need trainer=ddp" in tried.sentence
    tried = run("train", *options, "trainer=ddp", "batch_size=5", "logger=none")
    assert tried.code == 2
    assert "batch_size=5: must be a multiple of the 2 devices" in tried.sentence


def test_two_processes_reconstruct_what_one_does(tmp_path: Path) -> None:
    """Whole batches in turn, five and a half of them: the table of one process."""
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "pictures", 11)
    (pictures / "07.png").write_bytes(b"no image")
    options = [f"prior={prior}", "data=folder", f"data.path={pictures}", "mask=random", "steps=8"]
    options += ["restarts=2", "batch_size=4", "candidates=16", "logger=none", "precision=fp32"]
    command = ["-m", "gan_inpaint.reconstruct", *options, "device=cpu"]
    ran = python(*command, "hydra.run.dir=one")
    assert ran.returncode == 0, ran.stderr
    ran = python(*command, "hydra.run.dir=two", "trainer=ddp", "trainer.devices=2")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("prior: ") == 1, "one process speaks"
    for name in ("results.csv", "restarts.csv", "latents.safetensors", "grid.png"):
        one, two = ((tmp_path / job / name).read_bytes() for job in ("one", "two"))
        assert one == two, name
    assert not list((tmp_path / "two").glob(".process_*"))
    ran = python(*command, "-m", "lam=0,1", "trainer=ddp", "trainer.devices=2")
    assert ran.returncode == 2
    assert "trainer.devices=2: a sweep uses one device for each job" in ran.stderr


def test_a_resume_takes_over_what_other_processes_left(
    tmp_path: Path, run: Callable[..., Ran]
) -> None:
    """They were killed before their results came together."""
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    options = [f"prior={prior}", "data=generated", "restarts=2", "batch_size=4", "steps=8"]
    options += ["candidates=16", "logger=none", "precision=fp32", "limit=8"]
    assert run("reconstruct", *options, "hydra.run.dir=whole").code == 0
    assert run("reconstruct", *options, "hydra.run.dir=job").code == 0
    job = tmp_path / "job"
    names = ("results.csv", "restarts.csv", "metrics.csv", "latents.safetensors", "summary.json")
    (job / ".process_1").mkdir()
    for name in names:
        (job / name).rename(job / ".process_1" / name)
    ran = run("reconstruct", "resume=job")
    assert ran.code == 0, ran.err
    assert "resuming: 8 images are done" in ran.out
    for name in names[:4]:
        assert (job / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert not (job / ".process_1").exists()


@pytest.mark.soak
def test_two_processes_continue_the_job_of_one(tmp_path: Path) -> None:
    """Both need the same list of what is left: only the first one has read the tables."""
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    options = [f"prior={prior}", "data=generated", "data.count=11", "batch_size=2", "steps=8"]
    options += ["candidates=16", "logger=none", "precision=fp32", "device=cpu"]
    # in a process of its own: other threads or kernels would round otherwise
    ran = python("-m", "gan_inpaint.reconstruct", *options, "hydra.run.dir=job")
    assert ran.returncode == 0, ran.stderr
    job = tmp_path / "job"
    whole = (job / "results.csv").read_bytes()
    with safe_open(job / "latents.safetensors", framework="pt") as file:
        codes, about = file.get_tensor("z"), file.metadata()
    codes[4:] = torch.nan  # as if it had been killed after two batches
    save_file({"z": codes}, job / "latents.safetensors", about)
    command = ["-m", "gan_inpaint.reconstruct", "resume=job", "trainer.devices=2"]
    ran = python(*command)  # without trainer=ddp, which Lightning then chooses
    assert ran.returncode == 0, ran.stderr
    assert "resuming: 4 images are done" in ran.stdout
    assert (job / "results.csv").read_bytes() == whole
    ran = python(*command)
    assert ran.returncode == 0, ran.stderr
    assert json.loads((job / "summary.json").read_text())["status"] == "done"


def test_a_search_that_ends_early_is_not_done(
    tmp_path: Path, run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    options = [f"prior={prior}", "data=generated", "data.count=4", "batch_size=2", "steps=2"]
    with monkeypatch.context() as patch:
        patch.setattr(JobBatches, "__len__", lambda self: 1)
        ran = run("reconstruct", *options, "candidates=4", "logger=none", "hydra.run.dir=job")
    assert ran.code == 2
    assert "2 of 4 images are not done; continue with resume=job" in ran.sentence
    assert json.loads((tmp_path / "job" / "summary.json").read_text())["status"] == "failed"
    assert run("reconstruct", "resume=job").code == 0
    assert json.loads((tmp_path / "job" / "summary.json").read_text())["images"] == 4


@pytest.mark.soak
def test_two_processes_that_can_read_nothing_say_so(tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    (tmp_path / "bad").mkdir()
    for number in range(4):
        (tmp_path / "bad" / f"{number}.png").write_bytes(b"no image")
    options = [f"prior={prior}", "data=folder", "data.path=bad", "batch_size=2", "logger=none"]
    ran = python("-m", "gan_inpaint.reconstruct", *options, "trainer=ddp", "trainer.devices=2")
    assert ran.returncode == 2, ran.stderr
    assert "no image could be done; the first: bad/0.png: not an image" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.soak
def test_slurm_requeues_a_training_which_goes_on(tmp_path: Path) -> None:
    """With a stand-in for ``scontrol``: the signal, the call and the checkpoint are Lightning's."""
    pictures = write_pictures(tmp_path / "pictures", 60)
    options = ["data=folder", f"data.path={pictures}", "batch_size=4", "log_every=3", *TINY]
    options += ["trainer.max_epochs=40", "logger=none", "trainer.accelerator=cpu"]
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text('#!/bin/sh\necho "$@" > "$(dirname "$0")/called"\n')
    scontrol.chmod(0o755)
    slurm = {"SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "1"}
    slurm |= {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    path = f"{scontrol.parent}:{os.environ['PATH']}"
    process = subprocess.Popen(
        [sys.executable, "-m", "gan_inpaint.train", *options, "hydra.run.dir=run"],
        env=os.environ | ENVIRONMENT | slurm | {"PATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    waited_for(tmp_path / "run" / "checkpoints" / "last.ckpt", process)
    process.send_signal(signal.SIGUSR1)  # SLURM's warning, as #SBATCH --signal=SIGUSR1@90 asks for
    waited_for(scontrol.parent / "called", process)
    process.kill()  # and its end
    process.wait()
    assert (scontrol.parent / "called").read_text() == "requeue 77\n"
    saved = tmp_path / "run" / "hpc_ckpt_1.ckpt"
    reached = int(tensors(saved)["/state_dict/discriminator_steps"])
    ran = python("-m", "gan_inpaint.train", "resume=run", **slurm, PATH=path)
    assert ran.returncode == 0, ran.stderr
    assert 0 < reached < 40 * 13
    saved.unlink()
    ran = python("-m", "gan_inpaint.train", *options, "hydra.run.dir=whole")
    assert ran.returncode == 0, ran.stderr
    assert_equal(tmp_path / "whole", tmp_path / "run")


def waited_for(file: Path, process: subprocess.Popen) -> None:
    for _ in range(6000):
        if file.exists():
            return
        assert process.poll() is None, process.stderr and process.stderr.read()
        time.sleep(0.01)
    raise AssertionError(f"{file} was never written")


@pytest.mark.soak
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_sweep_over_processes(launcher: str, tmp_path: Path) -> None:
    """Shards of a set in processes of their own, one of them with a mistake in it."""
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    options = [f"prior={prior}", "data=generated", "data.count=5", "logger=none", "steps=5"]
    options += ["candidates=8", f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep"]
    if launcher == "joblib":
        options += ["hydra.launcher.n_jobs=2"]
    ran = python("-m", "gan_inpaint.reconstruct", "-m", "shards=2", "shard=0,1,2", *options)
    assert ran.returncode == 2, ran.stderr
    assert "error: job 2: shard=2: must be from 0 to under shards=2" in ran.stderr + "".join(
        log.read_text() for log in (tmp_path / "sweep").rglob("*.err")
    )
    assert "Traceback" not in ran.stderr
    with (tmp_path / "sweep" / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["failed"], "two shards and what is no shard"
    for job in ("0", "1"):
        summary = json.loads((tmp_path / "sweep" / job / "summary.json").read_text())
        assert summary["status"] == "done"


@pytest.mark.parametrize(
    ("command", "launcher", "mistakes"),
    [
        ("train", "joblib", ["data=folder", "data.path=none", "seed=0,1"]),
        ("train_guide", "submitit_local", ["prior=none", "seed=0,1"]),
        ("select", "joblib", ["run=none,nothing"]),
        ("reconstruct", "submitit_local", ["lam=-4,-5", "hydra.sweep.subdir=j${hydra.job.num}"]),
    ],
)
def test_a_sweep_over_processes_says_what_failed(
    command: str, launcher: str, mistakes: list[str], tmp_path: Path
) -> None:
    options = [*mistakes, f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep", "logger=none"]
    if launcher == "joblib":
        options += ["hydra.launcher.n_jobs=2"]
    ran = python("-m", f"gan_inpaint.{command}", "-m", *options)
    assert ran.returncode == 2, ran.stderr
    said = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(":")[1].strip() for line in said] == ["job 0", "job 1"]
    assert not (tmp_path / "sweep" / ".errors").exists()


@pytest.mark.soak
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_worker_that_dies_is_said_and_its_job_goes_on(
    launcher: str, tmp_path: Path, run: Callable[..., Ran]
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    options = [f"prior={prior}", "data=generated", "data.count=24", "batch_size=1", "logger=none"]
    options += ["candidates=8", "steps=100", "patience=null", "tolerance=0", "precision=fp32"]
    many = [*options, "lam=0.1,0.2", f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep"]
    if launcher == "joblib":
        many += ["hydra.launcher.n_jobs=2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gan_inpaint.reconstruct", "-m", *many],
        env=os.environ | ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )
    waited_for(tmp_path / "sweep" / "0" / "images" / "00003.png", process)
    worker = max(descendants(process.pid), key=lambda pid: opened(pid, tmp_path / "sweep" / "0"))
    os.kill(worker, signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert "error: a worker process of the sweep died" in said
    assert "Traceback" not in said.partition("error: ")[2]
    check_whole(tmp_path / "sweep" / "0")
    assert run("reconstruct", "resume=sweep/0").code == 0
    assert run("reconstruct", *options, "lam=0.1", "hydra.run.dir=whole").code == 0
    for picture in (tmp_path / "whole" / "images").iterdir():
        same = tmp_path / "sweep" / "0" / "images" / picture.name
        assert picture.read_bytes() == same.read_bytes()


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def opened(pid: int, directory: Path) -> bool:
    """Whether a process has a file in a directory open: its log."""
    files = Path(f"/proc/{pid}/fd").iterdir()
    return any(str(directory) in str(file.readlink()) for file in files)
