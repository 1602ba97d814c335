"""Encoders in files: make one again from what it has learned."""

from typing import Any

from gan_inpaint.conditioning.attributes import Attributes
from gan_inpaint.conditioning.encoder import Encoder
from gan_inpaint.conditioning.label import Label
from gan_inpaint.conditioning.text import Text
from gan_inpaint.conditioning.wordllama import WordLlama
from gan_inpaint.errors import InputError


def make_encoder(state: Any) -> Encoder:
    """An encoder with the ``state`` of another one.

    Raises:
        InputError: it is not the state of an encoder.
    """
    kinds = {kind.kind: kind for kind in (Label, Attributes, Text, WordLlama)}
    try:
        options = {key: value for key, value in state.items() if key != "kind"}
        made: Encoder = kinds[state["kind"]](**options)
        if not made.encode(made.shown).shape[1]:
            raise ValueError
    except InputError:
        raise
    except Exception:  # other people's files hold anything
        raise InputError("its conditioning is damaged, or of a newer version") from None
    return made
