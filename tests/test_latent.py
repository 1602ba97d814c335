from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import search_unchecked
from torch import Tensor

from gan_inpaint.data import masks
from gan_inpaint.errors import InputError
from gan_inpaint.functional.losses import contextual, perceptual, weighted_errors
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.functional.weighting import importance_weights
from gan_inpaint.inversion import pipeline
from gan_inpaint.inversion.config import search_config
from gan_inpaint.inversion.initializers import Starts
from gan_inpaint.inversion.lightning_module import ImageBatch, LatentReconstruction
from gan_inpaint.inversion.optimize import LatentOptimization, make_optimizer
from gan_inpaint.inversion.pipeline import reconstruct
from gan_inpaint.inversion.result import Result
from gan_inpaint.inversion.state import StopReason
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.runtime.seeding import torch_rng

pytestmark = pytest.mark.bf16

inpaint = partial(pipeline.inpaint, guide="none")  # which has tests of its own


def case(prior: Prior, count: int) -> tuple[Tensor, Tensor]:
    """Targets that the prior can make exactly, each with another mask."""
    rng = torch_rng("case")
    images = prior.decode(prior.latent.sample(count, rng))
    known = torch.rand(count, 1, prior.size, prior.size, generator=rng) > 0.4
    return images, known


def test_z_is_the_only_parameter(tiny_prior: Prior) -> None:
    config = search_config({"batch_size": 6, "restarts": 2})
    search = LatentReconstruction(tiny_prior, config)
    assert set(dict(search.named_parameters())) == {"z"}
    assert search.z.shape == (6, 8)
    assert set(search.state_dict()) > {"z"}, "the prior's weights are buffers, they follow .to()"


def test_a_search_changes_the_rows_of_its_batch_alone(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 2)
    config = search_config({"batch_size": 6, "restarts": 2, "steps": 3})
    modules = []

    class Keep(pl.Callback):
        def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            modules.append(pl_module)

    reconstruct(tiny_prior, config, [ImageBatch(images, known)], callbacks=[Keep()])
    (search,) = modules
    assert (search.z[:4] != 0).any(dim=1).all()
    assert not search.z[4:].any()
    assert search.z.grad is None, "no gradient that several processes would average"


