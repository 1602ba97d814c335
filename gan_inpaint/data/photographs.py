"""Crop a photograph for the search, and paste the result back at full resolution."""

import struct
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from gan_inpaint.data.annotations import for_saving
from gan_inpaint.data.datasets import ImageFiles
from gan_inpaint.data.images import Box, Levels, is_deep, to_float, to_rgb, to_uint8
from gan_inpaint.data.mask_files import MaskFile, resize_mask
from gan_inpaint.functional.blending import poisson
from gan_inpaint.runtime.io import atomic_write

_PNG = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}  # modes that Pillow writes as PNG
_EXACT = 60_000  # missing pixels up to which blending solves for each; more take minutes and memory
_RELAXED = 20  # sweeps that smooth what was solved for on a coarser grid


def look(source: ImageFiles, index: int, mask: MaskFile) -> tuple[np.ndarray, Tensor]:
    """A square of a photograph at the prior's size, and the mask there.

    What is missing is painted over with the nearest known pixels before the square gets smaller:
    the damage must not run into the known pixels beside it.

    Returns:
        uint8 ``(C, size, size)`` and bool ``(1, size, size)``, 1 = known.
    """
    photograph, box = source.photograph(index)
    name = source.names[index]
    place = photograph.size, box, source.file(index)
    hole = mask.hole(name, *place)
    if outside := mask.outside(name, *place):
        print(
            f"{name}: {outside:.0%} of its hole lies outside the crop and is left"
            " unfilled; adjust data.box"
        )
    if not source.truth and hole.any() and not hole.all():
        rgb = to_rgb(photograph, background="white", levels=source.levels(index, photograph))
        photograph = _painted_over(rgb, box, hole)
    pixels = source.fitted(index, photograph, box)
    known = ~resize_mask(hole, (pixels.shape[2], pixels.shape[1]))
    return pixels, torch.from_numpy(known)[None]


def _painted_over(photograph: Image.Image, box: Box, hole: np.ndarray) -> Image.Image:
    nearest = distance_transform_edt(hole, return_distances=False, return_indices=True)
    square = np.asarray(photograph.crop(box))[tuple(nearest)]
    photograph.paste(Image.fromarray(square), box[:2])
    return photograph


def restored(
    source: ImageFiles,
    index: int,
    mask: Callable[..., Tensor],
    known: Tensor,
    generated: Tensor,
    blend: str,
) -> Image.Image:
    """A photograph with its hole filled, in its own size and mode; known pixels are untouched.

    What its file says beside the pixels (EXIF, XMP, resolution, text, ICC profile) stays with it.

    The generated square is enlarged to the photograph's resolution and fills the missing pixels
    there, by its gradients with ``blend=poisson``. They become opaque if the photograph is
    transparent.

    Args:
        mask: that the hole was drawn with.
        known: ``(1, size, size)`` bool, what it came to at the prior's size.
        generated: ``(C, size, size)`` in [-1, 1], G's own square, not blended.
        blend: ``none`` or ``poisson``.
    """
    photograph, box = source.photograph(index)
    levels = source.levels(index, photograph)
    frame = (box[2] - box[0], box[3] - box[1])
    hole = (
        mask.hole(source.names[index], photograph.size, box, source.file(index))
        if isinstance(mask, MaskFile)
        else resize_mask(~known[0].numpy(), frame)
    )
    size = (frame[1], frame[0])
    filling = F.interpolate(generated[None], size, mode="bicubic", align_corners=False)[0]
    filling = filling.expand(3, -1, -1).clamp(-1, 1)
    if blend == "poisson":
        square = to_rgb(photograph, background="white", levels=levels).crop(box)
        image = to_float(np.asarray(square).transpose(2, 0, 1))
        filling = torch.from_numpy(blended(filling.numpy(), image.numpy(), ~hole))
    if levels is None and "transparency" in photograph.info:  # the hole may need that colour
        photograph = photograph.convert("RGBA")
    result = _pasted(photograph, filling, box, hole, levels)
    result.info |= photograph.info
    return result


