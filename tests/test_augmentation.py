import pytest
import torch
from torch import Tensor

from gan_inpaint.functional.augment import POLICIES, diffaugment, mirrored
from gan_inpaint.runtime.seeding import torch_rng


@pytest.fixture
def images() -> Tensor:
    return torch.rand(64, 3, 16, 16, generator=torch_rng("images")) * 2 - 1


def test_about_half_of_the_images_are_mirrored(images: Tensor) -> None:
    changed = mirrored(images, torch_rng("a"))
    flipped = [bool(torch.equal(c, i.flip(2))) for c, i in zip(changed, images, strict=True)]
    kept = [bool(torch.equal(c, i)) for c, i in zip(changed, images, strict=True)]
    assert all(f != k for f, k in zip(flipped, kept, strict=True))
    assert 16 < sum(flipped) < 48
    bytes_ = (images * 100 + 100).byte()
    assert mirrored(bytes_, torch_rng("a")).dtype == torch.uint8


def test_no_policy_changes_nothing(images: Tensor) -> None:
    assert diffaugment(images, [], torch_rng("a")) is images


@pytest.mark.parametrize("policy", POLICIES)
def test_each_policy_is_random_differentiable_and_repeatable(images: Tensor, policy: str) -> None:
    one, again, other = (diffaugment(images, [policy], torch_rng(key)) for key in ("a", "a", "b"))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == images.shape
    asked = images.clone().requires_grad_()
    diffaugment(asked, [policy], torch_rng("a")).square().sum().backward()
    assert asked.grad is not None
    assert asked.grad.isfinite().all()
    assert asked.grad.abs().sum() > 0


def test_a_translation_shifts_by_up_to_an_eighth_and_fills_with_grey() -> None:
    images = torch.zeros(200, 1, 16, 16)
    images[:, :, 8, 5] = 1
    moved = diffaugment(images, ["translation"], torch_rng("a"))
    places = moved[:, 0].flatten(1).argmax(dim=1)
    assert (moved.sum(dim=(1, 2, 3)) == 1).all()
    assert set((places // 16 - 8).tolist()) == set(range(-2, 3))
    assert set((places % 16 - 5).tolist()) == set(range(-2, 3))
    border = diffaugment(torch.ones(200, 1, 16, 16), ["translation"], torch_rng("a"))
    assert border[:, :, 0].min() == 0
    assert (border[:, :, 2:-2, 2:-2] == 1).all()


def test_a_cutout_covers_at_most_a_quarter() -> None:
    cut = diffaugment(torch.ones(200, 1, 16, 16), ["cutout"], torch_rng("a"))
    missing = (cut == 0).sum(dim=(1, 2, 3))
    assert missing.max() == 64
    assert missing.min() >= 16


def test_color_keeps_the_form_and_leaves_grey_images_grey(images: Tensor) -> None:
    grey = images[:, :1].expand(-1, 3, -1, -1)
    changed = diffaugment(grey, ["color"], torch_rng("a"))
    torch.testing.assert_close(changed[:, 0], changed[:, 2])
    slope = (changed[:, 0].flatten(1).std(dim=1)) / grey[:, 0].flatten(1).std(dim=1)
    assert (slope > 0.49).all()
    assert (slope < 1.51).all()
