"""A person's photographs: into the search and back, at their own size and mode."""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Ran, save_tiny_prior
from PIL import Image

from gan_inpaint.data.datasets import Folder
from gan_inpaint.data.images import open_image, to_rgb
from gan_inpaint.data.mask_files import MaskFile
from gan_inpaint.data.masks import half, lattice
from gan_inpaint.data.photographs import (
    Photograph,
    read_photograph,
    unique_names,
    write_photograph,
)
from gan_inpaint.errors import InputError
from gan_inpaint.functional.blending import poisson_multiscale
from gan_inpaint.jobs import runner

WIDTH, HEIGHT = 48, 40  # its square is (4, 0, 44, 40)
RNG = np.random.default_rng(0)
MODES = ("1", "I", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F", "YCbCr")


def photograph(mode: str) -> Image.Image:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    rgb = np.stack([x * 5, y * 6, (x + y) * 2], axis=-1).astype(np.uint8)
    picture = Image.fromarray(rgb)
    if mode == "I;16":
        return Image.fromarray((x * 1200).astype(np.uint16))
    if mode == "I":
        return Image.fromarray((x * 1200).astype(np.int32))
    if mode == "F":
        return Image.fromarray((x / WIDTH).astype(np.float32))
    if mode in ("RGBA", "LA"):
        picture = picture.convert(mode)
        picture.putalpha(Image.fromarray(np.where(x < 10, 100, 255).astype(np.uint8)))
        return picture
    return picture.convert(mode)


def drawing(path: Path) -> np.ndarray:
    """A mask file, and what is missing of the whole photograph."""
    hole = np.zeros((HEIGHT, WIDTH), bool)
    hole[10:20, 14:30] = True
    Image.fromarray(hole).save(path)
    return hole


def read(source: Folder, mask: Callable[..., torch.Tensor]) -> Photograph:
    return read_photograph(source, 0, mask, RNG)[2]


def folder(path: Path, size: int = 16, channels: int = 3, **options: object) -> Folder:
    options = {"truth": False, "grey": True, "box": None} | options
    return Folder(size, channels, None, path=str(path), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("blend", ["none", "poisson"])
@pytest.mark.parametrize("mode", MODES)
def test_the_photograph_keeps_size_mode_and_known_pixels(
    tmp_path: Path, mode: str, blend: str
) -> None:
    original = photograph(mode)
    suffix = "png" if mode not in ("CMYK", "F", "I", "YCbCr") else "tif"
    original.save(tmp_path / f"photo.{suffix}")
    hole = drawing(tmp_path / "mask.png")
    mask = MaskFile(str(tmp_path / "mask.png"), invert=False)
    source = folder(tmp_path / f"photo.{suffix}")
    generated = torch.full((3, 16, 16), 0.7)
    if blend == "poisson":  # a flat guide would give the smooth photograph back
        generated[:, ::2] = -0.7
    result = read(source, mask).fill(generated, blend)
    write_photograph(tmp_path / "restored", "photo", result)
    written = Image.open(tmp_path / "restored" / f"photo.{suffix}")
    before = Image.open(tmp_path / f"photo.{suffix}")
    assert (written.size, written.mode) == (before.size, before.mode)
    one, other = np.asarray(written), np.asarray(before)
    assert np.array_equal(one[~hole], other[~hole])
    assert not np.array_equal(one[hole], other[hole])
    if blend == "none" and mode in ("L", "RGB", "I;16"):
        white = 65535 if mode == "I;16" else 255
        assert np.abs(one[hole] / white - 0.85).max() < 0.01
    if mode in ("RGBA", "LA"):
        assert (one[hole][:, -1] == 255).all()


def test_the_damage_does_not_run_into_the_known_pixels(tmp_path: Path) -> None:
    """A photograph of one grey with white damage: what is known of the small square stays grey."""
    hole = drawing(tmp_path / "mask.png")
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    pixels[hole] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    mask = MaskFile(str(tmp_path / "mask.png"), invert=False)
    small, known, _ = read_photograph(folder(tmp_path / "photo.png"), 0, mask, RNG)
    assert not known.all()
    assert (small.transpose(1, 2, 0)[known[0].numpy()] == 90).all()


def test_without_a_drawn_mask_the_enlarged_one_is_filled(tmp_path: Path) -> None:
    photograph("RGB").save(tmp_path / "photo.png")
    upper = partial(half, missing="top")
    found = read(folder(tmp_path / "photo.png", size=8), upper)
    result = found.fill(torch.full((3, 8, 8), -1.0), "none")
    one, other = np.asarray(result), np.asarray(photograph("RGB"))
    assert (one[:20, 4:44] == 0).all()
    assert np.array_equal(one[20:], other[20:])
    assert np.array_equal(one[:, :4], other[:, :4])


def test_a_box_is_all_that_changes(tmp_path: Path) -> None:
    photograph("RGB").save(tmp_path / "photo.png")
    Image.new("L", (WIDTH, HEIGHT), 255).save(tmp_path / "mask.png")
    mask = MaskFile(str(tmp_path / "mask.png"), invert=False)
    source = folder(tmp_path / "photo.png", box=[8, 8, 24, 24])
    result = read(source, mask).fill(torch.full((3, 16, 16), 1.0), "none")
    changed = (np.asarray(result) != np.asarray(photograph("RGB"))).any(axis=2)
    assert changed[8:24, 8:24].all()
    changed[8:24, 8:24] = False
    assert not changed.any()


def test_a_seam_is_gone_with_blending(tmp_path: Path) -> None:
    """A guide with the right gradients and wrong colours restores a smooth photograph."""
    photograph("RGB").save(tmp_path / "photo.png")
    drawing(tmp_path / "mask.png")
    mask = MaskFile(str(tmp_path / "mask.png"), invert=False)
    source = folder(tmp_path / "photo.png", size=32)
    truth = np.asarray(to_rgb(photograph("RGB"), "white")).astype(float)
    generated = torch.from_numpy(source[0].astype(np.float32)) / 127.5 - 1 - 0.2
    errors = {
        blend: np.abs(np.asarray(read(source, mask).fill(generated, blend)) - truth).max()
        for blend in ("none", "poisson")
    }
    assert errors["poisson"] < 5 < errors["none"]


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    for name in unique_names(["../../etc/evil.png", "/abs/evil.png"]):
        write_photograph(tmp_path / "restored", name, photograph("L"))
    written = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.png"))
    assert written == ["restored/abs/evil.png", "restored/etc/evil.png"]


def test_blending_many_pixels_on_a_coarser_grid_is_near_the_exact_solution() -> None:
    y, x = np.mgrid[0:96, 0:96] / 96
    truth = np.stack([x * y, np.sin(3 * x) * 0.5, 0.3 * y], axis=0).astype(np.float32)
    generated = truth + np.stack([0.2 * x, 0.1 + 0 * y, -0.2 * y]).astype(np.float32)
    known = np.ones((96, 96), bool)
    known[20:70, 30:80] = False
    exact = poisson_multiscale(generated, truth, known)
    coarse = poisson_multiscale(generated, truth, known, max_missing=300)
    assert np.array_equal(coarse[:, known], truth[:, known])
    assert np.abs(coarse - exact).max() < 0.02
    assert np.abs(generated - truth)[:, ~known].max() > 0.1


def test_a_transparent_palette_is_opaque_where_it_was_filled(tmp_path: Path) -> None:
    picture = photograph("P")
    picture.save(tmp_path / "photo.png", transparency=bytes([0] * 128))
    hole = drawing(tmp_path / "mask.png")
    mask = MaskFile(str(tmp_path / "mask.png"), invert=False)
    source = folder(tmp_path / "photo.png")
    result = read(source, mask).fill(torch.full((3, 16, 16), 0.7), "none")
    assert result.mode == "RGBA"
    pixels = np.asarray(result)
    before = np.asarray(Image.open(tmp_path / "photo.png").convert("RGBA"))
    assert (pixels[hole][:, 3] == 255).all()
    assert np.array_equal(pixels[~hole], before[~hole])


def test_what_lies_outside_the_box_is_said(run: Callable[..., Ran], tmp_path: Path) -> None:
    photograph("RGB").save(tmp_path / "photo.png")
    drawing(tmp_path / "mask.png")
    mask = MaskFile(str(tmp_path / "mask.png"), invert=False)
    assert read(folder(tmp_path / "photo.png"), mask).outside == 0
    assert read(folder(tmp_path / "photo.png", box=[8, 0, 22, 40]), mask).outside == 0.65
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)
    arguments = [f"prior={prior}", "data=folder", "data.path=photo.png", "data.box=[8,0,22,40]"]
    arguments += ["mask=file", "mask.path=mask.png", "steps=1", "candidates=4", "logger=none"]
    ran = run("reconstruct", *arguments)
    assert ran.code == 0, ran.err
    assert ran.err.count("65 % of its hole lies outside the crop") == 1


def test_a_crop_without_a_known_pixel_is_filled_without_blending(tmp_path: Path) -> None:
    """At the photograph's own, smaller size a pixel is missing if any part of it is."""
    Image.new("RGB", (8, 8), (90, 90, 90)).save(tmp_path / "photo.png")
    every_second = partial(lattice, every=2)
    found = read(folder(tmp_path / "photo.png"), every_second)
    assert found.hole.all()
    result = np.asarray(found.fill(torch.full((3, 16, 16), 0.5), "poisson"))
    assert (result == 191).all()


def test_photographs_that_take_too_much_memory_are_read_again(
    run: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)
    (tmp_path / "mine").mkdir()
    for name in ("a", "b"):
        photograph("RGB").save(tmp_path / "mine" / f"{name}.png")
    drawing(tmp_path / "mask.png")
    arguments = [f"prior={prior}", "data=folder", "data.path=mine", "logger=none", "steps=1"]
    arguments += ["mask=file", "mask.path=mask.png", "candidates=4"]
    decoded: list[int] = []
    inner = Folder.photograph

    def counting(self: Folder, index: int) -> object:
        decoded.append(index)
        return inner(self, index)

    monkeypatch.setattr(Folder, "photograph", counting)
    assert run("reconstruct", *arguments, "hydra.run.dir=kept").code == 0
    assert decoded == [0, 1], "each photograph is decoded once"
    monkeypatch.setattr(runner, "_KEPT_PHOTOGRAPHS", 5 * WIDTH * HEIGHT + 1)
    assert run("reconstruct", *arguments, "hydra.run.dir=again").code == 0
    assert decoded == [0, 1, 0, 1, 1], "there was room for one"
    for name in ("a", "b"):
        kept, again = (tmp_path / d / "restored" / f"{name}.png" for d in ("kept", "again"))
        assert kept.read_bytes() == again.read_bytes()


def test_no_two_names_are_the_same() -> None:
    names = ["a.jpg", "a.png", "a.png.jpg", "../x/b.png", "x/b.png", "/x/b.png"]
    found = unique_names(names)
    assert len(set(found)) == len(names)
    assert not any(".." in name or name.startswith("/") for name in found)


def test_names_that_are_too_long_are_shortened_and_stay_apart() -> None:
    letter = "é" * 124
    names = ["x" * 251 + ".png", "x" * 250 + "y.png", f"{letter}a.webp", f"{letter}b.webp"]
    found = unique_names([f"folder/{name}" for name in names])
    assert len(set(found)) == len(names)
    for name in found:
        folder, _, rest = name.partition("/")
        assert folder == "folder"
        assert len(f"{rest}_12.png".encode()) <= 255
    assert unique_names(["a" * 200 + ".png"]) == ["a" * 200], "what fits stays as it is"


@pytest.mark.parametrize("name", ["n" * 251 + ".png", "ü" * 125 + ".jpg"])
def test_a_photograph_with_the_longest_name_has_everything(
    name: str, run: Callable[..., Ran], tmp_path: Path
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)
    (tmp_path / "in").mkdir()
    Image.new("RGB", (20, 20), "teal").save(tmp_path / "in" / name)
    arguments = [f"prior={prior}", "data=folder", "data.path=in", "steps=1", "candidates=8"]
    arguments += ["restarts=2", "keep=2", "logger=none", "hydra.run.dir=job"]
    ran = run("reconstruct", *arguments)
    assert ran.code == 0, ran.err
    job = tmp_path / "job"
    assert (job / "index.html").is_file()
    for folder in ("restored", "restored_alternatives", "restored_holes"):
        assert len(list((job / folder).iterdir())) == 1
    with (job / "results.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["name"] == name


def test_a_name_that_is_a_formula_comes_back(run: Callable[..., Ran], tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)
    (tmp_path / "in").mkdir()
    Image.new("RGB", (20, 20), "teal").save(tmp_path / "in" / "=cmd|x.png")
    arguments = [f"prior={prior}", "data=folder", "data.path=in", "steps=1", "candidates=8"]
    for _ in range(2):  # the second reads the table of the first
        ran = run("reconstruct", *arguments, "logger=none", "hydra.run.dir=job")
        assert ran.code == 0, ran.err
        assert "'=cmd|x.png" in (tmp_path / "job" / "results.csv").read_text()
        assert "''" not in (tmp_path / "job" / "results.csv").read_text()
    assert (tmp_path / "job" / "restored" / "=cmd|x.png").is_file()
    assert "'=cmd" not in (tmp_path / "job" / "index.html").read_text()


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_a_transparent_colour_makes_it_rgba(
    mode: str, run: Callable[..., Ran], tmp_path: Path
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)
    transparent = (0, 0, 0) if mode == "RGB" else 0
    Image.new(mode, (20, 20), 1).save(tmp_path / "a.png", transparency=transparent)
    arguments = [f"prior={prior}", "data=folder", "data.path=a.png", "steps=1", "candidates=8"]
    assert run("reconstruct", *arguments, "logger=none", "hydra.run.dir=job").code == 0
    assert Image.open(tmp_path / "job" / "restored" / "a.png").mode == "RGBA"


def wide(path: Path, width: int, height: int) -> Path:
    """A black PNG: much to decode, little to store."""
    Image.new("1", (width, height)).save(path)
    return path


def test_photographs_of_phones_are_read_and_larger_ones_refused(tmp_path: Path) -> None:
    assert open_image(wide(tmp_path / "phone.png", 16384, 12288)).size == (16384, 12288)
    big = wide(tmp_path / "big.png", 20000, 12600)
    with pytest.raises(
        InputError, match=r"big\.png: 20000x12600, 252 megapixels, more than 250"
    ) as refused:
        open_image(big)
    assert "attack" not in str(refused.value)
    assert "remove" not in str(refused.value)
    assert Image.MAX_IMAGE_PIXELS is not None, "other code keeps its limit"


def test_the_limit_is_that_of_the_file_also_where_a_box_is_small(
    run: Callable[..., Ran], tmp_path: Path
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    (tmp_path / "in").mkdir()
    wide(tmp_path / "in" / "big.png", 20000, 12600)
    Image.new("L", (20, 20), 7).save(tmp_path / "in" / "small.png")
    arguments = [f"prior={prior}", "data=folder", "data.path=in", "data.box=[0,0,20,20]"]
    ran = run("reconstruct", *arguments, "steps=1", "candidates=8", "logger=none")
    assert ran.code == 0, ran.err
    assert "big.png: 20000x12600, 252 megapixels" in ran.out + ran.err


def test_a_grey_of_16_bits_with_a_transparent_value_is_restored(
    run: Callable[..., Ran], tmp_path: Path
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    values = (np.arange(400).reshape(20, 20) * 100).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png", transparency=0)
    arguments = [f"prior={prior}", "data=folder", "data.path=a.png", "steps=1", "candidates=4"]
    ran = run("reconstruct", *arguments, "logger=none", "hydra.run.dir=job")
    assert ran.code == 0, ran.err
    result = np.asarray(Image.open(tmp_path / "job" / "restored" / "a.png"))
    assert np.array_equal(result[:5], values[:5])


@pytest.mark.parametrize("suffix", ["tif", "gif", "png", "webp"])
def test_of_a_file_of_several_pages_the_first_is_taken_and_it_is_said(
    tmp_path: Path, suffix: str
) -> None:
    pages = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    pages[0].save(tmp_path / f"pages.{suffix}", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / f"single.{suffix}")
    source = folder(tmp_path)
    first, single = source[0], source[1]
    assert np.abs(first.astype(int) - single).max() < 8  # red, both
    assert first[0].min() > 240
    assert first[2].max() < 16
    (note,) = source.notes
    assert note.startswith("1 files hold several pages or frames: only the first was used")
