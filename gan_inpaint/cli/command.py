"""Commands from Hydra configs: validation, one-sentence errors, exit codes.

0: done. 2: wrong input or a limit of the machine, one sentence on stderr. 1: a defect, with its
traceback. 130 and 143: stopped by SIGINT and SIGTERM. A failed job of a sweep is recorded, and the
other jobs continue.
"""

import json
import logging
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

os.environ["HYDRA_FULL_ERROR"] = "1"  # before importing Hydra, which else prints and exits itself

import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf

from gan_inpaint.cli.conf_path import CONF
from gan_inpaint.cli.error_messages import GROUPS, is_lost_peer, one_line, user_message
from gan_inpaint.cli.overrides import quote_arguments
from gan_inpaint.config.schema import validate_config
from gan_inpaint.errors import InputError
from gan_inpaint.functional.shapes import Size
from gan_inpaint.jobs.claim import claim
from gan_inpaint.jobs.directory import Invocation, RunDirectory, check_sweep, claim_run
from gan_inpaint.runtime.io import write_json
from gan_inpaint.runtime.signals import Interrupted, broken_pipe_interrupts, handle_signals
from gan_inpaint.runtime.streams import lasting_streams

S = TypeVar("S")

_ERRORS = ".errors"  # in a sweep's directory: what jobs in other processes leave to report
_exit_codes = [0]  # of the jobs; the command returns the worst
_process: list[int] = []  # the command's own; empty in the processes of a launcher
_sweep_claim = ExitStack()  # of the sweep's directory, until the command ends


def command(
    name: str, schema: type, failed: Callable[[Path, DictConfig, str], None] | None = None
) -> Callable[[Callable[[Any, RunDirectory], Any]], Callable[[], None]]:
    """Turn ``job(settings, run)`` into a command; a sweeper gets what the job returns, or None.

    Args:
        name: of the command's module and of its YAML file in ``conf``.
        schema: dataclass of its root keys; ``job`` gets an instance.
        failed: called with the job's directory, config and error to record a failure, if the job
            had already accepted its directory.
    """

    def decorate(job: Callable[[Any, RunDirectory], Any]) -> Callable[[], None]:
        @hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")
        def task(cfg: DictConfig) -> Any:
            os.chdir(HydraConfig.get().runtime.cwd)  # paths stay relative to the caller's directory
            directory = Path(HydraConfig.get().runtime.output_dir)
            if os.environ.get("LOCAL_RANK", "0") != "0":  # only the first process prints
                sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
            run, claimed = None, ExitStack()
            try:
                _check_hydra_settings()
                claimed.enter_context(claim_run(name, directory))
                run = RunDirectory(directory, _invocation(name, cfg))
                with broken_pipe_interrupts():
                    return job(validate_config(cfg, schema), run)
            except Exception as problem:
                if is_lost_peer(problem) and run and run.process:  # the first process reports
                    sys.exit(1)
                mistake = user_message(problem, name)
                if failed and run and run.accepted and not run.process:
                    failed(directory, cfg, mistake or f"{type(problem).__name__}: {problem}")
                # raising would end a sweep: report the error and let the other jobs continue
                sentence = mistake and f"error: {_job()}{mistake}"
                _report(sentence or "".join(traceback.format_exception(problem)), bool(mistake))
                return None
            except Interrupted as stop:
                # ignore errors caused by the interruption; report the signal
                with suppress(Exception):
                    if "resume" in cfg:
                        where = os.path.relpath(directory)
                        stop.cure = f"; continue with: python -m gan_inpaint.{name} resume={where}"
                    if failed and run and run.accepted and not run.process:
                        failed(directory, cfg, f"stopped by {stop}")
                    if _sweeping() and name == "reconstruct":  # on_multirun_end will not run
                        from gan_inpaint.reporting import comparison

                        comparison.compare(Path(HydraConfig.get().sweep.dir))
                raise
            finally:
                claimed.close()

        def main() -> None:
            with lasting_streams():
                code = run_command()
            if code:
                sys.exit(code)

        def run_command() -> int:
            """The exit code."""
            _exit_codes[:] = [0]
            _process[:] = [os.getpid()]
            logging.getLogger("torch").setLevel(logging.WARNING)
            logging.raiseExceptions = False  # a log that cannot be written is not worth a traceback
            try:
                with handle_signals(), _sweep_claim:
                    sys.argv[1:] = quote_arguments(sys.argv[1:])
                    with broken_pipe_interrupts():
                        task()
                        sys.stdout.flush()
            except Exception as problem:
                # errors before the job starts come from the command line
                before = not HydraConfig.initialized()
                mistake = user_message(problem, name) or (before and one_line(problem))
                sentence = mistake and f"error: {mistake}"
                _report(sentence or "".join(traceback.format_exception(problem)), bool(mistake))
            except Interrupted as stop:
                # of several processes the first one prints, unless it still waits for this one:
                # then Lightning kills it as soon as this one ends with an error
                speaks = os.environ.get("LOCAL_RANK", "0") == "0" or not _joined()
                if speaks and (stop.cure or not isinstance(stop.__cause__, BrokenPipeError)):
                    print(f"stopped by {stop}{stop.cure}", file=sys.stderr)
                _exit_codes.append(stop.code if speaks else 0)
            return 1 if 1 in _exit_codes else max(_exit_codes)

        return main

    return decorate


