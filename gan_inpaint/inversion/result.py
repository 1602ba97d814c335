"""The result of a search: each image's best completion, alternatives, and their spread."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from gan_inpaint.functional.blending import poisson
from gan_inpaint.functional.completions import completion_std, mean_completion, select_diverse
from gan_inpaint.functional.latent import constraint_activity
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.state import RestartState, final_restarts
from gan_inpaint.priors.prior import Prior

_CHUNK = 256  # images generated at once


@dataclass
class Result:
    """The result of a search, one entry per image.

    Attributes:
        images: ``(B, C, H, W)`` in [-1, 1]: the known pixels unchanged, the hole from G(z).
        generated: ``(B, C, H, W)``, the whole image that fills the hole: G(z), or with
            ``estimate=mean`` its average over the restarts.
        z: ``(B, nz)``, of the best restart.
        objective, contextual, perceptual, steps: ``(B,)``, likewise.
        restart: ``(B,)``, the index of the best restart.
        condition: ``(B, d)``, encoded, of the best restart; where nothing is known, the one that it
            started with; d is 0 if the prior takes no conditions.
        stopped_by: B words: ``tolerance``, ``plateau``, ``budget`` or ``failed``.
        alternatives: ``(B, keep, C, H, W)``, filled like ``images``: the best completions that
            differ from each other (see ``completions.select_diverse``), the best first.
        completions: ``(B, keep, C, H, W)``, G(z) of each of them: ``fill`` fills with it, so that
            another ``blend`` needs no other search.
        counted: ``(B, restarts)`` bool: which restarts count for averages and the spread.
        spread: ``(B, 1, H, W)``, standard deviation over these, 0 on known pixels.
        binding: ``(B,)`` in [0, 1], how active the constraint on z is for the best restart.
        rows: all restarts; those of an image are consecutive.
        history: the losses, one row every few steps, means over images and restarts.
    """

    images: Tensor
    generated: Tensor
    z: Tensor
    objective: Tensor
    contextual: Tensor
    perceptual: Tensor
    steps: Tensor
    restart: Tensor
    condition: Tensor
    stopped_by: list[str]
    alternatives: Tensor
    completions: Tensor
    counted: Tensor
    spread: Tensor
    binding: Tensor
    rows: RestartState
    history: list[dict[str, float]]

    @classmethod
    def cat(cls, parts: Sequence["Result"]) -> "Result":
        """Join the results of several parts of the images."""

        def join(values: list[Any]) -> Any:
            if isinstance(values[0], Tensor):
                return torch.cat(values)
            if isinstance(values[0], RestartState):
                columns = [[getattr(v, f.name) for v in values] for f in fields(RestartState)]
                return RestartState(*map(join, columns))
            return [item for value in values for item in value]

        if len(parts) == 1:
            return parts[0]
        joined = cls(*(join([getattr(part, f.name) for part in parts]) for f in fields(cls)))
        joined.history = mean_history([(len(part.images), part.history) for part in parts])
        return joined


def make_result(
    prior: Prior,
    images: Tensor,
    known: Tensor,
    state: RestartState,
    history: list[dict[str, float]],
    config: SearchConfig,
    condition: Tensor | None = None,
) -> tuple[Result, Tensor]:
    """The result of a finished search, and the generated image of every restart, on the CPU.

    Args:
        images: ``(B, C, H, W)`` that were searched for.
        known: ``(B, 1, H, W)`` bool.
        state: of all their restarts.
        history: of the search.
        condition: ``(R, d)``, of all restarts.

    Returns:
        The result, and completions ``(B, restarts, C, H, W)``.
    """
    count = len(images)
    told = [None] * len(state.z) if condition is None else condition.split(_CHUNK)
    with torch.no_grad():
        parts = zip(state.z.split(_CHUNK), told, strict=False)
        generated = torch.cat([prior.decode(part, own).cpu() for part, own in parts])
    completions = generated.unflatten(0, (count, -1))
    images, known, rows = images.cpu(), known.cpu(), state.to("cpu")
    # a row without any finite objective holds infinity, so it never wins
    objective = rows.objective.view(count, -1)
    kept = select_diverse(completions, objective, ~known, config.keep)
    restart = kept[:, 0]
    best = torch.arange(count) * objective.shape[1] + restart
    winner, shown = rows[best], torch.zeros(count, 0)
    if condition is not None:
        shown = condition.cpu()[best]
    # of several conditions only that of the best restart
    group = torch.arange(objective.shape[1]) // config.restarts
    counted = final_restarts(rows, count, group == (restart // config.restarts)[:, None])
    best_few = completions[torch.arange(count)[:, None], kept]
    alternatives = torch.stack(
        [fill(images, known, one, config.blend) for one in best_few.unbind(1)], dim=1
    )
    chosen = completions[torch.arange(count), restart]
    filled = alternatives[:, 0]
    if config.estimate == "mean":
        chosen = mean_completion(completions, counted)
        filled = fill(images, known, chosen, config.blend)
    result = Result(
        images=filled,
        generated=chosen,
        z=winner.z,
        objective=winner.objective,
        contextual=winner.contextual,
        perceptual=winner.perceptual,
        steps=winner.steps,
        restart=restart,
        condition=shown,
        stopped_by=winner.reasons,
        alternatives=alternatives,
        completions=best_few,
        counted=counted,
        spread=completion_std(completions, counted) * ~known,
        binding=constraint_activity(winner.z, config.constraint, config.radius),
        rows=rows,
        history=history,
    )
    return result, completions


def fill(images: Tensor, known: Tensor, generated: Tensor, blend: str) -> Tensor:
    """``(B, C, H, W)``: the known pixels unchanged, the hole from the generated images.

    Args:
        images, known, generated: on the CPU.
        blend: ``none``, or ``poisson``: use their gradients instead of their colours.
    """
    filling = generated
    if blend == "poisson":
        filling = torch.from_numpy(poisson(generated.numpy(), images.numpy(), known[:, 0].numpy()))
    return torch.where(known, images, filling)


def mean_history(parts: Sequence[tuple[int, list[dict[str, float]]]]) -> list[dict[str, float]]:
    """The mean history of several batches.

    Args:
        parts: number of images and history of each batch. A batch that ended early keeps its last
            values.

    Example:
        >>> one, three = [{"step": 10, "objective": 4.0}], [{"step": 10, "objective": 0.0}]
        >>> mean_history([(1, one), (3, three)])
        [{'step': 10, 'objective': 1.0}]
    """
    total = sum(count for count, _ in parts)
    longest = max((history for _, history in parts), key=len, default=[])
    return [
        {
            key: row[key]
            if key == "step"
            else sum(n * history[min(i, len(history) - 1)][key] for n, history in parts) / total
            for key in row
        }
        for i, row in enumerate(longest)
    ]
