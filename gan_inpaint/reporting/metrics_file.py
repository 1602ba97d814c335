"""metrics.csv, as a Lightning logger."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger

from gan_inpaint.runtime.io import read_table, write_csv


class MetricsFile(Logger):
    """metrics.csv: one row per logged step, written atomically; a resume continues the file.

    Lightning's CSVLogger would erase the file of a resumed run.

    Args:
        path: of the file.
        columns: the metrics to keep, in this order, after ``step``.
    """

    def __init__(self, path: Path, columns: Sequence[str]):
        self._path, self._columns = path, ("step", *columns)
        self.rows = read_table(path) if path.is_file() else []

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The composed config in .hydra holds them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        kept = {key: metrics[key] for key in self._columns[1:] if key in metrics}
        if self.rows and self.rows[-1]["step"] == step:
            self.rows[-1] |= kept
        elif kept:
            self.rows.append({"step": step, **kept})

    def forget_after(self, step: int) -> None:
        """Drop rows that are newer than the resumed checkpoint."""
        self.rows = [row for row in self.rows if row["step"] <= step]

    def save(self) -> None:
        write_csv(self._path, self.rows, self._columns)
