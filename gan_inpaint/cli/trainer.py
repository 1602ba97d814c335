"""The ``trainer`` group: arguments of Lightning's Trainer."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from gan_inpaint.cli.command import instantiate_checked
from gan_inpaint.errors import InputError
from gan_inpaint.jobs.config import ReconstructConfig
from gan_inpaint.jobs.directory import RunDirectory

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

_SET_ELSEWHERE = {  # arguments that no command accepts, and what to do instead
    "precision": "set precision=",
    "logger": "set logger=",
    "default_root_dir": "set hydra.run.dir=",
    "enable_model_summary": "leave it out",
    "enable_progress_bar": "there is one wherever stderr is a terminal",
}
_STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false")
NOT_FOR_TRAINING = _SET_ELSEWHERE | {
    "gradient_clip_val": "set optimizer.discriminator.clip and optimizer.generator.clip",
    "gradient_clip_algorithm": "set optimizer.discriminator.clip and optimizer.generator.clip",
    "accumulate_grad_batches": "set a larger batch_size",
    "fast_dev_run": "set trainer.max_epochs=1, +trainer.limit_train_batches=1",
    "max_steps": "Lightning counts the steps of both; set trainer.max_epochs=",
    "overfit_batches": "name fewer images with data.path=",
    "callbacks": "a run keeps its own checkpoints, samples and curves",
    "enable_checkpointing": "set checkpoint.every_n_epochs=",
}
NOT_FOR_SEARCH = _SET_ELSEWHERE | {
    "max_epochs": "set steps=",
    "max_steps": "set steps=",
    "fast_dev_run": "set limit= and steps=",
    "max_time": "set limit= and steps=",
    "num_nodes": "split the images over jobs with shards=",
    "limit_train_batches": "set limit=",
    "overfit_batches": "set limit=",
    "gradient_clip_val": "a step's length is set by lr=",
    "gradient_clip_algorithm": "a step's length is set by lr=",
    "accumulate_grad_batches": "leave it out",
    "callbacks": "leave it out",
    "enable_checkpointing": "leave it out",
}


def check_trainer(arguments: Mapping[str, Any], refused: Mapping[str, str], use: str) -> None:
    """Refuse arguments of the Trainer that would fail or be ignored.

    Args:
        refused: argument -> what to do instead.
        use: what the Trainer is for, in words.
    """
    for key, instead in refused.items():
        if arguments.get(key) is not None and arguments[key] is not False:
            raise InputError(f"trainer.{key}={arguments[key]}: not supported for {use}; {instead}")

    strategy = arguments.get("strategy", "auto")
    if isinstance(strategy, str) and strategy not in _STRATEGIES:
        raise InputError(
            f"trainer.strategy={strategy}: not supported for {use}; set trainer=ddp instead"
        )


def trainer_maker(settings: ReconstructConfig, run: RunDirectory) -> Callable[..., "Trainer"]:
    """Makes the Trainer of a search, on the chosen devices."""
    arguments = dict(settings.trainer)
    check_trainer(arguments, NOT_FOR_SEARCH, "a search")
    if settings.device != "auto":
        kind, _, number = settings.device.partition(":")
        check_device(settings.device, kind, int(number or 0))
        arguments["accelerator"] = {"cuda": "gpu"}.get(kind, kind)
        if number:
            arguments["devices"] = [int(number)]
    if run.sweep and arguments.get("devices", 1) != 1 and not settings.device.partition(":")[2]:
        raise InputError(
            f"trainer.devices={arguments['devices']}: a sweep uses one device for each job; leave"
            " it out, or run the jobs side by side with a launcher"
        )
    if arguments.get("devices") == 1:
        from pytorch_lightning.plugins.environments import LightningEnvironment

        # one process, whatever SLURM's settings say
        arguments.setdefault("plugins", [LightningEnvironment()])
    return partial(instantiate_checked, "trainer", arguments, default_root_dir=run.path)


def check_device(device: str, kind: str, number: int) -> None:
    """Refuse a device that this machine does not have."""
    import torch

    there = {"cuda": torch.cuda.device_count(), "gpu": torch.cuda.device_count()}.get(kind, 1)
    if kind == "mps":
        there = int(torch.backends.mps.is_available())
    if number >= there:
        raise InputError(
            f"device={device}: this machine has {there} such devices; set device=auto, or cpu"
        )
