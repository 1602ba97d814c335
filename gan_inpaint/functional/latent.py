"""Latent codes: draw them, and project them onto the feasible set."""

import torch
from torch import Tensor

_EDGE = 1e-4  # relative distance to the limit within which the constraint counts as active


def project(z: Tensor, constraint: str, radius: float) -> Tensor:
    """Project latent codes onto the feasible set.

    Without the projection, |z| grows as the search overfits the known pixels, and the hole gets
    worse.

    Args:
        z: ``(R, nz)``.
        constraint: ``clip`` (each coordinate in [-1, 1], as in Yeh et al., 2017), ``ball`` (|z| at
            most ``radius``·√nz) or ``none``.
        radius: in units of √nz, the typical length of a normal code.

    Example:
        >>> import torch
        >>> project(torch.tensor([[3.0, 4.0]]), "ball", 2.5 / 2**0.5)
        tensor([[1.5000, 2.0000]])
    """
    if constraint == "clip":
        return z.clamp(-1, 1)
    if constraint == "ball":
        limit = radius * z.shape[1] ** 0.5
        return z * (limit / z.norm(dim=1, keepdim=True)).clamp(max=1)
    return z


def constraint_activity(z: Tensor, constraint: str, radius: float) -> Tensor:
    """``(R,)`` in [0, 1]: how active the constraint is.

    For ``clip`` the fraction of coordinates at the limit, for ``ball`` 1 on the sphere, 0 inside.

    Args:
        z, constraint, radius: see ``project``.

    Example:
        >>> import torch
        >>> constraint_activity(torch.tensor([[1.0, 0.5], [0.2, 0.1]]), "clip", 1.0)
        tensor([0.5000, 0.0000])
    """
    if constraint == "clip":
        return (z.abs() >= 1 - _EDGE).float().mean(dim=1)
    if constraint == "ball":
        return (z.norm(dim=1) >= (1 - _EDGE) * radius * z.shape[1] ** 0.5).float()
    return z.new_zeros(len(z))


def draw_latent(count: int, nz: int, latent: str, rng: torch.Generator) -> Tensor:
    """``(count, nz)`` codes from the prior's latent distribution.

    Args:
        latent: ``normal``, N(0, 1), or ``uniform``, U(-1, 1), in each coordinate.
    """
    if latent == "normal":
        return torch.randn(count, nz, generator=rng, device=rng.device, dtype=torch.float32)
    return torch.rand(count, nz, generator=rng, device=rng.device, dtype=torch.float32) * 2 - 1
