"""``hydra/sweeper=optuna``: what is proposed, told, continued, and refused."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import Ran, save_tiny_prior, write_pictures

import gan_inpaint
from gan_inpaint.errors import InputError
from gan_inpaint.jobs.config import objectives
from gan_inpaint.runtime.signals import Interrupted

optuna = pytest.importorskip("optuna")
Run = Callable[..., Ran]
SPACE = ["lam=tag(log,interval(1e-6,1e-1))", "norm=l1,l2"]


@pytest.fixture
def base(tmp_path: Path) -> list[str]:
    tiny = save_tiny_prior(tmp_path / "tiny.safetensors")
    rest = ["data=generated", "data.count=2", "candidates=8", "steps=4", "logger=none"]
    return ["-m", "hydra/sweeper=optuna", f"prior={tiny}", *rest, "hydra.sweep.dir=sweep"]


def study(sweep: Path):  # type: ignore[no-untyped-def]
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(sweep / "optuna.journal")))
    return optuna.load_study(study_name="sweep", storage=storage)


def overrides(job: Path) -> dict[str, str]:
    told = yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text())
    return dict(word.split("=", 1) for word in told)


def test_figures_of_the_jobs_are_told_and_a_study_goes_on(
    base: list[str], run: Run, tmp_path: Path
) -> None:
    ran = run("reconstruct", *base, *SPACE, "hydra.sweeper.n_trials=3")
    assert ran.code == 0, ran.err
    sweep = tmp_path / "sweep"
    ran = run("reconstruct", *base, *SPACE, "hydra.sweeper.n_trials=5")
    assert ran.code == 0, ran.err
    found = study(sweep)
    assert [t.state.name for t in found.trials] == ["COMPLETE"] * 5
    assert found.direction.name == "MAXIMIZE"
    table = {
        int(row.split(",")[0]): row for row in (sweep / "comparison.csv").read_text().split()[1:]
    }
    for trial in found.trials:
        told = overrides(sweep / str(trial.number))
        assert float(told["lam"]) == trial.params["lam"]
        assert told["norm"] == trial.params["norm"]
        assert f",{trial.value}" in table[trial.number]
    assert len({t.params["lam"] for t in found.trials}) == 5, "no draw is repeated"
    assert run("reconstruct", *base, *SPACE, "hydra.sweeper.n_trials=5").code == 0, "it is done"
    assert not (sweep / "5").exists()
    other = run("reconstruct", *base, "lam=interval(0,1)", "hydra.sweeper.n_trials=9")
    assert other.code == 2
    assert "holds the sweep" in other.sentence


def test_a_stopped_job_runs_again_with_its_values(
    base: list[str], run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = gan_inpaint.LatentReconstruction._search
    calls = []

    def stopped(self: object, *args: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise Interrupted(15)
        return search(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(gan_inpaint.LatentReconstruction, "_search", stopped)
    ran = run("reconstruct", *base, *SPACE, "hydra.sweeper.n_trials=3")
    assert ran.code == 143, ran.err
    sweep = tmp_path / "sweep"
    before = overrides(sweep / "1")
    assert [t.state.name for t in study(sweep).trials] == ["COMPLETE", "RUNNING"]
    ran = run("reconstruct", *base, *SPACE, "hydra.sweeper.n_trials=3")
    assert ran.code == 0, ran.err
    assert [t.state.name for t in study(sweep).trials] == ["COMPLETE"] * 3
    assert overrides(sweep / "1") == before
    assert len(calls) == 4


def test_a_failed_job_is_told_as_failed_and_the_study_goes_on(
    base: list[str], run: Run, tmp_path: Path
) -> None:
    words = ["restarts=choice(0,1)", "hydra.sweeper.n_trials=6"]
    ran = run("reconstruct", *base, *words)
    assert ran.code == 2, "one of the jobs was wrong"
    states = {t.params["restarts"]: t.state.name for t in study(tmp_path / "sweep").trials}
    assert states == {"0": "FAIL", "1": "COMPLETE"}


def test_several_objectives(base: list[str], run: Run, tmp_path: Path) -> None:
    words = ["maximize=psnr_hole", "minimize=[perceptual,seconds]", "hydra.sweeper.n_trials=2"]
    ran = run("reconstruct", *base, *SPACE, *words, "hydra.sweeper.n_jobs=2")
    assert ran.code == 0, ran.err
    found = study(tmp_path / "sweep")
    assert [d.name for d in found.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    assert all(len(t.values) == 3 for t in found.trials)


def test_without_the_truth_another_figure_is_needed(
    base: list[str], run: Run, tmp_path: Path
) -> None:
    pictures = write_pictures(tmp_path / "pictures", 2)
    words = ["data=folder", f"data.path={pictures}", "data.truth=false"]
    base = [word for word in base if not word.startswith("data")]
    ran = run("reconstruct", *base, *words, *SPACE)
    assert ran.code == 2
    assert "job 0 has not measured psnr_hole" in ran.sentence
    words += ["maximize=psnr_known", "hydra.sweep.dir=other", "hydra.sweeper.n_trials=2"]
    ran = run("reconstruct", *[w for w in base if "sweep.dir" not in w], *words, *SPACE)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lam=0.1"], "no key to search"),
        (["lam=tag(log,interval(0,1))"], "lam=tag(log,interval(0,1))"),
        (["lam=0,1", "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0"),
        (["lam=0,1", "maximize=beauty"], "maximize=beauty: no such figure"),
        (["lam=0,1", "minimize=objective"], "minimize=objective: another quantity for every lam"),
        (
            ["norm=l1,l2", "minimize=contextual"],
            "minimize=contextual: another quantity for every norm",
        ),
        (["lam=0,1", "hydra.sweeper.sampler._target_=optuna.samplers.Nothing"], "Nothing"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    words: list[str], said: str, base: list[str], run: Run
) -> None:
    ran = run("reconstruct", *base, *words)
    assert ran.code == 2, ran.err
    assert said in ran.sentence


def test_a_training_returns_nothing_to_optimise(run: Run) -> None:
    ran = run("train", "-m", "hydra/sweeper=optuna", "seed=1,2")
    assert ran.code == 2
    assert "only reconstruct returns a figure" in ran.sentence


def test_a_study_whose_first_jobs_fail_ends(base: list[str], run: Run, tmp_path: Path) -> None:
    ran = run("reconstruct", *base, "lam=interval(0,1)", "minimize=feature_distance")
    assert ran.code == 2
    assert ran.err.count("measured only with metrics=[feature_distance]: add that") == 3
    assert "the first 3 jobs failed, so the study stops" in ran.err


def test_a_missing_extra_is_one_sentence(
    base: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna.trial", None)
    ran = run("reconstruct", *base, "lam=0,1")
    assert ran.code == 2
    assert "pip install 'gan_inpaint[optuna]'" in ran.sentence


def test_a_damaged_study_is_one_sentence(base: list[str], run: Run, tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "optuna.journal").write_text("[1]\n{")
    ran = run("reconstruct", *base, "lam=0,1")
    assert ran.code == 2
    assert "optuna.journal: damaged" in ran.sentence


def test_objectives() -> None:
    assert objectives(None, None) == {"psnr_hole": "maximize"}
    assert objectives(None, "objective") == {"objective": "minimize"}
    assert list(objectives(["psnr_hole"], ["seconds"])) == ["psnr_hole", "seconds"]
    with pytest.raises(InputError, match="named twice"):
        objectives("psnr_hole", ["psnr_hole"])
    with pytest.raises(InputError, match="name a figure"):
        objectives([], [])


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("lam=interval(0,1)", "FloatDistribution(high=1.0, log=False, low=0.0, step=None)"),
        (
            "lam=tag(log,interval(1e-6,1))",
            "FloatDistribution(high=1.0, log=True, low=1e-06, step=None)",
        ),
        ("steps=int(interval(2,9))", "IntDistribution(high=9, log=False, low=2, step=1)"),
        ("steps=tag(int,log,interval(1,64))", "IntDistribution(high=64, log=True, low=1, step=1)"),
        ("steps=range(1,10,3)", "IntDistribution(high=7, log=False, low=1, step=3)"),
        ("norm=l1,l2", "CategoricalDistribution(choices=('l1', 'l2'))"),
        ("lr=range(0.1,0.3,0.1)", "CategoricalDistribution(choices=('0.1', '0.2'))"),
    ],
)
def test_the_grammar_of_spaces(word: str, kind: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from hydra_plugins.gan_inpaint_optuna import _distribution

    (override,) = OverridesParser.create().parse_overrides([word])
    assert str(_distribution(override)) == kind
