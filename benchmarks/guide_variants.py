"""Variants of the guided search that are not built in: other starts, weights that decay.

    python benchmarks/guide_variants.py --source celeba --data celeba.zip

Hole PSNR of the best so far, unblended, at the start and after 10, 20 and 50 steps; λ = 0. The
difference after 50 steps is paired with the first line, with its 95 % interval. `ridge` starts at
the code that a ridge regression, fitted to 16,384 samples at half resolution, predicts from the
image with the estimate in its hole. A schedule 0.3, 25: 0.03 begins with weight 0.3 and goes on
with 0.03 after 25 steps.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from held_out import MASKS, add_arguments, known_pixels, pictures
from scipy import stats
from torch import Tensor

from gan_inpaint.functional.latent import project
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.guide import Guide
from gan_inpaint.inversion.initializers import make_initializer
from gan_inpaint.inversion.optimize import LatentOptimization
from gan_inpaint.priors.gan import Prior
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.runtime.seeding import torch_rng

LOOKS = (10, 20, 50)
EVERY = 5  # steps between two changes of the weight
VARIANTS: dict[str, tuple[dict, str, Mapping[int, float]]] = {
    "the default": ({}, "nearest", {}),
    "nearest of 128": ({"candidates": 128}, "nearest", {}),
    "random start": ({"candidates": 0}, "nearest", {}),
    "ridge start": ({}, "ridge", {}),
    "0.3": ({"guide_weight": 0.3}, "nearest", {}),
    "0.3, 25: 0.03": ({"guide_weight": 0.3}, "nearest", {25: 0.03}),
    "0.3, 15: 0.1, 30: 0.03": ({"guide_weight": 0.3}, "nearest", {15: 0.1, 30: 0.03}),
}


@torch.no_grad()
def ridge(prior: Prior) -> Callable[[Tensor], Tensor]:
    """A regression from images to codes."""
    codes = prior.latent.sample(16_384, torch_rng("ridge"))
    codes = project(codes, "ball", 0.9)
    images = [F.avg_pool2d(prior.generator(part), 2).flatten(1) for part in codes.split(256)]
    seen = torch.cat(images)
    mean = seen.mean(dim=0)
    seen -= mean
    gram = seen.T @ seen / len(seen) + 0.01 * torch.eye(len(mean))
    weights = torch.linalg.solve(gram, seen.T @ codes / len(seen))
    return lambda images: project(
        (F.avg_pool2d(images, 2).flatten(1) - mean) @ weights, "ball", 0.7
    )


def search(
    prior: Prior,
    truth: Tensor,
    known: Tensor,
    config: SearchConfig,
    start: Callable[[Tensor], Tensor] | None,
    schedule: Mapping[int, float],
) -> list[Tensor]:
    """Hole PSNR of every image at the start and at ``LOOKS``."""
    guide = Guide(prior, config)(truth, known)
    target = torch.where(known, truth, guide[:, 0])
    weight = known + config.guide_weight * ~known
    z = start(target) if start else make_initializer(prior, config)(target, weight)[0]
    found = LatentOptimization(
        prior, prior, truth, known.float(), z.clone().requires_grad_(), config, known, guide
    )

    def judged(z: Tensor) -> Tensor:
        with torch.no_grad():
            return psnr(prior.generator(z) - truth, (~known).float())

    values = [judged(z)]
    for step in range(0, config.steps, EVERY):
        if step in schedule:  # the objectives so far are those of another weight
            found._config = replace(found._config, guide_weight=schedule[step])
            found._switch_to_exact(found.state.running.nonzero()[:, 0])
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
    regression = ridge(prior)
    for mask in options.masks:
        known = known_pixels(mask, len(truth), prior.size)
        base = None
        for name, (changes, start, schedule) in VARIANTS.items():
            config = SearchConfig(**{"lam": 0.0, "precision": "fp32"} | changes)
            chosen = regression if start == "ridge" else None
            values = search(prior, truth, known, config, chosen, schedule)
            base = values[-1] if base is None else base
            apart = values[-1] - base
            reach = stats.t.ppf(0.975, len(apart) - 1) * float(apart.std()) / len(apart) ** 0.5
            curve = " ".join(f"{float(value.mean()):.2f}" for value in values)
            print(
                f"{mask:8} {name:24} {curve}  {float(apart.mean()):+.2f} ± {reach:.2f}", flush=True
            )


if __name__ == "__main__":
    main()
