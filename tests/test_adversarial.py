from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import tiny_training
from torch import nn

from gan_inpaint.data.loading import ShuffledBatches, training_batches
from gan_inpaint.functional.adversarial import overfitting
from gan_inpaint.models.dcgan import pair
from gan_inpaint.reporting.metrics_file import MetricsFile
from gan_inpaint.training.callbacks import DiscriminatorScores, Snapshots
from gan_inpaint.training.gan_module import METRICS, AdversarialTraining

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 1, 16, 16), dtype=np.uint8)


def fit(
    module: AdversarialTraining,
    epochs: int,
    directory: Path | None = None,
    resume: Path | None = None,
    callbacks: tuple[pl.Callback, ...] = (),
) -> AdversarialTraining:
    """Seven minibatches of four an epoch; snapshots every two epochs if there is a directory."""
    extra: list[pl.Callback] = list(callbacks)
    metrics = None
    if directory:
        metrics = MetricsFile(directory / "metrics.csv", ("loss/d", "loss/g", "prob/real"))
        extra.append(Snapshots(directory, 2, metrics, [], diversity=1.0))
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=[metrics] if metrics else False,
        callbacks=extra,
        enable_checkpointing=directory is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batches = training_batches(PIXELS, 4, module.seed)
    trainer.fit(module, batches, ckpt_path=resume, weights_only=True)
    return module


def same_state(one: AdversarialTraining, other: AdversarialTraining) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize(
    ("discriminator", "generator", "g_steps"), [(1, 1, 14), (1, 3, 42), (3, 1, 4), (5, 2, 4)]
)
def test_optimizer_steps_follow_the_schedule(
    discriminator: int, generator: int, g_steps: int
) -> None:
    module = tiny_training(schedule={"discriminator": discriminator, "generator": generator})
    taken = {"d": 0, "g": 0}

    class Count(pl.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:  # type: ignore
            first = next(pl_module.discriminator.parameters())
            taken["d" if optimizer.param_groups[0]["params"][0] is first else "g"] += 1

    fit(module, 2, callbacks=(Count(),))
    assert taken == {"d": 14, "g": g_steps}
    assert int(module.discriminator_steps) == 14
    assert int(module.generator_steps) == g_steps


def test_the_order_is_so_many_d_steps_and_then_so_many_g_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order = []
    for letter, name in (("d", "_train_discriminator"), ("g", "_train_generator")):
        original = getattr(AdversarialTraining, name)

        def note(self, *args, _original=original, _letter=letter):  # type: ignore
            order.append(_letter)
            return _original(self, *args)

        monkeypatch.setattr(AdversarialTraining, name, note)
    fit(tiny_training(schedule={"discriminator": 3, "generator": 2}), 1)
    assert "".join(order) == "dddggdddggd"


def test_a_g_step_leaves_d_untouched_and_a_d_step_leaves_g_untouched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = {
        name: getattr(AdversarialTraining, name)
        for name in ("_train_discriminator", "_train_generator")
    }

    def guarded(step: str, network: str, trained: str):  # type: ignore
        def call(self, *args):  # type: ignore
            other = getattr(self, network)
            before = {k: v.clone() for k, v in other.state_dict().items()}
            mine = [p.clone() for p in getattr(self, trained).parameters()]
            original[step](self, *args)
            after = other.state_dict()
            changed = {k for k in before if not torch.equal(before[k], after[k])}
            # G runs in train mode to make fakes: its statistics move, its weights do not
            assert not {k for k in changed if "running" not in k and "num_batches" not in k}
            if network == "discriminator":
                assert not changed
            assert not any(
                torch.equal(a, b)
                for a, b in zip(mine, getattr(self, trained).parameters(), strict=True)
            )

        return call

    for args in (
        ("_train_generator", "discriminator", "generator"),
        ("_train_discriminator", "generator", "discriminator"),
    ):
        monkeypatch.setattr(AdversarialTraining, args[0], guarded(*args))
    fit(tiny_training(), 1)


@pytest.mark.parametrize("schedule", [(1, 1), (5, 2)])
def test_a_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, schedule: tuple[int, int]
) -> None:
    steps = {"discriminator": schedule[0], "generator": schedule[1]}
    whole = fit(tiny_training(schedule=steps), 4, tmp_path / "whole")
    fit(tiny_training(schedule=steps), 2, tmp_path / "part")
    # 14 minibatches are not a multiple of 5: the resume falls into the middle of the schedule
    resumed = fit(
        tiny_training(schedule=steps), 4, tmp_path / "part", tmp_path / "part/checkpoints/last.ckpt"
    )
    assert same_state(whole, resumed)
    files = [(tmp_path / part / "metrics.csv").read_text() for part in ("whole", "part")]
    assert files[0] == files[1]
    assert files[0].count("\n") == 1 + 28 // 2


def test_a_different_seed_gives_a_different_run() -> None:
    assert not same_state(fit(tiny_training(), 1), fit(tiny_training(seed=1), 1))
    assert same_state(fit(tiny_training(), 1), fit(tiny_training(), 1))


def test_checkpoints_are_named_by_complete_epochs_and_load_safely(tmp_path: Path) -> None:
    module = fit(tiny_training(), 5, tmp_path)
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["epoch_002.ckpt", "epoch_004.ckpt", "last.ckpt"]
    # the final state is shown even when it is not a snapshot's turn
    shown = sorted(p.name for p in (tmp_path / "samples").iterdir())
    assert shown == ["epoch_002.png", "epoch_004.png", "epoch_005.png"]
    for name in names:
        path = tmp_path / "checkpoints" / name
        content = torch.load(path, weights_only=True)
        assert content["epoch"] + 1 == {"epoch_002": 2, "epoch_004": 4, "last": 5}[path.stem]
    generator, discriminator = pair(size=16, channels=1, nz=8, ngf=4, ndf=4)
    loaded = AdversarialTraining.load_from_checkpoint(
        tmp_path / "checkpoints" / "last.ckpt", generator=generator, discriminator=discriminator
    )
    assert same_state(loaded, module)


