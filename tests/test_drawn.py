"""Masks that a person has drawn: files of any mode and size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_inpaint.data.mask_files import MaskFile, resize_mask
from gan_inpaint.errors import InputError


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def write_mask(path: Path, size: int = 16) -> Path:
    pixels = np.zeros((size, size), np.uint8)
    pixels[: size // 2] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("size", [16, 64])
def test_white_is_missing_in_a_file_of_any_size(tmp_path: Path, size: int) -> None:
    path = str(write_mask(tmp_path / "mask.png", size))
    known = MaskFile(path, invert=False)(16, rng(), "a")
    assert not known[0, :8].any()
    assert known[0, 8:].all()
    assert torch.equal(~known, MaskFile(path, invert=True)(16, rng(), "a"))


def test_a_folder_of_masks_is_matched_by_name(tmp_path: Path) -> None:
    write_mask(tmp_path / "masks" / "cat.png")
    known = MaskFile(str(tmp_path / "masks"), invert=False)(16, rng(), "cat.jpg")
    assert not known[0, 0, 0]
    with pytest.raises(InputError, match=r"dog\.jpg.*dog\.png"):
        MaskFile(str(tmp_path / "masks"), invert=False)(16, rng(), "dog.jpg")


def test_transparent_and_dark_parts_of_a_mask_are_known(tmp_path: Path) -> None:
    pixels = np.full((16, 16, 4), 255, np.uint8)
    pixels[8:, :, 3] = 0
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    deep = np.full((16, 16), 1000, np.uint16)
    deep[:8] = 65535
    Image.fromarray(deep).save(tmp_path / "deep.png")
    for name in ("alpha.png", "deep.png"):
        known = MaskFile(str(tmp_path / name), invert=False)(16, rng(), "a")
        assert known[0, 8:].all(), name
        assert not known[0, :8].any(), name


def drawing(path: Path, width: int, height: int, box: tuple[int, int, int, int]) -> str:
    """Black, with a white box: left, top, right, bottom."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    Image.fromarray(pixels).save(path)
    return str(path)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_a_mask_lies_over_the_whole_picture_at_any_scale(tmp_path: Path, scale: int) -> None:
    box = (6 * scale, 2 * scale, 12 * scale, 4 * scale)
    path = drawing(tmp_path / "m.png", 24 * scale, 16 * scale, box)
    hole = MaskFile(path, invert=False).hole("a", (24, 16), (4, 0, 20, 16))[0]
    expected = np.zeros((16, 16), bool)
    expected[2:4, 2:8] = True  # what the square (4, 0, 20, 16) sees of it
    assert np.array_equal(hole, expected)


def test_a_square_mask_for_a_picture_that_is_none_lies_over_the_square(tmp_path: Path) -> None:
    path = drawing(tmp_path / "m.png", 8, 8, (0, 0, 4, 8))
    hole = MaskFile(path, invert=False).hole("a", (40, 16), (12, 0, 28, 16))[0]
    assert hole.shape == (16, 16)
    assert hole[:, :8].all()
    assert not hole[:, 8:].any()


def test_a_mask_of_other_proportions_is_refused_with_both_sizes(tmp_path: Path) -> None:
    path = drawing(tmp_path / "m.png", 10, 30, (0, 0, 5, 5))
    with pytest.raises(InputError, match=r"m\.png: .* 10x30 .* photo\.jpg 24x16.*proportions"):
        MaskFile(path, invert=False).hole("photo.jpg", (24, 16), (4, 0, 20, 16))[0]


def test_a_pixel_is_missing_if_any_part_of_it_is() -> None:
    hole = np.zeros((60, 60), bool)
    hole[31, 7] = True
    for side in (60, 20, 7, 90):
        small = resize_mask(hole, (side, side))
        assert small.any()
        assert small.mean() < 0.05
    assert resize_mask(hole, (60, 60)) is hole


def test_a_grey_mask_is_cut_at_the_middle_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:4], pixels[4:8] = 127, 128
    Image.fromarray(pixels).save(tmp_path / "m.png")
    known = MaskFile(str(tmp_path / "m.png"), invert=False)(16, rng(), "a")
    assert known[0, :4].all()
    assert not known[0, 4:8].any()
    assert "50 % of the mask is grey" in caplog.text
