"""The keys of a search: types, defaults and ranges."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self, TypedDict

from gan_inpaint.config.schema import validate_config
from gan_inpaint.config.validation import (
    check_above_zero,
    check_at_least,
    check_one_of,
    check_seed,
)
from gan_inpaint.errors import InputError

if TYPE_CHECKING:
    from gan_inpaint.priors.prior import Prior

_STEPS = {"regression": 25, "nearest": 50}  # of steps=null: they end equally low


@dataclass
class SearchConfig:
    """The keys of a search, for ``reconstruct`` and ``inpaint``.

    conf/reconstruct.yaml says what each means, and has the same defaults.
    """

    lam: float = 1.0e-5
    perceptual: str = "saturating"
    weighting: str = "known"
    window: int = 7
    z_penalty: float = 0.0
    guide: str = "auto"
    guide_weight: float = 0.1
    guide_temperature: float = 1.0
    lr: float = 0.1
    norm: str = "l2"
    optimizer: str = "lbfgs"
    steps: int | None = None
    tolerance: float = 1.0e-4
    patience: int | None = 50
    restarts: int = 1
    keep: int = 1
    start: str = "auto"
    candidates: int = 1024
    constraint: str = "auto"
    radius: float = 0.7
    estimate: str = "best"
    blend: str = "poisson"
    precision: str = "auto"
    batch_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, 0, "lam", "z_penalty", "guide_weight", "tolerance", "candidates")
        check_at_least(self, 0, "guide_temperature")
        check_above_zero(self, "lr", "radius")
        check_at_least(self, 1, "steps", "patience", "restarts", "batch_size")
        check_at_least(self, 1, "keep", "window")
        for key in ("steps", "patience", "restarts", "keep", "candidates", "batch_size", "window"):
            if (getattr(self, key) or 0) >= 2**31:
                raise InputError(f"{key}={getattr(self, key)}: must be below 2^31")
        check_seed(self.seed)
        check_one_of(self, "norm", "l1", "l2")
        check_one_of(self, "optimizer", "lbfgs", "adam", "sgd")
        check_one_of(self, "perceptual", "saturating", "nonsaturating")
        check_one_of(self, "constraint", "auto", "clip", "ball", "none")
        check_one_of(self, "estimate", "best", "mean")
        check_one_of(self, "blend", "none", "poisson")
        check_one_of(self, "precision", "auto", "fp32", "bf16")
        check_one_of(self, "weighting", "known", "yeh")
        check_one_of(self, "guide", "auto", "none", "samples", "data", "network")
        check_one_of(self, "start", "auto", "nearest", "regression")
        if self.start == "regression" and self.guide == "none":
            raise InputError("start=regression needs a guide: set guide=auto, or start=nearest")
        if self.start == "regression" and not self.candidates:
            raise InputError("start=regression needs candidates: set candidates=1024")
        if self.window % 2 == 0:
            raise InputError(f"window={self.window}: must be odd, to have a centre pixel")
        if self.weighting == "yeh" and self.window < 3:
            raise InputError(f"window={self.window}: must be at least 3 for weighting=yeh")
        if self.lr > 1e30:
            raise InputError(f"lr={self.lr}: must be at most 1e30")
        if self.keep > self.restarts:
            raise InputError(
                f"keep={self.keep}: there are only restarts={self.restarts} completions per image"
            )
        if 0 < self.candidates < self.restarts:
            raise InputError(
                f"candidates={self.candidates}: must be 0 or at least restarts={self.restarts}"
            )

    def resolved(self, prior: "Prior") -> Self:
        """The same search with what ``auto`` and ``null`` stand for with this prior.

        Nothing else asks what they mean. A resolved search stays as it is.

        - ``guide``: ``network`` if the prior carries a learned guide, ``data`` if it carries
          statistics of its training images, else ``samples``.
        - ``start``: ``regression`` where it can be and the restarts' guides differ, else
          ``nearest``.
        - ``steps``: 25 from a regression, else 50.
        - ``constraint``: that of the prior's latent space.
        - ``precision``: ``bf16`` where that is faster.

        Raises:
            InputError: start=regression for a conditional prior.
        """
        from gan_inpaint.guide.estimates import best_guide  # here: --help needs no torch
        from gan_inpaint.runtime.precision import resolve_precision

        guide, start, constraint = self.guide, self.start, self.constraint
        if start == "regression" and prior.encoder:
            raise InputError(
                f"start=regression: the prior {prior.name} is conditional, and the regression knows"
                " no conditions; set start=nearest"
            )
        if guide == "auto":
            guide = best_guide(prior)
        if start == "auto":
            # with guides that are all the same, all restarts would start at the same code
            alike = self.restarts > 1 and self.guide_temperature == 0
            able = guide != "none" and self.candidates and not prior.encoder and not alike
            start = "regression" if able else "nearest"
        return replace(
            self,
            guide=guide,
            start=start,
            steps=self.steps or _STEPS[start],
            constraint=prior.latent.constraint if constraint == "auto" else constraint,
            precision=resolve_precision(self.precision),
        )

    @property
    def images_at_once(self) -> int:
        """Number of images that fit into ``batch_size`` rows."""
        return max(1, self.batch_size // self.restarts)


class SearchOptions(TypedDict, total=False):
    """The keys of a ``SearchConfig``, as keyword arguments of ``inpaint``."""

    lam: float
    perceptual: str
    weighting: str
    window: int
    z_penalty: float
    guide: str
    guide_weight: float
    guide_temperature: float
    lr: float
    norm: str
    optimizer: str
    steps: int | None
    tolerance: float
    patience: int | None
    restarts: int
    keep: int
    start: str
    candidates: int
    constraint: str
    radius: float
    estimate: str
    blend: str
    precision: str
    batch_size: int
    seed: int


def search_config(options: Mapping[str, Any], base: SearchConfig | None = None) -> SearchConfig:
    """A ``SearchConfig`` with some keys changed.

    Args:
        options: the keys to change, also as NumPy's or torch's scalars.
        base: the other keys; the defaults if not given.

    Raises:
        InputError: a key is unknown, or its value is invalid.
    """
    known = [key.name for key in fields(SearchConfig)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(f"unknown option {unknown[0]!r}; the options are {', '.join(known)}")
    given = {key: _native(value) for key, value in options.items()}
    for key, value in given.items():
        if value == "???":  # OmegaConf would take it as missing
            raise InputError(f"{key}=???: not a value")
    return validate_config(asdict(base or SearchConfig()) | given, SearchConfig)


def _native(value: Any) -> Any:
    """A Python number, string or list for one of NumPy or torch."""
    if isinstance(value, list | tuple):
        return [_native(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value
