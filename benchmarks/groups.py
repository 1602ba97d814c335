"""How well a prior of faces fills holes, by groups of people: for its model card.

    python benchmarks/groups.py --data celeba9k.zip --attributes list_attr_celeba.csv \
        [--priors faces_small faces] [--mask center] [--images 500] [--json PATH]

Mean hole PSNR and feature distance over CelebA's held-out faces with and without an attribute, and
the difference between both groups with a 95 % interval (Welch). Photographs of a group may also be
harder for other reasons (glasses, hats, light), so a difference is no proof of a bias of the prior.
Needs the extra `features`.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from gan_inpaint.runtime.io import read_csv, write_json

ATTRIBUTES = ("Male", "Young", "Pale_Skin", "Eyeglasses", "Smiling", "Wearing_Hat", "Gray_Hair")
FIGURES = {"psnr_hole": "hole PSNR, dB", "feature_distance": "feature distance"}


def measured(
    prior: str, options: argparse.Namespace, directory: Path
) -> dict[str, dict[str, float]]:
    """Name of an image -> its figures."""
    words = [f"prior={prior}", "data=celeba", f"data.path={options.data}", "split=val"]
    words += [f"mask={options.mask}", f"limit={options.images}", "metrics=[feature_distance]"]
    words += ["logger=none", f"hydra.run.dir={directory}"]
    subprocess.run([sys.executable, "-m", "gan_inpaint.reconstruct", *words], check=True)
    rows = read_csv(directory / "results.csv")
    return {row["name"]: {key: float(row[key]) for key in FIGURES} for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--attributes", type=Path, required=True)
    parser.add_argument("--priors", nargs="+", default=["faces_small", "faces"])
    parser.add_argument("--mask", default="center")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    lines = options.attributes.read_text(encoding="utf-8").splitlines()
    told = {row["image_id"]: row for row in csv.DictReader(lines)}
    found: dict[str, dict] = {}
    for prior in options.priors:
        with tempfile.TemporaryDirectory() as folder:
            figures = measured(prior, options, Path(folder) / "job")
        table = Table("group", "faces", *FIGURES.values(), title=f"{prior}, mask={options.mask}")
        for attribute in ATTRIBUTES:
            group = np.array([told[Path(name).name][attribute] == "1" for name in figures])
            if not 2 <= group.sum() <= len(group) - 2:
                continue
            cells = []
            for key in FIGURES:
                values = np.array([row[key] for row in figures.values()])
                test = stats.ttest_ind(values[group], values[~group], equal_var=False)
                low, high = test.confidence_interval(0.95)
                apart = values[group].mean() - values[~group].mean()
                cells.append(f"{values[group].mean():.2f} ({apart:+.2f} ± {(high - low) / 2:.2f})")
                found[f"{prior} {attribute} {key}"] = {"apart": apart, "reach": (high - low) / 2}
            table.add_row(attribute, str(int(group.sum())), *cells)
        Console(width=110).print(table)
    print(
        "In brackets: the difference from the faces without the attribute, with its 95 % interval."
    )
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
