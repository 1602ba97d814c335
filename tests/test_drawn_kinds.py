"""Masks as other people and tools make them: found by their names, read in the one sensible way."""

import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ran, only, save_tiny_prior, write_pictures
from PIL import Image

from gan_inpaint.data.mask_files import MaskFile, read_hole
from gan_inpaint.errors import InputError

BOX = (4, 4, 10, 12)  # left, top, right, bottom of what is missing in a mask of 16 x 20 pixels


def hole() -> np.ndarray:
    expected = np.zeros((20, 16), bool)
    expected[BOX[1] : BOX[3], BOX[0] : BOX[2]] = True
    return expected


def drawn(missing: object, known: object = 0, mode: str = "L") -> Image.Image:
    mask = Image.new(mode, (16, 20), known)  # type: ignore[arg-type]
    mask.paste(missing, BOX)  # type: ignore[arg-type]
    return mask


def array(missing: float, known: float, kind: type) -> Image.Image:
    return Image.fromarray(np.where(hole(), missing, known).astype(kind))


def picture(seed: int = 0) -> Image.Image:
    """Something with the greys and colours of a photograph."""
    y, x = np.mgrid[0:20, 0:16]
    return Image.fromarray(np.stack([x * 15, y * 12, x * 7 + y * 6], -1).astype(np.uint8))


def erased() -> Image.Image:
    image = picture().convert("RGBA")
    image.putalpha(drawn(0, 255))
    return image


def palette() -> Image.Image:
    mask = array(1, 0, np.uint8)
    mask = mask.copy()
    mask.putpalette([0, 0, 0, 200, 30, 30])
    return mask


@pytest.mark.parametrize(
    "mask",
    [
        drawn(255),
        drawn(1, 0, "1"),
        drawn(1),  # 0 and 1
        drawn(100),  # 0 and anything
        drawn((255, 0, 0), (0, 0, 0), "RGB"),  # painted in red
        drawn((20, 30, 220), (0, 0, 0), "RGB"),  # in blue
        drawn((255, 255, 255, 255), (0, 0, 0, 0), "RGBA"),  # white on nothing
        drawn((0, 0, 255, 255), (0, 0, 0, 0), "RGBA"),  # blue on nothing
        drawn((255, 255), (0, 255), "LA"),
        erased(),
        palette(),
        array(255, 0, np.uint16),
        array(65535, 0, np.uint16),
        array(1, 0, np.uint16),
        array(255, 0, np.int32),
        array(1.0, 0.0, np.float32),
        array(255.0, 0.0, np.float32),
        drawn(250, 6),  # nearly white and black
    ],
    ids=range(18),
)
def test_there_is_one_way_to_read_it(mask: Image.Image) -> None:
    assert np.array_equal(read_hole(mask, "m.png"), hole())


def test_a_jpeg_of_a_red_stroke_is_read_like_the_stroke(tmp_path: Path) -> None:
    drawn((255, 0, 0), (0, 0, 0), "RGB").resize((160, 200)).save(tmp_path / "m.jpg", quality=75)
    with Image.open(tmp_path / "m.jpg") as mask:
        found = read_hole(mask, "m.jpg")
    assert (found == np.kron(hole(), np.ones((10, 10), bool))).mean() > 0.97


def classes(*values: int) -> Image.Image:
    numbers = np.zeros((20, 16), np.uint8)
    for index, value in enumerate(values):
        numbers[2 + 3 * index : 5 + 3 * index] = value
    return Image.fromarray(numbers)


def coloured_classes() -> Image.Image:
    mask = classes(1, 2, 3)
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    return mask


def photograph_with_strokes(colour: tuple[int, int, int], grey: bool) -> Image.Image:
    image = picture().convert("L").convert("RGB") if grey else picture()
    image.paste(colour, BOX)
    return image


