"""The group ``logger``: opens a run in each of the chosen loggers, and closes them."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import get_object

from gan_inpaint.cli.app import instantiate_checked
from gan_inpaint.cli.error_messages import one_line
from gan_inpaint.errors import InputError

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

_logger = logging.getLogger("gan_inpaint")
_EXTRAS = {"TensorBoardLogger": "tensorboard", "MLFlowLogger": "mlflow"}  # = the packages


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
    with ExitStack() as stack:
        yield [
            _opened(key, choice, offered, stack)
            for key, choice in choices.items()
            if not _is_disabled(key, choice)
        ]


def _close(key: str, logger: "Logger", problem: BaseException | None) -> None:
    """Close a logger; what goes wrong is said, and spoils neither the job nor other loggers."""
    from gan_inpaint.reporting.wandb_logging import WandbRun

    try:
        logger.save()
        if isinstance(logger, WandbRun):
            logger.close(problem)
        else:
            logger.finalize("failed" if problem else "success")
    except Exception as failure:
        _logger.warning("logger=%s: %s", key, one_line(failure))


def _opened(
    key: str, choice: Mapping[str, Any], offered: Mapping[str, Any], stack: ExitStack
) -> "Logger":
    takes = signature(get_object(choice["_target_"])).parameters
    given = {k: v for k, v in offered.items() if k in takes and k not in choice}
    # partial: Hydra would instantiate what the settings name
    make = instantiate_checked(f"logger.{key}", {**choice, "_partial_": True})
    try:
        logger: Logger = make(**given)
        stack.push(lambda kind, problem, trace: _close(key, logger, problem))
        getattr(logger, "experiment", None)  # opens it, or fails
        if "config" not in takes and offered["job_type"] != "train":  # which Lightning does
            logger.log_hyperparams(offered["config"])
    except InputError:
        raise
    except Exception as problem:  # an unreachable server raises many kinds of errors
        raise InputError(
            f"logger={key}: {one_line(problem)}; correct logger.{key}, or set logger=none"
        ) from problem
    return logger


def _is_disabled(key: str, choice: Mapping[str, Any]) -> bool:
    from gan_inpaint.reporting.wandb_logging import wandb_mode

    return _class(key, choice) == "WandbRun" and wandb_mode() == "disabled"


def _class(key: str, choice: Any) -> str:
    """The name of a logger's class."""
    if not isinstance(choice, Mapping) or not isinstance(choice.get("_target_"), str):
        raise InputError(f"logger.{key}={choice}: must be a mapping with a _target_")
    return choice["_target_"].rpartition(".")[2]
