"""Searches of the page: one at a time, on a thread, with events that the page follows."""

import base64
import io
import logging
import math
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gan_inpaint.data.images import to_float, to_uint8
from gan_inpaint.data.photographs import Photograph, write_photograph
from gan_inpaint.errors import InputError
from gan_inpaint.functional.metrics import explained_share
from gan_inpaint.functional.weighting import importance_weights
from gan_inpaint.inversion.pipeline import inpaint
from gan_inpaint.inversion.progress import Cancelled, Progress
from gan_inpaint.inversion.result import Result
from gan_inpaint.priors.prior import Prior
from gan_inpaint.runtime.memory import free_memory, is_out_of_memory
from gan_inpaint.web.photographs import Opened, mask_png, new_id, png
from gan_inpaint.web.request import FillRequest, Refused

_CARD = 512  # pixels of a card
_UNSURE = 0.5  # standard deviation that is drawn in full, for images in [-1, 1]
_UNSURE_COLOUR = (255, 90, 0)
_EVERY = 0.1  # seconds between two progress events
_FITS = 0.75  # explained share around the hole: all framed faces of benchmarks/frames.py have more

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Event:
    """What happened to a job.

    Attributes:
        number: from 1, in order.
        kind: ``phase``, ``progress``, ``done``, ``failed`` or ``cancelled``; the last three end it.
        data: plain values for the page.
    """

    number: int
    kind: str
    data: dict[str, Any]

    @property
    def last(self) -> bool:
        """Whether no other follows."""
        return self.kind in ("done", "failed", "cancelled")


