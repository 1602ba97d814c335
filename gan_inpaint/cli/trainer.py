"""The ``trainer`` group: arguments of Lightning's Trainer."""

from collections.abc import Mapping
from typing import Any

from gan_inpaint.errors import InputError


def check_trainer(arguments: Mapping[str, Any], refused: Mapping[str, str], why: str) -> None:
    """Refuse arguments of the Trainer that would fail or be ignored.

    Args:
        refused: the cure of each.
        why: what they do not fit, in words.
    """
    for key, cure in refused.items():
        if arguments.get(key) not in (None, False):
            raise InputError(f"trainer.{key}={arguments[key]}: not for {why}; {cure}")
