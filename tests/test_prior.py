import json
import os
import time
from pathlib import Path

import pytest
import torch
from conftest import save_tiny_prior, tiny_training
from safetensors import safe_open

from gan_inpaint.errors import InputError
from gan_inpaint.priors.files import save_prior
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.registry import BUNDLED, load_prior


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    model = tiny_training()
    save_prior(tmp_path / "p.safetensors", model.generator, model.discriminator, model.metadata())
    prior = load_prior(tmp_path / "p.safetensors")
    assert (prior.nz, prior.image_shape) == (8, (1, 16, 16))
    assert prior.latent.distribution == "normal"
    z = torch.randn(4, 8)
    images = model.generator.eval()(z)
    torch.testing.assert_close(prior.generator(z), images, rtol=1e-2, atol=1e-2)
    logit = model.discriminator.eval()(images)
    torch.testing.assert_close(prior.discriminator(images), logit, rtol=1e-2, atol=1e-2)


def test_the_networks_are_frozen_and_differentiable(tiny_prior: Prior) -> None:
    for network in (tiny_prior.generator, tiny_prior.discriminator):
        assert not list(network.parameters())
        assert all(b.dtype == torch.float32 for b in network.buffers())
    z = torch.randn(2, 8, requires_grad=True)
    tiny_prior.discriminator(tiny_prior.generator(z)).sum().backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0


def test_the_file_is_described_by_strings(tiny_prior_file: Path) -> None:
    with safe_open(tiny_prior_file, framework="pt") as file:
        metadata = file.metadata()
        prefixes = {key.split(".")[0] for key in file.keys()}  # noqa: SIM118
    assert prefixes == {"generator", "discriminator"}
    expected = "format architecture size channels nz ngf ndf latent loss dataset epoch images_seen"
    assert set(expected.split()) | {"discriminator_norm", "license"} == set(metadata)


@pytest.mark.parametrize(
    ("loss", "norm"), [("hinge", "spectral"), ("wgan_gp", "none"), ("hinge", "batch")]
)
def test_a_critic_is_saved_and_loaded(tmp_path: Path, loss: str, norm: str) -> None:
    module = tiny_training(loss=loss, discriminator_norm=norm)
    save_prior(
        tmp_path / "p.safetensors", module.generator, module.discriminator, module.metadata()
    )
    prior = load_prior(tmp_path / "p.safetensors")
    assert prior.loss == loss
    images = torch.rand(4, 1, 16, 16) * 2 - 1
    expected = module.discriminator.eval()(images)
    torch.testing.assert_close(prior.discriminator(images), expected, rtol=0.01, atol=0.01)


def test_latest_is_the_newest_trained_one_else_the_digits(tmp_path: Path) -> None:
    assert load_prior("latest").name == "digits (bundled)"
    for age, name in enumerate(("new", "old")):
        path = tmp_path / "outputs" / "train" / name / "time" / "prior.safetensors"
        save_tiny_prior(path)
        os.utime(path, (time.time() - 100 * age,) * 2)
    assert load_prior("latest").name == "outputs/train/new/time"


def test_the_bundled_digits_are_small_and_described() -> None:
    assert (BUNDLED / "digits.safetensors").stat().st_size < 2_000_000
    assert "Training data" in (BUNDLED / "digits.md").read_text()
    prior = load_prior("digits")
    assert (prior.size, prior.channels) == (32, 1)
    assert prior.metadata["ngf"] == prior.metadata["ndf"] == "32"
    assert prior.metadata["dataset"] == "digits"


@pytest.mark.parametrize("name", ["faces", "faces_small"])
def test_the_bundled_faces_are_described_and_not_large(name: str) -> None:
    assert (BUNDLED / f"{name}.safetensors").stat().st_size < 13_000_000
    card = (BUNDLED / f"{name}.md").read_text()
    assert "Non-commercial research only" in card
    prior = load_prior(name)
    assert (prior.size, prior.channels, prior.nz) == (64, 3, 256)
    assert prior.metadata["dataset"] == "celeba"
    assert "non-commercial" in prior.metadata["license"]
    assert f"{int(prior.metadata['images_seen']):,} images seen" in " ".join(card.split())
    images = prior.sample(64, seed=0)
    assert images.std(dim=0).mean() > 0.2, "different faces"


def rewritten(path: Path, change: dict[str, str | None]) -> None:
    """The file again with other metadata; None drops a key."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    for key, value in change.items():
        if value is None:
            del header["__metadata__"][key]
        else:
            header["__metadata__"][key] = value
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + raw[8 + length :])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nz": None}, "lacks nz"),
        ({"nz": "9"}, r"main\.0\.weight is \(8, .*expected \(9, "),
        ({"nz": "many"}, "nz"),
        ({"size": "17"}, "size"),
        ({"size": "32"}, r"main\.9\.weight is missing, expected \("),
        ({"channels": "-1"}, "channels"),
        ({"ngf": "1000000000"}, "do not fit|metadata is wrong"),
        ({"latent": "cauchy"}, "latent"),
        ({"loss": "foo"}, "loss=foo"),
        ({"ngf": "1" + "0" * 30}, "metadata is wrong"),
    ],
)
def test_metadata_that_lies_is_refused(tmp_path: Path, change: dict, words: str) -> None:
    path = save_tiny_prior(tmp_path / "p.safetensors")
    rewritten(path, change)
    with pytest.raises(InputError, match=words):
        load_prior(path)


def test_what_is_no_prior_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.safetensors").write_bytes(b"junk")
    (tmp_path / "bad.ckpt").write_bytes(b"junk")
    (tmp_path / "bad.txt").write_text("junk")
    for source, words in {
        "nowhere": "no such file, training run or bundled prior .*digits",
        "empty": "neither prior.safetensors nor",
        "bad.safetensors": "not a readable",
        "bad.ckpt": "damaged, or not a checkpoint",
        "bad.txt": "a prior is a",
    }.items():
        with pytest.raises(InputError, match=words):
            load_prior(source)


def test_a_prior_may_use_the_guide_of_another(tmp_path: Path) -> None:
    model = tiny_training()
    (tmp_path / "inside").mkdir()
    for name, other in (("own", "one"), ("lent", "one"), ("astray", "../one"), ("none", "")):
        metadata = model.metadata() | {"guide_of": other}
        file = tmp_path / "inside" / f"{name}.safetensors"
        save_prior(file, model.generator, model.discriminator, metadata)
    lent = tmp_path / "inside" / "one.guide.safetensors"
    own = tmp_path / "inside" / "own.guide.safetensors"
    for there in (own, lent, tmp_path / "one.guide.safetensors"):
        there.touch()
    found = {
        name: load_prior(tmp_path / "inside" / f"{name}.safetensors").companion("guide")
        for name in ("own", "lent", "astray", "none")
    }
    assert found == {"own": own, "lent": lent, "astray": lent, "none": None}, "in its own folder"


def test_the_guide_of_faces_serves_both() -> None:
    assert load_prior("faces_small").companion("guide") == load_prior("faces").companion("guide")
