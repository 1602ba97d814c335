"""What goes wrong inside a run: it is named, and the rest is as if nothing had been."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, Ran, only, save_tiny_prior, search_unchecked, write_pictures
from PIL import Image
from safetensors.torch import load_file, save_file
from test_latent import assert_close

from gan_inpaint.errors import InputError
from gan_inpaint.inversion.config import search_config
from gan_inpaint.inversion.pipeline import inpaint
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.training import divergence

Run = Callable[..., Ran]


def rows(job: Path) -> list[dict[str, str]]:
    with (job / "results.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("options", [{}, {"optimizer": "adam", "candidates": 0}, {"restarts": 3}])
def test_an_image_whose_search_fails_leaves_the_others_alone(options: dict) -> None:
    """``inpaint`` refuses a NaN in a known pixel; here it stands for any search that fails."""
    prior = load_prior("digits")
    images = prior.sample(5, seed=3)
    known = torch.rand(5, 1, 32, 32, generator=torch.manual_seed(0)) > 0.5
    known[2, 0, 0, 0] = True
    broken = images.clone()
    broken[2, 0, 0, 0] = torch.nan
    settings = search_config({"steps": 4, **options})
    fine = search_unchecked(prior, images, known, settings)
    result = search_unchecked(prior, broken, known, settings)
    assert result.stopped_by[2] == "failed"
    assert "failed" not in fine.stopped_by
    for index in (0, 1, 3, 4):
        assert_close(result, index, fine, index)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "sgd"])
@pytest.mark.parametrize("lr", [1e6, 1e30])
def test_steps_that_are_far_too_long(optimizer: str, lr: float) -> None:
    """Each image keeps the best that was found; one that found nothing is marked."""
    prior = load_prior("digits")
    images = prior.sample(4, seed=3)
    known = torch.rand(4, 1, 32, 32, generator=torch.manual_seed(0)) > 0.5
    options = {"constraint": "none", "optimizer": optimizer, "patience": None}
    start = inpaint(images, known, prior, steps=1, lr=1e-30, **options)
    result = inpaint(images, known, prior, steps=15, lr=lr, **options)
    assert result.images.isfinite().all()
    assert result.z.isfinite().all()
    assert (result.objective <= start.objective).all()
    for index, reason in enumerate(result.stopped_by):
        assert (reason == "failed") == torch.equal(result.z[index], start.z[index])
    assert "failed" in result.stopped_by


def test_a_search_that_failed_is_named(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={prior}", "data=generated", "data.count=3", "logger=none"]
    ran = run("reconstruct", *arguments, "optimizer=sgd", "lr=1e20", "steps=10")
    assert ran.code == 0, ran.err
    failed = [row for row in rows(only(tmp_path / "outputs" / "reconstruct", "*")) if row["error"]]
    assert failed
    for row in failed:
        assert row["stopped_by"] == "failed"
        assert "try another lr" in row["error"]
        assert f"failed: {row['name']}: {row['error']}" in ran.err


def test_an_all_zero_discriminator_has_no_say(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    zero = load_prior(prior)
    assert zero.discriminator is not None
    for weight in zero.discriminator.buffers():
        weight.zero_()
    images = zero.sample(3, seed=1)
    known = torch.rand(3, 1, 16, 16, generator=torch.manual_seed(0)) > 0.5
    with_it = inpaint(images, known, zero, steps=10, lam=0.1)
    without = inpaint(images, known, zero, steps=10, lam=0.0)
    assert torch.equal(with_it.z, without.z)
    torch.testing.assert_close(with_it.perceptual, torch.full((3,), float(np.log(0.5))))
    tensors = load_file(prior)
    flat = {
        key: torch.zeros_like(value) if key.startswith("discriminator") else value
        for key, value in tensors.items()
    }
    from gan_inpaint.priors.weights import read_safetensors

    save_file(flat, tmp_path / "zero.safetensors", read_safetensors(prior).metadata)
    ran = run(
        "reconstruct",
        "prior=zero.safetensors",
        "data=generated",
        "data.count=3",
        "lam=0.1",
        "logger=none",
        "steps=10",
    )
    assert ran.code == 0, ran.err
    assert "lam=0.1 has no effect" in ran.out


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_a_prior_that_is_not_finite_is_refused(network: str, run: Run, tmp_path: Path) -> None:
    from gan_inpaint.priors.weights import read_safetensors

    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    tensors = load_file(prior)
    tensors[f"{network}.main.0.weight"][0, 0] = torch.nan
    save_file(tensors, tmp_path / "nan.safetensors", read_safetensors(prior).metadata)
    ran = run("reconstruct", "prior=nan.safetensors", "data=generated")
    assert ran.code == 2
    assert "nan.safetensors: main.0.weight holds numbers that are not finite" in ran.sentence


def test_a_float_picture_with_a_nan_is_named_and_the_others_are_done(
    run: Run, tmp_path: Path
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "pictures", 3)
    values = np.random.default_rng(0).random((16, 16), np.float32)
    values[3, 3] = np.nan
    Image.fromarray(values).save(pictures / "01b.tif")
    arguments = [f"prior={prior}", "data=folder", "steps=5", "logger=none"]
    assert run("reconstruct", *arguments, f"data.path={pictures}").code == 0
    with_it = rows(only(tmp_path / "outputs" / "reconstruct", "*"))
    assert [row["name"] for row in with_it if row["error"]] == ["01b.tif"]
    (pictures / "01b.tif").unlink()
    assert run("reconstruct", *arguments, f"data.path={pictures}", "hydra.run.dir=less").code == 0
    for one, other in zip(
        [row for row in with_it if not row["error"]], rows(tmp_path / "less"), strict=True
    ):
        for row in (one, other):
            row.pop("image")
            row.pop("error", None)
        assert one == other


def training(tmp_path: Path, **rates: float) -> list[str]:
    pictures = write_pictures(tmp_path / "pictures", 60)
    options = ["data=folder", f"data.path={pictures}", "batch_size=4", *TINY, "logger=none"]
    options += [f"optimizer.{network}.lr={rate}" for network, rate in rates.items()]
    return [*options, "hydra.run.dir=run"]


def test_a_training_that_diverges_stops_at_its_last_good_checkpoint(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_inpaint.training.gan_module import AdversarialTraining

    step = AdversarialTraining._train_generator

    def poisoned(self: AdversarialTraining, *args: object) -> None:
        step(self, *args)  # type: ignore[arg-type]
        if self._g_steps == 40:  # in the fourth epoch, of 13 steps
            with torch.no_grad():
                next(self.generator.parameters()).fill_(torch.inf)

    monkeypatch.setattr(AdversarialTraining, "_train_generator", poisoned)
    ran = run("train", *training(tmp_path), "trainer.max_epochs=6", "checkpoint.every_n_epochs=1")
    assert ran.code == 2
    assert "the training diverged: the generator is not finite after minibatch" in ran.sentence
    assert "; the last good checkpoint is " in ran.sentence
    assert "run/checkpoints/last.ckpt" in ran.sentence
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == 2
    assert all(v.isfinite().all() for v in last["state_dict"].values() if v.is_floating_point())
    assert not (tmp_path / "run" / "prior.safetensors").exists()
    assert load_prior(tmp_path / "run").size == 16, "the last good epoch is there to be used"


def test_a_training_that_diverges_before_its_first_checkpoint_says_so(
    run: Run, tmp_path: Path
) -> None:
    ran = run("train", *training(tmp_path, generator=1e36, discriminator=1e36))
    assert ran.code == 2
    assert "the training diverged" in ran.sentence
    assert "; no good checkpoint yet" in ran.sentence


def test_a_collapse_is_told_from_a_slow_start() -> None:
    def history(*diversity: float, every: int = 200) -> list[dict[str, float]]:
        return [{"step": every * (i + 1), "diversity": d} for i, d in enumerate(diversity)]

    divergence.check_diverse([])
    divergence.check_diverse(history(0.01, 0.02, 0.04, every=10))  # a few minibatches
    divergence.check_diverse(history(0.5, 0.01, 0.01, 0.3))  # it came back
    divergence.check_diverse(history(0.5, 0.01, 0.01))
    for collapsed in ((0.5, 0.01, 0.01, 0.02, 0.01), (0.0, 0.0, 0.0, 0.0)):
        with pytest.raises(InputError, match="all samples have been nearly the same"):
            divergence.check_diverse(history(*collapsed))


def test_training_pictures_that_are_all_the_same_are_no_collapse(run: Run, tmp_path: Path) -> None:
    pictures = tmp_path / "same"
    pictures.mkdir()
    for number in range(30):
        Image.new("L", (16, 16), 128).save(pictures / f"{number}.png")
    options = ["data=folder", f"data.path={pictures}", "batch_size=4", *TINY, "logger=none"]
    assert run("train", *options, "trainer.max_epochs=2", "hydra.run.dir=run").code == 0


def test_a_generator_that_was_hardly_trained_has_not_collapsed(run: Run, tmp_path: Path) -> None:
    arguments = [*training(tmp_path), "schedule.discriminator=300", "trainer.max_epochs=60"]
    assert run("train", *arguments, "log_every=100").code == 0


def test_a_training_that_collapses_is_stopped(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a generator that makes one image of any code: what training does is not the matter."""
    from gan_inpaint.training.gan_module import AdversarialTraining

    forward = AdversarialTraining.sample

    def constant(self: AdversarialTraining, z: torch.Tensor, _: None) -> torch.Tensor:
        return forward(self, torch.zeros_like(z))

    monkeypatch.setattr(AdversarialTraining, "sample", constant)
    monkeypatch.setattr(divergence, "STEPS", 60)
    ran = run("train", *training(tmp_path), "trainer.max_epochs=30")
    assert ran.code == 2
    assert "the training collapsed" in ran.sentence
    with (tmp_path / "run" / "metrics.csv").open() as file:
        diversity = [float(row["diversity"]) for row in csv.DictReader(file) if row["diversity"]]
    assert 3 <= len(diversity) < 15
    assert max(diversity[-3:]) < 0.05
