"""A standard output or error that is closed, full or of few letters: finished work stays done."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import save_tiny_prior

from gan_inpaint.runtime.streams import lasting_streams

FULL = Path("/dev/full")
JOB = [
    "data=generated",
    "data.count=2",
    "candidates=8",
    "steps=2",
    "logger=none",
    "hydra.run.dir=d",
]


def shell(redirections: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirections}', "sh", sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


@pytest.mark.parametrize("redirections", [">&-", "2>&-", ">&- 2>&- <&-", ">/dev/full 2>&1"])
def test_a_job_without_a_terminal_is_done(redirections: str, tmp_path: Path) -> None:
    if "full" in redirections and not FULL.exists():
        pytest.skip("no /dev/full")
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    ran = shell(redirections, "gan_inpaint.reconstruct", f"prior={prior}", *JOB)
    assert ran.returncode == 0, ran.stderr
    assert '"status": "done"' in (tmp_path / "d" / "summary.json").read_text()
    assert not any(b"reconstruct.log" in file.read_bytes() for file in tmp_path.glob("d/*.png"))


def test_a_wrong_input_is_still_2_where_nobody_reads_it() -> None:
    assert shell("2>&-", "gan_inpaint.reconstruct", "prior=none").returncode == 2


def test_a_terminal_without_the_letters_gets_escapes(tmp_path: Path) -> None:
    prior = save_tiny_prior(tmp_path / "fläche.safetensors")
    ran = shell("", "gan_inpaint.reconstruct", f"prior={prior}", *JOB, PYTHONIOENCODING="ascii")
    assert ran.returncode == 0, ran.stderr
    assert "fl\\xe4che" in ran.stdout
    ran = shell("", "gan_inpaint.reconstruct", "prior=☃", PYTHONIOENCODING="ascii")
    assert ran.returncode == 2
    assert "error: prior=\\u2603" in ran.stderr


def test_a_stream_that_somebody_has_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    monkeypatch.setattr(sys, "stderr", None)
    with lasting_streams():
        print("nobody reads this")
        print("nor this", file=sys.stderr)
    assert sys.stdout is closed
    assert sys.stderr is None
