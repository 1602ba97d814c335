"""Captions as averaged word vectors, which also know words outside the training captions."""

from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_inpaint.conditioning.encoder import Encoder
from gan_inpaint.conditioning.text import as_caption, shown_captions, training_captions
from gan_inpaint.errors import InputError


class WordLlama(Encoder):
    """Word vectors of WordLlama, 256 numbers, their mean scaled to length 1.

    The weights ship with its package, of the ``words`` extra: nothing is downloaded. The order of
    the words has no effect.

    Source: Miller, 2024, WordLlama (MIT license).

    Args:
        captions: of ``state``.
    """

    kind = "wordllama"

    def __init__(self, captions: Sequence[str] = ()):
        self._captions = list(captions)

    def fit(self, conditions: Sequence[Any]) -> "WordLlama":
        """See ``Encoder``; there is nothing to learn."""
        self._captions = shown_captions(training_captions(conditions))
        self.encode(self._captions[:1])
        return self

    @property
    def state(self) -> dict[str, Any]:
        """See ``Encoder``."""
        return {"kind": self.kind, "captions": self._captions}

    @property
    def dim(self) -> int:
        """See ``Encoder``."""
        return 256

    @property
    def shown(self) -> list[Any]:
        """See ``Encoder``."""
        return self._captions

    def resolve(self, condition: Any) -> Any:
        """See ``Encoder``."""
        return as_caption(self._own(condition))

    def encode(self, conditions: Sequence[Any]) -> Tensor:
        """See ``Encoder``."""
        captions = [self.resolve(condition) for condition in conditions]
        vectors = torch.zeros(len(captions), self.dim)
        given = [index for index, caption in enumerate(captions) if caption]
        if given:
            found = self._model.embed([captions[index] for index in given], norm=True)
            vectors[given] = torch.from_numpy(found).float().nan_to_num()
        return vectors

    def _vector(self, condition: Any) -> Tensor:
        return self.encode([condition])[0]

    @cached_property
    def _model(self) -> Any:
        try:
            import wordllama
        except ImportError:
            raise InputError(
                "conditioning=wordllama needs an extra: pip install 'gan_inpaint[words]'"
            ) from None
        folder = Path(wordllama.__file__).parent  # the weights are in the package: no download
        with redirect_stdout(StringIO()):
            return wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
