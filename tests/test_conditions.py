"""What images show: read from data, trained on, searched with, and reported."""

import csv
import json
import pickle
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, Ran, add_contrast, only, tiny_training, write_pictures
from torch import Tensor

from gan_inpaint import InputError, Prior, inpaint, load_prior
from gan_inpaint.conditioning.label import Label
from gan_inpaint.conditioning.text import Text
from gan_inpaint.data.conditions import AttributeTable, Captions
from gan_inpaint.data.datasets import CelebA, Coco, Folder
from gan_inpaint.data.digits import CaptionedDigits, Digits
from gan_inpaint.data.loading import EncodedConditions
from gan_inpaint.functional.conditions import drop_conditions, in_pairs
from gan_inpaint.guide.estimates import Guide
from gan_inpaint.guide.gaussian import load_gaussian, save_data_gaussian
from gan_inpaint.guide.posterior import Posterior
from gan_inpaint.priors.files import read_networks, save_prior
from gan_inpaint.runtime.io import read_csv
from gan_inpaint.runtime.seeding import torch_rng
from gan_inpaint.training.initialize import start_from

Run = Callable[..., Ran]
CLASSES = Label(["cat", "dog"])
CONDITIONING = {
    "encoder": CLASSES.state,
    "width": 4,
    "drop": 0.1,
    "mismatched": 1.0,
    "diversity": 0.1,
}
FAST: dict[str, Any] = {"lam": 0, "steps": 5, "candidates": 16, "guide": "none"}


