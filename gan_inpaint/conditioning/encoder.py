"""The interface of an encoder: from a condition to a vector.

A condition is a plain value: a label (text or a number), attributes (``{"Smiling": 1, "Male":
-1}``) or a caption. None is the empty condition: nothing is known. All encoders map that to zeros,
and every other condition to a vector of length 1 at most.
"""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gan_inpaint.errors import InputError, printable

SHOWN = 8  # conditions in sample grids
LISTED = 12  # names in a message
_LONGEST = 60  # characters of a condition in messages and tables


class Encoder(ABC):
    """Turns conditions into vectors; what it has learned is its ``state``.

    Attributes:
        kind: the word for it in files: ``label``, ``attributes``, ``text`` or ``wordllama``.
        partial: whether the entries of a vector are known or unknown one by one, 0 being unknown.
    """

    kind: str
    partial = False

    @abstractmethod
    def fit(self, conditions: Sequence[Any]) -> "Encoder":
        """Learn from the conditions of the training images; returns itself.

        Raises:
            InputError: none of them is of its kind.
        """

    @property
    @abstractmethod
    def state(self) -> dict[str, Any]:
        """What it has learned, as plain values for ``make_encoder``."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of the vectors."""

    @property
    @abstractmethod
    def shown(self) -> list[Any]:
        """Up to eight conditions that sample grids show."""

    @property
    def classes(self) -> list[str] | None:
        """All conditions that there are, if these are few; the groups of ``condition=all``."""
        return None

    @abstractmethod
    def resolve(self, condition: Any) -> Any:
        """The condition in its plain form, None if it is empty.

        Raises:
            InputError: it is not of this kind, or unknown; the sentence lists what is known.
        """

    @abstractmethod
    def _vector(self, condition: Any) -> Tensor:
        """``(dim,)`` of a resolved condition that is not empty."""

    def encode(self, conditions: Sequence[Any]) -> Tensor:
        """``(N, dim)`` of N conditions; raises the InputErrors of ``resolve``."""
        vectors = torch.zeros(len(conditions), self.dim)
        for vector, condition in zip(vectors, conditions, strict=True):
            resolved = self.resolve(condition)
            if resolved is not None:
                vector[:] = self._vector(resolved)
        return vectors

    def understood(self, condition: Any) -> Any:
        """``resolve``, with None instead of an error: for data that are not under our control."""
        try:
            return self.resolve(condition)
        except InputError:
            return None

    def words(self, condition: Any) -> str:
        """A condition as tables show it."""
        resolved = self.understood(condition)
        return "none" if resolved is None else self._words(resolved)

    def _words(self, condition: Any) -> str:
        return short(condition)

    def note(self, condition: Any) -> str | None:
        """A sentence on what of a condition has no effect, if anything."""
        return None

    def _own(self, condition: Any) -> Any:
        """The value in ``{label: 7}`` or ``{text: none}``, as these name the kind."""
        names = {self.kind, "text"} if self.kind == "wordllama" else {self.kind}
        if isinstance(condition, Mapping) and len(condition) == 1 and names & condition.keys():
            return next(iter(condition.values()))
        return condition


def nearest(word: str, known: Sequence[str]) -> str:
    """``; did you mean X?`` with the nearest of the known words, or nothing."""
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold(), folded, 1)
    return f"; did you mean {folded[near[0]]}?" if near else ""


def short(value: Any) -> str:
    """A value as messages and tables show it, without line breaks and not too long."""
    try:
        text = printable(" ".join(str(value).split()))
    except ValueError:  # a whole number of thousands of digits
        text = "a very large number"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
