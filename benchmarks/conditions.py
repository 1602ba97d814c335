"""What a condition is worth: the right, no and the wrong one, under holes that hide what it says.

    python -m gan_inpaint.train +experiment=dcgan conditioning=label
    python benchmarks/conditions.py labels --prior outputs/train/dcgan/<time> [--plain RUN]
    python benchmarks/conditions.py captions [--plain RUN] [--figure captions.png]
    python benchmarks/conditions.py attributes --data celeba9k.zip \
        --attributes celeba_attributes.csv
    python benchmarks/conditions.py attributes --figure attributes.png

Hole PSNR with paired 95 % intervals against no condition. `--plain` is a prior of the same settings
that was trained without conditions.

labels: all 500 held-out digits under a centre hole of 0.5 and of 0.7 of the side, filled by the
search and by its linear guide alone; and how often the label that `condition=all` finds is right.
captions: all 500 held-out coloured digits under a centre hole of 0.7, likewise. attributes: for
each of Smiling, Eyeglasses and Male, `count` held-out faces, half of them with it as far as there
are so many. Whether a result shows what the image did, and what was asked for, is judged by a small
classifier that is trained on the real training images first (minutes).
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from held_out import SEARCH
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from gan_inpaint import Prior, inpaint, load_prior
from gan_inpaint.data.conditions import AttributeTable
from gan_inpaint.data.datasets import CelebA
from gan_inpaint.data.digits import COLOURS, CaptionedDigits, Digits, describe_digit
from gan_inpaint.data.images import grid, highlight_hole, to_float
from gan_inpaint.data.loading import decode_cached
from gan_inpaint.data.masks import center
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.guide.estimates import Guide
from gan_inpaint.reporting.figures import labelled
from gan_inpaint.runtime.io import write_png

SIDE = 0.7  # of a centre hole, as a fraction of the image's
NAMES = list(COLOURS)
HOLES = {  # attribute -> the box that hides it: left, top, right, bottom of 64 pixels
    "Smiling": (14, 38, 50, 58),
    "Eyeglasses": (8, 20, 56, 38),
    "Male": (10, 10, 54, 60),
}
Facts = list[tuple[str, int, str]]  # colour, digit, background
Asked = dict[str, tuple[Prior, Any]]  # name -> whose search, under which conditions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(required=True)
    for measure, prior in ((labels, None), (captions, "captions"), (attributes, "face_attributes")):
        kind = kinds.add_parser(measure.__name__)
        kind.set_defaults(measure=measure)
        kind.add_argument("--prior", default=prior, required=prior is None)
        kind.add_argument("--plain", help="a prior without conditions, trained equally long")
        kind.add_argument("--data", help="CelebA, zip or folder")
        kind.add_argument("--attributes", help="its attributes")
        kind.add_argument("--count", type=int, default=200, help="faces for each attribute")
        kind.add_argument("--figure", type=Path)
    options = parser.parse_args()
    table = options.measure(options, load_prior(options.prior))
    if table is not None:
        Console(width=140).print(table)


def table_of(title: str, *columns: str) -> Table:
    table = Table(title=title)
    for column in (*columns, "hole PSNR", "against none"):
        table.add_column(column)
    return table


def asked_of(options: argparse.Namespace, prior: Prior, right: Any, wrong: Any) -> Asked:
    asked: Asked = {"none": (prior, None), "right": (prior, right), "wrong": (prior, wrong)}
    if options.plain:
        asked["prior without conditions"] = (load_prior(options.plain), None)
    return asked


def against(values: Tensor, base: Tensor) -> list[str]:
    """Mean hole PSNR, and its paired difference with a 95 % interval."""
    change = values - base
    error = 1.96 * float(change.std()) / len(change) ** 0.5
    shown = f"{change.mean():+.2f} ± {error:.2f}" if bool(change.any()) else ""
    return [f"{values.mean():.2f}", shown]


def both_ways(images: Tensor, known: Tensor, prior: Prior, condition: Any) -> dict[str, Tensor]:
    """The results of the search, and of its linear guide alone."""
    vectors = None if condition is None else prior.encode(condition)
    everywhere = known.expand(len(images), -1, -1, -1)
    linear = Guide(prior)(images, everywhere, vectors)[:, 0]
    return {
        "search": inpaint(images, known, prior, condition=condition, **SEARCH).images,
        "linear estimate": torch.where(known, images, linear),
    }


def square(side: float) -> Tensor:
    """``(1, 1, 32, 32)`` bool."""
    return center(32, np.random.default_rng(0), "", side=side)[None]


def trained(
    model: nn.Module, epochs: int, images: Tensor, loss: Callable[[Any, Tensor], Tensor]
) -> nn.Module:
    """A classifier after some epochs of Adam; ``loss(outputs, batch)`` knows the truth."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    steps = epochs * (len(images) // 64)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            if len(batch) < 64:
                continue
            optimizer.zero_grad()
            loss(model(images[batch]), batch).backward()
            optimizer.step()
            decay.step()
    return model.eval()


