"""Other people's generators on the command line, and presets."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import only
from torch import nn

from gan_inpaint.runtime.io import read_csv

PROJECT = """
import torch
from torch import nn

import gan_inpaint


def load(seed=0, labels=False):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3 * 24 * 16), nn.Tanh(),
        nn.Unflatten(1, (3, 24, 16)),
    )
    for layer in (net[0], net[2]):
        nn.init.normal_(layer.weight, std=1.5 / layer.weight.shape[1] ** 0.5)
    net.nz = 8
    return net


def prior(seed=0):
    return gan_inpaint.as_prior(load(seed), name="made")


def broken():
    raise OSError("no weights here")
"""
JOB = [
    "lam=0",
    "steps=3",
    "guide=none",
    "candidates=16",
    "logger=none",
    "data.count=4",
    "data=generated",
]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_project.py").write_text(PROJECT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_project", raising=False)


def test_a_function_that_returns_a_module_is_searched_guided_and_diagnosed(
    run: Callable, tmp_path: Path
) -> None:
    ran = run(
        "reconstruct",
        "prior={_target_: my_project.load, seed: 3}",
        *JOB,
        "diagnose=true",
        "baselines=true",
        "restarts=2",
        "keep=2",
        "mask=strokes",
    )
    assert ran.code == 0, ran.err
    assert "prior: my_project.load, 3x24x16" in ran.out
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    summary = json.loads((job / "summary.json").read_text())
    assert summary["prior"] == "my_project.load"
    assert summary["search_error"] < 0.5
    rows = read_csv(job / "results.csv")
    assert len(rows) == 4
    ours, mean = (sum(float(row[c]) for row in rows) for c in ("psnr_hole", "psnr_hole_mean"))
    assert ours > mean
    from PIL import Image

    for folder in ("images", "generated", "known", "truth", "spread"):
        with Image.open(job / folder / "00000.png") as image:
            assert image.size == (16, 24), folder


def test_photographs_are_filled_by_a_prior_that_is_not_square(
    run: Callable, tmp_path: Path
) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (70, 100, 3), dtype=np.uint8)
    mask = np.zeros((70, 100), np.uint8)
    mask[20:40, 45:60] = 255
    (tmp_path / "p").mkdir()
    Image.fromarray(pixels).save(tmp_path / "p" / "a.png")
    Image.fromarray(mask).save(tmp_path / "mask.png")
    ran = run(
        "reconstruct",
        "prior={_target_: my_project.load}",
        *JOB[:4],
        *["data=folder", "data.path=p", "mask=file", "mask.path=mask.png", "logger=wandb"],
    )
    assert ran.code == 0, ran.err
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    with Image.open(job / "restored" / "a.png") as image:
        found = np.asarray(image)
    assert found.shape == pixels.shape
    assert np.array_equal(found[mask == 0], pixels[mask == 0])
    assert not np.array_equal(found[mask > 0], pixels[mask > 0])
    with Image.open(job / "images" / "00000.png") as image:
        assert image.size == (16, 24)


def test_a_job_with_a_function_is_resumed_only_if_the_command_names_it_again(
    run: Callable, tmp_path: Path
) -> None:
    named = "prior={_target_: my_project.load, seed: 3}"
    assert run("reconstruct", named, *JOB).code == 0
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    refused = run("reconstruct", f"resume={job}")
    assert refused.code == 2
    assert "could run any code; if it is yours, add the same prior= to this command" in refused.err
    again = run("reconstruct", f"resume={job}", named)
    assert again.code == 0, again.err
    assert "4 images are done" in again.out
    other = run("reconstruct", f"resume={job}", "prior={_target_: my_project.load, seed: 4}")
    assert other.code == 2
    third = run("reconstruct", f"resume={job}", "prior={_target_: my_project.prior, seed: 3}")
    assert third.code == 2


def test_a_function_may_return_a_prior(run: Callable) -> None:
    ran = run("reconstruct", "prior={_target_: my_project.prior}", *JOB)
    assert ran.code == 0, ran.err
    assert "prior: made, 3x24x16" in ran.out


def test_functions_of_a_sweep(run: Callable, tmp_path: Path) -> None:
    ran = run(
        "reconstruct", "-m", "prior={_target_: my_project.load}", "steps=1,2", *JOB[:1], *JOB[2:]
    )
    assert ran.code == 0, ran.err
    rows = read_csv(only(tmp_path / "multirun", "*") / "comparison.csv")
    assert [row["prior"] for row in rows] == ["my_project.load"] * 2
    page = (only(tmp_path / "multirun", "*") / "index.html").read_text()
    assert re.search(r'"width": ?16, ?"height": ?24', page)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["prior={_target_: my_project.nothing}"], "prior._target_=my_project.nothing: "),
        (["prior={_target_: nowhere.load}"], "prior._target_=nowhere.load: "),
        (["prior={_target_: my_project.broken}"], "my_project.broken failed: no weights here"),
        (["prior={_target_: my_project.load, size: 3}"], "my_project.load failed: "),
        (["prior={seed: 3}"], "must be a name, a path, or a mapping whose _target_"),
        (["prior=[1,2]"], "must be a name, a path, or a mapping whose _target_"),
        (["prior={_target_: builtins.int}"], "generator is a int, not a module or function"),
        (
            ["prior={_target_: my_project.load}", "latent_space=w"],
            "latent_space=w: the generator my_project.load has no mapping network",
        ),
        (["prior=digits", "latent_space=w"], "the prior digits has no mapping network"),
        (["prior=digits", "latent=uniform"], "says normal itself; leave latent= out"),
        (["prior=digits", "latent=even"], "latent=even: must be one of normal, uniform"),
    ],
)
def test_mistakes_are_named(run: Callable, options: list[str], words: str) -> None:
    ran = run("reconstruct", *options, *JOB)
    assert ran.code == 2
    assert words in ran.sentence


def test_the_codes_of_a_foreign_file_may_be_uniform(run: Callable, tmp_path: Path) -> None:
    layers: list[nn.Module] = [nn.ConvTranspose2d(6, 16, 4)]
    for wide, narrow in ((16, 8), (8, 1)):
        layers += [nn.BatchNorm2d(wide), nn.ReLU(), nn.ConvTranspose2d(wide, narrow, 4, 2, 1)]
    torch.save(nn.Sequential(*layers).state_dict(), "netG.pth")
    for latent in ("normal", "uniform"):
        ran = run("reconstruct", "prior=netG.pth", f"latent={latent}", *JOB, "candidates=0")
        assert ran.code == 0, ran.err
    from gan_inpaint import load_prior

    assert load_prior("netG.pth", latent="uniform").latent.constraint == "clip"
    assert load_prior("netG.pth").latent.constraint == "ball"
    digests = {load_prior("netG.pth", latent=latent).digest for latent in ("uniform", "normal")}
    assert len(digests) == 2


# ---- presets


LEGACY = """
import pickle


