"""Detect diverged or collapsed GAN training."""

from collections.abc import Mapping, Sequence
from itertools import takewhile

from torch import nn

from gan_inpaint.errors import InputError

_ALIKE = 0.05  # diversity below which all samples count as the same image
_EPOCHS = 3  # in a row
STEPS = 500  # G steps and minibatches: the first samples of every training are alike


class Unhealthy(InputError):
    """The training diverged or collapsed and needs other settings."""


def check_finite(module: nn.Module, step: int) -> None:
    """Raise if a weight or a statistic is not finite.

    Args:
        step: number of minibatches, for the message.
    """
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            network = name.partition(".")[0]
            raise Unhealthy(
                f"the training diverged: the {network} is not finite after minibatch {step};"
                " start again with a lower optimizer.discriminator.lr and optimizer.generator.lr"
            )


def check_diverse(rows: Sequence[Mapping[str, float]]) -> None:
    """Raise if the generator has produced nearly the same image for all codes for several epochs.

    Args:
        rows: of metrics.csv; ``diversity`` is that of samples divided by that of training images.
    """
    known = [row for row in rows if "diversity" in row]
    alike = list(takewhile(lambda row: row["diversity"] < _ALIKE, reversed(known)))
    if len(alike) >= _EPOCHS and alike[0]["step"] - alike[-1]["step"] >= STEPS:
        raise Unhealthy(
            f"the training collapsed: for {len(alike)} epochs all samples have been nearly the same"
            f" (diversity {alike[0]['diversity']:.2g}; 1 is that of the training images);"
            " start again with a lower optimizer.discriminator.lr and optimizer.generator.lr"
        )
