"""What a search costs and finds: the loop of the PyTorch ports, the named recipes, ours.

    python benchmarks/search.py --source celeba --data celeba.zip [--json PATH] [--figure PATH]

All in one process, on the same prior and images, one batch each. The ports' loop is the one that
the PyTorch re-implementations of Yeh et al. share, written plainly: networks in train mode, weights
that collect gradients nobody uses, summed l1 with λ = 0.003, Adam 0.03 from a random z, the last
iterate counts. Recipes are those of ``reconstruct``, capped at --cap steps. Seconds are of the
search, its start included and this script's own looking left out. Those that begin at the nearest
candidates have 50 steps, the others 25. Two more columns say after how many seconds a search
reaches the ports' best hole PSNR, and --target. For the rate of longer searches see throughput.py.
"""

import argparse
import re
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from held_out import MASKS, add_arguments, known_pixels, pictures
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gan_inpaint.cli.conf_path import CONF
from gan_inpaint.functional.losses import contextual
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.inversion import initializers
from gan_inpaint.inversion.config import search_config
from gan_inpaint.inversion.lightning_module import ImageBatch
from gan_inpaint.inversion.pipeline import reconstruct
from gan_inpaint.priors.files import Networks, read_networks
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.registry import find_prior, load_prior
from gan_inpaint.runtime.io import write_json
from gan_inpaint.runtime.memory import keep_freed_memory
from gan_inpaint.runtime.precision import resolve_precision

LOOKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 1500)  # steps at which the ports' loop is judged
LOOK_EVERY = 5  # steps, of ours
# one point of the trade between time and quality: few steps, no D
FAST = {"lam": 0.0, "steps": 10, "blend": "none"}
# searches are compared here: blending would only help those that do it (the recipe of Yeh does)
DEFAULT = {"blend": "none"}


@dataclass
class Case:
    """What all methods are given."""

    prior: Prior
    networks: Networks
    images: Tensor
    known: Tensor

    def judged(self, generated: Tensor) -> tuple[float, float]:
        """Mean hole PSNR and mean contextual loss (l1)."""
        hole = psnr(generated - self.images, (~self.known).float())
        context = contextual(generated, self.images, self.known.float(), "l1")
        return float(hole.mean()), float(context.mean())


@dataclass
class Outcome:
    """How one method went: a point a look, and the totals."""

    points: list[tuple[float, int, float, float]] = field(default_factory=list)
    seconds: float = 0.0
    looking: float = 0.0  # seconds that are not the method's

    @property
    def psnr(self) -> float:
        return self.points[-1][2]

    @property
    def image_steps(self) -> int:
        return self.points[-1][1]

    def seconds_to(self, target: float) -> float | None:
        """When the hole PSNR first reaches a target, at one of the looks."""
        reached = (seconds for seconds, _, psnr, _ in self.points if psnr >= target)
        return next(reached, None)

    def look(self, case: Case, generated: Tensor, image_steps: int, started: float) -> None:
        now = time.perf_counter()
        self.points.append((now - started - self.looking, image_steps, *case.judged(generated)))
        self.looking += time.perf_counter() - now


def ports(case: Case, steps: int) -> Outcome:
    """The loop of the ports: every step costs what they let it cost."""
    assert case.networks.discriminator is not None
    generator = case.networks.generator.float().train()  # stored in half precision
    discriminator = case.networks.discriminator.float().train()
    for network in (generator, discriminator):
        network.requires_grad_(True)
    known, outcome = case.known.float(), Outcome()
    torch.manual_seed(0)
    started = time.perf_counter()
    z = torch.randn(len(case.images), case.prior.nz, requires_grad=True)
    optimizer = torch.optim.Adam([z], lr=0.03)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        generated = generator(z)
        context = (known * (generated - case.images)).abs().sum()
        realism = F.logsigmoid(-discriminator(generated)).sum()
        (context + 0.003 * realism).backward()
        optimizer.step()
        if step in LOOKS or step == steps:
            outcome.look(case, generated.detach(), step * len(z), started)
    outcome.seconds = outcome.points[-1][0]
    return outcome


class Looks(pl.Callback):
    """Judges the best so far after every few updates of a search, on a stopped clock."""

    def __init__(self, case: Case, outcome: Outcome, started: float):
        self._case, self._outcome, self._started = case, outcome, started
        self._updates = 0
        self.result: Any = None

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self._updates += 1
        if self._updates % LOOK_EVERY:
            return
        now = time.perf_counter()
        count = len(self._case.images)
        state = pl_module.search.state
        best = state.objective.view(count, -1).argmin(dim=1)
        z = state.z.view(count, -1, state.z.shape[1])[torch.arange(count), best]
        with torch.no_grad():
            generated = self._case.prior.generator(z)
        self._outcome.looking += time.perf_counter() - now
        steps = int(state.steps.sum())
        self._outcome.look(self._case, generated, steps, self._started)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.result = pl_module.result or self.result


def ours(case: Case, options: dict[str, Any]) -> Outcome:
    """A search by this package; its last point is the result itself, blended if asked for."""
    settings, outcome = search_config(options), Outcome()
    initializers._fitted.clear()  # as the first search with a prior
    started = time.perf_counter()
    looks = Looks(case, outcome, started)
    batch = ImageBatch(case.images, case.known)
    reconstruct(case.prior, settings, [batch], callbacks=[looks])
    outcome.seconds = time.perf_counter() - started - outcome.looking
    result = looks.result
    filled = psnr(result.images - case.images, (~case.known).float())
    steps = int(result.rows.steps.sum())
    mine = float(filled.mean()), case.judged(result.generated)[1]
    outcome.points.append((outcome.seconds, steps, *mine))
    return outcome


