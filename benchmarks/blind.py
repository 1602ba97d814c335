"""Count distorted samples without knowing whose they are.

    python benchmarks/blind.py --out FOLDER [--priors faces_small faces] [--radius 0.7] [--seed 0]
    python benchmarks/blind.py --out FOLDER --marked 1,3,5

The first command writes pages of 16 numbered samples, those of all priors shuffled, and the key
beside them. Look at the pages, note the numbers whose face is distorted (eyes, nose or mouth
misplaced, missing, doubled or melted; not what is merely soft), and give them to the second one,
which counts them by prior.
"""

import argparse
import json
import random
from collections import Counter
from pathlib import Path

from PIL import Image, ImageDraw

from gan_inpaint import load_prior
from gan_inpaint.data.images import to_uint8
from gan_inpaint.runtime.io import write_json

EACH, PAGE, ROW, SIDE, TITLE = 64, 16, 4, 192, 20  # samples of a prior; and pixels


def write_pages(options: argparse.Namespace) -> None:
    """Pages of samples, and whose they are."""
    sets = {
        name: to_uint8(load_prior(name).sample(EACH, 0, options.radius)) for name in options.priors
    }
    key = [(name, number) for name in sets for number in range(EACH)]
    random.Random(options.seed).shuffle(key)
    options.out.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(key), PAGE):
        page = Image.new("RGB", (ROW * (SIDE + 8), PAGE // ROW * (SIDE + TITLE + 8)), "white")
        for place, (name, number) in enumerate(key[first : first + PAGE]):
            left, top = place % ROW * (SIDE + 8), place // ROW * (SIDE + TITLE + 8)
            sample = Image.fromarray(sets[name][number].transpose(1, 2, 0))
            page.paste(sample.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left, top + TITLE))
            ImageDraw.Draw(page).text((left, top + 4), str(first + place + 1), fill="black")
        page.save(options.out / f"page_{first // PAGE + 1}.png")
    write_json(options.out / "key.json", {"samples": key})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--priors", nargs="+", default=["faces_small", "faces"])
    parser.add_argument("--radius", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0, help="of the order")
    parser.add_argument("--marked", help="numbers of distorted samples, with commas")
    options = parser.parse_args()
    if options.marked is None:
        write_pages(options)
        return
    key = json.loads((options.out / "key.json").read_text())["samples"]
    found = Counter(key[int(number) - 1][0] for number in options.marked.split(","))
    for name, samples in Counter(name for name, _ in key).items():
        print(f"{name}: {found[name]} of {samples} distorted")


if __name__ == "__main__":
    main()
