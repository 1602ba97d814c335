"""Read what a model is trained on: images, their conditions, and some held-out images."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gan_inpaint.cli.command import instantiate_checked
from gan_inpaint.errors import InputError
from gan_inpaint.training.config import TrainConfig

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gan_inpaint.conditioning.encoder import Encoder
    from gan_inpaint.data.loading import Decoded, EncodedConditions, Source

SCORED = 256  # images of each kind by which overfitting is seen


def say(text: str) -> None:
    """Print; of several processes only the first one does."""
    from pytorch_lightning.utilities import rank_zero_only

    rank_zero_only(print)(text)


@dataclass
class TrainingImages:
    """What a model is trained on.

    Attributes:
        source: of the images.
        pixels: uint8 ``(N, C, H, W)``.
        encoder: of their conditions, if the model is conditional.
        conditions: encoded, likewise.
        held_out: some held-out images, by which overfitting is seen; None if there are none.
        held_out_conditions: ``(N, d)``, theirs.
    """

    source: "Source"
    pixels: "np.ndarray"
    encoder: "Encoder | None" = None
    conditions: "EncodedConditions | None" = None
    held_out: "np.ndarray | None" = None
    held_out_conditions: "Tensor | None" = None


def read_images(settings: TrainConfig) -> TrainingImages:
    """The training images, decoded, their conditions, and some held-out images."""
    from gan_inpaint.data.loading import EncodedConditions, decode_cached

    size, channels = settings.model["size"], settings.model["channels"]
    source = instantiate_checked("data", settings.data)(size=size, channels=channels, split="train")
    images = decode_cached(source)
    for problem in images.problems[:20]:
        say(f"skipped: {problem}")
    if images.problems:
        say(f"skipped {len(images.problems)} of {len(source)} images that cannot be read")
    say(f"data: {len(images.names)} images of {source.dataset} as {channels}x{size}x{size}")
    for note in images.notes:
        say(note)
    found = TrainingImages(source, images.pixels)
    if settings.conditioning.encoder:
        encoder = instantiate_checked("conditioning.encoder", settings.conditioning.encoder)
        told = conditions_of(source, images)
        found.encoder = encoder.fit(told)
        found.conditions = EncodedConditions(encoder, told, settings.seed)
        if missing := found.conditions.missing:
            say(f"conditioning: {missing} of {len(told)} images have no condition")
        say(f"conditioning: {encoder.kind}, {encoder.dim} numbers")
    read_held_out(settings, found)
    return found


def conditions_of(source: "Source", images: "Decoded") -> list[Any]:
    """The conditions of decoded images, as the source gives them."""
    index = {name: number for number, name in enumerate(source.names)}
    return [source.condition(index[name]) for name in images.names]


def read_held_out(settings: TrainConfig, images: TrainingImages) -> None:
    """Add some held-out images, if there are any."""
    import numpy as np

    from gan_inpaint.data.images import spaced
    from gan_inpaint.data.loading import decode_cached

    model, encoder = settings.model, images.encoder
    try:
        source = instantiate_checked("data", settings.data)(
            size=model["size"], channels=model["channels"], split="val"
        )
        held_out = decode_cached(source)
        if len(held_out.names) > 1:
            images.held_out = spaced(held_out.pixels, SCORED)
            if encoder:
                told = conditions_of(source, held_out)
                scored = spaced(np.arange(len(told)), SCORED)
                understood = [encoder.understood(told[index]) for index in scored]
                images.held_out_conditions = encoder.encode(understood)
    except InputError:  # the training can do without
        return
