"""Weights & Biases: one run per job, offline where there is no account or no server."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.loggers import WandbLogger

from gan_inpaint.errors import InputError
from gan_inpaint.runtime.io import file_digest
from gan_inpaint.runtime.signals import Interrupted


@contextmanager
def wandb_logger(
    choice: str, directory: Path, *, name: str, group: str | None, job_type: str, config: dict
) -> Iterator[WandbLogger | None]:
    """One W&B run for one job, always finished; None if ``choice`` is ``none``.

    Online with a key and a server, else offline; ``WANDB_MODE`` and ``WANDB_PROJECT`` override.
    """
    if group and os.environ.pop("WANDB_RUN_ID", None):  # before W&B reads it, once a process
        print("W&B: WANDB_RUN_ID is ignored: every job of a sweep is its own run")
    mode = "disabled" if choice == "none" else _wandb_mode()
    if mode == "disabled":
        yield None
        return
    import wandb

    options: dict[str, Any] = {
        "project": os.environ.get("WANDB_PROJECT") or "gan_inpaint",
        "dir": directory,
        "name": name,
        "group": group,
        "job_type": job_type,
        "config": config,
    }
    try:
        run = _begun(mode, options)
    except wandb.Error as problem:
        if mode == "offline":
            raise _refused(problem) from None
        try:
            run = _begun("offline", options)
        except wandb.Error as other:  # it was not the connection
            raise _refused(other) from None
        mode = "offline"
        print(f"W&B: no connection ({str(problem).partition(' Consider ')[0]})")
    except ValueError as problem:
        raise _refused(problem) from None
    # WandbLogger defines its x axis only for runs that it starts itself
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    if mode == "offline":
        kept = os.path.relpath(Path(run.dir).parent)
        print(f"W&B: offline (no key or no server); upload later with: wandb sync {kept}")
    else:
        print(f"W&B: {run.url}")
    try:
        yield WandbLogger(experiment=run)
    except BaseException as problem:
        # W&B itself uses 255 for a run that a person has stopped
        run.finish(exit_code=255 if isinstance(problem, Interrupted) else 1)
        raise
    run.finish()


_OLD_MODES = {"dryrun": "offline", "run": "online"}  # W&B took these until version 0.10


def check_wandb(choice: str) -> None:
    """Refuse environment variables that W&B would refuse, before the run begins."""
    if choice == "none" or _named_mode() == "disabled":
        return
    import wandb

    try:
        wandb.Settings(
            project=os.environ.get("WANDB_PROJECT") or None,
            run_id=os.environ.get("WANDB_RUN_ID") or None,
        )
        _settings()
    except (wandb.Error, ValueError) as problem:
        raise _refused(problem) from None


def _settings() -> Any:
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        # a lost server must not block the next job of a sweep forever
        finish_timeout=float(os.environ.get("WANDB_FINISH_TIMEOUT", 600)),
    )


def _begun(mode: str, options: Mapping[str, Any]) -> Any:
    import wandb

    return wandb.init(mode=mode, settings=_settings(), **options)  # type: ignore[arg-type]


def _refused(problem: Exception) -> InputError:
    """The error for ids, projects and other values that W&B refuses."""
    variables = [key for key in os.environ if key.startswith("WANDB_") and "KEY" not in key]
    reason = " ".join(str(problem).split())
    return InputError(
        f"W&B refuses its settings ({reason}); change the environment variables"
        f" {', '.join(sorted(variables))}, or set logger=none"
    )


def log_prior(logger: WandbLogger, path: Path, metadata: Mapping[str, str]) -> None:
    """Log a trained prior as an artifact, which W&B links to the reconstructions that use it."""
    logger.experiment.log_artifact(_prior_artifact(path, metadata))


def use_prior(logger: WandbLogger, path: Path, metadata: Mapping[str, str]) -> None:
    """Record which prior a run uses; not possible offline."""
    if not logger.experiment.offline:
        logger.experiment.use_artifact(_prior_artifact(path, metadata))


def _prior_artifact(path: Path, metadata: Mapping[str, str]) -> Any:
    """An artifact named after its content, so that training and search name the same one."""
    import wandb

    digest = file_digest(path)[:12]
    artifact = wandb.Artifact(f"prior-{digest}", type="prior", metadata=dict(metadata))
    artifact.add_file(str(path))
    return artifact


def log_look(logger: WandbLogger, step: int, frame: np.ndarray) -> None:
    """Log a frame of the search; W&B shows a slider over the steps."""
    logger.log_image("search", [frame], step=step)


def log_results(
    logger: WandbLogger,
    summary: Mapping[str, Any],
    grid: np.ndarray,
    images: Sequence[Mapping[str, Any]],
    history: Sequence[Mapping[str, float]] = (),
) -> None:
    """Log a finished reconstruction.

    Args:
        grid: its images, uint8 ``(H, W, 3)``.
        images: one row per image, for ``log_table``.
        history: its losses, if they were not logged during the search.
    """
    for row in history:
        losses = {key: value for key, value in row.items() if key != "step"}
        logger.log_metrics(losses, step=int(row["step"]))
    # the environment is already in the config
    logger.experiment.summary.update({k: v for k, v in summary.items() if k != "environment"})
    logger.log_image("reconstructions", [grid])
    log_table(logger, images)


def log_table(logger: WandbLogger, rows: Sequence[Mapping[str, Any]]) -> None:
    """Log a W&B table ``images``, for joining and filtering runs; arrays become images.

    Args:
        rows: with equal keys; values are uint8 ``(H, W, C)`` arrays, numbers, strings or None.
    """
    import wandb

    cells = [
        [wandb.Image(v) if isinstance(v, np.ndarray) else v for v in row.values()] for row in rows
    ]
    logger.log_table("images", columns=list(rows[0]), data=cells)


def _named_mode() -> str | None:
    """The mode in ``WANDB_MODE``, under its current name."""
    value = os.environ.get("WANDB_MODE", "").lower()
    mode = _OLD_MODES.get(value, value)
    if mode not in ("", "online", "offline", "disabled"):
        raise InputError(f"WANDB_MODE={value}: must be online, offline or disabled")
    return mode or None


def _wandb_mode() -> str:
    if mode := _named_mode():
        return mode
    import wandb

    try:
        # no prompt: a job must not wait for an answer
        return "online" if wandb.login(prompt=False) else "offline"
    except Exception:  # an unreachable server raises many kinds of errors
        return "offline"
