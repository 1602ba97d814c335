"""The conditions of a job's images: those of the data, one for all, or every class."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gan_inpaint.data.datasets import Folder
from gan_inpaint.data.loading import Source
from gan_inpaint.inversion.pipeline import encode_conditions
from gan_inpaint.priors.prior import Prior


class JobConditions:
    """What a job's images show, as a conditional prior takes it.

    Args:
        prior: conditional.
        source: of the images.
        asked: ``data``: each image's own; ``none``: nothing is known; ``all``: every class is tried
            for each image; else a label, attributes or a caption for all images.

    Raises:
        InputError: the prior does not know the condition, or has no classes.
    """

    def __init__(self, prior: Prior, source: Source, asked: Any):
        assert prior.encoder is not None
        self._encoder, self._source, self._asked = prior.encoder, source, asked
        self.classes = list(self._encoder.classes or ()) if asked == "all" else []
        self._shared = None if asked == "data" else encode_conditions(prior, _value(asked), 1)

    @property
    def groups(self) -> int:
        """Number of conditions that are tried for each image."""
        return max(1, len(self.classes))

    def vectors(self, indices: Sequence[int]) -> Tensor | None:
        """``(B, n, d)`` for images of the source; None: nothing is known."""
        if self._asked != "data":
            return None if self._shared is None else self._shared.expand(len(indices), -1, -1)
        told = [self._encoder.understood(self._source.condition(index)) for index in indices]
        return self._encoder.encode(told)[:, None] if told else torch.zeros(0, 1, self._encoder.dim)

    def words(self, index: int) -> str:
        """An image's condition as tables show it; of ``all``, the search finds it."""
        asked = self._source.condition(index) if self._asked == "data" else _value(self._asked)
        return self._encoder.words(asked)

    def describe(self, indices: Sequence[int]) -> list[str]:
        """Sentences on the conditions of these images, for the terminal."""
        if self._asked == "all":
            return [f"condition: each of {', '.join(self.classes)}; the best fit is kept"]
        if self._asked != "data":
            asked = _value(self._asked)
            note = None if asked is None else self._encoder.note(asked)
            return [f"condition: {self._encoder.words(asked)}", *([note] if note else [])]
        words = [self.words(index) for index in indices]
        missing = words.count("none")
        if missing == len(words):
            sentence = "condition: none; the data say nothing that the prior knows"
            folder = isinstance(self._source, Folder)
            return [sentence + "; name a column with data.condition=" * folder]
        left = f"; {missing} of {len(words)} have none" if missing else ""
        first = next(word for word in words if word != "none")
        return [f"condition: each image's own, such as {first}{left}"]


def job_conditions(prior: Prior, source: Source, asked: Any) -> JobConditions | None:
    """The conditions of a job; None if the prior takes none.

    Raises:
        InputError: a condition is asked for, but the prior takes none, or does not know it.
    """
    if prior.encoder is None:
        if _value(asked) not in (None, "data"):
            prior.encode([asked])  # raises
        return None
    return JobConditions(prior, source, asked)


def _value(asked: Any) -> Any:
    """The condition that is meant: ``none`` and an empty text are none."""
    return None if asked in ("none", "", {}) else asked
