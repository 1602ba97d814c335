from collections.abc import Callable

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from gan_inpaint.cli.conf_path import CONF
from gan_inpaint.data import masks
from gan_inpaint.errors import InputError
from gan_inpaint.functional.weighting import importance_weights


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_center() -> None:
    known = masks.center(32, rng(), "a", side=0.5)
    assert known.shape == (1, 32, 32)
    assert known.dtype == torch.bool
    assert int((~known).sum()) == 16 * 16
    assert not known[0, 8:24, 8:24].any()


@pytest.mark.parametrize("missing", ["left", "right", "top", "bottom", "any"])
def test_half(missing: str) -> None:
    known = masks.half(16, rng(), "a", missing=missing)
    assert int(known.sum()) == 128
    corner = {"left": (0, -1), "right": (0, 0), "top": (-1, 0), "bottom": (0, 0)}
    if missing in corner:
        assert known[0][corner[missing]]


def test_random_misses_the_fraction_and_follows_its_generator() -> None:
    known = masks.random(128, rng(), "a", missing=0.8)
    assert abs(float((~known).float().mean()) - 0.8) < 0.02
    assert torch.equal(known, masks.random(128, rng(), "b", missing=0.8))
    assert not torch.equal(known, masks.random(128, np.random.default_rng(1), "a", missing=0.8))


def test_pattern_misses_the_exact_fraction_in_blobs() -> None:
    known = masks.pattern(64, rng(), "a", missing=0.25, grain=0.06)
    assert known.shape == (1, 64, 64)
    assert int((~known).sum()) == 1024
    alike = (known[:, 1:] == known[:, :-1]).float().mean()
    assert alike > 0.85, "neighbours share their fate"
    assert not torch.equal(
        known, masks.pattern(64, np.random.default_rng(1), "a", missing=0.25, grain=0.06)
    )
    with pytest.raises(InputError, match=r"mask\.grain"):
        masks.pattern(64, rng(), "a", missing=0.25, grain=0.0)


@pytest.mark.parametrize("side", [0.0, 1.0, 2.0, -1.0])
def test_a_hole_larger_than_the_picture_is_refused(side: float) -> None:
    with pytest.raises(InputError, match=r"mask\.side"):
        masks.center(16, rng(), "a", side=side)


def test_lattice() -> None:
    known = masks.lattice(16, rng(), "a", every=2)
    assert float(known.float().mean()) == 0.25
    assert known[0, 0, 0]


def test_a_mask_must_leave_something_to_do_and_to_go_by() -> None:
    with pytest.raises(InputError, match="no hole"):
        masks.validate_mask(torch.ones(1, 4, 4), "m")
    with pytest.raises(InputError, match="no known pixel"):
        masks.validate_mask(torch.zeros(1, 4, 4), "m")


