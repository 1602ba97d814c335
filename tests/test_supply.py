"""What is shipped, with what, and what others may build on.

``python tests/test_supply.py > tests/api.txt`` accepts a change of the public interface.
"""

import hashlib
import importlib.metadata
import inspect
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import gan_inpaint

ROOT = Path(__file__).parents[1]


def tracked() -> set[str]:
    ran = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        pytest.skip("not a checkout")
    return {name for name in ran.stdout.splitlines() if (ROOT / name).exists()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything twice, at different times and under different rights."""
    folder = tmp_path_factory.mktemp("dist")
    for number, mask in (("1", 0o022), ("2", 0o077)):
        before = os.umask(mask)
        try:
            build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / number]
            ran = subprocess.run([*build, ROOT], capture_output=True, text=True, check=False)
        finally:
            os.umask(before)
        assert ran.returncode == 0, ran.stderr
    return folder


def test_builds_are_the_same_to_the_last_bit(built: Path) -> None:
    first, second = (sorted((built / number).iterdir()) for number in "12")
    assert [p.suffix for p in first] == [".whl", ".gz"]
    for one, other in zip(first, second, strict=True):
        assert one.name == other.name
        digests = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (one, other)]
        assert digests[0] == digests[1], one.name


def test_the_wheel_holds_the_package_and_its_settings_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(next((built / "1").glob("*.whl"))) as wheel:
        names = {n for n in wheel.namelist() if ".dist-info/" not in n}
    expected = {n for n in tracked() if n.startswith(("gan_inpaint/", "hydra_plugins/"))}
    expected |= {f"gan_inpaint/{name}" for name in tracked() if name.startswith("conf/")}
    assert names == expected
    assert "gan_inpaint/py.typed" in names


def test_the_source_archive_holds_what_is_needed_to_test_it(built: Path) -> None:
    with tarfile.open(next((built / "1").glob("*.tar.gz"))) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers()}
    of_the_house = {".pre-commit-config.yaml", ".ci/run"}
    assert names - {"PKG-INFO"} == tracked() - of_the_house


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_that_is_needed_is_pinned() -> None:
    """With all that it needs in turn; the version is the one that is tested here."""
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            pins[normal(name)] = version
    wanted, seen = [("gan_inpaint", {"dev"})], set()
    while wanted:
        name, extras = wanted.pop()
        if (normal(name), frozenset(extras)) in seen:
            continue
        seen.add((normal(name), frozenset(extras)))
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in {"", *extras}):
                wanted.append((needed.name, set(needed.extras)))
    packages = {name for name, _ in seen} - {"gan-inpaint"}
    assert len(packages) > 80
    for name in sorted(packages):
        assert name in pins, f"{name} is not pinned in constraints.txt"
        installed = importlib.metadata.version(name).partition("+")[0]
        assert pins[name] == installed, f"{name}: pinned {pins[name]}, tested {installed}"


def public_interface() -> str:
    """Each public name with its arguments, and what its objects offer."""
    lines = []
    for name in sorted(gan_inpaint.__all__):
        found = getattr(gan_inpaint, name)
        builtin = found is gan_inpaint.Cancelled  # has no signature of its own
        lines.append(name if builtin else f"{name}{inspect.signature(found)}")
        if not isinstance(found, type):
            continue
        for member, value in sorted(vars(found).items()):
            engine = any(hasattr(base, member) for base in found.__mro__[1:])  # Lightning's hooks
            if member.startswith("_") or engine:
                continue
            if isinstance(value, property):
                lines.append(f"  {member} -> {inspect.signature(value.fget).return_annotation}")
            elif inspect.isfunction(value):
                lines.append(f"  {member}{inspect.signature(value)}")
    text = "\n".join(lines) + "\n"
    return re.sub(r"\b(torch|collections\.abc|typing|pathlib|gan_inpaint(?:\.\w+)+)\.", "", text)


def test_the_public_interface_has_not_changed() -> None:
    kept = (ROOT / "tests" / "api.txt").read_text()
    assert public_interface() == kept, "if this is wanted, see the top of tests/test_supply.py"


def test_the_public_interface_is_documented() -> None:
    pages = (ROOT / "docs" / "api.md").read_text()
    for name in gan_inpaint.__all__:
        found = getattr(gan_inpaint, name)
        assert f"::: {found.__module__}.{name}" in pages
        assert found.__doc__


def test_types_reach_those_who_import_it(tmp_path: Path) -> None:
    user = tmp_path / "user.py"
    user.write_text(
        "import gan_inpaint\n"
        "prior = gan_inpaint.load_prior('digits')\n"
        "reveal_type(prior)\n"
        "images = prior.sample(1, seed=0)\n"
        "reveal_type(gan_inpaint.inpaint(images, images, prior))\n"
        "gan_inpaint.load_prior(3)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", user],
        capture_output=True,
        text=True,
        cwd=ROOT,  # where what `make check` has learned about torch lies
        check=False,
    )
    assert 'Revealed type is "gan_inpaint.priors.prior.Prior"' in ran.stdout, ran.stdout
    assert 'Revealed type is "gan_inpaint.inversion.result.Result"' in ran.stdout
    assert 'Argument 1 to "load_prior" has incompatible type "int"' in ran.stdout


if __name__ == "__main__":
    print(public_interface(), end="")
