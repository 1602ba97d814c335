"""Captions: an image is described in words."""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gan_inpaint.conditioning.encoder import LISTED, SHOWN, Encoder, short
from gan_inpaint.errors import InputError

_LARGEST = 1e3  # inverse document frequency: a logarithm, plus 1


class Text(Encoder):
    """A caption as the words and pairs of neighbouring words in it (TF-IDF).

    Pairs tell *a red seven on blue* from *a blue seven on red*. Words that the training captions do
    not hold have no effect. Of several captions of an image, training draws one at each step;
    elsewhere the first one counts.

    Source: Spärck Jones, Journal of Documentation, 1972, with scikit-learn's weights.

    Args:
        features: the most frequent words and pairs that are kept.
        pairs: whether to use pairs.
        vocabulary, weights, captions: of ``state``.
    """

    kind = "text"

    def __init__(
        self,
        features: int = 512,
        pairs: bool = True,
        vocabulary: Sequence[str] = (),
        weights: Sequence[float] = (),
        captions: Sequence[str] = (),
    ):
        if features < 1:
            raise InputError(f"conditioning.encoder.features={features}: must be at least 1")
        self._features, self._pairs = features, pairs
        self._vocabulary, self._weights = list(vocabulary), list(weights)
        self._captions = list(captions)
        if not all(0 < weight < _LARGEST for weight in self._weights):
            raise ValueError("weights out of range")

    def fit(self, conditions: Sequence[Any]) -> "Text":
        """See ``Encoder``."""
        captions = training_captions(conditions)
        vectorizer = self._make_vectorizer(max_features=self._features)
        try:
            vectorizer.fit(captions)
        except ValueError:  # no words in them
            raise InputError("conditioning=text: the captions hold no words") from None
        self._vocabulary = [str(word) for word in vectorizer.get_feature_names_out()]
        self._weights = [round(float(weight), 6) for weight in vectorizer.idf_]
        self._captions = shown_captions(captions)
        self.__dict__.pop("_vectorizer", None)
        return self

    @property
    def state(self) -> dict[str, Any]:
        """See ``Encoder``."""
        return {
            "kind": self.kind,
            "pairs": self._pairs,
            "vocabulary": self._vocabulary,
            "weights": self._weights,
            "captions": self._captions,
        }

    @property
    def dim(self) -> int:
        """See ``Encoder``."""
        return len(self._vocabulary)

    @property
    def shown(self) -> list[Any]:
        """See ``Encoder``."""
        return self._captions

    def resolve(self, condition: Any) -> Any:
        """See ``Encoder``; a caption without a known word is empty."""
        caption = as_caption(self._own(condition))
        known = caption is not None and any(word in self._known for word in self._split(caption))
        return caption if known else None

    def encode(self, conditions: Sequence[Any]) -> Tensor:
        """See ``Encoder``; all at once, which is faster."""
        captions = [as_caption(self._own(condition)) or "" for condition in conditions]
        return torch.from_numpy(self._vectorizer.transform(captions).toarray()).float()

    def _vector(self, condition: Any) -> Tensor:
        return self.encode([condition])[0]

    def note(self, condition: Any) -> str | None:
        """See ``Encoder``; names the words that the training captions do not hold."""
        caption = as_caption(self._own(condition))
        if caption is None:
            return None
        words = list(dict.fromkeys(self._split(caption)))
        unknown = [word for word in words if word not in self._known]
        if not unknown:
            return None
        listed = ", ".join(map(short, unknown[:LISTED])) + (" …" if len(unknown) > LISTED else "")
        if len(unknown) == len(words):
            return f"condition: the prior knows none of the words {listed}; the condition is empty"
        return f"condition: the prior does not know {listed}; these words have no effect"

    @cached_property
    def _known(self) -> set[str]:
        return set(self._vocabulary)

    @cached_property
    def _split(self) -> Any:
        """Turns a caption into its words."""
        return self._make_vectorizer(ngram_range=(1, 1)).build_analyzer()

    @cached_property
    def _vectorizer(self) -> Any:
        import numpy as np

        vectorizer = self._make_vectorizer(vocabulary=self._vocabulary)
        vectorizer.idf_ = np.array(self._weights)
        return vectorizer

    def _make_vectorizer(self, **options: Any) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        settings = {"ngram_range": (1, 2 if self._pairs else 1), "strip_accents": "unicode"}
        # also words of one letter, such as 7
        return TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", **settings | options)


def as_caption(condition: Any) -> str | None:
    """A caption, the first of several; None if it is empty.

    Raises:
        InputError: it is neither text nor a number.
    """
    if isinstance(condition, list | tuple):
        condition = condition[0] if condition else None
    if condition is None:
        return None
    if isinstance(condition, bool):
        condition = str(condition).lower()
    if not isinstance(condition, str | float) and not (
        isinstance(condition, int) and abs(condition) < 10**18
    ):
        raise InputError(
            f"condition={short(condition)}: this prior takes a caption, such as"
            " 'condition=\"some words\"'"
        )
    return " ".join(str(condition).split()) or None


def training_captions(conditions: Sequence[Any]) -> list[str]:
    """All captions of the training images; raises an InputError if there is none."""
    listed = (value if isinstance(value, list | tuple) else [value] for value in conditions)
    captions = [c for several in listed for c in several if isinstance(c, str) and c.strip()]
    if not captions:
        raise InputError(
            "the data have no captions; data=captions and data=coco have some, so has a folder with"
            " metadata.csv and data.condition=text"
        )
    return captions


def shown_captions(captions: Sequence[str]) -> list[str]:
    """Up to eight different captions, the most frequent ones first."""
    return [short(caption) for caption, _ in Counter(captions).most_common(SHOWN)]