def test_the_average_follows_the_generator_and_makes_the_samples(tmp_path: Path) -> None:
    module = tiny_training(ema_decay=0.5)
    before = [p.clone() for p in module.average.parameters()]
    fit(module, 1)
    z = torch.randn(3, 8)
    assert not any(
        torch.equal(a, b) for a, b in zip(before, module.average.parameters(), strict=True)
    )
    assert not torch.equal(module.sample(z), module.generator.eval()(z))
    torch.testing.assert_close(module.sample(z), module.average.module.eval()(z))


def test_logged_rows_are_means_over_their_minibatches(tmp_path: Path) -> None:
    fine = fit(tiny_training(log_every=1), 2, tmp_path / "fine")
    fit(tiny_training(log_every=7), 2, tmp_path / "coarse")
    assert len(fine.history) == 14
    rows = {
        part: MetricsFile(tmp_path / part / "metrics.csv", ()).rows for part in ("fine", "coarse")
    }
    assert [row["step"] for row in rows["coarse"]] == [7, 14]
    for i, row in enumerate(rows["coarse"]):
        for key in ("loss/d", "loss/g", "prob/real"):
            mean = np.mean([r[key] for r in rows["fine"][7 * i : 7 * i + 7]])
            assert row[key] == pytest.approx(mean, rel=1e-5)


def test_data_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = ShuffledBatches(10, 3, seed)
        batches.set_epoch(epoch)
        return np.concatenate(list(batches)).tolist()

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)
    assert len(set(order(0, 0))) == 9


@pytest.mark.parametrize(
    ("loss", "norm"),
    [("bce", "spectral"), ("hinge", "batch"), ("hinge", "spectral"), ("wgan_gp", "none")],
)
def test_every_loss_trains_both_networks(loss: str, norm: str) -> None:
    augment = {"flip": True, "differentiable": ["color", "translation", "cutout"]}
    module = tiny_training(loss=loss, discriminator_norm=norm, augment=augment)

    def kernels() -> list[torch.Tensor]:  # a constant added to all scores changes no critic's loss
        return [p.detach().clone() for p in module.parameters() if p.requires_grad and p.ndim > 1]

    before = kernels()
    fit(module, 1)
    after = kernels()
    moved = [not torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    assert all(moved)
    assert ("prob/real" in module.history[0]) == (loss == "bce")


def test_a_critic_learns_to_score_real_images_higher() -> None:
    steep = {"lr": 1e-2, "beta1": 0.5}
    still = {"lr": 1e-12, "beta1": 0.5}
    for loss in ("hinge", "wgan_gp"):
        module = tiny_training(
            loss=loss,
            discriminator_norm="none",
            optimizers={"discriminator": steep, "generator": still},
        )
        fit(module, 6)
        real = torch.from_numpy(PIXELS).float() / 127.5 - 1
        fake = module.generator(torch.randn(30, 8))
        assert module.discriminator(real).mean() > module.discriminator(fake).mean() + 0.5


def test_the_average_forgets_the_initial_weights_soon() -> None:
    module = tiny_training(ema_decay=0.9999)
    initial = module.generator.main[0].weight.detach().clone()
    fit(module, 3)
    now, average = module.generator.main[0].weight, module.average.module.main[0].weight
    assert (average - now).norm() < 0.5 * (now - initial).norm()


def test_compiling_is_done_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: compiled.append(network))
    module = fit(tiny_training(compile=True), 1)
    assert compiled == [module.generator, module.discriminator]
    names = set(tiny_training().state_dict())
    assert set(module.state_dict()) == names


class _Module(SimpleNamespace):
    """Stands for a LightningModule whose D scores an image by its brightness."""

    def __init__(self, fake: float, loggers: list):
        judge = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False), nn.Flatten(0))
        nn.init.constant_(judge[1].weight, 0.25)
        super().__init__(
            fixed_codes=lambda use, count: torch.zeros(count, 2),
            log_means=lambda row: [logger.log_metrics(row, 7) for logger in loggers],
            sample=lambda z, condition: images(fake, len(z)),
            discriminator=judge,
            device=torch.device("cpu"),
        )


def images(level: float, count: int = 32) -> torch.Tensor:
    return level + 0.01 * torch.randn(count, 1, 2, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("held_out", "warns"), [(0.8, False), (0.0, False), (-0.75, True)])
def test_a_discriminator_that_knows_its_images_by_heart_is_named(
    held_out: float, warns: bool, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    metrics = MetricsFile(tmp_path / "metrics.csv", METRICS)
    trainer = SimpleNamespace(is_global_zero=True, current_epoch=4, loggers=[metrics])
    scores = DiscriminatorScores(images(0.8), images(held_out, 16))
    for _ in range(2):
        scores.on_train_epoch_end(trainer, _Module(-0.8, [metrics]))  # type: ignore[arg-type]
    expected = {"step": 7, "logit/train": 0.8, "logit/held_out": held_out, "logit/fake": -0.8}
    assert metrics.rows[0] == pytest.approx(expected, abs=0.01)
    said = [record.message for record in caplog.records]
    assert len(said) == warns, "once, and only if held-out images score as generated ones"
    assert all("after epoch 5, D scores held-out images (-0.7)" in words for words in said)


def test_overfitting_of_a_discriminator_that_tells_nothing_apart_is_unknown() -> None:
    same = torch.randn(64, generator=torch.Generator().manual_seed(0))
    assert overfitting(same, same - 1, same) is None
