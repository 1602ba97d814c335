"""Other ways to fill a hole, measured beside ours."""

import numpy as np
import pytest
import torch

from gan_inpaint.data.images import to_float, to_uint8
from gan_inpaint.evaluation import baselines
from gan_inpaint.evaluation.baselines import Baselines
from gan_inpaint.reporting.columns import BASELINES


def case(channels: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Smooth images, a centre hole and a random one, and training images."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(-0.8, 0.8, 16, dtype=np.float32)
    images = np.stack([np.add.outer(ramp, 0 * ramp), np.add.outer(0 * ramp, ramp)])
    images = torch.from_numpy(images)[:, None].repeat(1, channels, 1, 1)
    known = torch.ones(2, 1, 16, 16, dtype=torch.bool)
    known[0, :, 5:11, 5:11] = False
    known[1] = torch.from_numpy(rng.random((1, 16, 16)) > 0.5)
    training = rng.integers(0, 256, (40, channels, 16, 16), dtype=np.uint8)
    return images, known, training


@pytest.mark.parametrize("channels", [1, 3])
def test_every_method_keeps_the_known_pixels_and_never_looks_into_the_hole(channels: int) -> None:
    images, known, training = case(channels)
    guides = dict.fromkeys(("linear", "network"), lambda images, known, told: images * 0.5)
    fill = Baselines(torch.zeros(channels, 16, 16), training, guides)
    damaged = torch.where(known, images, torch.nan)
    found, again = fill(images, known), fill(damaged, known)
    assert set(found) == set(BASELINES)  # the dev extra holds them all
    for name, picture in found.items():
        assert picture.shape == images.shape, name
        where = known.expand_as(images)
        assert torch.equal(picture[where], images[where]), name
        assert torch.equal(picture, torch.where(known, picture, again[name])), name
        assert picture.abs().max() <= 1, name


def test_smooth_methods_continue_a_ramp() -> None:
    images, known, training = case(1)
    found = Baselines(torch.zeros(1, 16, 16), training)(images, known)
    hole = ~known
    for name, limit in (("biharmonic", 0.01), ("ns", 0.25), ("telea", 0.25)):
        error = (found[name] - images).abs()[hole].mean()
        assert error < limit, name
    assert (found["mean"][hole] == 0).all()


def test_the_nearest_is_nearest_on_the_known_pixels_alone() -> None:
    images, known, training = case(3)
    training[17] = to_uint8(images[0])
    hole = ~known[0].expand(3, -1, -1).numpy()
    training[17][hole] = 9  # it differs where nobody may look
    training[30] = to_uint8(images[1])
    found = Baselines(torch.zeros(3, 16, 16), training)(images, known)["nearest"]
    assert torch.equal(found[0], torch.where(known[0], images[0], to_float(training[17])))
    assert torch.equal(found[1], torch.where(known[1], images[1], to_float(training[30])))


def test_what_is_not_installed_or_at_hand_is_left_out_and_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baselines, "find_spec", lambda package: None)
    images, known, _ = case(1)
    fill = Baselines(torch.zeros(1, 16, 16), None)
    assert list(fill(images, known)) == ["mean"]
    said = " ".join(fill.left_out)
    for word in ("nearest", "biharmonic", "telea", "ns", "gan_inpaint[baselines]"):
        assert word in said
