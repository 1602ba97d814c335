"""Read DCGAN weights in the format of PyTorch's tutorial, or close to it.

Source: N. Inkawhich, "DCGAN tutorial", pytorch.org.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise, permutations
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gan_inpaint.data.formats import is_lfs_pointer
from gan_inpaint.errors import InputError
from gan_inpaint.models.dcgan import WIDEST
from gan_inpaint.priors.weights import State, Weights, check_numbers, unpickled

SUFFIXES = (".pth", ".pt", ".tar", ".pkl", ".bin", ".th")
_EPSILON = 1e-5  # of BatchNorm
_KERNEL = re.compile(  # what a layer's weight is called, plain or reparametrised
    r"(?P<layer>.*?)\.?(weight|weight_orig|weight_v|parametrizations\.weight\.original1?)"
)
_IGNORED = ("num_batches_tracked", "weight_u", "weight_v", "weight_g", "._u", "._v", "original0")
_NORM = ("weight", "bias", "running_mean", "running_var")
_FORM = (
    "prior= takes transposed convolutions: the first makes a square, the others, of even kernels,"
    " double it; for any other, prior={_target_: my_module.function_that_returns_the_generator}"
)


@dataclass
class _Layer:
    """A convolution and the BatchNorm after it, if there is one.

    Attributes:
        name: of the kernel in the file.
        norm: ``weight``, ``bias``, ``running_mean`` and ``running_var``, or empty.
    """

    name: str
    kernel: Tensor
    bias: Tensor | None
    norm: dict[str, Tensor]


def read_tutorial(generator: Path, discriminator: Path | None) -> Weights:
    """``netG.pth`` and ``netD.pth``: nz, ngf, ndf, size and channels are what the shapes imply.

    State dicts of any prefix, plain or with spectral or weight norm, with or without biases and
    BatchNorm, pickled by torch or as safetensors.

    Raises:
        InputError: names the file, and the layer that cannot be taken.
    """
    found = _states(generator)
    of_both = None if discriminator else _generator_and_discriminator(found)
    state, judge = of_both or (_only(found, generator), None)
    judge = _only(_states(discriminator), discriminator) if discriminator else judge
    layers = _layers(state, generator, outputs=1)
    judges = _layers(judge, discriminator or generator, outputs=0) if judge else []
    kernels = [layer.kernel.shape[2] for layer in layers]
    size = kernels[0] * 2 ** (len(layers) - 1)
    if size < 16:
        raise InputError(f"{generator}: it makes images of {size}x{size} pixels; {_FORM}")
    metadata: dict[str, Any] = {
        "size": size,
        "channels": layers[-1].kernel.shape[1],
        "nz": layers[0].kernel.shape[0],
        "ngf": layers[-1].kernel.shape[0],
        "ndf": judges[0].kernel.shape[0] if judges else layers[-1].kernel.shape[0],
        "discriminator_norm": "batch" if any(layer.norm for layer in judges) else "none",
        "latent": "normal",
        "loss": "bce",
        "dataset": "unknown",
        "license": "unknown",
    }
    widths = [layer.kernel.shape[1] for layer in layers[:-1]]
    if any(side != 4 for side in kernels) or widths != _usual_widths(widths):
        metadata["kernels"] = " ".join(map(str, kernels))
        metadata["widths"] = " ".join(map(str, widths))
    state, names = _as_generator(layers)
    d_state, d_names = _as_discriminator(judges) if judges else (None, {})
    return Weights(state, d_state, {k: str(v) for k, v in metadata.items()}, names, d_names)


def _usual_widths(widths: Sequence[int]) -> list[int]:
    """Those of a DCGAN that ends with the same one."""
    return [widths[-1] * min(2**level, WIDEST) for level in reversed(range(len(widths)))]


def _as_generator(layers: Sequence[_Layer]) -> tuple[State, dict[str, str]]:
    """Tensors under the names of ``networks.Generator``, and the names they had."""
    state, names = State(), {}
    for index, layer in enumerate(layers):
        name = f"main.{3 * index}"
        if index == len(layers) - 1:
            layer = _folded(layer, axis=1)
            if layer.bias is not None:
                state[f"{name}.bias"] = layer.bias
        else:
            state |= _batch_norm(layer, f"main.{3 * index + 1}", layer.kernel.shape[1])
        state[f"{name}.weight"] = layer.kernel
        names[f"{name}.weight"] = layer.name
    return state, names


def _as_discriminator(layers: Sequence[_Layer]) -> tuple[State, dict[str, str]]:
    """Likewise of ``networks.Discriminator``, which has BatchNorm everywhere inside or nowhere."""
    state, names = State(), {}
    batch = any(layer.norm for layer in layers)
    for index, layer in enumerate(layers):
        name, inside = f"main.{max(3 * index - 1, 0)}", 0 < index < len(layers) - 1
        if inside and batch:
            state |= _batch_norm(layer, f"main.{3 * index}", layer.kernel.shape[0])
        else:
            layer = _folded(layer, axis=0)
            bias = layer.bias
            if bias is None and not batch:
                bias = layer.kernel.new_zeros(layer.kernel.shape[0])
            if bias is not None:
                state[f"{name}.bias"] = bias
        state[f"{name}.weight"] = layer.kernel
        names[f"{name}.weight"] = layer.name
    return state, names


def _batch_norm(layer: _Layer, name: str, width: int) -> State:
    """The BatchNorm after a layer, with the layer's bias in it; one that does nothing if none."""
    bias = 0.0 if layer.bias is None else layer.bias.float()
    if layer.norm:
        norm = layer.norm | {"running_mean": layer.norm["running_mean"].float() - bias}
    else:
        ones, zeros = torch.ones(width), torch.zeros(width)
        norm = {"weight": ones, "bias": zeros + bias, "running_mean": zeros}
        norm["running_var"] = ones - _EPSILON
    return {f"{name}.{key}": value for key, value in norm.items()}


