"""All that the page works with: photographs, priors, jobs. Thread-safe; knows no HTTP."""

import zipfile
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from threading import Lock

from PIL import Image

from gan_inpaint.data.boxes import write_boxes
from gan_inpaint.errors import InputError
from gan_inpaint.priors.face_detection import propose
from gan_inpaint.web.jobs import Job
from gan_inpaint.web.photographs import Album, Opened, new_id, open_photograph, png
from gan_inpaint.web.priors import Priors
from gan_inpaint.web.request import FillRequest, Refused

_KEPT = 8  # jobs, with their photographs


class Busy(Exception):
    """A search is running already."""


class Studio:
    """Photographs, priors and jobs of one page.

    Args:
        folder: for filled photographs; temporary.
        prior: the one that the page selects.
        changed: called after every event of a job, from its thread.
    """

    def __init__(self, folder: Path, prior: str, changed: Callable[[], object]):
        self._folder, self._changed = folder, changed
        self.priors, self.album = Priors(prior), Album()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._lock = Lock()
        # one thread for all: the C library keeps freed memory apart for every thread
        self._thread = ThreadPoolExecutor(1, "search")

    def open(self, name: str, content: bytes, prior: str | None = None) -> Opened:
        """Decode a photograph and propose frames in it.

        Args:
            prior: id of the one whose samples say how a face is framed; the first one by default.

        Raises:
            InputError: it is not an image.
        """
        name, image, preview = open_photograph(name, content)
        listed = self.priors.listed()
        chosen = prior or next(one["id"] for one in listed if one["selected"])
        proposal = propose(image, self.priors.load(chosen))
        opened = Opened(new_id(), name, content, image, proposal, preview=preview)
        self.album.add(opened)
        return opened

    def open_example(self, prior: str | None = None) -> Opened:
        """Open the astronaut's portrait of scikit-image.

        Raises:
            InputError: scikit-image is not installed.
        """
        try:
            from skimage.data import astronaut
        except ImportError:
            raise InputError("the example needs pip install 'gan_inpaint[app]'") from None
        return self.open("astronaut.png", png(Image.fromarray(astronaut())), prior)

    def start(self, content: bytes) -> Job:
        """Begin a search.

        Raises:
            InputError: the request is invalid.
            Busy: another one is running.
        """
        request = FillRequest.parse(content)
        try:
            opened = self.album.get(request.photograph)
        except KeyError:
            raise Refused("photograph: it is gone; open it again", "photograph") from None
        _check(request, opened)
        source = self.priors.source(request.prior)
        with self._lock:
            if any(job.running for job in self._jobs.values()):
                raise Busy
            job = Job(  # raises if the frame holds nothing known, or nothing missing
                request,
                opened,
                source,
                lambda: self.priors.load(request.prior),
                self._folder,
                self._changed,
            )
            self._jobs[job.id] = job
            while len(self._jobs) > _KEPT:
                self._jobs.popitem(last=False)[1].forget()
            self._thread.submit(job.run)
        return job

    def job(self, identity: str) -> Job:
        """The job with this id.

        Raises:
            KeyError: there is none.
        """
        return self._jobs[identity]

    def bundle(self, identities: list[str], blend: str) -> bytes:
        """A zip of several jobs: photographs, masks, boxes, a command for all, the results."""
        jobs = [self.job(identity) for identity in identities]
        names = _distinct([job.name for job in jobs])
        file = BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as bundle:
            for name, job in zip(names, jobs, strict=True):
                best = job.filled(0, blend)
                bundle.writestr(f"photographs/{name}", job.content)
                bundle.writestr(f"masks/{Path(name).stem}.png", job.mask())
                bundle.write(best, f"restored/{Path(name).stem}{best.suffix}")
            boxes = [(name, job.photograph.box) for name, job in zip(names, jobs, strict=True)]
            bundle.writestr("boxes.csv", write_boxes(boxes))
            bundle.writestr("command.txt", jobs[0].command_for_all(blend) + "\n")
        return file.getvalue()

    def close(self) -> None:
        """Stop what is running."""
        for job in list(self._jobs.values()):
            job.cancel()
        self._thread.shutdown()


def _check(request: FillRequest, opened: Opened) -> None:
    left, top, right, bottom = request.box
    width, height = opened.image.size
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise Refused(f"frame: it must lie within {width}x{height} pixels", "box")
    if opened.mask is None or not opened.mask.any():
        raise Refused("mask: nothing is painted; paint over what is missing", "mask")


def _distinct(names: list[str]) -> list[str]:
    """The names, numbered where their stems repeat.

    Example:
        >>> _distinct(["a.png", "a.jpg", "b.png"])
        ['a.png', 'a_2.jpg', 'b.png']
    """
    taken, found = set[str](), []
    for name in names:
        stem, suffix, number = Path(name).stem, Path(name).suffix, 1
        while (one := stem if number == 1 else f"{stem}_{number}") in taken:
            number += 1
        taken.add(one)
        found.append(f"{one}{suffix}")
    return found
