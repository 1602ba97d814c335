"""The keys of ``reconstruct`` and ``select``: types and ranges. Their defaults are in conf/."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gan_inpaint.config.validation import check_at_least, check_one_of, check_seed
from gan_inpaint.errors import InputError
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.reporting.columns import COST, MEANS, SETS

METRICS = ("feature_distance", "frechet", "ids", "lpips", "fid")  # see conf/reconstruct.yaml
_FIGURES = {  # metric -> how the figures begin that it measures
    "feature_distance": ("feature_distance",),
    "frechet": ("frechet_distance",),
    "ids": ("u_ids", "p_ids"),
    "lpips": ("lpips",),
    "fid": ("fid",),
}


@dataclass(kw_only=True)
class ReconstructConfig(SearchConfig):
    """The root keys of ``python -m gan_inpaint.reconstruct``."""

    prior: Any  # a name or path, or a mapping with _target_
    latent: str | None
    latent_space: str
    trust: bool
    discriminator: str | None
    data: dict[str, Any]
    split: str | None
    limit: int | None
    sample: str
    condition: Any  # a word, a label, a caption, or a mapping of attributes
    shard: int
    shards: int
    mask: dict[str, Any]
    baselines: bool
    metrics: list[str]
    animate: bool
    diagnose: bool
    device: str
    trainer: dict[str, Any]
    resume: str | None
    logger: dict[str, Any]
    maximize: Any  # a figure of the summary, or a list of them
    minimize: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_prior()
        self._check_objectives()
        check_condition(self.condition)
        check_at_least(self, 1, "limit", "shards")
        if not 0 <= self.shard < self.shards:
            raise InputError(f"shard={self.shard}: must be from 0 to under shards={self.shards}")
        check_one_of(self, "sample", "first", "random")
        for metric in self.metrics:
            if metric not in METRICS:
                raise InputError(f"metrics={self.metrics}: may hold {', '.join(METRICS)}")
        kind, _, number = self.device.partition(":")
        numbered = ":" in self.device
        known = kind in ("cuda", "gpu") or (kind in ("auto", "cpu", "mps") and not numbered)
        if not known or (numbered and not number.isdecimal()):
            raise InputError(f"device={self.device}: must be auto, cpu, cuda, cuda:1 … or mps")
        if self.split is not None:
            check_one_of(self, "split", "all", "train", "val")

    def _check_prior(self) -> None:
        if isinstance(self.prior, int | float) and not isinstance(self.prior, bool):
            self.prior = str(self.prior)  # the name of a folder
        target = self.prior.get("_target_") if isinstance(self.prior, dict) else self.prior
        if not (isinstance(target, str) and target):
            raise InputError(
                f"prior={self.prior}: must be a name, a path, or a mapping whose _target_ is a"
                " function that returns a generator"
            )
        if self.latent is not None:
            check_one_of(self, "latent", "normal", "uniform")
        check_one_of(self, "latent_space", "z", "w", "w+")

    def _check_objectives(self) -> None:
        for figure in objectives(self.maximize, self.minimize):
            needed = next((m for m, names in _FIGURES.items() if figure.startswith(names)), None)
            if needed and needed not in self.metrics:
                raise InputError(f"{figure} is measured only with metrics=[{needed}]: add that")


_WEIGHED = {"norm", "weighting", "window"}
_DEPENDS = {  # figure -> keys that make another quantity of it
    "contextual": _WEIGHED,
    "objective": {*_WEIGHED, "lam", "perceptual", "z_penalty", "guide", "guide_weight"},
}


def objectives(maximize: Any, minimize: Any, swept: Iterable[str] = ()) -> dict[str, str]:
    """What a job returns to a sweeper: figure -> ``maximize`` or ``minimize``, in order.

    Args:
        maximize, minimize: a column of the summary, a list of them, or None. If both are None, a
            job returns ``psnr_hole``, to maximise.
        swept: keys that differ between the jobs.

    Raises:
        InputError: there is no such column, one is named twice, or cannot be compared between
            the jobs.
    """
    if maximize is None and minimize is None:
        return {"psnr_hole": "maximize"}
    found: dict[str, str] = {}
    for direction, given in (("maximize", maximize), ("minimize", minimize)):
        if not isinstance(given, str | Sequence | None):
            raise InputError(f"{direction}={given}: must be a figure, or a list of them")
        for figure in [given] if isinstance(given, str) else given or ():
            if figure not in (*MEANS, *SETS, *COST):
                raise InputError(
                    f"{direction}={figure}: no such figure; choose a column of comparison.csv, such"
                    " as psnr_hole, objective or feature_distance"
                )
            if figure in found:
                raise InputError(f"{direction}={figure}: named twice")
            if changed := sorted(_DEPENDS.get(figure, set()).intersection(swept)):
                raise InputError(
                    f"{direction}={figure}: another quantity for every {changed[0]}, so the jobs"
                    " cannot be compared; choose another figure, such as maximize=psnr_known"
                )
            found[figure] = direction
    if not found:
        raise InputError("maximize=[] and minimize=[]: name a figure, or leave both out")
    return found


@dataclass
class SelectConfig:
    """The root keys of ``python -m gan_inpaint.select``."""

    run: str | None
    epoch: int | None
    path: str | None
    mask: dict[str, Any]
    columns: int
    samples: int
    images: int
    steps: int
    candidates: int
    seed: int
    logger: dict[str, Any]

    def __post_init__(self) -> None:
        check_at_least(self, 1, "columns", "images", "steps")
        check_at_least(self, 2, "samples")  # a spread needs two
        check_at_least(self, 0, "candidates")
        check_seed(self.seed)


def check_condition(asked: Any) -> None:
    """Refuse what cannot be a condition."""
    if not isinstance(asked, str | int | float | dict | list | None):
        raise InputError(
            f"condition={asked}: must be data, none, all, a label, a caption in quotes, or"
            " attributes in braces, as in 'condition={Smiling: 1}'"
        )
    if isinstance(asked, list):
        raise InputError(f"condition={asked}: one condition for all images; for several use -m")
