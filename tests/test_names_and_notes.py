"""Files and command lines as people have them: suffixes, lists, links, notes, levels, paths."""

import csv
import os
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, Ran, only, save_tiny_prior, write_pictures
from PIL import Image, PngImagePlugin

from gan_inpaint.cli import overrides
from gan_inpaint.data.archives import open_files
from gan_inpaint.data.datasets import CelebA, Folder
from gan_inpaint.data.images import open_image
from gan_inpaint.errors import InputError

Run = Callable[..., Ran]
FOLDER = {"truth": None, "grey": True, "box": None}


def image(size: int = 20) -> Image.Image:
    y, x = np.mgrid[0:size, 0:size]
    return Image.fromarray(np.stack([x * 9, y * 9, x * 4 + y * 4], -1).astype(np.uint8))


# ---------------------------------------------------------------- suffixes, folders, lists


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        *((".jfif", "JPEG"), (".JPE", "JPEG"), (".avif", "AVIF"), (".jp2", "JPEG2000")),
        *((".j2k", "JPEG2000"), (".tga", "TGA"), (".pnm", "PPM"), (".PPM", "PPM")),
        *((".dib", "DIB"), (".apng", "PNG"), (".webp", "WEBP"), (".TIF", "TIFF")),
    ],
)
def test_every_usual_suffix_is_an_image(suffix: str, kind: str, tmp_path: Path) -> None:
    image().save(tmp_path / f"a{suffix}", format=kind)
    source = Folder(16, 3, None, path=str(tmp_path), **FOLDER)  # type: ignore[arg-type]
    assert source.names == [f"a{suffix}"]
    assert source[0].shape == (3, 16, 16)


def test_other_formats_are_never_opened_whatever_their_suffix(tmp_path: Path) -> None:
    image().save(tmp_path / "a.eps")
    image().save(tmp_path / "b.pdf")
    for name in ("a.eps", "b.pdf"):
        for renamed in (name, f"{name}.png", "c.jpg"):
            (tmp_path / renamed).write_bytes((tmp_path / name).read_bytes())
            with pytest.raises(InputError, match="not an image"):
                open_image(tmp_path / renamed)


def test_other_files_are_not_counted_but_said(tmp_path: Path, run: Run) -> None:
    pictures = write_pictures(tmp_path / "s", 6)
    for index in range(6):
        (pictures / f"{index:02}.caption").write_text("a face")
        (pictures / f"{index:02}.json").write_text("{}")
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={prior}", "data=folder", f"data.path={pictures}", "limit=4"]
    ran = run("reconstruct", *arguments, "steps=1", "candidates=4", "logger=none")
    assert ran.code == 0, ran.err
    assert "data: 4 of 6 images" in ran.out
    assert "12 files are not images: 6 .caption, 6 .json" in ran.out
    assert "skipped" not in ran.out + ran.err


def test_the_lists_in_an_archive_of_faces_are_held_out_of_nothing(tmp_path: Path) -> None:
    face = BytesIO()
    image().resize((178, 218)).save(face, "JPEG")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for number in range(1, 13):
            archive.writestr(f"img_align_celeba/{number:06}.jpg", face.getvalue())
        for name in ("attr", "bbox", "eval_partition", "landmarks"):
            archive.writestr(f"list_{name}.csv", "image_id,x\n")
    source = CelebA(16, 3, "val", path=str(tmp_path / "archive.zip"), held_out=5)
    assert source.names == [f"img_align_celeba/{number:06}.jpg" for number in range(8, 13)]
    assert len(CelebA(16, 3, "train", path=str(tmp_path / "archive.zip"), held_out=5)) == 7


def test_a_folder_without_pictures_says_what_is_in_it(tmp_path: Path) -> None:
    for name in ("a.heic", "b.HEIC", "c.txt"):
        (tmp_path / name).write_text("")
    with pytest.raises(InputError, match=r"2 \.heic, 1 \.txt: export HEIC files as JPEG"):
        open_files(tmp_path)


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    write_pictures(tmp_path / "real", 2)
    (tmp_path / "data" / "own").mkdir(parents=True)
    image().save(tmp_path / "data" / "own" / "x.png")
    (tmp_path / "data" / "link").symlink_to(tmp_path / "real")
    (tmp_path / "data" / "round").symlink_to(tmp_path / "data")
    (tmp_path / "real" / "back").symlink_to(tmp_path / "data")
    assert open_files(tmp_path / "data").names == ["link/00.png", "link/01.png", "own/x.png"]


