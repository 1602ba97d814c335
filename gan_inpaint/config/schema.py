"""Check a configuration against a dataclass."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException, ValidationError

from gan_inpaint.errors import InputError

S = TypeVar("S")


def validate_config(config: DictConfig | Mapping[str, Any], schema: type[S], group: str = "") -> S:
    """The config as an instance of the dataclass.

    Args:
        group: the keys' config group, for messages.

    Raises:
        InputError: a key is unknown or its value is invalid.
    """
    try:
        given = config if isinstance(config, DictConfig) else OmegaConf.create(dict(config))
        merged = OmegaConf.merge(OmegaConf.structured(schema), given)
        return cast(S, OmegaConf.to_object(merged))
    except ValidationError as problem:
        reason = str(problem).splitlines()[0]
        if "is not a ListConfig" in reason:
            reason = "must be a list in brackets"
        key = f"{group}.{problem.full_key}" if group else problem.full_key
        raise InputError(f"{key}={problem.value}: {reason}") from None
    except MissingMandatoryValue as problem:
        raise InputError(f"{problem.full_key}=: must be given; --help says what it is") from None
    except OmegaConfBaseException as problem:
        raise InputError(" ".join(str(problem).split())) from None