def test_the_networks_are_bit_identical_after_a_search(tiny_prior: Prior) -> None:
    networks = {"g": tiny_prior.generator, "d": tiny_prior.discriminator}
    before = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in networks.items()}
    inpaint(*case(tiny_prior, 2), tiny_prior, steps=10, lam=0.1)
    for name, network in networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, before[name][key])


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_the_objective_is_contextual_plus_lam_times_perceptual(
    tiny_prior: Prior, norm: str
) -> None:
    images, known = case(tiny_prior, 3)
    result = inpaint(images, known, tiny_prior, lam=0.3, norm=norm, steps=7)
    generated = tiny_prior.generator(result.z)
    context = contextual(generated, images, known.float(), norm)
    realism = perceptual(tiny_prior.discriminator(generated), "bce")
    torch.testing.assert_close(result.contextual, context, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(result.perceptual, realism, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(result.objective, context + 0.3 * realism, rtol=1e-4, atol=1e-6)


def test_an_image_made_by_the_generator_is_recovered(digits: Prior) -> None:
    images = digits.sample(8, seed=3)
    known = torch.rand(8, 1, 32, 32, generator=torch_rng("holes")) > 0.5
    result = inpaint(images, known, digits, steps=300, lam=0.0)
    found = psnr(result.images - images, (~known).float())
    assert found.median() > 25, found
    # and it is the search that found it
    nearest = inpaint(images, known, digits, steps=1, lam=0.0)
    assert (psnr(nearest.images - images, (~known).float()) < found).all()


def test_known_pixels_are_bit_equal(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 3)
    images = (images + 0.01 * torch.randn_like(images)).clamp(-1, 1)
    for options in ({}, {"blend": "poisson"}, {"estimate": "mean", "restarts": 3}):
        result = inpaint(images, known, tiny_prior, steps=3, **options)
        assert torch.equal(result.images[known], images[known])
        assert not torch.equal(result.images[~known], images[~known])


def test_what_is_in_the_hole_is_never_looked_at(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 3)
    damaged = torch.where(known, images, torch.nan)
    for options in ({}, {"candidates": 0}, {"blend": "poisson"}):
        clean = inpaint(images, known, tiny_prior, steps=5, **options)
        blind = inpaint(damaged, known, tiny_prior, steps=5, **options)
        assert torch.equal(clean.images, blind.images)


def assert_close(one: Result, first: int, other: Result, second: int) -> None:
    """Up to rounding, for one image of each, after a few steps."""
    for key in ("images", "generated", "z", "objective", "contextual", "spread"):
        a, b = getattr(one, key)[first], getattr(other, key)[second]
        torch.testing.assert_close(a, b, rtol=2e-3, atol=2e-3, msg=lambda m, key=key: f"{key}: {m}")
    assert int(one.steps[first]) == int(other.steps[second])
    assert int(one.restart[first]) == int(other.restart[second])
    assert one.stopped_by[first] == other.stopped_by[second]


@pytest.mark.parametrize("candidates", [0, 32])
def test_an_image_alone_gives_what_it_gives_in_a_batch(tiny_prior: Prior, candidates: int) -> None:
    """But for the last bits: a processor's kernels round by the number of rows."""
    images, known = case(tiny_prior, 5)
    options = {"steps": 4, "restarts": 2, "candidates": candidates}
    together = inpaint(images, known, tiny_prior, **options)
    in_parts = inpaint(images, known, tiny_prior, batch_size=4, **options)
    assert together.images.shape == in_parts.images.shape == images.shape
    for i in range(5):
        alone = inpaint(images[i : i + 1], known[i : i + 1], tiny_prior, **options)
        for result, at in ((together, i), (in_parts, i)):
            assert_close(alone, 0, result, at)


def test_the_best_iterate_is_returned_not_the_last(tiny_prior: Prior) -> None:
    # a step so large that the search leaves every good place at once
    images, known = case(tiny_prior, 4)
    options = {"lr": 50.0, "constraint": "none", "candidates": 64, "lam": 0.0}
    short = inpaint(images, known, tiny_prior, steps=1, **options)
    long = inpaint(images, known, tiny_prior, steps=30, **options)
    assert (long.objective <= short.objective).all()


def test_gradients_do_not_accumulate(tiny_prior: Prior) -> None:
    """Plain gradient descent, written out, takes the same path."""
    images, known = case(tiny_prior, 1)
    options = {"optimizer": "sgd", "lr": 0.5, "norm": "l2", "lam": 0.0, "constraint": "none"}
    options |= {"candidates": 0, "patience": None, "tolerance": 0.0, "precision": "fp32"}
    start = inpaint(images, known, tiny_prior, steps=1, **{**options, "lr": 1e-12}).z
    z = start.clone()
    for _ in range(5):
        z.requires_grad_()
        loss = contextual(tiny_prior.generator(z), images, known.float(), "l2").sum()
        z = (z - 0.5 * torch.autograd.grad(loss, z)[0]).detach()
    result = inpaint(images, known, tiny_prior, steps=5, **options)
    torch.testing.assert_close(result.z, z, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("constraint", "latent"), [("ball", "normal"), ("clip", "uniform")])
def test_the_constraint_holds_and_matches_the_prior(tmp_path, constraint: str, latent: str) -> None:
    from conftest import save_tiny_prior

    from gan_inpaint.priors.registry import load_prior

    prior = load_prior(save_tiny_prior(tmp_path / "p.safetensors", latent=latent))
    images, known = case(prior, 3)
    options = {"steps": 20, "lr": 1.0, "radius": 0.9, "candidates": 0, "restarts": 2}
    for chosen in (constraint, "auto"):
        z = inpaint(images, known, prior, constraint=chosen, **options).rows.z
        inside = z.norm(dim=1) <= 0.9 * 8**0.5 + 1e-5 if latent == "normal" else z.abs() <= 1
        assert inside.all()
    # a target that codes inside cannot make
    far = prior.generator(torch.full((3, prior.nz), 4.0))
    free = inpaint(far, known, prior, constraint="none", **(options | {"steps": 60}))
    assert free.z.norm(dim=1).max() > 0.9 * 8**0.5
    assert not free.binding.any()
    held = inpaint(far, known, prior, constraint=constraint, **(options | {"steps": 60}))
    assert held.binding.max() > 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"steps": 5, "tolerance": 0.0, "patience": None}, "budget"),
        ({"steps": 50, "tolerance": 1e9}, "tolerance"),
        ({"steps": 500, "tolerance": 0.0, "patience": 3, "lr": 1e-6}, "plateau"),
    ],
)
def test_every_row_says_why_it_stopped(tiny_prior: Prior, options: dict, reason: str) -> None:
    result = inpaint(*case(tiny_prior, 2), tiny_prior, **options)
    assert result.stopped_by == [reason] * 2
    steps = {"budget": 5, "tolerance": 0, "plateau": 3}[reason]
    assert result.steps.tolist() == [steps] * 2


