"""Measures by networks: there, or left out with a sentence."""

import pytest
import torch

from gan_inpaint.evaluation.set_metrics import compute_set_metrics


def test_the_frechet_distance_is_that_of_the_features() -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    rng = torch.Generator().manual_seed(0)
    true = torch.rand(4, 1, 32, 32, generator=rng) * 2 - 1
    near, notes = compute_set_metrics(["frechet"], (true + 0.02).clamp(-1, 1), true)
    far, _ = compute_set_metrics(["frechet"], torch.zeros_like(true), true)
    assert near["frechet_distance"] < far["frechet_distance"]
    assert not notes


@pytest.mark.parametrize("name", ["lpips", "fid"])
def test_what_cannot_be_had_is_left_out_and_said(name: str, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torchvision", None)  # as if it were not installed
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    found, notes = compute_set_metrics([name], torch.zeros(2, 1, 16, 16), torch.zeros(2, 1, 16, 16))
    assert not found
    assert len(notes) == 1
    assert notes[0].startswith(f"metrics={name} is left out: it needs")
