"""Accept command lines as people write them: any characters in paths, flags anywhere.

Hydra's grammar reads ``( ) [ ] { } , = ' #`` and letters beyond ASCII as syntax. A value that is
clearly a path is quoted before Hydra sees it; a sweep stays a sweep.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException

from gan_inpaint.config.quoting import hydra_quoted
from gan_inpaint.errors import InputError

_PATH_KEY = re.compile(
    r"((data|mask|hydra\.run|hydra\.sweep)\.)?(path|dir|photograph|prior|discriminator|resume|run|sweep)"
    r"|name|data\.(name|boxes|splits\.\w+)"
)
_NEVER_SWEPT = ("hydra.run.dir", "hydra.sweep.dir")
_TAKES_A_VALUE = {
    *("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--info", "-i"),
}


def quote_arguments(arguments: Sequence[str]) -> list[str]:
    """Quote path-like values so that Hydra takes them literally, and put flags first.

    Args:
        arguments: without the program's name.

    Raises:
        InputError: an override cannot be parsed; the message says how to write it.

    Example:
        >>> quote_arguments(["prior=faces", "data.path=a (1).png", "-m", "lam=0,1"])
        ['-m', 'prior=faces', "data.path='a (1).png'", 'lam=0,1']
    """
    flags: list[str] = []
    overrides: list[str] = []
    for argument in arguments:
        is_value = bool(flags) and flags[-1] in _TAKES_A_VALUE and "=" not in argument
        (flags if argument.startswith("-") or is_value else overrides).append(argument)
    sweeping = "-m" in flags or "--multirun" in flags
    return [*flags, *(_quote_override(override, sweeping) for override in overrides)]


def _quote_override(override: str, sweeping: bool) -> str:
    key, equals, value = override.partition("=")
    name = key.lstrip("+")
    if equals and _PATH_KEY.fullmatch(name) and not value.startswith("{_target_"):
        parts = value.split(",")
        if name in _NEVER_SWEPT or not sweeping or len(parts) == 1 or _exists(value):
            return f"{key}={_quote_path(value, whole=name in _NEVER_SWEPT)}"
        if _parses(override) and not any("~" in part or _exists(part) for part in parts):
            return override
        return f"{key}={','.join(map(_quote_path, parts))}"
    if not _parses(override):
        if not equals:
            raise InputError(f"{override}: not a setting: write KEY=VALUE (--help lists the keys)")
        cure = f"{key}={hydra_quoted(value)}"
        cure = shlex.quote(cure) if re.search(r'["$`\\!]', cure) else f'"{cure}"'
        raise InputError(f"{override}: Hydra cannot parse it; quote the value: {cure}")
    return override


def _quote_path(value: str, whole: bool = False) -> str:
    """A path in a form that Hydra accepts: as it is, or in quotes; ``~`` is the home folder.

    Args:
        whole: treat commas as part of the path.
    """
    if value.startswith("~") and not _exists(value):
        try:
            value = str(Path(value).expanduser())
        except RuntimeError:
            raise InputError(f"{value}: no such user; write the folder's full path") from None
    try:
        parsed = OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return hydra_quoted(value)
    if parsed.is_sweep_override():
        return hydra_quoted(value) if whole or _exists(value) else value
    content = parsed.value()
    plain = content is not None and not isinstance(content, list | dict)
    if not plain or isinstance(parsed._value, QuotedString):
        return hydra_quoted(value) if _exists(value) else value
    literal = content == value and not ("${" in value and _exists(value))
    return value if literal else hydra_quoted(value)


def _parses(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def _exists(path: str) -> bool:
    try:
        return bool(path) and Path(path).exists()
    except (OSError, ValueError):  # a name that the system does not allow
        return False