def test_rows_stop_one_by_one_and_the_others_go_on(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 4)
    options = {"steps": 60, "norm": "l2", "lam": 0.0, "tolerance": 2e-2, "candidates": 0}
    result = inpaint(images, known, tiny_prior, patience=None, **options)
    assert len(set(result.steps.tolist())) > 1
    for i in range(4):
        alone = inpaint(images[i : i + 1], known[i : i + 1], tiny_prior, patience=None, **options)
        assert int(alone.steps[0]) == int(result.steps[i])


def test_a_row_that_is_not_finite_fails_alone(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 3)
    expected = inpaint(images, known, tiny_prior, steps=5)
    broken = images.clone()
    broken[1] = torch.nan
    result = search_unchecked(
        tiny_prior, broken, known, search_config({"steps": 5, "guide": "none"})
    )
    assert result.stopped_by[1] == "failed"
    for i in (0, 2):
        assert_close(result, i, expected, i)


def test_restarts_are_starts_of_the_same_image_and_the_best_wins(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 3)
    result = inpaint(images, known, tiny_prior, steps=10, restarts=4, candidates=0)
    objective = result.rows.objective.view(3, 4)
    assert len({round(v, 6) for v in objective[0].tolist()}) > 1
    assert torch.equal(result.objective, objective.min(dim=1).values)
    assert torch.equal(result.restart, objective.argmin(dim=1))
    assert torch.equal(result.z, result.rows.z[torch.arange(3) * 4 + result.restart])
    assert (result.rows.stopped_by >= StopReason.TOLERANCE).all()


def test_candidates_start_nearer_than_chance(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 4)
    near = inpaint(images, known, tiny_prior, steps=1, candidates=256, lr=1e-9)
    far = inpaint(images, known, tiny_prior, steps=1, candidates=0, lr=1e-9)
    assert near.contextual.mean() < far.contextual.mean()


def test_the_mean_estimate_is_the_average_over_restarts(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 2)
    result = inpaint(images, known, tiny_prior, steps=3, restarts=3, estimate="mean")
    expected = tiny_prior.generator(result.rows.z).unflatten(0, (2, 3)).mean(dim=1)
    torch.testing.assert_close(result.generated, expected)


def test_the_history_is_the_mean_over_all_images_however_they_were_batched(
    tiny_prior: Prior,
) -> None:
    images, known = case(tiny_prior, 5)
    whole = inpaint(images, known, tiny_prior, steps=25).history
    parts = inpaint(images, known, tiny_prior, steps=25, batch_size=2).history
    assert [row["step"] for row in whole] == [10, 20, 25]
    for one, other in zip(whole, parts, strict=True):
        assert one["objective"] == pytest.approx(other["objective"], rel=1e-3)
    assert whole[0]["objective"] >= whole[-1]["objective"]


def test_lam_zero_never_asks_the_discriminator_while_searching(tiny_prior: Prior) -> None:
    calls = []
    hook = tiny_prior.discriminator.register_forward_hook(lambda *_: calls.append(1))
    plain = {"steps": 9, "precision": "fp32"}  # bf16 has a copy of the discriminator
    inpaint(*case(tiny_prior, 2), tiny_prior, lam=0.0, **plain)
    assert len(calls) == 1  # for the report
    inpaint(*case(tiny_prior, 2), tiny_prior, lam=1e-9, **plain)
    assert len(calls) > 9
    hook.remove()


