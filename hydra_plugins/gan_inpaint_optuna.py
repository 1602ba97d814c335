"""``hydra/sweeper=optuna``: sweeps in which Optuna proposes the values of the next job.

Hydra imports this module whenever it starts, in other projects too: heavy imports are in functions.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.errors import InstantiationException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from gan_inpaint.errors import InputError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

JOURNAL = "optuna.journal"  # the study, in the directory of the sweep
_FAILURES = 3  # first jobs that fail before a study is given up


class OptunaSweeper(Sweeper):
    """Asks Optuna for values, runs the jobs, and tells it their figures.

    A swept value is an ``interval``, a ``range``, or a choice: ``lr=0.01,0.1``. The tag ``log``
    searches an interval on a logarithmic scale, the tag ``int`` takes whole numbers only. A job
    that was stopped runs again when the study is continued; a job that failed does not.

    Args:
        n_trials: number of jobs in all, including those of an interrupted study.
        n_jobs: number of jobs launched together.
        sampler: config of one of Optuna's samplers, with its ``_target_``.
    """

    def __init__(self, n_trials: int, n_jobs: int, sampler: DictConfig):
        self._n_trials, self._n_jobs, self._sampler = n_trials, n_jobs, sampler
        for key, value in (("n_trials", n_trials), ("n_jobs", n_jobs)):
            if not isinstance(value, int) or value < 1:
                raise InputError(f"hydra.sweeper.{key}={value}: must be a whole number from 1 on")

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context, self.config = hydra_context, config
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from gan_inpaint.jobs.config import objectives

        try:
            from optuna.trial import TrialState
        except ImportError:
            raise InputError(
                "hydra/sweeper=optuna needs pip install 'gan_inpaint[optuna]'"
            ) from None
        assert self.config is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides(arguments)
        space = {o.get_key_element(): _distribution(o) for o in overrides if o.is_sweep_override()}
        self._fixed = [str(o.input_line) for o in overrides if not o.is_sweep_override()]
        if not space:
            raise InputError(
                "hydra/sweeper=optuna: no key to search; give one an interval or several values, as"
                " in 'lam=tag(log,interval(1e-6,1e-2))'"
            )
        if "maximize" not in self.config:
            raise InputError("hydra/sweeper=optuna: only reconstruct returns a figure to optimise")
        if several := [key for key in ("maximize", "minimize") if key in space]:
            raise InputError(f"{several[0]}: put several figures in brackets, {several[0]}=[A,B]")
        self._wanted = objectives(self.config.maximize, self.config.minimize, space)
        sweep = Path(self.config.hydra.sweep.dir)
        sweep.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, sweep / "multirun.yaml")
        study = self._study(sweep / JOURNAL)
        stopped = {t.number: t.params for t in study.get_trials(states=(TrialState.RUNNING,))}
        for number in [n for n, values in stopped.items() if values.keys() != space.keys()]:
            study.tell(number, state=TrialState.FAIL)  # stopped while it was asked for
            del stopped[number]
        if stopped:
            self._run(study, stopped)
        while (left := self._n_trials - len(study.trials)) > 0:
            asked = [study.ask(space) for _ in range(min(left, self._n_jobs))]
            self._run(study, {trial.number: trial.params for trial in asked})
            failed = all(trial.state == TrialState.FAIL for trial in study.trials)
            if failed and len(study.trials) >= _FAILURES:
                raise InputError(
                    f"the first {len(study.trials)} jobs failed, so the study stops; see above why,"
                    " and start another one in another hydra.sweep.dir="
                )

    def _study(self, journal: Path) -> "Study":
        """The study in a file; a new one if there is none."""
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        kept: dict[str, Any] = {"study_name": "sweep", "directions": list(self._wanted.values())}
        try:
            storage = JournalStorage(JournalFileBackend(str(journal)))
            study = optuna.create_study(storage=storage, load_if_exists=True, **kept)
            sampler = dict(self._sampler)
            if sampler.get("seed") is not None:  # a continued study must not repeat its draws
                sampler["seed"] += len(study.trials)
        except (ValueError, LookupError, TypeError, AssertionError):
            raise InputError(f"{journal}: damaged; name another hydra.sweep.dir=") from None
        try:
            study.sampler = instantiate(sampler)
        except InstantiationException as problem:
            raise InputError(f"hydra.sweeper.sampler: {problem.__cause__ or problem}") from None
        return study

    def _run(self, study: "Study", trials: Mapping[int, Mapping[str, Any]]) -> None:
        """Run the jobs of some trials, and tell their figures."""
        from optuna.trial import TrialState

        jobs = [[*self._fixed, *(f"{k}={v}" for k, v in t.items())] for t in trials.values()]
        self.validate_batch_is_legal(jobs)
        returned = self._launcher.launch(jobs, initial_job_idx=min(trials))
        for number, job in zip(trials, returned, strict=True):
            found = job.return_value if job.status == JobStatus.COMPLETED else None
            if found is None:  # the job has said why
                study.tell(number, state=TrialState.FAIL)
                continue
            figures = list(found) if isinstance(found, tuple) else [found]
            named = zip(self._wanted, figures, strict=True)
            if missing := [figure for figure, value in named if math.isnan(value)]:
                study.tell(number, state=TrialState.FAIL)
                if any(trial.state == TrialState.COMPLETE for trial in study.trials):
                    continue
                raise InputError(
                    f"job {number} has not measured {missing[0]}; choose another figure with"
                    " maximize= or minimize="
                )
            study.tell(number, figures)


def _distribution(override: Override) -> "BaseDistribution":
    """Optuna's word for the values that a key may take."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    values: Any = override.value()
    try:
        if isinstance(values, IntervalSweep):
            log, whole = "log" in values.tags, "int" in values.tags or isinstance(values.start, int)
            if whole:
                return IntDistribution(int(values.start), int(values.end), log=log)  # type: ignore[arg-type]
            return FloatDistribution(float(values.start), float(values.end), log=log)  # type: ignore[arg-type]
        if isinstance(values, RangeSweep) and isinstance(numbers := values.range(), range):
            return IntDistribution(numbers[0], numbers[-1], step=numbers.step)
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, IndexError) as problem:
        raise InputError(f"{override.input_line}: {problem}") from None