def _invocation(name: str, cfg: DictConfig) -> Invocation:
    hydra_config = HydraConfig.get()
    settings = {
        "config.yaml": OmegaConf.to_yaml(cfg),
        "hydra.yaml": OmegaConf.to_yaml(
            OmegaConf.create({"hydra": OmegaConf.to_container(hydra_config)})
        ),
        # last: this file marks a complete set of settings
        "overrides.yaml": OmegaConf.to_yaml(hydra_config.overrides.task),
    }
    return Invocation(
        name,
        [str(override) for override in hydra_config.overrides.task],
        settings,
        cfg.get("resume"),
        Path(hydra_config.sweep.dir) if _sweeping() else None,
        hydra_config.job.num if _sweeping() else None,
    )


def _check_hydra_settings() -> None:
    """Refuse Hydra settings that would make runs impossible to compare or resume."""
    for override in HydraConfig.get().overrides.hydra:
        if override.startswith("hydra.output_subdir=") and not os.environ.get("LOCAL_RANK"):
            raise InputError(
                f"{override}: a run keeps its settings in .hydra, for resume and compare; leave"
                " hydra.output_subdir out"
            )
    if _sweeping():
        hydra_config = HydraConfig.get()
        sweep, job = Path(hydra_config.sweep.dir), Path(hydra_config.runtime.output_dir)
        if sweep.resolve() not in job.resolve().parents:
            raise InputError(
                f"hydra.sweep.subdir={hydra_config.sweep.subdir}: a job's directory must lie below"
                " that of the sweep"
            )


def instantiate_checked(group: str, choice: Mapping[str, Any], **rest: Any) -> Any:
    """Hydra's ``instantiate`` for a config group, with checked values.

    Args:
        group: its name, for messages.
        choice: the config with its ``_target_``. If that is ours, the values are checked against
            its type hints.
        rest: further arguments.

    Raises:
        InputError: a key is unknown, or a value is invalid.
    """
    if choice["_target_"].startswith("gan_inpaint."):
        target = get_object(choice["_target_"])
        hints = get_type_hints(vars(target)["__init__"] if isinstance(target, type) else target)
        given = {key: value for key, value in choice.items() if not key.startswith("_")}
        for key in given.keys() - hints.keys():
            raise InputError(f"{group}.{key}: no such key (--help lists them)")
        # OmegaConf knows no such union; the model or the prior says the size
        fields = [(key, Any if hints[key] == Size else hints[key]) for key in given]
        schema = make_dataclass(group, fields)
        choice = {**choice, **vars(validate_config(OmegaConf.create(given), schema, group))}
    try:
        return instantiate(choice, _convert_="all", **rest)
    except InstantiationException as problem:
        if isinstance(problem.__cause__, InputError):
            raise problem.__cause__ from problem
        reason = " ".join(str(problem.__cause__ or problem).split())
        raise InputError(f"{group}: {reason}") from problem


