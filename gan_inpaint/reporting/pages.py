"""Self-contained HTML pages."""

import base64
import io
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from gan_inpaint.data.images import open_image
from gan_inpaint.errors import InputError
from gan_inpaint.runtime.io import write_text

_TEMPLATES = Path(__file__).parent / "templates"
_LARGEST = 512  # largest side of an image in pixels: a page has hundreds of images
_CELLS = 2400  # pictures on a page, over all jobs: about 40 MB at 64x64
_IMAGES = (4, 12)  # minimum and maximum number of images per job


def images_shown(jobs: int, pictures: int) -> int:
    """Number of images per job that fit on a page, with so many pictures of each."""
    least, most = _IMAGES
    return max(least, min(most, _CELLS // max(jobs * pictures, 1)))


def write_page(
    path: Path,
    template: str,
    payload: Mapping[str, Any] | None = None,
    scripts: Sequence[str] = (),
    **words: Any,
) -> None:
    """Render a page; all text is escaped.

    Args:
        template: name of the template in ``templates``.
        payload: plain values for the scripts.
        scripts: files in ``templates``, in order.
        words: values for the template.
    """
    import jinja2
    from markupsafe import Markup

    loader = jinja2.FileSystemLoader(_TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True)
    # no text inside the script may look like its closing tag
    data = json.dumps(_finite(payload), separators=(",", ":")).replace("<", "\\u003c")
    texts = [Markup((_TEMPLATES / script).read_text(encoding="utf-8")) for script in scripts]
    page = environment.get_template(f"{template}.html.jinja").render(
        payload=Markup(data) if payload else "",
        style=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
        scripts=texts,
        **words,
    )
    write_text(path, page)


def about_run(run: Path, command: str, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was run, on which data, with which versions.

    Args:
        summary: keys of a summary.json, as far as they are known.
    """
    told = run / ".hydra" / "overrides.yaml"
    overrides: Any = ()
    with suppress(OSError, ValueError, RecursionError, yaml.YAMLError):
        overrides = yaml.safe_load(told.read_text("utf-8")) or ()
    found = [
        ("command", f"python -m gan_inpaint.{command} {shlex.join(map(str, overrides))}".strip())
    ]
    named = ("prior", "data", "mask", "seed")
    found += [(key, str(summary[key])) for key in named if summary.get(key) is not None]
    return found + versions(summary.get("environment") or {})


def versions(ran: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The versions and the machine of a run, from its recorded environment."""
    told = [f"{k} {ran[k]}" for k in ("gan_inpaint", "git", "python", "torch") if ran.get(k)]
    machine = [str(ran[k]) for k in ("gpu", "processor") if ran.get(k)]
    return [("versions", ", ".join(told)), ("machine", ", ".join(machine))] if told else []


def sprite(rows: Sequence[Sequence[Path]], size: tuple[int, int]) -> str:
    """Images resized and tiled into one PNG, as a data URI; missing ones stay black.

    Args:
        size: width and height of each.
    """
    width, height = size
    sheet = Image.new("RGB", (width * len(rows[0]), height * len(rows)))
    for y, row in enumerate(rows):
        for x, path in enumerate(row):
            with suppress(InputError):  # a missing or damaged image stays black
                image = open_image(path).convert("RGB")
                cell = image.resize(size, Image.Resampling.NEAREST)
                sheet.paste(cell, (x * width, y * height))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return embedded(out.getvalue())


def embedded(png: bytes) -> str:
    """A PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def cell_size(folder: Path) -> tuple[int, int]:
    """Width and height of the images in a folder, in pixels; reduced if they are large."""
    for file in folder.glob("?????.png"):
        with suppress(InputError):
            width, height = open_image(file).size
            scale = min(1.0, _LARGEST / max(width, height))
            return round(width * scale), round(height * scale)
    return _LARGEST, _LARGEST


def short(value: Any) -> str:
    """A value as text with four digits.

    Example:
        >>> short(0.123456), short("1e-05"), short(64), short(None)
        ('0.1235', '1e-05', '64', '')
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "" if value is None else str(value)
    return str(int(number)) if number.is_integer() and abs(number) < 1e6 else f"{number:.4g}"


def _finite(value: Any) -> Any:
    """Plain values with NaN and infinity replaced by None, for JSON."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
