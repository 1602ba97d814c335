"""The latent space of a prior: how codes are drawn, and which ones are feasible."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gan_inpaint.functional.latent import draw_latent, project
from gan_inpaint.runtime.seeding import torch_rng

_STATISTICS = 10_000  # mapped codes, as in Karras et al., CVPR 2020
_CHUNK = 500
_FLOOR = 1e-4  # of the largest variance: directions with less are not enlarged further


class LatentSpace(nn.Module):
    """Codes whose coordinates are independent: the input of most generators.

    Everywhere in this package a code is a flat vector of ``dim`` numbers, whatever the generator
    takes; ``shape`` is the form in which it takes them.

    Args:
        distribution: of each coordinate: ``normal``, N(0, 1), or ``uniform``, U(-1, 1).
        shape: of one code, as the generator takes it.

    Attributes:
        dim: the number of coordinates.
        typical_norm: the root mean square of a code's length.
        constraint: the feasible set of a search: ``ball`` or ``clip``, see
            ``functional.latent.project``.
    """

    def __init__(self, distribution: str, shape: tuple[int, ...]):
        super().__init__()
        self.distribution, self.shape, self.dim = distribution, shape, math.prod(shape)
        self.constraint = {"normal": "ball", "uniform": "clip"}[distribution]
        self.typical_norm = (self.dim / (1 if distribution == "normal" else 3)) ** 0.5

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """``(count, dim)`` codes from the prior's distribution, on the generator's device."""
        return draw_latent(count, self.dim, self.distribution, rng)

    def project(self, z: Tensor, radius: float) -> Tensor:
        """The nearest feasible codes; both ``(R, dim)``.

        Args:
            radius: of the ball, in units of the typical norm; ``clip`` ignores it.
        """
        return project(z, self.constraint, radius)


class MappedSpace(LatentSpace):
    """The space W of a style-based generator, or W+ with a code for each layer, whitened.

    A mapping network turns normal codes into styles w. Here a code is ``u = L⁻¹ (w − w̄)``, with the
    mean w̄ and the covariance L Lᵀ of 10,000 mapped codes. So coordinates are uncorrelated with
    variance 1, 0 is the mean style, and the ball, the radius and ``z_penalty`` mean what they mean
    for normal codes: the Mahalanobis distance from the mean style.

    Sources: Karras et al., CVPR 2020, "Analyzing and improving the image quality of StyleGAN",
    appendix D (the statistics); Wulff and Torralba, 2020, "Improving inversion and generation
    diversity in StyleGAN using a gaussianized latent space"; Abdal et al., ICCV 2019 (W+).

    Args:
        mapping: ``(B, nz)`` -> ``(B, D)`` styles, frozen.
        nz: length of a code of the mapping network.
        layers: None for W; the number of layers for W+, whose samples have equal styles.
        device: of the mapping network.
    """

    mean: Tensor
    scaling: Tensor
    whitening: Tensor

    def __init__(
        self,
        mapping: Callable[[Tensor], Tensor],
        nz: int,
        layers: int | None = None,
        device: torch.device | None = None,
    ):
        rng = torch_rng("mapped")
        with torch.no_grad():
            codes = torch.randn(_STATISTICS, nz, generator=rng)
            styles = torch.cat([mapping(part.to(device)) for part in codes.split(_CHUNK)])
        width = styles.shape[1]
        super().__init__("normal", (width,) if layers is None else (layers, width))
        self._nz, self._layers = nz, layers
        self.mapping = mapping
        mean = styles.double().mean(dim=0)
        variances, axes = torch.linalg.eigh(torch.cov(styles.double().T))
        spread = variances.clamp(min=float(variances[-1]) * _FLOOR).sqrt()
        self.register_buffer("mean", mean.float())
        self.register_buffer("scaling", (axes * spread).T.float())  # u @ scaling + mean = w
        self.register_buffer("whitening", (axes / spread).float())

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """See ``LatentSpace``; the codes of mapped normal ones."""
        drawn = torch.randn(count, self._nz, generator=rng, device=rng.device).to(self.mean.device)
        with torch.no_grad():
            styles = torch.cat([self.mapping(part) for part in drawn.split(_CHUNK)])
        codes = (styles - self.mean) @ self.whitening
        return codes.repeat(1, self._layers or 1).to(rng.device)

    def styles(self, z: Tensor) -> Tensor:
        """``(B, dim)`` codes -> styles, ``(B, D)`` or ``(B, layers, D)``."""
        return z.unflatten(1, self.shape) @ self.scaling + self.mean
