"""The learned guide of a prior: a network in a file beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from gan_inpaint.errors import InputError
from gan_inpaint.guide.network import GuideNetwork
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.quantize import from_int8, to_int8
from gan_inpaint.runtime.io import atomic_write, file_digest


def save_guide_network(
    prior_file: Path, network: GuideNetwork, gaussian: Path, about: Mapping[str, Any]
) -> Path:
    """Write a learned guide beside its prior, kernels in 8 bits; returns the file.

    Args:
        prior_file: of the prior.
        network: of the guide.
        gaussian: the file with the statistics that its linear estimates came from.
        about: metadata.
    """
    tensors = {}
    for key, value in network.state_dict().items():
        tensors[key] = value.detach().cpu().contiguous()
        if value.ndim > 1:
            tensors[key], tensors[f"{key}.scale"] = to_int8(tensors[key])
    metadata = {key: str(value) for key, value in about.items()} | {
        "gaussian": file_digest(gaussian)
    }
    file = prior_file.with_suffix(".guide.safetensors")
    with atomic_write(file) as temporary:
        temporary.write_bytes(save(tensors, metadata))
    return file


def load_guide_network(prior: Prior) -> GuideNetwork:
    """The learned guide beside a prior, frozen, in fp32 on the CPU.

    Raises:
        InputError: there is none, or it does not fit.
    """
    file, gaussian = prior.companion("guide"), prior.companion("gaussian")
    if file is None:
        raise InputError(
            f"guide=network: the prior {prior.name} has no learned guide; train one with"
            " python -m gan_inpaint.train_guide, or set guide=auto"
        )
    try:
        with safe_open(file, framework="pt") as content:
            metadata = content.metadata() or {}
            tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as problem:
        raise InputError(f"{file}: damaged ({problem}); set guide=data") from None
    if gaussian is None or metadata.get("gaussian") != file_digest(gaussian):
        raise InputError(
            f"{file}: was trained with other statistics than those beside the prior; train it"
            " again with python -m gan_inpaint.train_guide, or set guide=data"
        )
    for key in [key for key in tensors if key.endswith(".scale")]:
        kernel = key.removesuffix(".scale")
        if kernel in tensors:
            tensors[kernel] = from_int8(tensors[kernel], tensors.pop(key))
    with torch.random.fork_rng(devices=[]):
        network = GuideNetwork(min(prior.size, 64), prior.channels)
    try:
        network.load_state_dict(tensors)
    except RuntimeError:
        raise InputError(f"{file}: does not fit the prior {prior.name}; set guide=data") from None
    return network.eval().requires_grad_(False)
