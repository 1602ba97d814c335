"""Range checks of the config dataclasses; each error names the key and the valid range."""

import math

from gan_inpaint.errors import InputError


def check_at_least(settings: object, least: float, *keys: str) -> None:
    """Refuse numbers below ``least``; None is fine."""
    for key in keys:
        value = getattr(settings, key)
        if value is not None and not (math.isfinite(value) and value >= least):
            raise InputError(f"{key}={value}: must be a number of at least {least}")


def check_above_zero(settings: object, *keys: str) -> None:
    """Refuse numbers that are not above 0."""
    for key in keys:
        value = getattr(settings, key)
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{key}={value}: must be a number above 0")


def check_seed(seed: int) -> None:
    """Refuse a seed that NumPy or torch cannot take."""
    if not 0 <= seed < 2**63:
        raise InputError(f"seed={seed}: must be at least 0 and below 2^63")


def check_one_of(settings: object, key: str, *choices: str, group: str = "") -> None:
    """Refuse a value that is not one of the choices.

    Args:
        group: the key's config group with its dot, for messages.
    """
    value = getattr(settings, key)
    if value not in choices:
        raise InputError(f"{group}{key}={value}: must be one of {', '.join(choices)}")
