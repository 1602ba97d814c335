"""Which training recipe is worth its computing time: variants at 32x32, equal processor time each.

    python benchmarks/recipe.py --data celeba.zip --minutes 5 [--variants plain nz256] [--json PATH]
    python benchmarks/recipe.py --data celeba.zip --more lfw.zip --soft celeba_native64.zip ...

Every variant trains on CelebA without the last 500 faces, on one thread, until it has used so
many minutes of processor time; then the averaged generator (here without the package's faster
start of the average) is judged on held-out faces: hole PSNR for the centre and for 80 % missing at
random, and the Fréchet feature distance, precision and recall between them and as many samples.
The loop is a bare one with fresh codes in every step, so that variants which did not earn a place
in the package (R1, R3GAN's loss, residual blocks) can be tried beside those that did. The variants
`lfw` and `soft_first` need further images: `--more`, a zip or folder in CelebA's geometry, and
`--soft`, whole frames squashed to a square.
"""

import argparse
import copy
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from gan_inpaint.data import masks
from gan_inpaint.data.datasets import CelebA
from gan_inpaint.data.images import to_float
from gan_inpaint.data.loading import decode_cached
from gan_inpaint.evaluation.frechet import Described, Features, FrechetDistance, describe
from gan_inpaint.functional.adversarial import discriminator_loss, generator_loss
from gan_inpaint.functional.augment import POLICIES, diffaugment, mirrored
from gan_inpaint.functional.metrics import precision_recall, psnr
from gan_inpaint.inversion.pipeline import inpaint
from gan_inpaint.models.code_encoder import CodeEncoder
from gan_inpaint.models.dcgan import Discriminator, Generator, running_statistics_kept
from gan_inpaint.models.feature_discriminator import FeatureDiscriminator, FeaturePyramid
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
    "features": 0.0,  # weight of the discriminators on features
    "reconstruction": 0.0,  # weight of reconstructed images
    "blocks": "dcgan",  # or residual
    "deviation": False,  # whether D sees the standard deviation over its minibatch
    "images": "sharp",  # or more, soft_first
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
    "width48": {"nz": 256, "width": 48},
    "features": {"nz": 256, "features": 1.0},
    "reconstruction": {"nz": 256, "reconstruction": 30.0},
    "r1_nz256": {"nz": 256, "norm": "none", "r1": 1.0},
    "r3gan": {"nz": 256, "norm": "none", "r1": 1.0, "loss": "relativistic"},
    "residual": {"nz": 256, "blocks": "residual"},
    "deviation": {"nz": 256, "deviation": True},
    "lfw": {"nz": 256, "images": "more"},
    "soft_first": {"nz": 256, "images": "soft_first"},
}
SIZE = 32
DECAYS = (0.0, 0.99, 0.995, 0.998, 0.999)  # of the averaged generator; 0 is the last iterate


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """Half the mean squared gradient at real images. Source: Mescheder et al., ICML 2018, eq. 9."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean() / 2


class Residual(nn.Module):
    """Two 3x3 convolutions beside a 1x1 one, after or before a change of the side by two.

    Source: Gulrajani et al., NeurIPS 2017, appendix F, with BatchNorm in both networks.
    """

    def __init__(self, before: int, after: int, up: bool):
        super().__init__()
        self.up = up
        self.main = nn.Sequential(
            *(nn.BatchNorm2d(before), nn.ReLU(), nn.Conv2d(before, after, 3, 1, 1, bias=False)),
            *(nn.BatchNorm2d(after), nn.ReLU(), nn.Conv2d(after, after, 3, 1, 1)),
        )
        self.beside = nn.Conv2d(before, after, 1)

    def forward(self, maps: Tensor) -> Tensor:
        if self.up:
            maps = F.interpolate(maps, scale_factor=2)
        maps = self.main(maps) + self.beside(maps)
        return maps if self.up else F.avg_pool2d(maps, 2)


class ResidualGenerator(nn.Module):
    """From 4x4 to 32x32 by three blocks, as wide as the DCGAN."""

    def __init__(self, nz: int, width: int):
        super().__init__()
        self.first = nn.Linear(nz, 64 * width)
        blocks = (Residual(width * a, width * b, True) for a, b in ((4, 4), (4, 2), (2, 1)))
        last = (nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 3, 3, 1, 1), nn.Tanh())
        self.main = nn.Sequential(*blocks, *last)

    def forward(self, z: Tensor) -> Tensor:
        return self.main(self.first(z).unflatten(1, (-1, 4, 4)))


def residual_discriminator(width: int) -> nn.Module:
    blocks = (Residual(width * a, width * b, False) for a, b in ((1, 2), (2, 4), (4, 4)))
    last = (nn.ReLU(), nn.Conv2d(4 * width, 1, 4), nn.Flatten(0))
    return nn.Sequential(nn.Conv2d(3, width, 3, 1, 1), *blocks, *last)


class WithDeviation(nn.Module):
    """A DCGAN's discriminator whose last layer sees how much its minibatch varies.

    Source: Karras et al., ICLR 2018, section 3, over the whole minibatch.
    """

    def __init__(self, discriminator: Discriminator):
        super().__init__()
        *layers, last = discriminator.main
        self.features = nn.Sequential(*layers)
        self.last = nn.Conv2d(cast(nn.Conv2d, last).in_channels + 1, 1, 4, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        spread = (maps.var(dim=0) + 1e-8).sqrt().mean()
        return self.last(torch.cat([maps, spread.expand_as(maps[:, :1])], dim=1)).flatten()


def networks(variant: dict) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator of a variant."""
    width = variant["width"]
    if variant["blocks"] == "residual":
        return ResidualGenerator(variant["nz"], width), residual_discriminator(width)
    discriminator = Discriminator(SIZE, 3, width, variant["norm"])
    judge = WithDeviation(discriminator) if variant["deviation"] else discriminator
    return Generator(SIZE, 3, variant["nz"], width), judge


