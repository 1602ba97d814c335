"""The search as a LightningModule whose only parameter is z; one fit serves many batches."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from gan_inpaint.errors import InputError
from gan_inpaint.functional.weighting import importance_weights
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.guide import Guide
from gan_inpaint.inversion.initializers import make_initializer
from gan_inpaint.inversion.optimize import LatentOptimization
from gan_inpaint.inversion.result import Result, make_result
from gan_inpaint.priors.gan import Prior
from gan_inpaint.runtime.memory import free_memory, is_out_of_memory

_logger = logging.getLogger(__name__)


@dataclass
class ImageBatch:
    """Images that are searched together.

    Attributes:
        images: ``(B, C, H, W)`` in [-1, 1]; pixels in the hole are ignored.
        known: ``(B, 1, H, W)`` bool, 1 = observed pixel.
        numbers: the images' numbers in a job, from 0.
        names: the images' names.
        condition: ``(B, n, d)``: what they show, of which the best of n is searched for; zeros and
            None: unknown.
        unread: number, name and reason of images that cannot be read.
    """

    images: Tensor
    known: Tensor
    numbers: Sequence[int] = ()
    names: Sequence[str] = ()
    unread: Sequence[tuple[int, str, str]] = field(default_factory=tuple)
    condition: Tensor | None = None


class LatentReconstruction(pl.LightningModule):
    """Searches the latent space of a prior for the codes that fit the known pixels.

    ``dict(named_parameters())`` is exactly ``{"z": ...}``: the prior's weights are buffers. One
    ``training_step`` is the whole search for one batch, see ``LatentOptimization``; every batch
    starts afresh. If memory runs out, the search continues with half as many images at once.

    Callbacks may have further hooks besides Lightning's: ``on_search_phase(module, phase)`` before
    the ``guide`` and the ``starts`` are made, ``on_search_start(module)`` before the first step for
    a batch, ``on_search_update(module)`` after every step, and ``on_search_step(module)`` after
    every ``steps_per_look`` steps. In ``on_train_batch_end`` the batch's ``result`` is available.

    Source: Yeh et al., CVPR 2017.

    Args:
        prior: generates the images; frozen.
        config: how to search.
        steps_per_look: z updates between two rows of ``history``, and between two callbacks.
        groups: number of conditions for each image; each has ``restarts`` rows of its own.
        tick: called often while the guide is fitted, if it must be.

    Attributes:
        z: ``(R, nz)``, one row per restart searched at once; a smaller batch uses the first rows.
        search: the search for the current batch.
        batch: the current batch.
        result: of the last batch, on the CPU.
        completions: ``(B, restarts, C, H, W)``, the generated image of every restart, on the CPU.
        images_at_once: number of images searched together.
        steps: updates per restart, at most.
    """

    search: LatentOptimization
    batch: ImageBatch
    result: Result
    completions: Tensor

    def __init__(
        self,
        prior: Prior,
        config: SearchConfig,
        steps_per_look: int = 10,
        groups: int = 1,
        tick: Callable[[], None] | None = None,
    ):
        super().__init__()
        self.automatic_optimization = False
        if config.lam and prior.discriminator is None:
            raise InputError(
                f"lam={config.lam}: the prior {prior.name} has no discriminator; name one with"
                " discriminator=, or set lam=0"
            )
        config = config.resolved(prior)
        assert config.steps is not None
        self.steps = config.steps
        self.prior, self.config, self.steps_per_look = prior, config, steps_per_look
        self._fast = prior.reduced() if config.precision == "bf16" else prior
        self._initializer = make_initializer(prior, config)
        self._guide = (
            Guide(prior, config, tick or (lambda: None)) if config.guide != "none" else None
        )
        self.images_at_once = max(1, config.images_at_once // groups)
        self.rows_per_image = config.restarts * groups
        self.z = nn.Parameter(torch.zeros(self.images_at_once * self.rows_per_image, prior.nz))
        # every process has the same frozen weights: DDP must not broadcast them at each step,
        # which would force all processes to make equally many steps
        self._ddp_params_and_buffers_to_ignore = [name for name, _ in self.named_buffers()]

    def configure_optimizers(self) -> None:
        """None: every batch has its own optimizer over its rows of z."""

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Search for the images of a batch, in parts if memory runs out."""
        if not len(batch.images):  # none of them could be read
            return
        parts, first = [], 0
        while first < len(batch.images):
            part = slice(first, first + self.images_at_once)
            condition = None if batch.condition is None else batch.condition[part]
            searched = self._search_or_none(batch.images[part], batch.known[part], condition)
            if searched is None:
                self._halve_images_at_once(len(batch.images[part]))
                continue
            parts.append(searched)
            first = part.stop
        self.result = Result.cat([result for result, _ in parts])
        self.completions = torch.cat([completions for _, completions in parts])

    def _search_or_none(
        self, images: Tensor, known: Tensor, condition: Tensor | None
    ) -> tuple[Result, Tensor] | None:
        """None if memory ran out; the caller frees it, after the error's frames are gone."""
        try:
            return self._search(images, known, condition)
        except Exception as problem:
            if not is_out_of_memory(problem):
                raise
            return None

    def _search(
        self, images: Tensor, known: Tensor, condition: Tensor | None
    ) -> tuple[Result, Tensor]:
        self.batch, config, originals = ImageBatch(images, known), self.config, (images, known)
        if condition is None and self.prior.encoder:
            condition = torch.zeros(len(images), 1, self.prior.encoder.dim)
        if condition is not None:  # an image under another condition is searched as another image
            groups = condition.shape[1]
            images, known = (t.repeat_interleave(groups, dim=0) for t in originals)
            condition = condition.flatten(0, 1).to(images.device)
        self._call("on_search_phase", "guide")
        weight = known.float()
        if config.weighting == "yeh":
            weight = importance_weights(known, config.window)
        guide = self._guide(images, known, condition) if self._guide else None
        # rows of the parameter, changed in place
        z = self.z.detach()[: len(images) * config.restarts].requires_grad_()
        self._call("on_search_phase", "starts")
        with torch.no_grad():
            starts = self._initializer(images, known, weight, guide, condition)
            z.copy_(starts.codes)
        condition, curvature = starts.condition, starts.inverse_curvature
        self.search = LatentOptimization(
            self.prior, self._fast, images, weight, z, config, known, guide, condition, curvature
        )
        self._call("on_search_start")
        more = True
        while more:
            more = self.search.advance(self.steps_per_look, lambda: self._call("on_search_update"))
            row = self.search.history[-1]
            for logger in self.loggers:
                means = {key: value for key, value in row.items() if key != "step"}
                logger.log_metrics(means, step=int(row["step"]))
            self._call("on_search_step")
        state, history = self.search.finish(), self.search.history
        return make_result(self.prior, *originals, state, history, config, condition)

    @torch.no_grad()
    def best_images(self, count: int | None = None) -> Tensor:
        """``(B, C, H, W)`` on the CPU: the best so far, with the known pixels unchanged.

        Before the first step, the images of the first starts.

        Args:
            count: only so many images of the batch.
        """
        images, known = self.batch.images[:count], self.batch.known[:count]
        objective = self.search.state.objective.view(-1, self.rows_per_image)[: len(images)]
        first = torch.arange(len(images), device=objective.device) * self.rows_per_image
        rows = first + objective.argmin(dim=1)
        generated = self.prior.decode(self.search.state.z[rows], self.search.condition_of(rows))
        return torch.where(known, images, generated).cpu()

    def _call(self, hook: str, *arguments: str) -> None:
        for callback in self.trainer.callbacks:  # type: ignore[attr-defined]
            method: Any = getattr(callback, hook, None)
            if method is not None:
                method(self, *arguments)

    def _halve_images_at_once(self, images: int) -> None:
        free_memory()
        spent = f"batch_size={images * self.rows_per_image}: out of memory"
        if images == 1:
            raise InputError(f"{spent} on one image; set fewer restarts")
        self.images_at_once = (images + 1) // 2
        rows = self.images_at_once * self.rows_per_image
        _logger.warning("%s; continuing with batch_size=%d", spent, rows)
