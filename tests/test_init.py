"""Training that starts from a trained pair."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY, Ran, save_tiny_prior, tiny_training, write_pictures
from torch import Tensor

from gan_inpaint.functional import widening
from gan_inpaint.priors.files import read_networks
from gan_inpaint.training.initialize import start_from

Run = Callable[..., Ran]


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    pictures = write_pictures(tmp_path / "pictures", 30)
    options = ["data=folder", f"data.path={pictures}", "batch_size=8", "logger=none"]
    return [
        *options,
        *TINY,
        "data.channels=1",
        "trainer.max_epochs=1",
        "precision=fp32",
        "hydra.run.dir=run",
    ]


def kernels(path: Path, network: str) -> dict[str, Tensor]:
    weights = getattr(read_networks(path), network).state_dict()
    return {key: value.float() for key, value in weights.items() if value.ndim > 1}


def test_it_starts_from_both_networks(run: Run, arguments: list[str], tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    still = [f"optimizer.{network}.lr=1e-12" for network in ("generator", "discriminator")]
    ran = run("train", *arguments, *still, f"init={prior}")
    assert ran.code == 0, ran.err
    for network in ("generator", "discriminator"):
        before = kernels(prior, network)
        after = kernels(tmp_path / "run" / "prior.safetensors", network)
        for key, value in before.items():
            torch.testing.assert_close(after[key], value, atol=2e-3, rtol=2e-3)


def test_frozen_layers_keep_their_weights(run: Run, arguments: list[str], tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    ran = run("train", *arguments, f"init={prior}", "freeze_discriminator=1")
    assert ran.code == 0, ran.err
    before = kernels(prior, "discriminator")
    after = kernels(tmp_path / "run" / "prior.safetensors", "discriminator")
    changed = [not torch.equal(after[key], value) for key, value in before.items()]
    assert changed == [False] + [True] * (len(before) - 1)
    assert run("train", "resume=run", "trainer.max_epochs=2").code == 0
    again = kernels(tmp_path / "run" / "prior.safetensors", "discriminator")
    first = next(iter(before))
    assert torch.equal(again[first], before[first])


def test_what_differs_is_said(run: Run, arguments: list[str], tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", nz=6)
    ran = run("train", *arguments, f"init={prior}")
    assert ran.code == 0, ran.err
    assert "init: nz is 6 there, 8 here" in ran.out
    assert "generator.main.0.weight is (6," in ran.out
    assert ran.out.count("starts at random") == 1


def test_what_is_refused(run: Run, arguments: list[str], tmp_path: Path) -> None:
    other = save_tiny_prior(tmp_path / "wide.safetensors", ngf=8, ndf=8, nz=6, channels=3)
    for weight in (0, 1):
        ran = run("train", *arguments, f"init={other}", f"reconstruction_weight={weight}")
        assert "none of its layers fits" in ran.sentence
    assert "init=nowhere: no such file" in run("train", *arguments, "init=nowhere").sentence
    ran = run("train", *arguments, "freeze_discriminator=2")
    assert "set init= as well" in ran.sentence


def test_narrow_networks_are_widened(
    run: Run, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widening, "_NOISE", 0.0)  # which parts the copies
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    narrow = read_networks(prior)
    module = tiny_training(ngf=10, ndf=8)
    assert start_from(module, narrow.generator, narrow.discriminator) == []
    z = torch.randn(6, 8)
    assert narrow.discriminator is not None
    for network in (module.generator, module.discriminator, narrow.generator, narrow.discriminator):
        network.float().eval()
    images = module.generator(z)
    torch.testing.assert_close(images, narrow.generator(z), rtol=1e-3, atol=1e-4)
    expected = narrow.discriminator(images)
    torch.testing.assert_close(module.discriminator(images), expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(module.average.module.eval()(z), images)
    ran = run("train", *arguments, f"init={prior}", "model.ngf=8", "model.ndf=8")
    assert ran.code == 0, ran.err
    assert "init: ngf is 4 there, 8 here" in ran.out
    assert "at random" not in ran.out


def test_widened_copies_are_not_equal() -> None:
    kernels = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    wide = widening.widen(kernels, torch.Size([4, 3, 4, 4]), 1)
    torch.testing.assert_close(wide[2:], kernels, rtol=0.3, atol=0)
    assert not torch.equal(wide[2:], wide[:2])
