"""Find a prior by its name or path, and load it."""

from pathlib import Path

import torch

from gan_inpaint.errors import InputError
from gan_inpaint.priors import hub
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.tutorial_weights import SUFFIXES as TUTORIAL

BUNDLED = Path(__file__).parent
TRAINED = ("outputs/train", "multirun/train")  # folders of training runs


def load_prior(
    source: str | Path, discriminator: str | Path | None = None, latent: str | None = None
) -> Prior:
    """Load a prior and freeze it.

    Args:
        source: a bundled name (``digits``, ``faces``, ``faces_small``, ``captions``,
            ``face_attributes``), a training run's directory, a checkpoint (``.ckpt``), a
            ``.safetensors`` file, a ``netG.pth`` of the PyTorch DCGAN tutorial,
            ``hf-hub:org/name[@revision]`` of the Hugging Face Hub, or ``latest``: the newest prior
            under ``outputs/train`` and ``multirun/train``, else the bundled digits.
        discriminator: the ``netD.pth`` that belongs to a ``netG.pth``; without it, only a search
            with ``lam=0`` is possible.
        latent: distribution of the codes of a ``netG.pth``, whose file does not say it: ``normal``
            or ``uniform``; ``normal`` by default.

    Raises:
        InputError: the prior does not exist or cannot be read (a ValueError).
    """
    if not isinstance(source, str | Path):
        raise InputError(
            f"prior={type(source).__name__}: give a prior from load_prior, its name or its path; of"
            " a module, as_prior makes one"
        )
    with torch.inference_mode(False):  # inference tensors could not be differentiated later
        path, name = find_prior(str(source))
        return Prior.from_file(path, name, discriminator, latent)


def find_prior(source: str) -> tuple[Path, str]:
    """The file of a prior, and a short description of it."""
    if source.startswith(hub.PREFIX):
        return hub.fetch(source), source
    path = Path(source)
    try:
        there = path.is_file()
    except OSError as problem:  # a name that the system does not allow
        raise InputError(f"prior={source[:80]}: {problem.strerror}; check the path") from None
    if source == "latest":
        trained = sorted(
            (p for d in TRAINED for p in Path(d).glob("**/prior.safetensors")),
            key=lambda p: p.stat().st_mtime,
        )
        if trained:
            return trained[-1], str(trained[-1].parent)
        source = "digits"
    bundled = BUNDLED / f"{source}.safetensors"
    if "/" not in source and bundled.is_file():
        return bundled, f"{source} (bundled)"
    if there:
        if path.suffix in (".ckpt", ".safetensors", *TUTORIAL):
            return path, source
        raise InputError(
            f"prior={source}: a prior is a .safetensors, .ckpt or netG.pth file, or a run"
        )
    for inside in ("prior.safetensors", "checkpoints/last.ckpt", hub.WEIGHTS):
        if (path / inside).is_file():
            return path / inside, source
    names = ", ".join(sorted(p.stem for p in BUNDLED.glob("*.safetensors") if "." not in p.stem))
    if path.is_dir():
        raise InputError(
            f"prior={source}: the folder holds neither prior.safetensors nor checkpoints/last.ckpt;"
            " name a training run"
        )
    on_hub = f", or write {hub.PREFIX}{source}" if source.count("/") == 1 else ""
    raise InputError(
        f"prior={source}: no such file, training run or bundled prior ({names}, or latest);"
        f" train one with python -m gan_inpaint.train +experiment=dcgan{on_hub}"
    )
