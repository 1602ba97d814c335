"""The keys of ``train``: types and ranges. Their defaults are in conf/train.yaml."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from gan_inpaint.config.schema import validate_config
from gan_inpaint.config.validation import (
    check_above_zero,
    check_at_least,
    check_one_of,
    check_seed,
)
from gan_inpaint.errors import InputError
from gan_inpaint.models.config import DCGAN, ImagesConfig, ModelConfig


@dataclass
class ScheduleConfig:
    """The ``schedule`` of ``train``."""

    discriminator: int
    generator: int

    def __post_init__(self) -> None:
        for key in ("discriminator", "generator"):
            if getattr(self, key) < 1:
                raise InputError(f"schedule.{key}={getattr(self, key)}: must be at least 1")


@dataclass
class AdamConfig:
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
class OptimizerConfig:
    """The ``optimizer`` of ``train``."""

    discriminator: AdamConfig
    generator: AdamConfig


@dataclass
class AugmentConfig:
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
class AverageConfig:
    """The ``ema`` of ``train``."""

    decay: float

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1:
            raise InputError(f"ema.decay={self.decay}: must be at least 0 and under 1")


@dataclass
class ConditioningConfig:
    """The ``conditioning`` group of ``train``."""

    encoder: dict[str, Any] | None
    width: int
    drop: float
    mismatched: float
    diversity: float

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 4096:
            raise InputError(f"conditioning.width={self.width}: must be from 1 to 4096")
        if not 0 <= self.drop < 1:
            raise InputError(f"conditioning.drop={self.drop}: must be at least 0 and under 1")
        for key in ("mismatched", "diversity"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"conditioning.{key}={value}: must be a number of at least 0")


@dataclass
class CheckpointConfig:
    """The ``checkpoint`` of ``train``."""

    every_n_epochs: int

    def __post_init__(self) -> None:
        if self.every_n_epochs < 1:
            raise InputError(f"checkpoint.every_n_epochs={self.every_n_epochs}: must be at least 1")


@dataclass
class TrainConfig:
    """The root keys of ``python -m gan_inpaint.train``."""

    name: str
    data: dict[str, Any]
    model: dict[str, Any]  # _target_ of a function that returns a pair, and its arguments
    conditioning: ConditioningConfig
    schedule: ScheduleConfig
    loss: str
    optimizer: OptimizerConfig
    augment: AugmentConfig
    feature_weight: float
    reconstruction_weight: float
    ema: AverageConfig
    trainer: dict[str, Any]
    checkpoint: CheckpointConfig
    batch_size: int
    precision: str
    compile: bool
    log_every: int
    init: str | None
    freeze_discriminator: int
    resume: str | None
    seed: int
    logger: dict[str, Any]

    def __post_init__(self) -> None:
        self._check_model()
        check_at_least(self, 2, "batch_size")  # BatchNorm needs two images
        check_at_least(self, 1, "log_every")
        check_at_least(self, 0, "freeze_discriminator")
        for key in ("feature_weight", "reconstruction_weight"):
            value = getattr(self, key)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{key}={value}: must be a number of at least 0")
        if self.reconstruction_weight:
            given = f"reconstruction_weight={self.reconstruction_weight}"
            if self.model["latent"] != "normal":
                raise InputError(f"{given}: the codes lie in a ball; set model.latent=normal")
            if self.conditioning.encoder is not None and self.conditioning.diversity:
                raise InputError(
                    f"{given}: conditioning.diversity gives images the conditions of others, so"
                    " they could not be reconstructed; set one of the two to 0"
                )
        if self.freeze_discriminator and self.init is None:
            raise InputError(
                f"freeze_discriminator={self.freeze_discriminator}: layers with random weights"
                " would never learn; set init= as well"
            )
        check_seed(self.seed)
        check_one_of(self, "loss", "bce", "hinge", "wgan_gp")
        if self.loss == "wgan_gp" and self.model.get("discriminator_norm") == "batch":
            raise InputError(
                "loss=wgan_gp: its gradient penalty is per image, but BatchNorm mixes images; set"
                " model.discriminator_norm=none"
            )
        check_one_of(self, "precision", "auto", "fp32", "bf16")
        epochs = self.trainer.get("max_epochs")
        if not isinstance(epochs, int) or epochs < 1:
            raise InputError(f"trainer.max_epochs={epochs}: must be a whole number of at least 1")

    def _check_model(self) -> None:
        target = self.model.get("_target_")
        if not (isinstance(target, str) and target):
            raise InputError(
                f"model._target_={target}: must name a function that returns a generator and a"
                " discriminator"
            )
        keys = {key: value for key, value in self.model.items() if key != "_target_"}
        if target == DCGAN:
            keys = asdict(validate_config(keys, ModelConfig, "model"))
        else:
            own = {key: keys.get(key) for key in ("size", "channels", "latent")}
            keys |= asdict(validate_config(own, ImagesConfig, "model"))
        self.model = {"_target_": target, **keys}


@dataclass
class TrainGuideConfig:
    """The root keys of ``python -m gan_inpaint.train_guide``."""

    prior: str
    data: dict[str, Any]
    mask: dict[str, Any]
    trainer: dict[str, Any]
    steps: int
    batch_size: int
    lr: float
    flip: bool
    precision: str
    every_n_steps: int
    held_out: int
    resume: str | None
    seed: int
    logger: dict[str, Any]

    def __post_init__(self) -> None:
        check_at_least(self, 2, "batch_size")  # BatchNorm needs two images
        check_at_least(self, 1, "steps", "every_n_steps")
        check_at_least(self, 0, "held_out")
        check_above_zero(self, "lr")
        check_seed(self.seed)
        check_one_of(self, "precision", "auto", "fp32", "bf16")
