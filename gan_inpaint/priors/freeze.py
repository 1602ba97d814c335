"""Freeze a network for the search: eval mode, fp32, BatchNorm folded in, weights as buffers."""

from collections import Counter
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.nn.utils.parametrize import is_parametrized

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FOLDED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)  # take a BatchNorm in
_CLOSE = 0.1  # of outputs in bf16 to those in fp32, relative to their size if that is above 1


def freeze(network: nn.Module) -> nn.Module:
    """A copy for the search: eval mode, fp32, no parameters, and BatchNorm folded in.

    Weights become buffers: they follow ``.to(device)``, but no optimizer can change them and no
    gradient is computed for them. The copy is differentiable in its input. BatchNorm is folded
    where it follows its layer in an ``nn.Sequential``.
    """
    # what old norms compute in a forward pass; deepcopy refuses tensors with a history
    computed = (v for m in network.modules() for v in vars(m).values() if isinstance(v, Tensor))
    memo = {id(tensor): tensor.detach().clone() for tensor in computed}
    network = deepcopy(network, memo).float().eval()
    for module in network.modules():
        module.training = False  # also of a module with a train() of its own
    uses = Counter(id(m) for _, m in network.named_modules(remove_duplicate=False))
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            _fold(module, uses)
    # the fastest layout for the convolutions of CPU and GPU
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, parameter.detach().clone())
    return network.requires_grad_(False)


def _fold(layers: nn.Sequential, uses: Counter[int]) -> None:
    """Fold the BatchNorms of a chain of layers into those before them, in place."""
    names = list(layers._modules)
    for name in names:
        layers._modules[name] = _plain(layers._modules[name])
    before = None
    for name in names:
        layer = layers._modules[name]
        if isinstance(layer, _BatchNorm) and before is not None:
            owner = layers._modules[before]
            if _foldable(owner, layer) and uses[id(owner)] < 2 and uses[id(layer)] < 2:
                if isinstance(owner, nn.Linear):
                    layers._modules[before] = fuse_linear_bn_eval(owner, layer)
                else:
                    transpose = isinstance(owner, _TRANSPOSED)
                    layers._modules[before] = fuse_conv_bn_eval(owner, layer, transpose)  # type: ignore[type-var]
                layers._modules[name] = nn.Identity()
                continue
        before = name


def _foldable(owner: nn.Module | None, norm: _BatchNorm) -> bool:
    if norm.running_mean is None or isinstance(owner, nn.Linear) != isinstance(
        norm, nn.BatchNorm1d
    ):
        return False
    if not isinstance(owner, _FOLDED) or is_parametrized(owner):
        return False
    grouped = isinstance(owner, _TRANSPOSED) and owner.groups > 1  # which the fusion mistakes
    return not (owner._forward_hooks or owner._forward_pre_hooks or grouped)


def _plain(layer: nn.Module) -> nn.Module:
    """A 2D convolution with its spectral norm applied to the weights."""
    if type(layer).__bases__[0] is not nn.Conv2d or not is_parametrized(layer):
        return layer
    # torch's remove_parametrizations would break the original network
    plain = nn.Conv2d(
        layer.in_channels,  # type: ignore[arg-type]
        layer.out_channels,  # type: ignore[arg-type]
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        layer.dilation,  # type: ignore[arg-type]
        layer.groups,  # type: ignore[arg-type]
        padding_mode=layer.padding_mode,  # type: ignore[arg-type]
    )
    plain.weight, plain.bias = nn.Parameter(layer.weight.detach()), layer.bias  # type: ignore[operator,assignment]
    return plain


class ReducedPrecision(nn.Module):
    """A frozen network that computes in bf16, with inputs and outputs in fp32."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = deepcopy(network).bfloat16()

    def forward(self, *inputs: Tensor) -> Tensor:
        """See the network."""
        return self.network(*(tensor.bfloat16() for tensor in inputs)).float()


@torch.no_grad()
def reduce_precision(network: nn.Module, inputs: Tensor) -> nn.Module:
    """The network in bf16, if it can compute in that and gives nearly the same; else itself.

    Args:
        inputs: to try it on.
    """
    reduced = ReducedPrecision(network)
    expected = network(inputs)
    try:
        found = reduced(inputs)
    except (RuntimeError, TypeError):  # an operation without bf16, or one that wants fp32
        return network
    error = (found - expected).square().mean().sqrt()
    size = expected.square().mean().sqrt().clamp(min=1)
    return reduced if bool(error <= _CLOSE * size) else network
