"""Run a reconstruction job: read batches, report progress, write results."""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gan_inpaint.data.datasets import Folder, ImageFiles
from gan_inpaint.data.images import to_float
from gan_inpaint.data.loading import Source
from gan_inpaint.data.mask_files import MaskFile
from gan_inpaint.data.masks import validate_mask
from gan_inpaint.data.photographs import distinct, look, restored, write_photograph
from gan_inpaint.errors import InputError
from gan_inpaint.evaluation.measure import Measure
from gan_inpaint.evaluation.results import JobResults
from gan_inpaint.inversion.lightning_module import ImageBatch, LatentReconstruction
from gan_inpaint.reporting.progress import Bar
from gan_inpaint.runtime.seeding import numpy_rng
from gan_inpaint.runtime.signals import defer_signals

Mask = Callable[..., Tensor]


class JobBatches(Dataset[ImageBatch]):
    """Batches of a job's images with their masks, read one ahead while the search runs.

    Args:
        source: of the images.
        mask: makes an image's mask, see ``masks``.
        indices: of the job's images in ``source``.
        batches: numbers of the images in the job, batch by batch.
        seed: random masks are a function of it.
        shape: ``(C, size, size)`` of an image.
    """

    def __init__(
        self,
        source: Source,
        mask: Mask,
        indices: Sequence[int],
        batches: Sequence[Sequence[int]],
        seed: int,
        shape: tuple[int, int, int],
    ):
        self.source, self.mask, self.indices = source, mask, indices
        self._batches, self._seed, self._shape = batches, seed, shape
        self._reader = ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[ImageBatch]] = {}

    def share(self, process: int, processes: int) -> "JobBatches":
        """Every so many-th batch, from that one on.

        Some processes get an empty one at the end: Lightning lets all of them make as many steps.
        """
        part = copy(self)
        none: list[Sequence[int]] = [[]] * (-len(self) % processes)
        part._batches, part._ahead = [*self._batches, *none][process::processes], {}
        return part

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> ImageBatch:
        batch = self._ahead.pop(number, None) or self._reader.submit(self._read, number)
        if number + 1 < len(self):
            self._ahead[number + 1] = self._reader.submit(self._read, number + 1)
        return batch.result()

    def apart(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Call a function between two batches: files are read by one thread."""
        return self._reader.submit(function, *arguments).result()

    def _read(self, number: int) -> ImageBatch:
        numbers, names, images, known, unread = [], [], [], [], []
        for image in self._batches[number]:
            index = self.indices[image]
            name = self.source.names[index]
            try:
                pixels, drawn = self._image_and_mask(index, name)
            except InputError as problem:
                unread.append((image, name, str(problem)))
                continue
            numbers.append(image)
            names.append(name)
            images.append(to_float(pixels))
            known.append(drawn)
        none = torch.empty(0, *self._shape)
        return ImageBatch(
            torch.stack(images) if images else none,
            torch.stack(known) if known else none[:, :1].bool(),
            numbers,
            names,
            unread,
        )

    def _image_and_mask(self, index: int, name: str) -> tuple[Any, Tensor]:
        """An image's bytes ``(C, size, size)`` and its mask."""
        if isinstance(self.mask, MaskFile) and isinstance(self.source, ImageFiles):
            pixels, known = look(self.source, index, self.mask)
        else:
            pixels = self.source[index]
            known = self.mask(pixels.shape[-1], numpy_rng("mask", self._seed, name), name)
        validate_mask(known, f"the mask of {name}")
        return pixels, known


class SearchProgress(pl.Callback):
    """Moves a progress bar as the search goes on.

    Args:
        bar: its total is images times steps.
        images: of the job.
    """

    def __init__(self, bar: Bar, images: int):
        self._bar, self._images, self._done = bar, images, 0
        self._processes = 1

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._processes = trainer.world_size  # each of which has done as much

    def on_search_step(self, module: LatentReconstruction) -> None:
        row = module.search.history[-1]
        steps, images = module.config.steps, len(module.batch.images)
        completed = self._processes * (self._done * steps + images * row["step"])
        done = min(self._processes * self._done, self._images)
        self._bar.show(completed, row, f"{done}/{self._images} images")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        self._done += len(batch.images) + len(batch.unread)


class ResultWriter(pl.Callback):
    """Writes what comes of every batch: tables, images, the user's photographs.

    Args:
        directory: of the job.
        results: takes them.
        measure: measures them.
        batches: of the job.
        mask_name: what to call the mask.
    """

    def __init__(
        self,
        directory: Path,
        results: JobResults,
        measure: Measure,
        batches: JobBatches,
        mask_name: str | None,
    ):
        self._directory, self._results, self._measure = directory, results, measure
        self._batches, self._mask_name = batches, mask_name

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        for unread in batch.unread:
            self._results.add_unread(*unread)
        if len(batch.images) and not self._results.searched:
            print(f"mask: {self._mask_name}, {missing_in_words(batch.known)}")
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        if not len(batch.images):
            return
        took = time.perf_counter() - self._started
        self._batches.apart(self._restore, batch, pl_module.result.generated)
        with defer_signals():  # last: what is recorded is not done again
            result = pl_module.result
            measured = self._measure(batch, result, pl_module.completions, pl_module.prior)
            self._results.add(batch, result, measured, took)
            self._results.save()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if trainer.world_size == 1:
            return
        if not trainer.is_global_zero:
            self._results.save(at_once=True)
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            self._results.collect()

    def _restore(self, batch: ImageBatch, generated: Tensor) -> None:
        """Write the user's own photographs, filled at their own size, to ``restored``."""
        source, mask = self._batches.source, self._batches.mask
        if not isinstance(source, Folder):
            return
        names = distinct(source.names)
        for number, known, filling in zip(batch.numbers, batch.known.cpu(), generated, strict=True):
            index = self._batches.indices[number]
            try:
                photograph = restored(source, index, mask, known, filling, self._measure.blend)
                write_photograph(self._directory / "restored", names[index], photograph)
            except (InputError, OSError, ValueError) as problem:  # one odd file loses no job
                print(f"not restored: {source.names[index]}: {problem}", file=sys.stderr)


def missing_in_words(known: Tensor) -> str:
    """How much of the images is missing: a mask of the wrong polarity is seen at once."""
    shares = 100 * (~known).float().mean(dim=(1, 2, 3))
    least, most = f"{shares.min():.0f}", f"{shares.max():.0f}"
    return f"{least if least == most else f'{least} to {most}'} % of the pixels missing"