def test_it_works_inside_inference_mode_and_no_grad(tiny_prior: Prior) -> None:
    expected = inpaint(*case(tiny_prior, 2), tiny_prior, steps=5)
    with torch.inference_mode():
        images, known = case(tiny_prior, 2)
        result = inpaint(images, known, tiny_prior, steps=5)
    assert torch.equal(result.images, expected.images)
    assert not result.images.is_inference()
    with torch.no_grad():
        result = inpaint(*case(tiny_prior, 2), tiny_prior, steps=5)
    assert torch.equal(result.images, expected.images)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "sgd"])
@pytest.mark.parametrize(("steps", "tolerance"), [(1, 1e3), (5, 1e3), (10, 1.0), (25, 1e3)])
def test_a_search_may_be_over_before_its_last_steps_in_fp32(
    steps: int, tolerance: float, optimizer: str, tiny_prior: Prior
) -> None:
    """Every row has stopped where bf16 would hand over; the best iterates stand."""
    images, known = case(tiny_prior, 3)
    options = {"steps": steps, "tolerance": tolerance, "restarts": 2, "optimizer": optimizer}
    for lam in (0.0, 0.01):
        result = inpaint(images, known, tiny_prior, precision="bf16", lam=lam, **options)
        assert set(result.stopped_by) <= {"tolerance", "failed"}
        assert result.z.isfinite().all()
        assert result.objective.isfinite().all()


def test_rows_that_stop_before_the_hand_over_keep_their_codes(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 6)
    options = {"steps": 20, "precision": "bf16", "lam": 0.0, "patience": 4, "tolerance": 1e-3}
    result = inpaint(images, known, tiny_prior, **options)
    assert len(set(result.rows.steps.tolist())) > 1, "some stop earlier than others"
    found = contextual(tiny_prior.generator(result.z), images, known.float(), "l2")
    own = inpaint(images, known, tiny_prior, **options | {"steps": 1, "tolerance": 0.0})
    assert (found <= own.contextual + 1e-4).all(), "no row ends worse than it began"


def test_no_rows_have_no_errors() -> None:
    none = torch.zeros(0, 3, 4, 4)
    assert weighted_errors(none, none, torch.zeros(0, 2, 4, 4), "l2").shape == (0, 2)


def test_same_seed_same_result(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 2)
    runs = [inpaint(images, known, tiny_prior, steps=9, candidates=0, seed=s) for s in (0, 0, 1)]
    assert torch.equal(runs[0].images, runs[1].images)
    assert not torch.equal(runs[0].z, runs[2].z)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": torch.zeros(1, 3, 16, 16)}, r"\(1, 3, 16, 16\).*1 channel.*16x16 pixels"),
        ({"images": torch.zeros(1, 1, 32, 32)}, r"\(1, 1, 32, 32\).*1 channel.*16x16 pixels"),
        ({"images": torch.zeros(1, 16, 16)}, r"give \(B, 1, 16, 16\)"),
        ({"images": torch.full((1, 1, 16, 16), 255.0)}, r"floats in \[-1, 1\]"),
        ({"images": torch.zeros(1, 1, 16, 16, dtype=torch.uint8)}, r"floats in \[-1, 1\]"),
        ({"known": torch.ones(1, 1, 16, 16)}, "no hole"),
        ({"known": torch.zeros(1, 1, 16, 16)}, "no known pixel"),
        ({"known": torch.full((1, 1, 16, 16), 0.5)}, "only 0"),
        ({"known": torch.ones(2, 1, 16, 16)}, "known has shape"),
        ({"options": {"norm": "l3"}}, "norm=l3: must be one of l1, l2"),
        ({"options": {"lam": -1}}, "lam=-1.0: must be a number of at least 0"),
        ({"options": {"lamb": 1}}, "unknown option 'lamb'"),
        ({"options": {"restarts": 4, "candidates": 2}}, "candidates=2.*restarts=4"),
        ({"options": {"restarts": 2, "keep": 3}}, "keep=3.*restarts=2"),
        ({"options": {"window": 4}}, "window=4: must be odd"),
        ({"options": {"weighting": "all"}}, "weighting=all: must be one of known, yeh"),
    ],
)
def test_mistakes_are_named(tiny_prior: Prior, change: dict, words: str) -> None:
    known = torch.ones(1, 1, 16, 16)
    known[..., 4:8, 4:8] = 0
    images = change.get("images", torch.zeros(1, 1, 16, 16))
    with pytest.raises(InputError, match=words):
        inpaint(images, change.get("known", known), tiny_prior, **change.get("options", {}))


