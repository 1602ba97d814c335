"""A prior of a pair of networks of one's own that ``train`` has trained."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from gan_inpaint.errors import InputError
from gan_inpaint.priors.adapters import as_prior
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.registry import find_prior
from gan_inpaint.priors.weights import load_into, read_checkpoint, read_safetensors


def trained_pair(path: str | Path, networks: Sequence[nn.Module]) -> Prior:
    """Load the weights of a training run, a checkpoint or a ``.safetensors`` into a pair.

    Args:
        path: of the run or the file.
        networks: a generator and a discriminator as ``model._target_`` made them for the training.

    Raises:
        InputError: the weights do not fit; names the layers.
    """
    file, name = find_prior(str(path))
    weights = read_checkpoint(file) if file.suffix == ".ckpt" else read_safetensors(file)
    if weights.discriminator is None or len(networks) != 2:
        raise InputError(f"{file}: give a generator and a discriminator, as the training had them")
    generator, discriminator = networks
    load_into(generator.float(), weights.generator, file)
    load_into(discriminator.float(), weights.discriminator, file)
    metadata = weights.metadata
    nz = int(metadata["nz"]) if "nz" in metadata else None
    prior = as_prior(generator, nz, None, discriminator, metadata["latent"], name=name)
    prior.loss, prior.metadata, prior.files = metadata["loss"], metadata, (file,)
    return prior
