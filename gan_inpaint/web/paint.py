"""Paint over what is missing in a photograph, in a notebook."""

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from gan_inpaint.data.images import open_image, to_rgb
from gan_inpaint.errors import InputError
from gan_inpaint.functional.shapes import Box, centered_box
from gan_inpaint.web.photographs import preview_of

if TYPE_CHECKING:
    from gan_inpaint.web.widget import PaintWidget


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
    try:
        from gan_inpaint.web.widget import PaintWidget
    except ImportError:
        raise InputError("paint needs pip install 'gan_inpaint[widget]'") from None
    image = photograph if isinstance(photograph, Image.Image) else open_image(Path(photograph))
    frame = box or centered_box((0, 0, *image.size), 1)
    return PaintWidget(
        picture=preview_of(to_rgb(image, "white")),
        width=image.width,
        height=image.height,
        box=list(frame),
    )
