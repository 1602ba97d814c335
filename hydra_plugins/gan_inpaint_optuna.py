"""``hydra/sweeper=optuna``: sweeps in which Optuna proposes the values of the next job.

Hydra imports this module whenever it starts, in other projects too: heavy imports are in functions.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.launcher import Launcher
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
        self._launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        assert self.config is not None
        assert self.hydra_context is not None
        from gan_inpaint.evaluation.config import objectives

        try:
            from optuna.trial import TrialState
        except ImportError:
            raise InputError(
                "hydra/sweeper=optuna needs pip install 'gan_inpaint[optuna]'"
            ) from None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides(arguments)
        space = {o.get_key_element(): _distribution(o) for o in overrides if o.is_sweep_override()}
        fixed = [str(o.input_line) for o in overrides if not o.is_sweep_override()]
        if not space:
            raise InputError(
                "hydra/sweeper=optuna: no key to search; give one an interval or several values, as"
                " in 'lam=tag(log,interval(1e-6,1e-2))'"
            )
        sweep = Path(self.config.hydra.sweep.dir)
        sweep.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, sweep / "multirun.yaml")
        wanted = objectives(self.config.get("maximize"), self.config.get("minimize"))
        study = self._study(sweep / JOURNAL, wanted)
        stopped = {t.number: t.params for t in study.get_trials(states=(TrialState.RUNNING,))}
        for number in [n for n, values in stopped.items() if values.keys() != space.keys()]:
            study.tell(number, state=TrialState.FAIL)  # stopped while it was asked for
            del stopped[number]
        if stopped:
            self._run(study, stopped, fixed, wanted)
        while (left := self._n_trials - len(study.trials)) > 0:
            asked = [study.ask(space) for _ in range(min(left, self._n_jobs))]
            self._run(study, {trial.number: trial.params for trial in asked}, fixed, wanted)
            states = {trial.state for trial in study.trials}
            if states == {TrialState.FAIL} and len(study.trials) >= _FAILURES:
                raise InputError(
                    f"the first {len(study.trials)} jobs failed, so the study stops; see above why,"
                    " and start another one in another hydra.sweep.dir="
                )

    def _study(self, journal: Path, wanted: Mapping[str, str]) -> "Study":
        """The study in a file; a new one if there is none."""
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(journal))),
                study_name="sweep",
                directions=list(wanted.values()),
                load_if_exists=True,
            )
            done = len(study.trials)
        except (ValueError, LookupError, TypeError, AssertionError):
            raise InputError(
                f"{journal}: damaged; start a new study in another hydra.sweep.dir="
            ) from None
        sampler = dict(self._sampler)
        if sampler.get("seed") is not None:  # a continued study must not repeat its first draws
            sampler["seed"] += done
        study.sampler = instantiate(sampler)
        return study

    def _run(
        self,
        study: "Study",
        trials: Mapping[int, Mapping[str, Any]],
        fixed: Sequence[str],
        wanted: Mapping[str, str],
    ) -> None:
        """Run the jobs of some trials, and tell their figures."""
        from optuna.trial import TrialState

        jobs = [[*fixed, *(f"{k}={v}" for k, v in values.items())] for values in trials.values()]
        self.validate_batch_is_legal(jobs)
        returned = self._launcher.launch(jobs, initial_job_idx=min(trials))
        for number, job in zip(trials, returned, strict=True):
            found = job.return_value if job.status == JobStatus.COMPLETED else None
            if found is None:  # the job has said why
                study.tell(number, state=TrialState.FAIL)
                continue
            figures = dict(
                zip(wanted, found if isinstance(found, tuple) else (found,), strict=True)
            )
            if missing := [figure for figure, value in figures.items() if math.isnan(value)]:
                study.tell(number, state=TrialState.FAIL)
                raise InputError(
                    f"job {number} has not measured {missing[0]}; choose another figure with"
                    " maximize= or minimize="
                )
            study.tell(number, list(figures.values()))


def _distribution(override: Override) -> "BaseDistribution":
    """Optuna's word for the values that a key may take."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    values = override.value()
    log = "log" in getattr(values, "tags", ())
    try:
        if isinstance(values, IntervalSweep):
            assert values.start is not None
            assert values.end is not None
            whole = "int" in values.tags or isinstance(values.start, int)
            if whole:
                return IntDistribution(int(values.start), int(values.end), log=log)
            return FloatDistribution(float(values.start), float(values.end), log=log)
        if isinstance(values, RangeSweep) and isinstance(values.range(), range):
            whole_numbers = values.range()
            return IntDistribution(whole_numbers[0], whole_numbers[-1], step=whole_numbers.step)
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, IndexError, AssertionError) as problem:
        raise InputError(f"{override.input_line}: {problem}") from None
