"""Which generators can be searched, guided and diagnosed: each for samples of itself.

    python benchmarks/generators.py [--images 16] [--json PATH]

The bundled priors have real weights; the others are small stand-ins at random weights.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from held_out import SEARCH
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from gan_inpaint import Prior, SearchConfig, as_prior, inpaint, load_prior
from gan_inpaint.data.masks import center
from gan_inpaint.evaluation.diagnosis import self_test
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.runtime.io import write_json
from gan_inpaint.runtime.seeding import numpy_rng


class Style(nn.Module):
    """A generator in the form of StyleGAN2: mapping, synthesis, a style for each layer, noise."""

    def __init__(self) -> None:
        super().__init__()
        self.z_dim, self.num_ws = 32, 4
        self.mapping, self.synthesis = Mapping(), Synthesis()


class Mapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(32, 64), nn.LeakyReLU(0.2), nn.Linear(64, 32))

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        return self.layers(nn.functional.normalize(z) * 32**0.5)[:, None].expand(-1, 4, -1)


class Synthesis(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(1, 32, 4, 4))
        self.styles = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))
        self.layers = nn.ModuleList(nn.Conv2d(32, 32, 3, padding=1) for _ in range(4))
        self.rgb = nn.Conv2d(32, 3, 1)
        for layer in [*self.styles, *self.layers, self.rgb]:  # so that images differ
            nn.init.normal_(layer.weight, std=2 / layer.weight[0].numel() ** 0.5)

    def forward(self, ws: Tensor, noise_mode: str) -> Tensor:
        x = self.start.expand(len(ws), -1, -1, -1)
        for style, layer, w in zip(self.styles, self.layers, ws.unbind(1), strict=True):
            x = layer(x * (1 + style(w))[:, :, None, None])
            if noise_mode == "random":
                x = x + torch.randn(len(x), 1, *x.shape[2:])
            x = nn.functional.leaky_relu(nn.functional.interpolate(x, scale_factor=2.0), 0.2)
        return torch.tanh(self.rgb(x))


def mlp() -> Prior:
    """28x28."""
    layers = nn.Sequential(nn.Linear(16, 128), nn.LeakyReLU(0.2), nn.Linear(128, 784), nn.Tanh())
    return as_prior(nn.Sequential(layers, nn.Unflatten(1, (1, 28, 28))), nz=16, name="MLP")


def waves() -> Prior:
    """A function of three numbers."""
    rows, columns = torch.linspace(-1, 1, 96)[:, None], torch.linspace(-1, 1, 64)

    def draw(z: Tensor) -> Tensor:
        a, b, c = (z[:, i, None, None] for i in range(3))
        return torch.sin(2 * a + 3 * rows * (1 + b / 5) + c * columns)[:, None]

    return as_prior(draw, nz=3, name="function")


GENERATORS: dict[str, tuple[str, Callable[[], Prior], dict[str, Any]]] = {
    "DCGAN digits": ("bundled", lambda: load_prior("digits"), {}),
    "DCGAN faces": ("bundled", lambda: load_prior("faces"), {}),
    "DCGAN faces_small": ("bundled", lambda: load_prior("faces_small"), {}),
    "MLP": ("stand-in", mlp, {}),
    "function": ("stand-in", waves, {"restarts": 8}),
    "StyleGAN2, z": ("stand-in", lambda: as_prior(Style(), latent_space="z"), {}),
    "StyleGAN2, w": ("stand-in", lambda: as_prior(Style(), latent_space="w"), {}),
    "StyleGAN2, w+": ("stand-in", lambda: as_prior(Style(), latent_space="w+"), {}),
}


def measure(prior: Prior, images: int, options: dict[str, Any]) -> dict[str, Any]:
    """Search for samples of a prior under a centre hole, and test the search."""
    search = SearchConfig(**{"lam": 0.0} | SEARCH | options)
    truth = prior.sample(images, seed=1, radius=search.radius)
    known = center(prior.resolution, numpy_rng("generators"), "", side=0.5)[None]
    known = known.expand(images, -1, -1, -1)
    started = time.perf_counter()
    result = inpaint(truth, known, prior, search)
    tested = self_test(known, prior, search)
    return {
        "shape": "x".join(map(str, prior.image_shape)),
        "nz": prior.nz,
        "psnr": float(psnr(result.images - truth, (~known).float()).median()),
        "search_error": tested["search_error"],
        "guide_term": float(result.rows.guide_term.mean()),
        "seconds": time.perf_counter() - started,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    table = Table(title=f"{arguments.images} samples of each, centre hole, guided")
    for column in ("generator", "what", "image", "nz", "hole PSNR", "search error"):
        table.add_column(column)
    rows = {}
    for name, (what, make, options) in GENERATORS.items():
        torch.manual_seed(0)
        rows[name] = row = measure(make(), arguments.images, options)
        cells = [row["shape"], str(row["nz"]), f"{row['psnr']:.1f} dB"]
        table.add_row(name, what, *cells, f"{100 * row['search_error']:.2f} %")
    Console().print(table)
    if arguments.json:
        write_json(arguments.json, rows)


if __name__ == "__main__":
    main()