LINES = {
    "plain": "{}\n{}\n",
    "windows": "sub\\a.png\r\nsub\\b.png\r\n",
    "comments": "# my images\n\n{}\n# more\n{}\n",
    "labels": "{} 0\n{} 1\n",
    "table": "image_id,label\n{},3\n{},4\n",
    "tabs": "{}\tcat\n{}\tdog\n",
    "quotes": '"{}"\n"{}" 1\n',
    "attributes": "2\nBald Young\n{}  1 -1\n{} -1  1\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("kind", LINES)
def test_lists_of_any_tool(kind: str, encoding: str, tmp_path: Path) -> None:
    write_pictures(tmp_path / "sub", 2)
    for old, new in (("00", "a"), ("01", "b")):
        (tmp_path / "sub" / f"{old}.png").rename(tmp_path / "sub" / f"{new}.png")
    text = LINES[kind].format("sub/a.png", "sub/b.png")
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    source = Folder(16, 1, None, path=str(tmp_path / "list.txt"), **FOLDER)  # type: ignore[arg-type]
    assert source.names == ["sub/a.png", "sub/b.png"]
    assert source[1].shape == (1, 16, 16)


def test_a_list_of_odd_names(tmp_path: Path) -> None:
    names = ["a b.png", "#1.png", "x.png 7.png", "é.jpg"]
    for name in names:
        image().save(tmp_path / name)
    (tmp_path / "list.lst").write_text("\n".join(names), encoding="utf-8")
    assert open_files(tmp_path / "list.lst").names == names
    (tmp_path / "latin.txt").write_bytes("é.jpg".encode("latin-1"))
    with pytest.raises(InputError, match="save it as UTF-8"):
        open_files(tmp_path / "latin.txt")


@pytest.mark.parametrize("name", ["a.png", "netG.pth"])
def test_a_pointer_of_git_lfs_is_named(name: str, tmp_path: Path, run: Run) -> None:
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 143\n"
    (tmp_path / name).write_text(pointer)
    if name == "a.png":
        with pytest.raises(InputError, match="run git lfs pull"):
            open_image(tmp_path / name)
    else:
        assert "run git lfs pull" in run("reconstruct", f"prior={name}", "lam=0").sentence


# ---------------------------------------------------------------- notes and levels


def odd_notes(folder: Path) -> dict[str, Path]:
    """Good images whose notes are damaged or huge."""
    profile = PngImagePlugin.PngInfo()
    profile.add_text("Raw profile type exif", "\nexif\n  12\n" + "00080002" * 3)
    huge = PngImagePlugin.PngInfo()
    huge.add_text("parameters", "x" * 2_000_000, zip=True)
    unicode = PngImagePlugin.PngInfo()
    unicode.add_itxt("prompt", "y" * 3_000_000, zip=True)
    damaged = PngImagePlugin.PngInfo()
    damaged.add(b"zTXt", b"parameters\0\0not zlib at all")
    colour = PngImagePlugin.PngInfo()
    colour.add(b"iCCP", b"profile\0\0not zlib at all")
    for name, info in {
        "profile": profile,
        "huge": huge,
        "unicode": unicode,
        "damaged": damaged,
        "colour": colour,
    }.items():
        image().save(folder / f"{name}.png", pnginfo=info)
    image().save(folder / "exif.webp", exif=b"II", lossless=True)
    image().save(folder / "exif.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=100)
    image().save(folder / "xmp.jpg", xmp=b"<x" * 100, quality=100)
    return {path.name: path for path in folder.iterdir()}


def test_damaged_or_huge_notes_do_not_spoil_the_pixels(tmp_path: Path) -> None:
    files = odd_notes(tmp_path)
    assert len(files) == 8
    for name, path in files.items():
        pixels = np.asarray(open_image(path).convert("RGB")).astype(int)
        assert np.abs(pixels - np.asarray(image())).max() < (40 if "jpg" in name else 1), name


def test_damaged_pixels_are_damaged_all_the_same(tmp_path: Path) -> None:
    image(64).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot be read"):
        open_image(tmp_path / "a.png")


def restored(run: Run, tmp_path: Path, name: str, **more: object) -> Image.Image:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)
    arguments = [f"prior={prior}", "data=folder", f"data.path={tmp_path / name}", "logger=none"]
    arguments += ["steps=1", "candidates=4", *(f"{key}={value}" for key, value in more.items())]
    ran = run("reconstruct", *arguments, "hydra.run.dir=job")
    assert ran.code == 0, ran.err
    result = Image.open(only(tmp_path / "job" / "restored", "*"))
    result.load()
    return result


@pytest.mark.parametrize("suffix", [".jpg", ".tif", ".webp", ".png"])
def test_a_photograph_keeps_what_its_file_says(suffix: str, run: Run, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x10F], exif[0x8298], exif[0x112] = "Camera", "Somebody", 6
    exif.get_ifd(0x8825)[1] = "N"
    source = Image.fromarray(np.zeros((24, 16, 3), np.uint8))
    source.save(tmp_path / f"a{suffix}", exif=exif, dpi=(300, 300), xmp=b"<x:xmpmeta/>")
    result = restored(run, tmp_path, f"a{suffix}")
    kept = result.getexif()
    assert (kept[0x10F], kept[0x8298]) == ("Camera", "Somebody")
    assert kept.get(0x112, 1) == 1, "it was turned"
    assert result.size == (24, 16)
    if suffix != ".tif":
        assert kept.get_ifd(0x8825) == {1: "N"}
    if suffix != ".webp":  # whose files have no resolution
        assert result.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    if suffix in (".jpg", ".webp"):
        assert "<x:xmpmeta/>" in result.info["XML:com.adobe.xmp"]


def test_a_png_keeps_its_text_and_its_profile(run: Run, tmp_path: Path) -> None:
    from PIL import ImageCms

    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "Somebody")
    text.add_itxt("Titel", "Übung")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image().save(tmp_path / "b.png", pnginfo=text, dpi=(200, 200), icc_profile=profile)
    result = restored(run, tmp_path, "b.png")
    assert result.text == {"Author": "Somebody", "Titel": "Übung"}  # type: ignore[attr-defined]
    assert result.info["icc_profile"] == profile
    assert result.info["dpi"] == pytest.approx((200, 200), abs=0.1)


