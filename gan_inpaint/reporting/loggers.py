"""What a command logs, to each of Lightning's loggers in its own way."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from gan_inpaint.reporting.guarded_logger import attempt
from gan_inpaint.reporting.wandb_logging import WandbRun


def log_image(
    loggers: Sequence[Logger], key: str, image: np.ndarray, step: int = 0, caption: str = ""
) -> None:
    """Log an image, uint8 ``(H, W, 1 or 3)``.

    Args:
        caption: for W&B.
    """
    for logger in loggers:
        attempt(logger, partial(_log_image, key=key, image=image, step=step, caption=caption))


def _log_image(logger: Logger, key: str, image: np.ndarray, step: int, caption: str) -> None:
    if isinstance(logger, WandbLogger):
        logger.log_image(key, [image], step=step, caption=[caption or None])
    elif isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(key, image, step, dataformats="HWC")
    elif isinstance(logger, MLFlowLogger):
        colour = np.repeat(image, 3 // image.shape[2], axis=2)
        file = f"{key}/{step:06d}.png"
        logger.experiment.log_image(logger.run_id, colour, artifact_file=file)


def log_rows(loggers: Sequence[Logger], key: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Log a table, see ``WandbRun.log_rows``; other loggers take none."""

    def record(logger: Logger) -> None:
        if isinstance(logger, WandbRun):
            logger.log_rows(key, rows)

    for logger in loggers:
        attempt(logger, record)


def log_prior(
    loggers: Sequence[Logger], path: Path, metadata: Mapping[str, str], made: bool
) -> None:
    """Log a prior as an artifact of W&B, which links the runs that make it and that use it.

    Args:
        made: whether this run has made it; else it uses it.
    """

    def record(logger: Logger) -> None:
        if isinstance(logger, WandbRun):
            (logger.log_prior if made else logger.use_prior)(path, metadata)

    for logger in loggers:
        attempt(logger, record)


def log_results(
    loggers: Sequence[Logger],
    settings: Mapping[str, Any],
    summary: Mapping[str, Any],
    grid: np.ndarray,
    images: Sequence[Mapping[str, Any]],
    history: Sequence[Mapping[str, float]],
    live: bool,
) -> None:
    """Log a finished reconstruction.

    Args:
        settings: of the job, which TensorBoard shows beside the summary.
        grid: its images, uint8 ``(H, W, 3)``.
        images: one row per image, for W&B's table.
        history: its losses.
        live: whether they were logged during the search.
    """
    for logger in loggers:
        for row in () if live else history:
            losses = {key: value for key, value in row.items() if key != "step"}
            logger.log_metrics(losses, step=int(row["step"]))
    log_summary(loggers, settings, summary)
    log_rows(loggers, "images", images)
    log_image(loggers, "reconstructions", grid, int(history[-1]["step"]))


def log_summary(
    loggers: Sequence[Logger], settings: Mapping[str, Any], summary: Mapping[str, Any]
) -> None:
    """Log the figures of a finished job."""
    for logger in loggers:
        attempt(logger, partial(_log_summary, settings=settings, summary=summary))


def _log_summary(logger: Logger, settings: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    figures = {  # the curves have the plain names
        f"final/{key}": float(value)
        for key, value in summary.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    if isinstance(logger, WandbRun):  # the environment is already in the config
        told = {k: v for k, v in summary.items() if k != "environment"}
        logger.experiment.summary.update(told)
    elif isinstance(logger, TensorBoardLogger):  # for its table of hyperparameters
        logger.log_hyperparams(dict(settings), figures)
    else:
        logger.log_metrics(figures)
