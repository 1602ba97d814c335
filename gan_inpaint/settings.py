"""What the keys of the commands may be: types and ranges. Their defaults are in ``conf/``."""

import math
from dataclasses import dataclass
from typing import Any

from gan_inpaint.errors import InputError
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.models.config import ModelConfig
from gan_inpaint.runtime.validation import (
    check_at_least,
    check_one_of,
    check_seed,
)


@dataclass(kw_only=True)
class ReconstructSettings(SearchConfig):
    """The root keys of ``python -m gan_inpaint.reconstruct``."""

    prior: str
    discriminator: str | None
    data: dict[str, Any]
    split: str | None
    limit: int | None
    sample: str
    shard: int
    shards: int
    mask: dict[str, Any]
    baselines: bool
    metrics: list[str]
    animate: bool
    diagnose: bool
    resume: str | None
    logger: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, 1, "limit", "shards")
        if not 0 <= self.shard < self.shards:
            raise InputError(f"shard={self.shard}: must be from 0 to under shards={self.shards}")
        check_one_of(self, "sample", "first", "random")
        for metric in self.metrics:
            if metric not in ("frechet", "lpips", "fid"):
                raise InputError(f"metrics={self.metrics}: may hold frechet, lpips and fid")
        check_one_of(self, "logger", "wandb", "none")
        if self.split is not None:
            check_one_of(self, "split", "all", "train", "val")


@dataclass
class ScheduleSettings:
    """The ``schedule`` of ``train``."""

    discriminator: int
    generator: int

    def __post_init__(self) -> None:
        for key in ("discriminator", "generator"):
            if getattr(self, key) < 1:
                raise InputError(f"schedule.{key}={getattr(self, key)}: must be at least 1")


@dataclass
class AdamSettings:
    """One network's optimizer."""

    lr: float
    beta1: float
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.clip is not None and not (math.isfinite(self.clip) and self.clip > 0):
            raise InputError(f"optimizer.*.clip={self.clip}: must be a number above 0, or null")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"optimizer.*.lr={self.lr}: must be a number above 0")
        if not 0 <= self.beta1 < 1:
            raise InputError(f"optimizer.*.beta1={self.beta1}: must be at least 0 and under 1")


@dataclass
class OptimizerSettings:
    """The ``optimizer`` of ``train``."""

    discriminator: AdamSettings
    generator: AdamSettings


@dataclass
class AugmentSettings:
    """The ``augment`` of ``train``."""

    flip: bool
    differentiable: list[str]

    def __post_init__(self) -> None:
        for policy in self.differentiable:
            if policy not in ("color", "translation", "cutout"):
                raise InputError(
                    f"augment.differentiable={self.differentiable}: may hold color, translation and"
                    " cutout"
                )


@dataclass
class AverageSettings:
    """The ``ema`` of ``train``."""

    decay: float

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise InputError(f"ema.decay={self.decay}: must be at least 0 and under 1")


@dataclass
class CheckpointSettings:
    """The ``checkpoint`` of ``train``."""

    every_n_epochs: int

    def __post_init__(self) -> None:
        if self.every_n_epochs < 1:
            raise InputError(f"checkpoint.every_n_epochs={self.every_n_epochs}: must be at least 1")


@dataclass
class TrainSettings:
    """The root keys of ``python -m gan_inpaint.train``."""

    name: str
    data: dict[str, Any]
    model: ModelConfig
    schedule: ScheduleSettings
    loss: str
    optimizer: OptimizerSettings
    augment: AugmentSettings
    ema: AverageSettings
    trainer: dict[str, Any]
    checkpoint: CheckpointSettings
    batch_size: int
    precision: str
    compile: bool
    log_every: int
    resume: str | None
    seed: int
    logger: str

    def __post_init__(self) -> None:
        check_at_least(self, 2, "batch_size")  # BatchNorm cannot work on one image
        check_at_least(self, 1, "log_every")
        check_seed(self.seed)
        check_one_of(self, "loss", "bce", "hinge", "wgan_gp")
        if self.loss == "wgan_gp" and self.model.discriminator_norm == "batch":
            raise InputError(
                "loss=wgan_gp: its penalty looks at each image alone, and BatchNorm mixes them; set"
                " model.discriminator_norm=none"
            )
        check_one_of(self, "precision", "auto", "fp32", "bf16")
        check_one_of(self, "logger", "wandb", "none")
        epochs = self.trainer.get("max_epochs")
        if not isinstance(epochs, int) or epochs < 1:
            raise InputError(f"trainer.max_epochs={epochs}: must be a whole number of at least 1")


@dataclass
class SelectSettings:
    """The root keys of ``python -m gan_inpaint.select``."""

    run: str | None
    epoch: int | None
    path: str | None
    mask: dict[str, Any]
    columns: int
    samples: int
    images: int
    steps: int
    candidates: int
    seed: int
    logger: str

    def __post_init__(self) -> None:
        check_one_of(self, "logger", "wandb", "none")
        check_at_least(self, 1, "columns", "images", "steps")
        check_at_least(self, 2, "samples")  # a spread needs two
        check_at_least(self, 0, "candidates")
        check_seed(self.seed)


@dataclass
class CompareSettings:
    """The root keys of ``python -m gan_inpaint.compare``."""

    sweep: str | None
