"""The search pulled to a linear estimate of the hole."""

import csv
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY, Ran, save_tiny_prior, write_pictures
from PIL import Image
from torch import Tensor

from gan_inpaint import InputError, Prior, inpaint, load_prior
from gan_inpaint.guide import gaussian as gaussians
from gan_inpaint.guide.estimates import Guide
from gan_inpaint.guide.gaussian import load_gaussian, sample_gaussian
from gan_inpaint.guide.posterior import model_noise
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.priors.quantize import from_int4, from_int8, to_int4, to_int8

pytestmark = pytest.mark.bf16

FAST: dict[str, Any] = {"lam": 0, "steps": 20, "candidates": 64, "blend": "none"}


def task(prior: Prior, count: int = 6) -> tuple[Tensor, Tensor]:
    images = prior.sample(count, seed=3, radius=0.7)
    known = torch.ones(1, 1, prior.size, prior.size, dtype=torch.bool)
    known[..., 4:12, 4:12] = False
    return images, known


def test_the_estimate_is_nearer_than_the_mean_image(tiny_prior: Prior) -> None:
    images, known = task(tiny_prior, 32)
    known = known.expand(32, -1, -1, -1)
    estimate = Guide(tiny_prior)(images, known)[:, 0]
    hole = ~known.expand_as(images)
    mean = tiny_prior.sample(1024, seed=0).mean(dim=0)
    near = (estimate - images)[hole].square().mean()
    assert near < (mean - images)[hole].square().mean()


def test_an_estimate_does_not_depend_on_the_batch(tiny_prior: Prior) -> None:
    images, known = task(tiny_prior)
    known = known.repeat(len(images), 1, 1, 1)
    known[3, :, 0, 0] = False  # a mask of its own
    guide = Guide(tiny_prior, restarts=3)
    together = guide(images, known)
    assert together.shape == (6, 3, *images.shape[1:])
    for number in (0, 3):
        alone = guide(images[number : number + 1], known[number : number + 1])
        torch.testing.assert_close(alone[0], together[number], atol=1e-4, rtol=0)
    assert (together[:, 1] - together[:, 2]).abs().max() > 0.01, "samples differ"
    assert guide(images.masked_fill(~known, torch.nan), known).equal(together)


def test_a_heavier_guide_brings_the_result_nearer_to_it(tiny_prior: Prior) -> None:
    images, known = task(tiny_prior)
    terms = [
        inpaint(images, known, tiny_prior, guide="samples", guide_weight=weight, **FAST)
        .rows.guide_term.mean()
        .item()
        for weight in (0.0, 0.1, 10.0)
    ]
    assert terms[2] < terms[1] < terms[0]


def test_restarts_are_compared_by_the_same_estimate(tiny_prior: Prior) -> None:
    images, known = task(tiny_prior)
    options = FAST | {"restarts": 4, "guide": "samples", "guide_weight": 0.5}
    result = inpaint(images, known, tiny_prior, **options)
    rows = result.rows
    torch.testing.assert_close(rows.objective, rows.contextual + 0.5 * rows.guide_term)
    best = rows.objective.view(6, 4).argmin(dim=1)
    assert result.restart.equal(best)
    estimate = Guide(tiny_prior)(images, known.expand(6, -1, -1, -1))[:, 0]
    generated = tiny_prior.generator(result.z)
    error = torch.where(known, 0.0, generated - estimate).square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(rows.guide_term.view(6, 4)[torch.arange(6), best], error)
    visible = known.expand_as(images)
    assert result.images[visible].equal(images[visible])


def test_known_pixels_are_no_part_of_the_guide(tiny_prior: Prior) -> None:
    """With ``weighting=yeh`` the known pixels far from the hole have no weight either."""
    images, known = task(tiny_prior, 2)
    options = FAST | {"weighting": "yeh", "window": 3, "guide": "samples"}
    result = inpaint(images, known, tiny_prior, **options)
    known = known.expand(2, -1, -1, -1)
    estimate = Guide(tiny_prior)(images, known)[:, 0]
    error = torch.where(known, 0.0, tiny_prior.generator(result.z) - estimate)
    expected = error.square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(result.rows.guide_term, expected)


def test_a_damaged_cache_is_made_again(tiny_prior: Prior) -> None:
    found = sample_gaussian(tiny_prior, samples=256)
    (file,) = gaussians.cache_folder().glob("*_256.safetensors")
    again = sample_gaussian(tiny_prior, samples=256)
    assert again.directions.equal(found.directions)
    assert again.mean.equal(found.mean)
    file.write_bytes(b"damaged")
    once_more = sample_gaussian(tiny_prior, samples=256)
    assert once_more.directions.equal(found.directions)


