"""Attributes: an image has some properties, and others not."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gan_inpaint.conditioning.encoder import LISTED, SHOWN, Encoder, nearest, short
from gan_inpaint.errors import InputError

_logger = logging.getLogger(__name__)


class Attributes(Encoder):
    """Several properties, each 1 (has it), −1 (has it not) or 0 (unknown).

    Args:
        names: which of the data's attributes; None: all.
    """

    kind = "attributes"
    partial = True

    def __init__(self, names: list[str] | None = None):
        self._names = list(names or ())
        if len(set(self._names)) != len(self._names):
            raise InputError(f"conditioning.encoder.names={self._names}: holds a name twice")

    def fit(self, conditions: Sequence[Any]) -> "Attributes":
        """See ``Encoder``."""
        tables = [value for value in conditions if isinstance(value, Mapping)]
        present = list(dict.fromkeys(str(key) for value in tables for key in value))
        if not present:
            raise InputError(
                "conditioning=attributes: the data have none; give data.attributes= of CelebA, or"
                " put a metadata.csv with a column for each beside the images"
            )
        for name in self._names:
            if name not in present:
                raise InputError(
                    f"conditioning.encoder.names: the data have no attribute"
                    f" {name}{nearest(name, present)}"
                )
        if not self._names:
            self._names = [name for name in present if _has_values(tables, name)]
            if unused := [name for name in present if name not in self._names]:
                _logger.warning(
                    "conditioning=attributes: left out %s: no image has 1 or -1 there",
                    ", ".join(map(short, unused[:LISTED])),
                )
        for name in self._names:
            if {_sign(row.get(name)) for row in tables} == {0, 1}:
                _logger.warning(
                    "conditioning=attributes: %s is never -1; 0 means unknown, so write -1 for has"
                    " not",
                    short(name),
                )
        usable = sum(self.understood(value) is not None for value in tables)
        if not usable:
            raise InputError(
                f"conditioning=attributes: no image has a value of -1, 0 or 1 for each of"
                f" {', '.join(self._names[:LISTED])}"
            )
        return self

    @property
    def state(self) -> dict[str, Any]:
        """See ``Encoder``."""
        return {"kind": self.kind, "names": self._names}

    @property
    def dim(self) -> int:
        """See ``Encoder``."""
        return len(self._names)

    @property
    def shown(self) -> list[Any]:
        """See ``Encoder``."""
        return [{name: 1} for name in self._names[:SHOWN]]

    def resolve(self, condition: Any) -> Any:
        """See ``Encoder``; an attribute that is not named is unknown."""
        if condition is None:
            return None
        if not isinstance(condition, Mapping):
            raise InputError(
                f"condition={short(condition)}: this prior takes attributes, such as"
                f" 'condition={{{self._names[0]}: 1}}'"
            )
        if condition.keys() == {"attributes"} and "attributes" not in self._names:
            return self.resolve(condition["attributes"])
        known, folded = {}, {name.casefold(): name for name in self._names}
        for key, value in condition.items():
            written = str(key).strip()
            name = written if written in self._names else folded.get(written.casefold())
            if name is None:
                raise InputError(
                    f"condition: no such attribute {short(key)}{nearest(str(key), self._names)};"
                    f" the prior knows {', '.join(self._names[: LISTED * 4])}"
                )
            sign = _sign(value)
            if sign is None:
                raise InputError(
                    f"condition: {name} is {short(value)}; give 1 (has it), -1 (has it not) or 0"
                    " (unknown)"
                )
            known[name] = sign
        return {name: sign for name, sign in known.items() if sign} or None

    def understood(self, condition: Any) -> Any:
        """See ``Encoder``; further attributes in the data are ignored."""
        if not isinstance(condition, Mapping):
            return None
        signs = {name: _sign(condition.get(name, 0)) for name in self._names}
        return {name: sign for name, sign in signs.items() if sign} or None

    def _vector(self, condition: Any) -> Tensor:
        vector = torch.tensor([float(condition.get(name, 0)) for name in self._names])
        return vector / self.dim**0.5

    def _words(self, condition: Any) -> str:
        return ", ".join(
            n if condition[n] > 0 else f"not {n}" for n in self._names if n in condition
        )


def _has_values(tables: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(_sign(row.get(name)) for row in tables)


def _sign(value: Any) -> int | None:
    """-1, 0 or 1; None if it is none of these. Text of a table counts, and an empty cell is 0."""
    if value is None or value == "":
        return 0
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if number in (-1, 0, 1) else None