def _folded(layer: _Layer, axis: int) -> _Layer:
    """A layer without its BatchNorm: as a scale of its kernel and a bias.

    Args:
        axis: of the kernel's outputs.
    """
    if not layer.norm:
        return layer
    norm = {key: value.float() for key, value in layer.norm.items()}
    scale = norm["weight"] / (norm["running_var"] + _EPSILON).sqrt()
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    before = 0.0 if layer.bias is None else layer.bias.float()
    bias = (before - norm["running_mean"]) * scale + norm["bias"]
    return _Layer(layer.name, layer.kernel.float() * scale.view(shape), bias, {})


def _states(path: Path) -> dict[str, State]:
    """The state dicts with convolutions in a file, by name."""
    try:
        return dict(_networks(_content(path), ""))
    except RecursionError:
        raise InputError(f"{path}: nested endlessly; save network.state_dict()") from None


def _generator_and_discriminator(found: Mapping[str, State]) -> tuple[State, State] | None:
    """Both, if a file holds exactly these two: by what follows what in their convolutions."""
    if len(found) != 2:
        return None
    for one, other in permutations(found.values()):
        shapes = [
            [tensor.shape for key, tensor in state.items() if _is_kernel(state, key)]
            for state in (one, other)
        ]
        first = all(a[1] == b[0] for a, b in pairwise(shapes[0])) and shapes[0][-1][1] in (1, 3)
        second = all(a[0] == b[1] for a, b in pairwise(shapes[1])) and shapes[1][-1][0] == 1
        if first and second and shapes[1][0][1] == shapes[0][-1][1]:
            return one, other
    return None


def _only(found: Mapping[str, State], path: Path) -> State:
    if len(found) != 1:
        names = f" ({', '.join(found)})" if all(found) and found else ""
        lost = path.suffix == ".safetensors"
        raise InputError(
            f"{path}: holds {len(found)} state dicts with convolutions{names}, not one; save each"
            f" network's state_dict() in its own file{'' if found else f'; {_FORM}'}"
            + (", as .pth: a .safetensors file does not keep the order of layers" if lost else "")
        )
    return next(iter(found.values()))


