"""Measures by networks: there, or left out with a sentence."""

import pytest
import torch

from gan_inpaint.evaluation.discriminative_scores import discriminative_scores
from gan_inpaint.evaluation.set_metrics import compute_set_metrics


def test_the_frechet_distance_is_that_of_the_features() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    rng = torch.Generator().manual_seed(0)
    true = torch.rand(4, 1, 32, 32, generator=rng) * 2 - 1
    methods = {"": (true + 0.02).clamp(-1, 1), "mean": torch.zeros_like(true)}
    found, notes = compute_set_metrics(["frechet"], methods, true)
    assert found["frechet_distance"] < found["frechet_distance_mean"]
    assert not notes


def test_a_classifier_cannot_tell_sets_of_one_kind_but_sets_of_two() -> None:
    rng = torch.Generator().manual_seed(0)
    true, alike = torch.randn(2, 100, 20, generator=rng)
    for score in discriminative_scores(alike, true):
        assert 0.35 < score < 0.65
    for score in discriminative_scores(alike + 3, true):
        assert score < 0.05


def test_the_scores_need_ten_pairs() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        discriminative_scores(torch.zeros(9, 2), torch.zeros(9, 2))


@pytest.mark.parametrize("name", ["lpips", "fid"])
def test_what_cannot_be_had_is_left_out_and_said(name: str, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torchvision", None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    black = torch.zeros(2, 1, 16, 16)
    found, notes = compute_set_metrics([name], {"": black}, black)
    assert not found
    assert len(notes) == 1
    assert notes[0].startswith(f"metrics={name} is left out: it needs")
