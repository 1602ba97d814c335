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

    Source: Liu and Nocedal, Math. Programming 1989; Byrd et al., Math. Programming 1994, eq. 3.1
    (the compact form: a few products of matrices instead of two loops over the pairs).

    Args:
        parameter: ``(R, n)``; its ``grad`` holds each row's own gradient.
        lr: the maximum step length, in units of √n.
    """

    def __init__(self, parameter: Tensor, lr: float):
        super().__init__([parameter], {"lr": lr})
        self.reset(len(parameter))

    @torch.no_grad()
    def reset(self, rows: int, inverse_curvature: Tensor | None = None) -> None:
        """Begin afresh with the first rows of the parameter; the others stay as they are.

        Args:
            rows: their number.
            inverse_curvature: ``(G, n, n)``, a first guess of the inverse curvature, up to a
                factor, of G groups of rows / G neighbouring rows; None: the identity.
        """
        (parameter,) = self.param_groups[0]["params"]
        fresh, size = parameter.detach()[:rows], parameter.shape[1]
        self._guess = inverse_curvature
        self._base = fresh.clone()
        self._gradient = torch.zeros_like(fresh)
        self._objective = fresh.new_full((rows,), torch.inf)
        self._step_length = fresh.new_ones(rows)
        self._scale = fresh.new_zeros(rows)  # of the guess
        self._moves = fresh.new_zeros(rows, _PAIRS, size)
        self._changes = fresh.new_zeros(rows, _PAIRS, size)
        self._guessed = self._changes if self._guess is None else torch.zeros_like(self._changes)
        # of products of the pairs: solving with them in fp32 would lose digits, but MPS has no fp64
        self._wide = torch.float32 if fresh.device.type == "mps" else torch.float64
        self._crossed = fresh.new_zeros(rows, _PAIRS, _PAIRS, dtype=self._wide)
        self._squared = torch.zeros_like(self._crossed)
        self._crossed.diagonal(dim1=1, dim2=2).fill_(1.0)  # where there is no pair
        self._taken = 0

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Propose the next point of every row.

        Args:
            closure: returns the objective ``(rows,)`` at the current point, and puts its gradient
                into ``grad``.
        """
        if closure is None:
            raise ValueError("BatchedLBFGS needs the objective: step(lambda: objective)")
        with torch.enable_grad():
            objective = closure()
        (parameter,) = self.param_groups[0]["params"]
        rows = len(self._base)
        gradient, point = parameter.grad[:rows], parameter.detach()[:rows]
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
            norm = self._guess_times(gradient).norm(dim=1).clamp(min=1e-12)
            self._scale = longest / 4 / norm
        move = -self._direction()
        move *= (longest / move.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
        point.copy_(self._base + self._step_length[:, None] * move)
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
        slot, count = (self._taken - 1) % _PAIRS, min(self._taken, _PAIRS)
        guessed = self._guess_times(change)
        product, square = _dot(move, change), _dot(change, change)
        convex = product > 1e-10 * (square * _dot(move, move)).sqrt()
        self._scale = torch.where(convex, product / _dot(change, guessed), self._scale)
        self._moves[:, slot] = torch.where(convex[:, None], move, 0.0)
        self._changes[:, slot] = change = torch.where(convex[:, None], change, 0.0)
        self._guessed[:, slot] = torch.where(convex[:, None], guessed, 0.0)
        self._crossed[:, :count, slot] = _products(self._moves[:, :count], change).to(self._wide)
        self._crossed[:, slot, slot] = torch.where(convex, product, 1.0).to(self._wide)
        squared = _products(self._guessed[:, :count], change).to(self._wide)
        self._squared[:, :count, slot], self._squared[:, slot, :count] = squared, squared

    def _direction(self) -> Tensor:
        """``(R, n)``: approximate inverse curvature times gradient, or the scaled gradient."""
        scale, gradient = self._scale[:, None], self._gradient
        plain = scale * self._guess_times(gradient)
        count = min(self._taken, _PAIRS)
        if not count:
            return plain
        moves, guessed = self._moves[:, :count], self._guessed[:, :count]
        # from the oldest to the newest
        order = [slot % _PAIRS for slot in range(self._taken - count, self._taken)]
        crossed = self._crossed[:, order][:, :, order].triu()
        middle = scale[:, :, None] * self._squared[:, order][:, :, order]
        middle = middle + torch.diag_embed(crossed.diagonal(dim1=1, dim2=2))
        of_moves, of_guessed = (
            _products(pairs, gradient)[:, order].to(self._wide) for pairs in (moves, guessed)
        )
        along = _solve(crossed, of_moves, upper=True)
        right = (middle @ along[:, :, None])[:, :, 0] - scale * of_guessed
        back = _solve(crossed.mT, right, upper=False)
        age = [order.index(slot) for slot in range(count)]
        direction = plain + (back[:, None, age].to(moves) @ moves)[:, 0]
        direction -= scale * (along[:, None, age].to(moves) @ guessed)[:, 0]
        down = _dot(direction, gradient) > 0
        return torch.where(down[:, None], direction, plain)

    def _guess_times(self, vectors: Tensor) -> Tensor:
        if self._guess is None:
            return vectors
        groups = vectors.unflatten(0, (len(self._guess), -1))
        return (groups @ self._guess).flatten(0, 1)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(dim=1)


def _solve(triangular: Tensor, right: Tensor, upper: bool) -> Tensor:
    """``(R, pairs)``: the solutions of ``(R, pairs, pairs)`` times them is ``(R, pairs)``."""
    return torch.linalg.solve_triangular(triangular, right[:, :, None], upper=upper)[:, :, 0]


def _products(pairs: Tensor, vectors: Tensor) -> Tensor:
    """``(R, pairs)``, of ``(R, pairs, n)`` and ``(R, n)``."""
    return (pairs @ vectors[:, :, None])[:, :, 0]
