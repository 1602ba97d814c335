"""Limited-memory BFGS for many small problems at once: one problem per row."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_PAIRS = 30  # stored per row; more memory, but fewer steps: with 10 pairs, 1.5 times as many
_SMALLEST = 0.01  # below this fraction a shorter step does not help: reset its length


class BatchedLBFGS(torch.optim.Optimizer):
    """L-BFGS over the rows of one parameter, each with its own curvature and step length.

    One ``step`` costs one evaluation: the gradient at the last proposed point. If the objective
    fell, that point becomes the new base; otherwise the step from the base is quartered.
    ``torch.optim.LBFGS`` would treat all rows as one problem, and slow down the fast ones.

    Source: Nocedal, Math. Comp. 1980 (the two-loop recursion); Liu and Nocedal, Math. Programming
    1989.

    Args:
        parameter: ``(R, n)``; its ``grad`` holds each row's own gradient.
        lr: the maximum step length, in units of √n.
    """

    def __init__(self, parameter: Tensor, lr: float):
        super().__init__([parameter], {"lr": lr})
        rows, size = parameter.shape
        fresh = parameter.detach()
        self._base = fresh.clone()
        self._gradient = torch.zeros_like(fresh)
        self._objective = fresh.new_full((rows,), torch.inf)
        self._step_length = fresh.new_ones(rows)
        self._scale = fresh.new_zeros(rows)  # initial guess of the inverse curvature
        self._moves = fresh.new_zeros(_PAIRS, rows, size)
        self._changes = fresh.new_zeros(_PAIRS, rows, size)
        self._inverse = fresh.new_zeros(_PAIRS, rows)  # 1 / (move · change); 0 is no pair
        self._taken = 0

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Propose the next point of every row.

        Args:
            closure: returns the objective ``(R,)`` at the current point.
        """
        if closure is None:
            raise ValueError("BatchedLBFGS needs the objective: step(lambda: objective)")
        objective = closure()
        (parameter,) = self.param_groups[0]["params"]
        gradient, point = parameter.grad, parameter.detach()
        fell = objective < self._objective
        if self._taken:
            self._remember(point - self._base, gradient - self._gradient)
        self._base = torch.where(fell[:, None], point, self._base)
        self._gradient = torch.where(fell[:, None], gradient, self._gradient)
        self._objective = torch.where(fell, objective, self._objective)
        length = torch.where(fell, (2 * self._step_length).clamp(max=1), self._step_length / 4)
        self._step_length = torch.where(length < _SMALLEST, 1.0, length)
        longest = self.param_groups[0]["lr"] * parameter.shape[1] ** 0.5
        if not self._taken:  # the curvature is unknown: a quarter of the maximum step
            norm = gradient.norm(dim=1).clamp(min=1e-12)
            self._scale = longest / 4 / norm
        move = -self._direction()
        move *= (longest / move.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
        parameter.copy_(self._base + self._step_length[:, None] * move)
        self._taken += 1
        return objective

    def rebase(self) -> None:
        """Take the next point as the base, because the function has changed.

        The stored curvature is kept.
        """
        self._objective.fill_(torch.inf)
        self._gradient.fill_(torch.nan)  # a difference between two functions is not curvature

    def _remember(self, move: Tensor, change: Tensor) -> None:
        """Store a pair, also where the objective rose: that helps with the jumping slope of l1."""
        slot = (self._taken - 1) % _PAIRS
        product, square = _dot(move, change), _dot(change, change)
        convex = product > 1e-10 * (square * _dot(move, move)).sqrt()
        self._moves[slot] = torch.where(convex[:, None], move, 0.0)
        self._changes[slot] = torch.where(convex[:, None], change, 0.0)
        self._inverse[slot] = torch.where(convex, 1 / product, 0.0)
        self._scale = torch.where(convex, product / square, self._scale)

    def _direction(self) -> Tensor:
        """``(R, n)``: approximate inverse curvature times gradient, or the gradient."""
        newest_first = [slot % _PAIRS for slot in range(self._taken - 1, -1, -1)][:_PAIRS]
        direction, shares = self._gradient.clone(), {}
        for slot in newest_first:
            shares[slot] = self._inverse[slot] * _dot(self._moves[slot], direction)
            direction -= shares[slot][:, None] * self._changes[slot]
        direction *= self._scale[:, None]
        for slot in reversed(newest_first):
            back = self._inverse[slot] * _dot(self._changes[slot], direction)
            direction += (shares[slot] - back)[:, None] * self._moves[slot]
        down = _dot(direction, self._gradient) > 0
        return torch.where(down[:, None], direction, self._scale[:, None] * self._gradient)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(dim=1)
