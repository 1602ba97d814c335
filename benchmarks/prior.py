"""How good face priors are, beside each other: samples against held-out faces, and holes filled.

    python benchmarks/prior.py --data celeba9k.zip --priors faces_small faces
        [--samples 5000] [--radius 1.0] [--images 250] [--guides none network]
        [--figure docs/faces.png]

Set Fréchet distance, precision and recall (with as many held-out faces as there are) between
samples, codes shortened to `radius` √nz, and the 500 held-out faces of CelebA; `floor` has as many
training faces in their place. Then (unless --images 0) hole PSNR and feature distance of the
search, without a guide and with the learned guide of the first prior, with paired 95 % intervals
of each prior against the first.
The figure has 64 samples of each prior, from the same codes; above of radius 0.7, below of 1.0.
"""

import argparse
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from held_out import SEARCH
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gan_inpaint import Prior, inpaint, load_prior
from gan_inpaint.data import masks
from gan_inpaint.data.datasets import CelebA
from gan_inpaint.data.images import grid, spaced, to_float
from gan_inpaint.data.loading import decode_cached
from gan_inpaint.evaluation.frechet import Described, Features, FrechetDistance, describe
from gan_inpaint.functional.metrics import precision_recall, psnr
from gan_inpaint.runtime.seeding import numpy_rng

MASKS = {
    "centre": partial(masks.center, side=0.5),
    "half": partial(masks.half, missing="any"),
    "pattern": partial(masks.pattern, missing=0.25, grain=0.06),
    "random": partial(masks.random, missing=0.8),
}


def with_guide(name: str, lender: Prior, folder: Path) -> Prior:
    """A prior beside which lie the files of another one's guide."""
    prior = load_prior(name)
    file = folder / f"{Path(name).stem}.safetensors"
    file.write_bytes(prior.files[0].read_bytes())
    for kind in ("gaussian", "guide"):
        if companion := lender.companion(kind):
            file.with_suffix(f".{kind}.safetensors").write_bytes(companion.read_bytes())
    return load_prior(file)


def draw_samples(priors: dict[str, Prior], path: Path) -> None:
    """Samples of the priors side by side, for two radii one below the other."""
    lines = []
    for radius in (0.7, 1.0):
        sheets = []
        for prior in priors.values():
            samples = prior.sample(64, 0, radius)
            sheets.append(grid(list(samples.unflatten(0, (8, 8)).unbind(1))))
        lines.append(np.concatenate([_framed(sheet) for sheet in sheets], axis=1))
    # 256 colours: a third of the size
    Image.fromarray(np.concatenate(lines, axis=0)).quantize(256).save(path, optimize=True)


def _framed(sheet: np.ndarray) -> np.ndarray:
    return np.pad(sheet, ((6, 6), (6, 6), (0, 0)), constant_values=255)


def compare_sets(
    priors: dict[str, Prior],
    train: Tensor,
    held_out: Tensor,
    samples: int,
    radius: float,
    features: Features,
) -> Table:
    """Fréchet distance, precision and recall of samples."""
    real = describe(features, held_out)
    distance = FrechetDistance(real, Described())
    table = Table(title=f"{samples} samples against {len(held_out)} held-out faces")
    for column in ("", "Fréchet distance", "precision", "recall"):
        table.add_column(column)
    sets = {"floor": lambda: train} | {
        name: partial(prior.sample, samples, 0, radius) for name, prior in priors.items()
    }
    for name, make in sets.items():
        found = describe(features, make())
        precision, recall = precision_recall(real, found[: len(real)])
        table.add_row(name, f"{distance(found):.1f}", f"{precision:.2f}", f"{recall:.2f}")
    return table


def compare_holes(
    priors: dict[str, Prior], images: Tensor, guides: list[str], features: Features
) -> Table:
    """Hole PSNR and feature distance, each beside its difference from the first prior."""
    table = Table(title=f"{len(images)} held-out faces, one completion, lam=0")
    for column in ("mask", "guide", "prior", "hole PSNR", "", "feature distance", ""):
        table.add_column(column)
    described = describe(features, images)
    for name, mask in MASKS.items():
        known = torch.stack([mask(64, numpy_rng("mask", 0, i), "") for i in range(len(images))])
        for guide in guides:
            first: list[Tensor] = []
            for label, prior in priors.items():
                result = inpaint(images, known, prior, guide=guide, lam=0.0, **SEARCH)
                found = [
                    psnr(result.images - images, (~known).float()),
                    (describe(features, result.images) - described).norm(dim=1),
                ]
                cells = []
                for number, values in enumerate(found):
                    change = values - first[number] if first else values * 0
                    error = 1.96 * float(change.std()) / len(change) ** 0.5
                    cells += [f"{values.mean():.2f}"]
                    cells += [f"{change.mean():+.2f} ± {error:.2f}" if first else ""]
                first = first or found
                table.add_row(name, guide, label, *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="CelebA, zip or folder")
    parser.add_argument("--priors", nargs="+", default=["faces_small", "faces"])
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--radius", type=float, default=1.0, help="of the samples' codes")
    parser.add_argument("--images", type=int, default=250, help="of which holes are filled")
    parser.add_argument("--guides", nargs="+", default=["none", "network"])
    parser.add_argument("--figure", type=Path, help="draw samples")
    arguments = parser.parse_args()
    sets = {
        split: decode_cached(CelebA(64, 3, split, path=arguments.data, held_out=500)).pixels
        for split in ("train", "val")
    }
    train, held_out = to_float(spaced(sets["train"], arguments.samples)), to_float(sets["val"])
    features, lender = Features(), load_prior(arguments.priors[0])
    with TemporaryDirectory() as folder:
        priors = {name: with_guide(name, lender, Path(folder)) for name in arguments.priors}
        if arguments.figure:
            draw_samples(priors, arguments.figure)
        counts = arguments.samples, arguments.radius
        Console().print(compare_sets(priors, train, held_out, *counts, features))
        if arguments.images:
            chosen = held_out[: arguments.images]
            Console().print(compare_holes(priors, chosen, arguments.guides, features))


if __name__ == "__main__":
    main()
