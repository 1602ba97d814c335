"""Metrics of a whole set of results: Fréchet distance, LPIPS, FID, where installed."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gan_inpaint.evaluation.frechet import FrechetDistance

_CHUNK = 32  # images that a network sees at once


def compute_set_metrics(
    wanted: Sequence[str], filled: Tensor, true: Tensor
) -> tuple[dict[str, float], list[str]]:
    """Compute metrics of a set, and write a note for each unavailable one.

    Args:
        wanted: any of ``frechet`` (see ``FrechetDistance``), ``lpips`` and ``fid``; the last two
            need torchvision and download their weights.
        filled, true: ``(N, C, H, W)`` in [-1, 1], N at least 2.

    Returns:
        Those of ``frechet_distance``, ``lpips`` and ``fid`` that could be computed; the notes.
    """
    found, notes = {}, []
    for name in wanted:
        key, measure, needs = _MEASURES[name]
        try:
            found[key] = measure(filled, true)
        except Exception as problem:  # packages and downloads fail in many ways
            reason = " ".join(str(problem).split())[:200]
            notes.append(f"metrics={name} is left out: it needs {needs} ({reason})")
    return found, notes


def _frechet(filled: Tensor, true: Tensor) -> float:
    return FrechetDistance(true)(filled)


def _lpips(filled: Tensor, true: Tensor) -> float:
    """Zhang et al., CVPR 2018, on AlexNet; the mean over the images."""
    import torchvision  # noqa: F401  # torchmetrics would only say that it is missing somewhere
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    metric = LearnedPerceptualImagePatchSimilarity("alex")
    with torch.no_grad():
        for one, other in zip(filled.split(_CHUNK), true.split(_CHUNK), strict=True):
            metric.update(one.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1))
    return float(metric.compute())


def _fid(filled: Tensor, true: Tensor) -> float:
    """Heusel et al., NeurIPS 2017, on InceptionV3."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(normalize=True)
    for images, real in ((filled, False), (true, True)):
        for part in images.split(_CHUNK):
            metric.update((part.expand(-1, 3, -1, -1) + 1) / 2, real=real)
    return float(metric.compute())


_MEASURES: dict[str, tuple[str, Callable[[Tensor, Tensor], float], str]] = {
    "frechet": ("frechet_distance", _frechet, "pip install 'gan_inpaint[features]'"),
    "lpips": ("lpips", _lpips, "torchvision, and its weights of AlexNet from the network"),
    "fid": ("fid", _fid, "torch-fidelity, and its weights of InceptionV3 from the network"),
}
