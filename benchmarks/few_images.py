"""What a training on 200 pictures of one kind gains from starting with a prior: `init=`.

    python benchmarks/few_images.py --data FOLDER --attributes list_attr_celeba.csv \
        [--prior faces] [--attribute Eyeglasses] [--images 200] [--seen 30000] [--picture PATH]
        [--json PATH]

FOLDER holds CelebA's aligned faces, or whole frames squashed to a square. Of those that the bundled
priors have never seen (from 009001 on), the first 200 with the attribute are trained on twice, from
random weights and from the prior, with the same networks, settings and number of images seen, so in
the same time. The next 500 are held out: the Fréchet distance compares them with as many samples.
Needs the extra `features`.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from gan_inpaint import load_prior
from gan_inpaint.data.images import grid
from gan_inpaint.reporting.figures import labelled
from gan_inpaint.runtime.io import read_csv, write_json, write_png

BATCH, SHOWN, HELD_OUT = 32, 12, 500
SEEN = 9000  # of CelebA, by the bundled priors


def pictures(options: argparse.Namespace, folder: Path) -> list[Path]:
    """The files that have the attribute, in order, copied into a folder in CelebA's geometry."""
    rows = csv.DictReader(options.attributes.read_text(encoding="utf-8").splitlines())
    named = [row["image_id"] for row in rows if row[options.attribute] == "1"]
    unseen = [name for name in sorted(named) if int(Path(name).stem) > SEEN]
    there = [options.data / name for name in unseen if (options.data / name).is_file()]
    files = []
    for file in there[: options.images + HELD_OUT]:
        files.append((folder / file.name).with_suffix(".png"))
        with Image.open(file) as frame:
            frame.convert("RGB").resize((89, 109), Image.Resampling.LANCZOS).save(files[-1])
    return files


def command(name: str, *words: str) -> None:
    ran = [sys.executable, "-m", f"gan_inpaint.{name}", *words, "logger=none"]
    subprocess.run(ran, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--attributes", type=Path, required=True)
    parser.add_argument("--prior", default="faces")
    parser.add_argument("--attribute", default="Eyeglasses")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--seen", type=int, default=30_000, help="images seen by each training")
    parser.add_argument("--picture", type=Path, help="write samples of both here")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    table = Table("start", "hole PSNR, dB", "Fréchet distance", "diversity")
    found, rows = {}, []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "frames").mkdir()
        files = pictures(options, Path(folder) / "frames")
        held_out = len(files) - options.images
        names = Path(folder) / "pictures.txt"
        names.write_text("".join(f"{file.resolve()}\n" for file in files))
        shape = load_prior(options.prior).metadata
        epochs = max(1, options.seen // (options.images // BATCH * BATCH))
        for start in ("null", options.prior):
            run = Path(folder) / start
            words = ["data=celeba", f"data.path={names}", f"data.held_out={held_out}"]
            words += [f"model.{key}={shape[key]}" for key in ("nz", "ngf", "ndf")]
            words += ["augment.flip=true", "augment.differentiable=[translation,cutout]"]
            words += [f"init={start}", f"batch_size={BATCH}", f"trainer.max_epochs={epochs}"]
            words += ["ema.decay=0.995"]
            command("train", *words, f"checkpoint.every_n_epochs={epochs}", f"hydra.run.dir={run}")
            command("select", f"run={run}", f"samples={held_out}", f"images={min(held_out, 64)}")
            (row,) = read_csv(run / "select.csv")
            figures = {k: float(row[k]) for k in ("psnr_hole", "frechet_distance", "diversity")}
            found[start] = figures
            table.add_row(start, *(f"{value:.2f}" for value in figures.values()))
            samples = load_prior(run).sample(SHOWN, seed=0, radius=0.7)
            rows.append(samples)
    Console().print(f"{options.images} pictures with {options.attribute}, {held_out} held out")
    Console().print(table)
    print(json.dumps(found))
    if options.picture:
        columns = list(torch.stack(rows).unbind(1))
        drawn = labelled(grid(columns), ["from noise", f"from {options.prior}"])
        write_png(options.picture, np.asarray(drawn))
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
