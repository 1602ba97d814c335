"""The worked example of a damaged photograph: scikit-image's astronaut, eyes and mouth masked.

    python benchmarks/astronaut.py       # writes astronaut.png and astronaut_mask.png here
    python benchmarks/astronaut.py --restored JOB/restored/astronaut.png --figure PATH

The portrait is in the public domain (NASA). Needs the extra `baselines`.
"""

import argparse
from pathlib import Path

from PIL import Image, ImageDraw
from skimage.data import astronaut

from gan_inpaint.data.images import MISSING

HOLES = [(184, 90, 220, 113), (229, 92, 265, 115), (198, 134, 250, 160)]  # both eyes, the mouth
SHOWN = (126, 4, 326, 204)  # of the photograph, in the figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--restored", type=Path, help="what reconstruct made of it")
    parser.add_argument("--figure", type=Path, help="draw damaged, restored and true here")
    options = parser.parse_args()
    photograph = Image.fromarray(astronaut())
    mask = Image.new("L", photograph.size)
    draw = ImageDraw.Draw(mask)
    for hole in HOLES:
        draw.ellipse(hole, fill=255)
    if not options.figure:
        photograph.save("astronaut.png")
        mask.save("astronaut_mask.png")
        return
    damaged = photograph.copy()
    damaged.paste(MISSING, mask=mask)
    with Image.open(options.restored) as restored:
        shown = [picture.crop(SHOWN) for picture in (damaged, restored, photograph)]
    side, gap = shown[0].width, 4
    strip = Image.new("RGB", (3 * side + 2 * gap, side), "white")
    for number, picture in enumerate(shown):
        strip.paste(picture, (number * (side + gap), 0))
    strip.save(options.figure)


if __name__ == "__main__":
    main()