def deep(folder: Path, values: np.ndarray, count: int = 8) -> Path:
    folder.mkdir(exist_ok=True)
    for index in range(count):
        Image.fromarray(np.roll(values, index, axis=1)).save(folder / f"{index}.tif")
    return folder


RAMP = np.linspace(0, 1, 20 * 20).reshape(20, 20)


@pytest.mark.parametrize(
    ("values", "white", "most"),
    [
        ((RAMP * 4095).astype(np.uint16), 4095, 255),
        ((RAMP * 4095).astype(np.uint16), "auto", 255),
        ((RAMP * 1023).astype(np.int32), "auto", 255),
        ((RAMP * 65535).astype(np.uint16), None, 255),
        (RAMP.astype(np.float32), None, 255),
        ((RAMP * 255).astype(np.float32), None, 255),
        ((RAMP * 0.5).astype(np.float32), None, 128),
        ((RAMP * 2 - 1).astype(np.float32), [-1, 1], 255),
        ((RAMP * 8 - 9).astype(np.float32), "auto", 227),
        ((RAMP * 2000 - 1000).astype(np.int32), [-1000, 1000], 255),
        ((RAMP * 1e6).astype(np.float32), 1e6, 255),
    ],
    ids=range(11),
)
def test_files_of_more_than_8_bits_have_a_white(
    values: np.ndarray, white: object, most: int, tmp_path: Path
) -> None:
    path = str(deep(tmp_path / "s", values))
    source = Folder(20, 1, None, path=path, white=white, **FOLDER)  # type: ignore[arg-type]
    pixels = np.stack([source[index] for index in range(8)])
    assert pixels.min() == 0
    assert abs(int(pixels.max()) - most) <= 1
    assert source.notes == []


