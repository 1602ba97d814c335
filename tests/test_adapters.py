"""Priors of any generator."""

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_inpaint import InputError, Prior, as_prior, inpaint
from gan_inpaint.evaluation.diagnosis import self_test
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.priors.latent_space import MappedSpace

QUICK = {"lam": 0, "steps": 20, "candidates": 64, "guide": "none", "precision": "fp32"}


def decoder(shape: tuple[int, int, int], nz: int = 8, last: type[nn.Module] = nn.Tanh) -> nn.Module:
    """An MLP with BatchNorm and dropout, in train mode, with statistics of its own."""
    torch.manual_seed(0)
    channels, height, width = shape
    network = nn.Sequential(
        nn.Linear(nz, 32),
        nn.BatchNorm1d(32),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.5),
        nn.Linear(32, channels * height * width),
        last(),
        nn.Unflatten(1, shape),
    )
    for _ in range(20):
        network(torch.randn(32, nz))
    return network


def hole(shape: tuple[int, int, int]) -> Tensor:
    _, height, width = shape
    known = torch.ones(1, 1, height, width)
    known[..., height // 4 : height // 2, width // 4 : width // 2] = 0
    return known


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 12, 18), (3, 24, 16)])
def test_a_decoder_of_any_shape_is_searched(shape: tuple[int, int, int]) -> None:
    network = decoder(shape)
    before = copy.deepcopy(network.state_dict())
    prior = as_prior(network, nz=8, image_shape=shape)
    assert prior.image_shape == shape
    assert not list(prior.parameters())
    assert not any(module.training for module in prior.train().modules())
    images = prior.sample(3, seed=1, radius=0.7)
    result = inpaint(images, hole(shape), prior, **QUICK | {"restarts": 2})
    error = (result.images - images).square().mean()
    assert error < 0.2 * (images - images.mean(0)).square().mean(), "samples are found again"
    assert network.training, "the user's own module is as it was"
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_batch_norm_is_folded_and_the_images_are_the_same() -> None:
    network = decoder((3, 16, 16))
    prior = as_prior(network, nz=8)
    z = torch.randn(5, 8)
    network.eval()
    torch.testing.assert_close(prior.decode(z), network(z), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in prior.modules())


def test_codes_of_four_dimensions_and_other_ranges() -> None:
    convolution = nn.Sequential(nn.ConvTranspose2d(6, 3, 16), nn.Sigmoid())
    prior = as_prior(convolution, nz=6, latent="uniform", output_range=(0, 1))
    z = prior.latent.sample(4, torch.Generator().manual_seed(0))
    assert z.abs().max() <= 1
    expected = 2 * convolution(z[:, :, None, None]) - 1
    torch.testing.assert_close(prior.decode(z), expected, rtol=1e-4, atol=1e-5)
    bytes_ = as_prior(lambda z: 255 * convolution(z), nz=(6, 1, 1), output_range=(0, 255))
    torch.testing.assert_close(bytes_.decode(z), expected, rtol=1e-4, atol=1e-4)


def test_a_function_without_parameters() -> None:
    rows = torch.linspace(-1, 1, 24)[:, None]

    def waves(z: Tensor) -> Tensor:
        phase = z[:, 0, None, None] + 3 * rows * (1 + 0.1 * z[:, 1, None, None])
        return torch.sin(phase)[:, None].expand(-1, 1, -1, 16)

    prior = as_prior(waves, nz=2)
    assert prior.name == "waves"
    images = prior.sample(2, seed=0)
    result = inpaint(images, hole((1, 24, 16)), prior, **QUICK | {"radius": 2.0, "restarts": 4})
    assert (result.images - images).abs().mean() < 0.05
    other = as_prior(lambda z: -waves(z), nz=2)
    assert prior.digest == as_prior(waves, nz=2).digest != other.digest


class Style(nn.Module):
    """A generator in the form of StyleGAN2: mapping, synthesis, a style for each layer, noise."""

    def __init__(self) -> None:
        super().__init__()
        self.z_dim, self.num_ws = 8, 3
        torch.manual_seed(0)
        self.mapping, self.synthesis = Mapping(), Synthesis()

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        raise AssertionError("it needs labels")


class Mapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(0.2), nn.Linear(16, 12))

    def forward(self, z: Tensor, c: Tensor | None, truncation_psi: float = 1) -> Tensor:
        return self.layers(z)[:, None].expand(-1, 3, -1)


