import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_pictures
from PIL import Image

from gan_inpaint.data import archives, masks
from gan_inpaint.data.datasets import CelebA, Coco, Folder
from gan_inpaint.data.digits import Digits
from gan_inpaint.data.huggingface import Hub
from gan_inpaint.data.loading import decode_cached, subset_indices, training_batches
from gan_inpaint.errors import InputError
from gan_inpaint.evaluation.training_images import mean_image, training_images
from gan_inpaint.functional.latent import draw_latent
from gan_inpaint.priors.generated_targets import Generated, held_out
from gan_inpaint.priors.prior import Prior
from gan_inpaint.runtime.seeding import numpy_rng, torch_rng

FOLDER = {"truth": True, "grey": False, "box": None}
HUB = {"config": None, "image": "image", "grey": False, "license": "none"}
HUB["splits"] = {"train": "train[:80%]", "val": "train[80%:]"}


def test_no_held_out_digit_is_trained_on() -> None:
    train, val, every = (Digits(32, 1, split) for split in ("train", "val", "all"))
    assert (len(train), len(val), len(every)) == (4500, 500, 5000)
    assert not set(train.names) & set(val.names)
    assert set(train.names) | set(val.names) == set(every.names)
    assert len({name[-1] for name in val.names[:50]}) == 10, "every class among the first"
    assert Digits(32, 1, None).names == val.names


@pytest.mark.parametrize("size", [16, 32, 64])
def test_digits_at_any_size_and_channels(size: int) -> None:
    digit = Digits(size, 3, "val")[0]
    assert digit.shape == (3, size, size)
    assert digit.dtype == np.uint8
    assert digit.max() > 200
    assert digit[:, 0].max() < 10


def test_a_folder_in_name_order_with_a_stable_split(tmp_path: Path) -> None:
    write_pictures(tmp_path / "p" / "sub", 30)
    options = FOLDER | {"path": str(tmp_path / "p")}
    every = Folder(16, 1, None, **options)
    assert every.names == [f"sub/{i:02}.png" for i in range(30)]
    train, val = Folder(16, 1, "train", **options), Folder(16, 1, "val", **options)
    assert sorted(train.names + val.names) == every.names
    assert 0 < len(val) < 10
    (tmp_path / "p" / "another.png").write_bytes((tmp_path / "p/sub/00.png").read_bytes())
    assert set(val.names) <= set(Folder(16, 1, "val", **options).names)


def test_choose() -> None:
    assert subset_indices(5, None, "first", 0) == [0, 1, 2, 3, 4]
    assert subset_indices(5, 2, "first", 0) == [0, 1]
    drawn = subset_indices(500, 8, "random", 0)
    assert drawn == sorted(drawn) == subset_indices(500, 8, "random", 0)
    assert drawn != subset_indices(500, 8, "random", 1)
    assert drawn != list(range(8))


def test_auto_is_held_out_digits_or_the_prior_itself(digits: Prior, tiny_prior: Prior) -> None:
    assert held_out(32, 1, None, digits, count=3, seed=0).dataset == "digits"
    generated = held_out(16, 1, None, tiny_prior, count=3, seed=0)
    assert (generated.dataset, len(generated)) == ("generated", 3)


def test_the_training_pictures_are_those_of_the_prior(digits: Prior, tiny_prior: Prior) -> None:
    def train() -> Digits:
        return Digits(32, 1, "train")

    generated = Generated(32, 1, None, digits, count=2, seed=0)
    training = training_images(digits, generated, train)  # whatever is reconstructed
    assert training is not None
    assert len(training) == 4500
    expected = torch.from_numpy(training.mean(axis=0) / 127.5 - 1).float()
    torch.testing.assert_close(mean_image(digits, training), expected, rtol=0, atol=1e-5)
    assert training_images(tiny_prior, Digits(16, 1, "val"), train) is None
    stand_in = mean_image(tiny_prior, None)
    assert torch.equal(stand_in, tiny_prior.sample(1024, seed=0).mean(dim=0))


def test_draws_are_functions_of_their_key() -> None:
    assert torch.equal(*(draw_latent(3, 4, "normal", torch_rng("a", 1)) for _ in range(2)))
    one, other = (draw_latent(3, 4, "normal", torch_rng("a", seed)) for seed in (1, 2))
    assert not torch.equal(one, other)
    uniform = draw_latent(1000, 4, "uniform", torch_rng("a"))
    assert -1 <= uniform.min() < -0.9
    assert 0.9 < uniform.max() <= 1
    drawn = [masks.random(16, numpy_rng("mask", 0, n), n, missing=0.5) for n in ("a", "b", "a")]
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


