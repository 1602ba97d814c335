import pytest
import torch

from gan_inpaint.functional.adversarial import discriminator_loss
from gan_inpaint.functional.losses import contextual, perceptual
from gan_inpaint.functional.metrics import psnr


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_contextual_gradient_is_zero_in_the_hole(norm: str) -> None:
    generated = torch.randn(2, 3, 8, 8, requires_grad=True)
    known = torch.rand(2, 1, 8, 8) > 0.5
    image = torch.where(known, torch.randn(2, 3, 8, 8), torch.nan)  # nobody may look there
    contextual(generated, image, known.float(), norm).sum().backward()
    assert generated.grad is not None
    hole = ~known.expand_as(generated)
    assert torch.equal(generated.grad[hole], torch.zeros(int(hole.sum())))
    assert (generated.grad[~hole] != 0).all()


@pytest.mark.parametrize(("norm", "power"), [("l1", 1), ("l2", 2)])
def test_contextual_is_the_mean_over_all_entries(norm: str, power: int) -> None:
    generated, image = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    known = (torch.rand(1, 1, 8, 8) > 0.3).float()
    expected = [
        sum(
            float(known[0, 0, i, j] * (generated[b, c, i, j] - image[b, c, i, j]).abs() ** power)
            for c in range(3)
            for i in range(8)
            for j in range(8)
        )
        / (3 * 8 * 8)
        for b in range(4)
    ]
    torch.testing.assert_close(contextual(generated, image, known, norm), torch.tensor(expected))


def test_grey_and_colour_weigh_the_same() -> None:
    grey, image = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
    known = torch.ones(1, 1, 8, 8)
    colour = contextual(grey.expand(1, 3, 8, 8), image.expand(1, 3, 8, 8), known, "l1")
    torch.testing.assert_close(colour, contextual(grey, image, known, "l1"))


def test_perceptual_is_log_one_minus_d_and_survives_extreme_logits() -> None:
    logit = torch.tensor([-3.0, 0.0, 2.0])
    torch.testing.assert_close(perceptual(logit, "bce"), torch.log(1 - torch.sigmoid(logit)))
    assert perceptual(torch.tensor([-1e4, 1e4]), "bce").isfinite().all()
    torch.testing.assert_close(
        perceptual(logit, "bce", "nonsaturating"), -torch.log(torch.sigmoid(logit))
    )
    for form in ("saturating", "nonsaturating"):
        assert torch.equal(perceptual(logit, "wgan_gp", form), -logit)
    assert discriminator_loss(torch.tensor([-1e4]), torch.tensor([1e4]), "bce").isfinite()


def test_psnr_counts_only_the_weighted_pixels() -> None:
    error = torch.full((1, 3, 4, 4), 0.5)
    hole = torch.zeros(1, 1, 4, 4)
    hole[..., :2, :] = 1
    error[:, :, 2:] = torch.nan
    torch.testing.assert_close(psnr(error, hole), torch.tensor([12.0412]))
    assert psnr(torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)).isinf()
