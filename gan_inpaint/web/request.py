"""What the page asks for, as settings of a search and as a command line that does the same."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gan_inpaint.config.quoting import hydra_quoted
from gan_inpaint.config.validation import check_one_of
from gan_inpaint.errors import InputError
from gan_inpaint.inversion.config import SearchConfig

QUALITY = {
    "quick": {"restarts": 4, "candidates": 256, "steps": 20},
    "good": {"restarts": 8, "candidates": 1024, "steps": 25},
}
# chosen by eye with faces_small; costs PSNR, see docs/app.md
_SHARP = {"perceptual": "nonsaturating", "weighting": "yeh"}
MOST = 8  # completions
_LARGEST_LAM = 1000.0
_KINDS: dict[str, tuple[Any, str]] = {  # of the page's settings, as JSON gives them
    **dict.fromkeys(("photograph", "prior", "quality"), (str, "text")),
    **dict.fromkeys(("keep", "seed"), (int, "a whole number")),
    **dict.fromkeys(("radius", "guide_weight", "lam"), (int | float, "a number")),
    "box": (list, "a list of four numbers"),
    "condition": (str | int | dict | None, "a label, attributes or a caption"),
}
_RADIUS = (0.3, 1.2)  # from ordinary to unusual


class Refused(InputError):
    """A mistake in one field of the page.

    Attributes:
        field: its name.
    """

    def __init__(self, message: str, field: str):
        super().__init__(message)
        self.field = field


@dataclass
class FillRequest:
    """A search for one photograph.

    Attributes:
        photograph, prior: their ids.
        box: left, top, right, bottom in the photograph's pixels.
        keep: number of completions.
        quality: ``quick`` or ``good``.
        radius: how unusual codes may be, see ``SearchConfig``.
        guide_weight: how much the guide counts: towards likeness, away from sharpness.
        condition: what the hole shows, for a conditional prior; None: unknown.
        lam, seed: see ``SearchConfig``.
    """

    photograph: str
    prior: str
    box: list[int]
    keep: int = 4
    quality: str = "good"
    radius: float = 0.7
    guide_weight: float = 0.05
    condition: Any = None
    lam: float = 5.0e-3
    seed: int = 0

    def __post_init__(self) -> None:
        check_one_of(self, "quality", *QUALITY)
        if not 1 <= self.keep <= MOST:
            raise Refused(f"completions: {self.keep} is not between 1 and {MOST}", "keep")
        least, most = _RADIUS
        if not least <= self.radius <= most:
            raise Refused(f"unusual: {self.radius} is not between {least} and {most}", "radius")
        if not 0 <= self.guide_weight <= 10:
            raise Refused(f"likeness: {self.guide_weight} is not between 0 and 10", "guide_weight")
        if not 0 <= self.lam <= _LARGEST_LAM:
            raise Refused(f"lam: {self.lam} is not between 0 and {_LARGEST_LAM:g}", "lam")
        if len(self.box) != 4 or not all(type(edge) is int for edge in self.box):
            raise Refused("frame: give left, top, right and bottom", "box")
        self.search_config()

    @classmethod
    def parse(cls, content: bytes) -> "FillRequest":
        """From JSON.

        Raises:
            InputError: it is not JSON, or a value is invalid.
        """
        try:
            given = json.loads(content)
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise InputError("the request is not a JSON object")
        for key, value in given.items():
            if key not in _KINDS:
                raise Refused(f"{key}: there is no such setting", key)
            kind, word = _KINDS[key]
            if not isinstance(value, kind) or isinstance(value, bool):
                raise Refused(f"{_shown(value)}: {key} must be {word}", key)
        for key in ("photograph", "prior", "box"):
            if key not in given:
                raise Refused(f"{key}: it must be given", key)
        if given.get("condition") in ("", {}):
            given["condition"] = None
        return cls(**given)

    def options(self) -> dict[str, Any]:
        """The keys of ``reconstruct`` that differ from their defaults, or matter."""
        quality = dict(QUALITY[self.quality])
        restarts = max(self.keep, quality.pop("restarts"))
        return {
            "keep": self.keep,
            "restarts": restarts,
            **quality,
            "radius": self.radius,
            "guide_weight": self.guide_weight,
            "lam": self.lam,
            **_SHARP,
            "seed": self.seed,
        }

    def search_config(self) -> SearchConfig:
        """The settings of the search; how its result is blended is a view of it."""
        return SearchConfig(blend="none", **self.options())

    def told(self, kind: str | None) -> Any:
        """The condition as ``inpaint`` takes it.

        Args:
            kind: of the prior's encoder, if it has one. A caption may be a word such as ``all``.
        """
        caption = kind in ("text", "wordllama") and isinstance(self.condition, str)
        return {"text": self.condition} if caption else self.condition

    def command(
        self, prior: str, kind: str | None, path: str, mask: str, box: str, blend: str
    ) -> str:
        """The shell command that gives the same result, bit for bit.

        Args:
            prior: a name or path.
            kind: of the prior's encoder, if it has one.
            path, mask: files of the photograph and its mask, or folders of several.
            box: the override that says where to look.
            blend: of the view.
        """
        words = [
            *("python", "-m", "gan_inpaint.reconstruct"),
            f"prior={prior}",
            *("data=folder", f"data.path={path}", box),
            *("mask=file", f"mask.path={mask}"),
            *(f"{key}={value}" for key, value in (self.options() | {"blend": blend}).items()),
        ]
        if kind:
            words.append(f"condition={_hydra_value(self.told(kind), none='none')}")
        return shlex.join([*words, "logger=none"])


def _shown(value: Any) -> str:
    return json.dumps(value)[:40]


def _hydra_value(value: Any, none: str = "null") -> str:
    if value is None:
        return none
    if isinstance(value, Mapping):
        items = (f"{hydra_quoted(str(key))}: {_hydra_value(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    return hydra_quoted(value) if isinstance(value, str) else str(value)
