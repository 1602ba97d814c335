"""Choose the epoch of a training run: measure each saved epoch, and recommend one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gan_inpaint.errors import InputError
from gan_inpaint.evaluation.frechet import FrechetDistance
from gan_inpaint.functional.adversarial import overfitting
from gan_inpaint.functional.metrics import diversity, psnr
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.pipeline import inpaint
from gan_inpaint.priors.prior import Prior

_CHUNK = 64  # images at once
COLUMNS = (
    "epoch",
    "images_seen",
    "loss_d",
    "loss_g",
    "frechet_distance",
    "contextual",
    "psnr_hole",
    "diversity",
    "logit_train",
    "logit_held_out",
    "logit_fake",
    "overfitting",
    "recommended",
)


@dataclass
class Epoch:
    """A saved epoch and its measurements.

    Attributes:
        number: number of completed epochs.
        losses: ``loss_d`` and ``loss_g``, means since the previous saved epoch, if known.
        frechet_distance: between held-out and generated images; None without the extra.
        diversity: spread of generated images divided by that of held-out ones; 1 is equal.
        contextual, psnr_hole: ``(N,)``, of each held-out image after a short search.
        logits: D's mean scores of ``train``, ``held_out`` and ``fake`` images, and ``overfitting``.
    """

    number: int
    images_seen: int
    losses: Mapping[str, float]
    frechet_distance: float | None
    diversity: float
    contextual: Tensor
    psnr_hole: Tensor
    logits: Mapping[str, float | None] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """For select.csv."""
        return {
            "epoch": self.number,
            "images_seen": self.images_seen,
            **self.losses,
            "frechet_distance": self.frechet_distance,
            "contextual": float(self.contextual.mean()),
            "psnr_hole": float(self.psnr_hole.mean()),
            "diversity": self.diversity,
            **self.logits,
        }


def saved_epochs(run: Path) -> dict[int, Path]:
    """``{5: checkpoints/epoch_005.ckpt, ...}`` of a training run, in order."""
    files = (run / "checkpoints").glob("epoch_*.ckpt")
    found = {int(p.stem.removeprefix("epoch_")): p for p in files if p.stem[6:].isdecimal()}
    if not found:
        raise InputError(
            f"run={run}: holds no checkpoints/epoch_*.ckpt; name a training run"
            " (outputs/train/<name>/<time>) of at least checkpoint.every_n_epochs epochs"
        )
    return dict(sorted(found.items()))


def measure(
    prior: Prior,
    real: Tensor,
    known: Tensor,
    train: Tensor,
    losses: Mapping[str, float],
    distance: FrechetDistance | None,
    *,
    samples: int,
    steps: int,
    candidates: int,
    seed: int,
    conditions: Sequence[Any] | None = None,
) -> Epoch:
    """Measure one saved epoch.

    Args:
        prior: the epoch, loaded.
        real: ``(M, C, H, W)`` held-out images in [-1, 1]. The first N are reconstructed; all M are
            used for the Fréchet distance.
        known: ``(N, 1, H, W)`` bool, N at most M.
        train: ``(K, C, H, W)`` training images in [-1, 1], for the scores of D.
        losses: for ``Epoch.losses``.
        distance: from ``real``, if the extra is installed.
        samples: number of images to generate.
        steps, candidates, seed: settings of the search.
        conditions: of the N images, if the prior is conditional.
    """
    fake = prior.sample(samples, seed)
    truth = real[: len(known)]
    # the contextual term alone: can the generator produce the image?
    search = SearchConfig(
        lam=0.0, guide="none", steps=steps, candidates=candidates, restarts=1, seed=seed
    )
    result = inpaint(truth, known, prior, search, conditions)
    return Epoch(
        number=int(prior.metadata["epoch"]),
        images_seen=int(prior.metadata["images_seen"]),
        losses=losses,
        frechet_distance=distance(fake) if distance else None,
        diversity=diversity(fake) / diversity(real),
        contextual=result.contextual,
        psnr_hole=psnr(result.images - truth, (~known).float()),
        logits=mean_logits(prior, train, real, fake),
    )


@torch.no_grad()
def mean_logits(
    prior: Prior, train: Tensor, held_out: Tensor, fake: Tensor
) -> dict[str, float | None]:
    """For ``Epoch.logits``; ``(N, C, H, W)`` images in [-1, 1], judged without conditions."""
    assert prior.discriminator is not None  # a training run has both
    scores = [
        torch.cat([prior.discriminator(part) for part in images.split(_CHUNK)])
        for images in (train, held_out, fake)
    ]
    means: dict[str, float | None] = {
        f"logit_{name}": float(logits.mean())
        for name, logits in zip(("train", "held_out", "fake"), scores, strict=True)
    }
    return means | {"overfitting": overfitting(*scores)}


def format_line(epoch: Epoch) -> str:
    """One line for the terminal."""
    row = epoch.row()
    words = [f"epoch {epoch.number:3d}:", f"hole PSNR {row['psnr_hole']:.2f} dB"]
    words += [f"contextual {row['contextual']:.4f}", f"diversity {row['diversity']:.2f}"]
    if row["frechet_distance"] is not None:
        words.append(f"Fréchet distance {row['frechet_distance']:.1f}")
    if epoch.logits.get("overfitting") is not None:
        words.append(f"overfitting {epoch.logits['overfitting']:.2f}")
    return "  ".join(words)


def recommend_epoch(epochs: Sequence[Epoch]) -> tuple[Epoch, str]:
    """The recommended epoch and the reason, as a sentence.

    All epochs whose mean hole PSNR is within one standard error (of the paired differences) of the
    highest count as tied. Of these, the one with the lowest Fréchet distance is recommended, else
    the latest, because PSNR does not penalise blur.
    """
    best = max(epochs, key=lambda e: float(e.psnr_hole.mean()))
    tied = []
    for epoch in epochs:
        lead = best.psnr_hole - epoch.psnr_hole
        error = float(lead.std()) / len(lead) ** 0.5 if len(lead) > 1 else 0.0
        if float(lead.mean()) <= error:
            tied.append(epoch)
    measured = all(e.frechet_distance is not None for e in tied)
    chosen = min(tied, key=lambda e: (e.frechet_distance if measured else 0.0, -e.number))
    reason = f"epoch {chosen.number}: hole PSNR {float(chosen.psnr_hole.mean()):.2f} dB on held-out"
    reason += " images"
    if chosen is best:
        reason += ", the highest"
    else:
        reason += f" (the highest, epoch {best.number}: {float(best.psnr_hole.mean()):.2f} dB)"
    if len(tied) > 1:
        how = "the lowest Fréchet distance" if measured else "the latest"
        reason += f"; {how} of the {len(tied)} epochs within the noise of the highest"
    return chosen, reason


def epoch_losses(rows: Sequence[Mapping[str, str]], after: int, until: int) -> dict[str, float]:
    """Mean D and G loss of the epochs from ``after`` (complete before) to ``until``.

    Args:
        rows: of metrics.csv; its ``epoch`` counts from 0.
    """
    part = [row for row in rows if row.get("epoch") and after <= int(row["epoch"]) < until]
    found = {}
    for column, key in (("loss_d", "loss/d"), ("loss_g", "loss/g")):
        values = [float(row[key]) for row in part if row.get(key)]
        if values:
            found[column] = float(np.mean(values))
    return found