def by_hand(known: Tensor, window: int) -> Tensor:
    """Eq. 3 of Yeh et al., 2017, pixel by pixel."""
    reach, (height, width) = window // 2, known.shape[-2:]
    weight = torch.zeros(height, width)
    for y in range(height):
        for x in range(width):
            if known[y, x]:
                near = known[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
                weight[y, x] = (~near).float().mean()
    return weight


@pytest.mark.parametrize("window", [3, 7])
def test_importance_is_the_missing_share_of_the_pixels_around(window: int) -> None:
    known = torch.stack(
        [
            masks.center(16, np.random.default_rng(0), "", side=0.5),
            masks.random(16, np.random.default_rng(1), "", missing=0.8),
            masks.half(16, np.random.default_rng(0), "", missing="left"),  # touches the border
        ]
    )
    weight = importance_weights(known, window)
    assert weight.shape == known.shape
    for mine, mask in zip(weight, known, strict=True):
        torch.testing.assert_close(mine[0], by_hand(mask[0], window))
    assert not weight[~known].any()
    assert float(weight.max()) < 1


def test_importance_falls_with_the_distance_from_the_hole_and_does_not_wrap() -> None:
    known = masks.half(16, np.random.default_rng(0), "", missing="left")[None]
    row = importance_weights(known, 7)[0, 0, 8]
    assert (row[8:11] > row[9:12]).all()
    assert not row[11:].any()  # the far border does not see the hole on the other side
    torch.testing.assert_close(row[8:12], torch.tensor([3 / 7, 2 / 7, 1 / 7, 0]))


def test_strokes_are_blobs_within_the_budget_and_follow_the_generator() -> None:
    brush = {"count": 6, "width": 0.08, "turning": 0.6, "missing": 0.4}
    drawn = [masks.strokes(64, np.random.default_rng(seed), "", **brush) for seed in range(20)]
    shares = [float((~known).float().mean()) for known in drawn]
    assert all(0 < share <= 0.4 for share in shares)
    assert max(shares) > 0.2
    again = masks.strokes(64, np.random.default_rng(3), "", **brush)
    assert torch.equal(again, drawn[3])
    assert not torch.equal(drawn[3], drawn[4])
    # a brush leaves no lone pixels: every missing one has a missing neighbour
    for known in drawn:
        hole = (~known)[None]
        count = torch.nn.functional.avg_pool2d(hole.float(), 3, 1, 1) * 9
        assert (count[hole] > 1.5).all()


def test_a_brush_wider_than_the_budget_is_refused() -> None:
    with pytest.raises(InputError, match="narrower brush"):
        masks.strokes(
            32, np.random.default_rng(0), "", count=2, width=0.9, turning=0.1, missing=0.01
        )


def preset(name: str) -> Callable[..., Tensor]:
    return instantiate(OmegaConf.load(CONF / "mask" / f"{name}.yaml"))


@pytest.mark.parametrize(("name", "most"), [("thin", 0.45), ("medium", 0.45), ("thick", 0.5)])
def test_lamas_masks_have_its_widths(name: str, most: float) -> None:
    drawn = [preset(name)(64, np.random.default_rng(seed), "a") for seed in range(60)]
    shares = [float((~known).float().mean()) for known in drawn]
    assert all(0 < share <= 0.5 for share in shares)
    assert 0.1 < np.mean(shares) < most
    depth = np.mean([distance_transform_edt(~known[0].numpy()).max() for known in drawn])
    reach = {"thin": (1.5, 5), "medium": (4, 10), "thick": (6, 18)}[name]
    assert reach[0] < depth < reach[1], "how far the middle of the hole is from a known pixel"
    assert torch.equal(drawn[0], preset(name)(64, np.random.default_rng(0), "b"))


def test_what_lamas_masks_refuse() -> None:
    good = {"strokes": [1, 2], "width": 0.1, "length": 0.1, "boxes": 1, "sides": [0.1, 0.2]}
    for change, words in (
        ({"strokes": [2, 1]}, r"mask\.strokes=\[2, 1\]"),
        ({"sides": [0.5, 1.0]}, r"mask\.sides"),
        ({"sides": [0.5]}, r"mask\.sides"),
        ({"boxes": -1}, r"mask\.boxes"),
        ({"width": 1.0}, r"mask\.width"),
        ({"strokes": [20, 20], "width": 0.9, "boxes": 0}, "hide more than half"),
    ):
        with pytest.raises(InputError, match=words):
            masks.lama(32, rng(), "a", **good | change)


def test_mixed_masks_are_of_all_kinds() -> None:
    drawn = [masks.mixed(32, np.random.default_rng(seed), "a") for seed in range(80)]
    shares = np.array([float((~known).float().mean()) for known in drawn])
    assert all(0 < share < 1 for share in shares)
    assert np.ptp(shares) > 0.5
    alike = [(known[:, 1:] == known[:, :-1]).float().mean() for known in drawn]
    assert min(alike) < 0.8, "scattered pixels"
    assert max(alike) > 0.95, "large holes"
