"""Diagnose a search: explain its summary, and test it on samples of the prior."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from gan_inpaint.functional.metrics import psnr
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.pipeline import inpaint
from gan_inpaint.priors.prior import Prior
from gan_inpaint.reporting.columns import BASELINES

TARGETS = 64  # images of the self-test: enough for a mean
_NO_EFFECT = 1e-3  # a term with a smaller share of the gradient has no effect


def rms_error(error: Tensor, weight: Tensor) -> Tensor:
    """``(B,)``: root mean square over the weighted pixels, as a fraction of the range [-1, 1].

    Args:
        error, weight: see ``functional.metrics.psnr``; this is the same quantity as an RMS.
    """
    return 10 ** (-psnr(error, weight) / 20)


def self_test(known: Tensor, prior: Prior, settings: SearchConfig) -> dict[str, float]:
    """Search for samples of the prior, without a guide: any remaining error is the search's.

    Args:
        known: ``(B, 1, H, W)``, masks of the real images.

    Returns:
        ``search_error``, the mean over samples of ``rms_error`` on known pixels, and
        ``self_test_psnr_hole``, the median hole PSNR.
    """
    images = prior.sample(len(known), settings.seed, settings.radius)
    steps = settings.steps
    if settings.start == "regression" and steps:  # without one it takes twice the steps
        steps *= 2
    alone = replace(settings, guide="none", start="nearest", steps=steps)
    result = inpaint(images, known, prior, alone)
    told = result.condition if prior.encoder else None
    error = prior.decode(result.z, told) - images
    return {
        "search_error": float(rms_error(error, known.float()).mean()),
        "self_test_psnr_hole": float(psnr(error, (~known).float()).median()),
    }


def explain_summary(summary: Mapping[str, Any]) -> list[str]:
    """Sentences on the settings and the prior of a job, from its summary.

    Args:
        summary: ``lam``; if available ``perceptual_share``, ``known_error``, ``search_error`` and
            the hole PSNR of the search and of the baselines.

    Example:
        >>> explain_summary({"lam": 1e-5, "perceptual_share": 1e-4})[0][:59]
        'lam=1e-05 has no effect: the perceptual term is 0.010 % of '
        >>> explain_summary({"lam": 0.0, "known_error": 0.05, "search_error": 0.003})[0][-42:]
        'train a better prior, do not search longer'
    """
    sentences = []
    lam, share = summary["lam"], summary.get("perceptual_share")
    if lam and share is not None and share < _NO_EFFECT:
        sentence = f"lam={lam:g} has no effect: the perceptual term is {share:.3%} of the gradient"
        if share > 0:
            tenth = lam * (1 - share) / share / 9
            sentence += f"; it would reach 10% near lam={tenth:.2g}"
        sentences.append(sentence.replace("%", " %"))
    rivals = {name: summary.get(f"psnr_hole_{name}", -math.inf) for name in BASELINES}
    best = max(rivals, key=lambda name: rivals[name])
    if rivals[best] > summary.get("psnr_hole", math.inf):
        sentence = (
            f"the baseline {best} has a higher hole PSNR: {rivals[best]:.1f} dB against"
            f" {summary['psnr_hole']:.1f} dB; if PSNR is your goal, use the baseline"
        )
        mine, theirs = (summary.get(f"feature_distance{end}", 0.0) for end in ("", f"_{best}"))
        if mine < theirs:
            sentence += f"; its features are farther from the truth ({theirs:.1f}, {mine:.1f} here)"
        sentences.append(sentence)
    if "search_error" in summary:
        search, total = summary["search_error"], summary["known_error"]
        # independent errors add as squares
        generator = math.sqrt(max(total**2 - search**2, 0.0))
        blame = (
            "train a better prior, do not search longer"
            if generator > search
            else "search longer: more steps, restarts or candidates"
        )
        sentences.append(
            f"on known pixels: search error {100 * search:.1f} %, generator error"
            f" {100 * generator:.1f} % of the range: {blame}"
        )
    return sentences
