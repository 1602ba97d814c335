"""The directory of a run: what it holds, and when a command may write there.

Hydra would write ``.hydra/`` before our checks run, so a refused command would leave its settings
beside another run's results. Therefore Hydra writes nothing (``output_subdir: null`` in ``conf/``);
``RunDirectory.accept`` does.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from gan_inpaint.errors import InputError
from gan_inpaint.jobs.claim import claim
from gan_inpaint.runtime.io import write_json, write_text

_RESULTS = {
    "training": ("checkpoints/*.ckpt", "hpc_ckpt_*.ckpt", "prior.safetensors"),
    "reconstruction": ("results.csv", "latents.safetensors", "images/*.png"),
}
_KIND = {"train": "training", "train_guide": "training", "reconstruct": "reconstruction"}
_DIGESTS = {
    "prior": "another prior",
    "statistics": "another guide beside the prior",
    "images": "other images",
    "conditions": "other conditions of the images",
    "masks": "other masks",
}


@dataclass(frozen=True)
class Invocation:
    """How a command was called.

    Attributes:
        command: ``train``, ``train_guide`` or ``reconstruct``; others have no directory.
        overrides: of the job.
        settings: file below ``.hydra`` -> what is written there when the job is accepted.
        resume: the directory that it continues.
        sweep: of the sweep that the job is part of.
        job: its number there.
    """

    command: str
    overrides: Sequence[str]
    settings: Mapping[str, str]
    resume: str | None = None
    sweep: Path | None = None
    job: int | None = None


class RunDirectory:
    """Where a command writes.

    Attributes:
        path: of the directory.
        holds: the kind of results in it when the command began: ``training``, ``reconstruction``
            or None.
        process: this process's number among those that share a run, from 0.
        sweep: the directory of the sweep that this job is part of, if it is.
        job: its number there.
        accepted: whether the command may write there. A directory without results is accepted at
            once, so that a failing job is recorded in it.

    Args:
        call: how the command was called.
    """

    def __init__(self, path: Path, call: Invocation):
        self.path, self._call = path, call
        self.sweep, self.job = call.sweep, call.job
        command, resume = call.command, call.resume
        if resume is not None and call.sweep:
            raise InputError("resume= continues a single run: leave out -m")
        if resume is not None and Path(resume).resolve() != path.resolve():
            raise InputError(
                f"resume={resume} already sets the run's directory: leave out hydra.run.dir="
            )
        if command in _KIND and (path / "multirun.yaml").is_file():
            raise InputError(f"{path} holds a sweep: name another directory with hydra.run.dir=")
        self.holds = _result_kind(path)
        self.accepted = False
        self.process = process_number(command)
        if command not in _KIND or self.process:
            self.accepted = True
        elif self.holds is None and resume is None and not self._identity.is_file():
            self.accept()

    @property
    def settings(self) -> Path:
        """Where the settings lie."""
        return self.path / ".hydra"

    @property
    def _identity(self) -> Path:
        """The identity of the reconstruction that was begun there."""
        return self.settings / "identity.json"

    def check_training(self, resume: bool) -> bool:
        """Whether a training continues the one in the directory; call ``accept`` before writing.

        SLURM requeues a job by starting the same command again; that one continues too.

        Args:
            resume: whether the command has ``resume=``.

        Raises:
            InputError: the directory holds another command's results.
        """
        if resume or self.process or self.holds is None:
            return resume
        if _is_requeued() and _overrides(self.settings) == list(self._call.overrides):
            return True
        cure = f"continue it with resume={self.path}, or " if self.holds == "training" else ""
        raise InputError(
            f"{self.path} holds a {self.holds}: {cure}name another directory with hydra.run.dir="
        )

    def begin_reconstruction(self, identity: Mapping[str, Any]) -> None:
        """Accept a reconstruction if none was begun in the directory, or the same one.

        Args:
            identity: everything that affects its results, as plain values.

        Raises:
            InputError: the directory holds another job's results; names the difference.
        """
        if self.holds == "training":
            raise InputError(
                f"{self.path} holds a training: name another directory with hydra.run.dir="
            )
        if self.process:
            return
        file = self._identity
        try:
            if file.is_file():
                before, now = _read(file), json.loads(json.dumps(identity))
            elif self.holds:
                raise ValueError("results without an identity")
            else:
                before = now = {}
            differs = _difference(before, now)
        except (OSError, ValueError, TypeError, AttributeError):
            raise InputError(
                f"{self.path}: its contents are damaged, or not written by this command; start a"
                " new job in another directory"
            ) from None
        if differs:
            raise InputError(
                f"{self.path}: this job was started with {differs}; use the original value, or"
                " start a new job in another directory"
            )
        self.accept()
        write_json(file, identity)

    def accept(self) -> None:
        """Write the settings to ``.hydra``, or to ``.hydra/resumed_...`` when continuing a run."""
        if self.accepted:
            return
        self.accepted = True
        logging.getLogger("gan_inpaint").info(
            "python -m gan_inpaint.%s %s", self._call.command, " ".join(sys.argv[1:])
        )
        folder = self.settings
        if self.holds or self._call.resume is not None:
            now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
            folder = folder / f"resumed_{now}"
        for name, text in self._call.settings.items():
            write_text(folder / name, text)


@contextmanager
def claim_run(command: str, path: Path) -> Iterator[None]:
    """Keep other commands out of a run's directory, if the command writes there.

    The first of several processes that share a run does so for all.

    Raises:
        InputError: another command runs there.
    """
    if command not in _KIND or process_number(command):
        yield
        return
    with claim(path, "name another directory with hydra.run.dir="):
        yield


def check_sweep(sweep: Path, overrides: list[str]) -> None:
    """Refuse a sweep into the directory of another one, before Hydra writes there.

    Args:
        overrides: the new sweep's, as on the command line.

    Raises:
        InputError: ``sweep`` holds a sweep of other settings.
    """
    if kind := _result_kind(sweep):
        raise InputError(f"{sweep} holds a {kind}: name another directory with hydra.sweep.dir=")
    try:
        settings = yaml.safe_load((sweep / "multirun.yaml").read_text("utf-8"))
        before = settings["hydra"]["overrides"]["task"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError, yaml.YAMLError):
        return  # no sweep, or a damaged one: each job checks its own directory
    if before != overrides:
        raise InputError(
            f"{sweep} holds the sweep {' '.join(map(str, before))}: name another directory with"
            " hydra.sweep.dir=, or continue one of its jobs with resume="
        )


def _result_kind(path: Path) -> str | None:
    """The kind of run whose results lie in a directory."""
    return next(
        (kind for kind, found in _RESULTS.items() if any(map(any, map(path.glob, found)))), None
    )


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _difference(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> str:
    """The first difference of two identities, in words; empty if they are equal."""
    for key in dict.fromkeys([*before, *now]):
        one, other = before.get(key), now.get(key)
        name = key if within in ("", "settings.") else f"{within}{key}"
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            if found := _difference(one, other, f"{key}."):
                return found
        elif one != other:
            if key in _DIGESTS:
                return f"{_DIGESTS[key]} (the content has changed)"
            return f"{name}={one} (now {other})"
    return ""


def _overrides(settings: Path) -> list[str] | None:
    try:
        return yaml.safe_load((settings / "overrides.yaml").read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def process_number(command: str) -> int:
    """This process's number among those that share a run, as Lightning or SLURM sets it."""
    names = ["LOCAL_RANK"]
    if command != "reconstruct":  # whose SLURM tasks may be separate jobs: shards
        names.append("SLURM_PROCID")
    ranks = [os.environ.get(name, "0") for name in names]
    return max(int(rank) if rank.isdecimal() else 0 for rank in ranks)


def _is_requeued() -> bool:
    return os.environ.get("SLURM_RESTART_COUNT", "0").strip() not in ("", "0")
