"""Where to look in a photograph: squares in which a face lies as in the prior's own samples."""

from dataclasses import dataclass
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from gan_inpaint.data.images import center_crop, to_rgb, to_uint8
from gan_inpaint.functional.shapes import Box
from gan_inpaint.priors.prior import Prior

_SAMPLES = 32  # of the prior, to learn where its faces lie
_SAMPLE_SIDE = 160  # pixels to which a sample is enlarged: small faces are not detected
_LONG_SIDE = 1024  # a photograph is reduced to this for the detector
_SMALLEST = 40  # pixels of a face there
_SHARED = 0.3  # intersection over union: more is the same face

Place = tuple[float, float, float]  # centre x and y, and side of a face, in sides of the frame
_places: WeakKeyDictionary[Prior, Place | None] = WeakKeyDictionary()


@dataclass(frozen=True)
class Proposal:
    """Frames to choose from.

    Attributes:
        boxes: left, top, right, bottom in pixels; the largest first, at least one.
        reason: why it is only the centred square; None if faces were found.
    """

    boxes: list[Box]
    reason: str | None = None


def propose(photograph: Image.Image, prior: Prior) -> Proposal:
    """Squares of a photograph that show a face in the same place as the prior's samples.

    The detector is scikit-image's cascade of local binary patterns. Where it finds a face in the
    prior's samples says where the frame must lie around a face in the photograph. The size that it
    finds depends on an image's resolution, so it looks again within the frame, at the size that the
    samples had. A frame that would reach beyond the photograph is moved inside, and made smaller if
    it must be.

    Args:
        photograph: upright, of any mode.
        prior: of square colour or grey images.

    Returns:
        The frames; or the centred part with the prior's proportions, and why.
    """
    size = prior.image_shape[1:]
    middle = center_crop(photograph, (size[0], size[1]))
    try:
        _cascade()
    except ImportError:
        return Proposal([middle], "finding faces needs pip install 'gan_inpaint[app]'")
    place = _place(prior) if size[0] == size[1] else None
    if place is None:
        return Proposal([middle], f"the prior {prior.name} does not show faces")
    rgb = to_rgb(photograph, "white")
    scale = min(1.0, _LONG_SIDE / max(rgb.size))
    small = rgb.resize([max(1, round(side * scale)) for side in rgb.size], reducing_gap=2.0)
    faces = _merged(_detect(np.asarray(small.convert("L")), _SMALLEST)) / scale
    if not len(faces):
        return Proposal([middle], "no face was found")
    boxes = [_refined(rgb, _frame(face, place, rgb.size), place) for face in faces]
    return Proposal(sorted(set(boxes), key=lambda box: box[0] - box[2]))


def propose_one(photograph: Image.Image, prior: Prior) -> tuple[Box, str | None]:
    """The largest of the frames that ``propose`` finds, and why it is only the centred part."""
    found = propose(photograph, prior)
    return found.boxes[0], found.reason


@lru_cache(maxsize=1)
def _cascade() -> object:
    """The detector.

    Raises:
        ImportError: scikit-image is not installed.
    """
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())


def _detect(grey: np.ndarray, smallest: int) -> np.ndarray:
    """``(N, 3)``: centre x and y and side of the faces in uint8 ``(H, W)``."""
    largest = min(grey.shape)
    if largest < smallest:
        return np.empty((0, 3))
    found = _cascade().detect_multi_scale(  # type: ignore[attr-defined]
        img=grey,
        scale_factor=1.05,
        step_ratio=1.0,
        min_neighbor_number=10,
        min_size=(smallest, smallest),
        max_size=(largest, largest),
    )
    rows = [(f["c"] + f["width"] / 2, f["r"] + f["height"] / 2, f["width"]) for f in found]
    return np.array(rows, dtype=float).reshape(-1, 3)


def _merged(faces: np.ndarray) -> np.ndarray:
    """Faces that overlap, as one each: the mean of them."""
    groups: list[list[np.ndarray]] = []
    for face in sorted(faces, key=lambda face: -face[2]):
        near = next((g for g in groups if _overlap(np.mean(g, axis=0), face) > _SHARED), None)
        if near is None:
            groups.append([face])
        else:
            near.append(face)
    return np.array([np.mean(group, axis=0) for group in groups]).reshape(-1, 3)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two squares."""
    low = np.maximum(one[:2] - one[2] / 2, other[:2] - other[2] / 2)
    high = np.minimum(one[:2] + one[2] / 2, other[:2] + other[2] / 2)
    shared = np.prod((high - low).clip(min=0))
    return float(shared / (one[2] ** 2 + other[2] ** 2 - shared))


def _place(prior: Prior) -> Place | None:
    """Where the face lies in the prior's samples; None if few of them show one."""
    if prior not in _places:
        images = prior.sample(_SAMPLES, seed=0)
        found = [_merged(_detect(grey, _SAMPLE_SIDE // 4)) for grey in _enlarged(images)]
        single = [faces[0] for faces in found if len(faces) == 1]
        enough = len(single) >= _SAMPLES / 4
        x, y, side = (np.median(single, axis=0) / _SAMPLE_SIDE).tolist() if enough else (0, 0, 0)
        _places[prior] = (x, y, side) if enough else None
    return _places[prior]


def _enlarged(images: Tensor) -> np.ndarray:
    """``(B, side, side)`` uint8, grey."""
    with torch.no_grad():
        grey = images.mean(dim=1, keepdim=True)
        larger = F.interpolate(grey, (_SAMPLE_SIDE, _SAMPLE_SIDE), mode="bicubic")
    return to_uint8(larger.clamp(-1, 1))[:, 0]


def _refined(rgb: Image.Image, box: Box, place: Place) -> Box:
    """The frame, from the face that is found within it; the same frame if none or several are."""
    resized = rgb.crop(box).convert("L").resize((_SAMPLE_SIDE,) * 2, Image.Resampling.BICUBIC)
    faces = _merged(_detect(np.asarray(resized), _SAMPLE_SIDE // 4))
    if len(faces) != 1:
        return box
    x, y, side = faces[0] * (box[2] - box[0]) / _SAMPLE_SIDE
    return _frame(np.array([x + box[0], y + box[1], side]), place, rgb.size)


def _frame(face: np.ndarray, place: Place, size: tuple[int, int]) -> Box:
    """The square in which a face lies at ``place``, within a photograph of that size."""
    side = min(round(face[2] / place[2]), *size)
    left, top = (
        min(max(round(centre - share * side), 0), whole - side)
        for centre, share, whole in zip(face[:2], place[:2], size, strict=True)
    )
    return left, top, left + side, top + side
