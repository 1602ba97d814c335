"""The search pulled to a linear estimate of the hole."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Ran, save_tiny_prior
from torch import Tensor

from gan_inpaint import InputError, Prior, inpaint
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.guide import Guide, model_noise
from gan_inpaint.priors.gaussian import sample_gaussian

FAST: dict[str, Any] = {"lam": 0, "steps": 20, "candidates": 64, "blend": "none"}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for all tests of this file: a fit takes a second."""
    folder = tmp_path_factory.getbasetemp() / "gaussians"
    monkeypatch.setenv("GAN_INPAINT_CACHE", str(folder))


def task(prior: Prior, count: int = 6) -> tuple[Tensor, Tensor]:
    images = prior.sample(count, seed=3, radius=0.7)
    known = torch.ones(1, 1, prior.size, prior.size, dtype=torch.bool)
    known[..., 4:12, 4:12] = False
    return images, known


def test_the_estimate_is_nearer_than_the_mean_image(tiny_prior: Prior) -> None:
    images, known = task(tiny_prior, 32)
    known = known.expand(32, -1, -1, -1)
    estimate = Guide(tiny_prior, SearchConfig())(images, known)[:, 0]
    hole = ~known.expand_as(images)
    mean = tiny_prior.sample(1024, seed=0).mean(dim=0)
    near = (estimate - images)[hole].square().mean()
    assert near < (mean - images)[hole].square().mean()


def test_an_estimate_does_not_depend_on_the_batch(tiny_prior: Prior) -> None:
    images, known = task(tiny_prior)
    known = known.repeat(len(images), 1, 1, 1)
    known[3, :, 0, 0] = False  # a mask of its own
    guide = Guide(tiny_prior, SearchConfig(restarts=3))
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
    options = FAST | {"restarts": 4, "halving": [0.5], "guide": "samples", "guide_weight": 0.5}
    result = inpaint(images, known, tiny_prior, **options)
    rows = result.rows
    torch.testing.assert_close(rows.objective, rows.contextual + 0.5 * rows.guide_term)
    best = rows.objective.view(6, 4).argmin(dim=1)
    assert result.restart.equal(best)
    estimate = Guide(tiny_prior, SearchConfig())(images, known.expand(6, -1, -1, -1))[:, 0]
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
    estimate = Guide(tiny_prior, SearchConfig())(images, known)[:, 0]
    error = torch.where(known, 0.0, tiny_prior.generator(result.z) - estimate)
    expected = error.square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(result.rows.guide_term, expected)


def test_a_damaged_cache_is_made_again(tiny_prior: Prior) -> None:
    found = sample_gaussian(tiny_prior, samples=256, rank=8)
    (file,) = Path(os.environ["GAN_INPAINT_CACHE"]).glob("*_256_8.safetensors")
    again = sample_gaussian(tiny_prior, samples=256, rank=8)
    assert again.directions.equal(found.directions)
    assert again.mean.equal(found.mean)
    file.write_bytes(b"damaged")
    once_more = sample_gaussian(tiny_prior, samples=256, rank=8)
    assert once_more.directions.equal(found.directions)


def test_noise_grows_with_the_distance_from_known_pixels() -> None:
    scattered, centre = torch.ones(1, 64, 64, dtype=torch.bool), torch.ones(1, 64, 64).bool()
    scattered[:, ::2] = False
    centre[:, 16:48, 16:48] = False
    assert model_noise(scattered) == pytest.approx(0.01)
    assert 0.05 < model_noise(centre) < 0.07


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
    with pytest.raises(InputError, match="guide=nobody: must be one of none, samples"):
        inpaint(*task(tiny_prior), tiny_prior, guide="nobody")
