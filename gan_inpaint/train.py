"""``python -m gan_inpaint.train``: train a DCGAN and export it as a prior."""

import logging
import os
import warnings
from dataclasses import asdict
from pathlib import Path

from gan_inpaint.command import built, command, resumed
from gan_inpaint.errors import InputError
from gan_inpaint.settings import TrainSettings


@command("train", TrainSettings)
def main(settings: TrainSettings, directory: Path) -> None:
    """Train on the pictures of ``data``; everything it leaves is in ``directory``."""
    if settings.resume:
        settings = resumed(settings.resume, "train", TrainSettings)

    from gan_inpaint.adversarial import METRICS, AdversarialTraining
    from gan_inpaint.data import read_all, training_batches
    from gan_inpaint.environment import described
    from gan_inpaint.memory import keep_freed_memory
    from gan_inpaint.precision import LIGHTNING, resolved
    from gan_inpaint.prior import save_prior
    from gan_inpaint.tracking import (
        MetricsFile,
        Snapshots,
        log_prior,
        progress_bar,
        wandb_logger,
    )

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="pytorch_lightning")  # on workers and log intervals

    keep_freed_memory()
    model = settings.model
    source = built("data", settings.data)(size=model.size, channels=model.channels, split="train")
    pixels, problems = read_all(source)
    for problem in problems[:20]:
        print(f"skipped: {problem}")
    if problems:
        print(f"skipped {len(problems)} of {len(source)} pictures that cannot be read")
    batches = training_batches(pixels, settings.batch_size, settings.seed)
    module = AdversarialTraining(
        **asdict(model),
        schedule=asdict(settings.schedule),
        loss=settings.loss,
        optimizer=asdict(settings.optimizer),
        augment=asdict(settings.augment),
        ema_decay=settings.ema.decay,
        batch_size=settings.batch_size,
        seed=settings.seed,
        log_every=settings.log_every,
        dataset=source.dataset,
        license=source.license,
        compile=settings.compile,
    )
    epochs = settings.trainer["max_epochs"]
    checkpoint = directory / "checkpoints" / "last.ckpt" if settings.resume else None
    if checkpoint:
        check_resumable(checkpoint, module, epochs)
    if epochs * len(batches) < settings.schedule.discriminator:
        raise InputError(
            f"schedule.discriminator={settings.schedule.discriminator}: there are only"
            f" {epochs * len(batches)} minibatches, so the generator would never be trained"
        )
    precision = resolved(settings.precision)
    print(
        f"data: {len(pixels)} pictures of {source.dataset} as"
        f" {model.channels}x{model.size}x{model.size}"
    )
    print(f"training: {epochs} epochs of {len(batches)} minibatches, precision {precision}")

    metrics = MetricsFile(directory / "metrics.csv", (*METRICS, "epoch"))
    with (
        wandb_logger(
            settings.logger,
            directory,
            name=settings.name,
            group=None,
            job_type="train",
            config=asdict(settings) | {"environment": described()},
        ) as wandb,
        progress_bar("training", epochs * len(batches), ("loss/d", "loss/g")) as bar,
    ):
        trainer = built(
            "trainer",
            settings.trainer,
            precision=LIGHTNING[precision],
            logger=[metrics, wandb] if wandb else [metrics],
            callbacks=[
                bar,
                Snapshots(directory, settings.checkpoint.every_n_epochs, metrics, wandb),
            ],
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=directory,
        )
        trainer.fit(module, batches, ckpt_path=checkpoint, weights_only=True)
        prior = directory / "prior.safetensors"
        save_prior(prior, module.average.module, module.discriminator, module.metadata())
        if wandb:
            log_prior(wandb, prior, module.metadata())

    speed = [row["images_per_second"] for row in metrics.rows]
    if speed:
        print(f"trained at {sum(speed) / len(speed):.0f} images/s")
    run = Path(os.path.relpath(directory))
    for written, what in (
        ("samples", "sample grids, one each snapshot: choose an epoch by them"),
        ("losses.png", "loss curves, raw and smoothed"),
        ("index.html", "both on one page"),
        ("checkpoints", "to resume from"),
        ("prior.safetensors", "the generator and discriminator for reconstruct"),
    ):
        print(f"{run / written}  {what}")


def check_resumable(checkpoint: Path, module: object, epochs: int) -> None:
    """An InputError names what differs between a checkpoint and what it is to be loaded into."""
    import torch

    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        saved, done = content["hyper_parameters"], content["epoch"] + 1
    except Exception:  # a damaged zip or pickle raises whatever it likes
        raise InputError(f"{checkpoint}: damaged, or no checkpoint of a training run") from None
    for key in ("size", "channels", "nz", "ngf", "ndf", "latent", "loss", "discriminator_norm"):
        wanted = module.hparams[key]  # type: ignore[attr-defined]
        if saved.get(key) != wanted:
            raise InputError(
                f"{checkpoint}: the run has {key} {saved.get(key)}, the settings say {wanted};"
                " leave it as it is when resuming, or start a new run"
            )
    if epochs < done:
        raise InputError(
            f"trainer.max_epochs={epochs}: the run has {done} epochs already; give at least {done}"
        )


if __name__ == "__main__":
    main()