def _layers(state: State, path: Path, outputs: int) -> list[_Layer]:
    """The convolutions of a network, in order.

    Args:
        path: of its file, for messages.
        outputs: the kernels' axis of what they make: 1 of transposed convolutions, else 0.
    """
    state = {key: value for key, value in state.items() if value.ndim}  # without counters
    for key, tensor in state.items():
        check_numbers(tensor, f"{path}: {key}")
    kernels = {key: match["layer"] for key in state if (match := _is_kernel(state, key))}
    biases = {_joined(layer, "bias") for layer in kernels.values()}
    layers: list[_Layer] = []
    norms: dict[str, tuple[int, dict[str, Tensor]]] = {}  # by name: the layer before, the vectors
    for key, tensor in state.items():
        owner, _, part = key.rpartition(".")
        if key in kernels:
            name = _joined(kernels[key], "weight")
            kernel = _kernel(state, kernels[key], tensor, outputs, f"{path}: {name}")
            bias = state.get(_joined(kernels[key], "bias"))
            if bias is not None and bias.shape != kernel.shape[outputs : outputs + 1]:
                raise InputError(f"{path}: {name} is {_shape(kernel)}, its bias {_shape(bias)}")
            layers.append(_Layer(name, kernel, bias, {}))
        elif key in biases or key.endswith(_IGNORED):
            continue
        elif tensor.ndim == 1 and part in _NORM:
            norms.setdefault(owner, (len(layers) - 1, {}))[1][part] = tensor
        else:
            raise InputError(f"{path}: {key} is {_shape(tensor)}: no such layer here; {_FORM}")
    (_check_generator if outputs else _check_discriminator)(layers, path)
    for name, (_, vectors) in norms.items():
        _check_norm(vectors, f"{path}: {name}")
    widths = [len(vectors["weight"]) for _, vectors in norms.values()]
    places = [place for place, _ in norms.values()]
    if len(set(places)) < len(places) or -1 in places:  # all convolutions come first, or last
        places = _by_width(widths, layers, outputs)
    fit = [
        layers[place].kernel.shape[outputs] == width
        for place, width in zip(places, widths, strict=False)
    ]
    if len(fit) < len(norms) or not all(fit):
        raise InputError(f"{path}: cannot tell which layers {', '.join(norms)} follow; {_FORM}")
    for (_, vectors), place in zip(norms.values(), places, strict=True):
        layers[place].norm |= vectors
    return layers


def _check_generator(layers: Sequence[_Layer], path: Path) -> None:
    channels = layers[-1].kernel.shape[1]
    if channels not in (1, 3):
        raise InputError(
            f"{path}: its last layer makes {channels} channels, not 1 or 3; prior= takes the"
            " generator, discriminator= the discriminator"
        )
    for number, layer in enumerate(layers):
        height, width = layer.kernel.shape[2:]
        if height != width or (number and height % 2):
            raise InputError(f"{path}: {layer.name} is {_shape(layer.kernel)}; {_FORM}")
    for one, other in pairwise(layers):
        if one.kernel.shape[1] != other.kernel.shape[0]:
            raise InputError(
                f"{path}: {other.name} is {_shape(other.kernel)} after {one.name},"
                f" {_shape(one.kernel)}; {_FORM}"
            )


def _check_discriminator(layers: Sequence[_Layer], path: Path) -> None:
    for one, other in pairwise(layers):
        if one.kernel.shape[0] != other.kernel.shape[1]:
            raise InputError(
                f"{path}: {other.name} is {_shape(other.kernel)} after {one.name},"
                f" {_shape(one.kernel)}: no discriminator; prior= takes the generator"
            )


def _check_norm(norm: Mapping[str, Tensor], what: str) -> None:
    if set(norm) != set(_NORM) or len({len(value) for value in norm.values()}) > 1:
        raise InputError(
            f"{what} is not a BatchNorm with statistics ({', '.join(norm)}); other normalisations"
            " are not supported"
        )
    if bool((norm["running_var"] < 0).any()):
        raise InputError(f"{what}.running_var has negative values: the file is damaged")


def _by_width(widths: Sequence[int], layers: Sequence[_Layer], outputs: int) -> list[int]:
    """The layers that BatchNorms of these widths follow, in order; fewer if that cannot be."""
    places: list[int] = []
    for width in widths:
        rest = range(places[-1] + 1 if places else 0, len(layers))
        place = next((i for i in rest if layers[i].kernel.shape[outputs] == width), None)
        if place is None:
            break
        places.append(place)
    return places


