"""Inpainting from start to finish: starting points, the search, the winner, the filled image."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from gan_inpaint import masks
from gan_inpaint.blending import poisson
from gan_inpaint.config import search_settings
from gan_inpaint.constraints import binding, constraint_for
from gan_inpaint.errors import InputError
from gan_inpaint.latent import STOPPED_BY, LatentReconstruction, Rows
from gan_inpaint.precision import resolved
from gan_inpaint.prior import Prior
from gan_inpaint.restarts import average, different, spread
from gan_inpaint.settings import SearchSettings
from gan_inpaint.starts import Starts


@dataclass
class Result:
    """What a search found, one entry an image.

    Attributes:
        images: ``(B, C, H, W)`` in [-1, 1]: the known pixels as they were, the hole from G(z).
        generated: ``(B, C, H, W)``, what fills the hole, everywhere: G(z), or with
            ``estimate=mean`` its average over the restarts.
        z: ``(B, nz)``, the winning restart's.
        objective, contextual, perceptual, steps: ``(B,)``, likewise.
        restart: ``(B,)``, the index of the winner.
        stopped_by: B words: ``tolerance``, ``plateau``, ``budget`` or ``failed``.
        alternatives: ``(B, keep, C, H, W)``, filled like ``images``: the best completions that
            differ from each other (see ``restarts.different``); the first is the winner.
        spread: ``(B, 1, H, W)``, standard deviation over the restarts, 0 on known pixels.
        binding: ``(B,)`` in [0, 1], how far the winner is held by the constraint on z.
        rows: every restart, those of one image being neighbours.
        history: how the losses fell: a row every few steps, means over images and restarts.
    """

    images: Tensor
    generated: Tensor
    z: Tensor
    objective: Tensor
    contextual: Tensor
    perceptual: Tensor
    steps: Tensor
    restart: Tensor
    stopped_by: list[str]
    alternatives: Tensor
    spread: Tensor
    binding: Tensor
    rows: Rows
    history: list[dict[str, float]]


def inpaint(images: Tensor, known: Tensor, prior: Prior, **options: Any) -> Result:
    """Fill the holes of images with what the prior's generator makes of the known pixels.

    Args:
        images: ``(B, C, H, W)`` in [-1, 1], at the prior's size and channels; what is in the hole
            is never looked at (a NaN is fine there).
        known: ``(B or 1, 1, H, W)``, bool or 0/1: 1 = observed pixel, 0 = missing.
        prior: from ``load_prior``.
        options: ``lam``, ``norm``, ``steps`` ...: the search keys of ``reconstruct``; those not
            given are taken from the same YAML file as the command's.

    Returns:
        A ``Result`` on the CPU, whatever device the search ran on.

    Raises:
        InputError: a wrong shape, mask or option (a ValueError).

    Example:
        >>> import gan_inpaint, torch
        >>> prior = gan_inpaint.load_prior("digits")
        >>> images = prior.sample(2, seed=0)
        >>> known = torch.ones(1, 1, 32, 32); known[..., 8:24, 8:24] = 0
        >>> result = gan_inpaint.inpaint(images, known, prior, steps=5)
        >>> torch.equal(result.images[..., :8], images[..., :8])
        True
    """
    settings = search_settings(options)
    with torch.inference_mode(False):  # a search needs gradients, wherever it is called
        known = _checked(images, known, prior).clone()
        images = images.detach().float().cpu().clone()
        starts = Starts(prior, settings)
        parts = [
            search(prior, image_part, known_part, settings, starts)
            for image_part, known_part in zip(
                images.split(settings.images_at_once),
                known.split(settings.images_at_once),
                strict=True,
            )
        ]
        return _joined(parts)


def search(
    prior: Prior,
    images: Tensor,
    known: Tensor,
    settings: SearchSettings,
    starts: Starts | None = None,
    loggers: Sequence[pl.loggers.Logger] = (),
    callbacks: Sequence[pl.Callback] = (),
) -> Result:
    """``inpaint`` for one batch: ``known`` is bool ``(B, 1, H, W)``, the settings are complete.

    Args:
        starts: made once for a job of several batches; else made here.
    """
    if settings.lam and prior.discriminator is None:
        raise InputError(
            f"lam={settings.lam}: the prior {prior.name} came without a discriminator; name it with"
            " discriminator=, or set lam=0"
        )
    precision = resolved(settings.precision)
    starts = starts or Starts(prior, settings)
    weight = known.float()
    if settings.weighting == "yeh":
        weight = masks.importance(known, settings.window)
    module = LatentReconstruction(
        prior,
        images,
        weight,
        starts(images, weight),
        lam=settings.lam,
        norm=settings.norm,
        optimizer=settings.optimizer,
        lr=settings.lr,
        rampdown=settings.rampdown,
        steps=settings.steps,
        tolerance=settings.tolerance,
        patience=settings.patience,
        constraint=constraint_for(settings.constraint, prior.latent),
        radius=settings.radius,
        z_penalty=settings.z_penalty,
        perceptual=settings.perceptual,
        perceptual_every=settings.perceptual_every,
        halving=settings.halving,
        precision=precision,
    )
    with _quiet_lightning():
        trainer = pl.Trainer(
            max_epochs=1,
            devices=1,
            logger=list(loggers),
            callbacks=list(callbacks),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module)
    rows = Rows(*(getattr(module.best, field.name).cpu() for field in fields(Rows)))
    return _result(rows, module.history, prior, images, known, settings)


def _result(
    rows: Rows,
    history: list[dict[str, float]],
    prior: Prior,
    images: Tensor,
    known: Tensor,
    settings: SearchSettings,
) -> Result:
    count = len(images)
    every = completions(rows, count, prior)
    # a row that failed before its first finite objective holds infinity: it never wins over others
    objective = rows.objective.view(count, -1)
    restart = objective.argmin(dim=1)
    winner = rows[torch.arange(count) * objective.shape[1] + restart]
    counted = final_restarts(rows, count)
    kept = different(every, objective, ~known, settings.keep)
    alternatives = every[torch.arange(count)[:, None], kept]
    alternatives = torch.stack(
        [_filled(images, known, shown, settings.blend) for shown in alternatives.unbind(1)], dim=1
    )
    generated = every[torch.arange(count), restart]
    if settings.estimate == "mean":
        generated = average(every, counted)
    return Result(
        images=_filled(images, known, generated, settings.blend),
        generated=generated,
        z=winner.z,
        objective=winner.objective,
        contextual=winner.contextual,
        perceptual=winner.perceptual,
        steps=winner.steps,
        restart=restart,
        stopped_by=[STOPPED_BY[reason] for reason in winner.stopped_by],
        alternatives=alternatives,
        spread=spread(every, counted) * ~known,
        binding=binding(
            winner.z, constraint_for(settings.constraint, prior.latent), settings.radius
        ),
        rows=rows,
        history=history,
    )


def _filled(images: Tensor, known: Tensor, generated: Tensor, blend: str) -> Tensor:
    filling = generated
    if blend == "poisson":
        filling = torch.from_numpy(poisson(generated.numpy(), images.numpy(), known[:, 0].numpy()))
    return torch.where(known, images, filling)


@torch.no_grad()
def completions(rows: Rows, count: int, prior: Prior) -> Tensor:
    """``(B, restarts, C, H, W)``: what every restart generates.

    Args:
        rows: of ``count`` images.
    """
    every = torch.cat([prior.generator(part) for part in rows.z.split(256)])
    return every.unflatten(0, (count, -1))


def final_restarts(rows: Rows, count: int) -> Tensor:
    """``(B, restarts)`` bool: those that an average is over, neither given up nor failed.

    If all of an image's restarts failed it is all of them: its result is marked as failed.

    Args:
        rows: of ``count`` images.
    """
    finite = rows.objective.isfinite() & (rows.stopped_by != STOPPED_BY.index("halved"))
    finite = finite.view(count, -1)
    return torch.where(finite.any(dim=1, keepdim=True), finite, True)


def _joined(parts: list[Result]) -> Result:
    def join(values: list) -> Any:
        if isinstance(values[0], Tensor):
            return torch.cat(values)
        if isinstance(values[0], Rows):
            return Rows(*(join([getattr(v, f.name) for v in values]) for f in fields(Rows)))
        return [item for value in values for item in value]

    joined = Result(*(join([getattr(part, f.name) for part in parts]) for f in fields(Result)))
    joined.history = mean_history([(len(part.images), part.history) for part in parts])
    return joined


def mean_history(parts: Sequence[tuple[int, list[dict[str, float]]]]) -> list[dict[str, float]]:
    """One history for images that were searched in several batches.

    Args:
        parts: number of images and history of each batch; one that ended early keeps its values.

    Example:
        >>> one, three = [{"step": 10, "objective": 4.0}], [{"step": 10, "objective": 0.0}]
        >>> mean_history([(1, one), (3, three)])
        [{'step': 10, 'objective': 1.0}]
    """
    total = sum(count for count, _ in parts)
    longest = max((history for _, history in parts), key=len)
    return [
        {
            key: row[key]
            if key == "step"
            else sum(n * history[min(i, len(history) - 1)][key] for n, history in parts) / total
            for key in row
        }
        for i, row in enumerate(longest)
    ]


def _checked(images: Tensor, known: Tensor, prior: Prior) -> Tensor:
    expected = (prior.channels, prior.size, prior.size)
    if images.ndim != 4 or not len(images) or tuple(images.shape[1:]) != expected:
        raise InputError(
            f"images have shape {tuple(images.shape)}, but the prior {prior.name} has"
            f" {prior.channels} channel(s) and size {prior.size}: give (B, {prior.channels},"
            f" {prior.size}, {prior.size})"
        )
    if (
        known.ndim != 4
        or known.shape[1:] != (1, *expected[1:])
        or len(known) not in (1, len(images))
    ):
        raise InputError(
            f"known has shape {tuple(known.shape)}, but ({len(images)} or 1, 1, {prior.size},"
            f" {prior.size}) fits the images"
        )
    if not bool(((known == 0) | (known == 1)).all()):
        raise InputError("known holds values other than 0 (missing) and 1 (observed)")
    known = known.bool().cpu()
    largest = torch.where(known, images.detach().cpu(), 0).abs().float().nan_to_num().max()
    if not images.is_floating_point() or largest > 1.001:
        raise InputError("images must be floats in [-1, 1]; for bytes use x / 127.5 - 1")
    for index, mask in enumerate(known):
        masks.check(mask, f"known[{index}]")
    return known.expand(len(images), -1, -1, -1)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """A search starts one Trainer a batch: its announcements would bury ours."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        logger.setLevel(level)
