"""Random generators that depend only on a key, never on earlier draws.

So a resumed run equals an uninterrupted one, and an image's result does not depend on its batch.
"""

import zlib

import numpy as np
import torch


def numpy_rng(*key: int | str | bytes) -> np.random.Generator:
    """A NumPy generator that depends only on ``key``."""
    words = [
        part
        if isinstance(part, int)
        else zlib.crc32(part.encode() if isinstance(part, str) else part)
        for part in key
    ]
    return np.random.default_rng(words)


def torch_rng(*key: int | str | bytes, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator that depends only on ``key``."""
    # torch's CPU generator uses 32 bits of its seed: let NumPy mix the key into them
    seed = int(numpy_rng(*key).integers(2**32))
    return torch.Generator(device).manual_seed(seed)
