"""The prior of a job: a name or file, or whatever a ``_target_`` returns."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate

from gan_inpaint.errors import InputError
from gan_inpaint.jobs.config import ReconstructConfig

if TYPE_CHECKING:
    from gan_inpaint.priors.prior import Prior


def make_prior(settings: ReconstructConfig, preset: str | None) -> "Prior":
    """Load or make the prior that ``prior=`` stands for.

    Args:
        preset: name of the ``prior_preset`` that was chosen, if any.

    Raises:
        InputError: it cannot be had; the sentence says why.
    """
    from gan_inpaint.priors.adapters import as_prior
    from gan_inpaint.priors.prior import Prior
    from gan_inpaint.priors.registry import load_prior

    if isinstance(settings.prior, str):
        if settings.latent_space != "z":
            raise InputError(
                f"latent_space={settings.latent_space}: the prior {settings.prior} has no mapping"
                " network; leave it out"
            )
        return load_prior(settings.prior, settings.discriminator, settings.latent)
    made = _instantiated(settings)
    if isinstance(made, Prior):
        return made
    return as_prior(
        made,
        latent=settings.latent or "normal",
        latent_space=settings.latent_space,
        name=preset or short_name(settings.prior),
    )


def _instantiated(settings: ReconstructConfig) -> Any:
    """What the callable returns. A preset of ours is told what else the job says."""
    target = settings.prior["_target_"]
    try:
        function: Callable[..., Any] = get_object(target)
    except Exception as problem:  # whatever an import raises
        raise InputError(f"prior._target_={target}: {_reason(problem)}") from problem
    more: dict[str, Any] = {}
    if function.__module__ == "gan_inpaint.priors.presets":
        more = {"latent_space": settings.latent_space, "trust": settings.trust}
    try:
        return instantiate(settings.prior, _convert_="all", **more)
    except InstantiationException as problem:
        if isinstance(problem.__cause__, InputError):
            raise problem.__cause__ from problem
        raise InputError(f"prior: {target} failed: {_reason(problem)}") from problem


def short_name(prior: Any) -> str:
    """What tables call ``prior=``: a name or path, or the callable's name.

    Example:
        >>> short_name("faces"), short_name({"_target_": "my_project.models.load"})
        ('faces', 'models.load')
    """
    if isinstance(prior, str):
        return prior
    return ".".join(str(prior["_target_"]).split(".")[-2:])


def _reason(problem: BaseException) -> str:
    cause = problem.__cause__ or problem
    return f"{' '.join(str(cause).split())} ({type(cause).__name__})"[:300]