def zipped(folder: Path, archive: Path, extra: tuple[str, ...] = ()) -> Path:
    with zipfile.ZipFile(archive, "w") as out:
        for file in sorted(folder.rglob("*.*")):
            out.write(file, file.relative_to(folder))
        for name in extra:
            out.writestr(name, "not an image")
    return archive


def tarred(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:bz2") as out:
        out.add(folder, arcname="inpainting")
    return archive


def pixels_of(source: Folder | CelebA | Coco | Hub) -> list[bytes]:
    return [source[i].tobytes() for i in range(len(source))]


def test_a_zip_a_tar_and_a_list_hold_what_the_folder_holds(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", 3, mode="RGB")
    listing = tmp_path / "list.txt"
    listing.write_text("p/00.png\n\np/01.png\np/02.png\n")
    expected = pixels_of(Folder(16, 3, None, path=str(folder), **FOLDER))
    for path in (
        zipped(folder, tmp_path / "a.zip", extra=("__MACOSX/00.png", ".hidden.png")),
        tarred(folder, tmp_path / "a.tar.bz2"),
        listing,
    ):
        assert pixels_of(Folder(16, 3, None, path=str(path), **FOLDER)) == expected, path


def test_archives_and_lists_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"PK nothing")
    cut = tarred(write_pictures(tmp_path / "p", 3), tmp_path / "cut.tar.bz2")
    cut.write_bytes(cut.read_bytes()[:-200])
    (tmp_path / "text.txt").write_text("gone.png\n")
    for name in ("broken.zip", "cut.tar.bz2"):
        with pytest.raises(InputError, match=f"{name}: "):
            Folder(16, 1, None, path=str(tmp_path / name), **FOLDER)
    listed = Folder(16, 1, None, path=str(tmp_path / "text.txt"), **FOLDER)
    with pytest.raises(InputError, match=r"gone\.png: cannot be read"):
        listed[0]


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "zip"])
def test_one_large_file_in_an_archive_leaves_the_others(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = write_pictures(tmp_path / "p", 3)
    rng = np.random.default_rng(0)
    (pictures / "weights.bin").write_bytes(rng.bytes(3 << 16))
    (pictures / "scan.png").write_bytes(rng.bytes(3 << 16))
    archive = tmp_path / f"all.{suffix}"
    (zipped if suffix == "zip" else tarred)(pictures, archive)
    monkeypatch.setattr(archives, "_LARGEST", 1 << 16)
    source = Folder(16, 1, None, path=str(archive), **FOLDER)  # type: ignore[arg-type]
    assert len(source) == 4
    assert [source[i].shape for i in range(3)] == [(1, 16, 16)] * 3
    with pytest.raises(InputError, match=r"scan\.png: .* is too large for an image"):
        source[3]


def test_a_damaged_member_of_a_zip_is_named(tmp_path: Path) -> None:
    archive = zipped(write_pictures(tmp_path / "p", 2, size=32), tmp_path / "a.zip")
    content = bytearray(archive.read_bytes())
    content[200:260] = bytes(60)
    archive.write_bytes(content)
    source = Folder(32, 1, None, path=str(archive), **FOLDER)
    with pytest.raises(InputError, match=r"a\.zip/00\.png: cannot be read"):
        source[0]
    assert source[1].shape == (1, 32, 32)


def test_a_box_is_cut_out_before_the_square(tmp_path: Path) -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[2:18, 20:36] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    options = FOLDER | {"path": str(tmp_path / "a.png")}
    assert Folder(16, 3, None, **options | {"box": [20, 2, 36, 18]})[0].min() == 255
    with pytest.raises(InputError, match=r"data\.box=\[1, 2, 3\]"):
        Folder(16, 3, None, **options | {"box": [1, 2, 3]})
    with pytest.raises(InputError, match="only 40x20 pixels"):
        Folder(16, 3, None, **options | {"box": [0, 0, 50, 10]})[0]


@pytest.mark.parametrize("scale", [1, 2])
def test_celeba_cuts_the_face_and_holds_out_the_end(tmp_path: Path, scale: int) -> None:
    (tmp_path / "faces").mkdir()
    for number in range(1, 7):
        pixels = np.full((109 * scale, 89 * scale, 3), 40, np.uint8)
        pixels[17 * scale : 91 * scale, 7 * scale : 81 * scale] = 10 * number
        Image.fromarray(pixels).save(tmp_path / "faces" / f"{number:06}.png")
    archive = zipped(tmp_path / "faces", tmp_path / "faces.zip")
    for path in (tmp_path / "faces", archive):
        train, val = (CelebA(16, 3, s, path=str(path), held_out=2) for s in ("train", None))
        assert train.names == [f"{n:06}.png" for n in (1, 2, 3, 4)]
        assert val.names == ["000005.png", "000006.png"]
        assert (val[0] == 50).all(), "only the face"
        assert CelebA(16, 1, "all", path=str(path), held_out=2)[5].shape == (1, 16, 16)
    with pytest.raises(InputError, match="at least 1 and under 6"):
        CelebA(16, 3, None, path=str(archive), held_out=6)
    other = write_pictures(tmp_path / "other", 3)
    with pytest.raises(InputError, match="use data=folder"):
        CelebA(16, 3, None, path=str(other), held_out=1)[0]


def test_coco_reads_the_archive_of_2017_packed_and_unpacked(tmp_path: Path) -> None:
    root = tmp_path / "inpainting"
    write_pictures(root / "train2014", 3, mode="RGB")
    write_pictures(root / "val2014", 2, mode="L")  # the real one has grey images too
    packed = tarred(root, tmp_path / "inpainting.tar.bz2")
    for path in (root, packed, tmp_path):
        train, val, every = (Coco(16, 3, s, path=str(path)) for s in ("train", None, "all"))
        assert (len(train), len(val), len(every)) == (3, 2, 5)
        assert val[1].shape == (3, 16, 16)
    assert pixels_of(Coco(16, 3, "all", path=str(root))) == pixels_of(
        Coco(16, 3, "all", path=str(packed))
    )
    with pytest.raises(InputError, match="no val2014 in it"):
        Coco(16, 3, None, path=str(root / "train2014"))


def test_pictures_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_pictures(tmp_path / "p", 4)
    (folder / "note.jpg").write_text("not an image")

    def source() -> Folder:
        return Folder(16, 1, None, path=str(folder), **FOLDER)

    first = decode_cached(source())
    pixels, problems = first.pixels, first.problems
    assert isinstance(pixels, np.memmap)
    assert pixels.shape == (4, 1, 16, 16)
    assert len(problems) == 1
    assert "note.jpg" in problems[0]
    monkeypatch.setattr(Folder, "__getitem__", None)  # not needed a second time
    pixels_before = np.array(pixels)
    second = decode_cached(source())
    assert np.array_equal(second.pixels, pixels)
    assert (second.problems, second.names) == (problems, first.names)
    assert first.names == [n for n in source().names if n != "note.jpg"]
    monkeypatch.undo()
    file = next((tmp_path / "cache").glob("*.uint8"))
    for damage in (b"", file.read_bytes()[:-5]):
        file.write_bytes(damage)
        assert np.array_equal(decode_cached(source()).pixels, pixels_before), (
            "a damaged cache is made again"
        )
    next((tmp_path / "cache").glob("*.json")).write_text("{")
    assert np.array_equal(decode_cached(source()).pixels, pixels_before)
    monkeypatch.setenv("GAN_INPAINT_CACHE", str(tmp_path / "cache"))
    (folder / "note.jpg").unlink()
    assert decode_cached(source()).problems == [], "a changed folder is read again"


def test_a_decoding_that_was_cut_short_leaves_no_cache(tmp_path: Path) -> None:
    class Stops(Folder):
        def __getitem__(self, index: int) -> np.ndarray:
            if index == 1:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    folder = write_pictures(tmp_path / "p", 3)
    with pytest.raises(KeyboardInterrupt):
        decode_cached(Stops(16, 1, None, path=str(folder), **FOLDER))
    assert not list((tmp_path / "cache").rglob("*.*"))


def test_batches_leave_the_map_of_the_file_alone(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", 6)
    pixels = decode_cached(Folder(16, 1, None, path=str(folder), **FOLDER)).pixels
    batches = list(training_batches(pixels, 2, seed=0))
    assert sorted(b.tobytes() for batch in batches for b in batch.numpy()) == sorted(
        p.tobytes() for p in pixels
    )


def test_hub_reads_a_local_folder_and_a_parquet_file(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = write_pictures(tmp_path / "p", 10, mode="RGB")
    expected = pixels_of(Folder(16, 3, None, path=str(folder), **FOLDER))
    rows = [{"pic": {"bytes": f.read_bytes(), "path": None}} for f in sorted(folder.iterdir())]
    features = datasets.Features({"pic": datasets.Image()})
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "p.parquet")
    for options in (
        {"name": "imagefolder", "path": str(folder)},
        {"name": "parquet", "path": str(tmp_path / "p.parquet"), "image": "pic"},
    ):
        train, val, every = (Hub(16, 3, s, **HUB | options) for s in ("train", None, "all"))
        assert (len(train), len(val)) == (8, 2)
        assert pixels_of(every) == expected
        assert train.fingerprint != val.fingerprint
    with pytest.raises(InputError, match="no such column, it has image"):
        Hub(16, 3, None, **HUB | {"name": "imagefolder", "path": str(folder), "image": "pic"})
    with pytest.raises(InputError, match=r"data\.name=parquet: cannot be loaded"):
        Hub(16, 3, None, **HUB | {"name": "parquet", "path": str(tmp_path / "gone.parquet")})


# ---------------------------------------------------------------- encoded bytes, nulls, saved sets


def encoded(value: int) -> bytes:
    from io import BytesIO

    file = BytesIO()
    Image.new("RGB", (20, 20), (value, value, value)).save(file, "PNG")
    return file.getvalue()


SAVED = {"config": None, "image": "image", "grey": True, "license": "none"}
SPLITS = {"train": "train[:50%]", "val": "train[50%:]"}


def saved(folder: Path, cells: list, kind: str) -> str:
    """A data set on disk as ``save_to_disk`` leaves it."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image() if kind == "image" else datasets.Value("binary")}
    )
    rows = datasets.Dataset.from_dict({"image": cells}, features=features)
    if kind == "splits":
        rows = datasets.DatasetDict({"train": rows, "test": rows.select(range(1))})
    rows.save_to_disk(str(folder))
    return str(folder)


@pytest.mark.parametrize("kind", ["image", "binary", "splits"])
def test_sets_of_encoded_images_on_disk(kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "set", [encoded(10 * i) for i in range(8)], kind)
    for place in ({"name": path, "path": None}, {"name": "mine", "path": path}):
        train, val, everything = (
            Hub(16, 1, split, splits=SPLITS, **place, **SAVED)  # type: ignore[arg-type]
            for split in ("train", "val", "all")
        )
        assert [len(source) for source in (train, val, everything)] == [4, 4, 8]
        assert int(val[1].mean()) == 50
    if kind == "splits":
        splits = {"train": "train", "val": "test"}
        assert len(Hub(16, 1, "val", splits=splits, **place, **SAVED)) == 1  # type: ignore[arg-type]
        with pytest.raises(InputError, match="no split validation, only train, test"):
            Hub(16, 1, "val", splits={"train": "train", "val": "validation"}, **place, **SAVED)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["image", "binary"])
def test_null_rows_and_damaged_ones_are_named(kind: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "set", [encoded(1), None, b"no image", encoded(3)], kind)
    splits = {"train": "train", "val": "train"}
    source = Hub(16, 1, "train", name=path, path=None, splits=splits, **SAVED)  # type: ignore[arg-type]
    assert source[0].shape == source[3].shape == (1, 16, 16)
    with pytest.raises(InputError, match=r"train_000001: the row has no image \(null\)"):
        source[1]
    with pytest.raises(InputError, match=r"train_000002: "):
        source[2]


@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_saved_set_of_a_few_rows(count: int, tmp_path: Path) -> None:
    path = saved(tmp_path / "set", [encoded(i) for i in range(count)], "image")
    splits = {"train": "train[:90%]", "val": "train[90%:]"}
    place = {"name": path, "path": None, "splits": splits}
    assert len(Hub(16, 1, "all", **place, **SAVED)) == count  # type: ignore[arg-type]
    assert len(Hub(16, 1, "train", **place, **SAVED)) == count  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"train\[90%:\] of .*set has no row; choose other"):
        Hub(16, 1, "val", **place, **SAVED)  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["numpy", "torch"])
def test_a_set_saved_with_a_format_of_its_own(format: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image()})
    rows = datasets.Dataset.from_dict({"image": [encoded(7)] * 3}, features=features)
    rows.set_format(format)
    rows.save_to_disk(str(tmp_path / "set"))
    splits = {"train": "train", "val": "train[:2] + train[2:9]"}
    source = Hub(16, 1, "val", name=str(tmp_path / "set"), path=None, splits=splits, **SAVED)  # type: ignore[arg-type]
    assert len(source) == 3
    assert int(source[2].mean()) == 7
