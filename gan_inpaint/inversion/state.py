"""The state of a search: one restart of one image per row."""

from dataclasses import dataclass, fields
from enum import IntEnum

import torch
from torch import Tensor


class StopReason(IntEnum):
    """Why the search for a restart ended."""

    RUNNING = -1
    TOLERANCE = 0  # its gradient is below the tolerance
    PLATEAU = 1  # its best objective stopped falling
    BUDGET = 2  # all steps are made
    FAILED = 3  # it is not finite, or never improved on its start

    @property
    def word(self) -> str:
        """The word in tables."""
        return self.name.lower()


@dataclass
class RestartState:
    """One restart of one image per row: its best iterate, and how its search ended.

    Attributes:
        z: ``(R, nz)``, the code with the lowest objective.
        objective, contextual, perceptual: ``(R,)`` at that code, fp32.
        guide_term: ``(R,)`` at that code, distance from the conditional mean; 0 without a guide.
        steps: ``(R,)``, number of updates.
        stopped_by: ``(R,)`` values of ``StopReason``.
    """

    z: Tensor
    objective: Tensor
    contextual: Tensor
    perceptual: Tensor
    guide_term: Tensor
    steps: Tensor
    stopped_by: Tensor

    @classmethod
    def initial(cls, z: Tensor) -> "RestartState":
        """The state before the first step."""
        nothing = torch.full((len(z),), torch.inf, device=z.device)
        steps = torch.zeros(len(z), dtype=torch.long, device=z.device)
        running = torch.full_like(steps, StopReason.RUNNING)
        guide_term = torch.zeros_like(nothing)
        return cls(z.clone(), nothing, nothing.clone(), nothing.clone(), guide_term, steps, running)

    @property
    def running(self) -> Tensor:
        """``(R,)`` bool: rows that are still searching."""
        return self.stopped_by == StopReason.RUNNING

    @property
    def reasons(self) -> list[str]:
        """R words for tables."""
        return [StopReason(reason).word for reason in self.stopped_by.tolist()]

    def to(self, device: torch.device | str) -> "RestartState":
        """A copy on that device."""
        return RestartState(*(getattr(self, field.name).to(device) for field in fields(self)))

    def __getitem__(self, index: Tensor) -> "RestartState":
        return RestartState(*(getattr(self, field.name)[index] for field in fields(self)))


def final_restarts(rows: RestartState, count: int, among: Tensor) -> Tensor:
    """``(B, restarts)`` bool: the restarts to average over: those with a result.

    If all restarts of an image failed, all are used; its result is marked as failed anyway.

    Args:
        rows: the restarts of ``count`` images.
        among: ``(B, restarts)`` bool, the others do not count.
    """
    usable = rows.objective.isfinite().view(count, -1) & among
    return torch.where(usable.any(dim=1, keepdim=True), usable, among)
