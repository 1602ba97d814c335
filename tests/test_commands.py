"""The commands, run in this process; what they leave and what they say."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, Ran, only, save_tiny_prior, write_pictures
from PIL import Image
from safetensors.torch import load_file

import gan_inpaint
from gan_inpaint.data.digits import Digits
from gan_inpaint.data.images import read_image
from gan_inpaint.errors import InputError
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.reporting.statistics import lead

Run = Callable[..., Ran]
FAST = ["logger=none", "steps=4", "candidates=8"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# ---------------------------------------------------------------- train


@pytest.fixture
def training(run: Run, tmp_path: Path) -> list[str]:
    """Arguments of a training that takes a second."""
    write_pictures(tmp_path / "pictures", 40)
    return [
        *TINY,
        "data=folder",
        f"data.path={tmp_path / 'pictures'}",
        "model.channels=1",
        "batch_size=8",
        "log_every=2",
        "checkpoint.every_n_epochs=2",
        "logger=none",
    ]


@pytest.mark.bf16
def test_a_training_run_leaves_what_the_reference_promises(
    run: Run, training: list[str], tmp_path: Path
) -> None:
    ran = run("train", *training, "trainer.max_epochs=5")
    assert ran.code == 0, ran.err
    job = only(tmp_path / "outputs" / "train" / "folder", "*")
    assert {p.name for p in (job / "checkpoints").iterdir()} == {
        "epoch_002.ckpt",
        "epoch_004.ckpt",
        "last.ckpt",
    }
    for name in ("samples/epoch_002.png", "samples/epoch_004.png", "losses.png"):
        assert Image.open(job / name).size[0] > 100
        assert f"{job.name}/{name.split('/')[0]}" in ran.out
    rows = table(job / "metrics.csv")
    assert {"loss/d", "loss/g", "prob/real", "prob/fake", "images_per_second"} <= set(rows[0])
    assert (job / ".hydra" / "config.yaml").is_file()
    assert not [p for p in job.rglob("*") if p.name.startswith(".") and p.is_file()]
    prior = load_prior(job)
    assert prior.metadata["epoch"] == "5"
    assert int(prior.metadata["images_seen"]) == int(rows[-1]["step"]) * 8
    # the same weights from every door
    assert load_prior(job / "checkpoints" / "last.ckpt").metadata["size"] == "16"


def test_resume_continues_in_the_run_with_its_own_settings(
    run: Run, training: list[str], tmp_path: Path
) -> None:
    assert run("train", *training, "name=whole", "trainer.max_epochs=4").code == 0
    assert run("train", *training, "name=part", "trainer.max_epochs=2").code == 0
    part = only(tmp_path / "outputs" / "train" / "part", "*")
    config = (part / ".hydra" / "config.yaml").read_text()
    ran = run("train", f"resume={part}", "trainer.max_epochs=4")
    assert ran.code == 0, ran.err
    assert (part / ".hydra" / "config.yaml").read_text() == config
    whole = only(tmp_path / "outputs" / "train" / "whole", "*")
    assert only(tmp_path / "outputs" / "train" / "part", "*") == part
    one, other = (load_file(job / "prior.safetensors") for job in (whole, part))
    assert all(np.array_equal(one[key], other[key]) for key in one)
    # a finished run only exports and draws again: a kill may have left older curves
    (part / "prior.safetensors").unlink()
    drawn = (part / "losses.png").read_bytes()
    assert drawn == (whole / "losses.png").read_bytes()
    (part / "losses.png").write_bytes(b"old")
    before = (part / "metrics.csv").read_text()
    assert run("train", f"resume={part}", "trainer.max_epochs=4").code == 0
    again = load_file(part / "prior.safetensors")
    assert all(np.array_equal(one[key], again[key]) for key in one)
    assert (part / "metrics.csv").read_text() == before
    assert (part / "losses.png").read_bytes() == drawn
    assert load_prior(part).metadata == load_prior(whole).metadata
    # it remembers what earlier resumes changed, and refuses to have less than it has
    assert run("train", f"resume={part}").code == 0
    assert run("train", f"resume={part}", "trainer.max_epochs=3").code == 2


def test_a_resume_takes_new_learning_rates(run: Run, training: list[str], tmp_path: Path) -> None:
    assert run("train", *training, "trainer.max_epochs=1").code == 0
    job = only(tmp_path / "outputs" / "train" / "folder", "*")
    rates = ["optimizer.generator.lr=1e-30", "optimizer.discriminator.lr=1e-30"]
    before = torch.load(job / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert run("train", f"resume={job}", "trainer.max_epochs=2", *rates).code == 0
    after = torch.load(job / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name in ("generator.main.0.weight", "discriminator.main.0.weight"):
        assert torch.equal(before[name], after[name])


def test_what_is_exported_is_the_average(run: Run, training: list[str], tmp_path: Path) -> None:
    assert run("train", *training, "trainer.max_epochs=2").code == 0
    job = only(tmp_path / "outputs" / "train" / "folder", "*")
    state = torch.load(job / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    exported = load_file(job / "prior.safetensors")["generator.main.0.weight"]
    assert np.array_equal(exported, state["average.module.main.0.weight"].half())
    assert not np.array_equal(exported, state["generator.main.0.weight"].half())


def test_broken_pictures_are_named_and_the_others_train(
    run: Run, training: list[str], tmp_path: Path
) -> None:
    """A mixed folder: every mode, other sizes, and files that are not what they say."""
    folder = tmp_path / "pictures"
    colour = Image.fromarray(np.full((30, 40, 3), 99, np.uint8))
    for index in range(9):  # by name about a tenth of them is held out
        colour.convert("CMYK").save(folder / f"cmyk{index}.jpg")
        colour.convert("RGBA").save(folder / f"alpha{index}.png")
        colour.convert("P").save(folder / f"palette{index}.png")
        Image.fromarray(np.full((20, 20), 40000, np.uint16)).save(folder / f"deep{index}.png")
        (folder / f"text{index}.jpg").write_text("not an image")
        whole = (folder / f"cmyk{index}.jpg").read_bytes()
        (folder / f"cut{index}.jpg").write_bytes(whole[: len(whole) // 2])
    ran = run("train", *training, "data.channels=3", "model.channels=3", "trainer.max_epochs=1")
    assert ran.code == 0, ran.err
    for kind in ("text", "cut"):
        assert re.search(rf"skipped: .*{kind}\d\.jpg: ", ran.out)
    for kind in ("cmyk", "alpha", "palette", "deep"):
        assert not re.search(rf"skipped: .*{kind}\d", ran.out)
    told = re.search(r"skipped (\d+) of (\d+) images", ran.out)
    assert told
    assert int(told[1]) == ran.out.count("skipped: ")
    assert f"data: {int(told[2]) - int(told[1])} images" in ran.out


@pytest.mark.parametrize(
    ("size", "channels"), [(16, 1), (32, 3), (64, 1), (128, 3), (256, 1), (256, 3)]
)
def test_every_size_trains_and_reconstructs(
    run: Run, tmp_path: Path, size: int, channels: int
) -> None:
    write_pictures(tmp_path / "p", 8, size=20, mode="L" if channels == 1 else "RGB")
    data = ["data=folder", f"data.path={tmp_path / 'p'}", "logger=none"]
    small = ["model.nz=4", "model.ngf=2", "model.ndf=2", "batch_size=2", "trainer.max_epochs=1"]
    shape = [f"data.size={size}", f"data.channels={channels}"]
    ran = run("train", *data, *small, *shape)
    assert ran.code == 0, ran.err
    ran = run("reconstruct", *data, "steps=2", "candidates=4", "limit=2")
    assert ran.code == 0, ran.err
    with Image.open(only(tmp_path, "outputs/reconstruct/*/images/00000.png")) as picture:
        assert picture.size == (size, size)
        assert picture.mode == ("L" if channels == 1 else "RGB")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model.size=48"], "model.size=48.*power of two"),
        (["model.channels=2"], "model.channels=2.*1 .*3"),
        (["schedule.generator=0"], "schedule.generator=0"),
        (["optimizer.generator.lr=-1"], "lr=-1"),
        (["optimizer.generator.lr=abc"], "optimizer.generator.lr"),
        (["ema.decay=1"], "ema.decay=1"),
        (["loss=wgan_gp"], "wgan_gp.*discriminator_norm=none"),
        (["model.discriminator_norm=layer"], "batch, spectral, none"),
        (["augment.differentiable=[rotation]"], "color, translation and cutout"),
        (["data=celeba"], "data=celeba needs data.path="),
        (["data=coco"], "data=coco needs data.path="),
        (["data=hub"], "data=hub needs data.name="),
        (["schedule.discriminator=9999"], "schedule.discriminator=9999.*never be trained"),
        (["seed=-1"], "seed=-1"),
        (["experiment=dcgan"], r"write \+experiment="),
        (["batch_size=9999"], "batch_size=9999.*4500|batch_size=9999.*only"),
        (["trainer.max_epochs=0"], "max_epochs=0"),
        (["data=auto"], "data=auto"),
        (["data=digitz"], "digitz.*digits"),
        (["resume=nowhere"], "resume=nowhere: not a run of train"),
        (["+experiment=nope"], "nope.*dcgan"),
        (["schedul.generator=2"], "schedul.*schedule"),
        (["data=folder"], "data.path="),
        (["loss=mse"], "loss=mse.*bce"),
        (["trainer.devices=abc"], "trainer: .*devices"),
        (["+trainer.colour=red"], "trainer: .*colour"),
        (["trainer.max_epochs=abc"], "max_epochs=abc"),
    ],
)
def test_mistakes_in_a_training(run: Run, arguments: list[str], words: str) -> None:
    import re

    ran = run("train", "logger=none", *arguments)
    assert ran.code == 2
    assert re.search(words, ran.sentence), ran.sentence
    assert not Path("nowhere").exists()


def test_a_resume_with_other_networks_says_which_has_which(
    run: Run, training: list[str], tmp_path: Path
) -> None:
    assert run("train", *training, "trainer.max_epochs=1").code == 0
    job = only(tmp_path / "outputs" / "train" / "folder", "*")
    ran = run("train", f"resume={job}", "model.size=32", "trainer.max_epochs=2")
    assert ran.code == 2
    assert "size 16" in ran.sentence
    assert "32" in ran.sentence


# ---------------------------------------------------------------- reconstruct


@pytest.mark.bf16
def test_a_job_leaves_what_the_reference_promises(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "pictures", 3)
    ran = run(
        "reconstruct",
        f"prior={prior}",
        "data=folder",
        f"data.path={pictures}",
        "restarts=2",
        "baselines=true",
        "metrics=[feature_distance,frechet]",
        *FAST,
    )
    assert ran.code == 0, ran.err
    assert "mask: center, 25 % of the pixels missing" in ran.out
    assert "baseline left out: nearest" in ran.out  # a prior of other images
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    rows = table(job / "results.csv")
    expected = "image,name,restart,steps,stopped_by,objective,contextual,perceptual,psnr_hole,psnr"
    extra = ["ssim", "psnr_known", "z_norm", "binding", "spread"]
    extra += ["psnr_hole_average", "psnr_hole_raw"]
    extra.insert(1, "guide_term")
    rivals = ["mean", "linear", "biharmonic", "telea", "ns"]
    extra += [f"psnr_hole_{name}" for name in rivals]
    extra += [f"feature_distance{name}" for name in ("", "_average", *(f"_{r}" for r in rivals))]
    assert list(rows[0]) == [*expected.split(","), *extra]
    assert [row["name"] for row in rows] == ["00.png", "01.png", "02.png"]
    restarts = table(job / "restarts.csv")
    assert list(restarts[0]) == [
        "image",
        "restart",
        "steps",
        "stopped_by",
        "objective",
        "psnr_hole",
    ]
    assert len(restarts) == 6
    for row in rows:
        mine = [r for r in restarts if r["image"] == row["image"]]
        best = min(mine, key=lambda r: float(r["objective"]))
        assert best["restart"] == row["restart"]
        assert float(best["psnr_hole"]) == pytest.approx(float(row["psnr_hole_raw"]), abs=1e-3)
    summary = json.loads((job / "summary.json").read_text())
    expected = "status error lam lr norm prior data mask seed images restarts seconds image_steps"
    assert set(expected.split()) | {"image_steps_per_second", "psnr_hole"} <= set(summary)
    assert summary["images"] == 3
    assert summary["image_steps"] == sum(int(r["steps"]) for r in restarts)
    mean = np.mean([float(row["psnr_hole"]) for row in rows])
    assert summary["psnr_hole"] == pytest.approx(mean)
    assert summary["frechet_distance"] > 0
    assert load_file(job / "latents.safetensors")["z"].shape == (3, 8)
    for i in range(3):
        source = read_image(pictures / f"{i:02}.png", 16, 1, grey=False)[0]
        result = np.asarray(Image.open(job / "images" / f"{i:05}.png"))
        known = np.asarray(Image.open(job / "known" / f"{i:05}.png")) == 255
        assert known.sum() == 16 * 16 - 8 * 8
        assert np.array_equal(result[known], source[known]), "known pixels are bit-equal"
        assert not np.array_equal(result[~known], source[~known])
        shown = {"psnr_hole": "images/{}", "psnr_hole_raw": "images/{}_raw"}
        shown |= {f"psnr_hole_{name}": f"baselines/{{}}_{name}" for name in rivals}
        for column, path in shown.items():
            picture = np.asarray(Image.open(job / f"{path.format(f'{i:05}')}.png"))
            assert np.array_equal(picture[known], source[known]), column
            hole = (picture.astype(float) - source)[~known] / 127.5
            assert 10 * np.log10(4 / (hole**2).mean()) == pytest.approx(
                float(rows[i][column]), abs=0.1
            ), column
        whole = np.asarray(Image.open(job / "restored" / f"{i:02}.png"))
        assert np.array_equal(whole[known], source[known])
    width, height = Image.open(job / "grid.png").size
    assert 8 * 66 < width < 8 * 66 + 100, "damaged, ours, five baselines, true; names of rows"
    assert 3 * 66 < height < 3 * 66 + 40
    assert Image.open(job / "losses.png").size[0] > 100
    assert [int(row["step"]) for row in table(job / "metrics.csv")] == [4]


def test_alternatives_and_the_spread_are_pictures(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={prior}", "data=generated", "limit=3", "restarts=4", "keep=3", *FAST]
    assert run("reconstruct", *arguments).code == 0
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    names = {p.name for p in (job / "alternatives").iterdir()}
    assert names == {f"0000{image}_{rank}.png" for image in range(3) for rank in range(3)}
    for image in range(3):
        shown = [
            np.asarray(Image.open(job / "alternatives" / f"0000{image}_{rank}.png"))
            for rank in range(3)
        ]
        assert np.array_equal(shown[0], np.asarray(Image.open(job / "images" / f"0000{image}.png")))
        known = np.asarray(Image.open(job / "known" / f"0000{image}.png")) == 255
        for one in range(3):
            assert np.array_equal(shown[one][known], shown[0][known])
            assert one == 0 or not np.array_equal(shown[one], shown[0])
        spread = np.asarray(Image.open(job / "spread" / f"0000{image}.png"))
        assert not spread[known].any()
        assert spread[~known].any()
    width, height = Image.open(job / "grid.png").size
    assert 5 * 66 < width < 5 * 66 + 90
    assert 3 * 66 < height < 3 * 66 + 40


@pytest.mark.bf16
def test_a_resumed_job_equals_an_uninterrupted_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gan_inpaint.inversion.lightning_module import LatentReconstruction
    from gan_inpaint.jobs import results

    monkeypatch.setattr(results, "_SAVE_AFTER", 0.0)
    monkeypatch.setattr(results, "_SAVE_INTERVAL_FACTOR", 0.0)
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "pictures", 7)
    (pictures / "03.png").write_bytes(b"no image")
    arguments = [f"prior={prior}", "data=folder", f"data.path={pictures}", "mask=random"]
    arguments += ["restarts=2", "batch_size=4", "steps=12", *(o for o in FAST if "steps" not in o)]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run("reconstruct", *arguments, f"hydra.run.dir={whole}").code == 0
    searches, search = [], LatentReconstruction._search

    def interrupted(*args: object) -> object:
        searches.append(1)
        if len(searches) == 3:
            raise InputError("the power failed")
        return search(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(LatentReconstruction, "_search", interrupted)
    assert run("reconstruct", *arguments, f"hydra.run.dir={broken}").code == 2
    summary = json.loads((broken / "summary.json").read_text())
    assert (summary["status"], summary["images"]) == ("failed", 3)
    ran = run("reconstruct", f"resume={broken}")
    assert ran.code == 0, ran.err
    assert "resuming: 4 images are done" in ran.out
    assert len(searches) == 5  # two parts, the failure, the two that were left
    for name in ("results.csv", "restarts.csv", "metrics.csv", "latents.safetensors", "grid.png"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name
    for picture in (whole / "images").iterdir():
        assert picture.read_bytes() == (broken / "images" / picture.name).read_bytes()
    one, other = (json.loads((job / "summary.json").read_text()) for job in (whole, broken))
    timed = {"seconds", "image_steps_per_second"}
    assert {k: v for k, v in one.items() if k not in timed} == {
        k: v for k, v in other.items() if k not in timed
    }
    # done is done
    ran = run("reconstruct", f"resume={broken}")
    assert ran.code == 0
    assert len(searches) == 5
    # another mask would mix two jobs in one table
    ran = run("reconstruct", f"resume={broken}", "seed=0", f"prior={prior}")
    assert ran.code == 0
    same = save_tiny_prior(tmp_path / "moved.safetensors")  # content counts, not places
    assert run("reconstruct", f"resume={broken}", f"prior={same}").code == 0
    other = json.loads((broken / "summary.json").read_text())
    again = save_tiny_prior(tmp_path / "other.safetensors", seed=1)
    ran = run("reconstruct", f"resume={broken}", f"prior={again}")
    assert ran.code == 2
    assert "this job was started with another prior" in ran.sentence
    ran = run("reconstruct", f"resume={broken}", "lam=0.5")
    assert ran.code == 2
    assert "this job was started with lam" in ran.sentence
    assert json.loads((broken / "summary.json").read_text()) == other


def test_the_search_can_be_watched(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={prior}", "data=generated", "data.count=3", "logger=none", "steps=12"]
    arguments += ["candidates=8", "restarts=2", "patience=null", "tolerance=0"]
    for name, more in (("plain", []), ("seen", ["animate=true"])):
        assert run("reconstruct", *arguments, *more, f"hydra.run.dir={name}").code == 0
    assert not (tmp_path / "plain" / "search.gif").exists()
    with Image.open(tmp_path / "seen" / "search.gif") as animation:
        assert animation.n_frames == 13, "the start, then every update"
        first = np.asarray(animation.convert("RGB"))
        animation.seek(12)
        last = np.asarray(animation.convert("RGB"))
        assert np.array_equal(first[0, -90:], last[0, -90:]), "images stay in their places"
    one, other = (
        (tmp_path / name / "images" / "00000.png").read_bytes() for name in ("plain", "seen")
    )
    assert one == other, "looking changes nothing"


def test_a_lam_without_effect_is_said(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={prior}", "data=generated", "limit=2", *FAST]
    ran = run("reconstruct", *arguments, "lam=1e-12")
    assert "lam=1e-12 has no effect" in ran.out
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    share = json.loads((job / "summary.json").read_text())["perceptual_share"]
    assert 0 < share < 1e-3
    assert "has no effect" not in run("reconstruct", *arguments, "lam=1").out
    assert "has no effect" not in run("reconstruct", *arguments, "lam=0").out


def test_the_diagnosis_tells_the_search_from_the_prior(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "pictures", 4)  # noise: no generator can make it
    arguments = [f"prior={prior}", "diagnose=true", *(o for o in FAST if "steps" not in o)]
    ran = run("reconstruct", *arguments, "data=folder", f"data.path={pictures}", "steps=60")
    assert ran.code == 0, ran.err
    assert "train a better prior" in ran.out
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    summary = json.loads((job / "summary.json").read_text())
    assert 0 < summary["search_error"] < summary["known_error"]
    ran = run("reconstruct", *arguments, "data=generated", "limit=4", "candidates=0", "steps=1")
    assert "search longer" in ran.out


def test_without_ground_truth_nothing_is_measured(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "pictures", 2)
    arguments = [f"prior={prior}", "data=folder", f"data.path={pictures}", "data.truth=false"]
    assert run("reconstruct", *arguments, *FAST).code == 0
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    assert {row["psnr_hole"] for row in table(job / "results.csv")} == {""}
    assert "psnr_hole" not in json.loads((job / "summary.json").read_text())
    assert 2 * 66 < Image.open(job / "grid.png").size[0] < 2 * 66 + 50


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_grey_and_colour_pictures_in_a_colour_prior(run: Run, tmp_path: Path, mode: str) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)
    pictures = write_pictures(tmp_path / "pictures", 2, mode=mode)
    arguments = [f"prior={prior}", "data=folder", f"data.path={pictures}", "blend=poisson"]
    assert run("reconstruct", *arguments, *FAST).code == 0
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    assert Image.open(job / "images" / "00000.png").mode == "RGB"


def test_bad_pictures_and_masks_are_rows_and_the_others_are_done(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "pictures", 4)
    (pictures / "02.png").write_text("not an image")
    for name, value in (("00", 0), ("01", 128), ("03", 128)):
        mask = np.zeros((16, 16), np.uint8)
        mask[:4] = value
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    arguments = [f"prior={prior}", "data=folder", f"data.path={pictures}", "mask=file"]
    ran = run("reconstruct", *arguments, f"mask.path={tmp_path / 'masks'}", "batch_size=2", *FAST)
    assert ran.code == 0, ran.err
    assert "02.png" in ran.err
    assert "00.png has no hole" in ran.err
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    rows = table(job / "results.csv")
    assert [row["stopped_by"] == "failed" for row in rows] == [True, False, True, False]
    assert [row["image"] for row in rows] == ["0", "1", "2", "3"]
    done = ["00001.png", "00001_raw.png", "00003.png", "00003_raw.png"]
    assert sorted(p.name for p in (job / "images").iterdir()) == done


def test_a_photograph_with_a_drawn_mask_comes_back_whole(run: Run, tmp_path: Path) -> None:
    """The README's example in small: damaged, masked, a box of it looked at, pasted back."""
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    hole = np.zeros((50, 70), bool)
    hole[20:30, 25:40] = True
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    Image.fromarray(hole).save(tmp_path / "mask.png")
    own = [f"prior={prior}", "data=folder", f"data.path={tmp_path / 'photo.png'}", "mask=file"]
    own += [f"mask.path={tmp_path / 'mask.png'}", "data.box=[10,5,60,45]", *FAST]
    ran = run("reconstruct", *own)
    assert ran.code == 0, ran.err
    assert "% of the pixels missing" in ran.out
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    result = np.asarray(Image.open(job / "restored" / "photo.png"))
    assert np.array_equal(result[~hole], pixels[~hole])
    assert not np.array_equal(result[hole], pixels[hole])
    row = table(job / "results.csv")[0]
    assert row["psnr_hole"] == row["psnr"] == row["ssim"] == "", "nothing is known of the truth"
    assert not (job / "truth").exists()
    # what stands in the hole makes no difference: it is damage
    Image.fromarray(np.where(hole[..., None], 255, pixels).astype(np.uint8)).save("photo.png")
    assert run("reconstruct", *own, "hydra.run.dir=again").code == 0
    again = np.asarray(Image.open(tmp_path / "again" / "restored" / "photo.png"))
    assert np.array_equal(result, again)
    # with data.truth=true the same is measured
    assert run("reconstruct", *own, "data.truth=true", "hydra.run.dir=measured").code == 0
    assert table(tmp_path / "measured" / "results.csv")[0]["psnr_hole"]


