"""Every kind of mask as an image, with the defaults of conf/mask.

    python benchmarks/masks.py --figure masks.png

Four draws of each over samples of a prior; `file` is left out, since a person draws it.
"""

import argparse
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from gan_inpaint.cli.conf_path import CONF
from gan_inpaint.data.images import grid, highlight_hole
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.reporting.figures import labelled
from gan_inpaint.runtime.io import write_png
from gan_inpaint.runtime.seeding import numpy_rng

DRAWS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", default="faces")
    parser.add_argument("--figure", type=Path, required=True)
    options = parser.parse_args()
    prior = load_prior(options.prior)
    samples = prior.sample(DRAWS, seed=3, radius=0.7)
    rows, labels = [], []
    for file in sorted((CONF / "mask").glob("*.yaml")):
        if file.stem == "file":
            continue
        mask = instantiate(OmegaConf.load(file))
        drawn = [mask(prior.size, numpy_rng("mask", 0, draw), "") for draw in range(DRAWS)]
        known = torch.stack(drawn)
        rows.append(highlight_hole(samples, known))
        labels.append(f"{file.stem}, {100 * (~known).float().mean():.0f} %")
    columns = list(torch.stack(rows).unbind(1))
    write_png(options.figure, labelled(grid(columns), labels))


if __name__ == "__main__":
    main()
