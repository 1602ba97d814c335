"""What a caption is worth: coloured digits with the right, no and the wrong caption.

    python benchmarks/captions.py [--prior captions] [--plain RUN] [--figure captions.png]

All 500 held-out digits under a centre hole of 0.7 of the side. Hole PSNR with paired 95 % intervals
against no caption, of the search and of its linear guide alone; whether the digit and its colour in
the result are those of the image, and those of the caption, judged by a small classifier that is
trained on the real training images first (two minutes). `--plain` is a prior of the same
settings without conditions. The figure has a damaged image in each row, under several captions.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from held_out import SEARCH
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from gan_inpaint import Prior, inpaint, load_prior
from gan_inpaint.data.digits import COLOURS, CaptionedDigits, describe_digit
from gan_inpaint.data.images import grid, highlight_hole, to_float
from gan_inpaint.data.masks import center
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.guide import Guide
from gan_inpaint.reporting.figures import labelled
from gan_inpaint.runtime.io import write_png

SIDE = 0.7  # of the hole, as a fraction of the image's
EPOCHS = 10  # of the classifier
NAMES = list(COLOURS)
Facts = list[tuple[str, int, str]]


class Classifier(nn.Module):
    """Digit and colour of an image."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for narrow, wide in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(narrow, wide, 3, 1, 1), nn.BatchNorm2d(wide), nn.ReLU()]
            layers += [nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, 128), nn.ReLU())
        self.digit, self.colour = nn.Linear(128, 10), nn.Linear(128, len(NAMES))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(images)
        return self.digit(features), self.colour(features)


def trained_classifier(images: Tensor, facts: Facts) -> Classifier:
    torch.manual_seed(0)
    model, (digits, colours) = Classifier(), targets(facts)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    steps = EPOCHS * (len(images) // 64)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(64):
            if len(batch) < 64:
                continue
            digit, colour = model(images[batch])
            loss = F.cross_entropy(digit, digits[batch]) + F.cross_entropy(colour, colours[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay.step()
    return model.eval()


def targets(facts: Facts) -> tuple[Tensor, Tensor]:
    return (
        torch.tensor([digit for _, digit, _ in facts]),
        torch.tensor([NAMES.index(colour) for colour, _, _ in facts]),
    )


@torch.no_grad()
def accuracy(model: Classifier, images: Tensor, facts: Facts) -> tuple[float, float]:
    """Of digit and colour, as fractions."""
    digit, colour = (logits.argmax(dim=1) for logits in model(images))
    digits, colours = targets(facts)
    return float((digit == digits).float().mean()), float((colour == colours).float().mean())


def other_facts(facts: Facts) -> Facts:
    """Another digit in another colour, on the same background."""
    rng, changed = np.random.default_rng(0), []
    for colour, digit, background in facts:
        others = [name for name in NAMES if name not in (colour, background)]
        changed.append(
            (str(rng.choice(others)), (digit + int(rng.integers(1, 10))) % 10, background)
        )
    return changed


def held_out(split: str) -> tuple[Tensor, Facts]:
    source = CaptionedDigits(32, 3, split)
    images = to_float(np.stack([source[index] for index in range(len(source))]))
    return images, [source.facts(index) for index in range(len(source))]


def draw(path: Path, prior: Prior, images: Tensor, facts: Facts, known: Tensor) -> None:
    """A damaged image in each row; its own caption, no caption, and two others."""
    count = 6
    images, facts = images[:count], facts[:count]
    both = list(zip(facts, other_facts(facts), strict=True))
    asked = [
        [describe_digit(*own) for own in facts],
        [None] * count,
        [describe_digit(other[0], *own[1:]) for own, other in both],
        [describe_digit(own[0], other[1], own[2]) for own, other in both],
    ]
    columns = [highlight_hole(images, known)]
    columns += [
        inpaint(images, known, prior, condition=told, restarts=4, **SEARCH).images for told in asked
    ]
    headings = ["damaged", "its caption", "none", "other colour", "other digit", "true"]
    rows = [describe_digit(*own) for own in facts]
    write_png(path, labelled(grid([*columns, images]), rows, headings))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", default="captions")
    parser.add_argument("--plain", help="a prior without conditions, trained equally long")
    parser.add_argument("--restarts", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    prior = load_prior(options.prior)
    images, facts = held_out("val")
    known = center(32, np.random.default_rng(0), "", side=SIDE)[None]
    if options.figure:
        draw(options.figure, prior, images, facts, known)
        return
    model = trained_classifier(*held_out("train"))
    wrong, hole = other_facts(facts), (~known).float()
    asked: dict[str, tuple[Prior, Facts | None]] = {
        "none": (prior, None),
        "right": (prior, facts),
        "wrong": (prior, wrong),
    }
    if options.plain:
        asked["prior without conditions"] = (load_prior(options.plain), None)
    title = f"{len(images)} held-out digits, centre hole of {SIDE} of the side, dB and %"
    table = Table(title=title)
    for column in ("filled by", "caption", "hole PSNR", "against none", "digit", "colour"):
        table.add_column(column)
    table.add_column("as the caption says")
    table.add_row("truth", "", "", "", *cells(model, images, facts), "")
    nothing: dict[str, Tensor] = {}
    for name, (own, told) in asked.items():
        captions = None if told is None else [describe_digit(*one) for one in told]
        search = SearchConfig(restarts=options.restarts, **SEARCH)
        guide = Guide(own, SearchConfig())
        vectors = None if captions is None else own.encode(captions)
        everywhere = known.expand(len(images), -1, -1, -1)
        for way, found in (
            ("search", inpaint(images, known, own, search, captions).images),
            ("linear estimate", guide(images, everywhere, vectors)[:, 0]),
        ):
            filled = torch.where(known, images, found)
            values = psnr(filled - images, hole)
            change = values - nothing.setdefault(way, values)
            error = 1.96 * float(change.std()) / len(change) ** 0.5
            against = f"{change.mean():+.2f} ± {error:.2f}" if name != "none" else ""
            obeyed = " ".join(cells(model, filled, told)) if told else ""
            table.add_row(
                way, name, f"{values.mean():.2f}", against, *cells(model, filled, facts), obeyed
            )
    Console(width=140).print(table)


def cells(model: Classifier, images: Tensor, facts: Facts) -> list[str]:
    return [f"{100 * share:.1f}" for share in accuracy(model, images, facts)]


if __name__ == "__main__":
    main()
