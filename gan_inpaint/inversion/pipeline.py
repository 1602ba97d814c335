"""Inpainting as a function: check images, search for them in one fit, collect the results."""

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from torch import Tensor
from torch.utils.data import Dataset

from gan_inpaint.errors import InputError
from gan_inpaint.inversion.config import SearchConfig, SearchOptions, search_config
from gan_inpaint.inversion.inputs import checked_inputs
from gan_inpaint.inversion.lightning_module import ImageBatch, LatentReconstruction
from gan_inpaint.inversion.progress import Progress, ReportProgress
from gan_inpaint.inversion.result import Result
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.registry import load_prior

_EMPTY: tuple[Any, ...] = (None, "", {})  # conditions


def inpaint(
    images: Tensor | np.ndarray | Sequence[Any],
    known: Tensor | np.ndarray | Sequence[Any],
    prior: Prior | str | Path,
    search: SearchConfig | None = None,
    condition: Any = None,
    progress: Callable[[Progress], None] | None = None,
    **options: Unpack[SearchOptions],
) -> Result:
    """Fill the holes of images with the prior's image that best fits the known pixels.

    It works under ``no_grad``, inference mode, autocast and other default dtypes, and in the middle
    of a training. It does not touch torch's global random generator.

    Args:
        images: ``(B, C, H, W)`` in [-1, 1], of the prior's ``image_shape``: a tensor, an array or a
            list of them. Pixels in the hole are ignored and may be NaN.
        known: ``(B or 1, 1, H, W)``, bool or 0/1: 1 = observed pixel, 0 = missing.
        prior: from ``load_prior`` or ``as_prior``, or an argument for ``load_prior``.
        search: how to search; ``SearchConfig()`` by default.
        condition: what the images show, for a conditional prior: a label, attributes such as
            ``{"Smiling": 1}`` or a caption for all, or a list with one for each, None where it is
            unknown; ``"all"``: try every class, and keep the one with the lowest objective. The
            class of a result is ``restart // restarts``.
        progress: called with a ``Progress`` as each phase begins and after every update of z; if it
            raises ``Cancelled``, the search ends there, and so does this function.
        options: keys of ``search`` to change, such as ``lam=0`` or ``steps=100``.

    Returns:
        A ``Result`` on the CPU.

    Raises:
        InputError: a shape, value, mask or option is invalid (a ValueError).
        Cancelled: ``progress`` raised it.

    Example:
        >>> import gan_inpaint, torch
        >>> prior = gan_inpaint.load_prior("digits")
        >>> images = prior.sample(2, seed=0)
        >>> known = torch.ones(1, 1, 32, 32); known[..., 8:24, 8:24] = 0
        >>> result = gan_inpaint.inpaint(images, known, prior, steps=5)
        >>> torch.equal(result.images[..., :8], images[..., :8])
        True
    """
    if not isinstance(search, SearchConfig | None):
        raise InputError(f"search is a {type(search).__name__}, not a SearchConfig")
    config = search_config(options, search) if options else search or SearchConfig()
    with _undisturbed():
        prior = prior if isinstance(prior, Prior) else load_prior(prior)
        config = config.resolved(prior)
        images, known = checked_inputs(images, known, prior)
        told = encode_conditions(prior, condition, len(images))
        groups = 1 if told is None else told.shape[1]
        batches = []
        for index in torch.arange(len(images)).split(max(1, config.images_at_once // groups)):
            own = None if told is None else told[index]
            batches.append(ImageBatch(images[index], known[index], condition=own))
        results = _Results()
        report = ReportProgress(progress or (lambda _: None), config.steps or 0)
        reconstruct(
            prior,
            config,
            batches,
            groups=groups,
            callbacks=[results, report] if progress else [results],
            on_phase=report.phase,
        )
        return Result.cat(results.found)


def encode_conditions(prior: Prior, condition: Any, count: int) -> Tensor | None:
    """``(count, n, d)``: the conditions of images, n of which are tried for each; None: unknown.

    Args:
        condition: see ``inpaint``.

    Raises:
        InputError: the prior takes none, does not know one, or has no classes for ``all``.
    """
    if hasattr(condition, "tolist"):  # an array
        condition = condition.tolist()
    several = isinstance(condition, list | tuple)
    empty = all(one in _EMPTY for one in (condition if several else [condition]))
    if condition is None or (empty and prior.encoder is None):
        return None
    if condition == "all":
        classes = prior.encoder and prior.encoder.classes
        if not classes:
            raise InputError(
                f"condition=all: the prior {prior.name} has no classes to try; that needs"
                " conditioning=label"
            )
        return prior.encode(classes).expand(count, -1, -1)
    if not several:
        return prior.encode([condition]).expand(count, -1)[:, None]
    if len(condition) != count:
        raise InputError(f"condition: {len(condition)} of them for {count} images; give one each")
    return prior.encode(condition)[:, None]


def reconstruct(
    prior: Prior,
    config: SearchConfig,
    batches: Sequence[ImageBatch] | Dataset[ImageBatch],
    *,
    groups: int = 1,
    callbacks: Sequence[pl.Callback] = (),
    loggers: Sequence[pl.loggers.Logger] = (),
    trainer: Callable[..., pl.Trainer] | None = None,
    on_phase: Callable[[str], None] | None = None,
) -> None:
    """Search for many batches of images in one ``Trainer.fit``; callbacks take the results.

    Args:
        prior: generates the images.
        config: how to search.
        batches: read one by one; several processes share them.
        groups: number of conditions tried for each image.
        callbacks: see ``LatentReconstruction`` for their hooks; after a batch's last step the
            module has its ``result``.
        loggers: log the losses during the search.
        trainer: makes the Trainer; by default on one device.
        on_phase: see ``LatentReconstruction``.

    Raises:
        InputError: the prior does not fit the config.
    """
    module = LatentReconstruction(prior, config, groups=groups, on_phase=on_phase)
    with _quiet_lightning():
        # without the plugin, Lightning would take SLURM's settings as its own
        alone = partial(pl.Trainer, devices=1, plugins=[LightningEnvironment()])
        engine = (trainer or alone)(
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        engine.loggers = list(loggers)
        engine.callbacks += [_ShareBatches(batches), *callbacks]  # type: ignore[attr-defined]
        try:
            engine.fit(module, module.dataloader(batches))
        except BaseException as problem:
            if engine.strategy.launcher:  # the other processes would wait for this one
                engine.strategy.launcher.kill(signal.SIGTERM)
            if isinstance(problem, SystemExit) and isinstance(
                problem.__context__, KeyboardInterrupt
            ):  # Lightning turns Ctrl-C into an exit of the whole program
                raise problem.__context__ from None
            raise


class _ShareBatches(pl.Callback):
    """Gives each process its batches, as soon as the processes can communicate."""

    def __init__(self, batches: Any):
        self._batches = batches

    def setup(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        if trainer.world_size > 1:
            broadcast = trainer.strategy.broadcast
            self._batches.share(trainer.global_rank, trainer.world_size, broadcast)


class _Results(pl.Callback):
    """Keeps every batch's result."""

    def __init__(self) -> None:
        self.found: list[Result] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        if pl_module.result is not None:
            self.found.append(pl_module.result)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hide Lightning's messages, which would bury the few lines that matter."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Shield a search from the modes of torch around it."""
    dtype, product = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    with (
        torch.inference_mode(False),  # a search needs gradients
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
        torch.device("cpu") if torch.get_default_device().type != "cpu" else nullcontext(),
    ):
        if dtype != torch.float32:  # affects all threads
            torch.set_default_dtype(torch.float32)
        if product != "highest":  # L-BFGS compares objectives to their last digits
            torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            if product != "highest":
                torch.set_float32_matmul_precision(product)
            if dtype != torch.float32:
                torch.set_default_dtype(dtype)
