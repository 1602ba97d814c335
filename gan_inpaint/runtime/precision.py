"""Choose the precision that is fastest on this machine, once per job or sweep."""

import json
import time
from functools import cache
from pathlib import Path

import torch

from gan_inpaint.errors import InputError
from gan_inpaint.runtime.io import write_once

LIGHTNING = {"fp32": "32-true", "bf16": "bf16-mixed"}  # the values of a Trainer's argument


def resolve_precision(choice: str) -> str:
    """``fp32`` or ``bf16``; ``auto`` is bf16 where that is faster.

    A CPU that reports native bf16 is timed, once per process: some (Intel server cores whose AMX is
    hidden by a virtual machine) are twice as fast in fp32.
    """
    if choice != "auto":
        return choice
    if not _has_bf16():
        return "fp32"
    if torch.cuda.is_available():
        return "bf16"
    return "bf16" if _gain() > 1.2 else "fp32"  # a smaller gain is not worth the lost digits


def agree_on_precision(
    choice: str, own: Path, cure: str, shared: Path | None = None, keep: bool = True
) -> str:
    """``resolve_precision`` once per job or sweep, because another timing may differ.

    Args:
        own: the job's file that records the choice.
        cure: what to do if the job began in bf16 and this processor lacks it.
        shared: the sweep's file that records the choice of its first job for all.
        keep: whether the job's file may be written.

    Raises:
        InputError: this processor does not support the recorded choice.
    """
    if choice != "auto":
        return choice
    file = own if own.is_file() or shared is None else shared
    recorded = (
        file.read_text(encoding="utf-8")
        if file.is_file()
        else json.dumps(resolve_precision(choice))
    )
    if file == shared:
        recorded = write_once(file, recorded)
    if keep and not own.is_file():
        write_once(own, recorded)
    try:
        precision = json.loads(recorded)
    except ValueError:
        precision = None
    if precision not in LIGHTNING:
        raise InputError(f"{file}: damaged, it holds neither fp32 nor bf16; {cure}")
    if precision == "bf16" and not _has_bf16():
        raise InputError(
            f"precision: the run began in bf16, which this processor does not support; {cure}"
        )
    return precision


def _has_bf16() -> bool:
    """Whether the processor reports native bf16."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    can = torch.cpu.get_capabilities()
    return bool(can.get("avx512_bf16") or can.get("amx_bf16"))


@cache
def _gain() -> float:
    """How many times faster a matrix product is in bf16 than in fp32, on the CPU."""
    seconds = {}
    for kind in (torch.float32, torch.bfloat16):
        side = torch.ones(1024, 1024, dtype=kind)
        trials = []
        for _ in range(6):
            started = time.perf_counter()
            side @ side
            trials.append(time.perf_counter() - started)
        seconds[kind] = min(trials)
    return seconds[torch.float32] / seconds[torch.bfloat16]