@pytest.mark.parametrize("mode", ["RGBA", "I;16", "1x1", "P"])
def test_odd_photographs_are_done_or_named_and_the_others_are_done(
    run: Run, tmp_path: Path, mode: str
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)
    pictures = write_pictures(tmp_path / "pictures", 2, 20, "RGB")
    odd = {
        "RGBA": Image.new("RGBA", (20, 24), (10, 200, 30, 128)),
        "I;16": Image.fromarray(np.full((24, 20), 30000, np.uint16)),
        "1x1": Image.new("RGB", (1, 1)),
        "P": Image.new("RGB", (20, 24), (10, 200, 30)).quantize(4),
    }[mode]
    odd.save(pictures / "odd.png")
    (tmp_path / "masks").mkdir()
    for name in ("00", "01"):
        mask = np.zeros((20, 20), np.uint8)
        mask[5:9, 5:9] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    mask = np.zeros((odd.height, odd.width), np.uint8)
    mask[: odd.height // 2] = 255
    Image.fromarray(mask).save(tmp_path / "masks" / "odd.png")
    arguments = [f"prior={prior}", "data=folder", f"data.path={pictures}", "mask=file"]
    ran = run("reconstruct", *arguments, f"mask.path={tmp_path / 'masks'}", *FAST)
    assert ran.code == 0, ran.err
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    stopped = [row["stopped_by"] for row in table(job / "results.csv")]
    assert "failed" not in stopped[:2]
    if mode == "1x1":  # one pixel is either known or missing
        assert stopped[2] == "failed"
        assert "odd.png has no hole" in ran.err
    else:
        assert stopped[2] != "failed"
        assert Image.open(job / "restored" / "odd.png").mode == odd.mode


def test_a_mask_of_other_proportions_fails_its_picture_alone(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "pictures", 2)
    (tmp_path / "masks").mkdir()
    Image.new("L", (30, 10), 255).save(tmp_path / "masks" / "00.png")
    mask = Image.new("L", (16, 16))
    mask.paste(255, (4, 4, 9, 9))
    mask.save(tmp_path / "masks" / "01.png")
    arguments = [f"prior={prior}", "data=folder", f"data.path={pictures}", "mask=file"]
    ran = run("reconstruct", *arguments, f"mask.path={tmp_path / 'masks'}", *FAST)
    assert ran.code == 0, ran.err
    assert re.search(r"skipped: .*00\.png: the mask has 30x10 pixels.* 16x16", ran.err)
    job = only(tmp_path / "outputs" / "reconstruct", "*")
    assert [row["stopped_by"] == "failed" for row in table(job / "results.csv")] == [True, False]


def test_the_worst_images_are_on_the_grid(run: Run, tmp_path: Path) -> None:
    from gan_inpaint.jobs import results

    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={prior}", "data=generated", "data.count=60", "logger=none", "steps=1"]
    assert run("reconstruct", *arguments, "candidates=0", "hydra.run.dir=job").code == 0
    rows = table(tmp_path / "job" / "results.csv")
    shown = results.JobResults(tmp_path / "job", 60, 8, {})
    numbers, worst = shown.gallery.chosen()
    assert numbers[:24] == list(range(24))
    rest = sorted(rows[24:], key=lambda row: float(row["psnr_hole"]))
    assert numbers[24:] == [int(row["image"]) for row in rest[:8]]
    assert worst == set(numbers[24:])


def test_the_table_of_the_paper_has_its_figures_beside_ours(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    pictures = write_pictures(tmp_path / "pictures", 3)
    arguments = ["+recipe=paper_table", f"prior={prior}", f"data.path={pictures}", *FAST]
    ran = run("reconstruct", *arguments, "data=folder", "candidates=8", "restarts=2", "metrics=[]")
    assert ran.code == 0, ran.err
    sweep = only(tmp_path / "multirun", "*")
    lines = {row["mask"]: row for row in table(sweep / "paper_table.csv")}
    assert list(lines) == ["center", "pattern", "random", "half"]
    assert lines["random"]["yeh2017"] == "22.8"
    assert lines["half"]["context_encoder"] == "15.5"
    for number, line in enumerate(lines.values()):
        rows = table(sweep / str(number) / "results.csv")
        for name, column in (("ours", "psnr_hole"), ("biharmonic", "psnr_hole_biharmonic")):
            values = np.array([float(row[column]) for row in rows])
            assert float(line[name]) == pytest.approx(values.mean())
            error = 4.303 * values.std(ddof=1) / 3**0.5  # Student's t for three images
            assert float(line[f"{name}_ci95"]) == pytest.approx(error, rel=1e-3)
    assert "22.8" in ran.out
    assert "published figures" in ran.out


def test_a_sweep_ends_with_the_best_method_whatever_it_is(run: Run, tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    options = [f"prior={prior}", "data=generated", "data.count=6", "baselines=true", *FAST]
    ran = run("reconstruct", "-m", "lam=0,1e-3", "restarts=2", *options)
    assert ran.code == 0, ran.err
    (sentence,) = [line for line in ran.out.splitlines() if line.startswith("Highest hole PSNR")]
    jobs = only(tmp_path / "multirun", "*").glob("*/results.csv")
    means = {}
    for number, rows in enumerate(map(table, sorted(jobs))):
        for column in rows[0]:
            if column.startswith("psnr_hole") and column != "psnr_hole_raw":
                name = column.removeprefix("psnr_hole").strip("_") or "search"
                means[name, number] = np.mean([float(row[column]) for row in rows])
    means = {key: value for key, value in means.items() if np.isfinite(value)}  # a copy is found
    best = max((0, 1), key=lambda number: means["search", number])
    top = max((key for key in means if key[1] == best), key=lambda key: means[key])
    assert f"{means[top]:.2f} dB" in sentence
    words = {"search": "the search (lam=", "average": "the average over"}
    assert words.get(top[0], f"(baseline {top[0]})") in sentence.partition(",")[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prior=nowhere"], "prior=nowhere: no such .*digits"),
        (["prior=empty"], "prior=empty.*prior.safetensors"),
        (["lam=abc"], "lam=abc"),
        (["lam=-1"], "lam=-1.0: must be .* at least 0"),
        (["lam=nan"], "lam=nan"),
        (["norm=l3"], "norm=l3: must be one of l1, l2"),
        (["lamb=1"], "lamb: .*did you mean lam"),
        (["mask=round"], "round.*center"),
        (["mask.side=0"], "mask.side=0.*above 0"),
        (["mask.side=0.01"], "no hole"),
        (["mask.side=0.999"], "no known pixel"),
        (["mask.side=abc"], "mask.side=abc"),
        (["mask.side=null"], "mask.side=None"),
        (["mask=random", "mask.missing=2"], "mask.missing=2.*below 1"),
        (["mask=lattice", "mask.every=0"], "mask.every"),
        (["mask=lattice", "mask.every=1.5"], "mask.every=1.5"),
        (["data.count=0"], "data.count=0"),
        (["data.count=abc"], "data.count=abc"),
        (["mask.sid=1"], "mask.sid"),
        (["data=folder"], "data.path="),
        (["data=folder", "data.path=empty"], "empty.*folder is empty"),
        (["data=folder", "data.path=missing"], "missing: no such"),
        (["data=folder", "data.path=red"], r"3 channels.*1 channel"),
        (["mask=file"], "mask.path="),
        (["mask=file", "mask.path=missing.png"], "missing.png.*no such"),
        (["steps=0"], "steps=0"),
        (["limit=0"], "limit=0"),
        (["shard=1"], "shard=1: .*under shards=1"),
        (["shards=0"], "shards=0"),
        (["shards=9", "shard=8"], "shard=8: this shard is empty"),
        (["steps=1.5"], "steps=1.5"),
        (["weighting=yeh", "window=1"], "window=1: must be at least 3"),
        (["lr=1e38"], "lr=1e.38: must be at most"),
        (["mask=half", "mask.missing=up"], "mask.missing must be one of.*not 'up'"),
        (["device=cpu:0"], "device=cpu:0: must be"),
        (["logger=neptune"], "logger/neptune.*mlflow.*wandb"),
    ],
)
def test_mistakes_in_a_reconstruction(
    run: Run, tmp_path: Path, arguments: list[str], words: str
) -> None:
    import re

    (tmp_path / "empty").mkdir()
    (tmp_path / "red").mkdir()
    Image.new("RGB", (16, 16), (255, 0, 0)).save(tmp_path / "red" / "a.png")
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    ran = (
        run("reconstruct", f"prior={tiny}", "data=generated", "data.count=2", *FAST, *arguments)
        if not arguments[0].startswith("data=")
        else run("reconstruct", f"prior={tiny}", *FAST, *arguments)
    )
    assert ran.code == 2
    said = ran.err
    assert re.search(words, said), said
    assert ran.sentence
    assert len(said.splitlines()) <= 3, "a mistake is one sentence, not one for each image"
    summaries = list((tmp_path / "outputs").glob("reconstruct/*/summary.json"))
    for path in summaries:
        assert json.loads(path.read_text())["status"] == "failed"


def test_a_defect_is_shown_as_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(gan_inpaint.LatentReconstruction, "_search", broken)
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    ran = run("reconstruct", f"prior={tiny}", "data=generated", *FAST)
    assert ran.code == 1
    assert "Traceback" in ran.err


# ---------------------------------------------------------------- sweeps


@pytest.mark.bf16
def test_a_sweep_over_all_three_is_compared(run: Run, tmp_path: Path) -> None:
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={tiny}", "data=generated", "data.count=4", *FAST]
    ran = run("reconstruct", "-m", "lam=1e-5,1e-6", "lr=0.01,0.1", "norm=l1,l2", *arguments)
    assert ran.code == 0, ran.err
    sweep = only(tmp_path / "multirun", "*")
    rows = table(sweep / "comparison.csv")
    assert list(rows[0])[:9] == [
        "job",
        "status",
        "error",
        "lam",
        "lr",
        "norm",
        "prior",
        "data",
        "mask",
    ]
    assert len({(row["lam"], row["lr"], row["norm"]) for row in rows}) == 8
    assert [row["job"] for row in rows] == [str(i) for i in range(8)]
    for row in rows:
        mine = [float(r["psnr_hole"]) for r in table(sweep / row["job"] / "results.csv")]
        assert float(row["psnr_hole"]) == pytest.approx(np.mean(mine))
    assert Image.open(sweep / "comparison.png").size[0] > 500
    page = (sweep / "index.html").read_text()
    assert page.count('<tr class="done"') == 8
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert str(sweep.name) in ran.out
    assert "index.html" in ran.out


def test_shards_are_compared_as_the_one_job_that_they_are(run: Run, tmp_path: Path) -> None:
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={tiny}", "data=generated", "data.count=7", "restarts=2", *FAST]
    assert run("reconstruct", "-m", "norm=l1,l2", *arguments, "hydra.sweep.dir=one").code == 0
    split = ["norm=l1,l2", "shard=0,1,2", "shards=3", *arguments, "hydra.sweep.dir=split"]
    ran = run("reconstruct", "-m", *split)
    assert ran.code == 0, ran.err
    one, other = (table(tmp_path / name / "comparison.csv") for name in ("one", "split"))
    assert len(one) == len(other) == 2
    cost = {"job", "seconds", "image_steps_per_second"}
    for whole, merged in zip(one, other, strict=True):
        assert set(whole) == set(merged)
        for column in set(whole) - cost:
            if re.match(r"-?[0-9.]", whole[column]):
                assert float(merged[column]) == pytest.approx(float(whole[column]), rel=1e-3), (
                    column
                )
            else:
                assert merged[column] == whole[column], column
    results = table(tmp_path / "split" / "1" / "results.csv")
    assert [row["image"] for row in results] == ["1", "4"], "numbers in the whole set"
    page = (tmp_path / "split" / "index.html").read_text()
    assert page.count('<tr class="done"') == 2
    # a shard that is not there yet is said
    (tmp_path / "split" / "2" / "summary.json").unlink()
    assert run("compare", "sweep=split").code == 0
    rows = table(tmp_path / "split" / "comparison.csv")
    assert [row["status"] for row in rows] == ["running", "done"]
    assert rows[0]["error"] == "1 of 3 shards are missing"


def test_a_failed_job_is_a_row_and_the_others_go_on(run: Run, tmp_path: Path) -> None:
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={tiny}", "data=generated", "data.count=2", *FAST]
    ran = run("reconstruct", "-m", "norm=l1,l3,l2", "lam=1e-5,abc", *arguments)
    assert ran.code == 2
    rows = table(only(tmp_path / "multirun", "*") / "comparison.csv")
    assert [row["status"] for row in rows] == ["done"] + ["failed"] * 3 + ["done", "failed"]
    assert "norm=l3" in rows[2]["error"]
    assert "lam=abc" in rows[1]["error"]
    assert rows[2]["norm"] == "l3"
    assert "norm=l3" in ran.out
    page = (only(tmp_path / "multirun", "*") / "index.html").read_text()
    assert "must be one of l1, l2" in page


def test_jobs_with_other_masks_are_not_compared_by_numbers(run: Run, tmp_path: Path) -> None:
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={tiny}", "data=generated", "data.count=4", *FAST]
    assert run("reconstruct", "-m", "mask.side=0.3,0.6", *arguments).code == 0
    page = (only(tmp_path / "multirun", "*") / "index.html").read_text()
    assert "a fair comparison is possible only within a set" in page
    assert "leads mask" not in page


def test_the_verdict_follows_the_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ours = {i: 10 + float(x) for i, x in enumerate(rng.normal(0, 1, 50))}
    behind = {i: value - 1 for i, value in ours.items()}
    noisy = {i: 10 + float(x) for i, x in enumerate(rng.normal(0, 1, 50))}
    assert "leads it by 1.00 ± 0.00 dB" in str(lead("it", ours, behind))
    assert "more than the noise" in str(lead("it", ours, behind))
    assert "trails it by 1.00" in str(lead("it", behind, ours))
    assert "within the noise" in str(lead("it", ours, noisy))
    assert "no difference" in str(lead("it", ours, ours))
    assert lead("it", {0: 1.0}, {0: 2.0}) is None
    two = lead("it", {0: 3.0, 1: 2.0}, {0: 1.0, 1: 1.0})
    assert two is not None
    assert two.verdict == "within the noise", "two images prove little"
    found = lead("it", {0: 3.0, 1: 2.0, 2: 1.0, 3: 9.0}, {0: 2.0, 1: 5.0, 2: 2.0})
    assert found is not None
    assert found.lost == {1: 3.0, 2: 1.0}, "the farthest behind comes first"
    assert found.images == 3


def test_a_damaged_summary_is_a_failed_row(run: Run, tmp_path: Path) -> None:
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    arguments = [f"prior={tiny}", "data=generated", "data.count=2", *FAST]
    assert run("reconstruct", "-m", "lam=0,1", *arguments).code == 0
    sweep = only(tmp_path / "multirun", "*")
    (sweep / "0" / "summary.json").write_text("{")
    assert run("compare", f"sweep={sweep}").code == 0
    assert [row["status"] for row in table(sweep / "comparison.csv")] == ["failed", "done"]


def test_compare_makes_the_comparison_again(run: Run, tmp_path: Path) -> None:
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    assert (
        run(
            "reconstruct", "-m", "lam=0,1", f"prior={tiny}", "data=generated", "data.count=2", *FAST
        ).code
        == 0
    )
    sweep = only(tmp_path / "multirun", "*")
    before = (sweep / "comparison.csv").read_bytes()
    for name in ("comparison.csv", "comparison.png", "index.html"):
        (sweep / name).unlink()
    ran = run("compare", f"sweep={sweep}")
    assert ran.code == 0, ran.err
    assert (sweep / "comparison.csv").read_bytes() == before
    assert (sweep / "index.html").is_file()
    assert run("compare", "sweep=nowhere").code == 2
    assert run("compare").code == 2


def test_names_cannot_become_markup(run: Run, tmp_path: Path) -> None:
    tiny = save_tiny_prior(tmp_path / "<script>alert(1)<" / "tiny.safetensors")
    arguments = ["-m", f"prior='{tiny}'", "data=generated", "data.count=2", "lam=0,1"]
    assert run("reconstruct", *arguments, *FAST).code == 0
    page = (only(tmp_path / "multirun", "*") / "index.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


# ---------------------------------------------------------------- from the shell


def shell(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=200,
        check=False,
    )


def test_the_advertised_sweep_works_verbatim_and_says_which_prior(tmp_path: Path) -> None:
    """Without training, hence with the bundled digits; shortened by two keys."""
    ran = shell("gan_inpaint.reconstruct", "-m", "lam=1e-4,1e-5,1e-6", "limit=2", "steps=3")
    assert ran.returncode == 0, ran.stderr
    assert "prior: digits (bundled)" in ran.stdout
    assert "W&B: offline" in ran.stdout
    sweep = only(tmp_path / "multirun", "*")
    lams = [float(row["lam"]) for row in table(sweep / "comparison.csv")]
    assert lams == [1e-4, 1e-5, 1e-6]
    names = {row["name"] for row in table(sweep / "0" / "results.csv")}
    assert names == set(Digits(32, 1, "val").names[:2])


def test_train_from_the_shell_then_reconstruct_takes_the_newest(tmp_path: Path) -> None:
    arguments = ["model.ngf=4", "model.ndf=4", "trainer.max_epochs=1", "batch_size=500"]
    ran = shell("gan_inpaint.train", "+experiment=dcgan", "logger=none", *arguments)
    assert ran.returncode == 0, ran.stderr
    job = only(tmp_path / "outputs" / "train" / "dcgan", "*")
    ran = shell("gan_inpaint.reconstruct", "limit=2", "logger=none", "steps=3")
    assert ran.returncode == 0, ran.stderr
    assert f"prior: outputs/train/dcgan/{job.name}" in ran.stdout
    assert "images of digits" in ran.stdout


@pytest.mark.parametrize("name", ["train", "reconstruct", "select", "compare"])
def test_help_shows_the_commented_keys_without_heavy_imports(name: str) -> None:
    ran = shell(f"gan_inpaint.{name}", "--help")
    assert ran.returncode == 0
    assert f"python -m gan_inpaint.{name}" in ran.stdout
    assert "#" in ran.stdout
    code = (
        f"import sys; sys.argv[1:] = ['--help']\nimport gan_inpaint.{name} as m\n"
        "try: m.main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'pytorch_lightning', 'wandb', 'matplotlib', 'scipy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_one_line_and_exit_2_from_the_shell() -> None:
    ran = shell("gan_inpaint.reconstruct", "norm=l3")
    assert ran.returncode == 2
    assert ran.stderr == "error: norm=l3: must be one of l1, l2\n"
