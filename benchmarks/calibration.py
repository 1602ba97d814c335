"""Is the spread of several completions right? How often the truth lies within it.

    python benchmarks/calibration.py --source celeba --data celeba.zip [--figure PATH]

Every image gets --restarts completions. At each missing pixel they give an interval from their
smallest to their largest value. If the completions are samples of what the hole may hold, the true
value is the smallest of all restarts + 1 values in 1 case of restarts + 1, likewise the largest, so
it lies within the interval in a share of (restarts - 1) / (restarts + 1). A smaller share says that
the completions agree too much. Beside it stands the error of the pixels by their spread.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from held_out import MASKS, SEARCH, add_arguments, known_pixels, pictures
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gan_inpaint.inversion.pipeline import inpaint
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.runtime.memory import keep_freed_memory


def completions(prior: Prior, truth: Tensor, known: Tensor, options: dict) -> Tensor:
    """``(B, restarts, C, H, W)``."""
    result = inpaint(truth, known, prior, **SEARCH | options)
    with torch.no_grad():
        every = torch.cat([prior.generator(z) for z in result.rows.z.split(256)])
    return every.unflatten(0, (len(truth), -1))


def measure(every: Tensor, truth: Tensor, known: Tensor) -> tuple[np.ndarray, float, float, float]:
    """Rank histogram of the truth, its share within, rms error of the mean, rms spread."""
    hole = (~known).expand_as(truth)
    rank = (every < truth[:, None]).sum(dim=1)[hole]
    histogram = np.bincount(rank.numpy(), minlength=every.shape[1] + 1) / len(rank)
    error = (every.mean(dim=1) - truth)[hole].square().mean().sqrt()
    spread = every.var(dim=1)[hole].mean().sqrt()
    return histogram, float(histogram[1:-1].sum()), float(error), float(spread)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, limit=128)
    parser.add_argument("--masks", nargs="+", default=list(MASKS), choices=list(MASKS))
    parser.add_argument("--restarts", type=int, default=8)
    parser.add_argument("--search", action="append", default=[], metavar="'KEY=VALUE ...'")
    parser.add_argument("--figure", type=Path, help="draw the rank histograms here")
    options = parser.parse_args()
    keep_freed_memory()
    prior = load_prior(options.prior)
    truth = pictures(options, prior)
    right = (options.restarts - 1) / (options.restarts + 1)
    table = Table(title=f"{len(truth)} images, {options.restarts} completions each")
    for column in ("mask", "search", "truth within", "rms error of the mean", "rms spread"):
        table.add_column(column, justify="left" if column in ("mask", "search") else "right")
    histograms: dict[str, dict[str, np.ndarray]] = {}
    for mask in options.masks:
        known = known_pixels(mask, len(truth), prior.size)
        for search in ["guide=none", *options.search]:
            settings = {"lam": 0.0, "restarts": options.restarts}
            settings |= dict(OmegaConf.from_dotlist(search.split()))
            every = completions(prior, truth, known, settings)
            histogram, share, error, spread = measure(every, truth, known)
            histograms.setdefault(mask, {})[search] = histogram
            table.add_row(mask, search, f"{share:.1%}", f"{error:.3f}", f"{spread:.3f}")
    Console(width=120).print(table)
    print(f"right would be {right:.1%} within, and an error of the mean of the size of the spread")
    if options.figure:
        draw(options.figure, histograms)


def draw(path: Path, histograms: dict[str, dict[str, np.ndarray]]) -> None:
    """Rank of the truth among the completions; flat is right, a bowl says too little spread."""
    from gan_inpaint.reporting.figures import figure

    with figure(path, layout="constrained", figsize=(2.4 * len(histograms), 2.6)) as drawing:
        axes = drawing.subplots(1, len(histograms), squeeze=False, sharey=True)[0]
        for axis, (mask, found) in zip(axes, histograms.items(), strict=True):
            for name, histogram in found.items():
                axis.step(range(len(histogram)), histogram, where="mid", label=name)
            axis.axhline(1 / len(histogram), color="grey", linestyle=":", linewidth=1)
            axis.set(title=mask, xlabel="rank of the true pixel", ylim=(0, None))
        axes[0].set_ylabel("share of pixels")
        axes[-1].legend(fontsize=6, loc="center")


if __name__ == "__main__":
    main()
