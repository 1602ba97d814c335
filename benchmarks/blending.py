"""What Poisson blending costs: seconds an image for each kind of mask and each size.

    python benchmarks/blending.py [--json PATH]

Colour images of noise: the time does not depend on what they show. `shared` is one mask for the
whole batch, factorised once; `own` one for each image. What blending gains in dB is a column of
benchmarks/inpainting.py, which needs a prior.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from held_out import MASKS, known_pixels
from rich.console import Console
from rich.table import Table

from gan_inpaint.functional.blending import poisson
from gan_inpaint.runtime.io import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--images", type=int, default=16, help="in a batch")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    table = Table(title=f"milliseconds an image, {options.images} images, best of 3")
    for column in (
        "mask",
        *(f"{size} px, {m}" for size in options.sizes for m in ("shared", "own")),
    ):
        table.add_column(column, justify="left" if column == "mask" else "right")
    figures: dict[str, float] = {"images": options.images}
    rng = np.random.default_rng(0)
    for name in MASKS:
        cells = []
        for size in options.sizes:
            pair = rng.uniform(-1, 1, (2, options.images, 3, size, size)).astype(np.float32)
            own = known_pixels(name, options.images, size)[:, 0].numpy()
            shared = np.repeat(own[:1], options.images, axis=0)
            for masks, known in (("shared", shared), ("own", own)):
                seconds = min(_seconds(pair[0], pair[1], known) for _ in range(3))
                figures[f"{name}_{size}_{masks}_seconds"] = seconds / options.images
                cells.append(f"{1000 * seconds / options.images:.1f}")
        table.add_row(name, *cells)
    Console(width=110).print(table)
    if options.json:
        write_json(options.json, figures)


def _seconds(generated: np.ndarray, image: np.ndarray, known: np.ndarray) -> float:
    started = time.perf_counter()
    poisson(generated, image, known)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