def discriminators_loss(real: Tensor, fake: Tensor, loss: str) -> Tensor:
    if loss == "relativistic":  # Huang et al., NeurIPS 2024, eq. 2
        return F.softplus(fake - real).mean()
    return discriminator_loss(real, fake, loss)


def generators_loss(fake: Tensor, real: Tensor | None, loss: str) -> Tensor:
    return generator_loss(fake, loss) if real is None else F.softplus(real - fake).mean()


def train(
    variant: dict, images: dict[str, Tensor], minutes: float
) -> tuple[dict[float, nn.Module], int]:
    """The averaged generators, one a decay, and how many images were seen."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    channels_last: Any = {"memory_format": torch.channels_last}
    generator, discriminator = (network.to(**channels_last) for network in networks(variant))
    if variant["features"]:
        pyramid = FeaturePyramid().to(**channels_last)
        by_features = FeatureDiscriminator(pyramid.widths)
        for_heads = torch.optim.Adam(by_features.trained(), 2e-4, (0.0, 0.99))
    encoder = CodeEncoder(SIZE, 3, variant["nz"]) if variant["reconstruction"] else None
    for_g, for_d = (
        torch.optim.Adam(weights, variant["lr"], (0.5, 0.999))
        for weights in (
            [*generator.parameters(), *(encoder.parameters() if encoder else ())],
            list(discriminator.parameters()),
        )
    )
    averages = {decay: copy.deepcopy(generator).requires_grad_(False) for decay in DECAYS}
    batch, step, started = variant["batch"], 0, time.process_time()

    def judged(images: Tensor) -> Tensor:
        return discriminator(diffaugment(images, variant["augment"], rng))

    def seen(images: Tensor) -> Tensor:
        return by_features(pyramid(diffaugment(images, POLICIES, rng)))

    def generated(real: Tensor) -> Tensor:
        codes = torch.randn(batch, variant["nz"])
        return generator(encoder.mix(codes, real) if encoder else codes)

    pixels = torch.empty(0)
    left: list[Tensor] = []
    while (used := time.process_time() - started) < 60 * minutes:
        soft = variant["images"] == "soft_first" and used < 30 * minutes
        chosen = images["soft" if soft else "more" if variant["images"] == "more" else "sharp"]
        if chosen is not pixels or not left:
            pixels, left = chosen, list(torch.randperm(len(chosen)).split(batch)[:-1])
        real = mirrored(pixels[left.pop()].float() / 127.5 - 1, rng).contiguous(**channels_last)
        with torch.no_grad():
            fake = generated(real)
        loss = discriminators_loss(judged(real), judged(fake), variant["loss"])
        if variant["r1"] and step % 16 == 0:  # lazily, as Karras et al., CVPR 2020
            loss = loss + 16 * variant["r1"] * r1_penalty(discriminator, real)
            if variant["loss"] == "relativistic":  # and R2
                loss = loss + 16 * variant["r1"] * r1_penalty(discriminator, fake)
        for_d.zero_grad()
        loss.backward()
        for_d.step()
        if variant["features"]:
            for_heads.zero_grad()
            discriminator_loss(seen(real), seen(fake), "hinge").backward()
            for_heads.step()
        discriminator.requires_grad_(False)
        with running_statistics_kept(discriminator):
            drawn = generated(real)
            other = judged(real) if variant["loss"] == "relativistic" else None
            loss = generators_loss(judged(drawn), other, variant["loss"])
            if variant["features"]:
                loss = loss + variant["features"] * generator_loss(seen(drawn), "hinge")
            if encoder:
                loss = loss + variant["reconstruction"] * encoder.error(drawn, real)
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
    generator: nn.Module, nz: int, real: Tensor, options: argparse.Namespace, features: Features
) -> dict:
    """Held-out figures of one generator."""
    latent = LatentSpace("normal", (nz,))
    if isinstance(generator, Generator):
        generator = freeze(generator)
    prior = Prior(generator.eval(), None, image_shape=(3, SIZE, SIZE), latent=latent)
    truth = real[: options.images]
    held_out = describe(features, real)
    drawn = describe(features, prior.sample(len(real), 0))
    precision, recall = precision_recall(held_out, drawn)
    distance = FrechetDistance(held_out, Described())(drawn)
    figures = {"distance": distance, "precision": precision, "recall": recall}
    for name, mask in (
        ("center", partial(masks.center, side=0.5)),
        ("random", partial(masks.random, missing=0.8)),
    ):
        known = torch.stack([mask(SIZE, numpy_rng("mask", 0, i), "") for i in range(len(truth))])
        search = {"lam": 0.0, "guide": "none", "steps": 60, "radius": options.radius}
        result = inpaint(truth, known, prior, **search)
        figures[name] = float(psnr(result.images - truth, (~known).float()).mean())
    return figures


def faces(path: str, held_out: int) -> Tensor:
    """uint8 faces in CelebA's geometry, but for the last ones."""
    pixels = decode_cached(CelebA(SIZE, 3, "train", path=path, held_out=held_out)).pixels
    return torch.from_numpy(pixels.copy())


