"""The package as a whole: layers, the wheel, the reference."""

import ast
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

# imports go downwards only: a module may use those in the lines above its own
LAYERS = """
errors
settings environment files formats notes overrides
randomness losses networks memory lbfgs interruption health
precision run_directory config
pictures blending figures augmentation archives frechet
masks drawn baselines weights constraints restarts rows similarity
tutorial columns
prior
data adversarial latent frames
sources hub starts
targets photographs
search
inpainting paper jobs page gallery
findings mistakes
dashboard
report
selection diagnosis
record
tracking command
snapshots batches
train reconstruct select compare
"""
PURE = {
    "networks",
    "losses",
    "masks",
    "blending",
    "constraints",
    "restarts",
    "randomness",
    "pictures",
    "files",
    "errors",
}
FRAMEWORKS = {"pytorch_lightning", "hydra", "omegaconf", "wandb"}


def imports(module: str) -> set[str]:
    """Top-level names that a module imports, those inside functions included."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= set(names) if node.module == "gan_inpaint" else {str(node.module)}
    return found


def test_imports_go_downwards() -> None:
    layer = {name: i for i, line in enumerate(LAYERS.split("\n")) for name in line.split()}
    assert set(layer) | {"__init__"} == {path.stem for path in PACKAGE.glob("*.py")}
    for module in layer:
        for name in imports(module):
            if name.startswith("gan_inpaint."):
                used = name.split(".")[1]
                lower = layer[used] < layer[module]
                assert lower or {used, module} <= {"command", "report"}, f"{module} uses {used}"


def test_the_maths_knows_no_framework() -> None:
    for module in PURE:
        assert not FRAMEWORKS & {name.split(".")[0] for name in imports(module)}, module


def test_every_public_name_is_there() -> None:
    for name in gan_inpaint.__all__:
        assert getattr(gan_inpaint, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        _ = gan_inpaint.nothing


def test_the_version_is_one() -> None:
    assert f'version = "{gan_inpaint.__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f"## {gan_inpaint.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_reference_lists_every_key() -> None:
    from gan_inpaint.settings import ReconstructSettings, TrainSettings

    text = (ROOT / "docs" / "reference.md").read_text()
    for schema in (TrainSettings, ReconstructSettings):
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
    assert {"gan_inpaint/priors/digits.safetensors", "gan_inpaint/pages/sweep.html.jinja"} <= names
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
