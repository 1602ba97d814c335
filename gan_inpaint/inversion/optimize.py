"""The search loop: minimise the objective over the latent codes of one batch."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_inpaint.functional.latent import project
from gan_inpaint.functional.losses import contextual, perceptual, weighted_errors
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.initializers import Starts
from gan_inpaint.inversion.lbfgs import BatchedLBFGS
from gan_inpaint.inversion.state import RestartState, StopReason
from gan_inpaint.inversion.stopping import Stopping, mark_failed
from gan_inpaint.priors.prior import Prior

_TERMS = ("objective", "contextual", "perceptual")
METRICS = (*_TERMS, "perceptual_share", "gradient_norm", "searching")
_SHARE_EVERY = 5  # looks between two measurements of the perceptual share, each as long as a step
_EXACT = 0.2  # share of the last steps that run in fp32 even with bf16
_COMPACT_EVERY = 5  # steps between two looks at which rows have stopped, each of which costs time


@dataclass
class _Rows:
    """What the rows in a step need of their images.

    Attributes:
        index: ``(R,)``, their numbers.
        target: ``(R, C, H, W)``, the known pixels, and their guide in the hole.
        weights: ``(R, 1 or 2, H, W)``, of known pixels and of the guide.
        condition: ``(R, d)``, what their images show.
    """

    index: Tensor
    target: Tensor
    weights: Tensor
    condition: Tensor | None


class LatentOptimization:
    """Minimises ``contextual(z) + lam * perceptual(z)`` over z alone, each row on its own.

    With ``z_penalty`` the objective has a third term, ``z_penalty * mean of z²``. A row that has
    stopped is soon left out of the steps. The best iterate of every row is kept, not the last.

    Source: Yeh et al., CVPR 2017, eq. 3 to 6; the stopping rule is P. Lacaille's, 2017; the penalty
    is that of Bora et al., ICML 2017, eq. 3.

    Args:
        prior: evaluates the last steps and the final losses, in fp32.
        fast: evaluates the other steps: ``prior``, or the same networks in bf16.
        images: ``(B, C, H, W)`` in [-1, 1]; pixels in the hole are ignored.
        weight: ``(B, 1, H, W)`` of the contextual term, 0 in the hole: ``known`` or importance
            weights.
        known: ``(B, 1, H, W)`` bool, 1 = observed pixel.
        z: ``(at least B * restarts, nz)``, a leaf whose first rows are changed in place, the
            restarts of an image being neighbours.
        optimizer: of z, from ``make_optimizer``.
        starts: of z.
        config: how to search, resolved.
        guide: ``(B, restarts, C, H, W)`` in [-1, 1], estimates of the hole. Each restart is pulled
            to its own; restarts are compared by the first one. None: no guide.

    Attributes:
        state: the best of every row so far.
        history: one row per ``advance``: ``step`` and ``METRICS``, means over the rows.
    """

    def __init__(
        self,
        prior: Prior,
        fast: Prior,
        images: Tensor,
        weight: Tensor,
        known: Tensor,
        z: Tensor,
        optimizer: Any,
        starts: Starts,
        config: SearchConfig,
        guide: Tensor | None = None,
    ):
        self._exact, self._networks = prior, fast
        # in the memory layout of generated images
        self._images = images.contiguous(memory_format=torch.channels_last)
        self._weight, self.z, self._config = weight, z, config
        assert config.steps is not None
        rows, self._budget = len(starts.codes), config.steps
        self._image_of = torch.arange(rows, device=z.device) // (rows // len(images))
        self._guide, self._hole = guide, (~known).float()
        self._condition = starts.condition
        self._exact_from = -1 if fast is prior else self._budget - round(_EXACT * self._budget)
        self._stopping = Stopping(rows, config.tolerance, config.patience, z.device)
        self._steps = 0
        self._initial = starts.codes.clone()
        with torch.no_grad():
            z[:rows] = starts.codes
        self._optimizer, own = optimizer, _inner(optimizer)
        if isinstance(own, BatchedLBFGS):
            own.reset(rows, starts.inverse_curvature)
        else:
            own.state.clear()
        self.state = RestartState.initial(self._initial)
        self._rows = self._gathered(torch.arange(rows, device=z.device))
        self.history: list[dict[str, float]] = []

    def advance(self, steps: int) -> bool:
        """Make up to ``steps`` updates of every row that is still searching.

        Returns:
            Whether any row is still searching.
        """
        if len(self.history) % _SHARE_EVERY == 0:
            self._perceptual_share = self._measure_share()
        budget = self._budget - self._steps
        for _ in range(min(steps, budget)):
            if self._steps == self._exact_from:
                self._hand_over()
            elif self._steps % _COMPACT_EVERY == 0:
                self._compact()
            if not len(self._rows.index):
                break
            self._optimizer.step(self.evaluate)
            with torch.no_grad():
                moved = self.z[: len(self.state.z)]
                moved.copy_(project(moved, self._config.constraint, self._config.radius))
            rows = self._rows.index
            self.state.steps[rows] += self.state.running[rows]
            self._steps += 1
        self._log(min(steps, budget))
        return self._steps < self._budget and bool(self.state.running.any())

    def _compact(self) -> None:
        """Leave out the rows that have stopped."""
        running = self.state.running.nonzero()[:, 0]
        if len(running) < len(self._rows.index):
            self._rows = self._gathered(running)

    def _gathered(self, index: Tensor) -> _Rows:
        image = self._image_of[index]
        known, hole = self._weight[image], self._hole[image]
        target = torch.zeros_like(self._images[image])
        if self._guide is not None:  # each row has its own
            target.copy_(self._guide.flatten(0, 1)[index])
            known = torch.cat([known, hole], dim=1)
        target = torch.where(self._weight[image] > 0, self._images[image], target)
        return _Rows(index, target, known, self.condition_of(index))

    def _terms(self, networks: Prior, z: Tensor, rows: _Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Contextual, perceptual and guide term, each ``(R,)``, of codes ``(R, nz)``.

        Without lam the perceptual term is 0: the discriminator is half of the work.
        """
        config = self._config
        generated = networks.decode(z, rows.condition)
        errors = weighted_errors(generated, rows.target, rows.weights, config.norm)
        context = errors[:, 0]
        nothing = torch.zeros_like(context)
        guided = errors[:, 1] if self._guide is not None else nothing
        if not self._realistic:
            return context, nothing, guided
        logit = networks.realism(generated, rows.condition)
        assert logit is not None
        return context, perceptual(logit, networks.loss, config.perceptual), guided

    @property
    def _realistic(self) -> bool:
        """Whether there is a perceptual term."""
        return self._config.lam > 0 and self._exact.discriminator is not None

    def condition_of(self, rows: Tensor) -> Tensor | None:
        """``(R, d)``: the conditions of rows."""
        return None if self._condition is None else self._condition[rows]

    def objective(self, z: Tensor, context: Tensor, realism: Tensor, guided: Tensor) -> Tensor:
        """``(R,)``: the objective, from the terms at codes ``(R, nz)``."""
        config = self._config
        total = context + config.lam * realism
        if self._guide is not None:
            total = total + config.guide_weight * guided
        return total + config.z_penalty * z.square().mean(dim=1) if config.z_penalty else total

    def _guide_term(self, generated: Tensor) -> Tensor:
        """``(R,)``: distance of every row's image from the first guide, which all share."""
        if self._guide is None:
            return generated.new_zeros(len(generated))
        image = self._image_of
        first = self._guide[:, 0][image]
        return contextual(generated, first, self._hole[image], self._config.norm)

    @torch.no_grad()
    def _hand_over(self) -> None:
        """Continue in fp32 from the best iterates: the noise of bf16 hides the minimum."""
        self._networks = self._exact
        self._compact()
        rows = self._rows.index
        self.z[rows] = self.state.z[rows]
        self.state.objective[rows] = torch.inf
        own = _inner(self._optimizer)
        if isinstance(own, BatchedLBFGS):
            own.rebase()

    def evaluate(self) -> Tensor:
        """``(B * restarts,)``: each row's objective at z; the closure of the optimizer.

        It puts the gradient into ``z.grad``, keeps the best of every row, and marks rows that stop.
        Rows that were left out have an infinite objective: they do not improve any more.
        """
        rows = self._rows.index
        z = self.z[rows]
        context, realism, guided = self._terms(self._networks, z, self._rows)
        objective = self.objective(z, context, realism, guided)
        # rows are independent, so the gradient of the sum holds the gradient of each row;
        # not backward(): several processes would average the gradients of different images
        (self.z.grad,) = torch.autograd.grad(objective.sum(), self.z)
        gradient = self.z.grad[rows].abs().sum(dim=1)
        objective = objective.detach()
        self._keep_best(objective, context.detach(), realism.detach())
        searching = self.state.running[rows]
        self._gradient_norm = gradient.where(searching, 0.0).sum() / searching.sum().clamp(min=1)
        self._stopping.update(self.state, rows, objective, gradient)
        every = torch.full_like(self.state.objective, torch.inf)
        every[rows] = objective
        return every

    def _measure_share(self) -> float:
        """The perceptual term's share of the gradient's L1 norm; mean over the searching rows."""
        self._compact()
        rows = self._rows.index
        if not self._realistic or not len(rows):
            return 0.0
        z = self.z.detach()[rows].requires_grad_()
        context, realism, _ = self._terms(self._networks, z, self._rows)
        (of_context,) = torch.autograd.grad(context.sum(), z, retain_graph=True)
        (of_realism,) = torch.autograd.grad(self._config.lam * realism.sum(), z)
        known, real = (g.abs().sum(dim=1) for g in (of_context, of_realism))
        return (real / (known + real)).nanmean().item()  # 0/0 where both are exactly flat

    def _keep_best(self, objective: Tensor, context: Tensor, realism: Tensor) -> None:
        rows, state = self._rows.index, self.state
        better = state.running[rows] & (objective < state.objective[rows])
        state.z[rows] = torch.where(better[:, None], self.z.detach()[rows], state.z[rows])
        for kept, found in (
            (state.objective, objective),
            (state.contextual, context),
            (state.perceptual, realism),
        ):
            kept[rows] = torch.where(better, found, kept[rows])

    def _log(self, steps: int) -> None:
        """Means over all rows of their best so far; rows that have stopped keep their values."""
        found = self.state.objective.isfinite()  # a row that failed at once has no values
        before = self.history[-1]["step"] if self.history else 0
        self.history.append(
            {
                "step": before + steps,
                **{term: getattr(self.state, term)[found].mean().item() for term in _TERMS},
                "perceptual_share": self._perceptual_share,
                "gradient_norm": self._gradient_norm.item(),
                "searching": int(self.state.running.sum()),
            }
        )

    @torch.no_grad()
    def finish(self) -> RestartState:
        """Evaluate the last iterates, then the best of every row in fp32, also with D."""
        self._compact()
        rows = self._rows.index
        if len(rows):
            z = self.z.detach()[rows]
            context, realism, guided = self._terms(self._networks, z, self._rows)
            objective = self.objective(z, context, realism, guided)
            self._keep_best(objective, context, realism)
            self.state.stopped_by[rows] = StopReason.BUDGET
        z, found = self.state.z, self.state.objective.isfinite()
        condition = self.condition_of(torch.arange(len(z), device=z.device))
        generated = self._exact.decode(z, condition)
        given, weight = self._images[self._image_of], self._weight[self._image_of]
        context = contextual(generated, given, weight, self._config.norm)
        realism = torch.full_like(context, torch.nan)
        logit = self._exact.realism(generated, condition)
        if logit is not None:
            realism = perceptual(logit, self._exact.loss, self._config.perceptual)
        counted = realism if self._config.lam else torch.zeros_like(context)
        guided = self._guide_term(generated)
        objective = self.objective(z, context, counted, guided)
        self.state.objective = objective.where(found, torch.inf)
        self.state.guide_term = guided
        self.state.contextual = context.where(found, torch.inf)
        self.state.perceptual = realism.where(found, torch.inf)
        mark_failed(self.state, self._initial)
        self.z.grad = None
        return self.state


def make_optimizer(z: Tensor, config: SearchConfig) -> torch.optim.Optimizer:
    """The optimizer that a search asks for."""
    if config.optimizer == "lbfgs":
        return BatchedLBFGS(z, config.lr)
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[config.optimizer]
    return kind([z], lr=config.lr)


def _inner(optimizer: Any) -> Any:
    """The optimizer itself, if Lightning has wrapped it."""
    return getattr(optimizer, "optimizer", optimizer)
