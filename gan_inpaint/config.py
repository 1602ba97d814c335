"""Where ``conf/`` is, and how a composed config becomes settings."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from gan_inpaint.errors import InputError
from gan_inpaint.settings import SearchSettings

S = TypeVar("S")

_packaged = Path(__file__).resolve().parent / "conf"
# in a wheel the YAML files travel inside the package, in a checkout they stand beside it
CONF = _packaged if _packaged.is_dir() else _packaged.parents[1] / "conf"


def validated(cfg: DictConfig, schema: type[S], group: str = "") -> S:
    """The composed config as a dataclass; an InputError names the key that does not fit.

    Args:
        group: that the keys belong to, for the message.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), cfg)
        return cast(S, OmegaConf.to_object(merged))
    except ValidationError as problem:
        reason = str(problem).splitlines()[0]
        if "is not a ListConfig" in reason:
            reason = "must be a list in brackets"
        key = f"{group}.{problem.full_key}" if group else problem.full_key
        raise InputError(f"{key}={problem.value}: {reason}") from None
    except OmegaConfBaseException as problem:
        raise InputError(" ".join(str(problem).split())) from None


def search_settings(options: Mapping[str, Any]) -> SearchSettings:
    """The search keys of conf/reconstruct.yaml with ``options`` in their place."""
    known = [field.name for field in fields(SearchSettings)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise InputError(f"unknown option {unknown[0]!r}; the options are {', '.join(known)}")
    defaults = cast(DictConfig, OmegaConf.load(CONF / "reconstruct.yaml"))
    given = {key: _native(value) for key, value in options.items()}
    try:
        chosen = OmegaConf.create({key: defaults[key] for key in known} | given)
    except OmegaConfBaseException as problem:
        raise InputError(" ".join(str(problem).split())) from None
    return validated(chosen, SearchSettings)


def _native(value: Any) -> Any:
    """Python's own number, word or list for one of NumPy or torch."""
    if isinstance(value, list | tuple):
        return [_native(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value
