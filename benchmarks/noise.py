"""Which noise a Gaussian guide needs: hole PSNR of the linear estimate by σ², mask and source.

    python benchmarks/noise.py --source celeba --data celeba.zip

The estimate alone, without a search. `rule` is the noise that ``model_noise`` chooses.
"""

import argparse
from functools import partial

import torch
from held_out import MASKS, add_arguments, pictures
from rich.console import Console
from rich.table import Table

from gan_inpaint.data import masks
from gan_inpaint.functional.gaussian import Posterior, model_noise, reduce_known
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.priors.gaussian import load_gaussian
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.runtime.seeding import numpy_rng

NOISES = (0.003, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3)
DRAWS = 16  # masks of a kind
MORE = {
    "random 50 %": partial(masks.random, missing=0.5),
    "random 95 %": partial(masks.random, missing=0.95),
    "pattern 60 %": partial(masks.pattern, missing=0.6, grain=0.06),
    "strokes": partial(masks.strokes, count=6, width=0.08, turning=0.6, missing=0.4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, limit=96)
    options = parser.parse_args()
    prior = load_prior(options.prior)
    truth = pictures(options, prior)
    kinds = ["samples", "data"] if prior.companion("gaussian") else ["samples"]
    gaussians = {kind: load_gaussian(prior, kind) for kind in kinds}
    for kind, gaussian in gaussians.items():
        table = Table(title=f"{kind}, {len(gaussian.variances)} directions: hole PSNR in dB")
        table.add_column("mask")
        for column in (*map(str, NOISES), "rule", "σ² of it"):
            table.add_column(column, justify="right")
        for name, mask in (MASKS | MORE).items():
            drawn = [mask(prior.size, numpy_rng("noise", 0, i), "") for i in range(DRAWS)]
            found: dict[float | None, list[torch.Tensor]] = {n: [] for n in (*NOISES, None)}
            rules = []
            for number, known in enumerate(drawn):
                part = truth[number::DRAWS]
                small, seen = reduce_known(
                    part,
                    known.expand(len(part), -1, -1, -1),
                    gaussian.mean.shape[-2:],  # type: ignore[arg-type]
                )
                rules.append(model_noise(seen[0]))
                for noise, values in found.items():
                    posterior = Posterior(gaussian, seen[0], noise or rules[-1])
                    error = posterior.mean(small).clamp(-1, 1) - small
                    values.append(psnr(error, (~seen).float()))
            cells = [f"{torch.cat(values).mean():.2f}" for values in found.values()]
            table.add_row(name, *cells, f"{sum(rules) / len(rules):.3f}")
        Console(width=120).print(table)


if __name__ == "__main__":
    main()
