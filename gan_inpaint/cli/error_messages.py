"""Turn an error into one sentence that the user can act on."""

import difflib
import errno
import re
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor

from hydra.errors import HydraException, InstantiationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gan_inpaint.cli.conf_path import CONF
from gan_inpaint.errors import InputError
from gan_inpaint.runtime.memory import is_out_of_memory

GROUPS = {
    "train": ("data", "experiment", "model", "conditioning", "trainer", "logger"),
    "train_guide": ("data", "mask", "trainer", "logger"),
    "reconstruct": ("data", "mask", "recipe", "prior_preset", "trainer", "logger"),
    "select": ("mask", "logger"),
    "compare": (),
    "app": (),
}


_RIGHTS = "check who may write there, or work in another directory"
_SPACE = "make room, or work in another directory"
_OF_THE_SYSTEM = {
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: _SPACE,
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: a part of it is a file",
    errno.EISDIR: "check the path: it is a folder",
    errno.EEXIST: "check the path: there is a file of that name",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "check the disk",
}


def user_message(problem: BaseException, name: str) -> str | None:
    """The sentence for the user if the input is wrong, else None.

    Args:
        name: of the command; an unknown key is compared with its keys.
    """
    for cause in _causes(problem):
        if isinstance(cause, InputError):
            return str(cause)
    if is_lost_peer(problem):
        return (
            "another process of the run died; finished work is kept: continue with resume=, perhaps"
            " on one device"
        )
    if is_out_of_memory(problem):
        return "out of memory; set a smaller batch_size"
    for cause in _causes(problem):
        if isinstance(cause, OSError) and cause.errno in _OF_THE_SYSTEM:
            where = f"{cause.filename}: " if cause.filename else ""
            return f"{where}{cause.strerror}; {_OF_THE_SYSTEM[cause.errno]}"
    died = isinstance(problem, BrokenExecutor) or type(problem).__name__ == "UncompletedJobError"
    if died:  # of joblib or submitit
        return (
            "a worker process of the sweep died: it was killed or out of memory. Finished jobs are"
            " kept: python -m gan_inpaint.compare sweep= lists them; continue a job with resume="
        )
    composing = not isinstance(problem, InstantiationException)  # a target's defect is a defect
    if not (composing and isinstance(problem, HydraException | OmegaConfBaseException)):
        return None
    text = one_line(problem)
    ambiguous = re.match(r"Ambiguous value for argument '([^']+)'", text)
    if ambiguous:
        return f"{ambiguous[1]}: several values need a sweep: add -m, or quote a single value"
    unknown = re.search(r"Could not override '([^']+)'", text)
    if not unknown:
        return text
    keys = [*OmegaConf.load(CONF / f"{name}.yaml"), *GROUPS[name]]
    written = unknown[1].split(".")[0]
    near = difflib.get_close_matches(written, map(str, keys), 1)
    hint = f"; did you mean {near[0]}?" if near and near[0] != written else ""
    if unknown[1] in ("experiment", "recipe"):
        hint = f"; write +{unknown[1]}="
    if choices := _with_key(*unknown[1].partition(".")[::2]):
        others = f" (or {', '.join(choices[1:])})" if choices[1:] else ""
        cure = f"add {written}={choices[0]}{others}"
        return f"{unknown[1]}: not a key of the selected {written} config; {cure}"
    return f"{unknown[1]}: no such key{hint} (--help lists them)"


def is_lost_peer(problem: BaseException) -> bool:
    """Whether a process of a run on several devices says that another one is gone."""
    words = r"\b(gloo|nccl|NCCL)\b|Connection (closed|reset) by peer"
    return isinstance(problem, RuntimeError) and bool(re.search(words, str(problem)))


def _with_key(group: str, key: str) -> list[str]:
    """The choices of a config group that have this key; those that read files come first."""
    files = sorted((CONF / group).glob("*.yaml")) if key else []
    found = [f.stem for f in files if OmegaConf.select(OmegaConf.load(f), key, default=f) is not f]
    return sorted(found, key=lambda name: name not in ("folder", "file"))


def one_line(problem: BaseException) -> str:
    """An error's message without line breaks."""
    return " ".join(str(problem).split())


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """An error and its causes: Hydra and OmegaConf wrap the errors of targets and resolvers."""
    cause: BaseException | None = problem
    while cause is not None:
        yield cause
        wrapper = isinstance(cause, OmegaConfBaseException)
        cause = cause.__cause__ or (cause.__context__ if wrapper else None)
