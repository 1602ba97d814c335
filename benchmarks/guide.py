"""What a guide does to a search: likeness and realism by mask, paired with the search without it.

    python benchmarks/guide.py --source celeba --data celeba.zip \\
        --search guide_weight=0.03 --search guide_weight=1 [--figure PATH] [--json PATH]

Each --search is one search with those keys changed. The first search has no guide; the estimates
that guides come from stand above. All have λ = 0 unless they say so, one restart and blending.
Differences are paired, image by image, with their 95 % interval. Likeness is the hole PSNR. Realism
is the Fréchet distance of the set (extra `features`), and P-IDS. The feature distance to the true
image is in between.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from held_out import MASKS, add_arguments, known_pixels, pictures
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from scipy import stats
from torch import Tensor

from gan_inpaint.evaluation.baselines import Baselines
from gan_inpaint.evaluation.discriminative_scores import discriminative_scores
from gan_inpaint.evaluation.frechet import Features, FrechetDistance, describe
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.guide.estimates import Guide
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.pipeline import inpaint
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.runtime.io import write_json
from gan_inpaint.runtime.memory import keep_freed_memory

ESTIMATES = ("samples", "data", "network")


class Judge:
    """Measures filled images against the true ones."""

    def __init__(self, truth: Tensor):
        self._truth, self._features = truth, Features()
        self._true = describe(self._features, truth)
        self._distance = FrechetDistance(truth, self._features)

    def __call__(self, filled: Tensor, known: Tensor) -> dict[str, Any]:
        found = describe(self._features, filled)
        return {
            "psnr": psnr(filled - self._truth, (~known).float()),
            "distance": (found - self._true).norm(dim=1),
            "frechet": self._distance(filled),
            "p_ids": discriminative_scores(found, self._true)[1],
        }


def _keys(words: str) -> dict[Any, Any]:
    return dict(OmegaConf.from_dotlist(words.split()))


def methods(
    prior: Prior, truth: Tensor, known: Tensor, base: str, searches: list[str], classical: bool
) -> dict[str, tuple[Tensor, float]]:
    """Name -> filled images, seconds."""
    found = {}
    if classical:
        baselines = Baselines(prior.sample(1024, seed=0).mean(dim=0), None)
        for name, filled in baselines(truth, known).items():
            found[name] = (filled, 0.0)
    for kind in ESTIMATES:
        if (
            kind == "samples"
            or (kind == "data" and prior.companion("gaussian"))
            or (kind == "network" and prior.companion("guide"))
        ):
            started = time.perf_counter()
            estimate = Guide(prior, kind)(truth, known)[:, 0]
            seconds = time.perf_counter() - started
            found[f"estimate, {kind}"] = (torch.where(known, truth, estimate), seconds)
    for search in ["guide=none", *searches]:
        options = {"lam": 0.0} | _keys(base) | _keys(search)
        started = time.perf_counter()
        filled = inpaint(truth, known, prior, **options).images
        found[search] = (filled, time.perf_counter() - started)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, limit=128)
    parser.add_argument("--masks", nargs="+", default=list(MASKS), choices=list(MASKS))
    parser.add_argument("--search", action="append", default=[], metavar="'KEY=VALUE ...'")
    parser.add_argument("--base", default="", metavar="'KEY=VALUE ...'", help="of all searches")
    parser.add_argument("--classical", action="store_true", help="also the classical methods")
    parser.add_argument("--figure", type=Path, help="draw likeness against realism here")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    keep_freed_memory()
    prior = load_prior(options.prior)
    truth = pictures(options, prior)
    judge = Judge(truth)
    points: dict[str, dict[str, dict[str, Any]]] = {}
    print(f"{prior.name}: {len(truth)} images; auto is {SearchConfig().resolved(prior).guide}")
    for mask in options.masks:
        known = known_pixels(mask, len(truth), prior.size)
        filled = methods(prior, truth, known, options.base, options.search, options.classical)
        points[mask] = {
            name: judge(images, known) | {"seconds": seconds}
            for name, (images, seconds) in filled.items()
        }
        show(mask, points[mask])
    if options.json:
        write_json(
            options.json, {m: {k: means(v) for k, v in p.items()} for m, p in points.items()}
        )
    if options.figure:
        draw(options.figure, points)


def means(point: dict[str, Any]) -> dict[str, float]:
    return {key: float(torch.as_tensor(value).mean()) for key, value in point.items()}


def paired(values: Tensor, base: Tensor) -> str:
    """The mean difference, with its 95 % interval."""
    apart = values - base
    reach = stats.t.ppf(0.975, len(apart) - 1) * float(apart.std()) / len(apart) ** 0.5
    return f"{float(apart.mean()):+.2f} ± {reach:.2f}"


def show(mask: str, found: dict[str, dict[str, Any]]) -> None:
    table = Table(title=mask)
    columns = ("hole PSNR", "paired", "feature distance", "paired", "Fréchet", "P-IDS", "seconds")
    for column in ("", *columns):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    base = found["guide=none"]
    for name, point in found.items():
        average = means(point)
        table.add_row(
            name,
            f"{average['psnr']:.2f}",
            paired(point["psnr"], base["psnr"]),
            f"{average['distance']:.2f}",
            paired(point["distance"], base["distance"]),
            f"{average['frechet']:.1f}",
            f"{average['p_ids']:.2f}",
            f"{average['seconds']:.1f}",
        )
    Console(width=130).print(table)


def draw(path: Path, points: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Every method in the plane of likeness and realism, the guide's weights joined by a line."""
    from gan_inpaint.reporting.figures import figure

    rows = (len(points) + 1) // 2
    with figure(path, layout="constrained", figsize=(9, 3 * rows + 0.8)) as drawing:
        axes = drawing.subplots(rows, min(2, len(points)), squeeze=False)
        for axis, (mask, found) in zip(axes.flat, points.items(), strict=False):
            average = {name: means(point) for name, point in found.items()}
            dial = [k for k in average if k == "guide=none" or k.startswith("guide_weight=")]
            dial.sort(key=lambda k: 0.0 if k == "guide=none" else float(k.split("=")[1]))
            line = [(average[k]["psnr"], average[k]["frechet"]) for k in dial]
            axis.plot(*zip(*line, strict=True), marker="o", markersize=3, label="search, by weight")
            for key, (x, y) in zip(dial, line, strict=True):
                axis.annotate(key.split("=")[1], (x, y), fontsize=6, rotation=45)
            for name, point in average.items():
                if name not in dial:
                    axis.plot(point["psnr"], point["frechet"], "x", label=name)
            axis.set(title=mask, xlabel="hole PSNR in dB (likeness)", ylabel="Fréchet (realism)")
            axis.set_yscale("log")
            axis.invert_yaxis()  # better is up and right
            axis.grid(alpha=0.3, which="both")
        handles = axes.flat[0].get_legend_handles_labels()
        drawing.legend(*handles, loc="outside lower center", ncols=5, fontsize=7)


if __name__ == "__main__":
    main()
