"""``python -m gan_inpaint.compare``: rewrite the comparison of a sweep's jobs."""

from dataclasses import dataclass
from pathlib import Path

from gan_inpaint.cli.command import command
from gan_inpaint.errors import InputError
from gan_inpaint.jobs.directory import RunDirectory


@dataclass
class CompareConfig:
    """The root keys of ``python -m gan_inpaint.compare``."""

    sweep: str | None


@command("compare", CompareConfig)
def main(settings: CompareConfig, run: RunDirectory) -> None:
    """Write comparison.csv, comparison.png and index.html in the sweep's directory; print them."""
    from gan_inpaint.reporting import comparison

    if settings.sweep is None:
        raise InputError("compare needs sweep=, the directory of a sweep (multirun/<time>)")
    sweep = Path(settings.sweep)
    comparison.compare(sweep)
    comparison.show(sweep)
