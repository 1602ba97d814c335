"""The painter as a Jupyter widget, for notebooks (extra ``widget``)."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gan_inpaint.data.images import open_image, to_rgb
from gan_inpaint.data.mask_files import read_hole, resize_mask
from gan_inpaint.errors import InputError
from gan_inpaint.functional.shapes import Box, centered_box
from gan_inpaint.web.photographs import preview_of

try:
    import anywidget
    import traitlets
except ImportError:
    raise InputError("paint needs pip install 'gan_inpaint[widget]'") from None

_STATIC = Path(__file__).parent / "static"


def paint(photograph: str | Path | Image.Image, box: Box | None = None) -> "PaintWidget":
    """Show a photograph in a notebook, to paint over what is missing.

    Args:
        photograph: a file, or a Pillow image.
        box: left, top, right, bottom of a square: the first frame; the centred one by default.

    Returns:
        The widget; show it as the last value of a cell. Its ``mask`` and ``box`` are what
        ``Photograph.from_mask`` takes.

    Raises:
        InputError: the photograph cannot be read, or the extra ``widget`` is not installed.
    """
    image = photograph if isinstance(photograph, Image.Image) else open_image(Path(photograph))
    frame = box or centered_box((0, 0, *image.size), 1)
    return PaintWidget(
        picture=preview_of(to_rgb(image, "white")),
        width=image.width,
        height=image.height,
        box=list(frame),
    )


class PaintWidget(anywidget.AnyWidget):
    """A photograph that can be painted over.

    Attributes:
        box: left, top, right and bottom of the frame, in the photograph's pixels.
        painted: the mask as a PNG, white = missing; empty before the first stroke.
    """

    _esm = (_STATIC / "painter.js").read_text("utf-8") + (_STATIC / "widget.js").read_text("utf-8")
    _css = (_STATIC / "widget.css").read_text("utf-8")
    picture: Any = traitlets.Bytes().tag(sync=True)
    width: Any = traitlets.Int().tag(sync=True)
    height: Any = traitlets.Int().tag(sync=True)
    box: Any = traitlets.List().tag(sync=True)
    painted: Any = traitlets.Bytes().tag(sync=True)

    @property
    def mask(self) -> np.ndarray:
        """``(height, width)`` bool of the photograph, 1 = missing."""
        if not self.painted:
            return np.zeros((self.height, self.width), bool)
        hole = read_hole(Image.open(io.BytesIO(bytes(self.painted))), "mask")
        return resize_mask(hole, (self.width, self.height))
