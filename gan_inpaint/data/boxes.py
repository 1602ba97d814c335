"""Which part of a photograph is searched for: one box for all, a table of boxes, or a proposal."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from gan_inpaint.errors import InputError
from gan_inpaint.functional.shapes import Box, Size, centered_box

COLUMNS = ("file_name", "left", "top", "right", "bottom")


def checked_box(box: Any) -> Box | None:
    """``data.box``, unless it is ``auto`` or None.

    Example:
        >>> checked_box([0, 0, 10, 20])
        (0, 0, 10, 20)
    """
    if box is None or box == "auto":
        return None
    try:
        left, top, right, bottom = (int(edge) for edge in box)
        valid = [left, top, right, bottom] == list(box) and 0 <= left < right and 0 <= top < bottom
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise InputError(
            f"data.box={box}: must be [left,top,right,bottom] in whole pixels, or auto"
        )
    return left, top, right, bottom


def read_boxes(path: str) -> dict[str, Box]:
    """File name -> box, from a csv with the columns ``file_name left top right bottom``.

    Raises:
        InputError: it cannot be read; the message names the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as problem:
        raise InputError(f"data.boxes={path}: cannot be read ({problem}); check the path") from None
    reader = csv.DictReader(io.StringIO(text))
    if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
        raise InputError(
            f"{path}: has no column {missing[0]}; its first line must be {','.join(COLUMNS)}"
        )
    boxes: dict[str, Box] = {}
    for row in reader:
        name, edges = row["file_name"], [str(row[edge]).strip() for edge in COLUMNS[1:]]
        where = f"{path}, line {reader.line_num}"
        if not all(re.fullmatch(r"\d{1,9}", edge) for edge in edges):
            raise InputError(f"{where}: {','.join(edges)} are not four whole numbers of pixels")
        left, top, right, bottom = map(int, edges)
        if not (left < right and top < bottom):
            raise InputError(f"{where}: the box {','.join(edges)} is empty")
        if name in boxes:
            raise InputError(f"{where}: a second box for {name}; keep one of them")
        boxes[name] = left, top, right, bottom
    return boxes


def box_within(image: Image.Image, size: Size, box: Box, where: str) -> Box:
    """The largest centred part of a box with the proportions of ``size``.

    Args:
        where: what messages call the box.

    Raises:
        InputError: the box reaches beyond the image.
    """
    if box[2] > image.width or box[3] > image.height:
        raise InputError(f"{where}: an image has only {image.width}x{image.height} pixels")
    return centered_box(box, size)


def write_boxes(boxes: Iterable[tuple[str, Box]]) -> str:
    """The text of a csv that ``read_boxes`` reads, from file names and boxes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((name, *box) for name, box in boxes)
    return text.getvalue()
