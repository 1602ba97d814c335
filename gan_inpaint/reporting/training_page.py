"""The page of a training run: losses, samples, comparison of epochs."""

from pathlib import Path

import numpy as np
import yaml

from gan_inpaint.reporting.figures import smooth
from gan_inpaint.reporting.pages import embedded, thinned, write_page
from gan_inpaint.runtime.environment import collect_environment
from gan_inpaint.runtime.io import read_csv


def write_training_page(run: Path) -> None:
    """Write ``index.html`` of a training run: losses, samples, ``select.csv``."""
    rows = read_csv(run / "metrics.csv")
    told = run / ".hydra" / "overrides.yaml"
    overrides = map(str, yaml.safe_load(told.read_text("utf-8")) or ()) if told.is_file() else ()
    ran = collect_environment()
    about = [("command", " ".join(["python -m gan_inpaint.train", *overrides]))]
    about += [(key, str(ran[key])) for key in ("gan_inpaint", "git", "torch") if ran[key]]
    curves = []
    for colour, (label, column) in enumerate((("D", "loss/d"), ("G", "loss/g"))):
        points = [(float(row["step"]), float(row[column])) for row in rows if row.get(column)]
        if points:
            steps, values = np.array(points).T
            raw = {"label": label, "colour": colour, "raw": True, "points": thinned(points)}
            level = smooth(values)
            mean = {"label": f"{label}, smoothed", "colour": colour}
            curves += [raw, mean | {"points": thinned(list(zip(steps, level, strict=True)))}]
    files = sorted((run / "samples").glob("epoch_*.png"))
    samples = [
        {"epoch": int(file.stem.removeprefix("epoch_")), "picture": embedded(file.read_bytes())}
        for file in files
    ]
    compared = run / "select.csv"
    write_page(
        run / "index.html",
        "training",
        {"curves": curves, "unit": "minibatch", "loss": "loss", "samples": samples},
        title=f"Training {run.parent.name}/{run.name}",
        about=about,
        samples=[found["epoch"] for found in samples],
        epochs=read_csv(compared) if compared.is_file() else [],
    )
