"""``python -m gan_inpaint.compare``: the comparison of a sweep's jobs, made again."""

from pathlib import Path

from gan_inpaint.command import command
from gan_inpaint.errors import InputError
from gan_inpaint.run_directory import RunDirectory
from gan_inpaint.settings import CompareSettings


@command("compare", CompareSettings)
def main(settings: CompareSettings, run: RunDirectory) -> None:
    """Write comparison.csv, comparison.png and index.html in the sweep's directory; print them."""
    from gan_inpaint import report

    if settings.sweep is None:
        raise InputError("compare needs sweep=, the directory of a sweep (multirun/<time>)")
    sweep = Path(settings.sweep)
    report.compare(sweep)
    report.show(sweep)


if __name__ == "__main__":
    main()
