import pytest
import torch

from gan_inpaint.runtime import precision
from gan_inpaint.runtime.memory import keep_freed_memory

# before conftest puts constants in their places
measured, reported = precision._gain, precision._has_bf16


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(precision, "_has_bf16", reported)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    return monkeypatch


@pytest.mark.parametrize(("gain", "expected"), [(1.9, "bf16"), (1.1, "fp32"), (0.5, "fp32")])
def test_auto_is_what_is_faster(cpu: pytest.MonkeyPatch, gain: float, expected: str) -> None:
    cpu.setattr(precision, "_gain", lambda: gain)
    assert precision.resolve_precision("auto") == expected
    assert precision.resolve_precision("fp32") == "fp32"
    assert precision.resolve_precision("bf16") == "bf16"


def test_a_cpu_without_bf16_is_not_measured(cpu: pytest.MonkeyPatch) -> None:
    cpu.setattr(torch.cpu, "get_capabilities", lambda: {})
    cpu.setattr(precision, "_gain", lambda: pytest.fail("measured"))
    assert precision.resolve_precision("auto") == "fp32"


def test_the_measurement_is_a_ratio() -> None:
    assert 0 < measured() < 1000  # where bf16 is imitated, it takes hundreds of times as long
    assert measured() == measured()  # once a process


def test_freed_memory_is_kept_where_the_c_library_knows_how(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import platform

    assert keep_freed_memory() == (platform.libc_ver()[0] == "glibc")
    monkeypatch.setattr("sys.platform", "darwin")
    assert not keep_freed_memory()
