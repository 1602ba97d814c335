"""What an attribute is worth: faces under holes that hide it, with the right, no and the wrong one.

    python benchmarks/attributes.py --prior RUN --data celeba9k.zip \
        --attributes celeba_attributes.csv [--count 200]
    python benchmarks/attributes.py --prior RUN --figure attributes.png

For each of Smiling, Eyeglasses and Male, `count` held-out faces of CelebA, half of them with it as
far as there are so many. Hole PSNR with paired 95 % intervals against no condition, and how often
the result shows what the image did, and what was asked for, judged by a small classifier that is
trained on the real training faces first (minutes). The figure needs no data: samples of the prior,
damaged and filled under four settings each.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from held_out import SEARCH
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from gan_inpaint import Prior, inpaint, load_prior
from gan_inpaint.data.conditions import AttributeTable
from gan_inpaint.data.datasets import CelebA
from gan_inpaint.data.images import grid, highlight_hole, to_float
from gan_inpaint.data.loading import decode_cached
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.reporting.figures import labelled
from gan_inpaint.runtime.io import write_png

HOLES = {  # attribute -> the box that hides it: left, top, right, bottom of 64 pixels
    "Smiling": (14, 38, 50, 58),
    "Eyeglasses": (8, 20, 56, 38),
    "Male": (10, 10, 54, 60),
}
EPOCHS = 6  # of the classifier
SHOWN: list[dict[str, int] | None] = [
    None,
    {"Smiling": 1},
    {"Smiling": -1},
    {"Eyeglasses": 1},
    {"Male": 1},
]


def known_pixels(attribute: str) -> Tensor:
    """``(1, 1, 64, 64)`` bool."""
    left, top, right, bottom = HOLES[attribute]
    known = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    known[..., top:bottom, left:right] = False
    return known


def classifier(images: Tensor, signs: Tensor) -> nn.Module:
    """``(B, 3, 64, 64)`` -> ``(B, 3)`` logits of the attributes."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for narrow, wide in ((3, 32), (32, 64), (64, 128), (128, 128)):
        layers += [nn.Conv2d(narrow, wide, 3, 1, 1), nn.BatchNorm2d(wide), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(2048, signs.shape[1]))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(64):
            flipped = images[batch].flip(-1) if torch.rand(()) < 0.5 else images[batch]
            logits = model(flipped)
            loss = F.binary_cross_entropy_with_logits(logits, (signs[batch] > 0).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.eval()


def read(path: str, table: AttributeTable, split: str) -> tuple[Tensor, Tensor]:
    """Faces, and the signs ``(N, 3)`` of the attributes."""
    decoded = decode_cached(CelebA(64, 3, split, path=path, held_out=500))
    told = [table[name] or {} for name in decoded.names]
    signs = torch.tensor([[row.get(name, 0) for name in HOLES] for row in told])
    return to_float(np.array(decoded.pixels)), signs


def chosen(signs: Tensor, count: int) -> Tensor:
    """Indices of ``count`` images, half of them with the attribute as far as there are so many."""
    has, has_not = (signs > 0).nonzero()[:, 0], (signs < 0).nonzero()[:, 0]
    has = has[: count // 2]
    return torch.cat([has, has_not[: count - len(has)]])


def measure(options: argparse.Namespace, prior: Prior) -> Table:
    table = AttributeTable(options.attributes)
    model = classifier(*read(options.data, table, "train"))
    images, signs = read(options.data, table, "val")
    shown = Table(title=f"{options.count} held-out faces each, one completion")
    for column in ("attribute", "condition", "hole PSNR", "against none", "as it was", "as asked"):
        shown.add_column(column)
    for number, name in enumerate(HOLES):
        own = chosen(signs[:, number], options.count)
        faces, truth, known = images[own], signs[own, number], known_pixels(name)
        base = None
        shown.add_row(name, "(real faces)", "", "", share(model(faces)[:, number], truth), "")
        for label, sign in (("none", 0), ("right", 1), ("wrong", -1)):
            asked: list[Any] = [{name: sign * int(s)} if sign else None for s in truth]
            found = inpaint(faces, known, prior, condition=asked, **SEARCH).images
            values = psnr(found - faces, (~known).float())
            base = values if base is None else base
            change = values - base
            error = 1.96 * float(change.std()) / len(change) ** 0.5
            with torch.no_grad():
                logits = model(found)[:, number]
            shown.add_row(
                name,
                label,
                f"{values.mean():.2f}",
                f"{change.mean():+.2f} ± {error:.2f}" if sign else "",
                share(logits, truth),
                share(logits, truth * sign) if sign else "",
            )
    return shown


def share(logits: Tensor, signs: Tensor) -> str:
    return f"{100 * float((logits.sign() == signs).float().mean()):.0f} %"


def words(condition: dict[str, int] | None) -> str:
    named = (n if sign > 0 else f"not {n}" for n, sign in (condition or {}).items())
    return ", ".join(named) or "none"


def draw(path: Path, prior: Prior, rows: int = 6) -> None:
    """Samples of the prior with a hole over most of the face, filled under several settings."""
    images = prior.sample(rows, seed=1, radius=0.7)
    known = known_pixels("Male")
    columns = [images, highlight_hole(images, known)]
    columns += [inpaint(images, known, prior, condition=told, **SEARCH).images for told in SHOWN]
    headings: Sequence[str] = ["sample", "damaged", *map(words, SHOWN)]
    write_png(path, labelled(grid(columns), [""] * rows, headings))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", required=True)
    parser.add_argument("--data", help="CelebA, zip or folder")
    parser.add_argument("--attributes", help="its attributes")
    parser.add_argument("--count", type=int, default=200, help="faces for each attribute")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    prior = load_prior(options.prior)
    if options.figure:
        draw(options.figure, prior)
    if options.data:
        Console(width=120).print(measure(options, prior))


if __name__ == "__main__":
    main()