def run_settings(run: Path, name: str, schema: type[S], changes: Sequence[str] = ()) -> S:
    """The settings of a finished or interrupted run, including those of later resumes.

    Args:
        run: its directory.
        name: the command that made it.
        schema: dataclass of that command's root keys.
        changes: overrides that are applied last.
    """
    started = run / ".hydra" / "overrides.yaml"
    overrides = _overrides(started)
    if overrides is None:
        raise InputError(f"{started}: not the settings of a run of {name}; start a new one")
    for file in sorted(run.glob(".hydra/resumed_*/overrides.yaml")):
        overrides += _overrides(file) or []  # None: a resume that was killed before it began
    if any(change.partition("=")[0] == "logger" for change in changes):  # others have other keys
        overrides = [o for o in overrides if not o.lstrip("+").startswith("logger.")]
    overrides += changes
    latest: dict[str, str] = {}
    for override in overrides:
        key = override.partition("=")[0]
        if key.lstrip("+") == "trust" and override not in changes:
            raise InputError(
                f"{run}: {override} in its settings lets a file run any code; if you trust it, add"
                " the same trust= to this command"
            )
        if "_target_" in override and override in changes:  # the command line says so again
            latest[key] = override
            continue
        if "_target_" in override and key in ("prior", "model._target_"):
            raise InputError(
                f"{run}: {override} in its settings could run any code; if it is yours, add the"
                f" same {key}= to this command"
            )
        if "_target_" in override or "${" in override or key.lstrip("+~").startswith("hydra"):
            raise InputError(
                f"{run}: {override} in its settings could run any code; start a new run instead"
            )
        latest[key] = override
    if name == "train" and HydraConfig.get().job.name != "train":
        latest.setdefault("name", "name=train")  # its default reads the choices of this job
    return compose_settings(name, list(latest.values()), schema)


def compose_settings(name: str, overrides: Sequence[str], schema: type[S]) -> S:
    """A command's settings under these overrides."""
    try:
        return validate_config(hydra.compose(name, list(overrides)), schema)
    except Exception as problem:  # any error comes from the overrides
        raise InputError(user_message(problem, name) or one_line(problem)) from problem


def _overrides(file: Path) -> list[str] | None:
    """The overrides in a file that Hydra wrote; None if it is damaged."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    complete = isinstance(content, list) and all(isinstance(item, str) for item in content)
    return content if complete else None


def load_resumed_settings(run: str, name: str, schema: type[S]) -> S:
    """``run_settings`` for a command that continues one of its own runs."""
    changes = [str(override) for override in HydraConfig.get().overrides.task]
    return run_settings(Path(run), name, schema, changes)


def config_choice(group: str, resumed: Path | None = None) -> str | None:
    """The file of a config group that a run was started with, if any.

    Args:
        resumed: directory of the run to continue; None means this command's own.
    """
    if resumed is None:
        return HydraConfig.get().runtime.choices.get(group)
    return OmegaConf.load(resumed / ".hydra" / "hydra.yaml").hydra.runtime.choices.get(group)


def _joined() -> bool:
    """Whether this process has met the others that share its run."""
    distributed = sys.modules.get("torch.distributed")
    return bool(distributed and distributed.is_initialized())


def _sweeping() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _job() -> str:
    """The job of a sweep, at the start of a message."""
    return f"job {HydraConfig.get().job.num}: " if _sweeping() else ""


def _report(text: str, mistake: bool) -> None:
    """Print an error, and remember the exit code; in a launcher's process, leave both to read.

    Args:
        mistake: whether it is the user's, not a defect.
    """
    code = 2 if mistake else 1
    if _process == [os.getpid()]:
        print(text.rstrip(), file=sys.stderr)
        _exit_codes.append(code)
        return
    hydra_config = HydraConfig.get()
    file = Path(hydra_config.sweep.dir) / _ERRORS / f"{hydra_config.job.num}.json"
    try:
        write_json(file, {"code": code, "text": text})
    except OSError:
        print(text.rstrip(), file=sys.stderr)


class GuardSweep(Callback):
    """Keeps a sweep's directory for it; reports the errors of jobs in other processes."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        sweep = Path(config.hydra.sweep.dir)
        try:
            _sweep_claim.enter_context(claim(sweep, "name another one with hydra.sweep.dir="))
            check_sweep(sweep, list(config.hydra.overrides.task))
        except (InputError, OSError) as problem:
            _report(f"error: {user_message(problem, config.hydra.job.name)}", mistake=True)
            # Hydra downgrades exceptions in callbacks to warnings
            raise SystemExit(2) from None
        _sweep_claim.callback(_report_others, sweep / _ERRORS)


