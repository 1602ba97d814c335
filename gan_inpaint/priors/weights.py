"""Read the weights of a trained pair from a .safetensors file or a checkpoint."""

import io
import json
import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gan_inpaint.errors import InputError

CONDITIONS = "conditions"  # the tensor's name
_PICKLES = 5  # at the start of a file in torch's old format, before the numbers
State = dict[str, Tensor]


@dataclass
class Weights:
    """Both networks' state dicts, that of the discriminator if there is one, and the metadata."""

    generator: State
    discriminator: State | None
    metadata: dict[str, str]
    generator_names: Mapping[str, str] = field(default_factory=dict)  # in the file, where other
    discriminator_names: Mapping[str, str] = field(default_factory=dict)
    conditions: Tensor | None = None  # of some training images, encoded, of a conditional prior


def read_safetensors(path: Path) -> Weights:
    """A ``prior.safetensors``."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as problem:
        raise InputError(f"{path}: not a readable .safetensors file ({problem})") from None
    own = _part(tensors, "generator."), _part(tensors, "discriminator.")
    return Weights(*own, metadata, conditions=tensors.get(CONDITIONS))


def unpickled(path: Path) -> Any:
    """Load a file of ``torch.save`` that holds only tensors and plain values.

    Raises:
        Exception: of any kind, if it is damaged, compressed, or holds anything else.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED:
                    raise ValueError("compressed")
                if member.filename.endswith("data.pkl"):
                    _check_pickle(io.BytesIO(archive.read(member)), 1)
    else:
        with path.open("rb") as file:
            _check_pickle(file, _PICKLES)
    return torch.load(path, map_location="cpu", weights_only=True)


def _check_pickle(file: BinaryIO, count: int) -> None:
    """Refuse ``bytearray``, which torch allows: a few bytes could request gigabytes."""
    for _ in range(count):
        for _, argument, _ in pickletools.genops(file):
            if "bytearray" in str(argument):
                raise ValueError("a bytearray is not a tensor")


def read_checkpoint(path: Path) -> Weights:
    """A checkpoint of a training run; the generator is the averaged one."""
    try:
        content = unpickled(path)
        state, hparams = dict(content["state_dict"]), content["hyper_parameters"]
        metadata = prior_metadata(hparams, content["epoch"] + 1, content["images_seen"])
    except Exception:  # damaged zips and pickles raise many kinds; torch's own advice is unsafe
        raise InputError(f"{path}: damaged, or not a checkpoint of a training run") from None
    own = _part(state, "average.module."), _part(state, "discriminator.")
    return Weights(*own, metadata, conditions=state.get(CONDITIONS))


def prior_metadata(hparams: Mapping[str, Any], epoch: int, images_seen: int) -> dict[str, str]:
    """The metadata of a prior, from a module's hyperparameters and progress."""
    metadata: dict[str, Any] = {"format": "gan_inpaint prior 1", **(hparams["about"] or {})}
    metadata |= {"latent": hparams["latent"], "loss": hparams["loss"]}
    metadata |= {"epoch": epoch, "images_seen": images_seen}
    if conditioning := hparams.get("conditioning"):
        metadata["conditioning"] = json.dumps(conditioning)
    return {key: str(value) for key, value in metadata.items()}


def load_into(
    network: nn.Module, state: State, path: Path, names: Mapping[str, str] | None = None
) -> nn.Module:
    """Load the tensors of ``state`` into ``network``; an InputError names layers that do not fit.

    Args:
        network: may be on the meta device, so that a file's claims allocate no memory.
        names: the names of tensors in the file, where they differ.
    """
    _add_biases(network, state)
    names = names or {}
    expected = {k: tuple(v.shape) for k, v in network.state_dict().items() if _is_weight(k)}
    given = {k: tuple(v.shape) for k, v in state.items() if _is_weight(k)}
    wrong = [k for k in dict.fromkeys([*expected, *given]) if given.get(k) != expected.get(k)]
    # the sizes of vectors follow from the kernels
    kernels = [k for k in wrong if len(given.get(k) or expected[k]) == 4]
    differences = [
        f"{names.get(key, key)} is {_shape(given.get(key))}, expected {_shape(expected.get(key))}"
        for key in kernels or wrong
    ]
    if differences:
        kind = type(network).__name__.lower()
        raise InputError(f"{path}: the weights do not fit the {kind}: {'; '.join(differences)}")
    for key in expected:
        check_numbers(state[key], f"{path}: {names.get(key, key)}")
    network.load_state_dict(state, strict=False, assign=True)
    return network


def _add_biases(network: nn.Module, state: State) -> None:
    """Give convolutions a bias where the file has one and our network does not."""
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) or layer.bias is not None:
            continue
        bias = state.get(f"{name}.bias")
        if bias is not None and bias.shape == (layer.out_channels,):
            layer.bias = nn.Parameter(torch.empty(layer.out_channels, device="meta"))


def check_numbers(tensor: Tensor, what: str) -> None:
    """Refuse a tensor that is not a plain, complete array of finite floating-point numbers.

    Args:
        what: what messages call it.
    """
    if not (tensor.layout == torch.strided and tensor.is_floating_point()):
        raise InputError(f"{what} is not a plain floating-point tensor; save weights only")
    if tensor.untyped_storage().nbytes() < tensor.nbytes:  # a few numbers that claim to be many
        raise InputError(f"{what} claims more numbers than the file holds; save the file again")
    if not bool(tensor.isfinite().all()):
        raise InputError(f"{what} holds numbers that are not finite; train the network again")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"({', '.join(map(str, shape))})"


def _is_weight(key: str) -> bool:
    return not key.endswith("num_batches_tracked")  # missing in old files, and not used


def _part(tensors: Mapping[str, Tensor], prefix: str) -> State:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