def test_the_perceptual_term_has_the_form_that_was_asked_for(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 3)
    result = inpaint(images, known, tiny_prior, steps=9, lam=0.1, perceptual="nonsaturating")
    logit = tiny_prior.discriminator(result.generated)
    expected = torch.nn.functional.softplus(-logit)
    torch.testing.assert_close(result.perceptual, expected, rtol=1e-4, atol=1e-4)
    whole = result.contextual + 0.1 * result.perceptual
    torch.testing.assert_close(result.objective, whole, rtol=1e-4, atol=1e-4)


def descent(prior: Prior, objective: Callable[[Tensor], Tensor], steps: int, lr: float) -> Tensor:
    """Plain gradient descent from the start that ``candidates=0`` gives, written out."""
    z = inpaint(*case(prior, 1), prior, candidates=0, constraint="none", steps=1, lr=1e-12).z
    for _ in range(steps):
        z.requires_grad_()
        z = (z - lr * torch.autograd.grad(objective(z), z)[0]).detach()
    return z


PLAIN = {
    "precision": "fp32",
    "optimizer": "sgd",
    "lr": 0.5,
    "norm": "l2",
    "lam": 0.0,
    "constraint": "none",
    "candidates": 0,
    "patience": None,
    "tolerance": 0.0,
}


def test_the_penalty_on_z_is_a_term_of_the_objective(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 1)

    def objective(z: Tensor) -> Tensor:
        context = contextual(tiny_prior.generator(z), images, known.float(), "l2")
        return (context + 0.3 * z.square().mean(dim=1)).sum()

    result = inpaint(images, known, tiny_prior, steps=6, z_penalty=0.3, **PLAIN)
    torch.testing.assert_close(
        result.z, descent(tiny_prior, objective, 6, 0.5), rtol=1e-4, atol=1e-5
    )
    assert float(result.objective) == pytest.approx(float(objective(result.z)), rel=1e-4)


def test_importance_weights_are_those_of_the_term(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 1)
    weight = importance_weights(known, 5)

    def objective(z: Tensor) -> Tensor:
        return contextual(tiny_prior.generator(z), images, weight, "l2").sum()

    result = inpaint(images, known, tiny_prior, steps=4, weighting="yeh", window=5, **PLAIN)
    torch.testing.assert_close(
        result.z, descent(tiny_prior, objective, 4, 0.5), rtol=1e-4, atol=1e-5
    )
    assert float(result.objective) == pytest.approx(float(objective(result.z)), rel=1e-4)


def test_a_row_that_stopped_before_the_switch_to_fp32_keeps_its_result(
    tiny_prior: Prior,
) -> None:
    images, known = case(tiny_prior, 3)
    config = search_config({"lam": 0.0, "steps": 20, "guide": "none", "patience": None})
    config = config.resolved(tiny_prior)
    z = torch.zeros(3, 8, requires_grad=True)
    starts = Starts(tiny_prior.latent.sample(3, torch_rng("rows")))
    networks, masks = (tiny_prior, tiny_prior.reduced()), (known.float(), known)
    optimizer = make_optimizer(z, config)
    search = LatentOptimization(*networks, images, *masks, z, optimizer, starts, config)
    search.advance(15)  # the switch comes after step 16
    search.state.stopped_by[0] = StopReason.TOLERANCE
    before = search.state.z[0].clone()
    search.advance(5)
    state = search.finish()
    assert state.objective.isfinite().all()
    assert state.steps.tolist() == [15, 20, 20]
    assert torch.equal(state.z[0], before)


def test_the_share_of_the_perceptual_term_is_that_of_the_gradient(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 1)
    result = inpaint(images, known, tiny_prior, steps=1, **PLAIN | {"lam": 0.05, "lr": 1e-12})
    z = result.z.requires_grad_()
    generated = tiny_prior.generator(z)
    one = contextual(generated, images, known.float(), "l2").sum()
    other = 0.05 * perceptual(tiny_prior.discriminator(generated), "bce").sum()
    one, other = (torch.autograd.grad(t, z, retain_graph=True)[0].abs().sum() for t in (one, other))
    share = result.history[0]["perceptual_share"]
    assert share == pytest.approx(float(other / (one + other)), rel=1e-3)
    assert 0 < share < 1


