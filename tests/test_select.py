"""The select command and its rule."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY, only, write_pictures
from PIL import Image
from torch import nn

from gan_inpaint.evaluation.epoch_selection import Epoch, epoch_losses, recommend_epoch
from gan_inpaint.evaluation.frechet import FrechetDistance
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.runtime.io import read_csv

QUICK = ["samples=4", "images=3", "steps=2", "candidates=4", "columns=3"]


@pytest.fixture
def trained(run: Callable, tmp_path: Path) -> Path:
    """Six epochs on a folder, saved every two."""
    write_pictures(tmp_path / "p", 60)
    ran = run(
        "train",
        *["data=folder", "data.path=p", "data.channels=1", *TINY, "trainer.max_epochs=6"],
        *["batch_size=8", "checkpoint.every_n_epochs=2", "log_every=1", "logger=none"],
    )
    assert ran.code == 0, ran.err
    return only(tmp_path / "outputs" / "train" / "folder", "*")


@pytest.mark.bf16
def test_every_saved_epoch_is_a_row_and_one_is_recommended(
    run: Callable, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gan_inpaint.evaluation.frechet.available", lambda: False)
    ran = run("select", f"run={trained}", *QUICK)
    assert ran.code == 0, ran.err
    rows = read_csv(trained / "select.csv")
    assert [row["epoch"] for row in rows] == ["2", "4", "6"]
    assert [row["images_seen"] for row in rows] == [str(n * 6 * 8) for n in (2, 4, 6)]
    for row in rows:
        for column in ("loss_d", "loss_g", "contextual", "psnr_hole", "diversity"):
            assert float(row[column]) > 0, column
        # some of 54 training and 6 held-out images, as many generated ones as samples=
        logits = [float(row[f"logit_{of}"]) for of in ("train", "held_out", "fake")]
        assert len(set(logits)) == 3
        assert row["frechet_distance"] == ""
    assert [row["recommended"] for row in rows].count("yes") == 1
    assert "pip install 'gan_inpaint[features]'" in ran.out
    assert "recommended: epoch" in ran.out
    with Image.open(trained / "select.png") as picture:
        assert picture.height == 3 * 64 + 2 * 2
        assert picture.width > 3 * 64


def test_an_epoch_is_exported_as_the_prior(run: Callable, trained: Path) -> None:
    def weights() -> torch.Tensor:
        return load_prior(trained).generator.main[0].weight

    before = weights()
    assert run("select", f"run={trained}", "epoch=2").code == 0
    assert load_prior(trained).metadata["epoch"] == "2"
    assert load_prior(trained).metadata["images_seen"] == "96"
    assert not torch.equal(weights(), before)
    assert run("select", f"run={trained}", "epoch=6").code == 0
    assert torch.equal(weights(), before)
    ran = run("select", f"run={trained}", "epoch=3")
    assert ran.code == 2
    assert "epoch=3: the run has saved epochs 2, 4, 6" in ran.sentence
    assert torch.equal(weights(), before)


def test_mistakes_are_named(run: Callable, trained: Path, tmp_path: Path) -> None:
    assert "select needs run=" in run("select").sentence
    assert "holds no checkpoints/epoch_" in run("select", "run=nowhere").sentence
    (tmp_path / "p").rename(tmp_path / "moved")
    ran = run("select", f"run={trained}", *QUICK)
    assert ran.code == 2
    assert "data.path=p: no such file or folder" in ran.sentence
    assert run("select", f"run={trained}", "path=moved", *QUICK).code == 0


def test_the_feature_distance_is_measured_with_the_extra(run: Callable, trained: Path) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    assert run("select", f"run={trained}", *QUICK).code == 0
    assert all(float(row["frechet_distance"]) > 0 for row in read_csv(trained / "select.csv"))


def epoch(number: int, psnr: list[float], distance: float | None) -> Epoch:
    values = torch.tensor(psnr)
    return Epoch(number, 0, {}, distance, 1.0, values, values)


def test_the_rule() -> None:
    low, noisy = [15.0, 16.0, 15.0, 16.0], [17.0, 17.4, 17.0, 17.2]
    highest = [17.1, 17.2, 17.1, 17.3]
    chosen, reason = recommend_epoch(
        [epoch(5, low, 1.0), epoch(10, highest, 9.0), epoch(15, noisy, 3.0)]
    )
    assert chosen.number == 15, "as good within the noise, and closer in features"
    assert "the highest, epoch 10: 17.17 dB" in reason
    assert "lowest Fréchet distance of the 2 epochs" in reason
    chosen, reason = recommend_epoch(
        [epoch(5, low, 1.0), epoch(10, highest, None), epoch(15, noisy, 3.0)]
    )
    assert chosen.number == 15
    assert "the latest of the 2" in reason
    chosen, reason = recommend_epoch([epoch(5, highest, 9.0), epoch(10, low, 1.0)])
    assert chosen.number == 5
    assert "17.17 dB on held-out images, the highest" in reason


def test_losses_are_means_over_the_epochs_since_the_last_saved_one() -> None:
    rows = [
        {"epoch": str(e), "loss/d": str(float(e)), "loss/g": "" if e else "7"} for e in range(4)
    ]
    assert epoch_losses(rows, 0, 2) == {"loss_d": 0.5, "loss_g": 7.0}
    assert epoch_losses(rows, 2, 4) == {"loss_d": 2.5}


def test_the_distance_of_shifted_sets_is_the_shift() -> None:
    class Mean(nn.Module):
        num_features = 1

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean(dim=(1, 2, 3))[:, None]

    real = torch.rand(200, 1, 4, 4)
    distance = FrechetDistance(real, Mean())
    assert distance(real) == pytest.approx(0, abs=1e-6)
    assert distance(real + 3) == pytest.approx(9, rel=1e-4)
    assert distance(real) == pytest.approx(0, abs=1e-6), "each set is compared alone"
