"""What a command logs, to each of Lightning's loggers in its own way."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger

from gan_inpaint.reporting.wandb_logging import WandbRun


def log_image(
    loggers: Sequence[Logger], key: str, image: np.ndarray, step: int = 0, caption: str = ""
) -> None:
    """Log an image, uint8 ``(H, W, 1 or 3)``; CSV files take none.

    Args:
        caption: for W&B.
    """
    for logger in loggers:
        if isinstance(logger, WandbRun):
            logger.log_image(key, [image], step=step, caption=[caption or None])
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(key, image, step, dataformats="HWC")
        elif isinstance(logger, MLFlowLogger):
            colour = np.repeat(image, 3 // image.shape[2], axis=2)
            file = f"{key}/{step:06d}.png"
            logger.experiment.log_image(logger.run_id, colour, artifact_file=file)


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
        log_summary([logger], settings, summary)
        if isinstance(logger, WandbRun):
            logger.log_rows("images", images)
    log_image(loggers, "reconstructions", grid, int(history[-1]["step"]))


def log_summary(
    loggers: Sequence[Logger], settings: Mapping[str, Any], summary: Mapping[str, Any]
) -> None:
    """Log the figures of a finished job."""
    figures = {  # the curves have the plain names
        f"final/{key}": float(value)
        for key, value in summary.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    for logger in loggers:
        if isinstance(logger, WandbRun):  # the environment is already in the config
            told = {k: v for k, v in summary.items() if k != "environment"}
            logger.experiment.summary.update(told)
        elif isinstance(logger, TensorBoardLogger):  # for its table of hyperparameters
            logger.log_hyperparams(dict(settings), figures)
        else:
            logger.log_metrics(figures)
