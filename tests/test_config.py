"""Every config of every group composes, is valid, and says what its keys mean."""

import re
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra._internal.utils import _locate
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import gan_inpaint.cli.command  # noqa: F401  (registers the resolvers)
from gan_inpaint.cli.conf_path import CONF
from gan_inpaint.config.schema import validate_config
from gan_inpaint.inversion.config import SearchConfig, SearchOptions, search_config
from gan_inpaint.jobs.config import ReconstructConfig
from gan_inpaint.priors.prior import Prior
from gan_inpaint.training.config import TrainConfig

GROUPS = {
    "train": {"data": "", "model": "", "conditioning": "", "trainer": "", "experiment": "+"},
    "reconstruct": {"data": "", "mask": "", "recipe": "+", "prior_preset": "+", "logger": ""},
}
CHOICES = [
    (command, f"{plus}{group}={file.stem}")
    for command, groups in GROUPS.items()
    for group, plus in groups.items()
    for file in sorted((CONF / group).glob("*.yaml"))
]


def composed(command: str, *overrides: str):  # type: ignore[no-untyped-def]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(command, overrides=list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        cfg = OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])
        return validate_config(
            cfg, {"train": TrainConfig, "reconstruct": ReconstructConfig}[command]
        )


@pytest.mark.parametrize(("command", "choice"), CHOICES)
def test_every_choice_composes_and_its_target_exists(command: str, choice: str) -> None:
    needed = {"stylegan": ["prior.path=x", "prior.repository=x"]}
    settings = composed(command, choice, *needed.get(choice.partition("=")[2], []))
    if "prior_preset" in choice:
        assert callable(_locate(settings.prior["_target_"]))
    if "conditioning" in choice and settings.conditioning.encoder:
        assert callable(_locate(settings.conditioning.encoder["_target_"]))
    for logger in settings.logger.values():
        assert callable(_locate(logger["_target_"]))
    for group in ("data", "mask", "trainer"):
        if hasattr(settings, group):
            assert callable(_locate(getattr(settings, group)["_target_"]))


def test_every_config_file_belongs_to_a_group_that_is_tested() -> None:
    found = {p.parent.name for p in CONF.glob("*/*.yaml")}
    assert found == {group for groups in GROUPS.values() for group in groups}


def test_no_group_takes_the_name_of_a_knob() -> None:
    knobs = {"lam", "lr", "norm", "optimizer", "prior", "schedule", "ema", "checkpoint", "loss"}
    assert not knobs & {p.name for p in CONF.iterdir()}


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda p: str(p.stem))
def test_every_default_has_a_comment(file: Path) -> None:
    """In experiments, recipes and presets the heading says it: they are differences."""
    text = file.read_text().partition("\nhydra:")[0]
    assert "#" in text
    if file.parent.name in ("experiment", "recipe", "prior_preset") or file.stem.startswith("hub_"):
        return
    lines = [line for line in text.splitlines() if re.match(r"^[a-z_]+: *\S", line)]
    uncommented = [
        line for line in lines if "#" not in line and not line.startswith(("_", "size", "seed"))
    ]
    assert not uncommented
    yaml.safe_load(text)


def test_the_2017_experiment_is_what_it_says_and_leaves_the_data_alone() -> None:
    plain, settings = composed("train"), composed("train", "+experiment=lacaille2017")
    assert (settings.schedule.discriminator, settings.schedule.generator) == (30, 10)
    assert (settings.optimizer.discriminator.lr, settings.optimizer.discriminator.beta1) == (
        1e-3,
        0.9,
    )
    assert (settings.optimizer.generator.lr, settings.optimizer.generator.beta1) == (5e-4, 0.6)
    assert settings.model["latent"] == "uniform"
    assert settings.data == plain.data
    folder = composed("train", "+experiment=lacaille2017", "data=folder", "data.path=x")
    assert folder.data["_target_"] == "gan_inpaint.data.datasets.Folder"
    assert (folder.model["size"], folder.model["channels"]) == (64, 3)


def test_the_2017_recipe() -> None:
    settings = composed("reconstruct", "+recipe=lacaille2017")
    assert (settings.norm, settings.optimizer, settings.lr) == ("l2", "sgd", 0.9)
    assert settings.tolerance == 1e-4


def test_the_recipes_are_what_their_papers_say() -> None:
    yeh = composed("reconstruct", "+recipe=yeh2017")
    assert (yeh.norm, yeh.weighting, yeh.window) == ("l1", "yeh", 7)
    assert (yeh.optimizer, yeh.steps, yeh.constraint) == ("adam", 1500, "clip")
    assert yeh.lam == pytest.approx(0.003 / (3 * 64 * 64), rel=0.02)
    csgm = composed("reconstruct", "+recipe=csgm")
    assert (csgm.norm, csgm.lam, csgm.restarts, csgm.steps) == ("l2", 0, 2, 500)
    # 0.001 |z|^2 beside a sum over the values is this times the mean of z^2 beside a mean
    assert csgm.z_penalty == pytest.approx(0.001 * 100 / (3 * 64 * 64), rel=0.25)


def test_the_command_and_the_function_share_their_defaults() -> None:
    from_command = composed("reconstruct")
    from_function = search_config({})
    for key in SearchConfig.__dataclass_fields__:
        assert getattr(from_command, key) == getattr(from_function, key)


def test_the_options_of_inpaint_are_the_keys_of_a_search() -> None:
    assert get_type_hints(SearchOptions) == get_type_hints(SearchConfig)


def test_a_resolved_search_says_what_auto_stands_for(digits: Prior, tiny_prior: Prior) -> None:
    found = SearchConfig().resolved(digits)
    assert (found.guide, found.start, found.steps) == ("data", "regression", 25)
    assert (found.constraint, found.precision) in (("ball", "fp32"), ("ball", "bf16"))
    assert found.resolved(digits) == found
    assert SearchConfig().resolved(tiny_prior).guide == "samples"
    unguided = SearchConfig(guide="none", constraint="clip", steps=7).resolved(digits)
    assert (unguided.start, unguided.steps, unguided.constraint) == ("nearest", 7, "clip")
    alike = SearchConfig(restarts=2, guide_temperature=0.0).resolved(digits)
    assert alike.start == "nearest", "all restarts would start at the same code"


def test_small_numbers_are_numbers() -> None:
    assert composed("reconstruct", "lam=1e-6").lam == 1e-6
    assert composed("reconstruct", "lam=0").lam == 0