def test_statistics_of_the_training_images(run: Callable[..., Ran], tmp_path: Path) -> None:
    """``train`` writes them; they serve the prior and the checkpoints of its run."""
    pictures = write_pictures(tmp_path / "pictures", 30)
    options = ["data=folder", f"data.path={pictures}", *TINY, "batch_size=8", "logger=none"]
    options += ["trainer.max_epochs=2", "checkpoint.every_n_epochs=1", "hydra.run.dir=run"]
    ran = run("train", *options)
    assert ran.code == 0, ran.err
    assert "statistics of the training images" in ran.out
    for source in ("run", "run/checkpoints/epoch_001.ckpt"):
        prior = load_prior(source)
        assert SearchConfig().resolved(prior).guide == "data"
        mean = load_gaussian(prior, "data").mean
        used = [p for p in pictures.iterdir() if zlib.crc32(p.name.encode()) % 10]  # not held out
        pixels = [np.asarray(Image.open(p).convert("L")) for p in used]
        expected = torch.from_numpy(np.stack(pixels).mean(axis=0)).float() / 127.5 - 1
        torch.testing.assert_close(mean.mean(dim=0), expected, atol=1e-3, rtol=0)
    file = tmp_path / "run" / "prior.gaussian.safetensors"
    images, known = task(prior, 1)
    good = file.read_bytes()
    file.write_bytes(good[:99])
    with pytest.raises(InputError, match=r"prior\.gaussian\.safetensors: damaged"):
        inpaint(images, known, prior)
    file.unlink()
    with pytest.raises(InputError, match="carries no statistics of its training images"):
        inpaint(images, known, prior, guide="data")
    assert SearchConfig().resolved(prior).guide == "samples"


def test_a_file_keeps_the_directions_to_a_few_bits() -> None:
    weights = torch.randn(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    error = (from_int8(*to_int8(weights)) - weights).square().mean().sqrt()
    assert error < 0.01
    packed, scale = to_int4(weights)
    assert packed.numel() == weights.numel() / 2
    assert (from_int4(packed, scale).view_as(weights) - weights).square().mean().sqrt() < 0.15


def test_a_large_prior_is_guided_at_64_pixels(tmp_path: Path) -> None:
    prior = load_prior(save_tiny_prior(tmp_path / "large.safetensors", size=128))
    gaussian = sample_gaussian(prior, samples=64)
    assert gaussian.mean.shape == (1, 64, 64)
    images = prior.sample(2, seed=3)
    known = torch.ones(2, 1, 128, 128, dtype=torch.bool)
    known[0, :, 32:96, 32:96] = False
    known[1, :, 1::2] = False  # at 64 pixels nothing is missing
    guide = Guide(prior, "samples", 2)
    found = guide(images, known)
    assert found.shape == (2, 2, 1, 128, 128)
    assert found.isfinite().all()
    smooth = F.interpolate(F.avg_pool2d(images, 2), (128, 128), mode="bilinear")
    assert (found[0, 0] - smooth[0])[known[0]].abs().mean() < 0.2


def test_noise_grows_with_the_distance_from_known_pixels() -> None:
    scattered, centre = torch.ones(1, 64, 64, dtype=torch.bool), torch.ones(1, 64, 64).bool()
    scattered[:, ::2] = False
    centre[:, 16:48, 16:48] = False
    assert model_noise(scattered) == pytest.approx(0.015)
    assert 0.07 < model_noise(centre) < 0.1


def test_a_guided_job(run: Callable[..., Ran], tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    options = [f"prior={prior}", "data=generated", "data.count=3", "steps=3", "candidates=8"]
    options += ["logger=none", "restarts=2", "keep=2", "guide=samples", "hydra.run.dir=job"]
    ran = run("reconstruct", *options)
    assert ran.code == 0, ran.err
    assert "guide: " in ran.out
    with (tmp_path / "job" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["guide_term"]) > 0 for row in rows)
    ran = run("reconstruct", "resume=job", "guide_weight=0.2")
    assert "this job was started with guide_weight=0.1 (now 0.2)" in ran.sentence
    assert run("reconstruct", "resume=job").code == 0


def test_an_unknown_guide_is_refused(tiny_prior: Prior) -> None:
    with pytest.raises(
        InputError, match="guide=nobody: must be one of auto, none, samples, data, network"
    ):
        inpaint(*task(tiny_prior), tiny_prior, guide="nobody")


def test_a_higher_temperature_spreads_the_estimates(tiny_prior: Prior) -> None:
    images, known = task(tiny_prior, 2)
    known = known.expand(2, -1, -1, -1)
    spreads = []
    for temperature in (0.0, 1.0, 2.0):
        found = Guide(tiny_prior, "samples", 5, temperature)(images, known)
        spreads.append((found[:, 1:] - found[:, :1]).abs().mean().item())
    assert spreads[0] < 1e-5
    assert spreads[1] < spreads[2] < 2.1 * spreads[1]
