"""Weights that PyTorch's DCGAN tutorial saves, from networks written down independently of ours."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from conftest import write_pictures
from torch import Tensor, nn

from gan_inpaint import inpaint
from gan_inpaint.errors import InputError
from gan_inpaint.priors.registry import load_prior


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
        lambda n: dict(n.state_dict(keep_vars=True)),
        lambda n: {"epoch": 3, "netG": dict(n.state_dict(keep_vars=True))},
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
    generator, _ = tutorial(16, 1, 7, 4, 4)
    torch.save(generator, "module.pth")  # a pickle of code
    torch.save({"weight": torch.zeros(3)}, "other.pth")
    torch.save(generator.state_dict(), "netG.pth")
    for arguments, words in {
        ("module.pth",): "it holds more than weights; save only network.state_dict",
        ("other.pth",): "holds 0 state dicts",
        ("netG.pth", "gone.pth"): "gone.pth: no such file",
        ("digits", "netG.pth"): "already holds a discriminator; leave it out",
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
    assert "netG.pth has no discriminator" in ran.sentence


# ---------------------------------------------------------------- other people's files


def critic(size: int, wrap: Callable[[nn.Module], nn.Module], bias: bool = True) -> nn.Module:
    """A discriminator without BatchNorm, its layers numbered without gaps."""
    widths = [4 * 2**i for i in range(size.bit_length() - 3)]
    layers: list[nn.Module] = [wrap(nn.Conv2d(1, 4, 4, 2, 1, bias=bias)), nn.LeakyReLU(0.2)]
    for narrow, wide in pairwise(widths):
        layers += [wrap(nn.Conv2d(narrow, wide, 4, 2, 1, bias=bias)), nn.LeakyReLU(0.2)]
    layers += [wrap(nn.Conv2d(widths[-1], 1, 4, bias=bias))]
    network = nn.Module()
    network.main = nn.Sequential(*layers)
    return network.eval()


WRAPS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "plain": lambda layer: layer,
    "old spectral": nn.utils.spectral_norm,
    "spectral": nn.utils.parametrizations.spectral_norm,
    "old weight": nn.utils.weight_norm,
    "weight": nn.utils.parametrizations.weight_norm,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("wrap", WRAPS)
def test_critics_of_any_norm(wrap: str, bias: bool) -> None:
    torch.manual_seed(0)
    generator, _ = tutorial(64, 1, 7, 4, 4)
    network = critic(64, WRAPS[wrap], bias)
    images = torch.rand(3, 1, 64, 64) * 2 - 1
    if "spectral" in wrap:
        network.main.train()(images)  # improves the estimate of the largest singular value
        network.eval()
    torch.save(generator.state_dict(), "netG.pth")
    torch.save(network.state_dict(), "netD.pth")
    prior = load_prior("netG.pth", "netD.pth")
    assert prior.discriminator is not None
    expected = network.main(images)[:, 0, 0, 0]
    torch.testing.assert_close(prior.discriminator(images), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_a_generator_with_biases_and_spectral_norm() -> None:
    torch.manual_seed(0)
    widths, layers = [16, 8, 4], []
    for index, (wide, narrow) in enumerate([(7, 16), (16, 8), (8, 4), (4, 1)]):
        stride, padding = (2, 1) if index else (1, 0)
        layer = nn.ConvTranspose2d(wide, narrow, 4, stride, padding)
        layers.append(nn.utils.spectral_norm(layer) if index == 1 else layer)
        if index < 3:
            layers += [nn.BatchNorm2d(widths[index]), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Tanh())
    for _ in range(3):
        network(torch.randn(6, 7, 1, 1))
    network.eval()
    torch.save(network.state_dict(), "netG.pth")
    z = torch.randn(3, 7)
    expected = network(z[:, :, None, None])
    torch.testing.assert_close(load_prior("netG.pth").generator(z), expected, rtol=1e-3, atol=1e-4)


def test_networks_with_normalisation_in_other_places() -> None:
    """A discriminator whose first layer has a BatchNorm, and a generator that has none."""
    torch.manual_seed(0)
    judge = nn.Sequential(
        *[nn.Conv2d(1, 4, 4, 2, 1), nn.BatchNorm2d(4), nn.LeakyReLU(0.2)],
        *[nn.Conv2d(4, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 4)],
    )
    images = torch.rand(5, 1, 16, 16) * 2 - 1
    for _ in range(5):
        judge(images)
    judge.eval()
    generator = nn.Sequential(
        *[nn.ConvTranspose2d(5, 8, 4), nn.ReLU(), nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.ReLU()],
        *[nn.ConvTranspose2d(4, 1, 4, 2, 1), nn.Tanh()],
    )
    torch.save({"model": {"module": generator.state_dict()}}, "netG.pth")
    torch.save(judge.state_dict(), "netD.pth")
    prior = load_prior("netG.pth", "netD.pth")
    assert prior.discriminator is not None
    z = torch.randn(3, 5)
    torch.testing.assert_close(
        prior.generator(z), generator(z[:, :, None, None]), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        prior.discriminator(images), judge(images)[:, 0, 0, 0], rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("suffix", [".safetensors", ".pth.tar", ".pkl", ".bin", ".pt"])
def test_the_same_tensors_in_other_files(suffix: str) -> None:
    from safetensors.torch import save_file

    generator, discriminator = tutorial(64, 1, 7, 4, 4)
    for network, name in ((generator, "netG"), (discriminator, "netD")):
        state = {key: value.clone() for key, value in network.state_dict().items()}
        save = save_file if suffix == ".safetensors" else torch.save
        save(state, f"{name}{suffix}")
    torch.save(generator.state_dict(), "plain.pth")
    z = torch.randn(3, 7)
    prior = load_prior(f"netG{suffix}", f"netD{suffix}")
    assert torch.equal(prior.generator(z), load_prior("plain.pth").generator(z))
    assert prior.discriminator is not None


def blocks() -> dict[str, Tensor]:
    """One generator in named blocks, whose widths are not ours."""
    state = {}
    shapes = {"input_stack": (16, 32), "stack0": (32, 32), "stack1": (32, 16), "output": (16, 3)}
    for name, (wide, narrow) in shapes.items():
        state[f"{name}.0.weight"] = torch.randn(wide, narrow, 4, 4)
    return state


def of_28_pixels() -> dict[str, Tensor]:
    """A generator whose numbering begins at 1, so that 10 must not be read as 1 and 0."""
    shapes = {1: (20, 32, 4), 4: (32, 16, 3), 7: (16, 8, 4), 10: (8, 1, 4)}
    return {f"layer.{k}.weight": torch.randn(a, b, s, s) for k, (a, b, s) in shapes.items()}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (of_28_pixels(), r"layer\.4\.weight is \(32, 16, 3, 3\); prior= takes .*_target_"),
        ({**blocks(), "fc.weight": torch.randn(9, 9)}, r"fc\.weight is \(9, 9\): no such layer"),
        (
            {
                "0.weight": torch.randn(9, 4, 4, 4),
                "1.weight": torch.ones(4),
                "1.bias": torch.ones(4),
            }
            | {"3.weight": torch.randn(4, 1, 4, 4)},
            "not a BatchNorm with statistics",
        ),
    ],
    ids=range(3),
)
def test_what_cannot_be_taken_is_named_by_layer(state: dict, words: str) -> None:
    torch.save(state, "netG.pth")
    with pytest.raises(InputError, match=rf"netG\.pth: .*{words}"):
        load_prior("netG.pth")


@pytest.mark.parametrize(
    "both",
    [
        lambda g, d: {f"G.{k}": v for k, v in g.items()} | {f"D.{k}": v for k, v in d.items()},
        lambda g, d: {"G": g, "D": d, "epoch": 3},
        lambda g, d: [g, d],
    ],
    ids=range(3),
)
def test_two_networks_in_one_file_are_taken_apart(both: Callable) -> None:
    generator, discriminator = tutorial(16, 3, 7, 4, 4)
    g, d = generator.state_dict(), discriminator.state_dict()
    torch.save(both(g, d), "both.pth")
    torch.save(g, "netG.pth")
    torch.save(d, "netD.pth")
    one, two = load_prior("both.pth"), load_prior("netG.pth", "netD.pth")
    images = one.sample(3, seed=0)
    assert torch.equal(images, two.sample(3, seed=0))
    assert torch.equal(one.realism(images), two.realism(images))
    torch.save({"a": both(g, d), "ema": g}, "three.pth")
    with pytest.raises(InputError, match="holds 3 state dicts"):
        load_prior("three.pth")


@pytest.mark.parametrize(
    ("kernels", "widths", "size"),
    [
        ((7, 4, 4), (12, 6), 28),
        ((6, 4, 4, 4, 4), (8, 8, 8, 4), 96),
        ((4, 4, 4), (5, 9), 16),
        ((4, 6, 2), (8, 4), 16),
        ((3, 4, 8, 4), (8, 4, 4), 24),
    ],
)
def test_generators_with_other_kernels_and_widths(
    kernels: tuple[int, ...], widths: tuple[int, ...], size: int
) -> None:
    torch.manual_seed(0)
    sides = (10, *widths, 3)
    layers: list[nn.Module] = []
    for index, (k, wide, narrow) in enumerate(zip(kernels, sides, sides[1:], strict=False)):
        stride, padding = (2, k // 2 - 1) if index else (1, 0)
        layers.append(nn.ConvTranspose2d(wide, narrow, k, stride, padding, bias=index % 2 == 0))
        layers += [nn.BatchNorm2d(narrow), nn.ReLU()] if index < len(kernels) - 1 else [nn.Tanh()]
    network = nn.Sequential(*layers)
    for _ in range(5):
        network(torch.randn(8, 10, 1, 1))
    torch.save(network.eval().state_dict(), "netG.pth")
    prior = load_prior("netG.pth")
    assert prior.image_shape == (3, size, size)
    z = torch.randn(3, 10)
    expected = network(z[:, :, None, None])
    torch.testing.assert_close(prior.decode(z), expected, rtol=1e-4, atol=1e-5)
    known = torch.ones(1, 1, size, size)
    known[..., size // 3 : size // 2, 4:9] = 0
    images = prior.sample(2, seed=0)
    result = inpaint(images, known, prior, lam=0, steps=2, candidates=8, guide="none")
    assert bool(result.images.isfinite().all())


def spectral_square(wrap: Callable[[nn.Module], nn.Module]) -> nn.Sequential:
    """A generator whose first kernel has as many inputs as outputs."""
    layers: list[nn.Module] = []
    for index, (wide, narrow) in enumerate([(16, 16), (16, 8), (8, 1)]):
        stride, padding = (2, 1) if index else (1, 0)
        layer = wrap(nn.ConvTranspose2d(wide, narrow, 4, stride, padding, bias=False))
        layers += [layer, nn.BatchNorm2d(narrow), nn.ReLU()] if index < 2 else [layer, nn.Tanh()]
    network = nn.Sequential(*layers)
    for _ in range(3):
        network(torch.randn(8, 16, 1, 1))
    return network.eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrap", ["old spectral", "spectral"])
@pytest.mark.parametrize("drop", [(), ("weight_v", "._v")])
def test_the_axis_of_a_spectral_norm_is_that_of_the_layer(wrap: str, drop: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    network = spectral_square(WRAPS[wrap])
    state = {k: v for k, v in network.state_dict().items() if not (drop and k.endswith(drop))}
    torch.save(state, "netG.pth")
    z = torch.randn(3, 16)
    expected = network(z[:, :, None, None])
    # a power iteration that has converged gives v from u
    tolerance = 5e-2 if drop else 1e-4
    torch.testing.assert_close(
        load_prior("netG.pth").generator(z), expected, rtol=tolerance, atol=tolerance
    )


class Declared(nn.Module):
    """All convolutions come first, then all normalisations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(7, 16, 4)
        self.conv2 = nn.ConvTranspose2d(16, 8, 4, 2, 1)
        self.conv3 = nn.ConvTranspose2d(8, 3, 4, 2, 1)
        self.bn1, self.bn2 = nn.BatchNorm2d(16), nn.BatchNorm2d(8)

    def forward(self, z: Tensor) -> Tensor:
        x = self.bn1(self.conv1(z)).relu()
        return self.conv3(self.bn2(self.conv2(x)).relu()).tanh()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_layers_declared_in_another_order(suffix: str) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = Declared()
    for _ in range(3):
        network(torch.randn(8, 7, 1, 1))
    save = save_file if suffix == ".safetensors" else torch.save
    save(network.eval().state_dict(), f"netG{suffix}")
    z = torch.randn(3, 7)
    found = load_prior(f"netG{suffix}").generator(z)
    torch.testing.assert_close(found, network(z[:, :, None, None]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["training", "noise", "average", "lightning"])
def test_what_else_lies_in_a_checkpoint_is_passed_over(kind: str) -> None:
    generator, _ = tutorial(16, 1, 7, 4, 4)
    state = generator.state_dict()
    name = "netG.pth"
    if kind == "training":
        optimizer = torch.optim.Adam(generator.parameters())
        generator.main(torch.randn(2, 7, 1, 1)).sum().backward()
        optimizer.step()
        state = {k: v.clone() for k, v in generator.state_dict().items()}
        content = {"epoch": 3, "model_state_dict": state, "optimizer": optimizer.state_dict()}
    elif kind == "noise":
        content = {"netG": state, "fixed_noise": torch.randn(64, 7, 1, 1)}
    elif kind == "average":
        content = {f"module.{key}": value for key, value in state.items()}
        content = {"n_averaged": torch.tensor(3), **content}
    else:
        name = "netG.ckpt"
        content = {"state_dict": {f"generator.{k}": v for k, v in state.items()}, "epoch": 3}
    torch.save(content, name)
    z = torch.randn(3, 7)
    generator.eval()
    expected = generator.main(z[:, :, None, None])
    torch.testing.assert_close(load_prior(name).generator(z), expected, rtol=1e-4, atol=1e-4)


def test_other_ways_to_go_wrong_are_sentences() -> None:
    generator, _ = tutorial(16, 1, 7, 4, 4)
    state = generator.state_dict()
    torch.save(state, "netG.pth")
    kernels = {k: v for k, v in state.items() if v.ndim == 4}
    torch.save({**kernels, "main.0.bias": torch.ones(3)}, "bias.pth")
    torch.save({**state, "main.1b.weight": torch.ones(8)}, "two.pth")
    torch.save({**state, "main.1.running_var": -torch.ones(8)}, "negative.pth")
    torch.save({"0.weight": torch.randn(4, 2, 4, 4), "1.weight": torch.randn(2, 1, 4, 4)}, "8.pth")
    torch.save({"G": state, "G_ema": state}, "ema.pth")
    nested: list = []
    nested.append(nested)
    torch.save(nested, "cycle.pth")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
    for name in ("p.ckpt", "p.safetensors"):
        Path(name).write_text(pointer)
    for arguments, words in {
        ("netG.pth", "netG.pth"): "no discriminator",
        ("bias.pth",): r"main\.0\.weight is .* its bias \(3\)",
        ("two.pth",): "main.1b is not a BatchNorm",
        ("negative.pth",): "running_var has negative values",
        ("8.pth",): "images of 8x8 pixels",
        ("ema.pth",): r"2 state dicts with convolutions \(G, G_ema\)",
        ("cycle.pth",): "nested endlessly|damaged",
        ("p.ckpt",): "run git lfs pull",
        ("p.safetensors",): "run git lfs pull",
        ("x" * 300,): "File name too long",
        (3,): "give a prior",
    }.items():
        with pytest.raises(InputError, match=words):
            load_prior(*arguments)  # type: ignore[arg-type]


def test_a_prior_made_in_inference_mode_can_be_differentiated() -> None:
    generator, _ = tutorial(16, 1, 7, 4, 4)
    torch.save(generator.state_dict(), "netG.pth")
    with torch.inference_mode():
        prior = load_prior("netG.pth")
    z = torch.randn(2, 7, requires_grad=True)
    assert torch.autograd.grad(prior.generator(z).sum(), z)[0].abs().sum() > 0
