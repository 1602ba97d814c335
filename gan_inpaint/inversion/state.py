"""The state of a search: one restart of one image a row."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

RUNNING, STOPPED_BY = -1, ("tolerance", "plateau", "budget", "failed", "halved")


@dataclass
class RestartState:
    """One restart of one image a row: its best iterate and how the search for it ended.

    Attributes:
        z: ``(R, nz)``, where the objective was lowest.
        objective, contextual, perceptual: ``(R,)`` there, fp32.
        steps: ``(R,)`` updates made.
        stopped_by: ``(R,)`` indices into ``STOPPED_BY``.
    """

    z: Tensor
    objective: Tensor
    contextual: Tensor
    perceptual: Tensor
    steps: Tensor
    stopped_by: Tensor

    @classmethod
    def fresh(cls, z: Tensor) -> "RestartState":
        """Before the first step, with nothing found yet."""
        nothing = torch.full((len(z),), torch.inf)
        steps = torch.zeros(len(z), dtype=torch.long)
        running = torch.full((len(z),), RUNNING)
        return cls(z.clone(), nothing, nothing.clone(), nothing.clone(), steps, running)

    def to(self, device: torch.device | str) -> "RestartState":
        """The same on that device."""
        return RestartState(*(getattr(self, field.name).to(device) for field in fields(self)))

    def __getitem__(self, index: Tensor) -> "RestartState":
        return RestartState(*(getattr(self, field.name)[index] for field in fields(self)))


def final_restarts(rows: RestartState, count: int) -> Tensor:
    """``(B, restarts)`` bool: those that an average is over, with a result and not given up.

    If all of an image's restarts failed it is all of them: its result is marked as failed.

    Args:
        rows: of ``count`` images.
    """
    finite = rows.objective.isfinite() & (rows.stopped_by != STOPPED_BY.index("halved"))
    finite = finite.view(count, -1)
    return torch.where(finite.any(dim=1, keepdim=True), finite, True)
