"""Public generators as priors: NVIDIA's StyleGANs, read by their own repository."""

import sys
from importlib import import_module
from pathlib import Path

from torch import Tensor, nn

from gan_inpaint.errors import InputError
from gan_inpaint.priors.adapters import as_prior
from gan_inpaint.priors.prior import Prior


def stylegan(path: str, repository: str, latent_space: str = "w", trust: bool = False) -> Prior:
    """A pickle of StyleGAN2-ADA (PyTorch) or StyleGAN3, such as ``ffhq.pkl``.

    Args:
        path: the ``.pkl`` file.
        repository: a checkout of NVIDIA's stylegan2-ada-pytorch or stylegan3, whose ``legacy`` and
            ``dnnlib`` read it.
        latent_space: ``z``, ``w`` or ``w+``.
        trust: must be true, because loading the pickle runs code that its author has put there.
    """
    if not trust:
        raise InputError(
            f"{path}: a pickle, and loading it runs whatever code its author has put into it; if"
            " you trust its source, set trust=true"
        )
    if not (Path(repository) / "legacy.py").is_file():
        raise InputError(
            f"prior.repository={repository}: holds no legacy.py; name a checkout of NVIDIA's"
            " stylegan2-ada-pytorch or stylegan3"
        )
    if not Path(path).is_file():
        raise InputError(f"prior.path={path}: no such file")
    sys.path.insert(0, str(repository))
    try:
        with Path(path).open("rb") as file:
            networks = import_module("legacy").load_network_pkl(file)
    except Exception as problem:  # whatever the repository raises
        raise InputError(f"{path}: the repository cannot read it ({problem})") from problem
    finally:
        sys.path.remove(str(repository))
    generator = networks["G_ema"].float()
    if getattr(generator, "c_dim", 0):
        raise InputError(f"{path}: a generator with labels, which need a function of your own")
    judge = _WithoutLabels(networks["D"].float()) if networks.get("D") is not None else None
    return as_prior(generator, latent_space=latent_space, discriminator=judge, name=Path(path).stem)


class _WithoutLabels(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images, None)
