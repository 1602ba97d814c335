from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan_inpaint.inversion.lbfgs import BatchedLBFGS

pytestmark = pytest.mark.bf16


def minimised(
    objective: Callable[[Tensor], Tensor],
    start: Tensor,
    steps: int,
    lr: float = 0.5,
    inverse_curvature: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The best objective of every row, and where."""
    z = nn.Parameter(start.clone())
    optimizer = BatchedLBFGS(z, lr)
    optimizer.reset(len(z), inverse_curvature)
    best, where = start.new_full((len(z),), torch.inf), start.clone()
    for _ in range(steps):
        value = objective(z)
        z.grad = torch.autograd.grad(value.sum(), z)[0]
        value = value.detach()
        better = value < best
        best, where = torch.where(better, value, best), torch.where(better[:, None], z, where)
        optimizer.step(lambda value=value: value)
    return best, where.detach()


def rosenbrock(z: Tensor) -> Tensor:
    return ((1 - z[:, :-1]).square() + 100 * (z[:, 1:] - z[:, :-1].square()).square()).sum(dim=1)


def bowl(z: Tensor) -> Tensor:
    """Every row with another curvature in another direction: condition numbers up to 10,000."""
    steepness = torch.logspace(0, 4, z.shape[1])[None] ** torch.linspace(0, 1, len(z))[:, None]
    return (steepness * (z - 1).square()).sum(dim=1)


def test_it_finds_the_bottom_of_a_narrow_valley() -> None:
    start = torch.tensor([[-1.2, 1.0], [0.0, 0.0], [2.0, -1.0]])
    best, where = minimised(rosenbrock, start, 60)
    assert best.max() < 1e-6
    torch.testing.assert_close(where, torch.ones(3, 2), rtol=0, atol=2e-3)


def test_it_needs_fewer_steps_than_adam() -> None:
    start = torch.zeros(5, 20)
    best, _ = minimised(bowl, start, 60)
    z = nn.Parameter(start.clone())
    adam = torch.optim.Adam([z], lr=0.1)
    for _ in range(60):
        adam.zero_grad()
        bowl(z).sum().backward()
        adam.step()
    assert (best < bowl(z.detach())).all()
    assert best.max() < 1


def test_a_row_goes_its_way_whatever_the_others_do() -> None:
    start = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    together = minimised(rosenbrock, start, 40)[1]
    for row in range(4):
        alone = minimised(rosenbrock, start[row : row + 1], 40)[1]
        torch.testing.assert_close(alone[0], together[row])


def test_a_row_that_is_not_finite_leaves_the_others_alone() -> None:
    def objective(z: Tensor) -> Tensor:
        return rosenbrock(z) * torch.tensor([1.0, torch.nan])

    start = torch.zeros(2, 3)
    best, where = minimised(objective, start, 50)
    alone = minimised(rosenbrock, start[:1], 50)
    torch.testing.assert_close(where[:1], alone[1])
    assert best[1] == torch.inf


def test_no_step_is_longer_than_lr() -> None:
    z = nn.Parameter(torch.full((1, 4), 100.0))
    optimizer = BatchedLBFGS(z, 0.5)
    for _ in range(5):
        before = z.detach().clone()
        value = z.square().sum(dim=1)
        z.grad = torch.autograd.grad(value.sum(), z)[0]
        optimizer.step(lambda value=value: value.detach())
        assert float((z.detach() - before).norm()) <= 0.5 * 2 * (1 + 1e-5)


def two_loops(start: Tensor, steps: int, lr: float) -> Tensor:
    """The textbook's L-BFGS, with all pairs of the last 30 steps, on one row."""
    z, length, scale, pairs = start, 1.0, 1.0, []
    base, value, slope = z, torch.inf, torch.zeros_like(z)
    longest = lr * start.shape[1] ** 0.5
    for step in range(steps):
        point = z.clone().requires_grad_()
        objective = rosenbrock(point).sum()
        (gradient,) = torch.autograd.grad(objective, point)
        if step:
            move, change = z - base, gradient - slope
            if (move * change).sum() > 1e-10 * change.norm() * move.norm():
                pairs = [*pairs, (move, change)][-30:]
                scale = float((move * change).sum() / change.square().sum())
        else:
            scale = float(longest / 4 / gradient.norm())
        if objective < value:
            base, value, slope, length = z, objective.item(), gradient, min(1.0, 2 * length)
        else:
            length = length / 4 if length / 4 >= 0.01 else 1.0
        direction, shares = slope.clone(), []
        for move, change in reversed(pairs):
            shares.append((move * direction).sum() / (move * change).sum())
            direction -= shares[-1] * change
        direction *= scale
        for move, change in pairs:
            back = (change * direction).sum() / (move * change).sum()
            direction += (shares.pop() - back) * move
        direction *= min(1.0, float(longest / direction.norm()))
        z = base - length * direction
    return base


@pytest.mark.parametrize("steps", [5, 29, 33, 38])
def test_it_is_the_textbook_also_after_more_steps_than_it_keeps(steps: int) -> None:
    start = torch.linspace(-1, 1.5, 40, dtype=torch.float64)[None]
    _, where = minimised(rosenbrock, start, steps)
    torch.testing.assert_close(where, two_loops(start, steps, 0.5), rtol=1e-5, atol=1e-5)


def test_each_group_of_rows_has_its_own_first_curvature() -> None:
    rng = torch.Generator().manual_seed(0)
    curvature = torch.stack(
        [torch.diag(torch.logspace(0, 3, 12)), torch.diag(torch.logspace(3, 0, 12))]
    )

    def steep(z: Tensor) -> Tensor:
        apart = (z - 1).view(2, 2, 12)
        return ((apart @ curvature) * apart).sum(dim=2).flatten()

    start = torch.randn(4, 12, generator=rng)
    inverse = torch.linalg.inv(curvature)
    right, wrong, none = (
        minimised(steep, start, 8, inverse_curvature=guess)[0].max()
        for guess in (inverse, inverse.flip(0), None)
    )
    assert right < 0.01 * none
    assert right < 0.01 * wrong


def test_it_asks_for_the_objective() -> None:
    with pytest.raises(ValueError, match="objective"):
        BatchedLBFGS(nn.Parameter(torch.zeros(1, 2)), 0.1).step()
