"""Commands from Hydra configs: validation, one-sentence errors, exit codes.

0 done; 2 a mistake in the input or the machine's limits, one sentence on stderr; 1 a defect, with
its traceback; 130 and 143 stopped by SIGINT and SIGTERM. A job of a sweep that fails is recorded
and the others go on.
"""

import logging
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

os.environ["HYDRA_FULL_ERROR"] = "1"  # before Hydra: or it prints and exits by itself

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from gan_inpaint.cli.config import CONF
from gan_inpaint.cli.error_messages import GROUPS, one_line, user_message
from gan_inpaint.cli.overrides import prepared
from gan_inpaint.cli.run_directory import RunDirectory, check_sweep
from gan_inpaint.errors import InputError
from gan_inpaint.runtime.schema import validate_config
from gan_inpaint.runtime.signals import Interrupted, handle_signals

S = TypeVar("S")

_exit_codes = [0]  # of the jobs that ran in this process; the command's is the gravest


def command(
    name: str, schema: type, failed: Callable[[Path, DictConfig, str], None] | None = None
) -> Callable[[Callable[[Any, RunDirectory], None]], Callable[[], None]]:
    """Turn ``job(settings, run)`` into a command.

    Args:
        name: of its module and of its YAML file in ``conf``.
        schema: dataclass of its root keys; ``job`` gets an instance.
        failed: called with the job's directory, config and error when a job fails that had been
            accepted there, to record it.
    """

    def decorate(job: Callable[[Any, RunDirectory], None]) -> Callable[[], None]:
        @hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")
        def task(cfg: DictConfig) -> None:
            os.chdir(HydraConfig.get().runtime.cwd)  # hydra.job.chdir moves no path of the user's
            directory = Path(HydraConfig.get().runtime.output_dir)
            if os.environ.get("LOCAL_RANK", "0") != "0":  # the first process speaks
                sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
            run = None
            try:
                _check_hydra_settings()
                run = RunDirectory(directory, name, cfg)
                job(validate_config(cfg, schema), run)
            except Exception as problem:
                mistake = user_message(problem, name)
                if failed and run and run.accepted:
                    failed(directory, cfg, mistake or f"{type(problem).__name__}: {problem}")
                # raising would end a sweep: say it, remember it, let the other jobs go on
                where = f"job {HydraConfig.get().job.num}: " if _sweeping() else ""
                _report(problem, mistake, where)
            except Interrupted as stop:
                # whatever the signal has cut in two, it is the signal that counts
                with suppress(Exception):
                    if "resume" in cfg:
                        where = os.path.relpath(directory)
                        stop.cure = f"; go on with: python -m gan_inpaint.{name} resume={where}"
                    if failed and run and run.accepted:
                        failed(directory, cfg, f"stopped by {stop}")
                    if _sweeping() and name == "reconstruct":  # Hydra will not come to its end
                        from gan_inpaint.reporting import comparison

                        comparison.compare(Path(HydraConfig.get().sweep.dir))
                raise

        def main() -> None:
            _exit_codes[:] = [0]
            logging.getLogger("torch").setLevel(logging.WARNING)
            logging.raiseExceptions = False  # a log that cannot be written is not worth a traceback
            try:
                with handle_signals():
                    sys.argv[1:] = prepared(sys.argv[1:])
                    task()
            except Exception as problem:
                # what happens before a job begins is a matter of the command line
                before = not HydraConfig.initialized()
                _report(
                    problem, user_message(problem, name) or (before and one_line(problem)) or None
                )
            except Interrupted as stop:
                if os.environ.get("LOCAL_RANK", "0") == "0":  # one of several processes says it
                    print(f"stopped by {stop}{stop.cure}", file=sys.stderr)
                _exit_codes.append(stop.code)
            code = 1 if 1 in _exit_codes else max(_exit_codes)
            if code:
                sys.exit(code)

        return main

    return decorate


def _check_hydra_settings() -> None:
    """Refuse Hydra's own settings under which no run could be compared or resumed."""
    for override in HydraConfig.get().overrides.hydra:
        if override.startswith("hydra.output_subdir=") and not os.environ.get("LOCAL_RANK"):
            raise InputError(
                f"{override}: a run keeps its settings in .hydra, for resume and compare; leave"
                " hydra.output_subdir out"
            )


def instantiate_checked(group: str, choice: Mapping[str, Any], **rest: Any) -> Any:
    """``instantiate`` what a group's choice describes; values that do not fit are mistakes.

    Args:
        group: its name, for the message.
        choice: the config with its ``_target_``, whose type hints the values are checked against
            if it is ours.
        rest: further arguments.
    """
    if choice["_target_"].startswith("gan_inpaint."):
        target = get_object(choice["_target_"])
        hints = get_type_hints(vars(target)["__init__"] if isinstance(target, type) else target)
        given = {key: value for key, value in choice.items() if not key.startswith("_")}
        for key in given.keys() - hints.keys():
            raise InputError(f"{group}.{key}: there is no such key (--help lists them)")
        schema = make_dataclass(group, [(key, hints[key]) for key in given])
        choice = {**choice, **vars(validate_config(OmegaConf.create(given), schema, group))}
    try:
        return instantiate(choice, _convert_="all", **rest)
    except InstantiationException as problem:
        reason = " ".join(str(problem.__cause__ or problem).split())
        raise InputError(f"{group}: {reason}") from problem


