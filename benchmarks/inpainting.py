"""How well a prior fills holes: hole PSNR and feature distance for four masks.

    python benchmarks/inpainting.py [--prior faces] --source celeba --data celeba.zip [--json PATH]

Without ``--data`` the targets are drawn from the prior itself, a test of the search. For each mask
there are three completions: the search from the nearest start alone (single), the best objective
of ``restarts`` starts (best), and the mean image of all of them (mean); each as it is and
Poisson-blended. PSNR rewards blur: the Fréchet feature distance (EfficientNet-Lite0, not the usual
FID) between the completed and the true images, and the images (--picture), stand beside it.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from held_out import MASKS, add_arguments, known_pixels, pictures
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gan_inpaint.data.images import grid
from gan_inpaint.evaluation import frechet
from gan_inpaint.functional.blending import poisson
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.inversion.pipeline import inpaint
from gan_inpaint.priors.gan import Prior
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.runtime.io import write_json, write_png
from gan_inpaint.runtime.memory import keep_freed_memory

GREY = 0.3  # what stands for missing pixels in the image


def completions(
    prior: Prior, truth: Tensor, known: Tensor, settings: Mapping
) -> tuple[dict[str, Tensor], float]:
    """Images that fill the hole by each method, and seconds of search."""
    started = time.perf_counter()
    result = inpaint(truth, known, prior, **settings)
    seconds = time.perf_counter() - started
    with torch.no_grad():
        every = torch.cat([prior.generator(z) for z in result.rows.z.split(256)])
    every = every.unflatten(0, (len(truth), -1))
    filling = {"single": every[:, 0]}  # starts are sorted: the nearest comes first
    if every.shape[1] > 1:
        filling |= {"best": result.generated, "mean": every.mean(dim=1)}
    filled = {}
    for name, generated in filling.items():
        filled[name] = torch.where(known, truth, generated)
        blended = poisson(generated.numpy(), truth.numpy(), known[:, 0].numpy())
        filled[f"{name} blended"] = torch.where(known, truth, torch.from_numpy(blended))
    return filled, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, limit=128)
    parser.add_argument("--masks", nargs="+", default=list(MASKS), choices=list(MASKS))
    parser.add_argument(
        "--search",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="search keys of reconstruct, such as steps=200 restarts=4",
    )
    parser.add_argument("--samples", type=int, default=0, help="also compare so many samples")
    parser.add_argument("--picture", type=Path, help="draw the first images here")
    parser.add_argument("--rows", type=int, default=3, help="images a mask in --picture")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    keep_freed_memory()

    prior = load_prior(options.prior)
    truth = pictures(options, prior)
    settings: dict = {"lam": 0.0, "guide": "none", "candidates": 8192, "restarts": 16, "steps": 50}
    for pair in options.search:
        key, _, value = pair.partition("=")
        settings[key] = type(settings[key])(value) if key in settings else _number(value)
    distance = frechet.FrechetDistance(truth) if frechet.available() and len(truth) > 1 else None
    figures: dict[str, float] = {"images": len(truth)}
    if distance and options.samples:
        fake = prior.sample(options.samples, seed=0)
        figures["samples_distance"] = distance(fake)
    table = Table(title=f"{prior.name}: {len(truth)} images, {settings}")
    for column in ("mask", "filled by", "hole PSNR", "± s.e.", "feature distance"):
        table.add_column(column, justify="left" if column in ("mask", "filled by") else "right")
    strips = []
    for name in options.masks:
        known = known_pixels(name, len(truth), prior.size)
        hole = (~known).float()
        filled, seconds = completions(prior, truth, known, settings)
        mean_image = prior.sample(1024, seed=0).mean(dim=0).expand_as(truth)
        filled["mean sample"] = torch.where(known, truth, mean_image)
        for method, picture in filled.items():
            values = psnr(picture - truth, hole)
            key = f"{name}_{method}".replace(" ", "_")
            figures[f"psnr_{key}"] = float(values.mean())
            cells = [f"{values.mean():.2f} dB", f"{values.std() / len(values) ** 0.5:.2f}"]
            if distance:
                figures[f"distance_{key}"] = distance(picture)
                cells.append(f"{figures[f'distance_{key}']:.1f}")
            table.add_row(name, method, *cells)
        table.add_section()
        figures[f"seconds_{name}"] = seconds
        shown = [torch.where(known, truth, GREY), *list(filled.values())[:-1], truth]
        strips.append([column[: options.rows] for column in shown])
        print(f"{name}: {seconds:.0f} s", flush=True)
    Console().print(table)
    print("distances are between completed and true images, comparable at equal numbers only")
    if "samples_distance" in figures:
        apart = figures["samples_distance"]
        print(f"{options.samples} samples against the {len(truth)} images: {apart:.1f}")
    if options.picture:
        columns = [torch.cat(column) for column in zip(*strips, strict=True)]
        write_png(options.picture, grid(columns))
    if options.json:
        write_json(options.json, figures)


def _number(value: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    return value


if __name__ == "__main__":
    main()
