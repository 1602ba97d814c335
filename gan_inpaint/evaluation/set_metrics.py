"""Metrics of a whole set of results: Fréchet distance, U-IDS, P-IDS, LPIPS, FID."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from gan_inpaint.evaluation.discriminative_scores import discriminative_scores
from gan_inpaint.evaluation.frechet import Described, Features, FrechetDistance, describe

_CHUNK = 32  # images that a network sees at once


def compute_set_metrics(
    wanted: Sequence[str], methods: Mapping[str, Tensor], true: Tensor
) -> tuple[dict[str, float], list[str]]:
    """Compute metrics of sets, and write a note for each unavailable one.

    Args:
        wanted: any of ``frechet`` (see ``FrechetDistance``), ``ids`` (``discriminative_scores``),
            ``lpips`` and ``fid``; the last two need torchvision and download their weights.
        methods: name -> ``(N, C, H, W)`` in [-1, 1], N at least 2; "" is the search.
        true: ``(N, C, H, W)``.

    Returns:
        Those of ``frechet_distance``, ``u_ids``, ``p_ids``, ``lpips`` and ``fid`` that could be
        computed, with ``_<name>`` after each but the search's; the notes.
    """
    found: dict[str, float] = {}
    notes = []
    network = cache(Features)  # loaded once, and only for the metrics that use it
    described = cache(lambda images: describe(network(), images))  # tensors hash by identity
    for metric in wanted:
        measure, needs = _MEASURES[metric]
        prepare = described if metric in ("frechet", "ids") else _unchanged
        try:
            for name, images in methods.items():
                end = f"_{name}" if name else ""
                values = measure(prepare(images), prepare(true))
                found |= {key + end: value for key, value in values.items()}
        except Exception as problem:  # packages and downloads fail in many ways
            reason = " ".join(str(problem).split())[:200]
            notes.append(f"metrics={metric} is left out: it needs {needs} ({reason})")
    return found, notes


def _unchanged(images: Tensor) -> Tensor:
    return images


def _frechet(filled: Tensor, true: Tensor) -> dict[str, float]:
    return {"frechet_distance": FrechetDistance(true, Described())(filled)}


def _ids(filled: Tensor, true: Tensor) -> dict[str, float]:
    return dict(zip(("u_ids", "p_ids"), discriminative_scores(filled, true), strict=True))


def _lpips(filled: Tensor, true: Tensor) -> dict[str, float]:
    """Zhang et al., CVPR 2018, on AlexNet; the mean over the images."""
    import torchvision  # noqa: F401  # torchmetrics would only say that it is missing somewhere
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    metric = LearnedPerceptualImagePatchSimilarity("alex")
    with torch.no_grad():
        for one, other in zip(filled.split(_CHUNK), true.split(_CHUNK), strict=True):
            metric.update(one.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1))
    return {"lpips": float(metric.compute())}


def _fid(filled: Tensor, true: Tensor) -> dict[str, float]:
    """Heusel et al., NeurIPS 2017, on InceptionV3."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(normalize=True)
    for images, real in ((filled, False), (true, True)):
        for part in images.split(_CHUNK):
            metric.update((part.expand(-1, 3, -1, -1) + 1) / 2, real=real)
    return {"fid": float(metric.compute())}


_MEASURES: dict[str, tuple[Callable[[Tensor, Tensor], dict[str, float]], str]] = {
    "frechet": (_frechet, "pip install 'gan_inpaint[features]'"),
    "ids": (_ids, "ten images and pip install 'gan_inpaint[features]'"),
    "lpips": (_lpips, "torchvision, and its weights of AlexNet from the network"),
    "fid": (_fid, "torch-fidelity, and its weights of InceptionV3 from the network"),
}
