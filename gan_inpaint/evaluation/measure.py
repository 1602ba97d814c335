"""Measure the results of a batch: rows of tables, and images to keep."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure as ssim

from gan_inpaint.evaluation.baselines import Baselines
from gan_inpaint.evaluation.frechet import describe
from gan_inpaint.functional.completions import mean_completion
from gan_inpaint.functional.metrics import psnr
from gan_inpaint.inversion.lightning_module import ImageBatch
from gan_inpaint.inversion.result import Result, fill
from gan_inpaint.priors.prior import Prior

_FAILED = {  # why a search failed, by whether it had a result before that
    False: "the objective was never finite",
    True: "the search diverged; the best earlier result is kept; try another lr",
}
Row = dict[str, Any]


@dataclass
class Measurements:
    """The measurements of a batch.

    Attributes:
        rows: one per image, for results.csv.
        restarts: one per restart, for restarts.csv.
        images: path below the job's directory -> ``(B, C, H, W)`` in [-1, 1]; ``{}`` stands for the
            image's number.
    """

    rows: list[Row]
    restarts: list[Row]
    images: dict[str, Tensor]


@dataclass
class Measure:
    """Measures the results of a job's batches.

    Attributes:
        truth: whether the images are undamaged, so that results can be compared with them.
        blend: ``none`` or ``poisson``: how the holes were filled.
        baselines: classical methods to measure as well, if any.
        guided: whether the search had a guide.
        features: ``(B, C, H, W)`` -> ``(B, F)``, for the feature distance, if that is measured.
        classes: what was tried for each image, with ``condition=all``.
    """

    truth: bool
    blend: str
    baselines: Baselines | None
    guided: bool = False
    features: Callable[[Tensor], Tensor] | None = None
    classes: Sequence[str] = ()

    def __call__(
        self, batch: ImageBatch, result: Result, completions: Tensor, prior: Prior
    ) -> Measurements:
        """Measure one batch.

        Args:
            completions: ``(B, restarts, C, H, W)``, the generated image of every restart.
        """
        batch = replace(batch, images=batch.images.cpu(), known=batch.known.cpu())
        others = {}
        if self.baselines:
            told = batch.condition if batch.condition is not None and not self.classes else None
            own = None if told is None else told[:, 0].cpu()
            others = self.baselines(batch.images, batch.known, own)
        raw = fill(batch.images, batch.known, result.generated, "none")
        return Measurements(
            self._rows(batch, result, completions, raw, others, prior),
            self._restarts(batch, result, completions),
            self._images(batch, result, raw, others),
        )

    def _rows(
        self,
        batch: ImageBatch,
        result: Result,
        completions: Tensor,
        raw: Tensor,
        others: Mapping[str, Tensor],
        prior: Prior,
    ) -> list[Row]:
        hole = (~batch.known).float()
        table: dict[str, list[Any]] = {
            "image": list(batch.numbers),
            "name": list(batch.names),
            "restart": result.restart.tolist(),
            "steps": result.steps.tolist(),
            "stopped_by": result.stopped_by,
            "objective": result.objective.tolist(),
            "contextual": result.contextual.tolist(),
            "psnr_known": psnr(result.generated - batch.images, batch.known.float()).tolist(),
            "z_norm": (result.z.norm(dim=1) / prior.nz**0.5).tolist(),
            "binding": result.binding.tolist(),
        }
        if self.classes:
            table["condition"] = self._found(result.restart, completions.shape[1])
        elif batch.shown:
            table["condition"] = list(batch.shown)
        failed = [reason == "failed" for reason in result.stopped_by]
        if any(failed):
            finite = result.objective.isfinite().tolist()
            table["error"] = [
                _FAILED[found] if bad else None for bad, found in zip(failed, finite, strict=True)
            ]
        if prior.discriminator is not None:
            table["perceptual"] = result.perceptual.tolist()
        if self.guided:
            rows = torch.arange(len(batch.numbers)) * completions.shape[1] + result.restart
            table["guide_term"] = result.rows.guide_term[rows].tolist()
        several = completions.shape[1] > max(1, len(self.classes))
        if several:
            squares = (result.spread.square() * hole).sum(dim=(1, 2, 3)) / hole.sum(dim=(1, 2, 3))
            table["spread"] = squares.sqrt().tolist()
        if not self.truth:
            return _as_rows(table)
        error = result.images - batch.images
        table["psnr_hole"] = psnr(error, hole).tolist()
        table["psnr"] = psnr(error, torch.ones_like(hole)).tolist()
        # on [0, 1], as usually published: SSIM depends on an offset
        unit = (result.images + 1) / 2, (batch.images + 1) / 2
        similarity = ssim(*unit, data_range=1.0, reduction="none")
        table["ssim"] = torch.as_tensor(similarity).reshape(-1).tolist()
        average: dict[str, Tensor] = {}
        if several:
            mean = mean_completion(completions, result.counted)
            mean = fill(batch.images, batch.known, mean, self.blend)
            table["psnr_hole_average"] = psnr(mean - batch.images, hole).tolist()
            average["average"] = mean
        if self.blend != "none":
            table["psnr_hole_raw"] = psnr(raw - batch.images, hole).tolist()
        for name, images in others.items():
            table[f"psnr_hole_{name}"] = psnr(images - batch.images, hole).tolist()
        if self.features is not None:
            true = describe(self.features, batch.images)
            for name, images in {"": result.images, **average, **others}.items():
                apart = (describe(self.features, images) - true).norm(dim=1)
                table[f"feature_distance_{name}".rstrip("_")] = apart.tolist()
        return _as_rows(table)

    def _found(self, restarts: Tensor, rows: int) -> list[str]:
        """The classes of restarts, of ``rows`` for each image."""
        return [self.classes[index] for index in (restarts // (rows // len(self.classes))).tolist()]

    def _restarts(self, batch: ImageBatch, result: Result, completions: Tensor) -> list[Row]:
        state, (count, restarts) = result.rows, completions.shape[:2]
        table: dict[str, list[Any]] = {
            "image": [number for number in batch.numbers for _ in range(restarts)],
            "restart": list(range(restarts)) * count,
            "steps": state.steps.tolist(),
            "stopped_by": state.reasons,
            "objective": state.objective.tolist(),
        }
        if self.classes:
            table["condition"] = self._found(torch.arange(restarts).repeat(count), restarts)
        if self.truth:
            error = (completions - batch.images[:, None]).flatten(0, 1)
            hole = (~batch.known).float().repeat_interleave(restarts, dim=0)
            table["psnr_hole"] = psnr(error, hole).tolist()
        return _as_rows(table)

    def _images(
        self, batch: ImageBatch, result: Result, raw: Tensor, others: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        images = {"images/{}": result.images, "known/{}": batch.known * 2.0 - 1}
        images["generated/{}"] = result.generated
        if self.truth:
            images["truth/{}"] = batch.images
        if self.blend != "none":
            images["images/{}_raw"] = raw
        if len(result.rows.z) > len(batch.numbers) * max(1, len(self.classes)):
            images["spread/{}"] = result.spread * 2 - 1  # black: all restarts agree
        if result.alternatives.shape[1] > 1:
            for rank, alternative in enumerate(result.alternatives.unbind(1)):
                images[f"alternatives/{{}}_{rank}"] = alternative
        return images | {f"baselines/{{}}_{name}": other for name, other in others.items()}


def _as_rows(table: Mapping[str, list[Any]]) -> list[Row]:
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