def test_bf16_finds_what_fp32_finds_and_reports_it_in_full_precision(digits: Prior) -> None:
    images = digits.sample(4, seed=3)
    known = torch.rand(4, 1, 32, 32, generator=torch_rng("holes")) > 0.5
    found = {
        precision: inpaint(images, known, digits, precision=precision, steps=60, lam=1e-3)
        for precision in ("fp32", "bf16")
    }
    full, half = found["fp32"], found["bf16"]
    assert not torch.equal(full.z, half.z)
    assert half.contextual.mean() < 1.6 * full.contextual.mean()  # its gradients are noisy
    exact = contextual(digits.generator(half.z), images, known.float(), "l2")
    torch.testing.assert_close(half.contextual, exact, rtol=1e-4, atol=1e-6)


def test_different_completions_are_kept_the_best_first(tiny_prior: Prior) -> None:
    images, known = case(tiny_prior, 3)
    result = inpaint(images, known, tiny_prior, steps=4, restarts=6, candidates=0, keep=3)
    assert result.alternatives.shape == (3, 3, 1, 16, 16)
    assert torch.equal(result.alternatives[:, 0], result.images)
    shown = known[:, None].expand(-1, 3, -1, -1, -1)
    given = images[:, None].expand(-1, 3, -1, -1, -1)
    assert torch.equal(result.alternatives[shown], given[shown])
    assert not torch.equal(result.alternatives[:, 1], result.alternatives[:, 2])
    assert not result.spread[known].any()
    every = tiny_prior.generator(result.rows.z).unflatten(0, (3, 6))
    expected = every.std(dim=1, correction=0) * ~known
    torch.testing.assert_close(result.spread, expected)


def test_masks_that_differ_in_one_batch_give_what_each_gives_alone(tiny_prior: Prior) -> None:
    """Blended too: masks are grouped for one factorisation each."""

    rng = np.random.default_rng(0)
    known = torch.stack(
        [
            masks.center(16, rng, "", side=0.5),
            masks.half(16, rng, "", missing="left"),
            masks.random(16, rng, "", missing=0.8),
            masks.lattice(16, rng, "", every=2),
            masks.center(16, rng, "", side=0.5),
            masks.strokes(16, rng, "", count=2, width=0.1, turning=0.5, missing=0.4),
        ]
    )
    images = tiny_prior.sample(6, seed=5)
    options = {"steps": 5, "restarts": 2, "candidates": 16, "weighting": "yeh", "blend": "poisson"}
    together = inpaint(images, known, tiny_prior, **options)
    for i in range(6):
        alone = inpaint(images[i : i + 1], known[i : i + 1], tiny_prior, **options)
        assert_close(alone, 0, together, i)


@pytest.mark.parametrize("name", ["digits", "faces"])
def test_batch_size_and_order_change_nothing_but_rounding(name: str) -> None:
    prior = load_prior(name)
    images = prior.sample(7, seed=5)
    known = torch.rand(7, 1, prior.size, prior.size, generator=torch.manual_seed(0)) > 0.5
    options = {"steps": 4, "restarts": 2, "candidates": 64, "lam": 1e-3}
    expected = inpaint(images, known, prior, **options)
    for batch_size in (2, 6):
        order = torch.randperm(7, generator=torch.manual_seed(batch_size))
        result = inpaint(images[order], known[order], prior, batch_size=batch_size, **options)
        for at, index in enumerate(order.tolist()):
            assert_close(result, at, expected, index)


def test_the_same_batches_give_the_same_bits(digits: Prior) -> None:
    images = digits.sample(9, seed=5)
    known = torch.rand(9, 1, 32, 32, generator=torch.manual_seed(0)) > 0.5
    one, other = (
        inpaint(images, known, digits, steps=12, restarts=2, batch_size=8) for _ in range(2)
    )
    for key in ("images", "generated", "z", "objective", "steps", "spread", "restart"):
        assert torch.equal(getattr(one, key), getattr(other, key)), key
