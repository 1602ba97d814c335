"""Figures: loss curves and labelled grids, drawn without a display."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gan_inpaint.runtime.io import atomic_write

T = TypeVar("T")
_POINTS = 400  # of a curve: a screen shows hardly more
_MARGINS = {"left": 0.12, "right": 0.98, "bottom": 0.16, "top": 0.94}  # a layout takes longer


class figure:
    """A matplotlib figure that is saved atomically at the end; no window, no global state."""

    def __init__(self, path: Path, **options: Any):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._path, self._figure = path, Figure(**options)
        FigureCanvasAgg(self._figure)

    def __enter__(self) -> Any:
        return self._figure

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            with atomic_write(self._path) as temporary:
                self._figure.savefig(temporary, dpi=120)


def draw_losses(
    path: Path,
    rows: Sequence[Mapping[str, float]],
    curves: Mapping[str, str],
    unit: str,
    smoothed: bool = True,
) -> None:
    """Draw losses against the step: raw in the background, smoothed in front.

    Args:
        rows: of metrics.csv.
        curves: label -> column.
        unit: label of the x axis.
    """
    with figure(path, figsize=(8, 4.5)) as drawing:
        drawing.subplots_adjust(**_MARGINS)
        _plot(drawing.add_subplot(), rows, curves, unit, "loss", smoothed)


def losses_svg(
    rows: Sequence[Mapping[str, float]],
    curves: Mapping[str, str],
    unit: str,
    ylabel: str,
    smoothed: bool = True,
) -> str:
    """The same as the text of an SVG without a background, in the colour of the text around it."""
    import matplotlib
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(7.5, 3.2))
    drawing.subplots_adjust(**_MARGINS)
    _plot(drawing.add_subplot(), rows, curves, unit, ylabel, smoothed)
    out = io.StringIO()
    # text as text, and the same names in every run
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gan_inpaint"}):
        drawing.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :].replace("#000000", "currentColor")
    name = f"{ylabel} against the {unit}"
    return svg.replace("<svg ", f'<svg role="img" aria-label="{name}" fill="currentColor" ', 1)


def _plot(
    axes: Any,
    rows: Sequence[Mapping[str, float]],
    curves: Mapping[str, str],
    unit: str,
    ylabel: str,
    smoothed: bool,
) -> None:
    for number, (label, column) in enumerate(curves.items()):
        points = [(row["step"], row[column]) for row in rows if row.get(column) is not None]
        if not points:
            continue
        steps, values = np.array(points).T
        level = smooth(values) if smoothed else values
        if smoothed:
            raw = np.array(thinned(points)).T
            axes.plot(*raw, color=f"C{number}", alpha=0.25, linewidth=0.8)
            label = f"{label}, smoothed"
        steps, level = np.array(thinned(list(zip(steps, level, strict=True)))).T
        marker = "o" if len(steps) == 1 else None
        axes.plot(steps, level, color=f"C{number}", label=label, marker=marker)
    axes.set(xlabel=unit, ylabel=ylabel)
    axes.grid(alpha=0.3)
    if axes.get_lines():
        axes.legend(framealpha=0)


def thinned(points: Sequence[T]) -> list[T]:
    """At most 400 points of a curve, including both ends."""
    if len(points) <= _POINTS:
        return list(points)
    return [points[i] for i in np.linspace(0, len(points) - 1, _POINTS).round().astype(int)]


def smooth(values: np.ndarray) -> np.ndarray:
    """Exponential moving average over a twentieth of the curve, with bias correction.

    Example:
        >>> smooth(np.array([3.0, 3.0, 3.0])).round(6).tolist()
        [3.0, 3.0, 3.0]
    """
    keep = 1 - 1 / max(1.0, len(values) / 20)
    total, weight, result = 0.0, 0.0, []
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        result.append(total / weight)
    return np.array(result)


def labelled(pixels: np.ndarray, rows: Sequence[str], columns: Sequence[str] = ()) -> np.ndarray:
    """A grid of images with row labels on the left and column labels above.

    Args:
        pixels: uint8 ``(H, W, 1 or 3)``.
        rows: one label per row, top to bottom; all rows have the same height.
        columns: one label per column, left to right; long labels are wrapped.

    Returns:
        uint8 ``(margin + H, margin + W, 3)``.
    """
    picture = Image.fromarray(np.repeat(pixels, 3 // pixels.shape[2], axis=2))
    font, small = ImageFont.load_default(size=14), ImageFont.load_default(size=10)
    left = 10 + max(round(font.getlength(row)) for row in rows)
    width = picture.width / max(len(columns), 1)
    headings = [_broken(column, width, small) for column in columns]
    top = max((13 * len(heading) + 6 for heading in headings), default=0)
    wide = Image.new("RGB", (picture.width + left, picture.height + top), "white")
    wide.paste(picture, (left, top))
    draw = ImageDraw.Draw(wide)
    for number, row in enumerate(rows):
        middle = top + (number + 0.5) * picture.height / len(rows)
        draw.text((left - 5, middle), row, "black", font, anchor="rm")
    for number, heading in enumerate(headings):
        middle = left + (number + 0.5) * width
        text = "\n".join(heading)
        draw.multiline_text((middle, top - 4), text, "black", small, anchor="md", align="center")
    return np.asarray(wide)


def _broken(text: str, width: float, font: Any) -> list[str]:
    """A text wrapped to a width in pixels, at spaces."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
