import pytest
import torch
from torch import Tensor

from gan_inpaint import inpaint
from gan_inpaint.errors import InputError
from gan_inpaint.functional.code_regression import CodeRegression
from gan_inpaint.functional.latent import draw_latent, project
from gan_inpaint.functional.losses import contextual
from gan_inpaint.inversion import initializers
from gan_inpaint.inversion.config import SearchConfig, search_config
from gan_inpaint.inversion.initializers import make_initializer
from gan_inpaint.priors.prior import Prior
from gan_inpaint.runtime.seeding import torch_rng

pytestmark = pytest.mark.bf16


@pytest.fixture
def batch(tiny_prior: Prior) -> tuple[Tensor, Tensor]:
    """Five images: three with one mask, two with masks of their own."""
    known = torch.ones(5, 1, 16, 16, dtype=torch.bool)
    known[:3, :, 4:12, 4:12] = False
    known[3, :, :, :9] = False
    known[4, :, ::2] = False
    return tiny_prior.sample(5, seed=3), known


def starts(prior: Prior, settings: SearchConfig, images: Tensor, known: Tensor) -> Tensor:
    return make_initializer(prior, settings.resolved(prior))(images, known, known.float()).codes


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_they_are_the_nearest_by_the_contextual_term(
    tiny_prior: Prior, batch: tuple[Tensor, Tensor], norm: str
) -> None:
    images, known = batch
    settings = search_config(
        {"start": "nearest", "candidates": 600, "restarts": 4, "norm": norm, "seed": 7}
    )
    codes = draw_latent(600, tiny_prior.nz, "normal", torch_rng("candidates", 7))
    codes = project(codes, "ball", settings.radius)
    pictures = tiny_prior.generator(codes).half().float()
    expected = torch.cat(
        [
            codes[contextual(pictures, image, mask[None].float(), norm).topk(4, largest=False)[1]]
            for image, mask in zip(images, known, strict=True)
        ]
    )
    assert torch.equal(starts(tiny_prior, settings, images, known), expected)


def test_what_is_in_the_hole_is_never_looked_at(
    tiny_prior: Prior, batch: tuple[Tensor, Tensor]
) -> None:
    images, known = batch
    nothing = torch.where(known, images, torch.nan)
    for candidates in (0, 50):
        settings = search_config(
            {"start": "auto", "candidates": candidates, "restarts": 2, "guide": "none"}
        )
        found = [starts(tiny_prior, settings, given, known) for given in (images, nothing)]
        assert torch.equal(*found)


def test_a_later_batch_gets_what_it_would_get_first_kept_or_not(
    tiny_prior: Prior, batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, known = batch
    settings = search_config({"start": "nearest", "candidates": 300, "restarts": 2})
    kept = make_initializer(tiny_prior, settings.resolved(tiny_prior))
    weight = known.float()
    first = kept(images, known, weight).codes
    generated = []
    hook = tiny_prior.generator.register_forward_hook(lambda *_: generated.append(1))
    assert torch.equal(kept(images, known, weight).codes, first)
    assert not generated
    monkeypatch.setattr(initializers, "_KEPT", 0)
    forgetful = make_initializer(tiny_prior, settings.resolved(tiny_prior))
    for _ in range(2):
        assert torch.equal(forgetful(images, known, weight).codes, first)
    assert len(generated) == 4, "two chunks for each batch"
    hook.remove()
    alone = [starts(tiny_prior, settings, images[i : i + 1], known[i : i + 1]) for i in range(5)]
    assert torch.equal(torch.cat(alone), first)


def completed(images: Tensor, known: Tensor) -> Tensor:
    """A guide for two restarts: the truth, and something darker."""
    return torch.stack([images, (images - 0.5).clamp(min=-1)], dim=1)


def test_a_regression_points_near_the_code_of_an_image_that_the_prior_generated(
    tiny_prior: Prior, batch: tuple[Tensor, Tensor]
) -> None:
    _, known = batch
    codes = tiny_prior.latent.sample(5, torch_rng("test")) * 0.6
    images = tiny_prior.decode(codes)
    settings = search_config({"candidates": 600, "restarts": 2})
    begin = make_initializer(tiny_prior, settings.resolved(tiny_prior))
    found = begin(images, known, known.float(), completed(images, known)).codes.view(5, 2, -1)
    apart = (found - codes[:, None]).square().mean(dim=(0, 2))
    assert apart[0] < 0.5 * codes.square().mean(), "much better than the mean code"
    assert apart[0] < apart[1], "each restart follows its own guide"
    alone = begin(images[:1], known[:1], known[:1].float(), completed(images, known)[:1])
    assert torch.equal(alone.codes, found[0])


def test_its_curvature_is_that_of_a_linear_generator(tiny_prior: Prior) -> None:
    rng = torch_rng("linear")
    codes, to_image = torch.randn(400, 6, generator=rng), torch.randn(6, 64, generator=rng)
    regression = CodeRegression(codes, [(codes @ to_image).view(400, 1, 8, 8)])
    weight = torch.rand(1, 8, 8, generator=rng)
    inverse = regression.inverse_curvature(weight)
    assert inverse is not None
    exact = 2 / 64 * (to_image * weight.flatten()) @ to_image.T
    damped = exact + exact.diagonal().mean() * torch.eye(6)
    # the ridge shrinks it a little
    torch.testing.assert_close(inverse @ damped, torch.eye(6), rtol=0, atol=0.25)
    target = codes[:3] @ to_image
    torch.testing.assert_close(
        regression.codes(target.view(3, 1, 8, 8)), codes[:3], rtol=0.25, atol=0.25
    )


def test_a_regression_takes_fewer_steps_to_a_better_fit(
    tiny_prior: Prior, batch: tuple[Tensor, Tensor]
) -> None:
    images, known = batch
    options = {"lam": 0.0, "steps": 5, "candidates": 300, "guide": "samples"}
    found = [
        inpaint(images, known, tiny_prior, start=start, **options).objective.mean()
        for start in ("regression", "nearest")
    ]
    assert found[0] < found[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": "regression", "guide": "none"}, "start=regression needs a guide"),
        ({"start": "regression", "candidates": 0}, "start=regression needs candidates"),
        ({"start": "nowhere"}, "start=nowhere: must be one of auto, nearest, regression"),
    ],
)
def test_starts_that_cannot_be(options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        search_config(options)


def test_a_regression_is_fitted_once_for_a_prior(
    tiny_prior: Prior, batch: tuple[Tensor, Tensor]
) -> None:
    images, known = batch
    settings = search_config({"candidates": 300, "restarts": 2, "seed": 321})
    generated = []
    hook = tiny_prior.generator.register_forward_hook(lambda *_: generated.append(1))
    found = []
    for _ in range(2):
        begin = make_initializer(tiny_prior, settings.resolved(tiny_prior))
        found.append(begin(images, known, known.float(), completed(images, known)).codes)
    hook.remove()
    assert len(generated) == 1, "one chunk of candidates"
    assert torch.equal(*found)
