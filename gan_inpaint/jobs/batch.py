"""A batch of a reconstruction job."""

from collections.abc import Sequence
from dataclasses import dataclass

from gan_inpaint.data.photographs import Photograph
from gan_inpaint.inversion.lightning_module import ImageBatch


@dataclass
class JobBatch(ImageBatch):
    """A batch of a job.

    Attributes:
        photographs: the images as they are in their files, where the job restores those; None
            where they would take too much memory.
    """

    photographs: Sequence[Photograph | None] = ()
