"""The columns of a job's tables (results.csv, restarts.csv, ...), and means over their rows."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

# other methods to fill a hole, see evaluation.baselines
BASELINES = ("mean", "nearest", "linear", "network", "biharmonic", "telea", "ns")
RESULTS = (
    "image",
    "name",
    "restart",
    "steps",
    "stopped_by",
    "objective",
    "contextual",
    "perceptual",
    "psnr_hole",
    "psnr",
    "ssim",
)
RESTARTS = ("image", "restart", "steps", "stopped_by", "objective", "psnr_hole")
EXTRA = (
    "error",  # of an image or mask that could not be read, or a search that failed
    "condition",  # what the image shows, of a conditional prior
    "guide_term",  # with a guide
    "psnr_known",
    "z_norm",
    "binding",
    "spread",  # with restarts, as the next
    "psnr_hole_average",
    "psnr_hole_raw",  # with blending
    *(f"psnr_hole_{name}" for name in BASELINES),
    "feature_distance",  # with metrics=[feature_distance], as the next
    *(f"feature_distance_{name}" for name in ("average", *BASELINES)),
)
SETS = ("frechet_distance", "u_ids", "p_ids", "lpips", "fid")  # of all images, with metrics=
WORDS = ("name", "stopped_by", "error", "condition")  # columns that hold text
MEANS = ("steps", *RESULTS[5:], *EXTRA[2:])
_KEYS = ("lam", "lr", "norm", "prior", "data", "mask", "condition")
COST = ("perceptual_share", "images", "seconds", "image_steps", "image_steps_per_second")
COMPARISON = ("job", "status", "error", *_KEYS, *MEANS, *SETS, *COST)


def means(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Mean of each measured column over the images that have a finite value there.

    Args:
        rows: of results.csv, as numbers or as text.
    """
    rows = list(rows)
    found = {}
    for column in MEANS:
        given = (float(row[column]) for row in rows if row.get(column) not in (None, ""))
        values = [value for value in given if math.isfinite(value)]
        if values:
            found[column] = float(np.mean(values))
    return found
