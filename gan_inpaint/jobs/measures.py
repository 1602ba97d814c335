"""What a reconstruction measures: baselines, distances, and figures for an optimiser."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from gan_inpaint.jobs.config import ReconstructConfig, objectives

if TYPE_CHECKING:
    from gan_inpaint.data.loading import Source
    from gan_inpaint.evaluation.baselines import Baselines
    from gan_inpaint.evaluation.measure import Measure
    from gan_inpaint.jobs.conditions import JobConditions
    from gan_inpaint.priors.prior import Prior


def make_measure(
    settings: ReconstructConfig,
    source: "Source",
    data: Callable[..., "Source"],
    prior: "Prior",
    conditions: "JobConditions | None",
) -> "Measure":
    """Measures each image of a job.

    Args:
        data: makes the source of a ``split``.
    """
    from gan_inpaint.evaluation.measure import Measure

    others = _baselines(settings, source, data, prior) if settings.baselines else None
    classes = conditions.classes if conditions else ()
    guided = settings.guide != "none"
    return Measure(source.truth, settings.blend, others, guided, _features(settings), classes)


def figures(settings: ReconstructConfig, summary: Mapping[str, Any]) -> float | tuple[float, ...]:
    """What a job returns to the sweeper: the figures to maximise, then those to minimise.

    A single one is returned as a number. NaN stands for a figure that was not measured.
    """
    wanted = objectives(settings.maximize, settings.minimize)
    found = tuple(float(summary.get(key, math.nan)) for key in wanted)
    return found if len(found) > 1 else found[0]


def _baselines(
    settings: ReconstructConfig, source: "Source", data: Callable[..., "Source"], prior: "Prior"
) -> "Baselines":
    """The classical ways to fill a hole; prints which are unavailable.

    Args:
        data: makes the source of a ``split``.
    """
    from gan_inpaint.data.datasets import Folder
    from gan_inpaint.evaluation.baselines import Baselines
    from gan_inpaint.evaluation.training_images import mean_image, training_images
    from gan_inpaint.guide.estimates import estimates

    # only split=val says that a folder is the one that the prior was trained on
    same = not isinstance(source, Folder) or settings.split == "val"
    training = training_images(prior, source, partial(data, split="train")) if same else None
    made = Baselines(mean_image(prior, training), training, estimates(prior))
    for reason in made.left_out:
        print(f"baseline left out: {reason}")
    return made


def _features(settings: ReconstructConfig) -> Callable | None:
    """The network for ``metrics=[feature_distance]``, if that is asked for and installed."""
    from gan_inpaint.evaluation.frechet import Features, available

    if "feature_distance" not in settings.metrics:
        return None
    if not available():
        print("metrics=feature_distance is left out: it needs pip install 'gan_inpaint[features]'")
        return None
    return Features()
