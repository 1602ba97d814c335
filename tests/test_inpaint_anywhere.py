"""``inpaint`` called by other people's code: their types, their modes, their trainings."""

import random
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from gan_inpaint import InputError, Prior, inpaint
from gan_inpaint.inversion.optimize import LatentOptimization
from gan_inpaint.priors.registry import load_prior

pytestmark = pytest.mark.bf16

FAST: dict[str, Any] = {"steps": 2, "candidates": 8}


def task(prior: Prior) -> tuple[Tensor, Tensor]:
    images = prior.sample(2, seed=0)
    known = torch.ones(1, 1, prior.size, prior.size)
    known[..., 4:9, 4:9] = 0
    return images, known


TYPES: list[Callable[[Tensor], object]] = [
    lambda t: t.numpy(),
    lambda t: t.double(),
    lambda t: t.numpy().astype(np.float64),
    lambda t: t.numpy()[:, :, ::-1][:, :, ::-1],
    lambda t: list(t),
    lambda t: tuple(t.numpy()),
    lambda t: t.tolist(),
    lambda t: t.clone().requires_grad_(),
    lambda t: t.numpy().astype(">f4"),
    lambda t: t.numpy().astype(np.longdouble),
]


@pytest.mark.parametrize("number", range(len(TYPES)))
def test_images_and_masks_of_any_type(number: int, tiny_prior: Prior) -> None:
    images, known = task(tiny_prior)
    expected = inpaint(images, known, tiny_prior, **FAST)
    result = inpaint(TYPES[number](images), TYPES[number](known), tiny_prior, **FAST)
    torch.testing.assert_close(result.images, expected.images)
    assert torch.equal(inpaint(images, known.bool().numpy(), tiny_prior, **FAST).z, expected.z)


@pytest.mark.parametrize(
    "options",
    [
        {"lam": np.float32(1e-5)},
        {"lam": torch.tensor(1e-5)},
        {"lam": np.array(1e-5)},
        {"steps": np.int64(2)},
        {"steps": torch.tensor(2)},
        {"norm": np.str_("l2")},
        {"restarts": np.int32(2)},
        {"patience": None},
        {"radius": np.float16(0.5)},
        {"seed": np.uint8(0)},
    ],
    ids=range(10),
)
def test_options_of_any_type(options: dict, tiny_prior: Prior) -> None:
    plain = {
        key: value.tolist() if hasattr(value, "tolist") else value for key, value in options.items()
    }
    result = inpaint(*task(tiny_prior), tiny_prior, **FAST | options)
    assert torch.equal(result.z, inpaint(*task(tiny_prior), tiny_prior, **FAST | plain).z)


def test_a_prior_by_its_name_or_path(tiny_prior: Prior, tiny_prior_file: Path) -> None:
    expected = inpaint(*task(tiny_prior), tiny_prior, **FAST)
    for name in (tiny_prior_file, str(tiny_prior_file)):
        assert torch.equal(inpaint(*task(tiny_prior), name, **FAST).z, expected.z)
    with pytest.raises(InputError, match="prior=nowhere"):
        inpaint(*task(tiny_prior), "nowhere", **FAST)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": [[1, 2], [3]]}, "images: not a tensor or array"),
        ({"images": Image.new("L", (16, 16))}, "images have shape"),
        ({"images": None}, "images"),
        ({"images": "a.png"}, "images"),
        ({"images": [torch.zeros(1, 16, 16), torch.zeros(1, 8, 8)]}, "images: not a tensor"),
        ({"images": torch.zeros(1, 1, 16, 16, dtype=torch.int64)}, r"floats in \[-1, 1\]"),
        ({"images": torch.full((1, 1, 16, 16), torch.nan)}, r"images\[0\] has known pixels"),
        ({"images": torch.full((1, 1, 16, 16), torch.inf)}, r"images\[0\] has known pixels"),
        ({"known": [[0, 1]]}, "known has shape"),
        ({"known": torch.full((1, 1, 16, 16), torch.nan)}, "known must hold"),
        ({"lam": object()}, "lam"),
        ({"lam": np.array([1.0, 2.0])}, "lam"),
        ({"lam": {"a": 1}}, "lam"),
        ({"restarts": None}, "restarts"),
        ({"steps": 10**30}, "steps=1.*below 2"),
        ({"images": torch.zeros(1, 1, 16, 16).to_sparse()}, "sparse"),
        ({"images": torch.zeros(1, 1, 16, 16, device="meta")}, "without values"),
    ],
    ids=range(17),
)
def test_what_cannot_be_taken_is_an_input_error(
    change: dict, words: str, tiny_prior: Prior
) -> None:
    _, known = task(tiny_prior)
    images = change.pop("images", torch.zeros(1, 1, 16, 16))
    known = change.pop("known", known)
    with pytest.raises(InputError, match=words):
        inpaint(images, known, tiny_prior, **FAST | change)


def test_a_nan_in_the_second_image_is_named(tiny_prior: Prior) -> None:
    images, known = task(tiny_prior)
    images[1, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match=r"images\[1\].*not finite"):
        inpaint(images, known, tiny_prior, **FAST)
    images[1, 0, 0, 0], images[1, 0, 5, 5] = 0.0, torch.nan
    assert inpaint(images, known, tiny_prior, **FAST).images.isfinite().all(), "in the hole"


