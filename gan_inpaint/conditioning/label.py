"""Labels: an image belongs to one of several classes."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gan_inpaint.conditioning.encoder import LISTED, SHOWN, Encoder, nearest, short
from gan_inpaint.errors import InputError, printable


class Label(Encoder):
    """One of several classes: a one-hot vector."""

    kind = "label"

    def __init__(self, classes: Sequence[str] = ()):
        self._classes = list(classes)

    def fit(self, conditions: Sequence[Any]) -> "Label":
        """See ``Encoder``; the classes are the labels, numbers in their own order."""
        found = {_label(condition) for condition in conditions} - {None}
        if len(found) < 2:
            raise InputError(
                "conditioning=label: the data have no labels of at least two classes; data=digits"
                " has some, so have class subfolders, metadata.csv and data.condition="
            )
        if len(found) > 10_000:
            raise InputError(
                f"conditioning=label: {len(found)} different labels are no classes; for captions"
                " use conditioning=text"
            )
        named = [name for name in found if name is not None]
        numbers = all(name.isdecimal() for name in named)
        self._classes = sorted(named, key=(lambda name: (int(name), name)) if numbers else None)
        return self

    @property
    def state(self) -> dict[str, Any]:
        """See ``Encoder``."""
        return {"kind": self.kind, "classes": self._classes}

    @property
    def dim(self) -> int:
        """See ``Encoder``."""
        return len(self._classes)

    @property
    def shown(self) -> list[Any]:
        """See ``Encoder``."""
        return self._classes[:SHOWN]

    @property
    def classes(self) -> list[str] | None:
        """See ``Encoder``."""
        return self._classes

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self._classes)}

    def resolve(self, condition: Any) -> Any:
        """See ``Encoder``; capitals and blanks around a label do not matter."""
        own = self._own(condition)
        label = _label(own)
        if label is None and own not in (None, ""):
            raise InputError(
                f"condition={short(condition)}: this prior takes a label, such as"
                f" condition={self._classes[0]}"
            )
        if label is None or label in self._index:
            return label
        for same in (str.casefold, _number):
            for name in self._classes:
                if same(name) == same(label) is not None:
                    return name
        listed = ", ".join(self._classes[:LISTED]) + (" …" if self.dim > LISTED else "")
        raise InputError(
            f"condition={short(condition)}: no such label{nearest(label, self._classes)}; the"
            f" prior knows {listed}"
        )

    def _vector(self, condition: Any) -> Tensor:
        vector = torch.zeros(self.dim)
        vector[self._index[condition]] = 1
        return vector


def _label(value: Any) -> str | None:
    """A label as text: whole numbers without a point."""
    if value is None or isinstance(value, Mapping | list | tuple):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return printable(str(value).strip()) or None
    except ValueError:  # a number of thousands of digits
        return None


def _number(label: str) -> float | None:
    """The number that a label is, as 1.0 in a table for the class 1."""
    try:
        return float(label)
    except ValueError:
        return None
