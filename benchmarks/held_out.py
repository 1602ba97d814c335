"""The images and masks that the other benchmarks measure on; no benchmark itself."""

import argparse
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gan_inpaint.data import masks
from gan_inpaint.data.datasets import CelebA, Folder
from gan_inpaint.data.images import to_float
from gan_inpaint.data.loading import Source, subset_indices
from gan_inpaint.priors.generated_targets import Generated
from gan_inpaint.priors.prior import Prior
from gan_inpaint.runtime.seeding import numpy_rng

MASKS = {
    "center": partial(masks.center, side=0.5),
    "half": partial(masks.half, missing="right"),
    "pattern": partial(masks.pattern, missing=0.25, grain=0.06),
    "random": partial(masks.random, missing=0.8),
}

# of the searches in documented tables, whatever becomes of the defaults
SEARCH: dict[str, Any] = {"start": "nearest"}


def add_arguments(parser: argparse.ArgumentParser, limit: int) -> None:
    """Which prior, and which images it is measured on."""
    parser.add_argument("--prior", default="faces")
    parser.add_argument("--data", help="images; none: drawn from the prior")
    parser.add_argument("--source", default="folder", choices=("celeba", "folder"))
    parser.add_argument("--split", default="val", help="train, val or all")
    parser.add_argument("--box", type=int, nargs=4, help="left top right bottom, of a folder's")
    parser.add_argument("--held-out", type=int, default=500, help="of celeba, from the end")
    parser.add_argument("--limit", type=int, default=limit, help="how many images")


def pictures(options: argparse.Namespace, prior: Prior) -> Tensor:
    """``(N, C, H, W)`` held-out images in [-1, 1]."""
    shape = (prior.size, prior.channels, options.split)
    source: Source
    if options.data is None:
        source = Generated(*shape, prior, count=options.limit, seed=1, radius=0.7)
    elif options.source == "celeba":
        source = CelebA(*shape, path=options.data, held_out=options.held_out)
    else:
        source = Folder(*shape, path=options.data, truth=True, grey=True, box=options.box)
    chosen = subset_indices(len(source), options.limit, "first", 0)
    return torch.stack([to_float(source[index]) for index in chosen])


def known_pixels(mask: str, count: int, size: int) -> Tensor:
    """``(count, 1, size, size)`` bool, a mask of that kind for each image."""
    rngs = [numpy_rng("mask", 0, index) for index in range(count)]
    return torch.stack([MASKS[mask](size, rng, "") for rng in rngs])