def _is_kernel(state: State, key: str) -> re.Match[str] | None:
    match = _KERNEL.fullmatch(key) if state[key].ndim == 4 else None
    # old versions of torch keep the weight beside what it is made from
    made = match and match[2] == "weight" and _joined(match["layer"], "weight_orig") in state
    return None if made else match


def _joined(layer: str, part: str) -> str:
    return f"{layer}.{part}" if layer else part


def _kernel(state: State, layer: str, tensor: Tensor, outputs: int, what: str) -> Tensor:
    """A layer's effective kernel, with spectral or weight norm applied.

    Args:
        outputs: the axis whose slices a spectral norm takes for rows.
    """

    def part(*names: str) -> Tensor | None:
        keys = (_joined(layer, name) for name in names)
        return next((state[key].float() for key in keys if key in state), None)

    length = part("weight_g", "parametrizations.weight.original0")
    left = part("weight_u", "parametrizations.weight.0._u")
    right = part("weight_v", "parametrizations.weight.0._v")
    kernel = tensor
    try:
        if length is not None:
            others = [axis for axis in range(4) if length.shape[axis] == 1]
            kernel = tensor.float() * length / tensor.float().square().sum(others, True).sqrt()
        elif left is not None:
            matrix = tensor.float().movedim(outputs, 0).flatten(1)
            if right is None:  # old versions of torch do not keep it
                right = torch.nn.functional.normalize(left @ matrix, dim=0)
            kernel = tensor.float() / (left @ (matrix @ right))
    except (RuntimeError, IndexError):
        raise InputError(f"{what}: its spectral or weight norm has other sizes") from None
    check_numbers(kernel, what)
    return kernel


def _content(path: Path) -> object:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as file:
        if is_lfs_pointer(file.read(64)):
            raise InputError(
                f"{path}: a Git LFS pointer, not the weights themselves; run git lfs pull"
            )
    if path.suffix == ".safetensors":
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as problem:
            raise InputError(f"{path}: not a readable .safetensors file ({problem})") from None
        return {key: tensors[key] for key in sorted(tensors, key=_natural)}  # it keeps no order
    try:
        return unpickled(path)
    except Exception:  # torch's own message advises unsafe loading: do not show it
        raise InputError(
            f"{path}: damaged, or it holds more than weights; save only network.state_dict()"
        ) from None


def _natural(key: str) -> list[tuple[int, int, str]]:
    """Sorts ``main.3`` before ``main.12``, and ``l2`` before ``l10``."""
    parts = re.split(r"(\d+)", key)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]


def _networks(content: object, name: str) -> Iterator[tuple[str, State]]:
    """The state dicts with convolutions, wherever they lie, and their names."""
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    if not isinstance(content, Mapping):
        return
    # without gradients: a state_dict(keep_vars=True) holds parameters
    tensors = {str(k): v.detach() for k, v in content.items() if isinstance(v, Tensor)}
    if any(_is_kernel(tensors, key) for key in tensors):
        yield from _separated(tensors, name)
    for key, value in content.items():
        if isinstance(value, Mapping | list | tuple):
            yield from _networks(value, f"{name}.{key}".removeprefix("."))


def _separated(tensors: State, name: str) -> Iterator[tuple[str, State]]:
    """A state dict as it is if its convolutions follow one another, else by network.

    Networks in one state dict differ in whole components of their names: ``netG.main.0.weight``.
    """
    groups = groupby(tensors.items(), lambda item: item[0].partition(".")[0])
    parts = {key: dict(items) for key, items in groups}
    parts = {k: p for k, p in parts.items() if any(_is_kernel(p, key) for key in p)}
    if not _follow(tensors) and len(parts) > 1 and all(map(_follow, parts.values())):
        yield from ((f"{name}.{key}".removeprefix("."), part) for key, part in parts.items())
    else:
        yield name, tensors


def _follow(tensors: State) -> bool:
    """Whether each convolution takes what the one before makes, transposed ones or plain ones."""
    shapes = [tensor.shape for key, tensor in tensors.items() if _is_kernel(tensors, key)]
    return all(one[1] == other[0] for one, other in pairwise(shapes)) or all(
        one[0] == other[1] for one, other in pairwise(shapes)
    )


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"
