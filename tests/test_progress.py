"""What a search tells its caller, and how the caller stops it."""

from pathlib import Path

import pytest
import torch
from conftest import save_tiny_prior

import gan_inpaint
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.registry import load_prior

pytestmark = pytest.mark.bf16

SEARCH = SearchConfig(steps=12, restarts=3, keep=2, candidates=32, guide="samples", patience=None)


@pytest.fixture
def damaged(tiny_prior: Prior) -> tuple[torch.Tensor, torch.Tensor]:
    known = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    known[..., 4:12, 4:12] = False
    return tiny_prior.sample(3, seed=1), known


def test_every_update_is_told(tiny_prior: Prior, damaged: tuple) -> None:
    told: list[gan_inpaint.Progress] = []
    pictures = []

    def follow(progress: gan_inpaint.Progress) -> None:
        told.append(progress)
        if progress.images:
            pictures.append(progress.images())

    result = gan_inpaint.inpaint(*damaged, tiny_prior, SEARCH, progress=follow)
    plain = gan_inpaint.inpaint(*damaged, tiny_prior, SEARCH)
    assert torch.equal(result.images, plain.images)
    phases = list(dict.fromkeys(progress.phase for progress in told))
    assert phases == ["guide", "starts", "search"]
    updates = [progress for progress in told if progress.phase == "search"]
    assert [progress.step for progress in updates] == list(range(1, 13))
    assert all(progress.steps == 12 for progress in told)
    objectives = [progress.objective for progress in updates]
    assert objectives == sorted(objectives, reverse=True)
    images, known = damaged
    for picture in pictures:
        assert torch.equal(picture.where(known, 0), images.where(known, 0))


def test_images_of_earlier_batches_are_done(tiny_prior: Prior, damaged: tuple) -> None:
    search = SearchConfig(steps=2, restarts=2, candidates=8, guide="none", batch_size=2)
    told = []
    gan_inpaint.inpaint(
        *damaged, tiny_prior, search, progress=lambda p: told.append((p.done, p.step))
    )
    assert [done for done, step in told if step == 2] == [0, 1, 2]


@pytest.mark.parametrize("phase", ["guide", "starts", "search"])
def test_cancelled_stops_within_one_update(tiny_prior: Prior, damaged: tuple, phase: str) -> None:
    gan_inpaint.inpaint(*damaged, tiny_prior, SEARCH)  # fits the guide
    calls = []

    def follow(progress: gan_inpaint.Progress) -> None:
        calls.append(progress)
        if progress.phase == phase and progress.step in (0, 3):
            raise gan_inpaint.Cancelled

    with pytest.raises(gan_inpaint.Cancelled):
        gan_inpaint.inpaint(*damaged, tiny_prior, SEARCH, progress=follow)
    assert len(calls) == {"guide": 1, "starts": 2, "search": 5}[phase]
    gan_inpaint.inpaint(*damaged, tiny_prior, SEARCH)  # nothing is left of it


def test_a_guide_that_must_be_fitted_can_be_stopped(tmp_path: Path, damaged: tuple) -> None:
    prior = load_prior(save_tiny_prior(tmp_path / "new.safetensors", nz=9))  # not fitted before
    calls = []

    def follow(progress: gan_inpaint.Progress) -> None:
        calls.append(progress.phase)
        if len(calls) == 5:
            raise gan_inpaint.Cancelled

    with pytest.raises(gan_inpaint.Cancelled):
        gan_inpaint.inpaint(*damaged, prior, SEARCH, progress=follow)
    assert calls == ["guide"] * 5


def test_another_blend_needs_no_search(tiny_prior: Prior, damaged: tuple) -> None:
    from gan_inpaint.inversion.result import fill

    images, known = damaged
    blended = gan_inpaint.inpaint(*damaged, tiny_prior, SEARCH, blend="poisson")
    copied = gan_inpaint.inpaint(*damaged, tiny_prior, SEARCH, blend="none")
    assert torch.equal(blended.completions, copied.completions)
    for rank in range(2):
        again = fill(images, known.expand(3, -1, -1, -1), blended.completions[:, rank], "none")
        assert torch.equal(again, copied.alternatives[:, rank])
