"""The package as a whole: the wheel, the reference."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gan_inpaint

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gan_inpaint"


def test_every_public_name_is_there() -> None:
    for name in gan_inpaint.__all__:
        assert getattr(gan_inpaint, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        _ = gan_inpaint.nothing


def test_the_version_is_one() -> None:
    assert f"## {gan_inpaint.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_reference_lists_every_key() -> None:
    from gan_inpaint.jobs.config import ReconstructConfig
    from gan_inpaint.training.config import TrainConfig

    text = (ROOT / "docs" / "reference.md").read_text()
    for schema in (TrainConfig, ReconstructConfig):
        for key in schema.__dataclass_fields__:
            assert re.search(rf"`{key}`", text), key


def test_the_wheel_carries_conf_and_runs_from_any_directory(tmp_path: Path) -> None:
    """Unpacked instead of installed: without its dependencies, which this environment has."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    conf = {p.relative_to(ROOT).as_posix() for p in (ROOT / "conf").rglob("*.yaml")}
    assert {f"gan_inpaint/{name}" for name in conf} <= names
    assert {
        "gan_inpaint/priors/digits.safetensors",
        "gan_inpaint/reporting/templates/sweep.html.jinja",
    } <= names
    assert not [name for name in names if name.startswith(("tests", "conf"))]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for module in ("train", "reconstruct"):
        code = (
            f"import sys, runpy; sys.path.insert(0, {str(tmp_path / 'site')!r}); "
            f"sys.argv = ['x', '--help']; import gan_inpaint; "
            f"assert gan_inpaint.__file__.startswith({str(tmp_path)!r}); "
            f"runpy.run_module('gan_inpaint.{module}', run_name='__main__')"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=elsewhere,
            env=os.environ | {"PYTHONPATH": ""},
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert "Sweep with -m" in ran.stdout
