"""What a search found."""

from dataclasses import dataclass

from torch import Tensor

from gan_inpaint.inversion.state import RestartState


@dataclass
class Result:
    """What a search found, one entry an image.

    Attributes:
        images: ``(B, C, H, W)`` in [-1, 1]: the known pixels as they were, the hole from G(z).
        generated: ``(B, C, H, W)``, what fills the hole, everywhere: G(z), or with
            ``estimate=mean`` its average over the restarts.
        z: ``(B, nz)``, the winning restart's.
        objective, contextual, perceptual, steps: ``(B,)``, likewise.
        restart: ``(B,)``, the index of the winner.
        stopped_by: B words: ``tolerance``, ``plateau``, ``budget`` or ``failed``.
        alternatives: ``(B, keep, C, H, W)``, filled like ``images``: the best completions that
            differ from each other (see ``restarts.different``); the first is the winner.
        spread: ``(B, 1, H, W)``, standard deviation over the restarts, 0 on known pixels.
        binding: ``(B,)`` in [0, 1], how far the winner is held by the constraint on z.
        rows: every restart, those of one image being neighbours.
        history: how the losses fell: a row every few steps, means over images and restarts.
    """

    images: Tensor
    generated: Tensor
    z: Tensor
    objective: Tensor
    contextual: Tensor
    perceptual: Tensor
    steps: Tensor
    restart: Tensor
    stopped_by: list[str]
    alternatives: Tensor
    spread: Tensor
    binding: Tensor
    rows: RestartState
    history: list[dict[str, float]]
