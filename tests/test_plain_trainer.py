"""Both LightningModules under Lightning's own Trainer, as docs/tutorial.md shows them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from conftest import Ran, only, tiny_training
from test_loggers import read_tensorboard
from test_tracking import records
from torch import nn
from torch.utils.data import DataLoader

import gan_inpaint
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.trained_pair import trained_pair

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.md"
OWN = """
from torch import nn


class Generator(nn.Module):
    def __init__(self, size, channels, width):
        super().__init__()
        self.nz = 6
        shape = channels, size, size
        self.layers = nn.Sequential(
            nn.Linear(6, width), nn.ReLU(), nn.Linear(width, channels * size * size), nn.Tanh(),
            nn.Unflatten(1, shape),
        )

    def forward(self, z):
        return self.layers(z)


def pair(size, channels=1, width=8):
    judge = nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, width), nn.ReLU())
    return Generator(size, channels, width), judge.append(nn.Linear(width, 1))


def wide(size):
    return pair(2 * size)


def alone(size):
    return Generator(size, 1, 8)
"""


def example(name: str) -> str:
    """A block of the tutorial."""
    (code,) = re.findall(rf"```python\n(# {name}\n.*?)```", TUTORIAL.read_text(), re.S)
    return code


@pytest.mark.parametrize(
    ("name", "scalars", "images"),
    [
        ("train.py", ["loss/d", "loss/g"], "samples"),
        ("search.py", ["objective", "contextual"], "search"),
    ],
)
def test_the_examples_log_scalars_and_images(
    name: str, scalars: list[str], images: str, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    alone = {key: value for key, value in os.environ.items() if "WANDB" not in key}
    ran = subprocess.run(
        [sys.executable, "-c", example(name)], capture_output=True, text=True, env=alone
    )
    assert ran.returncode == 0, ran.stderr
    board = read_tensorboard(only(tmp_path / "plain", "lightning_logs/version_0"))
    for key in scalars:
        points = board.Scalars(key)
        assert len(points) > 1
        assert [point.step for point in points] == sorted({point.step for point in points})
    shown = board.Images(images)
    assert len(shown) > 1
    assert shown[0].encoded_image_string.startswith(b"\x89PNG")
    logged = set[str]().union(*(r["item"] for r in records(tmp_path / "plain")["history"]))
    assert {*scalars, images} <= {key.split(".")[0] for key in logged}
    if name == "train.py":
        assert only(tmp_path / "plain", "*.ckpt")


def test_early_stopping_sees_the_losses(tmp_path: Path) -> None:
    images = torch.randint(0, 256, (16, 1, 16, 16)).byte()
    stop = pl.callbacks.EarlyStopping("loss/d", patience=1, min_delta=100.0)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    trainer = pl.Trainer(max_epochs=9, callbacks=[stop], accelerator="cpu", **quiet)
    trainer.fit(tiny_training(), DataLoader(images, batch_size=4))
    assert trainer.current_epoch < 9
    assert {"loss/d", "loss/g"} <= trainer.callback_metrics.keys()


def test_the_search_is_that_of_inpaint_whatever_the_loader(tiny_prior: Prior) -> None:
    known = torch.ones(3, 1, 16, 16, dtype=torch.bool)
    known[..., 4:12, 4:12] = False
    images, search = tiny_prior.sample(3, seed=1), gan_inpaint.SearchConfig(steps=25, lam=1e-2)
    expected = gan_inpaint.inpaint(images, known, tiny_prior, search)
    batches = [gan_inpaint.ImageBatch(images, known)]
    quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
    for looks in (True, False):
        module = gan_inpaint.LatentReconstruction(tiny_prior, search)
        loader = module.dataloader(batches) if looks else DataLoader(batches, batch_size=None)
        assert len(loader) == (3 if looks else 1)
        trainer = pl.Trainer(max_epochs=1, accelerator="cpu", **quiet)
        trainer.fit(module, loader)
        assert module.result is not None
        assert torch.equal(module.result.z, expected.z)
        assert trainer.global_step == 25, "every update is a step of the Trainer's optimizer"
        assert trainer.callback_metrics["objective"] == pytest.approx(
            float(expected.history[-1]["objective"])
        )


def test_the_optimizer_is_lightnings_and_fresh_for_each_batch(tiny_prior: Prior) -> None:
    images, known = tiny_prior.sample(2, seed=1), torch.ones(1, 1, 16, 16, dtype=torch.bool)
    known = known.index_fill(2, torch.arange(4, 12), False).expand(2, -1, -1, -1)
    for optimizer in ("lbfgs", "adam", "sgd"):
        search = gan_inpaint.SearchConfig(steps=6, optimizer=optimizer, candidates=0, guide="none")
        module = gan_inpaint.LatentReconstruction(tiny_prior, search, steps_per_look=3)
        found: list[torch.Tensor] = []

        class Keep(pl.Callback):
            def on_train_batch_end(self, trainer, pl_module, *args) -> None:  # type: ignore
                if pl_module.result is not None:
                    found.append(pl_module.result.z)  # noqa: B023

        quiet = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False}
        trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[Keep()], **quiet)
        trainer.fit(module, module.dataloader([gan_inpaint.ImageBatch(images, known)] * 2))
        assert len(trainer.optimizers) == 1
        assert trainer.optimizers[0].param_groups[0]["params"] == [module.z]
        assert torch.equal(*found), "the second search does not continue the first"


def test_a_pair_of_ones_own_is_trained_and_searched(
    run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_pair.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    own = ["data=digits", "data.size=16", "model._target_=my_pair.pair", "+model.width=12"]
    short = ["trainer.max_epochs=1", "+trainer.limit_train_batches=4", "logger=none"]
    ran = run("train", *own, *short, "hydra.run.dir=mine")
    assert ran.code == 0, ran.err
    assert (tmp_path / "mine" / "samples" / "epoch_001.png").is_file()
    ran = run("train", "resume=mine", "trainer.max_epochs=2")
    assert ran.code == 2
    assert "could run any code; if it is yours, add the same model._target_=" in ran.sentence
    again = ["resume=mine", "model._target_=my_pair.pair"]
    ran = run("train", *again, "trainer.max_epochs=2")
    assert ran.code == 0, ran.err
    ran = run("train", *again, "trainer.max_epochs=3", "+model.width=13")
    assert ran.code == 2
    assert "the run has width 12, the settings say 13" in ran.sentence
    import my_pair  # type: ignore[import-not-found]

    prior = trained_pair("mine", my_pair.pair(16, width=12))
    assert prior.image_shape == (1, 16, 16)
    assert prior.metadata["architecture"] == "my_pair.pair"
    networks = "networks: {_target_: my_pair.pair, size: 16, width: 12}"
    loader = "gan_inpaint.priors.trained_pair.trained_pair"
    named = f"prior={{_target_: {loader}, path: mine, {networks}}}"
    search = ["data=generated", "data.count=2", "candidates=8", "steps=2", "logger=none"]
    ran = run("reconstruct", named, *search)
    assert ran.code == 0, ran.err
    ran = run("reconstruct", "prior=mine", *search)
    assert ran.code == 2
    assert "its networks come from my_pair.pair, which is code: give 'prior={_" in ran.sentence
    with pytest.raises(gan_inpaint.InputError, match="the weights do not fit the generator"):
        trained_pair("mine", my_pair.pair(16, width=13))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model._target_=nowhere.pair"], "nowhere"),
        (["model._target_=my_pair.alone"], "must return a generator and a discriminator"),
        (["model._target_=my_pair.pair", "+model.depth=3"], "depth"),
        (
            ["model._target_=my_pair.wide"],
            "set model.size= and model.channels=",
        ),
        (["model._target_=my_pair.pair", "model.latent=even"], "model.latent=even: must be one of"),
        (["model._target_=3"], "must name a function"),
        (["model._target_=my_pair.pair", "conditioning=label"], "my_pair.pair takes no conditions"),
    ],
)
def test_mistakes_in_a_pair_are_named(
    words: list[str],
    said: str,
    run: Callable[..., Ran],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "my_pair.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    ran = run("train", "data=digits", "data.size=16", *words, "logger=none")
    assert ran.code == 2, ran.err
    assert said in ran.sentence


def test_a_generator_without_nz_says_so() -> None:
    linear = nn.Sequential(nn.Linear(4, 64), nn.Unflatten(1, (1, 8, 8)))
    judge = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    with pytest.raises(gan_inpaint.InputError, match="give nz="):
        gan_inpaint.AdversarialTraining(linear, judge)
    assert gan_inpaint.AdversarialTraining(linear, judge, nz=4).sample(torch.zeros(2, 4)).shape == (
        *(2, 1, 8, 8),
    )