class Synthesis(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(1, 16, 4, 4))
        self.styles = nn.ModuleList(nn.Linear(12, 16) for _ in range(3))
        self.layers = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1) for _ in range(3))
        self.rgb = nn.Conv2d(16, 3, 1)
        for layer in [*self.styles, *self.layers, self.rgb]:  # so that images differ
            nn.init.normal_(layer.weight, std=2 / layer.weight[0].numel() ** 0.5)

    def forward(self, ws: Tensor, noise_mode: str = "random") -> Tensor:
        assert ws.shape[1:] == (3, 12)
        x = self.start.expand(len(ws), -1, -1, -1)
        for style, layer, w in zip(self.styles, self.layers, ws.unbind(1), strict=True):
            x = layer(x * (1 + style(w))[:, :, None, None])
            if noise_mode == "random":
                x = x + torch.randn(len(x), 1, *x.shape[2:])
            x = nn.functional.leaky_relu(nn.functional.interpolate(x, scale_factor=2.0))
        return torch.tanh(self.rgb(x))


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_style_based_generators_are_searched_in_each_space(space: str) -> None:
    generator = Style()
    prior = as_prior(generator, latent_space=space)
    assert prior.image_shape == (3, 32, 32)
    assert prior.nz == {"z": 8, "w": 12, "w+": 36}[space]
    images = prior.sample(3, seed=0)
    rng = torch.Generator().manual_seed(0)
    z = prior.latent.sample(2000, rng)
    assert float(z.square().sum(dim=1).mean().sqrt()) == pytest.approx(
        prior.latent.typical_norm, rel=0.1
    )
    known = hole((3, 32, 32))
    options = QUICK | {"radius": 1.5, "candidates": 0, "restarts": 4}
    result = inpaint(images, known, prior, **options | {"steps": 60})
    start = inpaint(images, known, prior, **options | {"steps": 1})
    assert result.contextual.mean() < 0.2 * start.contextual.mean()


def test_styles_are_whitened_and_return() -> None:
    generator = Style()
    space = as_prior(generator, latent_space="w").latent
    assert isinstance(space, MappedSpace)
    codes = torch.randn(4000, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        styles = generator.mapping(codes, None)[:, 0]
    torch.testing.assert_close(
        space.styles(torch.zeros(1, 12))[0], styles.mean(0), atol=0.05, rtol=0
    )
    white = (styles - space.mean) @ space.whitening
    torch.testing.assert_close(space.styles(white), styles, atol=1e-3, rtol=1e-3)
    covariance = torch.cov(white.T)
    kept = covariance.diagonal() > 0.5  # the mapping may have flat directions
    assert kept.sum() >= 8
    assert (covariance - covariance.diagonal().diag()).abs().max() < 0.1


@pytest.mark.parametrize("plain", [True, False], ids=["vmap", "row by row"])
def test_a_generator_with_random_inputs_always_draws_the_same(plain: bool) -> None:
    base = decoder((1, 8, 8))

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = base

        def forward(self, z: Tensor) -> Tensor:
            if not plain:
                float(z.sum())  # vmap does not understand this
            images = self.base(z)
            return 0.9 * images + 0.1 * torch.rand_like(images)

    prior = as_prior(Noisy(), nz=8)
    z = torch.randn(5, 8)
    before = torch.get_rng_state()
    images = prior.decode(z)
    assert torch.equal(images, prior.decode(z))
    torch.testing.assert_close(prior.decode(z[[4, 2]]), images[[4, 2]], atol=1e-5, rtol=0)
    assert torch.equal(torch.get_rng_state(), before)
    other = as_prior(Noisy(), nz=8, seed=1).decode(z)
    assert not torch.equal(other, images)


NOISE = np.random.default_rng(0)


class Detached(nn.Module):
    def __init__(self, change: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.base, self.change = decoder((1, 8, 8)), change

    def forward(self, z: Tensor) -> Any:
        return self.change(self.base(z))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda x: (x, None),
            r"returns a tuple, not a tensor of images; wrap it, as in lambda z: gen",
        ),
        (lambda x: {"image": x}, "returns a dict, not a tensor of images"),
        (lambda x: x.detach().numpy(), "returns a ndarray, not a tensor of images"),
        (lambda x: x + 0j, "returns a torch.complex64, not a tensor of images"),
        (lambda x: x[0], r"returns \(1, 8, 8\) for 4 codes of shape \(8\)"),
        (lambda x: x.expand(-1, 4, -1, -1), "a prior makes .* images with 1 or 3 channels"),
        (lambda x: x.detach(), "is not differentiable"),
        (lambda x: ((x + 1) * 127.5).byte(), "is not differentiable"),
        (lambda x: x * 0, "is not differentiable"),
        (lambda x: x / 0, "images that are not finite"),
        (lambda x: (x + 1) / 2, r"set output_range=\(0,1\)"),
        (lambda x: (x + 1) * 127.5, r"set output_range=\(0,255\)"),
        (lambda x: x - x.mean(0), "mixes the images of a batch"),
        (lambda x: x / (len(x) - 1 or 1 / 0), "mixes the images of a batch"),
        (lambda x: 1 / "", "does not take codes of shape"),
        (lambda x: nn.functional.conv2d(x.half(), torch.ones(1, 1, 1, 1)), "mixes precisions"),
        (lambda x: x.bfloat16() @ torch.eye(8), "remove casts such as .half()"),
        (lambda x: x * float(NOISE.uniform(0.5, 1)), "are not torch's; draw them with torch"),
        (lambda x: x - 0.1 * random.random(), "makes another image of the same code each time"),
    ],
)
def test_generators_that_do_not_fit_are_named(change: Callable, words: str) -> None:
    with pytest.raises(InputError, match=words):
        as_prior(Detached(change), nz=8)