def run_settings(run: Path, name: str, schema: type[S], changes: Sequence[str] = ()) -> S:
    """The settings of a finished or interrupted run, with what its resumes have changed since.

    Args:
        run: its directory.
        name: of the command that it is a run of.
        schema: of that command's root keys.
        changes: overrides that come last.
    """
    started = run / ".hydra" / "overrides.yaml"
    told = _overrides(started)
    if told is None:
        raise InputError(f"{started}: not the settings of a run of {name}; start a new one")
    for file in sorted(run.glob(".hydra/resumed_*/overrides.yaml")):
        told += _overrides(file) or []  # a resume that was killed before it began
    told += changes
    latest: dict[str, str] = {}
    for override in told:
        key = override.partition("=")[0]
        if "_target_" in override or "${" in override or key.lstrip("+~").startswith("hydra"):
            raise InputError(
                f"{run}: {override} in its settings could run any program; start a new run with it"
            )
        latest[key] = override
    if name == "train" and HydraConfig.get().job.name != "train":
        latest.setdefault("name", "name=train")  # its default asks for the job's own choices
    return composed(name, list(latest.values()), schema)


def composed(name: str, overrides: Sequence[str], schema: type[S]) -> S:
    """The settings of a command that is given these overrides."""
    try:
        return validate_config(hydra.compose(name, list(overrides)), schema)
    except Exception as problem:  # whatever it is, the overrides are to blame
        raise InputError(user_message(problem, name) or one_line(problem)) from problem


def _overrides(file: Path) -> list[str] | None:
    """What a command was given, from the file that Hydra keeps; None if it is not whole."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    whole = isinstance(content, list) and all(isinstance(item, str) for item in content)
    return content if whole else None


def resumed(run: str, name: str, schema: type[S]) -> S:
    """``run_settings`` for a command that goes on with one of its own runs."""
    if _sweeping():
        raise InputError("resume continues one run in its own directory: leave out -m")
    changes = [str(override) for override in HydraConfig.get().overrides.task]
    return run_settings(Path(run), name, schema, changes)


def chosen(group: str, resumed: Path | None = None) -> str | None:
    """Which file of a config group a run was started with, if any.

    Args:
        resumed: the run's directory if it goes on; else the run is this command's own.
    """
    if resumed is None:
        return HydraConfig.get().runtime.choices.get(group)
    return OmegaConf.load(resumed / ".hydra" / "hydra.yaml").hydra.runtime.choices.get(group)


def _sweeping() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _report(problem: Exception, mistake: str | None, where: str = "") -> None:
    if mistake:
        print(f"error: {where}{mistake}", file=sys.stderr)
    else:
        traceback.print_exception(problem)
    _exit_codes.append(2 if mistake else 1)


class GuardSweep(Callback):
    """Ends a sweep into the directory of another one before Hydra writes there."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            check_sweep(Path(config.hydra.sweep.dir), list(config.hydra.overrides.task))
        except InputError as problem:
            _report(problem, str(problem))
            raise SystemExit(2) from None  # Hydra takes any Exception of a callback for a warning


class CompareJobs(GuardSweep):
    """Rewrites a sweep's comparison as its jobs end, and prints it after the last one.

    Seldom enough that a sweep of hundreds of jobs spends a tenth of its time on it at most.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        started = time.monotonic()
        if _sweeping() and started >= self._next:
            from gan_inpaint.reporting import comparison

            comparison.compare(Path(config.hydra.sweep.dir))
            ended = time.monotonic()
            self._next = ended + 10 * (ended - started)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from gan_inpaint.reporting import comparison

        comparison.compare(Path(config.hydra.sweep.dir))
        failures = comparison.show(Path(config.hydra.sweep.dir))
        if failures and max(_exit_codes) == 0:  # the jobs ran in other processes
            _exit_codes.append(2)


def _help_text(name: str) -> str:
    """The commented YAML itself is the help: the keys, their defaults and what they mean."""
    text = (CONF / f"{name}.yaml").read_text(encoding="utf-8")
    keys = text.partition("\nhydra:")[0].replace("$", "$$")
    lines = [f"python -m gan_inpaint.{name} [KEY=VALUE ...]", "", keys.rstrip(), ""]
    for group in GROUPS[name]:
        plus = "+" if group in ("experiment", "recipe") else ""
        for file in sorted((CONF / group).glob("*.yaml")):
            text = re.sub(r"^(_target_|_partial_|# @package).*\n", "", file.read_text(), flags=re.M)
            text = "".join(f"  {line}\n" for line in text.replace("$", "$$").splitlines())
            lines += [f"{plus}{group}={file.stem}", text]
    lines += ["Sweep with -m KEY=A,B,C. Show the composed config with --cfg job.", ""]
    return "\n".join(lines)


def _run_dir(name: str, resume: str | None, new: str) -> str:
    """Where a run goes; checked here, since Hydra creates the directory first of all."""
    if resume is None:
        return new
    for needed in (".hydra/overrides.yaml", *_LEFT_BY[name]):
        if not (Path(resume) / needed).is_file():
            raise InputError(f"resume={resume}: not a run of {name}, it has no {needed}")
    return resume


_LEFT_BY = {"train": ("train.log",), "reconstruct": ("reconstruct.log",)}


OmegaConf.register_new_resolver("help_text", _help_text, replace=True)
OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True)
