"""Arguments of Lightning's Trainer that two networks taking turns cannot have."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY, Ran, save_tiny_prior, tiny_training, write_pictures

from gan_inpaint.data.loading import training_batches
from gan_inpaint.training.gan_module import AdversarialTraining

Run = Callable[..., Ran]


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    pictures = write_pictures(tmp_path / "pictures", 12)
    options = ["data=folder", f"data.path={pictures}", "batch_size=4", *TINY, "logger=none"]
    return [*options, "trainer.max_epochs=1", "hydra.run.dir=run"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("gradient_clip_val=1.0", "optimizer.discriminator.clip"),
        ("gradient_clip_algorithm=value", "optimizer.generator.clip"),
        ("accumulate_grad_batches=2", "a larger batch_size"),
        ("overfit_batches=2", "data.path="),
        ("limit_train_batches=0", "never be trained"),
        ("precision=16", "set precision="),
        ("logger=true", "set logger="),
        ("enable_checkpointing=true", "checkpoint.every_n_epochs"),
        ("default_root_dir=elsewhere", "hydra.run.dir"),
        ("callbacks=[]", "checkpoints, samples and curves"),
        ("limit_train_batches=2.5", "limit_train_batches"),
        ("strategy=nope", "nope"),
        ("accelerator=gpu", "gpu|GPU|CUDA"),
        ("fast_dev_run=true", "max_epochs=1"),
        ("max_steps=3", "trainer.max_epochs="),
        ("limit_train_batches=true", "must be a number"),
        ("limit_train_batches=abc", "must be a number"),
        ("val_check_interval=7.5", "val_check_interval"),
    ],
)
def test_they_are_refused_with_the_cure(
    given: str, words: str, arguments: list[str], run: Run, tmp_path: Path
) -> None:
    import re

    plus = "" if given.startswith("accelerator") else "+"
    ran = run("train", *arguments, f"{plus}trainer.{given}")
    assert ran.code == 2, ran.err
    assert re.search(words, ran.sentence), ran.sentence
    assert not list(tmp_path.rglob("prior.safetensors"))


def gradient_norms(clip: float | None) -> dict[str, list[float]]:
    """Norms of each network's gradients as its optimizer gets them."""
    import pytorch_lightning as pl

    rates = {"lr": 1e-3, "beta1": 0.5}
    module = tiny_training(
        optimizers={"discriminator": rates | {"clip": clip}, "generator": rates}, batch_size=4
    )
    norms: dict[str, list[float]] = {"discriminator": [], "generator": []}
    step = AdversarialTraining._step

    def watched(self: AdversarialTraining, optimizer, loss, network) -> None:  # type: ignore[no-untyped-def]
        step(self, optimizer, loss, network)
        weights = getattr(self, network).parameters()
        grads = torch.cat([w.grad.flatten() for w in weights])
        norms[network].append(float(grads.norm()))

    module._step = watched.__get__(module)  # type: ignore[method-assign]
    pixels = torch.randint(0, 256, (12, 1, 16, 16), generator=torch.manual_seed(0)).byte().numpy()
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, training_batches(pixels, 4, 0))
    return norms


def test_gradients_are_clipped_for_each_network() -> None:
    free, clipped = gradient_norms(None), gradient_norms(0.01)
    assert min(free["discriminator"]) > 0.02
    assert max(clipped["discriminator"]) == pytest.approx(0.01, rel=1e-3)
    assert free["generator"][0] == pytest.approx(clipped["generator"][0], rel=0.2)
    assert max(free["generator"]) > 0.01


@pytest.mark.parametrize("value", ["0", "-1", "nan", "abc"])
def test_a_clip_that_is_none(value: str, arguments: list[str], run: Run) -> None:
    ran = run("train", *arguments, f"optimizer.generator.clip={value}")
    assert ran.code == 2
    assert "clip" in ran.sentence


@pytest.mark.bf16
def test_a_run_with_clipping_resumes(arguments: list[str], run: Run) -> None:
    clip = ["optimizer.generator.clip=1", "optimizer.discriminator.clip=0.5"]
    assert run("train", *arguments, *clip).code == 0
    assert run("train", "resume=run", "trainer.max_epochs=2").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["device=tpu"], "device=tpu: must be auto, cpu, cuda"),
        (["+trainer.max_epochs=3"], "trainer.max_epochs=3: not supported for a search; set steps="),
        (["+trainer.precision=16"], "trainer.precision=16: not supported for a search; set prec"),
        (["+trainer.limit_train_batches=0"], "limit_train_batches=0: not supported for a search"),
        (["+trainer.max_time=00:00:00:01"], "trainer.max_time=00:00:00:01: not supported"),
        (["+trainer.strategy=ddp_spawn"], "trainer.strategy=ddp_spawn: not supported for a search"),
        (["+trainer.nothing=1"], "trainer: .*nothing"),
        (["trainer.devices=0"], "devices"),
    ],
)
def test_arguments_of_a_reconstructions_trainer(
    run: Callable[..., Ran], tmp_path: Path, arguments: list[str], words: str
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    options = [f"prior={prior}", "data=generated", "limit=1", "steps=1", "logger=none"]
    ran = run("reconstruct", *options, *arguments)
    assert ran.code == 2, ran.err
    assert re.search(words, ran.sentence), ran.sentence
