"""The directory of a run: what it holds, and when a command may write there.

Hydra would write ``.hydra/`` before any code of ours has looked: a command that is then refused
would leave its settings beside another run's results. So Hydra writes none (``output_subdir: null``
in ``conf/``), and ``RunDirectory.accept`` does.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from gan_inpaint.errors import InputError
from gan_inpaint.runtime.io import write_json, write_text

_RESULTS = {
    "training": ("checkpoints/*.ckpt", "hpc_ckpt_*.ckpt", "prior.safetensors"),
    "reconstruction": ("results.csv", "latents.safetensors", "images/*.png"),
}
_KIND = {"train": "training", "reconstruct": "reconstruction"}


class RunDirectory:
    """Where a command writes.

    Attributes:
        path: of the directory.
        holds: the results in it when the command began: ``training``, ``reconstruction`` or None.
        process: of several that share a run, the number of this one; 0 is the first.
        accepted: whether the command may write there. A directory without results is taken at
            once, so that a job that fails is recorded in it.

    Args:
        command: ``train`` or ``reconstruct``; other commands have no directory of their own.
        config: the job's composed config.
    """

    def __init__(self, path: Path, command: str, config: DictConfig):
        self.path, self._command, self._config = path, command, config
        resume = config.get("resume")
        if resume is not None and Path(resume).resolve() != path.resolve():
            raise InputError(f"resume={resume} goes on in that directory: leave out hydra.run.dir=")
        if command in _KIND and (path / "multirun.yaml").is_file():
            raise InputError(f"{path} holds a sweep: name another directory with hydra.run.dir=")
        self.holds = _held(path)
        self.accepted = False
        self.process = _process(command)
        if command not in _KIND or self.process:
            self.accepted = True
        elif self.holds is None and config.resume is None:
            self.accept()

    @property
    def settings(self) -> Path:
        """Where the settings lie."""
        return self.path / ".hydra"

    @property
    def sweep(self) -> Path | None:
        """The directory of the sweep that this job is part of, if it is."""
        hydra = HydraConfig.get()
        return Path(hydra.sweep.dir) if hydra.mode == RunMode.MULTIRUN else None

    def check_training(self, resume: bool) -> bool:
        """Whether a training goes on with what is there; to be accepted before it writes.

        SLURM requeues a job by starting the same command again: that one goes on.

        Args:
            resume: whether the command asks for it.

        Raises:
            InputError: it would mix with the results of another command.
        """
        if resume or self.process or self.holds is None:
            return resume
        if _is_requeued() and _overrides(self.settings) == _task_overrides():
            return True
        cure = f"go on with resume={self.path}, or " if self.holds == "training" else ""
        raise InputError(
            f"{self.path} holds a {self.holds}: {cure}name another directory with hydra.run.dir="
        )

    def begin_reconstruction(self, identity: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Accept a reconstruction if the directory holds none, or this very one.

        Args:
            identity: everything that its results depend on, as plain values.
            about: the keys of summary.json by which an older version's job is known, which kept no
                identity.

        Raises:
            InputError: what is there was made by another command; names what differs.
        """
        if self.holds == "training":
            raise InputError(
                f"{self.path} holds a training: name another directory with hydra.run.dir="
            )
        if self.process:
            return
        file = self.settings / "identity.json"
        try:
            if self.holds and file.is_file():
                before, now = _read(file), json.loads(json.dumps(identity))
            elif self.holds and (self.path / "summary.json").is_file():
                summary = _read(self.path / "summary.json")
                now = dict(about)
                before = {key: summary.get(key) for key in now} if "seconds" in summary else now
            elif self.holds:
                raise ValueError("images of which nothing is known")
            else:
                before = now = {}
            differs = _difference(before, now)
        except (OSError, ValueError, TypeError, AttributeError):
            raise InputError(
                f"{self.path}: what is there is damaged, or no job's; start a new one in another"
                " directory"
            ) from None
        if differs:
            raise InputError(
                f"{self.path}: the job was for {differs}; give it as then, or start a new job in"
                " another directory"
            )
        self.accept()
        if file.is_file() or not self.holds:
            write_json(file, identity)

    def accept(self) -> None:
        """Keep the command's settings: its own in a new directory, beside the first ones else."""
        if self.accepted:
            return
        self.accepted = True
        logging.getLogger("gan_inpaint").info(
            "python -m gan_inpaint.%s %s", self._command, " ".join(sys.argv[1:])
        )
        folder = self.settings
        if self.holds or self._config.resume is not None:
            now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
            folder = folder / f"resumed_{now}"
        write_text(folder / "config.yaml", OmegaConf.to_yaml(self._config))
        hydra = OmegaConf.create({"hydra": OmegaConf.to_container(HydraConfig.get())})
        write_text(folder / "hydra.yaml", OmegaConf.to_yaml(hydra))
        # last: a run goes by this file
        write_text(folder / "overrides.yaml", OmegaConf.to_yaml(HydraConfig.get().overrides.task))


def check_sweep(sweep: Path, overrides: list[str]) -> None:
    """Refuse a sweep into the directory of another one, before Hydra writes there.

    Args:
        overrides: of the new sweep, as on the command line.

    Raises:
        InputError: ``sweep`` holds a sweep of other settings.
    """
    if kind := _held(sweep):
        raise InputError(f"{sweep} holds a {kind}: name another directory with hydra.sweep.dir=")
    try:
        told = yaml.safe_load((sweep / "multirun.yaml").read_text("utf-8"))
        before = told["hydra"]["overrides"]["task"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError, yaml.YAMLError):
        return  # none there, or none that can be read: each job looks for itself
    if before != overrides:
        raise InputError(
            f"{sweep} holds the sweep {' '.join(map(str, before))}: name another directory with"
            " hydra.sweep.dir=, or go on with one of its jobs by resume="
        )


def _held(path: Path) -> str | None:
    """The kind of run whose results lie in a directory."""
    return next(
        (kind for kind, found in _RESULTS.items() if any(map(any, map(path.glob, found)))), None
    )


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _difference(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> str:
    """What two identities differ in first, in words; empty if they are equal."""
    for key in dict.fromkeys([*before, *now]):
        one, other = before.get(key), now.get(key)
        name = key if within in ("", "settings.") else f"{within}{key}"
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            if found := _difference(one, other, f"{key}."):
                return found
        elif one != other:
            if key in ("prior", "images", "masks"):  # digests say nothing to a person
                return f"another content of {key}"
            return f"{name} {one}, now it is {other}"
    return ""


def _task_overrides() -> list[str]:
    return [str(override) for override in HydraConfig.get().overrides.task]


def _overrides(settings: Path) -> list[str] | None:
    try:
        return yaml.safe_load((settings / "overrides.yaml").read_text("utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None


def _process(command: str) -> int:
    """This process's number among those that share a run; Lightning or SLURM says it."""
    names = ["LOCAL_RANK"]
    if command == "train":  # the tasks of a reconstruction may be shards, jobs of their own
        names.append("SLURM_PROCID")
    ranks = [os.environ.get(name, "0") for name in names]
    return max(int(rank) if rank.isdecimal() else 0 for rank in ranks)


def _is_requeued() -> bool:
    return os.environ.get("SLURM_RESTART_COUNT", "0").strip() not in ("", "0")