def blended(generated: np.ndarray, image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """``poisson`` for one image of any size.

    What blending adds to the generated image is smooth: for many missing pixels it is solved for
    on a coarser grid, enlarged, and relaxed at full resolution.

    Args:
        generated, image: ``(C, H, W)`` in [-1, 1].
        known: ``(H, W)`` bool, at least one true.
    """
    missing = int((~known).sum())
    if missing <= _EXACT:
        return poisson(generated[None], image[None], known[None])[0]
    factor = int(np.ceil((missing / _EXACT) ** 0.5))
    apart = torch.from_numpy(np.where(known, image - generated, 0.0).astype(np.float32))[None]
    seen = torch.from_numpy(known.astype(np.float32))[None, None]
    counted = F.avg_pool2d(seen, factor, ceil_mode=True)
    coarse = F.avg_pool2d(apart, factor, ceil_mode=True) / counted.clamp(min=1e-6)
    solved = poisson(
        np.zeros(coarse.shape, np.float32), coarse.numpy() / 2, counted[:, 0].numpy() > 0
    )
    smooth = F.interpolate(
        2 * torch.from_numpy(solved), known.shape, mode="bilinear", align_corners=False
    )
    added = torch.where(seen > 0, apart, smooth)
    for _ in range(_RELAXED):
        padded = F.pad(added, (1, 1, 1, 1), mode="replicate")
        around = padded[..., 1:-1, 2:] + padded[..., 1:-1, :-2]
        around += padded[..., 2:, 1:-1] + padded[..., :-2, 1:-1]
        added = torch.where(seen > 0, apart, around / 4)
    filled = (generated + added[0].numpy()).clip(-1, 1)
    return np.where(known, image, filled)


def _pasted(
    photograph: Image.Image, filling: Tensor, box: Box, hole: np.ndarray, levels: Levels | None
) -> Image.Image:
    """``filling``: ``(3, H, W)`` in [-1, 1], pasted where ``hole`` is; every mode has its way.

    Args:
        levels: of a deep photograph.
    """
    if levels is not None:
        assert is_deep(photograph)
        values = np.array(photograph)
        black, white = levels
        level = (filling.mean(dim=0).numpy() + 1) / 2 * (white - black) + black
        if photograph.mode.startswith("I"):
            level = level.round()
        region = values[box[1] : box[3], box[0] : box[2]]
        region[hole] = level[hole].astype(values.dtype)
        return Image.fromarray(values)
    patch = Image.fromarray(to_uint8(filling).transpose(1, 2, 0))
    if photograph.mode == "P":
        patch = patch.quantize(palette=photograph, dither=Image.Dither.NONE)
    else:
        patch = patch.convert(photograph.mode)
    result = photograph.copy()
    result.paste(patch, box[:2], Image.fromarray(hole))
    return result


def distinct(names: Sequence[str]) -> list[str]:
    """Names to write under: without suffixes, below one folder, no two the same.

    Where two would become the same they keep their suffixes, or else get their number.

    Example:
        >>> distinct(["a.jpg", "b.jpg", "b.png", "../up/c.png"])
        ['a', 'b.jpg', 'b.png', 'up/c']
    """
    inside = [
        PurePosixPath(*(part for part in PurePosixPath(name).parts if part not in ("/", "..")))
        for name in names
    ]
    stems = [str(path.with_suffix("")) for path in inside]
    count, taken, found = Counter(stems), set[str](), []
    for number, (stem, path) in enumerate(zip(stems, inside, strict=True)):
        name = stem if count[stem] == 1 else str(path)
        name = f"{name}_{number}" if name in taken else name
        taken.add(name)
        found.append(name)
    return found


def write_photograph(folder: Path, name: str, photograph: Image.Image) -> None:
    """Write it without loss, as PNG, or as TIFF if PNG lacks its mode.

    Args:
        name: without suffix, of ``distinct``.
    """
    path = folder / f"{name}{'.png' if photograph.mode in _PNG else '.tif'}"
    with atomic_write(path) as temporary:
        try:
            photograph.save(temporary, **for_saving(photograph, path.suffix))
        except (ValueError, TypeError, struct.error):  # a note that this format cannot hold
            photograph.save(temporary)
