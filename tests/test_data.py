from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import write_pictures

from gan_inpaint import masks
from gan_inpaint.data import Digits, Folder, choose, held_out, mean_image, read_all
from gan_inpaint.prior import Prior
from gan_inpaint.randomness import draw_latent, numpy_rng, torch_rng


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
    options = {"path": str(tmp_path / "p"), "truth": True, "grey": False}
    every = Folder(16, 1, None, **options)
    assert every.names == [f"sub/{i:02}.png" for i in range(30)]
    train, val = Folder(16, 1, "train", **options), Folder(16, 1, "val", **options)
    assert sorted(train.names + val.names) == every.names
    assert 0 < len(val) < 10
    (tmp_path / "p" / "another.png").write_bytes((tmp_path / "p/sub/00.png").read_bytes())
    assert set(val.names) <= set(Folder(16, 1, "val", **options).names)


def test_choose() -> None:
    assert choose(5, None, "first", 0) == [0, 1, 2, 3, 4]
    assert choose(5, 2, "first", 0) == [0, 1]
    drawn = choose(500, 8, "random", 0)
    assert drawn == sorted(drawn) == choose(500, 8, "random", 0)
    assert drawn != choose(500, 8, "random", 1)
    assert drawn != list(range(8))


def test_auto_is_held_out_digits_or_the_prior_itself(digits: Prior, tiny_prior: Prior) -> None:
    assert held_out(32, 1, None, digits, count=3, seed=0).dataset == "digits"
    generated = held_out(16, 1, None, tiny_prior, count=3, seed=0)
    assert (generated.dataset, len(generated)) == ("generated", 3)


def test_the_mean_image_is_that_of_the_training_set(digits: Prior) -> None:
    pixels, _ = read_all(Digits(32, 1, "train"))
    expected = torch.from_numpy(pixels.mean(axis=0) / 127.5 - 1).float()
    torch.testing.assert_close(mean_image(digits), expected, rtol=0, atol=1e-5)


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