def _report_others(errors: Path) -> None:
    """Report what launchers' processes have left, in the order of the jobs."""
    for file in sorted(errors.glob("*.json"), key=lambda file: int(file.stem)):
        left = json.loads(file.read_text(encoding="utf-8"))
        print(left["text"].rstrip(), file=sys.stderr)
        _exit_codes.append(left["code"])
    shutil.rmtree(errors, ignore_errors=True)


class CompareJobs(GuardSweep):
    """Rewrites a sweep's comparison as its jobs end, and prints it after the last one.

    Throttled, so that comparing takes at most about a tenth of a sweep's time.
    """

    def __init__(self) -> None:
        self._next = 0.0

    def on_job_end(self, config: DictConfig, job_return: Any, **kwargs: Any) -> None:
        started = time.monotonic()
        if _sweeping() and started >= self._next:
            from gan_inpaint.reporting import comparison

            with suppress(InputError):  # no job has left a result yet
                comparison.compare(Path(config.hydra.sweep.dir))
            ended = time.monotonic()
            self._next = ended + 10 * (ended - started)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from gan_inpaint.reporting import comparison

        try:
            comparison.compare(Path(config.hydra.sweep.dir))
            comparison.show(Path(config.hydra.sweep.dir))
        except InputError:  # no job has left a result
            return


def _help_text(name: str) -> str:
    """The help is the commented YAML: the keys, their defaults and their meaning."""
    text = (CONF / f"{name}.yaml").read_text(encoding="utf-8")
    keys = text.partition("\nhydra:")[0].replace("$", "$$")
    lines = [f"python -m gan_inpaint.{name} [KEY=VALUE ...]", "", keys.rstrip(), ""]
    for group in GROUPS[name]:
        plus = "+" if group in ("experiment", "recipe", "prior_preset") else ""
        for file in sorted((CONF / group).glob("*.yaml")):
            text = re.sub(r"^(_target_|_partial_|# @package).*\n", "", file.read_text(), flags=re.M)
            text = "".join(f"  {line}\n" for line in text.replace("$", "$$").splitlines())
            lines += [f"{plus}{group}={file.stem}", text]
    lines += ["Sweep with -m KEY=A,B,C. Show the composed config with --cfg job."]
    if name == "reconstruct":
        lines += ["Search with -m hydra/sweeper=optuna 'KEY=interval(LOW,HIGH)'."]
    lines += [""]
    return "\n".join(lines)


def _run_dir(name: str, resume: str | None, new: str) -> str:
    """A run's directory; checked here, because Hydra creates it before anything else."""
    if resume is None:
        return new
    for needed in (".hydra/overrides.yaml", *_LEFT_BY[name]):
        if not (Path(resume) / needed).is_file():
            raise InputError(f"resume={resume}: not a run of {name}, it has no {needed}")
    return resume


_LEFT_BY = {name: (f"{name}.log",) for name in ("train", "train_guide", "reconstruct")}


OmegaConf.register_new_resolver("help_text", _help_text, replace=True)
OmegaConf.register_new_resolver("run_dir", _run_dir, replace=True)