def convolutions(*widths: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for narrow, wide in pairwise(widths):
        layers += [nn.Conv2d(narrow, wide, 3, 1, 1), nn.BatchNorm2d(wide), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
    return [*layers, nn.Flatten()]


# ---------------------------------------------------------------- labels


def labels(options: argparse.Namespace, prior: Prior) -> Table:
    source = Digits(32, 1, "val")
    images = to_float(np.stack([source[index] for index in range(len(source))]))
    right = [source.condition(index) for index in range(len(source))]
    wrong = [str((int(label) + 1 + index % 9) % 10) for index, label in enumerate(right)]
    table = table_of(f"{len(images)} held-out digits, dB", "side of the hole", "filled by", "label")
    for side in (0.5, SIDE):
        known, nothing = square(side), dict[str, Tensor]()
        for name, (own, told) in asked_of(options, prior, right, wrong).items():
            for way, filled in both_ways(images, known, own, told).items():
                values = psnr(filled - images, (~known).float())
                base = nothing.setdefault(way, values)
                table.add_row(str(side), way, name, *against(values, base))
        result = inpaint(images, known, prior, condition="all", **SEARCH)
        assert prior.encoder is not None
        assert prior.encoder.classes is not None
        found = [prior.encoder.classes[index] for index in result.restart.tolist()]
        share = np.mean([one == label for one, label in zip(found, right, strict=True)])
        values = psnr(result.images - images, (~known).float())
        name = f"all: {100 * share:.0f} % found"
        table.add_row(str(side), "search", name, *against(values, nothing["search"]))
    return table


# ---------------------------------------------------------------- captions


class DigitAndColour(nn.Module):
    """``(B, 3, 32, 32)`` -> logits ``(B, 10)`` and ``(B, colours)``."""

    def __init__(self) -> None:
        super().__init__()
        body = [*convolutions(3, 32, 64, 128), nn.Linear(128 * 16, 128), nn.ReLU()]
        self.body = nn.Sequential(*body)
        self.digit, self.colour = nn.Linear(128, 10), nn.Linear(128, len(NAMES))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(images)
        return self.digit(features), self.colour(features)


def captions(options: argparse.Namespace, prior: Prior) -> Table | None:
    images, facts = coloured_digits("val")
    known, wrong = square(SIDE), other_facts(facts)
    if options.figure:
        draw_captions(options.figure, prior, images, facts, known)
        return None
    judge = caption_judge(*coloured_digits("train"))
    title = f"{len(images)} held-out digits, centre hole of {SIDE} of the side, dB and %"
    table = table_of(title, "filled by", "caption")
    for column in ("digit", "colour", "as the caption says"):
        table.add_column(column)
    table.add_row("truth", "", "", "", *judge(images, facts), "")
    nothing: dict[str, Tensor] = {}
    for name, (own, told) in asked_of(options, prior, facts, wrong).items():
        words = None if told is None else [describe_digit(*one) for one in told]
        for way, filled in both_ways(images, known, own, words).items():
            values = psnr(filled - images, (~known).float())
            figures = against(values, nothing.setdefault(way, values))
            obeyed = " ".join(judge(filled, told)) if told else ""
            table.add_row(way, name, *figures, *judge(filled, facts), obeyed)
    return table


def caption_judge(images: Tensor, facts: Facts) -> Callable[[Tensor, Facts], list[str]]:
    """Percentages of images that show the digit and the colour of the facts."""

    def truth(facts: Facts) -> tuple[Tensor, Tensor]:
        digits = torch.tensor([digit for _, digit, _ in facts])
        return digits, torch.tensor([NAMES.index(colour) for colour, _, _ in facts])

    torch.manual_seed(0)
    digits, colours = truth(facts)

    def loss(outputs: tuple[Tensor, Tensor], batch: Tensor) -> Tensor:
        digit, colour = outputs
        return F.cross_entropy(digit, digits[batch]) + F.cross_entropy(colour, colours[batch])

    model = trained(DigitAndColour(), 10, images, loss)

    @torch.no_grad()
    def judge(images: Tensor, facts: Facts) -> list[str]:
        pairs = zip(model(images), truth(facts), strict=True)
        return [f"{100 * float((o.argmax(dim=1) == t).float().mean()):.1f}" for o, t in pairs]

    return judge


def other_facts(facts: Facts) -> Facts:
    """Another digit in another colour, on the same background."""
    rng, changed = np.random.default_rng(0), []
    for colour, digit, background in facts:
        others = [name for name in NAMES if name not in (colour, background)]
        other = str(rng.choice(others)), (digit + int(rng.integers(1, 10))) % 10
        changed.append((*other, background))
    return changed


def coloured_digits(split: str) -> tuple[Tensor, Facts]:
    source = CaptionedDigits(32, 3, split)
    images = to_float(np.stack([source[index] for index in range(len(source))]))
    return images, [source.facts(index) for index in range(len(source))]


def draw_captions(path: Path, prior: Prior, images: Tensor, facts: Facts, known: Tensor) -> None:
    """A damaged image in each row; its own caption, no caption, and two others."""
    images, facts = images[:6], facts[:6]
    both = list(zip(facts, other_facts(facts), strict=True))
    own = [describe_digit(*one) for one in facts]
    asked = [
        own,
        [None] * len(facts),
        [describe_digit(other[0], *one[1:]) for one, other in both],
        [describe_digit(one[0], other[1], one[2]) for one, other in both],
    ]
    columns = [highlight_hole(images, known)]
    columns += [
        inpaint(images, known, prior, condition=told, restarts=4, **SEARCH).images for told in asked
    ]
    headings = ["damaged", "its caption", "none", "other colour", "other digit", "true"]
    write_png(path, labelled(grid([*columns, images]), own, headings))


# ---------------------------------------------------------------- attributes


def attributes(options: argparse.Namespace, prior: Prior) -> Table | None:
    if options.figure:
        draw_attributes(options.figure, prior)
        return None
    table = AttributeTable(options.attributes)
    model = attribute_classifier(*faces(options.data, table, "train"))
    images, signs = faces(options.data, table, "val")
    title = f"{options.count} held-out faces each, one completion"
    shown = table_of(title, "attribute", "condition")
    for column in ("as it was", "as asked"):
        shown.add_column(column)
    for number, name in enumerate(HOLES):
        own = with_and_without(signs[:, number], options.count)
        some, truth, known = images[own], signs[own, number], box_hidden(name)
        shown.add_row(name, "(real faces)", "", "", share(model(some)[:, number], truth), "")
        base = None
        for label, sign in (("none", 0), ("right", 1), ("wrong", -1)):
            asked: list[Any] = [{name: sign * int(s)} if sign else None for s in truth]
            found = inpaint(some, known, prior, condition=asked, **SEARCH).images
            values = psnr(found - some, (~known).float())
            base = values if base is None else base
            with torch.no_grad():
                logits = model(found)[:, number]
            obeyed = share(logits, truth * sign) if sign else ""
            shown.add_row(name, label, *against(values, base), share(logits, truth), obeyed)
    return shown


def attribute_classifier(images: Tensor, signs: Tensor) -> nn.Module:
    """``(B, 3, 64, 64)`` -> ``(B, 3)`` logits of the attributes."""
    torch.manual_seed(0)
    head = [nn.Dropout(0.3), nn.Linear(2048, signs.shape[1])]
    model = nn.Sequential(*convolutions(3, 32, 64, 128, 128), *head)

    def loss(logits: Tensor, batch: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, (signs[batch] > 0).float())

    return trained(model, 6, images, loss)


def faces(path: str, table: AttributeTable, split: str) -> tuple[Tensor, Tensor]:
    """Faces, and the signs ``(N, 3)`` of the attributes."""
    decoded = decode_cached(CelebA(64, 3, split, path=path, held_out=500))
    told = [table[name] or {} for name in decoded.names]
    signs = torch.tensor([[row.get(name, 0) for name in HOLES] for row in told])
    return to_float(np.array(decoded.pixels)), signs


def box_hidden(attribute: str) -> Tensor:
    """``(1, 1, 64, 64)`` bool."""
    left, top, right, bottom = HOLES[attribute]
    known = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    known[..., top:bottom, left:right] = False
    return known


def with_and_without(signs: Tensor, count: int) -> Tensor:
    """Indices of ``count`` images, half of them with the attribute as far as there are so many."""
    has, has_not = (signs > 0).nonzero()[:, 0], (signs < 0).nonzero()[:, 0]
    has = has[: count // 2]
    return torch.cat([has, has_not[: count - len(has)]])


def share(logits: Tensor, signs: Tensor) -> str:
    return f"{100 * float((logits.sign() == signs).float().mean()):.0f} %"


def draw_attributes(path: Path, prior: Prior) -> None:
    """Samples of the prior with a hole over most of the face, filled under several settings."""
    told: list[dict[str, int] | None] = [None, {"Smiling": 1}, {"Smiling": -1}]
    told += [{"Eyeglasses": 1}, {"Male": 1}]
    images, known = prior.sample(6, seed=1, radius=0.7), box_hidden("Male")
    columns = [images, highlight_hole(images, known)]
    columns += [inpaint(images, known, prior, condition=one, **SEARCH).images for one in told]
    words = [
        ", ".join(n if sign > 0 else f"not {n}" for n, sign in (one or {}).items()) or "none"
        for one in told
    ]
    headings: Sequence[str] = ["sample", "damaged", *words]
    write_png(path, labelled(grid(columns), [""] * len(images), headings))


if __name__ == "__main__":
    main()
