"""Adversarial training of any pair on an alternating schedule, as a LightningModule."""

import math
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gan_inpaint.conditioning.stored import make_encoder
from gan_inpaint.data.images import grid
from gan_inpaint.errors import InputError
from gan_inpaint.functional.adversarial import (
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    mismatch_loss,
    mode_seeking_loss,
)
from gan_inpaint.functional.augment import POLICIES, diffaugment, mirrored
from gan_inpaint.functional.conditions import differ, drop_conditions, in_pairs
from gan_inpaint.functional.latent import draw_latent
from gan_inpaint.models.code_encoder import CodeEncoder
from gan_inpaint.models.dcgan import running_statistics_kept
from gan_inpaint.models.feature_discriminator import FeatureDiscriminator, FeaturePyramid
from gan_inpaint.priors.weights import prior_metadata
from gan_inpaint.runtime.seeding import torch_rng
from gan_inpaint.training import divergence

_SAMPLES, _COLUMNS = 64, 8  # of the fixed-noise grid
_CONDITIONS = 256  # of training images that are kept with the prior
_ADAM = {"lr": 2e-4, "beta1": 0.5, "clip": None}  # Radford et al., 2016
_FEATURE_LR = 2e-4  # of the feature discriminator, as in Sauer et al., 2021
METRICS = (
    "loss/d",
    "loss/g",
    "prob/real",
    "prob/fake",
    "images_per_second",
    "diversity",
    "logit/train",
    "logit/held_out",
    "logit/fake",
)


