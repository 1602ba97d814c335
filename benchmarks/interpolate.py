"""Between two generators of one training: the realism of one, the likeness of the other.

    python benchmarks/interpolate.py BEFORE AFTER --share 0.6 --out PRIOR.safetensors

Writes a prior whose generator's weights lie between those of two priors (0: the first, 1: the
second), with the discriminator and the metadata of the second. It makes sense if one was trained
from the other. Source: Wang et al., ECCV workshops 2018, "ESRGAN", section 3.4.
"""

import argparse
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save

from gan_inpaint import load_prior
from gan_inpaint.runtime.io import atomic_write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", help="a prior, as for reconstruct")
    parser.add_argument("after", help="one that was trained from it")
    parser.add_argument("--share", type=float, required=True, help="of the second")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    first, second = (load_prior(name).files[0] for name in (options.before, options.after))
    before, mixed = load_file(first), load_file(second)
    for name, value in mixed.items():
        if name.startswith("generator.") and value.is_floating_point():
            between = before[name].float().lerp(value.float(), options.share)
            mixed[name] = between.to(value.dtype)
    with safe_open(second, "pt") as file:
        metadata = file.metadata()
    with atomic_write(options.out) as temporary:
        temporary.write_bytes(save(mixed, metadata))  # save_file would hide it from other users


if __name__ == "__main__":
    main()
