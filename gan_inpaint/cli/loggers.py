"""The group ``logger``: opens a run in each of the chosen loggers, and closes them."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import get_object

from gan_inpaint.cli.command import instantiate_checked
from gan_inpaint.cli.error_messages import one_line
from gan_inpaint.errors import InputError

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

    from gan_inpaint.reporting.guarded_logger import GuardedLogger

_logger = logging.getLogger("gan_inpaint")
_EXTRAS = {"TensorBoardLogger": "tensorboard", "MLFlowLogger": "mlflow"}  # = the packages
_PATIENCE = {  # with a server that is not there; MLflow's own would take minutes
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds
}


def check_loggers(choices: Mapping[str, Any]) -> None:
    """Refuse loggers that could not be opened, before the work begins."""
    for key, choice in choices.items():
        name = _class(key, choice)
        if (extra := _EXTRAS.get(name)) and find_spec(extra) is None:
            raise InputError(f"logger={key} needs pip install 'gan_inpaint[{extra}]'")
        if name == "WandbRun":
            from gan_inpaint.reporting.wandb_logging import check_wandb

            check_wandb()


@contextmanager
def open_loggers(
    choices: Mapping[str, Any],
    directory: Path,
    sweep: Path | None,
    *,
    name: str,
    job_type: str,
    config: dict[str, Any],
) -> Iterator[list["Logger"]]:
    """One run in each of the chosen loggers; closed at the end, as failed after an error.

    What goes wrong with a logger is a warning; it ends neither the work nor other loggers.

    Args:
        choices: of the group ``logger``.
        directory: of the job.
        sweep: directory of its sweep, if it is part of one.
        name: of the run.
        job_type: the command.
        config: settings and environment, which are logged as hyperparameters.
    """
    group = sweep.name if sweep else None
    offered = {
        # the W&B runs of a sweep lie in one folder; W&B's own process may work elsewhere
        "directory": (sweep or directory).absolute(),
        "save_dir": directory,
        "run_name": name,
        "group": group,
        "job_type": job_type,
        "config": config,
        "tags": {"job_type": job_type} | ({"sweep": group} if group else {}),
    }
    for variable, value in _PATIENCE.items():
        os.environ.setdefault(variable, value)
    with ExitStack() as stack:
        opened = (
            _opened(key, choice, offered, stack)
            for key, choice in choices.items()
            if not _is_disabled(key, choice)
        )
        yield [logger for logger in opened if logger is not None]


def _opened(
    key: str, choice: Mapping[str, Any], offered: Mapping[str, Any], stack: ExitStack
) -> "GuardedLogger | None":
    """A run in a logger; None, with a warning, if it cannot be begun."""
    from gan_inpaint.reporting.guarded_logger import GuardedLogger

    takes = signature(get_object(choice["_target_"])).parameters
    given = {k: v for k, v in offered.items() if k in takes and k not in choice}
    # partial: Hydra would instantiate what the settings name
    make = instantiate_checked(f"logger.{key}", {**choice, "_partial_": True})
    try:
        logger = make(**given)
        getattr(logger, "experiment", None)  # opens it
    except InputError:
        raise
    except TypeError as problem:
        raise InputError(
            f"logger={key}: {one_line(problem)}; correct logger.{key}, or set logger=none"
        ) from problem
    except Exception as problem:  # servers and disks raise many kinds of errors
        _logger.warning("logger=%s: %s; nothing is logged there", key, one_line(problem))
        return None
    guarded = GuardedLogger(key, logger)
    stack.push(lambda kind, problem, trace: _close(guarded, problem))
    if "config" not in takes and offered["job_type"] != "train":  # which Lightning does
        guarded.log_hyperparams(offered["config"])
    return guarded


def _close(logger: "GuardedLogger", problem: BaseException | None) -> None:
    from gan_inpaint.reporting.wandb_logging import WandbRun

    def close(own: "Logger") -> None:
        own.save()
        if isinstance(own, WandbRun):
            own.close(problem)
        else:
            own.finalize("failed" if problem else "success")

    logger.attempt(close, last=True)


def _is_disabled(key: str, choice: Mapping[str, Any]) -> bool:
    from gan_inpaint.reporting.wandb_logging import wandb_mode

    return _class(key, choice) == "WandbRun" and wandb_mode() == "disabled"


def _class(key: str, choice: Any) -> str:
    """The name of a logger's class."""
    if not isinstance(choice, Mapping) or not isinstance(choice.get("_target_"), str):
        raise InputError(f"logger.{key}={choice}: must be a mapping with a _target_")
    return choice["_target_"].rpartition(".")[2]
