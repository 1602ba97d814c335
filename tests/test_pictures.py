from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gan_inpaint.data.images import grid, read_image, to_float, to_uint8
from gan_inpaint.errors import InputError


def test_every_byte_survives_the_way_to_float_and_back() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    images = to_float(every)
    assert images.min() == -1
    assert images.max() == 1
    assert np.array_equal(to_uint8(images), every)
    # rounded, not truncated
    assert to_uint8(torch.tensor([0.999 / 127.5 - 1]))[0] == 1


def test_a_picture_that_has_the_size_is_taken_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = read_image(tmp_path / "a.png", 16, 3, grey=False)
    assert np.array_equal(read, pixels.transpose(2, 0, 1))


def test_the_centre_square_is_taken_and_resized(tmp_path: Path) -> None:
    pixels = np.zeros((40, 100), np.uint8)
    pixels[:, 30:70] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert (read_image(tmp_path / "wide.png", 16, 1, grey=False) == 200).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_is_read(tmp_path: Path, mode: str, channels: int) -> None:
    suffix = {"CMYK": "jpg", "F": "tiff"}.get(mode, "png")
    peak = {"I;16": 65535, "F": 1.0}
    if mode in peak:
        kind = np.uint16 if mode == "I;16" else np.float32
        picture = Image.fromarray(np.full((20, 20), peak[mode], kind))
    else:
        picture = Image.new("L", (20, 20), 255).convert(mode)
    picture.save(tmp_path / f"p.{suffix}")
    read = read_image(tmp_path / f"p.{suffix}", 16, channels, grey=True)
    assert read.shape == (channels, 16, 16)
    assert read.dtype == np.uint8
    assert (read >= 250).all(), "white stays white in every mode"


def test_colour_is_not_dropped_unasked(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (255, 0, 0)).save(tmp_path / "red.png")
    with pytest.raises(InputError, match=r"red\.png.*3 channels.*1 channel.*data\.grey=true"):
        read_image(tmp_path / "red.png", 16, 1, grey=False)
    assert (read_image(tmp_path / "red.png", 16, 1, grey=True) == 76).all()
    # grey pixels in an RGB file are no colour
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tmp_path / "grey.png")
    assert (read_image(tmp_path / "grey.png", 16, 1, grey=False) == 9).all()


def test_broken_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("I am not an image")
    Image.new("RGB", (64, 64)).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").touch()
    for name in ("text.jpg", "cut.png", "empty.png", "absent.png"):
        with pytest.raises(InputError, match=name):
            read_image(tmp_path / name, 16, 3, grey=False)


def test_grid_has_a_row_an_image_and_a_column_a_batch() -> None:
    first, second = torch.full((2, 1, 64, 64), -1.0), torch.ones(2, 1, 64, 64)
    tiled = grid([first, second], gap=2)
    assert tiled.shape == (130, 130, 1)
    assert tiled[0, 0, 0] == 0
    assert tiled[0, 129, 0] == 255
    assert grid([torch.zeros(1, 3, 16, 16)]).shape == (64, 64, 3), "small images are enlarged"
