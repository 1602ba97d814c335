"""Weights & Biases: one run per job, offline where there is no account or no server."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning.loggers import WandbLogger

from gan_inpaint.errors import InputError
from gan_inpaint.runtime.io import file_digest
from gan_inpaint.runtime.signals import Interrupted


class WandbRun(WandbLogger):
    """One W&B run for one job: online with a key and a server, else offline.

    ``WANDB_MODE``, ``WANDB_PROJECT`` and ``WANDB_ENTITY`` apply.

    Args:
        directory: its parent of offline runs; they lie in the folder ``wandb`` there.
        run_name: the run's name.
        group: the sweep's name; its runs have it in common.
        job_type: the command.
        config: the settings.
        project, entity, tags, notes: of the run, as W&B has them.
    """

    def __init__(
        self,
        directory: Any,
        run_name: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        config: Any = None,
        project: str | None = None,
        entity: str | None = None,
        tags: list[str] | None = None,
        notes: str | None = None,
    ):
        if group and os.environ.pop("WANDB_RUN_ID", None):  # before W&B reads it, once a process
            print("W&B: WANDB_RUN_ID is ignored: every job of a sweep is its own run")
        run, offline = _start(
            {
                "project": project or os.environ.get("WANDB_PROJECT") or "gan_inpaint",
                "entity": entity,
                "dir": directory,
                "name": run_name,
                "group": group,
                "job_type": job_type,
                "config": config,
                "tags": tags,
                "notes": notes,
            }
        )
        # WandbLogger defines its x axis only for runs that it starts itself
        self._axis = "search/step" if job_type == "reconstruct" else "trainer/global_step"
        for axis in {self._axis, "trainer/global_step", "epoch"}:
            run.define_metric(axis, hidden=True)  # a chart of them would be a straight line
        run.define_metric("*", step_metric=self._axis, step_sync=True)
        if offline:
            kept = os.path.relpath(Path(run.dir).parent)
            print(f"W&B: offline (no key or no server); upload later with: wandb sync {kept}")
        else:
            print(f"W&B: {run.url}")
        super().__init__(experiment=run)

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        axis = {} if step is None else {self._axis: step}
        super().log_metrics({**metrics, **axis}, step)

    def close(self, problem: BaseException | None) -> None:
        """End the run, as failed or stopped if there was a problem."""
        # W&B itself uses 255 for a run that a person has stopped
        stopped = 255 if isinstance(problem, Interrupted) else 1
        self.experiment.finish(exit_code=stopped if problem else 0)

    def log_rows(self, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log a table, for joining and filtering runs; arrays become images.

        It goes to the summary: in the history, W&B would chart its numbers of rows and columns.

        Args:
            rows: with equal keys; values are uint8 ``(H, W, C)`` arrays, numbers, strings or None.
        """
        import wandb

        cells = [
            [wandb.Image(v) if isinstance(v, np.ndarray) else v for v in row.values()]
            for row in rows
        ]
        self.experiment.summary[key] = wandb.Table(columns=list(rows[0]), data=cells)

    def log_prior(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Log a trained prior as an artifact, which W&B links to the runs that use it."""
        self.experiment.log_artifact(_prior_artifact(path, metadata))

    def use_prior(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Record which prior the run uses; not possible offline."""
        if not self.experiment.offline:
            self.experiment.use_artifact(_prior_artifact(path, metadata))


def _start(options: dict[str, Any]) -> tuple[Any, bool]:
    """A new run, and whether it is offline."""
    import wandb

    mode = wandb_mode()
    try:
        return _begun(mode, options), mode == "offline"
    except wandb.Error as problem:
        if mode == "offline":
            if not isinstance(problem, wandb.errors.UsageError):
                raise
            raise _refused(problem) from None
        try:
            run = _begun("offline", options)
        except wandb.errors.UsageError as other:  # it was not the connection
            raise _refused(other) from None
        print(f"W&B: no connection ({str(problem).partition(' Consider ')[0]})")
        return run, True
    except ValueError as problem:
        raise _refused(problem) from None


_OLD_MODES = {"dryrun": "offline", "run": "online"}  # W&B took these until version 0.10


def check_wandb() -> None:
    """Refuse environment variables that W&B would refuse, before the run begins."""
    if _named_mode() == "disabled":
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


def _prior_artifact(path: Path, metadata: Mapping[str, str]) -> Any:
    """An artifact named after its content, so that training and search name the same one."""
    import wandb

    digest = file_digest(path)[:12]
    artifact = wandb.Artifact(f"prior-{digest}", type="prior", metadata=dict(metadata))
    artifact.add_file(str(path))
    return artifact


def _named_mode() -> str | None:
    """The mode in ``WANDB_MODE``, under its current name."""
    value = os.environ.get("WANDB_MODE", "").lower()
    mode = _OLD_MODES.get(value, value)
    if mode not in ("", "online", "offline", "disabled"):
        raise InputError(f"WANDB_MODE={value}: must be online, offline or disabled")
    return mode or None


def wandb_mode() -> str:
    """online, offline or disabled: by ``WANDB_MODE``, else by whether there is a key."""
    if mode := _named_mode():
        return mode
    import wandb

    try:
        # no prompt: a job must not wait for an answer
        return "online" if wandb.login(prompt=False) else "offline"
    except Exception:  # an unreachable server raises many kinds of errors
        return "offline"
