"""The search as a LightningModule whose only parameter is z; one fit serves many batches."""

import logging
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from gan_inpaint.errors import InputError
from gan_inpaint.functional.weighting import importance_weights
from gan_inpaint.guide.estimates import Guide
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.initializers import make_initializer
from gan_inpaint.inversion.optimize import LatentOptimization, make_optimizer
from gan_inpaint.inversion.result import Result, make_result
from gan_inpaint.priors.prior import Prior
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
        shown: the images' conditions in words.
        again: how often a loader yields this batch again, see ``LatentReconstruction``.
    """

    images: Tensor
    known: Tensor
    numbers: Sequence[int] = ()
    names: Sequence[str] = ()
    unread: Sequence[tuple[int, str, str]] = field(default_factory=tuple)
    condition: Tensor | None = None
    shown: Sequence[str] = ()
    again: int = 0


class LatentReconstruction(pl.LightningModule):
    """Searches the latent space of a prior for the codes that fit the known pixels.

    ``dict(named_parameters())`` is exactly ``{"z": ...}``: the prior's weights are buffers. One
    ``training_step`` makes ``steps_per_look`` updates of the codes of a batch, see
    ``LatentOptimization``, and logs its losses. ``dataloader`` yields each batch as often as its
    search needs; from any other loader, a batch's whole search is one ``training_step``. Every
    batch starts afresh, with a fresh optimizer. If memory runs out, the search goes on with half as
    many images at once.

    Callbacks may use all of Lightning's hooks: ``on_before_optimizer_step`` comes once an update,
    when the codes have been evaluated and before they move, ``on_train_batch_end`` once a look.

    Source: Yeh et al., CVPR 2017.

    Args:
        prior: generates the images; frozen.
        config: how to search; ``SearchConfig()`` by default.
        steps_per_look: updates of z in one ``training_step``.
        groups: number of conditions for each image; each has ``restarts`` rows of its own.
        on_phase: called with ``guide`` before the holes are estimated, and often while the guide is
            fitted, if it must be; with ``starts`` before the starts are chosen.

    Attributes:
        z: ``(R, nz)``, one row per restart searched at once; a smaller batch uses the first rows.
        search: the search for the current images.
        batch: the current images.
        result: of the last batch, on the CPU, from its last ``training_step`` until the next
            batch's first; else None.
        completions: ``(B, restarts, C, H, W)``, the generated image of every restart, likewise.
        images_at_once: number of images searched together.
        steps: updates per restart, at most.

    Raises:
        InputError: the prior does not fit the config.

    Example:
        >>> import gan_inpaint
        >>> prior = gan_inpaint.load_prior("digits")
        >>> known = torch.ones(2, 1, 32, 32).bool(); known[..., 8:24, 8:24] = False
        >>> batch = gan_inpaint.ImageBatch(prior.sample(2, seed=0), known)
        >>> module = LatentReconstruction(prior, SearchConfig(steps=2))
        >>> quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False)
        >>> trainer = pl.Trainer(max_epochs=1, enable_model_summary=False, **quiet)
        >>> trainer.fit(module, module.dataloader([batch]))
        >>> module.result.images.shape
        torch.Size([2, 1, 32, 32])
    """

    search: LatentOptimization
    batch: ImageBatch
    _found: tuple[Result, Tensor] | tuple[None, None]

    def __init__(
        self,
        prior: Prior,
        config: SearchConfig | None = None,
        steps_per_look: int = 10,
        groups: int = 1,
        on_phase: Callable[[str], None] | None = None,
    ):
        super().__init__()
        self.automatic_optimization = False
        config = (config or SearchConfig()).resolved(prior)
        if config.lam and prior.discriminator is None:
            raise InputError(
                f"lam={config.lam}: the prior {prior.name} has no discriminator; name one with"
                " discriminator=, or set lam=0"
            )
        assert config.steps is not None
        self.prior, self.config, self.steps = prior, config, config.steps
        self.steps_per_look = steps_per_look
        self._on_phase = on_phase or (lambda phase: None)
        self._fast = prior.reduced() if config.precision == "bf16" else prior
        self._initializer = make_initializer(prior, config)
        tick = partial(self._on_phase, "guide")
        self._guide = None
        if config.guide != "none":
            self._guide = Guide(
                prior, config.guide, config.restarts, config.guide_temperature, config.seed, tick
            )
        self.images_at_once = max(1, config.images_at_once // groups)
        self.rows_per_image = config.restarts * groups
        self.z = nn.Parameter(torch.zeros(self.images_at_once * self.rows_per_image, prior.nz))
        self.result: Result | None = None
        self.completions: Tensor | None = None
        self._searching: Iterator[None] | None = None
        self._updates = 0  # of earlier batches
        # every process has the same frozen weights: DDP must not broadcast them at each step,
        # which would force all processes to make equally many steps
        self._ddp_params_and_buffers_to_ignore = [name for name, _ in self.named_buffers()]

    def dataloader(self, batches: Sequence[ImageBatch] | Dataset[ImageBatch]) -> DataLoader:
        """Yields each batch once for each look of its search, one batch after the other."""
        looks = _Looks(batches, math.ceil(self.steps / self.steps_per_look))
        own = torch.Generator()  # without it, the loader draws from the global one
        return DataLoader(looks, batch_size=None, generator=own)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Over z; each search resets it."""
        return make_optimizer(self.z, self.config)

    def on_fit_start(self) -> None:
        self._searching, self._updates = None, 0  # an earlier fit may have been interrupted

    def training_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """``steps_per_look`` updates of the codes of a batch; its result, if it is the last."""
        # else Lightning would log the last look again after a search that has ended early
        self.trainer.log_every_n_steps = 0  # type: ignore[attr-defined]
        if self._searching is None:
            self.result = self.completions = None
            self._searching = self._search_batch(batch)
        next(self._searching, None)
        if not batch.again:
            for _ in self._searching:  # more looks than were planned: memory ran out
                pass
            self.result, self.completions = self._found
            self._searching = None
            self._updates += self.steps

    def _search_batch(self, batch: ImageBatch) -> Iterator[None]:
        """Search for the images of a batch, in parts if memory runs out; pauses at every look."""
        self._found = None, None
        found, first = [], 0
        while first < len(batch.images):  # none, if they could not be read
            part = slice(first, first + self.images_at_once)
            condition = None if batch.condition is None else batch.condition[part]
            images, known = batch.images[part], batch.known[part]
            searched = yield from self._search_or_none(images, known, condition)
            if searched is None:
                self._halve_images_at_once(len(images))
                continue
            found.append(searched)
            first = part.stop
        if found:
            results, completions = zip(*found, strict=True)
            self._found = Result.cat(results), torch.cat(completions)

    def _search_or_none(
        self, images: Tensor, known: Tensor, condition: Tensor | None
    ) -> Generator[None, None, tuple[Result, Tensor] | None]:
        """None if memory ran out; the caller frees it, after the error's frames are gone."""
        try:
            return (yield from self._search(images, known, condition))
        except Exception as problem:
            if not is_out_of_memory(problem):
                raise
            return None

    def _search(
        self, images: Tensor, known: Tensor, condition: Tensor | None
    ) -> Generator[None, None, tuple[Result, Tensor]]:
        self.batch, config, originals = ImageBatch(images, known), self.config, (images, known)
        if condition is None and self.prior.encoder:
            condition = torch.zeros(len(images), 1, self.prior.encoder.dim)
        if condition is not None:  # an image under another condition is searched as another image
            groups = condition.shape[1]
            images, known = (t.repeat_interleave(groups, dim=0) for t in originals)
            condition = condition.flatten(0, 1).to(images.device)
        self._on_phase("guide")
        weight = known.float()
        if config.weighting == "yeh":
            weight = importance_weights(known, config.window)
        guide = self._guide(images, known, condition) if self._guide else None
        self._on_phase("starts")
        with torch.no_grad():
            starts = self._initializer(images, known, weight, guide, condition)
        networks, optimizer = (self.prior, self._fast), self.optimizers()
        self.search = LatentOptimization(
            *networks, images, weight, known, self.z, optimizer, starts, config, guide
        )
        while self.search.advance(self.steps_per_look):
            self._log_look()
            yield
        self._log_look()
        state, history = self.search.finish(), self.search.history
        return make_result(self.prior, *originals, state, history, config, starts.condition)

    def _log_look(self) -> None:
        """Log the means of the best so far, against the updates since the fit began."""
        row = self.search.history[-1]
        self.trainer.log_every_n_steps = 1  # type: ignore[attr-defined]
        self.log_dict(row | {"step": self._updates + row["step"]}, batch_size=1)

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

    def _halve_images_at_once(self, images: int) -> None:
        free_memory()
        spent = f"batch_size={images * self.rows_per_image}: out of memory"
        if images == 1:
            raise InputError(f"{spent} on one image; set fewer restarts")
        self.images_at_once = (images + 1) // 2
        rows = self.images_at_once * self.rows_per_image
        _logger.warning("%s; continuing with batch_size=%d", spent, rows)


class _Looks(Dataset[ImageBatch]):
    """Each batch several times in a row, read once."""

    def __init__(self, batches: Any, looks: int):
        self._batches, self._looks = batches, looks
        self._number = -1

    def __len__(self) -> int:
        return len(self._batches) * self._looks

    def __getitem__(self, index: int) -> ImageBatch:
        number, look = divmod(index, self._looks)
        if number != self._number:
            self._number, self._batch = number, self._batches[number]
        return replace(self._batch, again=self._looks - 1 - look)
