"""Weights that PyTorch's DCGAN tutorial saves, from networks written down independently of ours."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import write_pictures
from torch import Tensor, nn

from gan_inpaint import inpaint
from gan_inpaint.errors import InputError
from gan_inpaint.prior import load_prior


def tutorial(size: int, channels: int, nz: int, ngf: int, ndf: int) -> tuple[nn.Module, nn.Module]:
    """The tutorial's two networks, with a block more or less for other sizes."""
    blocks = size.bit_length() - 4
    g: list[nn.Module] = [nn.ConvTranspose2d(nz, ngf * 2**blocks, 4, 1, 0, bias=False)]
    d: list[nn.Module] = [nn.Conv2d(channels, ndf, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for i in range(blocks):
        wide = ngf * 2 ** (blocks - i)
        g += [nn.BatchNorm2d(wide), nn.ReLU()]
        g += [nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1, bias=False)]
        d += [nn.Conv2d(ndf * 2**i, ndf * 2 ** (i + 1), 4, 2, 1, bias=False)]
        d += [nn.BatchNorm2d(ndf * 2 ** (i + 1)), nn.LeakyReLU(0.2)]
    g += [nn.BatchNorm2d(ngf), nn.ReLU(), nn.ConvTranspose2d(ngf, channels, 4, 2, 1, bias=False)]
    d += [nn.Conv2d(ndf * 2**blocks, 1, 4, 1, 0, bias=False), nn.Sigmoid()]
    networks = []
    for layers in ([*g, nn.Tanh()], d):
        network = nn.Module()
        network.main = nn.Sequential(*layers)
        for weight in network.parameters():
            nn.init.normal_(weight, 0.1 if weight.ndim == 1 else 0.0, 0.2)
        networks.append(network.eval())
    return networks[0], networks[1]


def renamed(network: nn.Module, change: Callable[[str], str]) -> dict[str, Tensor]:
    return {change(key): value for key, value in network.state_dict().items()}


@pytest.mark.parametrize(
    ("size", "channels", "nz", "ngf", "ndf"),
    [(64, 3, 100, 4, 6), (16, 1, 7, 8, 8), (32, 3, 9, 4, 4)],
)
def test_tutorial_weights_compute_what_they_did(
    size: int, channels: int, nz: int, ngf: int, ndf: int
) -> None:
    generator, discriminator = tutorial(size, channels, nz, ngf, ndf)
    torch.save(generator.state_dict(), "netG.pth")
    torch.save(discriminator.state_dict(), "netD.pth")
    prior = load_prior("netG.pth", "netD.pth")
    assert (prior.size, prior.channels, prior.nz) == (size, channels, nz)
    assert prior.discriminator is not None
    z = torch.randn(3, nz)
    with torch.no_grad():
        images = generator.main(z[:, :, None, None])
        torch.testing.assert_close(prior.generator(z), images, rtol=1e-4, atol=1e-4)
        real = discriminator.main(images)[:, 0, 0, 0]
    torch.testing.assert_close(prior.discriminator(images).sigmoid(), real, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda n: renamed(n, lambda k: f"module.{k}"),
        lambda n: renamed(n, lambda k: f"netG.{k}"),
        lambda n: renamed(n, lambda k: k.removeprefix("main.")),
        lambda n: {"epoch": 3, "state_dict": n.state_dict()},
        lambda n: {k: v for k, v in n.state_dict().items() if "num_batches" not in k},
    ],
)
def test_other_ways_of_saving_the_same(wrap: Callable[[nn.Module], dict]) -> None:
    generator, _ = tutorial(16, 1, 7, 4, 4)
    torch.save(wrap(generator), "netG.pth")
    z = torch.randn(3, 7)
    expected = generator.main(z[:, :, None, None])
    torch.testing.assert_close(load_prior("netG.pth").generator(z), expected, rtol=1e-4, atol=1e-4)


def test_what_does_not_fit_is_named_layer_by_layer() -> None:
    generator, discriminator = tutorial(16, 1, 7, 4, 4)
    _, wider = tutorial(32, 3, 7, 4, 4)
    torch.save(generator.state_dict(), "netG.pth")
    torch.save(wider.state_dict(), "netD.pth")
    with pytest.raises(InputError) as problem:
        load_prior("netG.pth", "netD.pth")
    assert "netD.pth: the weights do not fit the discriminator: " in str(problem.value)
    assert "main.0.weight is (4, 3, 4, 4), expected (4, 1, 4, 4)" in str(problem.value)
    assert "main.8.weight is (1, 16, 4, 4), expected missing" in str(problem.value)
    torch.save(discriminator.state_dict(), "swapped.pth")
    with pytest.raises(InputError, match=r"swapped\.pth: its last layer makes 8 channels"):
        load_prior("swapped.pth")


def test_files_that_hold_something_else_are_refused() -> None:
    generator, discriminator = tutorial(16, 1, 7, 4, 4)
    torch.save(generator, "module.pth")  # a pickle of code
    torch.save({"a": generator.state_dict(), "b": discriminator.state_dict()}, "both.pth")
    torch.save({"weight": torch.zeros(3)}, "other.pth")
    torch.save(generator.state_dict(), "netG.pth")
    for arguments, words in {
        ("module.pth",): "more than weights in it; save network.state_dict",
        ("both.pth",): "holds 2 state dicts",
        ("other.pth",): "holds 0 state dicts",
        ("netG.pth", "gone.pth"): "gone.pth: there is no such file",
        ("digits", "netG.pth"): "has its own; leave it out",
    }.items():
        with pytest.raises(InputError, match=words) as problem:
            load_prior(*arguments)
        assert "weights_only" not in str(problem.value)


def test_a_search_without_a_discriminator_needs_lam_0(run: Callable, tmp_path: Path) -> None:
    generator, _ = tutorial(16, 1, 7, 4, 4)
    torch.save(generator.state_dict(), "netG.pth")
    prior = load_prior("netG.pth")
    known = torch.ones(1, 1, 16, 16)
    known[..., 4:12, 4:12] = 0
    result = inpaint(torch.zeros(1, 1, 16, 16), known, prior, lam=0, steps=2)
    assert result.perceptual.isnan().all()
    with pytest.raises(InputError, match="discriminator=, or set lam=0"):
        inpaint(torch.zeros(1, 1, 16, 16), known, prior, lam=1e-3, steps=2)
    write_pictures(tmp_path / "p", 2)
    told = ["prior=netG.pth", "data=folder", "data.path=p", "steps=2", "logger=none"]
    assert run("reconstruct", *told, "lam=0").code == 0
    ran = run("reconstruct", *told)
    assert ran.code == 2
    assert "netG.pth came without a discriminator" in ran.sentence
