"""How fast training is: ours against the loop of PyTorch's DCGAN tutorial, and against the machine.

    python benchmarks/training.py [--json PATH]

Both loops train the same networks on the same random images in one process, in turns. The
tutorial's is fp32 in the default layout, with BCELoss on a sigmoid, and lets the generator's step
compute gradients for D that nobody uses; it is given ready-made float tensors. Ours is
``AdversarialTraining`` under Lightning's Trainer, from bytes. The share is of the rate at which
this machine multiplies square matrices in the precision that ours trains in; operations are
PyTorch's own count.
"""

import argparse
import logging
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gan_inpaint.data.loading import training_batches
from gan_inpaint.models.dcgan import Discriminator, Generator, pair
from gan_inpaint.runtime.io import write_json
from gan_inpaint.runtime.memory import keep_freed_memory
from gan_inpaint.runtime.precision import LIGHTNING, resolve_precision
from gan_inpaint.training.gan_module import AdversarialTraining

WARM_UP = 3  # steps of each turn that are not timed


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def tutorial_loop(options: argparse.Namespace, device: torch.device, pixels: np.ndarray) -> float:
    """Images per second of the tutorial's loop.

    Source: N. Inkawhich, "DCGAN tutorial", pytorch.org.
    """
    generator = Generator(options.size, 3, options.nz, options.ngf).to(device)
    discriminator = Discriminator(options.size, 3, options.ndf).to(device)
    criterion = nn.BCELoss()
    adam: Any = {"lr": 2e-4, "betas": (0.5, 0.999)}
    for_d = torch.optim.Adam(discriminator.parameters(), **adam)
    for_g = torch.optim.Adam(generator.parameters(), **adam)
    images = torch.from_numpy(pixels).float() / 127.5 - 1
    count = options.batch_size
    started = 0.0
    for step in range(WARM_UP + options.steps):
        if step == WARM_UP:
            synchronize(device)
            started = time.perf_counter()
        first = step * count % (len(images) - count + 1)
        real = images[first : first + count].to(device)
        label = torch.full((count,), 1.0, device=device)
        discriminator.zero_grad()
        error_real = criterion(discriminator(real).sigmoid(), label)
        error_real.backward()
        fake = generator(torch.randn(count, options.nz, device=device))
        label.fill_(0.0)
        error_fake = criterion(discriminator(fake.detach()).sigmoid(), label)
        error_fake.backward()
        for_d.step()
        generator.zero_grad()
        label.fill_(1.0)
        error = criterion(discriminator(fake).sigmoid(), label)
        error.backward()
        for_g.step()
        (error_real + error_fake).item(), error.item()  # it prints them
    synchronize(device)
    return options.steps * count / (time.perf_counter() - started)


class Clock(pl.Callback):
    """Times the steps after the warm-up."""

    def on_train_batch_end(self, trainer, module, outputs, batch, index) -> None:  # type: ignore
        if index == WARM_UP - 1:
            synchronize(module.device)
            self.started = time.perf_counter()

    def on_train_end(self, trainer, module) -> None:  # type: ignore
        synchronize(module.device)
        self.seconds = time.perf_counter() - self.started


def our_loop(
    options: argparse.Namespace, pixels: np.ndarray, precision: str, steps: int
) -> tuple[float, pl.LightningModule]:
    """Images per second of ours, and the trained module."""
    module = AdversarialTraining(
        *pair(options.size, 3, options.nz, options.ngf, options.ndf),
        augment={"flip": True},
        batch_size=options.batch_size,
        feature_weight=options.feature_weight,
    )
    clock = Clock()
    trainer = pl.Trainer(
        max_steps=-1,
        max_epochs=1,
        limit_train_batches=WARM_UP + steps,
        precision=precision,  # type: ignore[arg-type]
        logger=False,
        callbacks=[clock],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, training_batches(pixels, options.batch_size, seed=0))
    return steps * options.batch_size / clock.seconds, module


def operations_per_image(options: argparse.Namespace, pixels: np.ndarray) -> float:
    """Floating-point operations that ours spends on an image (both steps), counted by PyTorch."""
    counts = []
    for steps in (1, 2):
        with FlopCounterMode(display=False) as counter:
            our_loop(options, pixels, "32-true", steps)
        counts.append(counter.get_total_flops())
    return (counts[1] - counts[0]) / options.batch_size


def product_rate(precision: str, device: torch.device) -> float:
    """Operations per second of a matrix product, the best of ten."""
    kind = torch.bfloat16 if "bf16" in precision else torch.float32
    side = 8192 if device.type == "cuda" else 2048
    one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        synchronize(device)
        started = time.perf_counter()
        one @ other
        synchronize(device)
        best = min(best, time.perf_counter() - started)
    return 2 * side**3 / best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64, help="side of the images")
    parser.add_argument("--nz", type=int, default=100)
    parser.add_argument("--ngf", type=int, default=64)
    parser.add_argument("--ndf", type=int, default=64)
    parser.add_argument("--feature-weight", type=float, default=0.0, help="of ours")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10, help="timed steps in a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    keep_freed_memory()

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = LIGHTNING[resolve_precision(options.precision)]
    count = options.batch_size * (WARM_UP + options.steps)
    shape = (count, 3, options.size, options.size)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    theirs, ours, rates = [], [], []
    for _ in range(options.turns):
        rates.append(product_rate(precision, device))
        theirs.append(tutorial_loop(options, device, pixels))
        ours.append(our_loop(options, pixels, precision, options.steps)[0])
    operations = operations_per_image(options, pixels)
    tutorial, our, rate = map(statistics.median, (theirs, ours, rates))
    ratio = statistics.median(o / t for o, t in zip(ours, theirs, strict=True))
    share = statistics.median(o * operations / r for o, r in zip(ours, rates, strict=True))

    table = Table(title=f"{options.size}x{options.size}, batch {options.batch_size}, {device.type}")
    for column in ("", "images/s", "range over the turns"):
        table.add_column(column, justify="right" if column else "left")
    for name, value, all_of in (("tutorial, fp32", tutorial, theirs), (precision, our, ours)):
        table.add_row(name, f"{value:.1f}", f"{min(all_of):.1f} to {max(all_of):.1f}")
    Console().print(table)
    print(f"ratio: {ratio:.2f} (median of the turns' own)")
    print(f"share: {share:.0%} of {rate / 1e9:.0f} GFLOP/s; {operations / 1e9:.2f} GFLOP an image")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if options.json:
        figures = {"tutorial": tutorial, "ours": our, "ratio": ratio, "share": share}
        write_json(options.json, figures)


if __name__ == "__main__":
    main()
