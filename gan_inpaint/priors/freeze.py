"""Freeze a network for the search: eval mode, fp32, BatchNorm folded in, weights as buffers."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized


def _plain(layer: nn.Module) -> nn.Module:
    """A layer with its spectral norm applied to the weights."""
    if not is_parametrized(layer):
        return layer
    # torch's remove_parametrizations would break the original network
    plain = nn.Conv2d(layer.in_channels, layer.out_channels, 4, layer.stride, layer.padding)  # type: ignore[arg-type]
    plain.weight, plain.bias = nn.Parameter(layer.weight.detach()), layer.bias  # type: ignore[operator,assignment]
    return plain


def freeze(network: nn.Module) -> nn.Module:
    """A copy for the search: eval mode, fp32, BatchNorm folded in, no parameters.

    Weights become buffers: they follow ``.to(device)``, but no optimizer can change them and no
    gradient is computed for them. The copy is differentiable in its input.
    """
    network = deepcopy(network).float().eval()
    layers = [_plain(layer) for layer in network.main]  # type: ignore[union-attr]
    folded: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d):
            transpose = isinstance(folded[-1], nn.ConvTranspose2d)
            folded[-1] = fuse_conv_bn_eval(folded[-1], layer, transpose)  # type: ignore[type-var]
        else:
            folded.append(layer)
    network.main = nn.Sequential(*folded)
    # the fastest layout for the convolutions of CPU and GPU
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach().clone())
    return network.requires_grad_(False)


class ReducedPrecision(nn.Module):
    """A frozen network that computes in bf16, with inputs and outputs in fp32."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = deepcopy(network).bfloat16()

    def forward(self, inputs: Tensor) -> Tensor:
        """See the network."""
        return self.network(inputs.bfloat16()).float()
