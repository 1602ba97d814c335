"""In which precision this machine is fastest."""

import time
from functools import cache

import torch

LIGHTNING = {"fp32": "32-true", "bf16": "bf16-mixed"}  # a Trainer's words for them


def resolved(choice: str) -> str:
    """``fp32`` or ``bf16``; ``auto`` is bf16 where the hardware is faster in it.

    On a CPU that says it multiplies bf16 natively this is measured, once a process: some that say
    so (Intel's server cores whose AMX a virtual machine hides) are twice as fast in fp32.
    """
    if choice != "auto":
        return choice
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    can = torch.cpu.get_capabilities()
    if not (can.get("avx512_bf16") or can.get("amx_bf16")):
        return "fp32"
    return "bf16" if _gain() > 1.2 else "fp32"  # less is not worth the digits


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
