"""How fast a search goes once it runs: image-steps a second, and the share of the machine's rate.

    python benchmarks/throughput.py [--rows 1 64 256] [--device cpu] [--turns 3] [--json PATH]

An image-step is one update of one row. Each line is the median of some turns of 20 steps, guided,
from random codes; the start of a search is not counted. The share is of the rate at which this
device multiplies square matrices in the precision of the search; operations are PyTorch's own
count. On a GPU: --device cuda --rows 64 512 4096.
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode
from training import product_rate, synchronize

from gan_inpaint.inversion.config import search_config
from gan_inpaint.inversion.initializers import Starts
from gan_inpaint.inversion.optimize import LatentOptimization, make_optimizer
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.runtime.io import write_json
from gan_inpaint.runtime.memory import keep_freed_memory
from gan_inpaint.runtime.precision import LIGHTNING, resolve_precision

STEPS = 20


def operations(prior: Prior, lam: float) -> float:
    """Floating-point operations of one image-step, counted by PyTorch."""
    z = torch.zeros(1, prior.nz, requires_grad=True, device=prior.device)
    with FlopCounterMode(display=False) as counter:
        generated = prior.generator(z)
        judged = prior.discriminator(generated) if lam and prior.discriminator else generated
        judged.sum().backward()
    return counter.get_total_flops()


def speed(prior: Prior, fast: Prior, rows: int, lam: float, turns: int) -> float:
    """Image-steps a second."""
    device = prior.device
    config = search_config(
        {"lam": lam, "steps": (turns + 1) * STEPS, "patience": None, "tolerance": 0.0}
    ).resolved(prior)
    images = prior.sample(rows, seed=1).to(device)
    known = torch.ones(rows, 1, *prior.image_shape[1:], dtype=torch.bool, device=device)
    height, width = (side // 4 for side in prior.image_shape[1:])
    known[..., height:-height, width:-width] = False
    codes = (prior.latent.sample(rows, torch.Generator().manual_seed(0)) * 0.5).to(device)
    z = torch.zeros_like(codes, requires_grad=True)
    optimizer, guide = make_optimizer(z, config), images[:, None] * 0.9
    masks = known.float(), known
    search = LatentOptimization(
        prior, fast, images, *masks, z, optimizer, Starts(codes), config, guide
    )
    search._exact_from = -1  # all steps in the fast precision
    found = []
    for turn in range(turns + 1):
        synchronize(device)
        started = time.perf_counter()
        search.advance(STEPS)
        synchronize(device)
        if turn:  # the first one loads libraries
            found.append(rows * STEPS / (time.perf_counter() - started))
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", default="faces")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 64, 256])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--compile", action="store_true", help="torch.compile, for these rows")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    keep_freed_memory()
    device = torch.device(options.device)
    precision = resolve_precision(options.precision)
    prior = load_prior(options.prior).to(device)
    fast = prior.reduced() if precision == "bf16" else prior
    if options.compile:
        fast.generator.compile()
        assert fast.discriminator is not None
        fast.discriminator.compile()
    rate = product_rate(LIGHTNING[precision], device)
    table = Table("rows", "with D", "share", "lam=0", "share", title=f"image-steps/s, {precision}")
    found: dict[str, float] = {"product_rate": rate}
    for rows in options.rows:
        cells = []
        for name, lam in (("with_d", 1e-5), ("lam0", 0.0)):
            steps = speed(prior, fast, rows, lam, options.turns)
            share = steps * operations(prior, lam) / rate
            found |= {f"{name}_{rows}": steps, f"{name}_{rows}_share": share}
            cells += [f"{steps:.0f}", f"{share:.0%}"]
        table.add_row(str(rows), *cells)
    Console().print(table)
    print(f"matrix product: {rate / 1e9:.0f} GFLOP/s; torch {torch.__version__}, {device}")
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
