"""How much a result depends on the batch that its image is searched in.

    python benchmarks/batches.py --prior digits
    python benchmarks/batches.py --prior faces_small --images 64

The same images, masks and seed, searched all at once and in smaller batches. A processor's kernels
round by the number of rows; the steps of a search enlarge that. Beside it, what another seed does.
"""

import argparse
import time

import torch
from torch import Tensor

from gan_inpaint import inpaint, load_prior
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.runtime.environment import collect_environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", default="digits")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    options = parser.parse_args()
    prior = load_prior(options.prior)
    truth = prior.sample(options.images, seed=1)
    # not quite what the prior can make: a search of photographs ends where nothing fits exactly
    truth = (truth + 0.1 * torch.randn(truth.shape, generator=torch.manual_seed(0))).clamp(-1, 1)
    known = torch.ones(1, 1, prior.size, prior.size)
    edge = prior.size // 4
    known[..., edge:-edge, edge:-edge] = 0

    def search(batch_size: int, seed: int = 0) -> tuple[Tensor, Tensor, float]:
        """Objective, hole PSNR and seconds."""
        started = time.perf_counter()
        result = inpaint(
            truth,
            known,
            prior,
            batch_size=batch_size,
            seed=seed,
            steps=options.steps,
            precision=options.precision,
            guide="none",
        )
        seconds = time.perf_counter() - started
        return result.objective, psnr(result.images - truth, 1 - known), seconds

    machine = collect_environment()
    print(f"{machine['processor']}, torch {machine['torch']}, {vars(options)}")
    objective, quality, seconds = search(options.images)
    print(f"all at once: hole PSNR {quality.mean():.2f} dB, {seconds:.1f} s")
    print("                 objective, relative    hole PSNR of an image, dB     of all")
    print("compared with     median      99 %      median    99 %    most       mean       s")
    sizes = (options.images // 2, 7, 1)
    others = [(f"batches of {size}", search(size)) for size in sizes]
    others.append(("another seed", search(options.images, seed=1)))
    for name, (its_objective, its_quality, seconds) in others:
        relative = ((its_objective - objective) / objective).abs()
        apart = its_quality - quality
        size = apart.abs()
        print(
            f"{name:16} {relative.median():8.1e}  {relative.quantile(0.99):8.1e}"
            f" {size.median():10.4f} {size.quantile(0.99):7.3f} {size.max():7.3f}"
            f" {apart.mean():+10.4f} {seconds:7.1f}"
        )


if __name__ == "__main__":
    main()
