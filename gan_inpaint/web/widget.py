"""The painter as a Jupyter widget; importing this needs the extra ``widget``."""

import io
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from PIL import Image

from gan_inpaint.data.mask_files import read_hole, resize_mask

_STATIC = Path(__file__).parent / "static"


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