def load_network_pkl(file):
    return pickle.load(file)
"""


def test_a_pickle_of_stylegan_is_read_by_its_repository_if_it_is_trusted(
    run: Callable, tmp_path: Path
) -> None:
    from test_adapters import Style

    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "legacy.py").write_text(LEGACY)
    style = Style()
    import pickle

    (tmp_path / "g.pkl").write_bytes(pickle.dumps({"G_ema": style, "D": None}))
    preset = ["+prior_preset=stylegan", "prior.path=g.pkl", "prior.repository=repository"]
    job = [*JOB[1:], "radius=1.5"]
    ran = run("reconstruct", preset[0], preset[1], *job)
    assert ran.code == 2
    assert "prior.repository=: must be given" in ran.sentence
    ran = run("reconstruct", *preset, *job)
    assert ran.code == 2
    assert "g.pkl: a pickle, and loading it runs whatever code" in ran.sentence
    assert "set trust=true" in ran.sentence
    for space in ("z", "w", "w+"):
        ran = run("reconstruct", *preset, *job, "trust=true", f"latent_space={space}")
        assert ran.code == 0, ran.err
    first = sorted((tmp_path / "outputs" / "reconstruct").iterdir())[-1]
    assert json.loads((first / "summary.json").read_text())["prior"] == "g"
    refused = run("reconstruct", f"resume={first}")
    assert refused.code == 2
    assert "add the same trust= to this command" in refused.sentence
    assert run("reconstruct", f"resume={first}", "trust=true").code == 0
    ran = run("reconstruct", *preset, *job, "trust=true", "prior.repository=nowhere")
    assert "prior.repository=nowhere: holds no legacy.py" in ran.sentence
    ran = run("reconstruct", *preset, *job, "trust=true", "prior.path=h.pkl")
    assert "prior.path=h.pkl: no such file" in ran.sentence
