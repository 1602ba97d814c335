"""The ``trainer`` group: arguments of Lightning's Trainer."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from gan_inpaint.cli.app import instantiate_checked
from gan_inpaint.cli.run_directory import RunDirectory
from gan_inpaint.errors import InputError
from gan_inpaint.evaluation.config import ReconstructConfig

if TYPE_CHECKING:
    from pytorch_lightning import Trainer


def check_trainer(arguments: Mapping[str, Any], refused: Mapping[str, str], why: str) -> None:
    """Refuse arguments of the Trainer that would fail or be ignored.

    Args:
        refused: the cure of each.
        why: what they do not fit, in words.
    """
    for key, cure in refused.items():
        if arguments.get(key) not in (None, False):
            raise InputError(f"trainer.{key}={arguments[key]}: not for {why}; {cure}")


def trainer_maker(settings: ReconstructConfig, run: RunDirectory) -> Callable[..., "Trainer"]:
    """Makes the Trainer, on the devices that were asked for."""
    arguments = dict(settings.trainer)
    check_trainer(arguments, _SET_BY_RECONSTRUCT, "a search")
    if settings.device != "auto":
        kind, _, number = settings.device.partition(":")
        arguments["accelerator"] = {"cuda": "gpu"}.get(kind, kind)
        if number:
            arguments["devices"] = [int(number)]
    if run.sweep and arguments.get("devices", 1) != 1 and not settings.device.partition(":")[2]:
        raise InputError(
            f"trainer.devices={arguments['devices']}: a sweep uses one device for each job; leave"
            " it out, or run the jobs side by side with a launcher"
        )
    return partial(instantiate_checked, "trainer", arguments, default_root_dir=run.path)


_SET_BY_RECONSTRUCT = {  # arguments of Lightning's Trainer, and what to do instead
    "max_epochs": "set steps=",
    "max_steps": "set steps=",
    "fast_dev_run": "set limit= and steps=",
    "limit_train_batches": "set limit=",
    "overfit_batches": "set limit=",
    "precision": "set precision=",
    "gradient_clip_val": "a step's length is set by lr=",
    "gradient_clip_algorithm": "a step's length is set by lr=",
    "accumulate_grad_batches": "leave it out",
    "logger": "set logger=",
    "callbacks": "leave it out",
    "enable_checkpointing": "leave it out",
    "enable_progress_bar": "there is one wherever stderr is a terminal",
    "enable_model_summary": "leave it out",
    "default_root_dir": "set hydra.run.dir=",
}