def squashed(path: str) -> Tensor:
    """uint8 faces from whole frames that were squashed to a square, cropped as CelebA's."""
    found = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".jpg"):
                frame = Image.open(archive.open(name)).convert("RGB")
                face = frame.resize((89, 109), Image.Resampling.LANCZOS).crop((7, 17, 81, 91))
                small = face.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
                found.append(torch.from_numpy(np.array(small)).permute(2, 0, 1))
    return torch.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="CelebA, zip or folder")
    parser.add_argument("--more", help="further faces for `lfw`, zip or folder")
    parser.add_argument("--soft", help="soft faces for `soft_first`, zip of 64x64 frames")
    parser.add_argument("--minutes", type=float, default=5, help="processor time of each variant")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--decays", nargs="+", type=float, default=[0.995], choices=DECAYS)
    parser.add_argument("--images", type=int, default=64, help="held-out faces to reconstruct")
    parser.add_argument("--radius", type=float, default=0.9, help="of the searches")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()

    torch.set_num_threads(1)
    needed = {(PLAIN | VARIANTS[name])["images"] for name in options.variants}
    sharp = faces(options.data, 500)
    images = {"sharp": sharp}
    if "more" in needed:
        images["more"] = torch.cat([sharp, faces(options.more, 1)])
    if "soft_first" in needed:
        images["soft"] = torch.cat([sharp, squashed(options.soft)])
    real = to_float(decode_cached(CelebA(SIZE, 3, "val", path=options.data, held_out=500)).pixels)
    features = Features()
    table = Table(title=f"{options.minutes:g} minutes of one processor each, {SIZE}x{SIZE}")
    figures_shown = ("center", "random 80 %", "Fréchet distance", "precision", "recall")
    for column in ("variant", "EMA", "images seen", *figures_shown):
        table.add_column(column, justify="left" if column == "variant" else "right")
    written: dict[str, float] = {}
    for name in options.variants:
        variant = PLAIN | VARIANTS[name]
        averages, seen = train(variant, images, options.minutes)
        for decay in options.decays:
            figures = judge(averages[decay], variant["nz"], real, options, features)
            written |= {f"{name}_{decay:g}_{key}": value for key, value in figures.items()}
            table.add_row(
                *(name, f"{decay:g}", f"{seen:,}"),
                *(f"{figures[key]:.2f} dB" for key in ("center", "random")),
                f"{figures['distance']:.1f}",
                *(f"{figures[key]:.2f}" for key in ("precision", "recall")),
            )
            print(f"{name} {decay:g}: {figures}", flush=True)
    Console().print(table)
    if options.json:
        write_json(options.json, written)


if __name__ == "__main__":
    main()
