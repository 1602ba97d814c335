"""The search for a damaged image's latent code: a LightningModule whose only parameter is z."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gan_inpaint.losses import contextual, perceptual
from gan_inpaint.prior import Prior

METRICS = ("objective", "contextual", "perceptual", "gradient_norm", "searching")
_RUNNING, STOPPED_BY = -1, ("tolerance", "plateau", "budget", "failed", "halved")
_PROGRESS = 1e-4  # a plateau: the best objective fell by less than this fraction over `patience`


@dataclass
class Rows:
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

    def __getitem__(self, index: Tensor) -> "Rows":
        return Rows(*(getattr(self, field.name)[index] for field in fields(self)))


def constrained(z: Tensor, constraint: str, radius: float) -> Tensor:
    """The nearest codes that the prior could have drawn.

    Without it |z| grows while the search fits ever more of the known pixels, and the hole gets
    worse.

    Args:
        z: ``(R, nz)``.
        constraint: ``clip`` (each coordinate in [-1, 1], as in Yeh et al., 2017), ``ball`` (|z| at
            most ``radius``·√nz) or ``none``.
        radius: in units of √nz, the typical length of a normal code.

    Example:
        >>> constrained(torch.tensor([[3.0, 4.0]]), "ball", 2.5 / 2**0.5)
        tensor([[1.5000, 2.0000]])
    """
    if constraint == "clip":
        return z.clamp(-1, 1)
    if constraint == "ball":
        limit = radius * z.shape[1] ** 0.5
        return z * (limit / z.norm(dim=1, keepdim=True)).clamp(max=1)
    return z


def constraint_for(choice: str, latent: str) -> str:
    """What ``auto`` means for a prior: clip for a uniform one, ball for a normal one."""
    return {"normal": "ball", "uniform": "clip"}[latent] if choice == "auto" else choice


class LatentReconstruction(pl.LightningModule):
    """Minimises ``contextual(z) + lam * perceptual(z)`` over z alone, each row on its own.

    ``dict(named_parameters())`` is exactly ``{"z": ...}``: the prior's networks are frozen, their
    weights are buffers. A row stops when the L1 norm of its gradient is under ``tolerance``, when
    its best objective has not fallen by a ten-thousandth within ``patience`` steps, when it is no
    longer finite, or when the budget is spent; it is then left out of the batch. The best
    iterate of every row is kept, not the last.

    Source: Yeh et al., CVPR 2017, eq. 3 to 6; the stopping rule is P. Lacaille's, 2017.

    Args:
        prior: its generator and discriminator are used as they are: already frozen.
        images: ``(B, C, H, W)`` in [-1, 1]; what is in the hole is never looked at.
        known: ``(B, 1, H, W)`` bool, True on observed pixels.
        z: ``(B * restarts, nz)`` start; the restarts of one image are neighbours.
        lam: weight of the perceptual term, at least 0.
        norm: ``l1`` or ``l2``.
        optimizer: ``adam`` or ``sgd``.
        lr: its learning rate.
        steps: budget of updates a row.
        tolerance: L1 norm of a row's gradient below which it stops; 0 never stops.
        patience: see above; None never stops.
        constraint, radius: see ``constrained``; applied after every update.
        perceptual: form of the perceptual term, ``saturating`` or ``nonsaturating``.
        halving: after these fractions of ``steps``, the worse half of the restarts of each image
            that are still searching is given up (successive halving: Karnin et al., ICML 2013).
        updates_per_step: z updates in one ``training_step``, which hides Lightning's overhead.

    Attributes:
        best: the state of every row, filled as the search goes on.
        history: a row of means a ``training_step``: ``step`` and ``METRICS``.
    """

    images: Tensor
    known: Tensor
    image_of: Tensor

    def __init__(
        self,
        prior: Prior,
        images: Tensor,
        known: Tensor,
        z: Tensor,
        *,
        lam: float,
        norm: str,
        optimizer: str,
        lr: float,
        steps: int,
        tolerance: float,
        patience: int | None,
        constraint: str,
        radius: float,
        perceptual: str = "saturating",
        halving: Sequence[float] = (),
        updates_per_step: int = 10,
    ):
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator, self._loss = (
            prior.generator,
            prior.discriminator,
            prior.loss,
        )
        self.z = nn.Parameter(z.clone())
        rows = len(z)
        self.register_buffer("images", images, persistent=False)
        self.register_buffer("known", known.float(), persistent=False)
        image_of = torch.arange(rows) // (rows // len(images))
        self.register_buffer("image_of", image_of, persistent=False)
        self.best = Rows(
            z=z.clone(),
            objective=torch.full((rows,), torch.inf),
            contextual=torch.full((rows,), torch.inf),
            perceptual=torch.full((rows,), torch.inf),
            steps=torch.zeros(rows, dtype=torch.long),
            stopped_by=torch.full((rows,), _RUNNING),
        )
        # the objective at the last real progress, and the step of it: what a plateau is told by
        self._mark = torch.full((rows,), torch.inf)
        self._marked_at = torch.zeros(rows, dtype=torch.long)
        self.lam, self.norm, self.steps = lam, norm, steps
        self.tolerance, self.patience = tolerance, patience
        self.constraint, self.radius = constraint, radius
        self._form = perceptual
        self._halve_after = {round(share * steps) for share in halving}
        self._made = 0  # updates so far
        self._optimizer, self._lr, self._updates = optimizer, lr, updates_per_step
        self.history: list[dict[str, float]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam or plain SGD over z."""
        kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self._optimizer]
        return kind([self.z], lr=self._lr)

    def train_dataloader(self) -> DataLoader:
        """The schedule: how many updates each training step makes."""
        whole, rest = divmod(self.steps, self._updates)
        updates = [self._updates] * whole + [rest] * bool(rest)
        return DataLoader(updates, batch_size=None)  # type: ignore[arg-type]

    def on_fit_start(self) -> None:
        for field in fields(Rows):
            setattr(self.best, field.name, getattr(self.best, field.name).to(self.device))
        self._mark, self._marked_at = self._mark.to(self.device), self._marked_at.to(self.device)

    def terms(self, z: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Objective, contextual and perceptual term, each ``(R,)``, of codes ``(R, nz)``.

        Args:
            rows: ``(R,)``, which rows they are: every image has its own pixels and mask.
        """
        image = self.image_of[rows]
        generated = self.generator(z)
        context = contextual(generated, self.images[image], self.known[image], self.norm)
        if self.lam == 0 or self.discriminator is None:  # it is half of the work
            return context, context.detach(), torch.zeros_like(context)
        realism = perceptual(self.discriminator(generated), self._loss, self._form)
        return context + self.lam * realism, context.detach(), realism.detach()

    def training_step(self, updates: int, batch_idx: int) -> None:
        """That many updates of every row that is still searching."""
        for _ in range(updates):
            rows = (self.best.stopped_by == _RUNNING).nonzero()[:, 0]
            if not len(rows):
                self.trainer.should_stop = True
                break
            self._update(rows)
        step = min((batch_idx + 1) * self._updates, self.steps)
        self._log_row(step)

    def _update(self, rows: Tensor) -> None:
        optimizer = self.optimizers()
        objective, context, realism = self.terms(self.z[rows], rows)
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.manual_backward(objective.sum())  # rows are independent: each gets its own gradient
        gradient = self.z.grad[rows].abs().sum(dim=1)  # type: ignore[index]
        self._keep_best(rows, objective.detach(), context, realism)
        self._gradient_norm = gradient.mean()
        self._stop(rows, objective.detach(), gradient)
        optimizer.step()  # type: ignore[union-attr]
        with torch.no_grad():
            self.z.copy_(constrained(self.z, self.constraint, self.radius))
        self.best.steps[rows] += self.best.stopped_by[rows] == _RUNNING
        self._made += 1
        if self._made in self._halve_after:
            self._halve()

    def _halve(self) -> None:
        count = len(self.images)
        searching = (self.best.stopped_by == _RUNNING).view(count, -1)
        objective = self.best.objective.view(count, -1).where(searching, torch.inf)
        rank = objective.argsort(dim=1).argsort(dim=1)
        kept = (searching.sum(dim=1, keepdim=True) + 1) // 2
        given_up = (searching & (rank >= kept)).flatten()
        self.best.stopped_by[given_up] = STOPPED_BY.index("halved")

    def _keep_best(self, rows: Tensor, objective: Tensor, context: Tensor, realism: Tensor) -> None:
        better = objective < self.best.objective[rows]
        improved = rows[better]
        self.best.z[improved] = self.z.detach()[improved]
        self.best.objective[improved] = objective[better]
        self.best.contextual[improved] = context[better]
        self.best.perceptual[improved] = realism[better]

    def _stop(self, rows: Tensor, objective: Tensor, gradient: Tensor) -> None:
        reason = self.best.stopped_by[rows]
        if self.patience is not None:
            mark = self._mark[rows]
            progress = mark.isinf() | (objective < mark - _PROGRESS * mark.abs())
            self._mark[rows] = torch.where(progress, objective, mark)
            taken = self.best.steps[rows]
            self._marked_at[rows] = torch.where(progress, taken, self._marked_at[rows])
            reason[taken - self._marked_at[rows] >= self.patience] = STOPPED_BY.index("plateau")
        reason[gradient < self.tolerance] = STOPPED_BY.index("tolerance")
        reason[~(objective.isfinite() & gradient.isfinite())] = STOPPED_BY.index("failed")
        self.best.stopped_by[rows] = reason

    def _log_row(self, step: int) -> None:
        """Means over all rows of their best so far: a row that has stopped keeps its values."""
        found = self.best.objective.isfinite()  # a row that failed at once has none
        means = {
            "objective": self.best.objective[found].mean().item(),
            "contextual": self.best.contextual[found].mean().item(),
            "perceptual": self.best.perceptual[found].mean().item(),
            "gradient_norm": self._gradient_norm.item(),
            "searching": int((self.best.stopped_by == _RUNNING).sum()),
        }
        self.history.append({"step": step, **means})
        for logger in self.loggers:
            logger.log_metrics(means, step=step)

    @torch.no_grad()
    def on_train_end(self) -> None:
        """Judge where the last update led, and fill in what a search without D left open."""
        rows = (self.best.stopped_by == _RUNNING).nonzero()[:, 0]
        if len(rows):
            self._keep_best(rows, *self.terms(self.z[rows], rows))
            self.best.stopped_by[rows] = STOPPED_BY.index("budget")
        if self.discriminator is None:
            self.best.perceptual = torch.full_like(self.best.perceptual, torch.nan)
        elif self.lam == 0:
            logit = self.discriminator(self.generator(self.best.z))
            self.best.perceptual = perceptual(logit, self._loss, self._form)
