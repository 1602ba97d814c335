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
from gan_inpaint.config import SearchSettings, search_settings
from gan_inpaint.errors import InputError
from gan_inpaint.latent import STOPPED_BY, LatentReconstruction, Rows, constraint_for
from gan_inpaint.prior import Prior
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
    starts = starts or Starts(prior, settings)
    module = LatentReconstruction(
        prior,
        images,
        known,
        starts(images, known),
        lam=settings.lam,
        norm=settings.norm,
        optimizer=settings.optimizer,
        lr=settings.lr,
        steps=settings.steps,
        tolerance=settings.tolerance,
        patience=settings.patience,
        constraint=constraint_for(settings.constraint, prior.latent),
        radius=settings.radius,
        perceptual=settings.perceptual,
        halving=settings.halving,
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
    return _best_of(rows, module.history, prior, images, known, settings)


def _best_of(
    rows: Rows,
    history: list[dict[str, float]],
    prior: Prior,
    images: Tensor,
    known: Tensor,
    settings: SearchSettings,
) -> Result:
    count = len(images)
    restarts = len(rows.z) // count
    # a row that failed before its first finite objective holds infinity: it never wins over others
    objective = rows.objective.view(count, restarts)
    restart = objective.argmin(dim=1)
    winner = rows[torch.arange(count) * restarts + restart]
    with torch.no_grad():
        generated = torch.cat([prior.generator(part) for part in winner.z.split(256)])
        if settings.estimate == "mean" and restarts > 1:
            every = torch.cat([prior.generator(part) for part in rows.z.split(256)])
            weight = final_restarts(rows, count)
            every = every.unflatten(0, (count, restarts)) * weight[:, :, None, None, None]
            generated = every.sum(dim=1) / weight.sum(dim=1)[:, None, None, None]
    filling = generated
    if settings.blend == "poisson":
        filling = torch.from_numpy(poisson(generated.numpy(), images.numpy(), known[:, 0].numpy()))
    return Result(
        images=torch.where(known, images, filling),
        generated=generated,
        z=winner.z,
        objective=winner.objective,
        contextual=winner.contextual,
        perceptual=winner.perceptual,
        steps=winner.steps,
        restart=restart,
        stopped_by=[STOPPED_BY[reason] for reason in winner.stopped_by],
        rows=rows,
        history=history,
    )


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
