"""U-IDS and P-IDS: can a linear classifier tell the results from the true images?"""

import numpy as np
from torch import Tensor

_FOLDS = 5


def discriminative_scores(filled: Tensor, true: Tensor) -> tuple[float, float]:
    """The unpaired and the paired inception discriminative score, in [0, 1], higher is better.

    A linear support vector machine learns to separate the features of results from those of true
    images. U-IDS is the share of images that it then takes for the other kind (0.5: it cannot tell
    them), P-IDS the share of results that it finds more real than their own true images.

    Source: Zhao et al., ICLR 2021, "Large scale image completion via co-modulated generative
    adversarial networks", section 4. With two differences, so not comparable with published values:
    other features, and five-fold cross-validation over the pairs. On a few hundred images, a
    classifier separates its own training data without error, whatever they are.

    Args:
        filled: ``(N, F)`` features of the results, N at least 10.
        true: ``(N, F)`` features of the true images, in the same order.

    Raises:
        ValueError: there are fewer than 10 pairs.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    if len(filled) < 2 * _FOLDS:
        raise ValueError(f"the scores need at least {2 * _FOLDS} images, not {len(filled)}")
    fold = np.arange(len(filled)) % _FOLDS
    fake, real = filled.numpy(), true.numpy()
    fake_score, real_score = np.empty(len(fake)), np.empty(len(real))
    for number in range(_FOLDS):
        learn, test = fold != number, fold == number
        features = np.concatenate([fake[learn], real[learn]])
        label = np.repeat([0, 1], learn.sum())
        classifier = make_pipeline(StandardScaler(), LinearSVC(C=0.01, random_state=0))
        classifier.fit(features, label)
        fake_score[test] = classifier.decision_function(fake[test])
        real_score[test] = classifier.decision_function(real[test])
    mistaken = ((fake_score > 0).mean() + (real_score < 0).mean()) / 2
    return float(mistaken), float((fake_score > real_score).mean())
