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
    HALVED = 4  # other restarts of the image were better

    @property
    def word(self) -> str:
        """As tables say it."""
        return self.name.lower()


@dataclass
class RestartState:
    """One restart of one image per row: its best iterate and how the search for it ended.

    Attributes:
        z: ``(R, nz)``, where the objective was lowest.
        objective, contextual, perceptual: ``(R,)`` there, fp32.
        steps: ``(R,)`` updates made.
        stopped_by: ``(R,)`` values of ``StopReason``.
    """

    z: Tensor
    objective: Tensor
    contextual: Tensor
    perceptual: Tensor
    steps: Tensor
    stopped_by: Tensor

    @classmethod
    def initial(cls, z: Tensor) -> "RestartState":
        """Before the first step, with nothing found yet."""
        nothing = torch.full((len(z),), torch.inf, device=z.device)
        steps = torch.zeros(len(z), dtype=torch.long, device=z.device)
        running = torch.full_like(steps, StopReason.RUNNING)
        return cls(z.clone(), nothing, nothing.clone(), nothing.clone(), steps, running)

    @property
    def running(self) -> Tensor:
        """``(R,)`` bool: rows that are still searching."""
        return self.stopped_by == StopReason.RUNNING

    @property
    def reasons(self) -> list[str]:
        """R words, as tables say them."""
        return [StopReason(reason).word for reason in self.stopped_by.tolist()]

    def to(self, device: torch.device | str) -> "RestartState":
        """The same on that device."""
        return RestartState(*(getattr(self, field.name).to(device) for field in fields(self)))

    def __getitem__(self, index: Tensor) -> "RestartState":
        return RestartState(*(getattr(self, field.name)[index] for field in fields(self)))


def final_restarts(rows: RestartState, count: int) -> Tensor:
    """``(B, restarts)`` bool: the restarts to average over, with a result and not given up.

    If all of an image's restarts failed it is all of them: its result is marked as failed.

    Args:
        rows: of ``count`` images.
    """
    usable = rows.objective.isfinite() & (rows.stopped_by != StopReason.HALVED)
    usable = usable.view(count, -1)
    return torch.where(usable.any(dim=1, keepdim=True), usable, True)
