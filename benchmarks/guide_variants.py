"""Variants of the guided search: other starts, and weights that decay, which are not built in.

    python benchmarks/guide_variants.py --source celeba --data celeba.zip

Hole PSNR of the best so far, unblended, at the start and after 10, 20 and 50 steps; λ = 0. The
difference after 50 steps is paired with the first line, with its 95 % interval. A schedule
0.3, 25: 0.03 begins with weight 0.3 and goes on with 0.03 after 25 steps.
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace

import torch
from held_out import MASKS, add_arguments, known_pixels, pictures
from scipy import stats
from torch import Tensor

from gan_inpaint.functional.metrics import psnr
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.guide import Guide
from gan_inpaint.inversion.initializers import make_initializer
from gan_inpaint.inversion.optimize import LatentOptimization
from gan_inpaint.priors.gan import Prior
from gan_inpaint.priors.registry import load_prior

LOOKS = (10, 20, 50)
EVERY = 5  # steps between two changes of the weight
VARIANTS: dict[str, tuple[dict, Mapping[int, float]]] = {
    "the default": ({}, {}),
    "regression on 256": ({"candidates": 256}, {}),
    "nearest": ({"start": "nearest"}, {}),
    "nearest of 128": ({"start": "nearest", "candidates": 128}, {}),
    "random start": ({"candidates": 0}, {}),
    "0.3": ({"guide_weight": 0.3}, {}),
    "0.3, 25: 0.03": ({"guide_weight": 0.3}, {25: 0.03}),
    "0.3, 15: 0.1, 30: 0.03": ({"guide_weight": 0.3}, {15: 0.1, 30: 0.03}),
}


def search(
    prior: Prior,
    truth: Tensor,
    known: Tensor,
    config: SearchConfig,
    schedule: Mapping[int, float],
) -> list[Tensor]:
    """Hole PSNR of every image at the start and at ``LOOKS``."""
    guide = Guide(prior, config)(truth, known)
    starts = make_initializer(prior, config)(truth, known, known.float(), guide)
    z, curvature = starts.codes, starts.inverse_curvature
    found = LatentOptimization(
        prior,
        prior,
        truth,
        known.float(),
        z.clone().requires_grad_(),
        config,
        known,
        guide,
        inverse_curvature=curvature,
    )

    def judged(z: Tensor) -> Tensor:
        with torch.no_grad():
            return psnr(prior.generator(z) - truth, (~known).float())

    values = [judged(z)]
    for step in range(0, LOOKS[-1], EVERY):
        if step in schedule:  # the objectives so far are those of another weight
            found._config = replace(found._config, guide_weight=schedule[step])
            found._renew()
        found.advance(EVERY)
        if step + EVERY in LOOKS:
            values.append(judged(found.state.z))
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, limit=128)
    parser.add_argument("--masks", nargs="+", default=["center", "half"], choices=list(MASKS))
    options = parser.parse_args()
    prior = load_prior(options.prior)
    truth = pictures(options, prior)
    for mask in options.masks:
        known = known_pixels(mask, len(truth), prior.size)
        base = None
        for name, (changes, schedule) in VARIANTS.items():
            config = SearchConfig(**{"lam": 0.0, "precision": "fp32", "steps": 50} | changes)
            values = search(prior, truth, known, config, schedule)
            base = values[-1] if base is None else base
            apart = values[-1] - base
            reach = stats.t.ppf(0.975, len(apart) - 1) * float(apart.std()) / len(apart) ** 0.5
            curve = " ".join(f"{float(value.mean()):.2f}" for value in values)
            print(
                f"{mask:8} {name:24} {curve}  {float(apart.mean()):+.2f} ± {reach:.2f}", flush=True
            )


if __name__ == "__main__":
    main()
