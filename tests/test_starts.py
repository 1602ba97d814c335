import pytest
import torch
from torch import Tensor

from gan_inpaint.functional.latent import draw_latent, project
from gan_inpaint.functional.losses import contextual
from gan_inpaint.inversion import initializers
from gan_inpaint.inversion.config import search_config
from gan_inpaint.inversion.initializers import make_initializer
from gan_inpaint.priors.gan import Prior
from gan_inpaint.runtime.seeding import torch_rng


@pytest.fixture
def batch(tiny_prior: Prior) -> tuple[Tensor, Tensor]:
    """Five images: three with one mask, two with masks of their own."""
    known = torch.ones(5, 1, 16, 16, dtype=torch.bool)
    known[:3, :, 4:12, 4:12] = False
    known[3, :, :, :9] = False
    known[4, :, ::2] = False
    return tiny_prior.sample(5, seed=3), known


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_they_are_the_nearest_by_the_contextual_term(
    tiny_prior: Prior, batch: tuple[Tensor, Tensor], norm: str
) -> None:
    images, known = batch
    settings = search_config({"candidates": 600, "restarts": 4, "norm": norm, "seed": 7})
    codes = draw_latent(600, tiny_prior.nz, "normal", torch_rng("candidates", 7))
    codes = project(codes, "ball", settings.radius)
    pictures = tiny_prior.generator(codes).half().float()
    expected = torch.cat(
        [
            codes[contextual(pictures, image, mask[None].float(), norm).topk(4, largest=False)[1]]
            for image, mask in zip(images, known, strict=True)
        ]
    )
    assert torch.equal(make_initializer(tiny_prior, settings)(images, known)[0], expected)


def test_what_is_in_the_hole_is_never_looked_at(
    tiny_prior: Prior, batch: tuple[Tensor, Tensor]
) -> None:
    images, known = batch
    nothing = torch.where(known, images, torch.nan)
    for candidates in (0, 50):
        given = make_initializer(
            tiny_prior, search_config({"candidates": candidates, "restarts": 2})
        )
        assert torch.equal(given(images, known)[0], given(nothing, known)[0])


def test_a_later_batch_gets_what_it_would_get_first_kept_or_not(
    tiny_prior: Prior, batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, known = batch
    settings = search_config({"candidates": 300, "restarts": 2})
    kept = make_initializer(tiny_prior, settings)
    first = kept(images, known)[0]
    generated = []
    hook = tiny_prior.generator.register_forward_hook(lambda *_: generated.append(1))
    assert torch.equal(kept(images, known)[0], first)
    assert not generated
    monkeypatch.setattr(initializers, "_KEPT", 0)
    forgetful = make_initializer(tiny_prior, settings)
    for _ in range(2):
        assert torch.equal(forgetful(images, known)[0], first)
    assert len(generated) == 4, "two chunks for each batch"
    hook.remove()
    alone = [
        make_initializer(tiny_prior, settings)(images[i : i + 1], known[i : i + 1])[0]
        for i in range(5)
    ]
    assert torch.equal(torch.cat(alone), first)