@pytest.mark.parametrize(
    "nz",
    [np.int64(8), np.uint8(8), torch.tensor(8), (np.int64(8),), np.array([8]), [torch.tensor(8)]],
)
def test_sizes_of_numpy_and_torch(nz: Any) -> None:
    shape: Any = np.array([1, 8, 8])
    assert as_prior(decoder((1, 8, 8)), nz=nz, image_shape=shape).nz == 8


def test_mistakes_in_the_arguments_are_named() -> None:
    network = decoder((1, 8, 8))
    for words, options in (
        ("give the length of", {}),
        (r"nz=-1: give the length", {"nz": -1}),
        (r"does not take codes of shape \(B, 5\)", {"nz": 5}),
        (r"makes \(1, 8, 8\) images, image_shape=\(3, 8, 8\)", {"nz": 8, "image_shape": (3, 8, 8)}),
        ("latent=cauchy: must be normal or uniform", {"nz": 8, "latent": "cauchy"}),
        ("latent_space=v: must be z or w", {"nz": 8, "latent_space": "v"}),
        ("latent_space=w: .* has no mapping network", {"nz": 8, "latent_space": "w"}),
        ("image_shape=8", {"nz": 8, "image_shape": 8}),
        ("nz=True: give", {"nz": True}),
        ("nz=0: give", {"nz": 0}),
        ("nz=8.0: give", {"nz": np.float32(8)}),
        ("output_range=3", {"nz": 8, "output_range": 3}),
        (r"output_range=\(1, 0\)", {"nz": 8, "output_range": (1, 0)}),
    ):
        with pytest.raises(InputError, match=words):
            as_prior(network, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="on the meta device; load them first"):
        as_prior(decoder((1, 8, 8)).to("meta"), nz=8)
    with pytest.raises(InputError, match="generator is a str, not a module"):
        as_prior("netG.pth", nz=8)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="as_prior makes one"):
        inpaint(torch.zeros(1, 1, 8, 8), hole((1, 8, 8)), network)  # type: ignore[arg-type]


def judge(*last: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1), *last)


def test_a_discriminator_of_logits_or_probabilities() -> None:
    network, plain = decoder((1, 8, 8), last=nn.Sigmoid), judge()
    options = {"nz": 8, "output_range": (0, 1)}
    logits = as_prior(network, discriminator=plain, **options)  # type: ignore[arg-type]
    squashed = as_prior(
        network,
        discriminator=nn.Sequential(plain, nn.Sigmoid()),
        discriminator_output="probability",
        **options,  # type: ignore[arg-type]
    )
    images = logits.sample(3, seed=0)
    found = logits.realism(images)
    assert found is not None
    torch.testing.assert_close(found, plain((images + 1) / 2)[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(squashed.realism(images), found, rtol=1e-3, atol=1e-4)
    result = inpaint(images, hole((1, 8, 8)), logits, **QUICK | {"lam": 0.1})
    assert bool(result.perceptual.isfinite().all())
    for words, bad in (
        ("ends with a sigmoid; set discriminator_output=probability", judge(nn.Sigmoid())),
        ("returns 12 numbers for 4 images", judge(nn.Linear(1, 3))),
        (r"does not take \(4, 1, 8, 8\) images", nn.Linear(7, 1)),
    ):
        with pytest.raises(InputError, match=words):
            as_prior(network, discriminator=bad, **options)  # type: ignore[arg-type]
    shifted = nn.Sequential(plain, nn.Hardtanh(-3, -2))
    with pytest.raises(InputError, match="no probabilities, but logits"):
        as_prior(network, discriminator=shifted, discriminator_output="probability", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 24, 16), (1, 70, 66)])