@pytest.mark.parametrize(
    "values",
    [
        (RAMP * 2 - 1).astype(np.float32),
        (RAMP * 8 - 9).astype(np.float32),
        (RAMP * 1e6).astype(np.float32),
        (RAMP * -5).astype(np.int32),
        (RAMP * 1e6).astype(np.int32),
    ],
    ids=range(5),
)
def test_values_that_can_be_read_in_several_ways_are_refused(
    values: np.ndarray, tmp_path: Path
) -> None:
    path = str(deep(tmp_path / "s", values, 1))
    source = Folder(16, 1, None, path=path, **FOLDER)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"0\.tif: its values range from .*data\.white=auto"):
        source[0]


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("name", ["train", "reconstruct"])
def test_dark_pictures_are_said_with_the_cure(
    name: str, bits: int, run: Run, tmp_path: Path
) -> None:
    path = deep(tmp_path / "s", (RAMP * (2**bits - 1)).astype(np.uint16), 12)
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = ["data=folder", f"data.path={path}", "logger=none"]
    if name == "train":
        more = [*TINY, "data.channels=1", "batch_size=4", "trainer.max_epochs=1"]
    else:
        more = [f"prior={prior}", "steps=1", "candidates=4"]
    for _ in range(2):  # from the cache of decoded images too
        ran = run(name, *arguments, *more)
        assert ran.code == 0, ran.err
        assert f"is {2**bits - 1} of 65535, so they are dark" in ran.out
        assert f"set data.white={2**bits - 1}, or data.white=auto" in ran.out
    ran = run(name, *arguments, *more, f"data.white={2**bits - 1}")
    assert ran.code == 0, ran.err
    assert "they are dark" not in ran.out


@pytest.mark.parametrize("white", ["0", "-5", "nan", "dark", "[1]", "[3,2]", "[0,1,2]"])
def test_a_white_that_is_none(white: str, run: Run, tmp_path: Path) -> None:
    deep(tmp_path / "s", (RAMP * 9).astype(np.uint16), 1)
    ran = run("reconstruct", "data=folder", "data.path=s", f"data.white={white}")
    assert ran.code == 2
    assert "data.white=" in ran.sentence


def test_a_photograph_of_12_bits_is_restored_in_its_own_numbers(run: Run, tmp_path: Path) -> None:
    values = (RAMP * 4095).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    result = np.asarray(restored(run, tmp_path, "a.png", **{"data.white": 4095}))
    assert result.dtype == np.uint16
    hole = np.zeros((20, 20), bool)
    hole[5:15, 5:15] = True
    assert np.array_equal(result[~hole], values[~hole])
    assert 0 < result[hole].mean() <= 4095


# ---------------------------------------------------------------- command lines

NAMES = [
    *("müller.png", "猫.png", "photo (1).png", "a,b.png", "a=b.png", "it's.png", "[x].png"),
    *("a#b.png", "x{1}.png", "~x.png", "a b.png", "null", "10", 'q"t.png'),
    *("é/ö (2)/a.png", "back\\slash.png", "a:b.png", "true.png", " lead.png", "[a,b].png"),
]


