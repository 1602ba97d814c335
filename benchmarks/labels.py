"""What a label is worth: digits with the right, no and the wrong label, and with all ten tried.

    python -m gan_inpaint.train +experiment=dcgan conditioning=label
    python benchmarks/labels.py --prior outputs/train/dcgan/<time> [--plain RUN]

All 500 held-out digits under a centre hole of 0.7 and of 0.5 of the side: hole PSNR of the search
and of its linear guide alone, with paired 95 % intervals against no label; and how often the label
that `condition=all` finds is the image's own. `--plain` is a prior trained without labels.
"""

import argparse

import numpy as np
import torch
from held_out import SEARCH
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gan_inpaint import Prior, inpaint, load_prior
from gan_inpaint.data.digits import Digits
from gan_inpaint.data.images import to_float
from gan_inpaint.data.masks import center
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.guide import Guide


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", required=True)
    parser.add_argument("--plain", help="a prior without labels, trained equally long")
    options = parser.parse_args()
    prior = load_prior(options.prior)
    source = Digits(32, 1, "val")
    images = to_float(np.stack([source[index] for index in range(len(source))]))
    labels = [source.condition(index) for index in range(len(source))]
    wrong = [str((int(label) + 1 + index % 9) % 10) for index, label in enumerate(labels)]
    table = Table(title=f"{len(images)} held-out digits, dB")
    for column in ("side of the hole", "filled by", "label", "hole PSNR", "against none"):
        table.add_column(column)
    asked: dict[str, tuple[Prior, list[str] | None]] = {
        "none": (prior, None),
        "right": (prior, labels),
        "wrong": (prior, wrong),
    }
    if options.plain:
        asked["prior without labels"] = (load_prior(options.plain), None)
    for side in (0.5, 0.7):
        known = center(32, np.random.default_rng(0), "", side=side)[None]
        nothing: dict[str, Tensor] = {}
        for name, (own, told) in asked.items():
            vectors = None if told is None else own.encode(told)
            everywhere = known.expand(len(images), -1, -1, -1)
            linear = Guide(own, SearchConfig())(images, everywhere, vectors)[:, 0]
            search = inpaint(images, known, own, condition=told, **SEARCH).images
            for way, filled in (("search", search), ("linear estimate", linear)):
                error = torch.where(known, 0.0, filled - images)
                values = psnr(error, (~known).float())
                change = values - nothing.setdefault(way, values)
                interval = 1.96 * float(change.std()) / len(change) ** 0.5
                against = f"{change.mean():+.2f} ± {interval:.2f}" if name != "none" else ""
                table.add_row(str(side), way, name, f"{values.mean():.2f}", against)
        result = inpaint(images, known, prior, condition="all", **SEARCH)
        assert prior.encoder is not None
        assert prior.encoder.classes is not None
        found = [prior.encoder.classes[index] for index in result.restart.tolist()]
        right = np.mean([one == label for one, label in zip(found, labels, strict=True)])
        values = psnr(torch.where(known, 0.0, result.images - images), (~known).float())
        change = values - nothing["search"]
        interval = 1.96 * float(change.std()) / len(change) ** 0.5
        label = f"all: {100 * right:.0f} % found"
        against = f"{change.mean():+.2f} ± {interval:.2f}"
        table.add_row(str(side), "search", label, f"{values.mean():.2f}", against)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
