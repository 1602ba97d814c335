"""How well the app frames faces, and whether it notices that a prior does not fit.

    python benchmarks/frames.py --data celeba9k.zip [--images 60]

Prints the errors of ``data.box=auto`` on held-out CelebA faces, whose frame is known, and how much
of the pixels around a hole the best completion explains: in framed faces, and in pictures of
scikit-image that show no framed face.
"""

import argparse
import warnings

import numpy as np
import skimage.data
import torch
from PIL import Image

from gan_inpaint.data.archives import open_files
from gan_inpaint.data.images import open_image, to_float, to_rgb
from gan_inpaint.functional.metrics import explained_share
from gan_inpaint.functional.weighting import importance_weights
from gan_inpaint.inversion.pipeline import inpaint
from gan_inpaint.priors.face_detection import propose
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.web.request import FillRequest

_FRAME = (7, 17, 81, 91)  # of an 89x109 face
_PICTURES = [
    "coffee",
    "chelsea",
    "rocket",
    "astronaut",
    "brick",
    "grass",
    "camera",
    "coins",
    "page",
    "text",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--prior", default="faces")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    prior = load_prior(options.prior)
    files = open_files(options.data, "data")
    names = files.names[-options.images :]
    faces = [to_rgb(open_image(files.read(name), name), "white") for name in names]
    for factor in (2, 4):
        errors, several = [], 0
        for face in faces:
            found = propose(face.resize((89 * factor, 109 * factor)), prior)
            several += len(found.boxes) > 1
            if found.reason is None:
                box, wanted = np.array(found.boxes[0]) / factor, np.array(_FRAME)
                centre = (box[:2] + box[2:] - wanted[:2] - wanted[2:]) / 2
                errors.append([*centre / 74, (box[2] - box[0]) / 74 - 1])
        x, y, side = np.median(np.abs(errors), axis=0)
        print(
            f"{109 * factor} pixels high: found {len(errors)} of {len(faces)}, more than one"
            f" {several}; median error x {x:.3f}, y {y:.3f}, side {side:.3f} of the side"
        )
    framed = [_crop(face, _FRAME) for face in faces[:24]]
    others = []
    for name in _PICTURES:
        picture = to_rgb(Image.fromarray(getattr(skimage.data, name)()), "white")
        side = min(picture.size)
        others += [
            _crop(picture, (0, 0, side, side)),
            _crop(picture, (side // 4,) * 2 + (side // 2,) * 2),
        ]
    search = FillRequest("", "", [0, 0, 1, 1], keep=1).search_config()
    for what, crops in (("framed faces", framed), ("other pictures", others)):
        images = to_float(np.stack(crops))
        known = torch.ones(len(images), 1, 64, 64, dtype=torch.bool)
        known[:, :, 20:34, 14:50] = False
        result = inpaint(images, known, prior, search)
        share = explained_share(images, result.generated, importance_weights(known, search.window))
        print(
            f"{what}: explained share from {share.min():.2f} to {share.max():.2f}, median"
            f" {share.median():.2f}; below 0.75: {int((share < 0.75).sum())} of {len(share)}"
        )


def _crop(image: Image.Image, box: tuple[int, ...]) -> np.ndarray:
    part = image.crop(box).resize((64, 64), Image.Resampling.LANCZOS)  # type: ignore[arg-type]
    return np.asarray(part).transpose(2, 0, 1)


if __name__ == "__main__":
    main()
