"""Run a reconstruction job: read batches, report progress, write results."""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gan_inpaint.data.datasets import Folder
from gan_inpaint.data.image_files import ImageFiles
from gan_inpaint.data.images import to_float
from gan_inpaint.data.loading import Source
from gan_inpaint.data.masks import looks_inverted, validate_mask
from gan_inpaint.data.photographs import (
    Photograph,
    read_photograph,
    unique_names,
    write_hole,
    write_photograph,
)
from gan_inpaint.errors import InputError
from gan_inpaint.evaluation.measure import Measure
from gan_inpaint.functional.shapes import as_size
from gan_inpaint.inversion.result import Result
from gan_inpaint.jobs.batch import JobBatch
from gan_inpaint.jobs.conditions import JobConditions
from gan_inpaint.jobs.results import JobResults
from gan_inpaint.reporting.progress import Bar
from gan_inpaint.runtime.seeding import numpy_rng
from gan_inpaint.runtime.signals import defer_signals

Mask = Callable[..., Tensor]

_logger = logging.getLogger(__name__)
_KEPT_PHOTOGRAPHS = 2**28  # bytes of decoded photographs that a batch keeps until they are filled


class JobBatches(Dataset[JobBatch]):
    """Batches of a job's images with their masks, read one ahead while the search runs.

    Args:
        source: of the images.
        mask: makes an image's mask, see ``data.masks``.
        indices: of the job's images in ``source``.
        batches: numbers of the images in the job, batch by batch.
        seed: of random masks.
        shape: ``(C, H, W)`` of an image.
        conditions: of the images, if the prior is conditional.
    """

    def __init__(
        self,
        source: Source,
        mask: Mask,
        indices: Sequence[int],
        batches: Sequence[Sequence[int]],
        seed: int,
        shape: tuple[int, int, int],
        conditions: JobConditions | None = None,
    ):
        self.conditions = conditions
        self.source, self.mask, self.indices = source, mask, indices
        self._batches, self._seed, self._shape = batches, seed, shape
        self._reader = ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[JobBatch]] = {}

    @property
    def images(self) -> int:
        """How many images are left to do."""
        return sum(map(len, self._batches))

    def share(self, process: int, processes: int, broadcast: Callable[[Any], Any]) -> None:
        """Keep only one process's batches: every ``processes``-th, starting at ``process``.

        Shorter shares end with an empty batch, because Lightning needs equally many on each.

        Args:
            broadcast: returns the first process's value on all: only that one has read which
                images are done.
        """
        batches = broadcast(self._batches)
        padding: list[Sequence[int]] = [[]] * (-len(batches) % processes)
        self._batches = [*batches, *padding][process::processes]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, number: int) -> JobBatch:
        batch = self._ahead.pop(number, None) or self._reader.submit(self._read, number)
        if number + 1 < len(self):
            self._ahead[number + 1] = self._reader.submit(self._read, number + 1)
        return batch.result()

    def run_on_reader(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Call a function on the thread that reads files: archives are not thread-safe."""
        return self._reader.submit(function, *arguments).result()

    def photograph(self, image: int) -> Photograph:
        """Read an image's photograph again, by its number in the job."""
        assert isinstance(self.source, ImageFiles)
        index = self.indices[image]
        rng = self._rng(self.source.names[index])
        return read_photograph(self.source, index, self.mask, rng)[2]

    def _read(self, number: int) -> JobBatch:
        numbers, names, images, known, unread = [], [], [], [], []
        photographs: list[Photograph | None] = []
        room = _KEPT_PHOTOGRAPHS
        for image in self._batches[number]:
            index = self.indices[image]
            name = self.source.names[index]
            try:
                pixels, mask, photograph = self._read_image(index, name)
                validate_mask(mask, f"the mask of {name}")
            except InputError as problem:
                unread.append((image, name, str(problem)))
                continue
            if photograph and photograph.outside:
                _logger.warning(
                    "%s: %.0f %% of its hole lies outside the crop and is left unfilled; adjust"
                    " data.box",
                    name,
                    100 * photograph.outside,
                )
            room -= photograph.nbytes if photograph else 0
            keep = room > 0 and isinstance(self.source, Folder)
            numbers.append(image)
            names.append(name)
            images.append(to_float(pixels))
            known.append(mask)
            photographs.append(photograph if keep else None)
        none = torch.empty(0, *self._shape)
        batch = JobBatch(
            torch.stack(images) if images else none,
            torch.stack(known) if known else none[:, :1].bool(),
            numbers,
            names,
            unread,
            photographs=photographs,
        )
        if self.conditions:
            own = [self.indices[number] for number in numbers]
            batch.condition = self.conditions.vectors(own)
            batch.shown = [self.conditions.words(index) for index in own]
        return batch

    def _read_image(self, index: int, name: str) -> tuple[np.ndarray, Tensor, Photograph | None]:
        """An image's bytes ``(C, H, W)``, its mask, and its photograph if it has one."""
        if isinstance(self.source, ImageFiles):
            return read_photograph(self.source, index, self.mask, self._rng(name))
        pixels = self.source[index]
        return pixels, self.mask(as_size(*pixels.shape[1:]), self._rng(name), name), None

    def _rng(self, name: str) -> np.random.Generator:
        return numpy_rng("mask", self._seed, name)


class SearchProgress(pl.Callback):
    """Moves a progress bar during the search.

    Args:
        bar: its total is images times steps.
        images: the number of images to search for.
    """

    def __init__(self, bar: Bar, images: int):
        self._bar, self._images, self._done = bar, images, 0
        self._processes = 1

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._processes = trainer.world_size  # all are assumed to be as far as this one

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        if len(batch.images):
            row = pl_module.search.history[-1]
            updates = self._done * pl_module.steps + len(batch.images) * row["step"]
            done = min(self._processes * self._done, self._images)
            self._bar.show(self._processes * updates, row, f"{done}/{self._images} images")
        if not batch.again:
            self._done += len(batch.images) + len(batch.unread)


class ResultWriter(pl.Callback):
    """Writes the results of every batch: tables, images, the user's photographs.

    Args:
        directory: the job's.
        results: collects the results.
        measure: measures them.
        batches: the job's.
        mask_name: the name of the mask's config.
        announce: called once, with a sentence on the first masks.
    """

    def __init__(
        self,
        directory: Path,
        results: JobResults,
        measure: Measure,
        batches: JobBatches,
        mask_name: str | None,
        announce: Callable[[str], None],
    ):
        self._directory, self._results, self._measure = directory, results, measure
        self._batches, self._mask_name, self._announce = batches, mask_name, announce
        self._started: float | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._started is not None:  # another look at the same batch
            return
        for unread in batch.unread:
            self._results.add_unread(*unread)
        if len(batch.images) and not self._results.searched:
            self._announce(f"mask: {self._mask_name}, {missing_in_words(batch.known)}")
        self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: object, batch: Any, batch_idx: int
    ) -> None:
        if batch.again or self._started is None:
            return
        took, self._started = time.perf_counter() - self._started, None
        if not len(batch.images):
            return
        self._batches.run_on_reader(self._restore, batch, pl_module.result)
        with defer_signals():  # after the photographs: a resume skips images that are recorded
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

    @cached_property
    def _names(self) -> list[str]:
        """The photographs' names to write under; made once, for all of the source."""
        return unique_names(self._batches.source.names)

    def _restore(self, batch: JobBatch, result: Result) -> None:
        """Write the user's own photographs, filled at their own size.

        The best goes to ``restored``, further completions to ``restored_alternatives``, the holes
        to ``restored_holes``.
        """
        source, indices = self._batches.source, self._batches.indices
        if not isinstance(source, Folder):
            return
        for row, (number, kept) in enumerate(zip(batch.numbers, batch.photographs, strict=True)):
            index = indices[number]
            name = self._names[index]
            places = {f"restored/{name}": result.generated[row]}
            for rank, completion in enumerate(result.completions[row][1:], start=1):
                places[f"restored_alternatives/{name}_{rank}"] = completion
            try:
                photograph = kept or self._batches.photograph(number)
                for place, filling in places.items():
                    with photograph.filled(filling, self._measure.blend) as filled:
                        write_photograph(self._directory, place, filled)
                write_hole(self._directory, f"restored_holes/{name}", photograph)
            except (InputError, OSError, ValueError) as problem:  # one odd file loses no job
                _logger.warning("not restored: %s: %s", source.names[index], problem)


def missing_in_words(known: Tensor) -> str:
    """How much of the images is missing, in words: shows at once if the polarity is wrong."""
    shares = 100 * (~known).float().mean(dim=(1, 2, 3))
    least, most = f"{shares.min():.0f}", f"{shares.max():.0f}"
    words = f"{least if least == most else f'{least} to {most}'} % of the pixels missing"
    if any(looks_inverted(mask[0].numpy()) for mask in known.cpu()):
        words += (
            "; only one region inside the hole is known: if that is what is missing, set"
            " mask.invert=true"
        )
    return words