def save_conditional(path: Path, **changes: Any) -> Path:
    """An untrained conditional prior, whose images depend strongly on the condition."""
    model = tiny_training(conditioning=CONDITIONING, **changes)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        add_contrast(model)
        model.generator.embed.weight.mul_(0.3)
        assert model.conditions is not None
        model.conditions.copy_(CLASSES.encode(["cat", "dog"] * (len(model.conditions) // 2)))
        for _ in range(50):
            one = model.conditions[torch.randint(2, (16,))]
            model.discriminator(model.generator(torch.randn(16, 8), one), one)
    save_prior(path, model.generator, model.discriminator, model.metadata(), model.conditions)
    return path


@pytest.fixture(scope="session")
def conditional_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_conditional(tmp_path_factory.mktemp("conditional") / "tiny.safetensors")


@pytest.fixture
def conditional(conditional_file: Path) -> Prior:
    return load_prior(conditional_file)


def known(size: int = 16) -> Tensor:
    mask = torch.ones(1, 1, size, size, dtype=torch.bool)
    mask[..., 4:12, 4:12] = False
    return mask


# --- data


def test_class_subfolders_are_labels(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_pictures(tmp_path / "p" / name, 3)
    source = Folder(16, 1, "all", path=str(tmp_path / "p"), truth=True, grey=True, box=None)
    assert [source.condition(index) for index in range(6)] == ["cat"] * 3 + ["dog"] * 3
    flat = Folder(16, 1, "all", path=str(tmp_path / "p/cat"), truth=True, grey=True, box=None)
    assert flat.condition(0) is None


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize("zipped", [False, True])
def test_metadata_beside_the_images(tmp_path: Path, suffix: str, zipped: bool) -> None:
    folder = write_pictures(tmp_path / "p" / "train", 3)
    rows = [("00.png", "a cat", 1), ("01.png", "a dog, old", -1)]
    if suffix == "csv":
        with (folder / "metadata.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("file_name", "text", "Old"), *rows])
    else:
        lines = [json.dumps({"file_name": n, "text": t, "Old": o}) for n, t, o in rows]
        (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    path = tmp_path / "p"
    if zipped:
        import shutil

        path = Path(shutil.make_archive(str(tmp_path / "z"), "zip", path))

    def source(column: str | None) -> Folder:
        given: dict[str, Any] = {"truth": True, "grey": True, "box": None, "condition": column}
        return Folder(16, 1, "all", path=str(path), **given)

    assert [source("text").condition(i) for i in range(3)] == ["a cat", "a dog, old", None]
    assert [int(source("Old").condition(i)) for i in range(2)] == [1, -1]
    assert source(None).condition(0).keys() == {"text", "Old"}
    assert source(None).notes == [], "metadata are no foreign files"
    with pytest.raises(InputError, match="no such column, it has Old, text"):
        source("label").condition(0)


def test_jsonl_may_lack_a_column_and_hold_other_line_breaks(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", 3)
    rows = [{"file_name": "00.png", "text": "a\u2028cat"}, {"file_name": "01.png"}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
    given: dict[str, Any] = {"truth": True, "grey": True, "box": None, "condition": "text"}
    source = Folder(16, 1, "all", path=str(folder), **given)
    assert [source.condition(index) for index in range(3)] == ["a\u2028cat", None, None]
    one = Folder(16, 1, "all", path=str(folder / "00.png"), **given)
    assert one.condition(0) == "a\u2028cat"
    (tmp_path / "list.txt").write_text("p/00.png\n")
    (tmp_path / "metadata.csv").write_text("file_name,text\np/00.png,listed\n")
    assert Folder(16, 1, "all", path=str(tmp_path / "list.txt"), **given).condition(0) == "listed"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("metadata.csv", "name,text\n00.png,x\n", "line 2 has no file_name"),
        ("metadata.jsonl", "{", "damaged"),
        ("metadata.jsonl", '["00.png"]', "line 1 has no file_name"),
        ("metadata.csv", "file_name,text\n00.png,\xff\n", "save it as UTF-8"),
    ],
)
def test_damaged_metadata_are_one_sentence(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    folder = write_pictures(tmp_path / "p", 2)
    (folder / name).write_bytes(content.encode("latin1"))
    source = Folder(16, 1, "all", path=str(folder), truth=True, grey=True, box=None)
    with pytest.raises(InputError, match=words):
        source.condition(0)


def test_without_metadata_a_column_is_refused(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "p", 2)
    given: dict[str, Any] = {"truth": True, "grey": True, "box": None, "condition": "text"}
    with pytest.raises(InputError, match=r"no metadata.csv or metadata.jsonl"):
        Folder(16, 1, "all", path=str(folder), **given).condition(0)


def test_a_column_of_a_hub_data_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    from gan_inpaint.data.huggingface import Hub

    files = [str(file) for file in sorted(write_pictures(tmp_path / "p", 4).iterdir())]
    columns = {"image": files, "label": [0, 1, -1, 1], "text": ["a", "b", None, "d"]}
    features = datasets.Features(
        image=datasets.Image(),
        label=datasets.ClassLabel(names=["cat", "dog"]),
        text=datasets.Value("string"),
    )
    datasets.Dataset.from_dict(columns, features).save_to_disk(str(tmp_path / "saved"))

    def told(column: str | None) -> list[Any]:
        rest: dict[str, Any] = {"path": None, "config": None, "image": "image", "grey": True}
        rest |= {"license": "none", "splits": {"train": "train", "val": "train"}}
        source = Hub(16, 1, "train", name=str(tmp_path / "saved"), condition=column, **rest)
        return [source.condition(index) for index in range(4)]

    assert told("label") == ["cat", "dog", None, "dog"]
    assert told("text") == ["a", "b", None, "d"]
    assert told(None) == [None] * 4
    with pytest.raises(InputError, match="no such column, it has image, label, text"):
        told("caption")


@pytest.mark.parametrize("form", ["txt", "csv"])
def test_attributes_of_celeba(tmp_path: Path, form: str) -> None:
    folder = write_pictures(tmp_path / "p", 3)
    for number, file in enumerate(sorted(folder.iterdir()), 1):
        from PIL import Image

        Image.new("RGB", (89, 109)).save(folder / f"{number:06}.jpg")
        file.unlink()
    table = tmp_path / f"list.{form}"
    if form == "txt":
        table.write_text("2\nSmiling Male\n000001.jpg  1 -1\n000003.jpg -1  1\n")
    else:
        table.write_text("image_id,Smiling,Male\n000001.jpg,1,-1\n000003.jpg,-1,1\n")
    source = CelebA(16, 3, "all", path=str(folder), held_out=1, attributes=str(table))
    told = [source.condition(index) for index in range(3)]
    assert told == [{"Smiling": 1, "Male": -1}, None, {"Smiling": -1, "Male": 1}]
    assert CelebA(16, 3, "all", path=str(folder), held_out=1).condition(0) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "names of the attributes"),
        ("image_id,Smiling\n", "holds no image"),
        (
            "image_id,Smiling\na.jpg,1,1\n",
            "line 2 must hold an image's name and 1 times 1, -1 or 0",
        ),
        ("image_id,Smiling\na.jpg,1\nb.jpg,x\n", "line 3"),
        ("image_id,Smiling\na.jpg,257\n", "line 2"),
        ("image_id,Smiling\na.jpg,0.5\n", "1, -1 or 0"),
        ("image_id,Smiling,Smiling\na.jpg,1,1\n", "each once"),
        ("image_id,Smiling\na.jpg," + "1" * 200_000, "damaged"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_damaged_attributes_are_one_sentence(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    table = tmp_path / "list.csv"
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words):
        AttributeTable(str(table))
    with pytest.raises(InputError, match="no such file"):
        AttributeTable(str(tmp_path / "none.csv"))


def test_captions_of_the_course_and_of_coco(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "inpainting" / "train2014", 2, mode="RGB")
    for number, file in enumerate(sorted(folder.glob("*.png"))):
        file.rename(folder / f"COCO_train2014_{9 + number:012}.png")
    told = {"COCO_train2014_000000000009": ["a man in a r\xe9d suit", "a suit"]}
    pickled = tmp_path / "inpainting" / "dict_key_imgID_value_caps_train_and_valid.pkl"
    pickled.write_bytes(pickle.dumps(told, protocol=2))
    source = Coco(16, 3, "train", path=str(tmp_path / "inpainting"))
    assert source.condition(0) == ["a man in a réd suit", "a suit"]
    assert source.condition(1) is None
    notes = {
        "annotations": [{"image_id": 10, "caption": "a cat"}, {"image_id": 10, "caption": "b"}]
    }
    other = tmp_path / "captions_train2014.json"
    other.write_text(json.dumps(notes))
    source = Coco(16, 3, "train", path=str(tmp_path / "inpainting"), captions=str(other))
    assert source.condition(1) == ["a cat", "b"]


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("code ran",))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("c.pkl", pickle.dumps({"a": [_Code()]}), "could run any code"),
        ("c.pkl", pickle.dumps(["a"]), "no dictionary of captions, but list"),
        ("c.pkl", pickle.dumps({}), "holds no captions"),
        ("c.pkl", b"\x80", "no plain dictionary"),
        ("c.json", b"{}", "no annotations"),
        ("c.json", b"[" * 5000, "no annotations"),
    ],
)
def test_captions_that_are_none_are_one_sentence(
    name: str, content: bytes, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=words):
        Captions(BytesIO(content), name)
    assert "code ran" not in capfd.readouterr().out


def test_digits_have_labels_and_coloured_ones_captions() -> None:
    digits = Digits(32, 1, "val")
    assert [digits.condition(i) for i in range(3)] == [
        n.rpartition("_")[2] for n in digits.names[:3]
    ]
    source, again = CaptionedDigits(32, 3, "val"), CaptionedDigits(32, 3, "val")
    assert len(source) == 500
    colour, digit, background = source.facts(0)
    assert all(colour in caption and background in caption for caption in source.condition(0))
    assert colour != background
    assert str(digit) in source.condition(0)[1]
    assert np.array_equal(source[7], again[7])
    corner = source[0][:, 0, 0]
    from gan_inpaint.data.digits import COLOURS

    assert corner.tolist() == list(COLOURS[background])
    assert CaptionedDigits(64, 3, "val")[0].shape == (3, 64, 64)
    with pytest.raises(InputError, match=r"model.channels=3"):
        CaptionedDigits(32, 1, "val")
    assert set(CaptionedDigits(32, 3, "train").names).isdisjoint(source.names)


def test_of_several_captions_each_is_drawn_and_the_draw_can_be_repeated() -> None:
    captions = [["one", "two"], ["three"], [], "four", None]
    encoder = Text(pairs=False).fit(captions)
    encoded = EncodedConditions(encoder, captions, seed=0)
    assert encoded.missing == 2
    indices = [np.array([0, 1, 2, 3, 4]) + 0 * turn for turn in range(2)]
    assert encoded(indices[0]).equal(encoded(indices[1]))
    drawn = {tuple(encoded(np.array([0, number])).tolist()[0]) for number in (0, 1, 2, 3, 4) * 4}
    assert len(drawn) == 2
    assert encoded(np.array([2, 4])).count_nonzero() == 0


# --- networks and training


def test_zeros_are_the_same_as_no_condition(conditional: Prior) -> None:
    z, nothing = torch.randn(3, 8), torch.zeros(3, 2)
    assert conditional.decode(z, nothing).equal(conditional.decode(z))
    images = conditional.decode(z)
    torch.testing.assert_close(conditional.realism(images, nothing), conditional.realism(images))
    cat, dog = (conditional.encode([name]).expand(3, -1) for name in ("cat", "dog"))
    assert (conditional.decode(z, cat) - conditional.decode(z, dog)).abs().max() > 0.1
    assert not conditional.realism(images, cat).equal(conditional.realism(images, dog))
    reduced = conditional.reduced()
    torch.testing.assert_close(reduced.decode(z, cat), conditional.decode(z, cat), atol=0.1, rtol=0)


def test_d_judges_several_conditions_of_an_image_at_once(conditional: Prior) -> None:
    images, told = conditional.sample(3, seed=0), conditional.encode(["cat", "dog", None])
    several = torch.stack([told, told.roll(1, 0)], dim=1)
    logits = conditional.discriminator(images, several)  # type: ignore[misc]
    torch.testing.assert_close(logits[:, 0], conditional.realism(images, told))
    torch.testing.assert_close(logits[:, 1], conditional.realism(images, told.roll(1, 0)))


def test_a_training_continues_an_unconditional_one(tiny_prior_file: Path) -> None:
    plain = read_networks(tiny_prior_file)
    module = tiny_training(conditioning=CONDITIONING)
    left = start_from(module, plain.generator, plain.discriminator)
    assert {line.split()[0] for line in left} == {
        "generator.embed.weight",
        "discriminator.project.weight",
        "discriminator.embed.weight",
    }
    z, told = torch.randn(4, 8), CLASSES.encode(["cat", "dog", "cat", None])
    module.eval()
    torch.testing.assert_close(module.generator(z, told), plain.generator.float().eval()(z))


def test_generated_pairs_share_a_condition_and_some_are_left_out() -> None:
    told = CLASSES.encode(["cat", "dog"] * 100)
    dropped, again = (drop_conditions(told, 0.5, torch_rng("drop")) for _ in range(2))
    assert 60 < (dropped == 0).all(dim=1).sum() < 140
    assert dropped.equal(again), "the draw can be repeated"
    signs = torch.ones(200, 8)
    partly = drop_conditions(signs, 0.0, torch_rng("drop"), partial=True)
    assert 0.4 < partly.mean() < 0.6
    assert len(partly.sum(dim=1).unique()) > 4, "of some images more than of others"
    assert drop_conditions(signs, 0.0, torch_rng("drop")).equal(signs)
    for count in (6, 7):
        pairs = in_pairs(torch.arange(count)[:, None])
        assert len(pairs) == count
        half = count // 2
        assert pairs[:half].equal(pairs[count - half :])


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    """Dark cats and bright dogs, and one image of nothing."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name, low in (("cat", 0), ("dog", 160)):
        (tmp_path / "p" / name).mkdir(parents=True)
        for index in range(24):
            pixels = rng.integers(low, low + 90, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "p" / name / f"{index:02}.png")
    Image.fromarray(pixels).save(tmp_path / "p" / "alone.png")
    return tmp_path / "p"


TRAIN = [*TINY, "data=folder", "data.channels=1", "batch_size=8", "logger=none", "log_every=1"]


@pytest.mark.parametrize("loss", ["bce", "hinge", "wgan_gp"])
def test_training_with_labels_resumes_and_exports(run: Run, classes: Path, loss: str) -> None:
    norm = ["model.discriminator_norm=spectral"] if loss == "wgan_gp" else []
    options = [*TRAIN, f"data.path={classes}", "conditioning=label", f"loss={loss}", *norm]
    options += ["data.condition=null", "precision=bf16"]
    schedule = ["schedule.discriminator=3", "schedule.generator=2"]
    first = run("train", *options, *schedule, "trainer.max_epochs=2", "checkpoint.every_n_epochs=1")
    assert first.code == 0, first.err
    assert "conditioning: 1 of" in first.out or "no condition" not in first.out
    assert "conditioning: label, 2 numbers" in first.out
    directory = only(Path("outputs/train/folder"), "*")
    resumed = run("train", f"resume={directory}", "trainer.max_epochs=3")
    assert resumed.code == 0, resumed.err
    prior = load_prior(directory)
    assert prior.encoder is not None
    assert prior.encoder.classes == ["cat", "dog"]
    assert load_gaussian(prior, "data").condition_scale > 0
    assert run("select", f"run={directory}", "samples=4", "images=2", "steps=2").code == 0
    other = run("train", f"resume={directory}", "conditioning.width=8", "trainer.max_epochs=4")
    assert "the run has other conditions" in other.sentence
    (classes / "cat/00.png").rename(classes / "dog/99.png")
    moved = run("train", f"resume={directory}", "trainer.max_epochs=4")
    assert "the images have other conditions now" in moved.sentence
    renamed = run("train", *options, f"init={directory}", "trainer.max_epochs=1")
    assert renamed.code == 0, renamed.err
    assert "the conditions there are others" not in renamed.out
    (classes / "dog").rename(classes / "wolf")
    renamed = run("train", *options, f"init={directory}", "trainer.max_epochs=1")
    assert "the conditions there are others" in renamed.out
    assert "generator.embed.weight is missing" in renamed.out
    saved = prior.save_pretrained(Path("hub"))
    assert Prior.from_pretrained(saved).encode(["dog"]).equal(prior.encode(["dog"]))


def test_training_without_conditions_in_the_data_is_one_sentence(run: Run, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "p", 20)
    for kind, words in (
        ("label", "no labels"),
        ("attributes", "have none"),
        ("text", "no captions"),
    ):
        ran = run("train", *TRAIN, f"data.path={pictures}", f"conditioning={kind}")
        assert ran.code == 2
        assert words in ran.sentence
    assert not Path("outputs").exists() or not list(Path("outputs").rglob("*.ckpt"))


# --- search


def test_a_search_under_the_right_condition_finds_the_image(conditional: Prior) -> None:
    images = conditional.sample(6, seed=1, radius=0.7, condition="dog")
    options = FAST | {"steps": 40, "candidates": 64}
    right = inpaint(images, known(), conditional, condition="dog", **options)
    wrong = inpaint(images, known(), conditional, condition="cat", **options)
    assert right.contextual.mean() < 0.5 * wrong.contextual.mean()
    each = inpaint(images, known(), conditional, condition=["dog"] * 3 + ["cat"] * 3, **options)
    torch.testing.assert_close(each.contextual[:3], right.contextual[:3], atol=1e-4, rtol=0.2)
    assert set(dict(each.rows.__dict__)) == set(dict(right.rows.__dict__))


def test_all_tries_every_class_and_keeps_the_best(conditional: Prior) -> None:
    images = torch.cat(
        [conditional.sample(3, seed=1, radius=0.7, condition=name) for name in ("dog", "cat")]
    )
    options = FAST | {"steps": 40, "candidates": 64, "restarts": 2, "batch_size": 8}
    result = inpaint(images, known(), conditional, condition="all", **options)
    assert len(result.rows.objective) == 6 * 2 * 2
    assert (result.restart // 2).tolist() == [1, 1, 1, 0, 0, 0]
    objective = result.rows.objective.view(6, 4)
    assert result.objective.equal(objective.min(dim=1).values)
    assert (
        result.counted.tolist() == [[False] * 2 + [True] * 2] * 3 + [[True] * 2 + [False] * 2] * 3
    )
    mean = inpaint(images, known(), conditional, condition="all", estimate="mean", **options)
    both = mean.rows.z.view(6, 4, -1)
    for number, name in ((0, "dog"), (5, "cat")):
        own = both[number, 2:] if name == "dog" else both[number, :2]
        average = conditional.decode(own, conditional.encode([name] * 2)).mean(dim=0)
        torch.testing.assert_close(mean.generated[number], average, atol=1e-4, rtol=0)
    again = conditional.decode(result.z, conditional.encode(["dog"] * 3 + ["cat"] * 3))
    torch.testing.assert_close(again, result.generated, atol=1e-5, rtol=0)


def test_an_image_has_the_same_result_alone_and_among_other_conditions(
    conditional: Prior, tiny_prior: Prior
) -> None:
    images = conditional.sample(4, seed=1, radius=0.7)
    told = np.array(["dog", "cat", "cat", "dog"])
    options = FAST | {"candidates": 64, "steps": 3}
    together = inpaint(images, known(), conditional, condition=told, **options)
    alone = inpaint(images[:1], known(), conditional, condition="dog", **options)
    torch.testing.assert_close(together.generated[:1], alone.generated, atol=1e-4, rtol=0)
    inpaint(tiny_prior.sample(2, seed=0), known(), tiny_prior, condition=[None, ""], **FAST)


def test_without_a_condition_a_conditional_prior_works_as_another(conditional: Prior) -> None:
    images = conditional.sample(2, seed=1, radius=0.7)
    options = FAST | {"candidates": 0}
    none = inpaint(images, known(), conditional, **options)
    zeros = inpaint(images, known(), conditional, condition=[None, None], **options)
    torch.testing.assert_close(none.generated, zeros.generated, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("bird", "no such label; the prior knows cat, dog"),
        ("Dgo", "did you mean dog?"),
        (["cat"], "1 of them for 2 images"),
        ({"Smiling": 1}, "takes a label"),
        ({"label": "cat", "x": 1}, "takes a label"),
    ],
)
def test_an_unknown_condition_is_one_sentence(
    conditional: Prior, condition: Any, words: str
) -> None:
    images = conditional.sample(2, seed=1)
    with pytest.raises(InputError) as problem:
        inpaint(images, known(), conditional, condition=condition, **FAST)
    assert words in str(problem.value)


def test_an_unconditional_prior_takes_no_condition(tiny_prior: Prior, run: Run) -> None:
    images = tiny_prior.sample(2, seed=1)
    with pytest.raises(InputError, match="takes no conditions"):
        inpaint(images, known(), tiny_prior, condition=7, **FAST)
    with pytest.raises(InputError, match="has no classes to try"):
        inpaint(images, known(), tiny_prior, condition="all", **FAST)
    ran = run("reconstruct", "prior=digits", "condition=7", "limit=1", "logger=none")
    assert "takes no conditions" in ran.sentence


def test_a_guide_heeds_the_condition(conditional_file: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    told = ["cat", "dog"] * 40
    levels = np.array([40, 200] * 40)[:, None, None, None]
    pixels = (levels + rng.integers(-20, 20, (80, 1, 16, 16))).astype(np.uint8)
    file = tmp_path / "prior.safetensors"
    file.write_bytes(conditional_file.read_bytes())
    save_data_gaussian(file, pixels, flip=False, conditions=CLASSES.encode(told))
    prior = load_prior(file)
    nearly_all = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    nearly_all[..., 0, 0] = True
    images = torch.zeros(2, 1, 16, 16)
    guide = Guide(prior, "data", 2)
    cat, dog = guide(images, nearly_all, CLASSES.encode(["cat", "dog"]))
    assert cat[0].mean() < -0.3
    assert dog[0].mean() > 0.3
    nothing = guide(images, nearly_all, torch.zeros(2, 2))
    torch.testing.assert_close(nothing, guide(images, nearly_all))
    gaussian = load_gaussian(prior, "data")
    given = torch.tensor([True, True])
    plain = Posterior(gaussian, nearly_all[0], 0.05).mean(images)
    told_mean = Posterior(gaussian, nearly_all[0], 0.05, given).mean(
        images, CLASSES.encode(["cat"] * 2)
    )
    assert (plain - told_mean).abs().mean() > 0.1


def test_statistics_of_other_conditions_are_refused(conditional_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "prior.safetensors"
    file.write_bytes(conditional_file.read_bytes())
    pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 16, 16), dtype=np.uint8)
    for told in (torch.rand(40, 3), torch.full((40, 2), torch.nan)):
        save_data_gaussian(file, pixels, flip=False, conditions=told.nan_to_num() + told.isnan())
        if told.isnan().any():
            from safetensors.torch import load_file, save_file

            beside = file.with_suffix(".gaussian.safetensors")
            save_file(load_file(beside) | {"condition_mean": told[0]}, beside)
        with pytest.raises(InputError, match="its conditions do not fit"):
            load_gaussian(load_prior(file), "data")


# --- the command


RECONSTRUCT = ["data=folder", "split=all", "limit=6", "sample=random", "logger=none", "steps=5"]


def reconstruct(run: Run, prior: Path, data: Path, *more: str) -> tuple[Ran, list[dict[str, str]]]:
    before = set(Path("outputs/reconstruct").glob("*")) if Path("outputs").exists() else set()
    ran = run("reconstruct", f"prior={prior}", f"data.path={data}", *RECONSTRUCT, *more)
    after = set(Path("outputs/reconstruct").glob("*")) - before if not ran.code else set()
    return ran, read_csv(after.pop() / "results.csv") if after else []


def test_the_data_say_what_each_image_shows(
    run: Run, conditional_file: Path, classes: Path
) -> None:
    ran, rows = reconstruct(run, conditional_file, classes, "baselines=true")
    assert ran.code == 0, ran.err
    assert [row["condition"] for row in rows] == [
        Path(row["name"]).parent.name or "none" for row in rows
    ]
    assert "condition: each image's own, such as" in ran.out
    assert "condition" not in read_csv(only(Path("outputs/reconstruct"), "*") / "restarts.csv")[0]


@pytest.mark.parametrize(
    ("condition", "words"), [("none", "none"), ("dog", "dog"), ("{label: cat}", "cat")]
)
def test_one_condition_for_all_images(
    run: Run, conditional_file: Path, classes: Path, condition: str, words: str
) -> None:
    ran, rows = reconstruct(run, conditional_file, classes, f"condition={condition}")
    assert ran.code == 0, ran.err
    assert {row["condition"] for row in rows} == {words}
    assert f"condition: {words}" in ran.out


def test_all_says_which_class_fits_best(run: Run, conditional_file: Path, classes: Path) -> None:
    ran, rows = reconstruct(run, conditional_file, classes, "condition=all", "animate=true")
    assert ran.code == 0, ran.err
    assert {row["condition"] for row in rows} <= {"cat", "dog"}
    job = only(Path("outputs/reconstruct"), "*")
    restarts = read_csv(job / "restarts.csv")
    assert [row["condition"] for row in restarts] == ["cat", "dog"] * len(rows)
    for row in rows:
        own = [r for r in restarts if r["image"] == row["image"]]
        best = min(own, key=lambda r: float(r["objective"]))
        assert row["condition"] == best["condition"]
    summary = json.loads((job / "summary.json").read_text())
    assert summary["condition"] == "all"


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("bird", "the prior knows cat, dog"),
        ("true", "no such label"),
        ("[cat,dog]", "one condition for all images"),
        ("5e400", "condition"),
    ],
)
def test_a_wrong_condition_ends_the_command(
    run: Run, conditional_file: Path, classes: Path, condition: str, words: str
) -> None:
    ran, _ = reconstruct(run, conditional_file, classes, f"condition={condition}")
    assert ran.code == 2
    assert words in ran.sentence


def test_a_job_under_another_condition_is_another_job(
    run: Run, conditional_file: Path, classes: Path
) -> None:
    ran, _ = reconstruct(run, conditional_file, classes, "hydra.run.dir=outputs/reconstruct/a")
    assert ran.code == 0, ran.err
    (classes / "dog").rename(classes / "wolf")
    other = run("reconstruct", "resume=outputs/reconstruct/a", "condition=cat")
    assert other.code == 2
    assert "this job was started with" in other.sentence


def test_a_sweep_over_conditions_is_grouped_by_them(
    run: Run, conditional_file: Path, classes: Path
) -> None:
    options = [f"prior={conditional_file}", f"data.path={classes}", *RECONSTRUCT]
    ran = run("reconstruct", "-m", *options, "condition=data,none")
    assert ran.code == 0, ran.err
    sweep = only(Path("multirun"), "*")
    rows = read_csv(sweep / "comparison.csv")
    assert [row["condition"] for row in rows] == ["data", "none"]
    page = (sweep / "index.html").read_text()
    assert 'id="conditions"' in page


def test_a_damaged_conditional_prior_is_one_sentence(
    conditional_file: Path, tmp_path: Path
) -> None:
    networks = read_networks(conditional_file)
    file = tmp_path / "p.safetensors"
    for changes, conditions, words in (
        ({"conditioning": "{"}, networks.conditions, "its conditioning is damaged"),
        ({"conditioning": '{"width": 4}'}, networks.conditions, "its conditioning is damaged"),
        ({}, None, "holds no conditions of training images"),
        ({}, torch.full((2, 2), torch.nan), "not finite"),
    ):
        metadata = {**networks.metadata, **changes}
        save_prior(file, networks.generator, networks.discriminator, metadata, conditions)
        with pytest.raises(InputError, match=words):
            load_prior(file)


def test_the_bundled_prior_draws_what_its_captions_say(run: Run) -> None:
    options = [
        "prior=captions",
        "mask.side=0.7",
        "limit=3",
        "steps=10",
        "logger=none",
        "guide=none",
    ]
    ran = run("reconstruct", *options)
    assert ran.code == 0, ran.err
    assert "condition: each image's own, such as a " in ran.out
    odd = run("reconstruct", *options, "condition='a purple seven on blue'")
    assert "does not know purple" in odd.out
    prior = load_prior("captions")
    red, blue = (
        prior.sample(8, seed=0, condition=f"a {c} eight on white") for c in ("red", "blue")
    )
    ink = [images.mean(dim=(0, 2, 3)) for images in (red, blue)]
    assert ink[0][0] > ink[1][0], "more red"
    assert ink[1][2] > ink[0][2], "more blue"
