"""The pictures of docs/inpainting.md.

    python docs/figures.py masks docs/masks.png      # every kind of mask, over samples of a prior
    python docs/figures.py astronaut                 # writes astronaut.png and astronaut_mask.png
    python docs/figures.py restored docs/astronaut.png JOB/restored/astronaut.png

The astronaut is scikit-image's portrait (NASA, public domain), with eyes and mouth masked; it needs
the extra `baselines`.
"""

import sys
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image, ImageDraw

from gan_inpaint import load_prior
from gan_inpaint.cli.conf_path import CONF
from gan_inpaint.data.images import MISSING, grid, highlight_hole
from gan_inpaint.reporting.figures import labelled
from gan_inpaint.runtime.io import write_png
from gan_inpaint.runtime.seeding import numpy_rng

DRAWS = 4  # of each kind of mask
HOLES = [(184, 90, 220, 113), (229, 92, 265, 115), (198, 134, 250, 160)]  # both eyes, the mouth
SHOWN = (126, 4, 326, 204)  # of the photograph


def masks(path: str) -> None:
    """Some draws of each kind with the defaults of conf/mask; `file` is a person's own."""
    prior = load_prior("faces")
    samples, rows, labels = prior.sample(DRAWS, seed=3, radius=0.7), [], []
    for file in sorted((CONF / "mask").glob("*.yaml")):
        if file.stem == "file":
            continue
        mask = instantiate(OmegaConf.load(file))
        drawn = [mask(prior.size, numpy_rng("mask", 0, draw), "") for draw in range(DRAWS)]
        known = torch.stack(drawn)
        rows.append(highlight_hole(samples, known))
        labels.append(f"{file.stem}, {100 * (~known).float().mean():.0f} %")
    write_png(Path(path), labelled(grid(list(torch.stack(rows).unbind(1))), labels))


def portrait() -> tuple[Image.Image, Image.Image]:
    """The photograph and its mask."""
    from skimage.data import astronaut

    photograph = Image.fromarray(astronaut())
    mask = Image.new("L", photograph.size)
    for hole in HOLES:
        ImageDraw.Draw(mask).ellipse(hole, fill=255)
    return photograph, mask


def astronaut() -> None:
    """Write both into the current directory."""
    photograph, mask = portrait()
    photograph.save("astronaut.png")
    mask.save("astronaut_mask.png")


def restored(path: str, filled: str) -> None:
    """Damaged, restored and true, side by side."""
    photograph, mask = portrait()
    damaged = photograph.copy()
    damaged.paste(MISSING, mask=mask)
    shown = [picture.crop(SHOWN) for picture in (damaged, Image.open(filled), photograph)]
    side, gap = shown[0].width, 4
    strip = Image.new("RGB", (3 * side + 2 * gap, side), "white")
    for number, picture in enumerate(shown):
        strip.paste(picture, (number * (side + gap), 0))
    strip.save(path)


if __name__ == "__main__":
    {"masks": masks, "astronaut": astronaut, "restored": restored}[sys.argv[1]](*sys.argv[2:])
