"""The search for one batch of images: starts, the Trainer, the winners, the filled images."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from torch import Tensor

from gan_inpaint.errors import InputError
from gan_inpaint.functional.blending import poisson
from gan_inpaint.functional.completions import completion_std, mean_completion, select_diverse
from gan_inpaint.functional.latent import constraint_activity, resolve_constraint
from gan_inpaint.functional.weighting import importance_weights
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.initializers import Starts
from gan_inpaint.inversion.lightning_module import LatentReconstruction
from gan_inpaint.inversion.result import Result
from gan_inpaint.inversion.state import STOPPED_BY, RestartState, final_restarts
from gan_inpaint.priors.gan import Prior
from gan_inpaint.runtime.precision import resolve_precision

_FAIR = 10  # steps in which a search should have found something better than its start


def search_batch(
    prior: Prior,
    images: Tensor,
    known: Tensor,
    settings: SearchConfig,
    starts: Starts | None = None,
    loggers: Sequence[pl.loggers.Logger] = (),
    callbacks: Sequence[pl.Callback] = (),
    updates_per_step: int = 10,
) -> Result:
    """``inpaint`` for one batch: ``known`` is bool ``(B, 1, H, W)``, the settings are complete.

    Args:
        starts: made once for a job of several batches; else made here.
        updates_per_step: z updates between two looks of the loggers and callbacks.
    """
    if settings.lam and prior.discriminator is None:
        raise InputError(
            f"lam={settings.lam}: the prior {prior.name} came without a discriminator; name it with"
            " discriminator=, or set lam=0"
        )
    precision = resolve_precision(settings.precision)
    starts = starts or Starts(prior, settings)
    weight = known.float()
    if settings.weighting == "yeh":
        weight = importance_weights(known, settings.window)
    begun = starts(images, weight)
    module = LatentReconstruction(
        prior,
        images,
        weight,
        begun,
        lam=settings.lam,
        norm=settings.norm,
        optimizer=settings.optimizer,
        lr=settings.lr,
        steps=settings.steps,
        tolerance=settings.tolerance,
        patience=settings.patience,
        constraint=resolve_constraint(settings.constraint, prior.latent),
        radius=settings.radius,
        z_penalty=settings.z_penalty,
        perceptual=settings.perceptual,
        perceptual_every=settings.perceptual_every,
        halving=settings.halving,
        precision=precision,
        updates_per_step=updates_per_step,
    )
    if settings.compile:
        module.compile_networks()
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
    rows = module.best.to("cpu")
    # it went its way, to the end or to where all is flat, and nothing was better than its start
    flat = (rows.stopped_by == STOPPED_BY.index("tolerance")) & (rows.steps > 0)
    ended = (rows.stopped_by == STOPPED_BY.index("budget")) & (rows.steps >= _FAIR)
    astray = (flat | ended) & (rows.z == begun).all(dim=1)
    rows.stopped_by[astray] = STOPPED_BY.index("failed")
    return _result(rows, module.history, prior, images, known, settings)


def _result(
    rows: RestartState,
    history: list[dict[str, float]],
    prior: Prior,
    images: Tensor,
    known: Tensor,
    settings: SearchConfig,
) -> Result:
    count = len(images)
    every = completions(rows, count, prior)
    # a row that failed before its first finite objective holds infinity: it never wins over others
    objective = rows.objective.view(count, -1)
    restart = objective.argmin(dim=1)
    winner = rows[torch.arange(count) * objective.shape[1] + restart]
    counted = final_restarts(rows, count)
    kept = select_diverse(every, objective, ~known, settings.keep)
    alternatives = every[torch.arange(count)[:, None], kept]
    alternatives = torch.stack(
        [filled(images, known, shown, settings.blend) for shown in alternatives.unbind(1)], dim=1
    )
    generated = every[torch.arange(count), restart]
    if settings.estimate == "mean":
        generated = mean_completion(every, counted)
    return Result(
        images=filled(images, known, generated, settings.blend),
        generated=generated,
        z=winner.z,
        objective=winner.objective,
        contextual=winner.contextual,
        perceptual=winner.perceptual,
        steps=winner.steps,
        restart=restart,
        stopped_by=[STOPPED_BY[reason] for reason in winner.stopped_by],
        alternatives=alternatives,
        spread=completion_std(every, counted) * ~known,
        binding=constraint_activity(
            winner.z, resolve_constraint(settings.constraint, prior.latent), settings.radius
        ),
        rows=rows,
        history=history,
    )


def filled(images: Tensor, known: Tensor, generated: Tensor, blend: str) -> Tensor:
    """``(B, C, H, W)``: the known pixels as they are, the hole from what was generated.

    Args:
        blend: ``none``, or ``poisson``: by its gradients instead of its colours.
    """
    filling = generated
    if blend == "poisson":
        filling = torch.from_numpy(poisson(generated.numpy(), images.numpy(), known[:, 0].numpy()))
    return torch.where(known, images, filling)


@torch.no_grad()
def completions(rows: RestartState, count: int, prior: Prior) -> Tensor:
    """``(B, restarts, C, H, W)``: what every restart generates.

    Args:
        rows: of ``count`` images.
    """
    every = torch.cat([prior.generator(part) for part in rows.z.split(256)])
    return every.unflatten(0, (count, -1))


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
