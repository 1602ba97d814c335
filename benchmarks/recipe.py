"""Which training recipe is worth its computing time: variants at 32x32, equal processor time each.

    python benchmarks/recipe.py --data celeba.zip --minutes 5 [--variants plain nz256] [--json PATH]

Every variant trains on CelebA without the last 500 faces, on one thread, until it has used so
many minutes of processor time; then the averaged generator (here without the package's faster
start of the average) is judged on held-out faces: hole PSNR for the centre and for 80 % missing at
random, and the Fréchet feature distance between them and as many samples. The loop is a bare one
with fresh codes in every step, so that variants which did not earn a place in the package (R1) can
be tried beside those that did.
"""

import argparse
import copy
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from gan_inpaint.data import masks
from gan_inpaint.data.datasets import CelebA
from gan_inpaint.data.images import to_float
from gan_inpaint.data.loading import decode_cached
from gan_inpaint.evaluation import frechet
from gan_inpaint.functional.adversarial import discriminator_loss, generator_loss
from gan_inpaint.functional.augment import diffaugment, mirrored
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.inversion.pipeline import inpaint
from gan_inpaint.models.dcgan import Discriminator, Generator, running_statistics_kept
from gan_inpaint.priors.freeze import freeze
from gan_inpaint.priors.gan import Prior
from gan_inpaint.priors.latent_space import LatentSpace
from gan_inpaint.runtime.io import write_json
from gan_inpaint.runtime.seeding import numpy_rng

PLAIN = {
    "nz": 100,
    "width": 32,  # ngf and ndf
    "norm": "batch",
    "r1": 0.0,
    "augment": (),
    "loss": "bce",
    "lr": 2e-4,
    "batch": 64,
}
VARIANTS: dict[str, dict] = {
    "plain": {},
    "nz256": {"nz": 256},
    "width64": {"width": 64},
    "spectral": {"norm": "spectral"},
    "hinge_spectral": {"norm": "spectral", "loss": "hinge"},
    "r1": {"norm": "none", "r1": 1.0},
    "translation": {"augment": ("translation",)},
    "diffaugment": {"augment": ("color", "translation", "cutout")},
    "lr4e-4": {"lr": 4e-4},
    "batch32": {"batch": 32},
}
SIZE = 32
DECAYS = (0.0, 0.99, 0.995, 0.998, 0.999)  # of the averaged generator; 0 is the last iterate


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """Half the mean squared gradient at real images. Source: Mescheder et al., ICML 2018, eq. 9."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 2


def train(variant: dict, pixels: Tensor, minutes: float) -> tuple[dict[float, Generator], int]:
    """The averaged generators, one a decay, and how many images were seen."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    channels_last: Any = {"memory_format": torch.channels_last}
    generator = Generator(SIZE, 3, variant["nz"], variant["width"]).to(**channels_last)
    discriminator = Discriminator(SIZE, 3, variant["width"], variant["norm"]).to(**channels_last)
    for_g, for_d = (
        torch.optim.Adam(network.parameters(), variant["lr"], (0.5, 0.999))
        for network in (generator, discriminator)
    )
    averages = {decay: copy.deepcopy(generator).requires_grad_(False) for decay in DECAYS}
    batch, step, started = variant["batch"], 0, time.process_time()

    def judged(images: Tensor) -> Tensor:
        return discriminator(diffaugment(images, variant["augment"], rng))

    while time.process_time() - started < 60 * minutes:
        if step % (len(pixels) // batch) == 0:
            order = torch.randperm(len(pixels)).split(batch)
        real = mirrored(
            pixels[order[step % (len(pixels) // batch)]].float() / 127.5 - 1, rng
        ).contiguous(**channels_last)
        with torch.no_grad():
            fake = generator(torch.randn(batch, variant["nz"]))
        loss = discriminator_loss(judged(real), judged(fake), variant["loss"])
        if variant["r1"] and step % 16 == 0:  # lazily, as Karras et al., CVPR 2020
            loss = loss + 16 * variant["r1"] * r1_penalty(discriminator, real)
        for_d.zero_grad()
        loss.backward()
        for_d.step()
        discriminator.requires_grad_(False)
        with running_statistics_kept(discriminator):
            images = generator(torch.randn(batch, variant["nz"]))
            loss = generator_loss(judged(images), variant["loss"])
            for_g.zero_grad()
            loss.backward()
            for_g.step()
        discriminator.requires_grad_(True)
        step += 1
        for decay, average in averages.items():
            state = generator.state_dict()
            for name, value in average.state_dict().items():
                if value.is_floating_point():
                    value.lerp_(state[name], 1 - decay)
    return averages, step * batch


def judge(
    generator: Generator, nz: int, real: Tensor, images: int, distance: frechet.FrechetDistance
) -> dict:
    """Held-out figures of one generator."""
    latent = LatentSpace("normal", (nz,))
    prior = Prior(freeze(generator), None, image_shape=(3, SIZE, SIZE), latent=latent)
    truth = real[:images]
    figures = {"distance": distance(prior.sample(len(real), 0))}
    for name, mask in (
        ("center", partial(masks.center, side=0.5)),
        ("random", partial(masks.random, missing=0.8)),
    ):
        known = torch.stack([mask(SIZE, numpy_rng("mask", 0, i), "") for i in range(images)])
        result = inpaint(truth, known, prior, lam=0.0, guide="none", steps=60, radius=0.9)
        figures[name] = float(psnr(result.images - truth, (~known).float()).mean())
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="CelebA, zip or folder")
    parser.add_argument("--minutes", type=float, default=5, help="processor time of each variant")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--decays", nargs="+", type=float, default=[0.995], choices=DECAYS)
    parser.add_argument("--images", type=int, default=64, help="held-out faces to reconstruct")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()

    torch.set_num_threads(1)
    pixels = torch.from_numpy(
        decode_cached(CelebA(SIZE, 3, "train", path=options.data, held_out=500)).pixels.copy()
    )
    real = to_float(decode_cached(CelebA(SIZE, 3, "val", path=options.data, held_out=500)).pixels)
    distance = frechet.FrechetDistance(real)
    table = Table(title=f"{options.minutes:g} minutes of one processor each, {SIZE}x{SIZE}")
    for column in ("variant", "EMA", "images seen", "center", "random 80 %", "feature distance"):
        table.add_column(column, justify="left" if column == "variant" else "right")
    written: dict[str, float] = {}
    for name in options.variants:
        variant = PLAIN | VARIANTS[name]
        averages, seen = train(variant, pixels, options.minutes)
        for decay in options.decays:
            figures = judge(averages[decay], variant["nz"], real, options.images, distance)
            written |= {f"{name}_{decay:g}_{key}": value for key, value in figures.items()}
            table.add_row(
                *(name, f"{decay:g}", f"{seen:,}"),
                *(f"{figures[key]:.2f} dB" for key in ("center", "random")),
                f"{figures['distance']:.1f}",
            )
            print(f"{name} {decay:g}: {figures}", flush=True)
    Console().print(table)
    if options.json:
        write_json(options.json, written)


if __name__ == "__main__":
    main()