def snow() -> Image.Image:
    """A bright image of which a part was erased: the white is not the hole."""
    pixels = np.full((20, 16, 4), 255, np.uint8)
    pixels[::8, :, :3] = 10
    pixels[..., 3] = np.where(hole(), 0, 255)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (classes(1, 2, 3), "values 0, 1, 2, 3, which may be class labels"),
        (classes(1, 2, 255), "values 0, 1, 2, 255, which may be class labels"),
        (coloured_classes(), r"several colours \(\(0, 0, 0\)"),
        (array(2, 1, np.uint8), "values 1, 2"),
        (picture(), "image|several colours"),
        (picture().convert("L"), "may be an image"),
        (photograph_with_strokes((255, 0, 0), grey=False), "several colours|an image"),
        (photograph_with_strokes((0, 0, 255), grey=True), "several colours|an image"),
        (drawn((255, 0, 0), (255, 255, 255), "RGB"), "several colours"),
        (drawn((0, 0, 255), (255, 255, 0), "RGB"), "several colours"),
        (drawn((0, 0, 0, 255), (0, 0, 0, 0), "RGBA"), "partly transparent"),
        (array(-1.0, -2.0, np.float32), "values -2, -1"),
        (drawn((255, 255, 255, 0), (255, 255, 255, 255), "RGBA"), "partly transparent"),
        (drawn((0, 0, 0, 0), (250, 250, 250, 255), "RGBA"), "partly transparent"),
        (drawn((60, 0, 0), (255, 255, 255), "RGB"), "several colours"),
        (snow(), "partly transparent"),
    ],
    ids=range(16),
)
def test_where_there_are_several_the_sentence_says_what_is_in_it(
    mask: Image.Image, words: str
) -> None:
    with pytest.raises(InputError, match=rf"m\.png: .*({words})"):
        read_hole(mask, "m.png")


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("IMG_1.JPG", "IMG_1.PNG"),
        ("IMG_1.JPG", "IMG_1.pgm"),
        ("IMG_1.jpeg", "IMG_1.jfif"),
        ("a.png", "a.png.png"),
        ("a.jpg", "a.jpg.png"),
        ("a.png", "a_mask.png"),
        ("a.png", "a_mask001.png"),
        ("a.png", "a-mask.TIF"),
        ("sub/a.png", "sub/a.png"),
        ("sub/a.png", "a.png"),
        ("sub/a.png", "sub/a_mask.webp"),
        (unicodedata.normalize("NFD", "Zoë.jpg"), unicodedata.normalize("NFC", "Zoë.png")),
        (unicodedata.normalize("NFC", "Zoë.jpg"), unicodedata.normalize("NFD", "Zoë_mask.png")),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_masks_are_found_by_name(name: str, mask: str, packed: bool, tmp_path: Path) -> None:
    file = tmp_path / "masks" / mask
    file.parent.mkdir(parents=True)
    formats = {".jfif": "JPEG", ".pgm": "PPM"}
    drawn(255).save(file, format=formats.get(file.suffix), lossless=True)
    drawn(0).save(tmp_path / "masks" / "other.png")
    path = tmp_path / "masks"
    if packed:
        path = tmp_path / "masks.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for member in (tmp_path / "masks").rglob("*.*"):
                archive.write(member, member.relative_to(tmp_path / "masks"))
    found = MaskFile(str(path), invert=False).hole(name, (16, 20), (0, 0, 16, 20))[0]
    assert (found == hole()).mean() > 0.99


def test_a_dark_red_stroke_survives_a_jpeg(tmp_path: Path) -> None:
    mask = drawn((128, 0, 0), (0, 0, 0), "RGB").resize((160, 200))
    mask.save(tmp_path / "m.jpg", quality=75)
    with Image.open(tmp_path / "m.jpg") as opened:
        found = read_hole(opened, "m.jpg")
    assert (found == np.kron(hole(), np.ones((10, 10), bool))).mean() > 0.97


def test_noise_of_a_lossy_format_is_no_mask(tmp_path: Path) -> None:
    drawn(1).resize((160, 200)).save(tmp_path / "m.jpg", quality=75)
    with Image.open(tmp_path / "m.jpg") as mask, pytest.raises(InputError, match="values 0"):
        read_hole(mask, "m.jpg")


def test_a_soft_mask_of_12_bits(tmp_path: Path) -> None:
    from scipy.ndimage import gaussian_filter

    soft = gaussian_filter(np.kron(hole(), np.ones((8, 8))) * 4095.0, 3).astype(np.uint16)
    found = read_hole(Image.fromarray(soft), "m.tif")
    assert (found == np.kron(hole(), np.ones((8, 8), bool))).mean() > 0.98