@pytest.mark.parametrize("name", NAMES)
def test_any_path_can_be_named(name: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "own" / name
    path.parent.mkdir(parents=True)
    image().save(path, format="PNG")
    prior = save_tiny_prior(tmp_path / "prï(o)r" / "tiny.safetensors", channels=3)
    os.chdir(tmp_path / "own")
    for written in (name, str(path)):
        arguments = [f"prior={prior}", "data=folder", f"data.path={written}", "logger=none"]
        arguments += [
            "steps=1",
            "candidates=4",
            f"hydra.run.dir={tmp_path}/jöb {{1}}/{len(written)}",
        ]
        ran = run("reconstruct", *arguments)
        assert ran.code == 0, ran.err
        job = tmp_path / "jöb {1}" / str(len(written))
        with (job / "results.csv").open() as rows:
            assert [row["name"] for row in csv.DictReader(rows)] == [Path(name).name]
    assert run("reconstruct", f"resume={job}").code == 0


def test_a_sweep_stays_a_sweep(run: Run, tmp_path: Path) -> None:
    for name in ("ä.safetensors", "b.safetensors"):
        save_tiny_prior(tmp_path / name)
    arguments = ["data=generated", "data.count=2", "steps=1", "candidates=4", "logger=none"]
    for number, priors in enumerate(("ä.safetensors,b.safetensors", "digits,faces")):
        ran = run("reconstruct", f"prior={priors}", "-m", *arguments, f"hydra.sweep.dir=s{number}")
        assert ran.code == 0, ran.err
        with (tmp_path / f"s{number}" / "comparison.csv").open() as rows:
            assert len(list(csv.DictReader(rows))) == 2
    image().save(tmp_path / "a,b.png")
    arguments += ["prior=faces", "data=folder", "data.path=a,b.png", "hydra.sweep.dir=s2"]
    ran = run("reconstruct", "-m", "lam=0,1", *(a for a in arguments if "count" not in a))
    assert ran.code == 0, ran.err
    assert "data: 1 of 1 images" in ran.out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["lam=1", "-m", "lr=1,2"], ["-m", "lam=1", "lr=1,2"]),
        (["lam=1", "--multirun"], ["--multirun", "lam=1"]),
        (["--cfg", "job", "lam=1"], ["--cfg", "job", "lam=1"]),
        (["lam=1", "--cfg", "job"], ["--cfg", "job", "lam=1"]),
        (["-m", "prior=faces,digits"], ["-m", "prior=faces,digits"]),
        (["-m", "prior=ä,digits"], ["-m", "prior='ä',digits"]),
        (["prior={_target_: x.Y, n: 1}"], ["prior={_target_: x.Y, n: 1}"]),
        (["data.splits.train=train[:90%]"], ["data.splits.train='train[:90%]'"]),
        (["~trainer"], ["~trainer"]),
        (["data.path=~/x"], [f"data.path={Path.home()}/x"]),
        (["data.path='ä'"], ["data.path='ä'"]),
        (["hydra.run.dir=2024_05_01"], ["hydra.run.dir='2024_05_01'"]),
        (["hydra.run.dir=1e3"], ["hydra.run.dir='1e3'"]),
        (["name=2024_05_01"], ["name='2024_05_01'"]),
        (["hydra.run.dir=a, b"], ["hydra.run.dir='a, b'"]),
        (["-m", "hydra.sweep.dir=a, (1)"], ["-m", "hydra.sweep.dir='a, (1)'"]),
        (["prior=null"], ["prior=null"]),
        (["+data.path=ä"], ["+data.path='ä'"]),
    ],
)
def test_command_lines_are_prepared(arguments: list[str], expected: list[str]) -> None:
    assert overrides.quote_arguments(arguments) == expected
    assert overrides.quote_arguments(expected) == expected, (
        "twice is once: Lightning repeats a command"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data.path=p"], r"data\.path: not a key of the selected data config; add data=folder"),
        (["mask.path=p"], r"mask\.path: .*add mask=file"),
        (["mask.missing=0.5"], r"mask\.missing: .*add mask=half \(or pattern"),
        (["data.held_out=5"], r"data\.held_out: .*add data=celeba"),
        (["lam=0,1"], r"lam=0,1: several values need a sweep: add -m"),
        (["norm=ü"], "norm=ü: Hydra cannot parse it; quote the value: \"norm='ü'\""),
        (["data=folder", "data.path="], "data.path= is empty"),
        (["data=folder", "data.path=~nobody_here/x"], "no such user"),
        (["lam"], "lam: not a setting: write KEY=VALUE"),
        (["hydra.output_subdir=null"], r"hydra\.output_subdir"),
        (["hydra.output_subdir=conf"], r"hydra\.output_subdir"),
        (["data=folder", "data.path=~/no/such"], f"data.path={Path.home()}/no/such"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(arguments: list[str], words: str, run: Run) -> None:
    import re

    ran = run("reconstruct", *arguments, "logger=none")
    assert ran.code == 2
    assert re.search(words, ran.sentence), ran.sentence


def test_paths_are_relative_to_where_the_command_is_called(run: Run, tmp_path: Path) -> None:
    save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)
    image().save(tmp_path / "p.png")
    arguments = ["prior=tiny.safetensors", "data=folder", "data.path=p.png", "steps=1"]
    arguments += ["candidates=4", "logger=none", "hydra.job.chdir=true", "hydra.run.dir=job"]
    ran = run("reconstruct", *arguments)
    assert ran.code == 0, ran.err
    assert (tmp_path / "job" / "restored" / "p.png").is_file()
    assert Path.cwd() == tmp_path


def test_hydra_does_not_take_the_errors_over(run: Run) -> None:
    import subprocess
    import sys

    ran = subprocess.run(
        [sys.executable, "-m", "gan_inpaint.reconstruct", "lamb=1"],
        capture_output=True,
        text=True,
        env=os.environ | {"HYDRA_FULL_ERROR": "0"},
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr == "error: lamb: no such key; did you mean lam? (--help lists them)\n"