class AdversarialTraining(pl.LightningModule):
    """Trains a generator and a discriminator against each other.

    The schedule is configurable: after every ``schedule["discriminator"]`` D steps, one minibatch
    each, come ``schedule["generator"]`` G steps on fresh latent codes. 1 and 1 is the plain DCGAN,
    30 and 10 the 2017 project. (At 1 and 1, a G step reuses the images of the last D step, as in
    PyTorch's tutorial.) The position in the schedule and all latent codes depend only on the two
    step counters, which are saved as buffers. So a resumed run continues the same sequence. Several
    processes share each minibatch and together draw the codes of a single process.

    The losses are logged every ``log_every`` minibatches, against their number; ``self.log`` has
    them too, for ``ModelCheckpoint(monitor="loss/g")``, early stopping and progress bars.

    Sources: Goodfellow et al., NeurIPS 2014 (the loss); Radford et al., ICLR 2016 (the networks).
    The sources of other losses and of the augmentations are where these are defined.

    Args:
        generator: ``(B, nz)`` codes -> ``(B, C, H, W)`` images in [-1, 1]; of a conditional pair
            also takes ``(B, d)`` conditions.
        discriminator: such images -> B logits, likewise.
        nz: length of a code; by default the generator's ``nz``.
        latent: ``normal`` or ``uniform``: the distribution of the codes.
        schedule: ``{"discriminator": steps, "generator": steps}``, each at least 1; 1 and 1 by
            default.
        loss: ``bce``, ``hinge`` or ``wgan_gp``, see ``discriminator_loss``.
        optimizers: ``{"discriminator": {"lr", "beta1", "clip"}, "generator": ...}`` for Adam, by
            default 2e-4, 0.5 and None; ``clip`` is the largest gradient norm of a network, None for
            no limit.
        augment: ``{"flip": whether real images are mirrored at random, "differentiable": policies
            of ``diffaugment``}``; nothing by default.
        ema_decay: of the averaged generator, from which samples and exports come; in [0, 1). After
            n G steps the decay is ``min(decay, (1 + n) / (10 + n))``, so that the initial weights
            are soon forgotten.
        batch_size: number of latent codes per G step.
        seed: of the latent codes.
        log_every: number of minibatches per logged row; each row is a mean over them.
        about: of the networks and the data, plain values for the metadata of the trained prior.
        compile: whether to compile both networks with ``torch.compile``.
        trained: whether the weights are those of a prior, see ``training.initialize``; then the
            average goes on from them.
        freeze_discriminator: number of D's first convolutions that keep their weights.
        feature_weight: weight of a ``FeatureDiscriminator`` in the generator's loss; 0: none. It
            has the hinge loss, and sees images under all of ``diffaugment``.
        reconstruction_weight: weight of a ``CodeEncoder``'s error in the generator's loss; 0: none.
            Otherwise the codes are those of ``CodeEncoder.mix``, with the images of the last D
            step; ``conditioning["diversity"]`` must be 0.
        conditioning: None, or ``{"encoder": state of the conditions' Encoder, "width", "drop",
            "mismatched", "diversity"}``. Each image then has a condition, and generated ones have
            those of the minibatch. ``drop`` is the share of conditions that are left out;
            ``mismatched`` weighs the ``mismatch_loss``, ``diversity`` the ``mode_seeking_loss``.

    All arguments but the networks are plain values and are saved in the checkpoints, which load
    with ``weights_only=True``, and with ``AdversarialTraining.load_from_checkpoint(path,
    generator=…, discriminator=…)``.

    Example:
        >>> from gan_inpaint.models.dcgan import pair
        >>> generator, discriminator = pair(size=16, channels=1, nz=8, ngf=4, ndf=4)
        >>> module = AdversarialTraining(generator, discriminator, batch_size=4)
        >>> images = torch.rand(8, 1, 16, 16) * 2 - 1  # or uint8
        >>> quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False)
        >>> trainer = pl.Trainer(max_epochs=1, enable_model_summary=False, **quiet)
        >>> trainer.fit(module, torch.utils.data.DataLoader(images, batch_size=4))
        >>> module.sample(torch.randn(2, 8)).shape
        torch.Size([2, 1, 16, 16])
    """

    discriminator_steps: Tensor
    generator_steps: Tensor
    conditions: Tensor | None

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        nz: int | None = None,
        latent: str = "normal",
        schedule: Mapping[str, int] | None = None,
        loss: str = "bce",
        optimizers: Mapping[str, Mapping[str, Any]] | None = None,
        augment: Mapping[str, Any] | None = None,
        ema_decay: float = 0.999,
        batch_size: int = 64,
        seed: int = 0,
        log_every: int = 10,
        about: Mapping[str, Any] | None = None,
        compile: bool = False,
        trained: bool = False,
        freeze_discriminator: int = 0,
        feature_weight: float = 0.0,
        reconstruction_weight: float = 0.0,
        conditioning: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        self.save_hyperparameters(ignore=["generator", "discriminator"])
        self.automatic_optimization = False
        self.generator, self.discriminator = generator, discriminator
        if nz is None and not isinstance(getattr(generator, "nz", None), int):
            raise InputError("the generator has no nz: give nz=, the length of its codes")
        self.nz, self.latent, self.seed = nz or cast(int, generator.nz), latent, seed
        self.encoder = make_encoder(conditioning["encoder"]) if conditioning else None
        self._conditioning = conditioning or {}
        dim = self.encoder.dim if self.encoder else None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if feature_weight:
                # in a tuple: neither saved nor trained with this module
                self._pyramid = (FeaturePyramid().to(memory_format=torch.channels_last),)  # type: ignore[call-overload]
                self.feature_discriminator = FeatureDiscriminator(self._pyramid[0].widths)
            if reconstruction_weight:
                channels, side, _ = image_shape(generator, self.nz)
                self.code_encoder = CodeEncoder(side, channels, self.nz)
        self.average = AveragedModel(
            self.generator, multi_avg_fn=self._average, use_buffers=True
        ).requires_grad_(False)
        self.register_buffer("discriminator_steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("generator_steps", torch.zeros((), dtype=torch.long))
        # of some training images: they travel with the prior
        self.register_buffer("conditions", torch.zeros(_CONDITIONS, dim) if dim else None)
        self._schedule = {"discriminator": 1, "generator": 1} | dict(schedule or {})
        self._optimizers = {
            network: _ADAM | dict((optimizers or {}).get(network, {}))
            for network in ("discriminator", "generator")
        }
        self._augment: dict[str, Any] = {"flip": False, "differentiable": []} | dict(augment or {})
        self._loss, self._ema_decay, self._log_every = loss, ema_decay, log_every
        self._from_scratch, self._freeze = not trained, freeze_discriminator
        self._feature_weight = feature_weight
        self._reconstruction_weight = reconstruction_weight
        self._batch_size, self._compile = batch_size, compile
        self.history: list[dict[str, float]] = []
        self.images_seen = 0
        self._row: dict[str, Any] | None = None  # the unfinished row in a checkpoint

    def _average(self, averaged: Any, current: Any, count: Any) -> None:
        decay = self._ema_decay
        if self._from_scratch:  # the initial weights should soon be forgotten
            decay = min(decay, (1 + self._g_steps) / (10 + self._g_steps))
        get_ema_multi_avg_fn(decay)(averaged, current, count)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Two Adams, the discriminator's first; a third one for the feature discriminator."""
        generating = [*self.generator.parameters()]
        if self._reconstruction_weight:
            generating += self.code_encoder.parameters()
        found: list[torch.optim.Optimizer] = [
            torch.optim.Adam(weights, options["lr"], (options["beta1"], 0.999), fused=True)
            for weights, options in (
                ([*self.discriminator.parameters()], self._optimizers["discriminator"]),
                (generating, self._optimizers["generator"]),
            )
        ]
        if self._feature_weight:
            heads = self.feature_discriminator.trained()
            found.append(torch.optim.Adam(heads, _FEATURE_LR, (0.0, 0.99), fused=True))
        return found

    def setup(self, stage: str) -> None:
        layers = [m for m in self.discriminator.modules() if isinstance(m, nn.Conv2d)]
        for layer in layers[: self._freeze]:
            layer.requires_grad_(False)
        for network in (self.generator, self.discriminator):
            # the faster layout for the convolutions of CPU and GPU
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            if self._compile:
                network.compile()  # in place: the layers keep their names

    def on_train_start(self) -> None:
        # a resume restores the old learning rates with the optimizer states
        for optimizer, network in zip(
            cast(list[LightningOptimizer], self.optimizers()),
            ("discriminator", "generator"),
            strict=False,  # the rate of the third one is fixed
        ):
            options = self._optimizers[network]
            for group in optimizer.param_groups:
                group.update(lr=options["lr"], betas=(options["beta1"], 0.999))

    def on_fit_start(self) -> None:
        # plain integers: reading a buffer on a GPU would synchronise at every step
        self._d_steps, self._g_steps = int(self.discriminator_steps), int(self.generator_steps)
        self._rank, self._ranks = self.global_rank, self.trainer.world_size
        if self._feature_weight:
            self._pyramid[0].to(self.device)
        self._start_row()
        if self._row is not None:
            self._d_sums, self._g_sum = (
                self._row[key].to(self.device) for key in ("d_sums", "g_sum")
            )
            self._d_count, self._g_count = self._row["d_count"], self._row["g_count"]
            self._row = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["images_seen"] = self.images_seen
        checkpoint["row"] = {
            "d_sums": self._d_sums,
            "g_sum": self._g_sum,
            "d_count": self._d_count,
            "g_count": self._g_count,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.images_seen = checkpoint["images_seen"]
        self._row = checkpoint.get("row")

    def training_step(self, batch: Tensor | list[Tensor], batch_idx: int) -> None:
        """One D step on a minibatch, then the G steps that are due.

        Args:
            batch: ``(B, C, H, W)``, uint8 or floats in [-1, 1]; or a sequence of that and, of a
                conditional pair, conditions ``(B, d)``.
        """
        pixels, *told = [batch] if isinstance(batch, Tensor) else batch
        condition = told[0] if self.encoder else None
        asked = condition
        if condition is not None:
            rng, partly = (
                self._rng("drop", self._d_steps),
                bool(self.encoder and self.encoder.partial),
            )
            condition = drop_conditions(condition, self._conditioning["drop"], rng, partly)
            asked = in_pairs(condition) if self._conditioning["diversity"] else condition
        real = pixels.float() / 127.5 - 1 if pixels.dtype == torch.uint8 else pixels
        real = real.contiguous(memory_format=torch.channels_last)
        if self._augment["flip"]:
            real = mirrored(real, self._rng("flip", self._d_steps))
        # at 1 and 1 a G step reuses the images of the D step, which saves a forward pass
        shared = self._schedule["discriminator"] == self._schedule["generator"] == 1
        with torch.set_grad_enabled(shared):
            fake = self._generated("d", self._d_steps, real, asked)
        self._train_discriminator(real, fake.detach(), condition, asked)
        if self._d_steps % self._schedule["discriminator"] == 0:
            for _ in range(self._schedule["generator"]):
                self._train_generator(fake if shared else None, real, asked)
        if self._d_steps % self._log_every == 0:
            self._log_row()

    def _train_discriminator(
        self, real: Tensor, fake: Tensor, condition: Tensor | None, asked: Tensor | None
    ) -> None:
        optimizer, _, *others = cast(list[LightningOptimizer], self.optimizers())
        rng = self._rng("augment_d", self._d_steps)
        with self.toggled_optimizer(optimizer):
            real_logit, mismatched = self._judged_real(real, rng, condition)
            # fp32 from here on, also under bf16 autocast
            fake_logit = self._judged(fake, rng, asked).float()
            loss = discriminator_loss(real_logit, fake_logit, self._loss) + mismatched
            if self._loss == "wgan_gp":
                told = {} if condition is None else {"condition": condition}
                critic = partial(self.discriminator, **told)
                loss = loss + 10 * gradient_penalty(critic, real, fake, rng)
            self._step(optimizer, loss, "discriminator")
        for optimizer in others:
            with self.toggled_optimizer(optimizer):
                rng = self._rng("augment_features_d", self._d_steps)
                real_logits = self._feature_logits(real, rng)
                fake_logits = self._feature_logits(fake, rng)
                by_features = discriminator_loss(real_logits, fake_logits, "hinge")
                self._step(optimizer, by_features, "features")
        self._d_steps += 1
        self.discriminator_steps += 1
        means = (loss, real_logit.sigmoid().mean(), fake_logit.sigmoid().mean())
        self._d_sums += torch.stack(means).detach().float()
        self._d_count += 1
        self._images += len(real) * self._ranks
        self.images_seen += len(real) * self._ranks

    def _train_generator(self, fake: Tensor | None, real: Tensor, condition: Tensor | None) -> None:
        optimizer = cast(list[LightningOptimizer], self.optimizers())[1]
        # toggled: computes no gradients for D's weights; D's BatchNorm statistics are kept
        with self.toggled_optimizer(optimizer), running_statistics_kept(self.discriminator):
            if fake is None:
                fake = self._generated("g", self._g_steps, real, condition)
            logit = self._judged(fake, self._rng("augment_g", self._g_steps), condition)
            loss = generator_loss(logit.float(), self._loss)
            if self._feature_weight:
                logits = self._feature_logits(fake, self._rng("augment_features_g", self._g_steps))
                loss = loss + self._feature_weight * generator_loss(logits, "hinge")
            if self._reconstruction_weight:
                loss = loss + self._reconstruction_weight * self.code_encoder.error(fake, real)
            if condition is not None and self._conditioning["diversity"]:
                loss = loss + self._conditioning["diversity"] * mode_seeking_loss(fake)
            self._step(optimizer, loss, "generator")
        self.average.update_parameters(self.generator)
        self._g_steps += 1
        self.generator_steps += 1
        self._g_sum += loss.detach().float()
        self._g_count += 1

    def _step(self, optimizer: LightningOptimizer, loss: Tensor, network: str) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        if clip := self._optimizers.get(network, {}).get("clip"):
            # not Lightning's: in mixed precision it refuses the fused Adam
            weights = (weight for group in optimizer.param_groups for weight in group["params"])
            nn.utils.clip_grad_norm_(weights, clip)
        optimizer.step()

    def _generated(self, use: str, step: int, real: Tensor, condition: Tensor | None) -> Tensor:
        """Images of fresh codes, and of those of real images, if these are reconstructed."""
        codes = self._draw(use, step)
        if self._reconstruction_weight:
            codes = self.code_encoder.mix(codes, real)
        if condition is None:
            return self.generator(codes)
        return self.generator(codes, condition[: len(codes)])

    def _judged(
        self, images: Tensor, rng: torch.Generator, condition: Tensor | None = None
    ) -> Tensor:
        """Logits of augmented images."""
        augmented = diffaugment(images, self._augment["differentiable"], rng)
        if condition is None:
            return self.discriminator(augmented).flatten()
        return self.discriminator(augmented, condition)

    def _judged_real(
        self, real: Tensor, rng: torch.Generator, condition: Tensor | None
    ) -> tuple[Tensor, Tensor | float]:
        """Logits of real images, and the loss of the same images under others' conditions."""
        weight = self._conditioning.get("mismatched", 0.0)
        if condition is None or not weight:
            return self._judged(real, rng, condition).float(), 0.0
        # every image under all conditions of the minibatch, which costs next to nothing
        logits = self._judged(real, rng, condition[None]).float()
        return logits.diagonal(), weight * mismatch_loss(logits, differ(condition), self._loss)

    def _feature_logits(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """``(B, n)`` logits of the feature discriminator, in fp32."""
        maps = self._pyramid[0](diffaugment(images, POLICIES, rng))
        return self.feature_discriminator(maps).float()

    def _draw(self, use: str, step: int) -> Tensor:
        """This process's part of the codes for a step."""
        rng = torch_rng(use, self.seed, step, device=self.device)
        return self._codes(self._batch_size, rng)[self._rank :: self._ranks]

    def _codes(self, count: int, rng: torch.Generator) -> Tensor:
        return draw_latent(count, self.nz, self.latent, rng)

    def _rng(self, use: str, step: int) -> torch.Generator:
        """A generator for draws per image: each process has its own images."""
        others = (self._rank,) if self._rank else ()
        return torch_rng(use, self.seed, step, *others, device=self.device)

    def _start_row(self) -> None:
        self._d_sums = torch.zeros(3, device=self.device)
        self._g_sum = torch.zeros((), device=self.device)
        self._d_count = self._g_count = self._images = 0
        self._row_started = time.perf_counter()

    def _log_row(self) -> None:
        """Log means since the last row; without a G step since then, there is no ``loss/g``."""
        loss_d, prob_real, prob_fake = (self._d_sums / self._d_count).tolist()
        if not math.isfinite(loss_d):
            divergence.check_finite(self, self._d_steps)
        seconds = time.perf_counter() - self._row_started
        row = {"loss/d": loss_d}
        if self._loss == "bce":  # a critic's score is not a probability
            row |= {"prob/real": prob_real, "prob/fake": prob_fake}
        row["images_per_second"] = self._images / seconds
        if self._g_count:
            row["loss/g"] = self._g_sum.item() / self._g_count
        self.history.append(row)
        self.log_means(row)
        self._start_row()

    def log_means(self, row: Mapping[str, float]) -> None:
        """Log values at the present minibatch.

        At once, and not through ``self.log``: a checkpoint that is written now must not be ahead of
        metrics.csv.
        """
        step = int(self.discriminator_steps)
        for logger in self.loggers:
            logger.log_metrics({**row, "epoch": self.current_epoch}, step=step)
        self.log_dict(dict(row), logger=False)

    @torch.no_grad()
    def sample(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """``(B, nz)`` -> ``(B, C, H, W)`` in [-1, 1] from the averaged generator in eval mode.

        Args:
            condition: ``(B, d)``; None: nothing is known.
        """
        self.average.eval()
        given = (z,) if condition is None else (z, condition)
        images = self.average(*(tensor.to(self.device) for tensor in given)).float().cpu()
        self.average.train()
        return images

    def fixed_codes(self, use: str, count: int) -> Tensor:
        """``(count, nz)``: the same in every call with the same ``use``."""
        return self._codes(count, torch_rng(use, self.seed))

    def samples(self) -> np.ndarray:
        """A grid of samples from fixed codes, uint8 ``(rows, width, C)``.

        Of a conditional pair, the same codes in every row, each row under another condition.
        """
        return grid(list(self.fixed_samples().unflatten(0, (-1, _COLUMNS)).unbind(1)))

    def fixed_samples(self) -> Tensor:
        """``(64, C, H, W)``, or with conditions 8 of each: the images of ``samples``."""
        codes, condition = self.fixed_codes("fixed", _SAMPLES), None
        if self.encoder:
            vectors = self.encoder.encode(self.encoder.shown)
            codes = codes[:_COLUMNS].repeat(len(vectors), 1)
            condition = vectors.repeat_interleave(_COLUMNS, dim=0)
        return self.sample(codes, condition)

    def metadata(self) -> dict[str, str]:
        """The metadata of a prior that is exported now."""
        return prior_metadata(self.hparams, self.current_epoch, self.images_seen)


def image_shape(generator: nn.Module, nz: int) -> tuple[int, int, int]:
    """``(C, H, W)`` of a generator's images."""
    weights = next(generator.parameters())
    mode = generator.training
    with torch.no_grad():
        image = generator.eval()(torch.zeros(1, nz, device=weights.device))
    generator.train(mode)
    return tuple(image.shape[1:])