def test_a_foreign_prior_is_guided_and_diagnosed(shape: tuple[int, int, int]) -> None:
    prior = as_prior(decoder(shape), nz=8)
    images = prior.sample(2, seed=3, radius=0.7)
    known = hole(shape)
    settings = SearchConfig(lam=0.0, steps=10, candidates=16, guide="samples", precision="fp32")
    result = inpaint(images, known, prior, settings)
    assert bool(result.rows.guide_term.isfinite().all())
    tested = self_test(known.bool(), prior, settings)  # type: ignore[arg-type]
    assert tested["search_error"] < 0.2


def test_half_precision_modules_are_searched_in_single() -> None:
    prior = as_prior(decoder((1, 8, 8)).half(), nz=8)
    assert prior.sample(1, seed=0).dtype == torch.float32
    assert prior.reduced().decode(torch.zeros(1, 8)).dtype == torch.float32


def test_a_network_that_bfloat16_spoils_stays_in_single() -> None:
    class Fine(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return torch.sin(3000 + 1e3 * z)[:, None, None, :].expand(-1, 1, 8, -1)

    prior = as_prior(Fine(), nz=8)
    assert prior.reduced().generator is prior.generator
    plain = as_prior(decoder((1, 8, 8)), nz=8)
    assert plain.reduced().generator is not plain.generator


class CompressedSensing:
    """Searches one image at a time, as the class of deepinv does, which needs torchvision.

    It asks a generator for ``nz``, and gives it ``(1, nz, 1, 1)`` codes.
    """

    def __init__(self, backbone_generator: nn.Module) -> None:
        self.backbone_generator = backbone_generator

    def __call__(self, y: Tensor, known: Tensor) -> Tensor:
        z = 2 * torch.rand(1, self.backbone_generator.nz, 1, 1) - 1  # type: ignore[operator]
        z.requires_grad_()
        optimizer = torch.optim.Adam([z], lr=0.05)
        for _ in range(60):
            optimizer.zero_grad()
            loss = (known * (self.backbone_generator(z) - y)).square().mean()
            loss.backward()
            optimizer.step()
        return self.backbone_generator(z).detach()


def test_a_frozen_generator_fits_where_deepinv_expects_one(digits: Prior) -> None:
    for prior in (digits, as_prior(decoder((1, 32, 32)), nz=8)):
        torch.manual_seed(0)
        image = prior.sample(1, seed=0)
        known = torch.ones(1, 1, 32, 32)
        known[..., 8:24, 8:24] = 0
        found = CompressedSensing(prior.generator)(image, known)
        assert (known * (found - image)).square().mean() < 0.2 * (known * image).square().mean()


def test_samples_stay_in_range_where_a_generator_leaves_it_a_little() -> None:
    network = decoder((1, 8, 8)).eval()
    with torch.no_grad():
        network[4].weight.mul_(20)
    prior = as_prior(lambda z: 1.04 * network(z), nz=8)
    assert prior.decode(torch.randn(64, 8)).abs().max() > 1
    assert prior.sample(64, seed=0).abs().max() == 1


def test_a_slow_generator_is_said(caplog: pytest.LogCaptureFixture) -> None:
    from gan_inpaint.guide import gaussian

    gaussian._say_if_slow(30, 8192)
    assert not caplog.records
    gaussian._say_if_slow(600, 8192)
    assert "needs 8192 samples of the prior, about 10 min; guide=none" in caplog.text


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_old_norms_are_copied_after_they_have_been_used(wrap: Callable) -> None:
    network = nn.Sequential(wrap(nn.Linear(8, 64)), nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    z = torch.randn(3, 8)
    network(z)
    network.eval()
    expected = network(z)
    prior = as_prior(network, nz=8)
    torch.testing.assert_close(prior.decode(z), expected, rtol=1e-4, atol=1e-5)
    assert network[0].weight.requires_grad


def test_a_module_that_refuses_to_leave_train_mode_does(digits: Prior) -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base = decoder((1, 8, 8)).eval()

        def train(self, mode: bool = True) -> "Stubborn":
            return self

        def forward(self, z: Tensor) -> Tensor:
            images = self.base(z)
            return images * torch.rand_like(images) if self.training else images

    prior = as_prior(Stubborn(), nz=8)
    z = torch.randn(2, 8)
    assert torch.equal(prior.train().decode(z), prior.decode(z))
    assert not any(module.training for module in digits.train().modules())