def test_the_exact_name_comes_first_in_a_folder_of_masks(tmp_path: Path) -> None:
    drawn(255).save(tmp_path / "man.png")
    drawn(0, 255).save(tmp_path / "man_mask.png")  # of the image man_mask
    masks = MaskFile(str(tmp_path), invert=False)
    frame = (16, 20), (0, 0, 16, 20)
    assert np.array_equal(masks.hole("man.jpg", *frame)[0], hole())
    assert np.array_equal(masks.hole("man_mask.jpg", *frame)[0], ~hole())


@pytest.mark.parametrize("kind", ["list", "zip"])
def test_masks_in_another_folder_of_a_list_or_archive(kind: str, tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    drawn(255).save(tmp_path / "m" / "a.png")
    path = tmp_path / f"masks.{'txt' if kind == 'list' else 'zip'}"
    if kind == "list":
        path.write_text("m/a.png\n")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "m" / "a.png", "m/a.png")
    for name in ("a.jpg", "p/a.jpg"):
        found = MaskFile(str(path), invert=False).hole(name, (16, 20), (0, 0, 16, 20))[0]
        assert np.array_equal(found, hole())


def test_two_masks_for_one_picture_are_one_too_many(tmp_path: Path) -> None:
    for name in ("a_mask000.png", "a_mask001.png"):
        drawn(255).save(tmp_path / name)
    with pytest.raises(InputError, match=r"2 masks for the image a\.jpg: a_mask000\.png"):
        MaskFile(str(tmp_path), invert=False).hole("a.jpg", (16, 20), (0, 0, 16, 20))[0]


@pytest.fixture
def reconstruct(run: Callable[..., Ran], tmp_path: Path) -> Callable[..., Ran]:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)

    def call(path: object, mask: object) -> Ran:
        arguments = [f"prior={prior}", "data=folder", f"data.path={path}", "mask=file"]
        arguments += [f"mask.path={mask}", "steps=1", "candidates=4", "logger=none"]
        return run("reconstruct", *arguments)

    return call


def beside(folder: Path, mask: str) -> Path:
    """Two images and their masks."""
    for name in ("a", "b"):
        file = folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture().save(file)
        other = folder / mask.format(name)
        other.parent.mkdir(parents=True, exist_ok=True)
        drawn(255).save(other)
    return folder


@pytest.mark.parametrize("mask", ["{}_mask.png", "{}_mask001.png", "{}-mask.bmp"])
def test_masks_beside_their_pictures_are_no_pictures(
    mask: str, reconstruct: Callable[..., Ran], tmp_path: Path
) -> None:
    folder = beside(tmp_path / "s", mask)
    ran = reconstruct(folder, folder)
    assert ran.code == 0, ran.err
    assert "2 files are masks of other images" in ran.out
    assert "data: 2 of 2 images" in ran.out
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    assert {p.name for p in (job / "restored").iterdir()} == {"a.png", "b.png"}


def test_a_folder_of_masks_below_the_pictures_is_none_of_them(
    reconstruct: Callable[..., Ran], tmp_path: Path
) -> None:
    folder = beside(tmp_path / "s", "masks/{}.png")
    ran = reconstruct(folder, folder / "masks")
    assert ran.code == 0, ran.err
    assert "data: 2 of 2 images" in ran.out


@pytest.mark.parametrize("kind", ["folder", "file", "zip", "link"])
def test_a_picture_is_not_its_own_mask(
    kind: str, reconstruct: Callable[..., Ran], tmp_path: Path
) -> None:
    write_pictures(tmp_path / "s", 1, mode="RGB")
    path, mask = tmp_path / "s", tmp_path / "s"
    if kind == "file":
        path = mask = tmp_path / "s" / "00.png"
    elif kind == "zip":
        path = mask = tmp_path / "s.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(tmp_path / "s" / "00.png", "00.png")
    elif kind == "link":
        mask = tmp_path / "link"
        mask.symlink_to(tmp_path / "s")
    ran = reconstruct(path, mask)
    assert ran.code == 2
    assert "00.png: the image is its own mask" in ran.sentence


def test_a_copy_of_the_picture_is_not_its_mask(
    reconstruct: Callable[..., Ran], tmp_path: Path
) -> None:
    for folder in ("i", "k"):
        (tmp_path / folder).mkdir()
        picture().save(tmp_path / folder / "a.png")
    ran = reconstruct(tmp_path / "i", tmp_path / "k")
    assert ran.code == 2
    assert "a.png: " in ran.sentence
