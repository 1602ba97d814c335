"""The table of Yeh et al., CVPR 2017: published figures beside measured ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from gan_inpaint.reporting.columns import BASELINES

RECIPE = "paper_table"
# Table 1, CelebA, PSNR in dB: the context encoder of Pathak et al., CVPR 2016, and their own method
PUBLISHED = {
    "center": {"context_encoder": 21.3, "yeh2017": 19.4},
    "pattern": {"context_encoder": 19.2, "yeh2017": 17.4},
    "random": {"context_encoder": 20.6, "yeh2017": 22.8},
    "half": {"context_encoder": 15.5, "yeh2017": 13.7},
}
_MEASURED = {
    "ours": "psnr_hole",
    "average": "psnr_hole_average",
    **{name: f"psnr_hole_{name}" for name in BASELINES},
}
COLUMNS = (
    "mask",
    "images",
    "seed",
    "restarts",
    "context_encoder",
    "yeh2017",
    *(
        column
        for name in _MEASURED
        for column in (name, f"{name}_ci95", f"{name}_feature_distance")
    ),
)
NUMBERS = set(COLUMNS[4:])  # in dB, but for the distances
PROTOCOL = (
    "context_encoder and yeh2017 are published figures: their images, crops and masks, and about"
    " 200,000 training faces. The others are measured here: `ours` is the best of the restarts,"
    " `average` their mean, both blended; ± is a 95 % confidence interval of the mean over the"
    " images. In brackets: mean distance to the true image in features of EfficientNet-Lite0; lower"
    " is better. Half hides the right half here, a random one there."
)


def row(job: Mapping[str, Any], results: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The row of one mask.

    Args:
        job: the summary of its job.
        results: the rows of its results.csv.
    """
    found = {key: job.get(key) for key in ("mask", "images", "seed", "restarts")}
    found |= PUBLISHED.get(str(job.get("mask")), {})
    for name, column in _MEASURED.items():
        values = np.array([float(r[column]) for r in results if r.get(column)])
        if len(values) > 1:
            found[name] = float(values.mean())
            quantile = stdtrit(len(values) - 1, 0.975)  # Student's t
            found[f"{name}_ci95"] = float(quantile * values.std(ddof=1) / len(values) ** 0.5)
            distance = column.replace("psnr_hole", "feature_distance")
            found[f"{name}_feature_distance"] = job.get(distance)
    return found


def cells(found: Mapping[str, Any]) -> dict[str, str]:
    """A row of the table as text, ``19.3 ± 0.4``, without methods that were not measured.

    Example:
        >>> cells({"mask": "half", "images": 4, "yeh2017": 13.7, "ours": 12.04, "ours_ci95": 0.41})
        {'mask': 'half', 'images': '4', 'yeh2017': '13.7', 'ours': '12.0 ± 0.4'}
    """
    shown = {key: str(found[key]) for key in ("mask", "images", "restarts") if key in found}
    for name in ("context_encoder", "yeh2017"):
        if name in found:
            shown[name] = f"{found[name]:.1f}"
    for name in _MEASURED:
        if name in found:
            shown[name] = f"{found[name]:.1f} ± {found[f'{name}_ci95']:.1f}"
            if (distance := found.get(f"{name}_feature_distance")) is not None:
                shown[name] += f" ({distance:.1f})"
    return shown