def race(case: Case, target: float, turns: int) -> str:
    """How much sooner a start by regression reaches a hole PSNR than the nearest candidate."""
    options = DEFAULT | {"lam": 0.0, "guide_weight": 1.0}
    first: list[float] = []
    second: list[float] = []
    for _ in range(turns):
        for start, times in (("regression", first), ("nearest", second)):
            seconds = ours(case, options | {"start": start}).seconds_to(target)
            if seconds is None:
                return f"start={start} does not reach {target:g} dB"
            times.append(seconds)
    ratio = statistics.median(other / one for one, other in zip(first, second, strict=True))
    return (
        f"to {target:g} dB with guide_weight=1 lam=0, medians of {turns} turns:"
        f" {statistics.median(first):.2f} s from a regression,"
        f" {statistics.median(second):.2f} s from the nearest, {ratio:.2f} times as long"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, limit=64)
    parser.add_argument("--mask", default="center", choices=MASKS)
    parser.add_argument("--recipes", nargs="*", default=["lacaille2017", "yeh2017", "csgm"])
    parser.add_argument("--steps", type=int, default=1500, help="of the ports' loop")
    parser.add_argument("--cap", type=int, default=1500, help="steps a recipe may take")
    parser.add_argument("--target", type=float, default=18.5, help="hole PSNR in dB")
    parser.add_argument("--turns", type=int, default=5, help="of the race to the target")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--figure", type=Path, help="draw hole PSNR against seconds here")
    options = parser.parse_args()
    keep_freed_memory()

    prior = load_prior(options.prior)
    images = pictures(options, prior)
    known = known_pixels(options.mask, len(images), prior.size)
    case = Case(prior, read_networks(find_prior(options.prior)[0]), images, known)
    ours(case, {"steps": 2, "candidates": 0})  # the first search of a process loads libraries

    found = {"ports' loop": ports(case, options.steps)}
    for name in options.recipes:
        recipe = dict(OmegaConf.load(CONF / "recipe" / f"{name}.yaml"))
        recipe["steps"] = min(recipe["steps"], options.cap)
        found[name] = ours(case, recipe)
    found |= {
        "default": ours(case, DEFAULT),
        "default, guide=none": ours(case, DEFAULT | {"guide": "none"}),
        "default, lam=0": ours(case, DEFAULT | {"lam": 0.0}),
        "default, lam=0 guide=none": ours(case, DEFAULT | {"lam": 0.0, "guide": "none"}),
        "guide_weight=1, lam=0": ours(case, DEFAULT | {"lam": 0.0, "guide_weight": 1.0}),
        "fast": ours(case, FAST),
    }
    before: dict[str, dict[str, Any]] = {  # what a start by regression saves
        "nearest": {},
        "nearest, guide=none": {"guide": "none"},
        "nearest, lam=0": {"lam": 0.0},
        "nearest, guide_weight=1, lam=0": {"lam": 0.0, "guide_weight": 1.0},
    }
    for name, more in before.items():
        found[name] = ours(case, DEFAULT | {"start": "nearest"} | more)

    base = found["ports' loop"]
    table = Table(title=f"{prior.name}: {len(images)} images, {options.mask} hole")
    columns = ["", "seconds", "image-steps", "a second", "hole PSNR", "contextual", "times"]
    highest = max(psnr for _, _, psnr, _ in base.points)
    for column in [*columns, f"to {highest:.2f} dB", f"to {options.target:g} dB"]:
        table.add_column(column, justify="right" if column else "left")
    figures: dict[str, float] = {"images": len(images)}
    for name, outcome in found.items():
        speed = outcome.image_steps / outcome.seconds
        ratio = base.seconds / outcome.seconds
        table.add_row(
            name,
            f"{outcome.seconds:.2f}",
            f"{outcome.image_steps:,}",
            f"{speed:.0f}",
            f"{outcome.psnr:.2f} dB",
            f"{outcome.points[-1][3]:.4f}",
            f"{ratio:.0f}x",
            *(
                f"{seconds:.2f} s" if (seconds := outcome.seconds_to(goal)) is not None else "never"
                for goal in (highest, options.target)
            ),
        )
        key = re.sub(r"\W+", "_", name).replace("default", "ours")
        figures |= {
            f"{key}_seconds": outcome.seconds,
            f"{key}_image_steps_per_second": speed,
            f"{key}_psnr_hole": outcome.psnr,
            f"{key}_contextual": outcome.points[-1][3],
            f"{key}_times_faster": ratio,
        }
    Console(width=130).print(table)
    print("times: how much less time than the ports' loop takes for its steps; starts included")
    print(race(case, options.target, options.turns))
    threads, precision = torch.get_num_threads(), resolve_precision("auto")
    print(f"torch {torch.__version__}, {threads} threads, {precision}")
    if options.json:
        write_json(options.json, figures)
    if options.figure:
        draw(options.figure, found)


def draw(path: Path, found: dict[str, Outcome]) -> None:
    """Hole PSNR against seconds, one curve a method."""
    from gan_inpaint.reporting.figures import figure

    with figure(path, layout="constrained", figsize=(6.4, 3.6)) as drawing:
        axes = drawing.subplots()
        for name, outcome in found.items():
            seconds, _, values, _ = zip(*outcome.points, strict=True)
            axes.plot(seconds, values, marker=".", label=name)
        axes.set(xscale="log", xlabel="seconds for all images, start included")
        axes.set_ylabel("mean hole PSNR in dB")
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
