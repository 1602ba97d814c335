"""Random generators that are functions of their purpose, never of earlier draws.

That is what makes a resumed run equal an uninterrupted one, and an image's result independent of
the batch it travels in.
"""

import zlib

import numpy as np
import torch


def numpy_rng(*key: int | str | bytes) -> np.random.Generator:
    """A NumPy generator that is a function of ``key`` alone."""
    words = [
        part
        if isinstance(part, int)
        else zlib.crc32(part.encode() if isinstance(part, str) else part)
        for part in key
    ]
    return np.random.default_rng(words)


def torch_rng(*key: int | str | bytes, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator that is a function of ``key`` alone."""
    # torch's CPU generator keeps 32 bits of its seed: let NumPy mix the key into them
    seed = int(numpy_rng(*key).integers(2**32))
    return torch.Generator(device).manual_seed(seed)
