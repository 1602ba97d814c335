"""Training on the codes that a search would use, and on reconstructed training images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from conftest import TINY, Ran, only, tiny_training, write_pictures
from test_conditions import CLASSES, CONDITIONING
from torch.utils.data import DataLoader, TensorDataset

from gan_inpaint.functional.code_regression import CodeRegression
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.models.code_encoder import CodeEncoder
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.priors.weights import unpickled
from gan_inpaint.runtime.seeding import torch_rng
from gan_inpaint.training.gan_module import AdversarialTraining
from gan_inpaint.training.initialize import start_from

pytestmark = pytest.mark.bf16

SPHERE = SearchConfig().radius * 8**0.5


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    pictures = write_pictures(tmp_path / "pictures", 30)
    options = ["data=folder", f"data.path={pictures}", "batch_size=8", "logger=none"]
    options += ["precision=fp32", "trainer.max_epochs=2", "reconstruction_weight=100"]
    return [*options, *TINY]


def test_a_minibatch_has_normal_codes_short_ones_and_those_of_images() -> None:
    rng = torch_rng("mix")
    encoder, codes = CodeEncoder(16, 1, 8), torch.randn(8, 8, generator=rng)
    images = torch.randn(8, 1, 16, 16, generator=rng)
    mixed = encoder.mix(codes, images)
    assert torch.equal(mixed[:4], codes[:4])
    torch.testing.assert_close(mixed[4:6].norm(dim=1), torch.full((2,), SPHERE))
    torch.testing.assert_close(
        torch.cosine_similarity(mixed[4:6], codes[4:6]), torch.ones(2), msg="only shortened"
    )
    assert torch.equal(mixed[6:], encoder(images[6:]))
    far = encoder(100 * images)
    torch.testing.assert_close(far.norm(dim=1), torch.full((8,), SPHERE), msg="in the ball")
    assert encoder.mix(codes[:4], images[:4]).shape == (4, 8), "the least minibatch"
    gradient = torch.autograd.grad(mixed.square().sum(), encoder.linear.weight)[0]
    assert gradient.abs().sum() > 0


def test_the_error_is_that_of_the_images_whose_codes_were_used() -> None:
    images = torch.randn(8, 1, 16, 16, generator=torch_rng("images"))
    generated = images.clone()
    generated[:6] += 1
    assert CodeEncoder.error(generated, images) == 0
    generated[7] += 2
    assert CodeEncoder.error(generated, images) == pytest.approx(2)


def test_it_starts_from_the_regression_on_samples() -> None:
    trained, module = tiny_training(seed=3), tiny_training(reconstruction_weight=1.0)
    assert start_from(module, trained.generator, trained.discriminator) == []
    codes = torch.randn(500, 8, generator=torch_rng("codes")) * 0.5
    images = module.sample(codes)
    found = module.code_encoder(images)
    # how near depends on the generator; random weights would give 0
    assert torch.cosine_similarity(found, codes).mean() > 0.5
    regression = CodeRegression(codes, [images])
    weight, bias = regression.to_codes
    by_map = images.flatten(1) @ weight.T + bias
    torch.testing.assert_close(by_map, regression.codes(images), rtol=1e-3, atol=1e-4)


def test_a_training_changes_the_encoder_and_resumes_to_the_same_weights(
    run: Callable[..., Ran], arguments: list[str], tmp_path: Path
) -> None:
    ran = run("train", *arguments)
    assert ran.code == 0, ran.err
    whole = only(tmp_path / "outputs" / "train" / "folder", "*")
    trained = unpickled(whole / "checkpoints" / "last.ckpt")["state_dict"]
    untrained = tiny_training(reconstruction_weight=1.0).state_dict()
    assert not torch.equal(
        trained["code_encoder.linear.weight"], untrained["code_encoder.linear.weight"]
    )
    assert run("train", *arguments, "trainer.max_epochs=1", "hydra.run.dir=parts").code == 0
    ran = run("train", "resume=parts", "trainer.max_epochs=2")
    assert ran.code == 0, ran.err
    z = torch.randn(2, 8)
    assert torch.equal(load_prior("parts").decode(z), load_prior(whole).decode(z))
    ran = run("train", "resume=parts", "trainer.max_epochs=3", "reconstruction_weight=0")
    assert "leave it as it is when resuming" in ran.sentence
    assert run("train", "resume=parts", "trainer.max_epochs=3", "reconstruction_weight=9").code == 0


def fit(module: AdversarialTraining, images: Any, epochs: int) -> None:
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(images, batch_size=16))


@pytest.mark.parametrize("schedule", [(1, 1), (2, 1)])
def test_an_image_keeps_its_condition(schedule: tuple[int, int]) -> None:
    steps = dict(zip(("discriminator", "generator"), schedule, strict=True))
    conditioning = CONDITIONING | {"drop": 0.0, "diversity": 0.0}
    module = tiny_training(
        reconstruction_weight=1.0, conditioning=conditioning, batch_size=16, schedule=steps
    )
    pixels = torch.randint(256, (32, 1, 16, 16), generator=torch_rng("px"), dtype=torch.uint8)
    told = CLASSES.encode(["cat", "dog", "dog", "cat"] * 8)
    seen: list[tuple[Any, ...]] = []

    def watch(_: Any, given: tuple[Any, ...]) -> None:
        of_images = module.code_encoder(pixels / 127.5 - 1).detach()
        seen.append((*given, of_images))

    module.generator.register_forward_pre_hook(watch)
    fit(module, TensorDataset(pixels, told), 1)
    assert len(seen) == (2 if schedule == (1, 1) else 3), "one for each D step, and G's own"
    for step, (codes, condition, of_images) in enumerate(seen):
        first = 0 if step == 0 else 16
        torch.testing.assert_close(codes[12:].detach(), of_images[first + 12 : first + 16])
        assert torch.equal(condition, told[first : first + 16])


@pytest.mark.parametrize("schedule", [(1, 1), (3, 2)])
def test_training_lowers_the_error_of_reconstruction(schedule: tuple[int, int]) -> None:
    steps = dict(zip(("discriminator", "generator"), schedule, strict=True))
    options = {"batch_size": 16, "schedule": steps, "ngf": 8}
    blocks = torch.randint(256, (16, 1, 4, 4), generator=torch_rng("blocks"), dtype=torch.uint8)
    pixels = blocks.repeat_interleave(4, 2).repeat_interleave(4, 3)
    images = pixels / 127.5 - 1
    errors = []
    for weight in (1e-9, 100.0):
        module = tiny_training(reconstruction_weight=weight, **options)
        fit(module, pixels, 200)
        with torch.no_grad():
            made = module.generator(module.code_encoder(images))
        errors.append(float((made - images).square().mean()))
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["reconstruction_weight=-1"], "must be a number of at least 0"),
        (["model.latent=uniform"], "set model.latent=normal"),
        (["batch_size=3"], "needs at least 4, four for each device"),
        (["conditioning=label", "conditioning.diversity=1"], "set one of the two to 0"),
    ],
)
def test_mistakes_are_named(
    run: Callable[..., Ran], arguments: list[str], overrides: list[str], words: str
) -> None:
    assert words in run("train", *arguments, *overrides).sentence
