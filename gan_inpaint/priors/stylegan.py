"""The parts of a style-based generator, as modules of one argument each."""

from typing import Any

from torch import Tensor, nn

from gan_inpaint.priors.latent_space import MappedSpace


class MappingNetwork(nn.Module):
    """StyleGAN's mapping network without labels; its styles are the same for all layers."""

    def __init__(self, network: Any):
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> Tensor:
        """``(B, nz)`` -> ``(B, D)``."""
        styles = self.network(z, None)
        return styles[:, 0] if styles.ndim == 3 else styles


class SynthesisNetwork(nn.Module):
    """StyleGAN's synthesis network with constant noise, of one style or of one for each layer."""

    def __init__(self, network: Any, layers: int | None):
        super().__init__()
        self.network, self._layers = network, layers

    def forward(self, styles: Tensor) -> Tensor:
        """``(B, D)`` or ``(B, layers, D)`` -> images."""
        if styles.ndim == 2 and self._layers:
            styles = styles[:, None].expand(-1, self._layers, -1)
        try:
            return self.network(styles, noise_mode="const")
        except TypeError:  # a network of somebody else's
            return self.network(styles)


class Styles(nn.Module):
    """Whitened codes -> styles."""

    def __init__(self, space: MappedSpace):
        super().__init__()
        self.space = space

    def forward(self, z: Tensor) -> Tensor:
        """``(B, ...)`` codes of the space -> its styles."""
        return self.space.styles(z.flatten(1))
