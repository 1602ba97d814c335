"""The keys of ``compare``."""

from dataclasses import dataclass


@dataclass
class CompareConfig:
    """The root keys of ``python -m gan_inpaint.compare``."""

    sweep: str | None
