"""The learned guide: its training, its file, its use."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import Ran, save_tiny_prior, write_pictures
from safetensors.torch import load_file

from gan_inpaint import InputError, inpaint, load_prior
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.guide.estimates import Guide
from gan_inpaint.guide.network import GuideNetwork
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.runtime.io import read_csv
from gan_inpaint.training.guide_module import GuideTraining

Run = Callable[..., Ran]


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "pictures", 40)
    options = [f"prior={prior}", "data=folder", f"data.path={pictures}", "logger=none"]
    return [*options, "steps=8", "batch_size=8", "every_n_steps=4", "precision=fp32"]


@pytest.mark.bf16
def test_a_training_leaves_a_prior_with_its_guide(
    run: Run, arguments: list[str], tmp_path: Path
) -> None:
    ran = run("train_guide", *arguments, "hydra.run.dir=guided")
    assert ran.code == 0, ran.err
    assert "hole PSNR on held-out images" in ran.out
    rows = read_csv(tmp_path / "guided" / "metrics.csv")
    assert [row["step"] for row in rows] == ["4", "8"]
    assert all(float(row["psnr_hole_network"]) > 0 for row in rows)
    prior = load_prior(tmp_path / "guided")
    assert SearchConfig().resolved(prior).guide == "network"
    ran = run("reconstruct", "prior=guided", "data=generated", "data.count=2", "logger=none",
              "steps=2", "candidates=4", "baselines=true", "hydra.run.dir=job")  # fmt: skip
    assert ran.code == 0, ran.err
    assert "guide: a network" in ran.out
    row = read_csv(tmp_path / "job" / "results.csv")[0]
    assert float(row["psnr_hole_network"]) != float(row["psnr_hole_linear"])
    ran = run("train_guide", *arguments, "hydra.run.dir=guided")
    assert "holds a training: continue it with resume=" in ran.sentence


def test_a_stopped_training_goes_on_to_the_same_weights(
    run: Run, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("train_guide", *arguments, "hydra.run.dir=whole").code == 0
    measure = GuideTraining.measure

    def stopping(self: GuideTraining) -> dict[str, float]:
        if self.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return measure(self)

    with monkeypatch.context() as patch:
        patch.setattr(GuideTraining, "measure", stopping)
        ran = run("train_guide", *arguments, "hydra.run.dir=parts")
    assert ran.code == 143
    assert "continue with: python -m gan_inpaint.train_guide resume=parts" in ran.err
    assert not (tmp_path / "parts" / "prior.guide.safetensors").exists()
    assert run("train_guide", "resume=parts").code == 0
    one, other = (load_file(tmp_path / d / "prior.guide.safetensors") for d in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_half_precision_leaves_the_linear_estimate_exact(
    run: Run, arguments: list[str], tmp_path: Path
) -> None:
    found = []
    for precision in ("fp32", "bf16"):
        ran = run(
            "train_guide",
            *arguments,
            "steps=1",
            f"precision={precision}",
            f"hydra.run.dir={precision}",
        )
        assert ran.code == 0, ran.err
        (row,) = read_csv(tmp_path / precision / "metrics.csv")
        found.append(row["psnr_hole_linear"])
    assert found[0] == found[1]


def test_a_refused_training_leaves_nothing(run: Run, arguments: list[str], tmp_path: Path) -> None:
    for change in ("batch_size=1000", "mask=file", "trainer.devices=2"):
        assert run("train_guide", *arguments, change, "hydra.run.dir=refused").code == 2
        assert not (tmp_path / "refused" / "prior.safetensors").exists()


def test_what_the_network_cannot_be_used_with(
    run: Run, arguments: list[str], tmp_path: Path
) -> None:
    assert run("train_guide", *arguments, "steps=1", "hydra.run.dir=guided").code == 0
    prior = load_prior(tmp_path / "guided")
    images, known = prior.sample(2, seed=0), torch.ones(1, 1, 16, 16)
    known[..., 4:12, 4:12] = 0
    guide, statistics = prior.companion("guide"), prior.companion("gaussian")
    assert guide is not None
    assert statistics is not None
    content = statistics.read_bytes()
    statistics.write_bytes(b"other")
    with pytest.raises(InputError, match="other statistics than those beside the prior"):
        inpaint(images, known, prior)
    statistics.write_bytes(content)
    whole = guide.read_bytes()
    guide.write_bytes(whole[:100])
    with pytest.raises(InputError, match=r"prior\.guide\.safetensors: damaged"):
        inpaint(images, known, prior)
    guide.unlink()
    with pytest.raises(InputError, match="has no learned guide; train one with"):
        inpaint(images, known, prior, guide="network")
    assert SearchConfig().resolved(prior).guide == "data"


def test_it_begins_as_the_linear_estimate() -> None:
    network = GuideNetwork(16, 1).eval()
    images, linear = torch.randn(2, 3, 1, 16, 16).unbind(0)
    known = torch.rand(3, 1, 16, 16) > 0.5
    assert torch.equal(network(images, known, linear), linear)


def test_it_never_looks_into_the_hole() -> None:
    torch.manual_seed(0)
    network = GuideNetwork(32, 3).eval()
    torch.nn.init.normal_(network.last.weight)
    images, linear = torch.randn(2, 2, 3, 32, 32).unbind(0)
    known = torch.rand(2, 1, 32, 32) > 0.5
    blind = images.masked_fill(~known, torch.nan)
    assert torch.equal(network(images, known, linear), network(blind, known, linear))


@pytest.mark.parametrize("name", ["faces", "faces_small"])
def test_the_bundled_guide_is_ahead_of_the_linear_estimate(name: str) -> None:
    prior = load_prior(name)
    images = prior.sample(16, seed=5, radius=0.7)
    known = torch.ones(16, 1, prior.size, prior.size, dtype=torch.bool)
    quarter = prior.size // 4
    known[..., quarter:-quarter, quarter:-quarter] = False
    hole = (~known).float()
    linear, network = (
        psnr(Guide(prior, kind)(images, known)[:, 0] - images, hole).mean()
        for kind in ("data", "network")
    )
    assert network > linear
