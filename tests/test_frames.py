"""Which part of a photograph is searched for: tables of boxes, and faces that are found."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ran, save_tiny_prior, write_pictures
from PIL import Image

from gan_inpaint.data.boxes import read_boxes, write_boxes
from gan_inpaint.data.datasets import Folder
from gan_inpaint.data.images import open_image
from gan_inpaint.data.photographs import Photograph
from gan_inpaint.errors import InputError
from gan_inpaint.priors import face_detection as frames
from gan_inpaint.priors.registry import load_prior

Run = Callable[..., Ran]
HEAD = "file_name,left,top,right,bottom\n"


def test_boxes_come_back_as_they_were_written(tmp_path: Path) -> None:
    boxes = [("a.png", (0, 1, 20, 21)), ('it\'s, "b".png', (5, 5, 9, 9)), ("ü/c.png", (0, 0, 1, 1))]
    (tmp_path / "boxes.csv").write_text(write_boxes(boxes), encoding="utf-8")
    assert list(read_boxes(str(tmp_path / "boxes.csv")).items()) == boxes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no column file_name"),
        ("file_name,left,top,right\n", "no column bottom"),
        (HEAD + "a.png,0,0,ten,10\n", "line 2: 0,0,ten,10 are not"),
        (HEAD + "a.png,0,0,1.5,10\n", "are not four whole numbers"),
        (HEAD + "a.png,0,0\n", "are not four whole numbers"),
        (HEAD + "a.png,-1,0,9,9\n", "are not four whole numbers"),
        (HEAD + "a.png,9,0,9,9\n", "is empty"),
        (HEAD + "a.png,0,0,9,9\na.png,0,0,8,8\n", "line 3: a second box for a.png"),
    ],
)
def test_a_wrong_table_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(InputError, match=r"boxes\.csv") as problem:
        read_boxes(str(tmp_path / "boxes.csv"))
    assert sentence in str(problem.value)


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "boxes.csv").write_bytes(b"\xff\xfe\x00")
    for path in ("boxes.csv", "none.csv", "."):
        with pytest.raises(InputError, match=r"data\.boxes="):
            read_boxes(str(tmp_path / path))


def folder(path: Path, **changes: object) -> Folder:
    keys = {"path": str(path), "truth": True, "grey": False, "box": None} | changes
    return Folder(16, 1, None, **keys)  # type: ignore[arg-type]


def test_each_image_has_its_box(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "p", 2, size=40)
    (tmp_path / "boxes.csv").write_text(HEAD + "00.png,0,0,16,16\n01.png,20,10,36,26\n")
    source = folder(pictures, boxes=str(tmp_path / "boxes.csv"))
    for index, box in enumerate([(0, 0, 16, 16), (20, 10, 36, 26)]):
        whole = np.asarray(Image.open(pictures / f"{index:02}.png"))
        assert np.array_equal(source[index][0], whole[box[1] : box[3], box[0] : box[2]])
    (tmp_path / "boxes.csv").write_text(HEAD + "00.png,0,0,16,60\n")
    source = folder(pictures, boxes=str(tmp_path / "boxes.csv"))
    with pytest.raises(InputError, match=r"box of 00\.png.*only 40x40"):
        source[0]
    with pytest.raises(InputError, match=r"boxes\.csv: holds no box for the image 01\.png"):
        source[1]
    with pytest.raises(InputError, match="leave one out"):
        folder(pictures, boxes=str(tmp_path / "boxes.csv"), box=[0, 0, 9, 9])


@pytest.mark.parametrize("box", ["face", [1, 2, 3], [0, 0, 0, 9], [0, 0, 1.5, 9], [-1, 0, 9, 9]])
def test_a_wrong_box_is_one_sentence(tmp_path: Path, box: object) -> None:
    with pytest.raises(InputError, match=r"data\.box=.*or auto"):
        folder(write_pictures(tmp_path / "p", 1), box=box)


def test_a_training_cannot_look_for_faces(run: Run, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "p", 12)
    ran = run("train", "data=folder", f"data.path={pictures}", "data.box=auto", "model.size=16")
    assert ran.code == 2
    assert "data.box=auto: only reconstruct" in ran.sentence


def test_a_job_with_other_boxes_is_another_job(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures, table = write_pictures(tmp_path / "p", 1, size=40), tmp_path / "boxes.csv"
    table.write_text(HEAD + "00.png,0,0,16,16\n")
    job = [f"prior={prior}", "data=folder", f"data.path={pictures}", f"data.boxes={table}"]
    job += ["hydra.run.dir=job", "logger=none", "steps=2", "candidates=8", "guide=none"]
    assert run("reconstruct", *job).code == 0
    moved = table.rename(tmp_path / "moved (1).csv")
    assert run("reconstruct", *job[:3], f"data.boxes={moved}", *job[4:]).code == 0
    moved.write_text(HEAD + "00.png,1,0,17,16\n")
    again = run("reconstruct", *job[:3], f"data.boxes={moved}", *job[4:])
    assert again.code == 2


def test_the_command_line_finds_a_face(run: Run, tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data")
    (tmp_path / "p").mkdir()
    Image.fromarray(data.astronaut()).save(tmp_path / "p" / "a.png")
    Image.fromarray(data.coffee()).save(tmp_path / "p" / "b.png")
    ran = run(
        *("reconstruct", "prior=faces", "data=folder", "data.path=p", "data.box=auto"),
        *("hydra.run.dir=job", "logger=none", "steps=2", "candidates=8", "guide=none"),
    )
    assert ran.code == 0, ran.err
    assert "no face was found in 1 of the images: their centred part was used" in ran.out
    crop = Image.fromarray(data.astronaut()).crop((149, 26, 296, 173))
    crop = np.asarray(crop.resize((64, 64), Image.Resampling.LANCZOS)).astype(int)
    found = np.asarray(Image.open(tmp_path / "job" / "truth" / "00000.png")).astype(int)
    assert np.abs(found - crop).mean() < 12  # a few pixels of the photograph


def test_a_prior_without_faces_frames_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.new("RGB", (60, 40))
    found = frames.propose(picture, load_prior("digits"))
    assert found.boxes == [(10, 0, 50, 40)]
    assert "does not show faces" in str(found.reason)
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    frames._cascade.cache_clear()
    found = frames.propose(picture, load_prior("faces"))
    assert found.boxes == [(10, 0, 50, 40)]
    assert "gan_inpaint[app]" in str(found.reason)


def test_frames_lie_within_any_photograph() -> None:
    data = pytest.importorskip("skimage.data")
    prior, whole = load_prior("faces"), Image.fromarray(data.astronaut())
    for image in (whole.crop((150, 0, 300, 512)), whole.resize((60, 60)), Image.new("L", (1, 9))):
        for left, top, right, bottom in frames.propose(image, prior).boxes:
            assert right - left == bottom - top
            assert 0 <= left < right <= image.width
            assert 0 <= top < bottom <= image.height


def test_a_photograph_in_memory_is_that_of_a_file(tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60), dtype=np.uint8))
    image.save(tmp_path / "a.png")
    mask = np.zeros((40, 60), bool)
    mask[10:20, 24:40] = True
    memory = Photograph.from_mask(open_image(tmp_path / "a.png"), (10, 0, 50, 40), mask)
    pixels, known = memory.crop(16, 1)
    assert (pixels.shape, known.shape) == ((1, 16, 16), (1, 16, 16))
    small = Photograph.from_mask(open_image(tmp_path / "a.png"), (10, 0, 50, 40), mask[::2, ::2])
    assert small.hole.sum() == memory.hole.sum()
    with pytest.raises(InputError, match="proportions"):
        Photograph.from_mask(image, (10, 0, 50, 40), mask[:, :30])
    inside = np.zeros((40, 40), bool)
    inside[3, 3] = True  # a mask of the box alone
    assert Photograph.from_mask(image, (10, 0, 50, 40), inside).hole.sum() == 1
