import pytest
import torch
from torch import nn

from gan_inpaint.models.dcgan import Discriminator, Generator, Projection, running_statistics_kept
from gan_inpaint.priors.freeze import freeze


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_any_power_of_two_and_grey_or_colour(size: int, channels: int) -> None:
    generator, discriminator = Generator(size, channels, 5, 2), Discriminator(size, channels, 2)
    images = generator(torch.randn(2, 5))
    assert images.shape == (2, channels, size, size)
    assert images.abs().max() <= 1
    assert discriminator(images).shape == (2,)


@pytest.mark.parametrize("norm", ["batch", "spectral", "none"])
def test_layer_names_do_not_depend_on_the_norm(norm: str) -> None:
    network = Discriminator(64, 3, 2, norm)
    convolutions = [i for i, m in enumerate(network.main) if isinstance(m, nn.Conv2d)]
    assert convolutions == [0, 2, 5, 8, 11]


@pytest.mark.parametrize("norm", ["spectral", "none"])
def test_an_image_is_judged_alone_without_batchnorm(norm: str) -> None:
    network = Discriminator(16, 1, 4, norm).eval()
    images = torch.rand(3, 1, 16, 16) * 2 - 1
    together, alone = network(images), torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(freeze(network)(images), together)
    assert not list(freeze(network).parameters())


def test_a_spectral_norm_bounds_every_layer() -> None:
    network = Discriminator(16, 1, 8, "spectral")
    for _ in range(50):  # each training step improves the estimate
        network(torch.rand(2, 1, 16, 16))
    for layer in network.eval().main:
        if isinstance(layer, nn.Conv2d):
            largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
            torch.testing.assert_close(largest, torch.tensor(1.0), rtol=0.02, atol=0)


@pytest.mark.parametrize("size", [8, 48, 100])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        Generator(size, 1, 5, 2)


def test_size_64_has_the_layers_of_the_tutorial() -> None:
    shapes = {k: tuple(v.shape) for k, v in Generator(64, 3, 100, 64).named_parameters()}
    assert shapes["main.0.weight"] == (100, 512, 4, 4)
    assert shapes["main.12.weight"] == (64, 3, 4, 4)
    shapes = {k: tuple(v.shape) for k, v in Discriminator(64, 3, 64).named_parameters()}
    assert shapes["main.0.weight"] == (64, 3, 4, 4)
    assert shapes["main.11.weight"] == (1, 512, 4, 4)


@pytest.mark.parametrize("network", [Generator(16, 1, 8, 4), Discriminator(16, 1, 4)])
def test_frozen_is_the_same_function_without_parameters(network: nn.Module) -> None:
    x = torch.randn(6, 8) if isinstance(network, Generator) else torch.rand(6, 1, 16, 16)
    for _ in range(3):
        network(x)  # statistics that are not 0 and 1
    copy = freeze(network)
    assert not list(copy.parameters())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in copy.modules())
    expected = network.eval()(x)
    torch.testing.assert_close(copy(x), expected, rtol=1e-4, atol=1e-5)
    copy.train()  # nothing is left that could behave otherwise
    torch.testing.assert_close(copy(x), expected, rtol=1e-4, atol=1e-5)
    x.requires_grad_()
    assert torch.autograd.grad(copy(x).sum(), x)[0].abs().sum() > 0


def test_running_statistics_are_kept() -> None:
    network = Discriminator(16, 1, 4)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    x = torch.rand(6, 1, 16, 16)
    with running_statistics_kept(network):
        inside = network(x)
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert torch.equal(inside, network(x)), "it must normalise by the batch all the same"
    assert not torch.equal(before["main.3.running_mean"], network.main[3].running_mean)


def test_the_projection_is_the_transposed_convolution_that_it_replaces() -> None:
    torch.manual_seed(0)
    for bias in (False, True):
        layer = Projection(7, 5, 4, bias=bias)
        z = torch.randn(3, 7, 1, 1)
        expected = torch.nn.functional.conv_transpose2d(z, layer.weight, layer.bias)
        torch.testing.assert_close(layer(z), expected)