@pytest.mark.parametrize("mode", ["autocast", "float64", "bfloat16", "inference", "no_grad"])
def test_the_modes_around_it_change_nothing(mode: str, tiny_prior_file: Path) -> None:
    prior = load_prior(tiny_prior_file)
    images, known = task(prior)
    expected = inpaint(images, known, prior, blend="poisson", restarts=2, **FAST)
    around: Any = {
        "autocast": torch.autocast("cpu", dtype=torch.bfloat16),
        "inference": torch.inference_mode(),
        "no_grad": torch.no_grad(),
    }.get(mode, nullcontext())
    try:
        if mode in ("float64", "bfloat16"):
            torch.set_default_dtype(getattr(torch, mode))
        with around:
            result = inpaint(images, known, prior, blend="poisson", restarts=2, **FAST)
            by_name = inpaint(images, known, tiny_prior_file, restarts=2, **FAST)
            if mode != "autocast":
                assert load_prior(tiny_prior_file).sample(1, seed=0).dtype == torch.float32
        if mode in ("float64", "bfloat16"):
            assert torch.get_default_dtype() == getattr(torch, mode)
    finally:
        torch.set_default_dtype(torch.float32)
    for key in ("images", "z", "objective", "spread"):
        assert torch.equal(getattr(result, key), getattr(expected, key)), key
    assert torch.equal(by_name.z, expected.z)


def test_another_default_device_changes_nothing(tiny_prior: Prior) -> None:
    images, known = task(tiny_prior)
    expected = inpaint(images, known, tiny_prior, **FAST)
    with torch.device("meta"):
        result = inpaint(images, known, tiny_prior, **FAST)
    assert torch.equal(result.z, expected.z)


def test_random_generators_are_left_alone(tiny_prior: Prior) -> None:
    for options in ({}, {"candidates": 0, "restarts": 3}, {"optimizer": "adam"}):
        before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
        inpaint(*task(tiny_prior), tiny_prior, **FAST | options)
        assert torch.equal(before[0], torch.get_rng_state())
        assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
        assert before[2] == random.getstate()


class Validating(pl.LightningModule):
    """A training that looks at inpaintings on the way."""

    def __init__(self, prior: Prior):
        super().__init__()
        self.layer, self.prior, self.found = torch.nn.Linear(1, 1), prior, []
        self.task = task(prior)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return self.layer(batch[0].to(self.layer.weight.dtype)).mean()

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        self.found.append(inpaint(*self.task, self.prior, **FAST).z)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1e-3)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "64-true", "bf16-true"])
def test_in_the_validation_of_a_training(precision: str, tiny_prior: Prior) -> None:
    expected = inpaint(*task(tiny_prior), tiny_prior, **FAST).z
    module = Validating(tiny_prior)
    loader = DataLoader(TensorDataset(torch.zeros(4, 1)), 2)
    trainer = pl.Trainer(
        max_epochs=1,
        precision=precision,  # type: ignore[arg-type]
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader, loader)
    assert module.found
    assert all(torch.equal(z, expected) for z in module.found)


def test_ctrl_c_is_a_keyboard_interrupt(tiny_prior: Prior, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning would end the whole program."""

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LatentOptimization, "advance", interrupted)
        with pytest.raises(KeyboardInterrupt):
            inpaint(*task(tiny_prior), tiny_prior, **FAST)
    assert inpaint(*task(tiny_prior), tiny_prior, **FAST).images.isfinite().all()


def test_slurm_settings_around_it_do_not_matter(
    tiny_prior: Prior, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_JOB_NAME", "work")
    assert inpaint(*task(tiny_prior), tiny_prior, **FAST).images.isfinite().all()


# ---------------------------------------------------------------- likely mistakes are said


@pytest.mark.parametrize("change", [lambda x: (x + 1) / 2, lambda x: ((x + 1) / 2).numpy()])
def test_images_from_0_to_1_are_said(change: Callable, tiny_prior: Prior) -> None:
    images, known = task(tiny_prior)
    with pytest.warns(UserWarning, match=r"lie in \[0, 1\].* use 2 \* x - 1"):
        inpaint(change(images), known, tiny_prior, **FAST)


def rings() -> dict[str, tuple[Tensor, bool]]:
    """Masks of 16 pixels, and whether they look like the opposite of what is meant."""
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    rng = torch.Generator().manual_seed(0)
    square = (y >= 5) & (y < 11) & (x >= 5) & (x < 11)
    disc = (y - 7) ** 2 + (x - 8) ** 2 < 16
    return {
        "square": (square, True),
        "disc": (disc, True),
        "hole": (~square, False),
        "half": (x < 8, False),
        "corner": ((x < 8) & (y < 8), False),
        "scattered": (torch.rand(16, 16, generator=rng) < 0.2, False),
        "lattice": ((y % 2 == 0) & (x % 2 == 0), False),
    }


@pytest.mark.parametrize("name", rings())
def test_a_mask_of_the_opposite_polarity_is_said(name: str, tiny_prior: Prior) -> None:
    known, inverted = rings()[name]
    images, _ = task(tiny_prior)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        inpaint(images, known[None, None].float(), tiny_prior, **FAST)
    words = [str(one.message) for one in said if "1 = observed, 0 = missing" in str(one.message)]
    assert bool(words) == inverted


def test_ordinary_images_are_taken_without_a_word(digits: Prior) -> None:
    images, known = digits.sample(2, seed=0), torch.ones(1, 1, 32, 32)
    known[..., 8:24, 8:24] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        inpaint(images, known, digits, **FAST)