class Job:
    """A search for one photograph, and the pictures of its result.

    Args:
        request: what the page asked for.
        opened: the photograph as it is now; a later mask does not change the job.
        source: what ``prior=`` takes.
        load: loads the prior.
        folder: for the filled photographs.
        changed: called from the job's thread after every event.
    """

    def __init__(
        self,
        request: FillRequest,
        opened: Opened,
        source: str,
        load: Callable[[], Prior],
        folder: Path,
        changed: Callable[[], object],
    ):
        assert opened.mask is not None
        self.id = new_id()
        self.request, self.source, self.events = request, source, list[Event]()
        self._opened, self._mask, self._load = opened, opened.mask, load
        self._folder, self._changed = folder / self.id, changed
        left, top, right, bottom = request.box
        self.photograph = Photograph.from_mask(
            opened.image, (left, top, right, bottom), opened.mask
        )
        if not self.photograph.hole.any():
            raise Refused("mask: what is painted lies outside the frame", "mask")
        if self.photograph.hole.all():
            raise Refused("mask: everything in the frame is painted; leave something", "mask")
        self._kind: str | None = None  # of the prior's encoder
        self._result: Result | None = None
        self._cancel = threading.Event()
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """Ask it to stop; the events say when it has."""
        self._cancel.set()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not (self.events and self.events[-1].last)

    def forget(self) -> None:
        """Remove its files."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self) -> None:
        """Search, and publish what happens; never raises."""
        try:
            self._publish("phase", {"phase": "prior"})
            prior = self._load()
            self._kind = prior.encoder.kind if prior.encoder else None
            self._result = self._search(prior)
            self._publish("done", self._describe())
        except Cancelled:
            self._publish("cancelled", {})
        except InputError as problem:
            self._publish("failed", {"error": str(problem)})
        except Exception as problem:
            if is_out_of_memory(problem):
                sentence = "out of memory: choose quick, fewer completions or a smaller photograph"
            else:
                _logger.exception("the search failed")
                sentence = "an unexpected error, a bug: please report what the terminal shows"
            self._publish("failed", {"error": sentence})
        free_memory()  # the page may stay open for days

    def _search(self, prior: Prior) -> Result:
        size, channels = prior.resolution, prior.channels
        try:
            pixels, known = self.photograph.crop(size, channels, self.name)
        except InputError:
            if channels == 3:
                raise
            raise InputError(
                f"{self.name}: a colour photograph, but the prior knows grey images only; choose"
                " another prior"
            ) from None
        if not known.any():
            raise InputError(
                f"mask: at the prior's {size} pixels nothing known is left; paint less of it"
            )
        self._known = known[None]
        shown, phase = 0.0, ""

        def follow(progress: Progress) -> None:
            nonlocal shown, phase
            if self._cancel.is_set():
                raise Cancelled
            if progress.phase != phase:
                phase = progress.phase
                self._publish("phase", {"phase": phase})
            if progress.images and time.monotonic() - shown >= _EVERY:
                shown = time.monotonic()
                picture = base64.b64encode(png(_picture(progress.images()[0]))).decode()
                self._publish(
                    "progress",
                    {
                        "step": progress.step,
                        "steps": progress.steps,
                        "objective": progress.objective,
                        "image": f"data:image/png;base64,{picture}",
                    },
                )

        return inpaint(
            to_float(pixels)[None],
            known[None],
            prior,
            self.request.search_config(),
            condition=self.request.told(self._kind),
            progress=follow,
        )

    def _publish(self, kind: str, data: dict[str, Any]) -> None:
        finite = {  # JSON knows no others
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in data.items()
        }
        self.events.append(Event(len(self.events) + 1, kind, finite))
        self._changed()

    def _describe(self) -> dict[str, Any]:
        """What the page is told of the result."""
        result = self.result
        weight = importance_weights(self._known, self.request.search_config().window)
        share = explained_share(result.images, result.generated, weight).item()
        return {
            "completions": result.completions.shape[1],
            "objective": result.objective.item(),
            "restarts": len(result.rows.objective),
            "steps": int(result.steps.item()),
            "explained": share,
            "fits": not share < _FITS,  # nan: no contrast, so nothing can be said
            "commands": {blend: self.command(blend) for blend in ("poisson", "none")},
        }

    @property
    def result(self) -> Result:
        """Of the search.

        Raises:
            KeyError: there is none, or not yet.
        """
        if self._result is None:
            raise KeyError("result")
        return self._result

    @property
    def name(self) -> str:
        """The photograph's file name."""
        return self._opened.name

    @property
    def content(self) -> bytes:
        """The photograph's file."""
        return self._opened.content

    @property
    def mask_name(self) -> str:
        """The mask's file name."""
        return f"{Path(self.name).stem}_mask.png"

    def command(self, blend: str) -> str:
        """The shell command that does the same."""
        box = f"data.box=[{','.join(map(str, self.request.box))}]"
        files = self.name, self.mask_name
        return self.request.command(self.source, self._kind, *files, box, blend)

    def command_for_all(self, blend: str) -> str:
        """The same for a folder of photographs, with a table of boxes and a folder of masks."""
        boxes = "data.boxes=boxes.csv"
        command = self.request.command(
            self.source, self._kind, "photographs", "masks", boxes, blend
        )
        restarts = self.request.search_config().restarts
        return f"{command} batch_size={restarts}"  # one by one, as here: larger batches round apart

    def completion(self, rank: int, blend: str) -> bytes:
        """A completion of the box as a PNG of at most 512 pixels."""
        generated = self.result.completions[0][_checked(rank, self.request.keep)]
        return png(self._small.fill(generated, blend))

    def damaged(self) -> bytes:
        """The box as it was."""
        return png(self._small.image)

    def unsure(self) -> bytes:
        """Where the restarts differ: opaque where their standard deviation is large."""
        spread = self.result.spread[:1]
        height, width = self._small.hole.shape
        larger = torch.nn.functional.interpolate(spread, (height, width), mode="bilinear")
        share = (larger[0, 0] / _UNSURE).clamp(0, 1).numpy() * self._small.hole
        rgba = np.zeros((height, width, 4), np.uint8)
        rgba[..., :3], rgba[..., 3] = _UNSURE_COLOUR, (share * 255).round()
        return png(Image.fromarray(rgba))

    def mask(self) -> bytes:
        """The mask as it was painted, white = missing."""
        return mask_png(self._mask)

    def filled(self, rank: int, blend: str) -> Path:
        """The photograph with its hole filled, at its own size, as a file; made once."""
        generated = self.result.completions[0][_checked(rank, self.request.keep)]
        folder = self._folder / f"{rank}_{blend}"
        with self._lock:
            if not folder.is_dir() or not any(folder.iterdir()):
                filled = self.photograph.fill(generated, blend)
                write_photograph(folder, Path(self.name).stem, filled)
        return next(path for path in folder.iterdir() if path.suffix in (".png", ".tif"))

    def bundle(self, blend: str) -> bytes:
        """A zip: the photograph, the mask, the command, the best completion."""
        best = self.filled(0, blend)
        file = io.BytesIO()
        with ZipFile(file, "w", ZIP_STORED) as bundle:
            bundle.writestr(self.name, self._opened.content)
            bundle.writestr(self.mask_name, self.mask())
            bundle.writestr("command.txt", self.command(blend) + "\n")
            bundle.write(best, f"restored/{best.name}")
        return file.getvalue()

    @cached_property
    def _small(self) -> Photograph:
        return self.photograph.reduced(_CARD)


def _checked(rank: int, count: int) -> int:
    if not 0 <= rank < count:
        raise KeyError("completion")
    return rank


def _picture(image: Tensor) -> Image.Image:
    pixels = to_uint8(image)
    return Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
