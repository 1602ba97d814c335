"""What a guide costs: fitting it to samples, and estimating holes.

    python benchmarks/guide_cost.py                  # the bundled faces
    python benchmarks/guide_cost.py --size 128       # an untrained prior of that size, width 32

The fit is done anew, without the cache; its memory is what the process needs beyond that of the
loaded prior. Milliseconds are per image, for 64 images with one mask, and with a mask each.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from gan_inpaint.data import masks
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.guide import Guide
from gan_inpaint.models.dcgan import Discriminator, Generator
from gan_inpaint.priors.gan import Prior
from gan_inpaint.priors.gaussian import sample_gaussian
from gan_inpaint.priors.networks import save_prior
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.runtime.memory import keep_freed_memory
from gan_inpaint.runtime.seeding import numpy_rng

IMAGES = 64


def untrained(folder: str, size: int) -> Prior:
    """A prior with random weights: as slow as a trained one."""
    torch.manual_seed(0)
    path = Path(folder) / "untrained.safetensors"
    shape = {"size": size, "channels": 3, "nz": 256, "ngf": 32, "ndf": 32}
    about = shape | {"latent": "normal", "loss": "bce", "discriminator_norm": "batch"}
    save_prior(path, Generator(size, 3, 256, 32), Discriminator(size, 3, 32, "batch"), about)
    return load_prior(path)


def peak() -> float:
    """The process's largest memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def estimate(prior: Prior, guide: str, shared: bool) -> float:
    """Milliseconds per image."""
    images = prior.sample(IMAGES, seed=1)
    rngs = [numpy_rng("mask", 0, 0 if shared else number) for number in range(IMAGES)]
    known = torch.stack(
        [masks.pattern(prior.size, rng, "", missing=0.25, grain=0.06) for rng in rngs]
    )
    made = Guide(prior, SearchConfig(guide=guide))
    made(images[:1], known[:1])
    started = time.perf_counter()
    made(images, known)
    return 1000 * (time.perf_counter() - started) / IMAGES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", default="faces")
    parser.add_argument("--size", type=int, help="an untrained prior of that size instead")
    options = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GAN_INPAINT_CACHE"] = folder
        prior = untrained(folder, options.size) if options.size else load_prior(options.prior)
        before, started = peak(), time.perf_counter()
        sample_gaussian(prior)
        print(f"fit: {time.perf_counter() - started:.1f} s, {peak() - before:.0f} MB")
        started = time.perf_counter()
        sample_gaussian(prior)
        print(f"from the cache: {time.perf_counter() - started:.2f} s")
        kinds = ["samples"]
        kinds += ["data"] if prior.companion("gaussian") else []
        kinds += ["network"] if prior.companion("guide") else []
        table = Table(title=f"{prior.name}, {prior.size} pixels: ms per image")
        for column in ("guide", "one mask for all", "a mask each"):
            table.add_column(column, justify="left" if column == "guide" else "right")
        for kind in kinds:
            cells = (f"{estimate(prior, kind, shared):.1f}" for shared in (True, False))
            table.add_row(kind, *cells)
        Console(width=80).print(table)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
