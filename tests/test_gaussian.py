"""The linear estimate of a hole, against what is known in closed form."""

from collections.abc import Iterator

import torch
from torch import Tensor

from gan_inpaint.guide.posterior import Gaussian, Posterior, fit_gaussian, reduce_known


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(size: int = 6, rank: int = 5) -> Gaussian:
    basis = torch.linalg.qr(torch.randn(size * size, rank, generator=rng()))[0]
    mean = torch.randn(1, size, size, generator=rng(1)) / 4
    return Gaussian(mean, basis.T.reshape(rank, 1, size, size), torch.tensor([4.0, 3, 2, 1, 0.5]))


def drawn(model: Gaussian, count: int, noise: float = 0.0) -> Tensor:
    codes = torch.randn(count, len(model.variances), generator=rng(2)) * model.variances.sqrt()
    images = model.mean + torch.einsum("bk,kchw->bchw", codes, model.directions)
    return images + noise**0.5 * torch.randn(images.shape, generator=rng(3))


def hole(size: int = 6) -> Tensor:
    known = torch.ones(1, size, size, dtype=torch.bool)
    known[:, 2:5, 1:4] = False
    return known


def test_the_fit_finds_mean_directions_and_variances() -> None:
    model = gaussian()
    images = drawn(model, 4000)

    def batches() -> Iterator[Tensor]:
        yield from images.split(300)

    found = fit_gaussian(batches, 5, rng())
    torch.testing.assert_close(found.mean, images.mean(dim=0), atol=1e-5, rtol=0)
    exact = torch.linalg.svdvals((images - images.mean(dim=0)).flatten(1)) ** 2 / len(images)
    torch.testing.assert_close(found.variances, exact[:5], rtol=1e-3, atol=1e-5)
    overlap = found.directions.flatten(1) @ model.directions.flatten(1).T
    torch.testing.assert_close(torch.linalg.svdvals(overlap), torch.ones(5), atol=1e-3, rtol=0)


def test_the_rank_is_bounded_by_the_images() -> None:
    images = torch.randn(4, 1, 3, 3, generator=rng())
    found = fit_gaussian(lambda: [images], 50, rng())
    assert found.directions.shape == (3, 1, 3, 3)


def test_the_mean_is_that_of_the_normal_equations() -> None:
    model, known, noise = gaussian(), hole(), 0.3
    images = drawn(model, 7, noise)
    images[:, :, ~known[0]] = torch.nan  # never read
    visible = model.directions[:, known]
    precision = visible @ visible.T / noise + torch.diag(1 / model.variances)
    right = (images[:, known] - model.mean[known]) @ visible.T / noise
    codes = torch.linalg.solve(precision, right.T).T
    expected = model.mean + torch.einsum("bk,kchw->bchw", codes, model.directions)
    found = Posterior(model, known, noise).mean(images)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_images_of_the_model_are_recovered_without_noise() -> None:
    model, known = gaussian(), hole()
    images = drawn(model, 5)
    found = Posterior(model, known, 1e-6).mean(images)
    torch.testing.assert_close(found, images, atol=1e-3, rtol=0)


def test_a_block_is_the_mean_of_its_known_pixels() -> None:
    images = torch.tensor([[1.0, 2, 5, 6], [3, 4, 7, 8], [0, 0, 1, 1], [0, 0, 1, 1]])[None, None]
    known = torch.tensor([[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1], [1, 1, 0, 0]]).bool()[
        None, None
    ]
    small, seen = reduce_known(images.masked_fill(~known, torch.nan), known, (2, 2))
    assert seen[0, 0].tolist() == [[True, False], [True, True]]
    assert small[0, 0].tolist() == [[2.0, 0.0], [0.0, 1.0]]
    assert reduce_known(images, known, (4, 4))[0] is images


def test_samples_have_the_posteriors_mean_and_covariance() -> None:
    model, known, noise = gaussian(), hole(), 0.5
    images = drawn(model, 1, noise)
    posterior = Posterior(model, known, noise)
    draws = posterior.sample(images, torch.randn(1, 40_000, 5, generator=rng(4)))[0]
    torch.testing.assert_close(draws.mean(dim=0), posterior.mean(images)[0], atol=0.03, rtol=0)
    codes = (draws - model.mean).flatten(1) @ model.directions.flatten(1).T
    visible = model.directions[:, known]
    exact = torch.linalg.inv(visible @ visible.T / noise + torch.diag(1 / model.variances))
    torch.testing.assert_close(torch.cov(codes.T), exact, atol=0.03, rtol=0)
