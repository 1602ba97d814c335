"""When a restart stops: small gradient, plateau, or failure."""

import torch
from torch import Tensor

from gan_inpaint.inversion.state import RestartState, StopReason

_PROGRESS = 1e-4  # a plateau: the best objective fell by less than this fraction over `patience`


class Stopping:
    """Marks the rows of a search that should stop.

    Args:
        rows: number of rows.
        tolerance: a row stops when the L1 norm of its gradient is below this; 0 never stops it.
        patience: a row stops when its best objective improved by less than 0.01 % over this many
            steps; None never stops it.
    """

    def __init__(self, rows: int, tolerance: float, patience: int | None, device: torch.device):
        self._tolerance, self._patience = tolerance, patience
        # reference values for plateau detection: objective and step of the last real progress
        self._reference = torch.full((rows,), torch.inf, device=device)
        self._progress_at = torch.zeros(rows, dtype=torch.long, device=device)

    def update(
        self, state: RestartState, rows: Tensor, objective: Tensor, gradient: Tensor
    ) -> None:
        """Mark rows after a step.

        Args:
            rows: ``(R,)`` indices of rows; those that have stopped stay as they are.
            objective, gradient: ``(R,)``, their objectives and the L1 norms of their gradients.
        """
        before = state.stopped_by[rows]
        reason = before.clone()
        if self._patience is not None:
            reference, steps = self._reference[rows], state.steps[rows]
            progress = reference.isinf() | (objective < reference - _PROGRESS * reference.abs())
            self._reference[rows] = torch.where(progress, objective, reference)
            self._progress_at[rows] = torch.where(progress, steps, self._progress_at[rows])
            reason[steps - self._progress_at[rows] >= self._patience] = StopReason.PLATEAU
        reason[gradient < self._tolerance] = StopReason.TOLERANCE
        reason[~(objective.isfinite() & gradient.isfinite())] = StopReason.FAILED
        state.stopped_by[rows] = reason.where(before == StopReason.RUNNING, before)


def mark_failed(state: RestartState, initial: Tensor, fair: int = 10) -> None:
    """Mark rows as failed that finished without improving on their initial codes.

    Args:
        initial: ``(R, nz)``.
        fair: number of steps after which a row should have improved.
    """
    flat = (state.stopped_by == StopReason.TOLERANCE) & (state.steps > 0)
    ended = (state.stopped_by == StopReason.BUDGET) & (state.steps >= fair)
    state.stopped_by[(flat | ended) & (state.z == initial).all(dim=1)] = StopReason.FAILED
