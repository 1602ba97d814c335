"""The search for a damaged image's latent code: a LightningModule whose only parameter is z."""

from collections.abc import Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gan_inpaint.functional.latent import project
from gan_inpaint.functional.losses import contextual, perceptual
from gan_inpaint.inversion.lbfgs import BatchedLBFGS
from gan_inpaint.inversion.state import RUNNING, STOPPED_BY, RestartState
from gan_inpaint.priors.gan import Prior

_TERMS = ("objective", "contextual", "perceptual")
METRICS = (*_TERMS, "perceptual_share", "gradient_norm", "searching")
_SHARE_EVERY = 5  # training steps between two looks at whose gradient it is: each costs an update
_SHARPENED = 0.2  # the share of the steps, the last ones, that bf16 leaves to fp32
_PROGRESS = 1e-4  # a plateau: the best objective fell by less than this fraction over `patience`


class LatentReconstruction(pl.LightningModule):
    """Minimises ``contextual(z) + lam * perceptual(z)`` over z alone, each row on its own.

    With ``z_penalty`` the objective has a third term, ``z_penalty * mean of z²``.

    ``dict(named_parameters())`` is exactly ``{"z": ...}``: the prior's networks are frozen, their
    weights are buffers. A row stops when the L1 norm of its gradient is under ``tolerance``, when
    its best objective has not fallen by a ten-thousandth within ``patience`` steps, when it is no
    longer finite, or when the budget is spent; it is then left out of the batch. The best
    iterate of every row is kept, not the last.

    Source: Yeh et al., CVPR 2017, eq. 3 to 6; the stopping rule is P. Lacaille's, 2017.

    Args:
        prior: its generator and discriminator are used as they are: already frozen.
        images: ``(B, C, H, W)`` in [-1, 1]; what is in the hole is never looked at.
        weight: ``(B, 1, H, W)`` of the contextual term, 0 in the hole: ``known`` itself or
            importance weights.
        z: ``(B * restarts, nz)`` start; the restarts of one image are neighbours.
        lam: weight of the perceptual term, at least 0.
        z_penalty: weight of the mean square of z, at least 0 (Bora et al., ICML 2017, eq. 3).
        norm: ``l1`` or ``l2``.
        optimizer: ``lbfgs``, ``adam`` or ``sgd``.
        lr: its learning rate; for L-BFGS the longest step, in units of √nz.
        steps: budget of updates a row.
        tolerance: L1 norm of a row's gradient below which it stops; 0 never stops.
        patience: see above; None never stops.
        constraint, radius: see ``project``; applied after every update.
        perceptual: form of the perceptual term, ``saturating`` or ``nonsaturating``.
        perceptual_every: the discriminator is asked at every such update only, and then counts that
            much more; in between, a row's objective holds its last opinion.
        halving: after these fractions of ``steps``, the worse half of the restarts of each image
            that are still searching is given up (successive halving: Karnin et al., ICML 2013).
        precision: ``fp32`` or ``bf16`` for the networks; z, losses, the last fifth of the steps and
            the final terms are fp32.
        updates_per_step: z updates in one ``training_step``, which hides Lightning's overhead.

    Attributes:
        best: the state of every row, filled as the search goes on.
        history: a row of means a ``training_step``: ``step`` and ``METRICS``.
    """

    images: Tensor
    weight: Tensor
    image_of: Tensor

    def __init__(
        self,
        prior: Prior,
        images: Tensor,
        weight: Tensor,
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
        z_penalty: float = 0.0,
        perceptual: str = "saturating",
        perceptual_every: int = 1,
        halving: Sequence[float] = (),
        precision: str = "fp32",
        updates_per_step: int = 10,
    ):
        super().__init__()
        self.automatic_optimization = False
        # full precision judges the outcome, the search itself may make do with less
        self.exact_generator, self.exact_discriminator = prior.generator, prior.discriminator
        fast = prior.reduced() if precision == "bf16" else prior
        self.generator, self.discriminator = fast.generator, fast.discriminator
        self._loss = fast.loss
        self.z = nn.Parameter(z.clone())
        rows = len(z)
        # in the layout of what the generator makes
        images = images.contiguous(memory_format=torch.channels_last)
        self.register_buffer("images", images, persistent=False)
        self.register_buffer("weight", weight.float(), persistent=False)
        image_of = torch.arange(rows) // (rows // len(images))
        self.register_buffer("image_of", image_of, persistent=False)
        self.best = RestartState.fresh(z)
        # the objective at the last real progress, and the step of it: what a plateau is told by
        self._mark = torch.full((rows,), torch.inf)
        self._marked_at = torch.zeros(rows, dtype=torch.long)
        self._opinion = torch.zeros(rows)  # the perceptual term when D was last asked
        self.lam, self.norm, self.steps, self.z_penalty = lam, norm, steps, z_penalty
        self.tolerance, self.patience = tolerance, patience
        self.constraint, self.radius = constraint, radius
        self._form, self._every = perceptual, perceptual_every
        self._halve_after = {round(share * steps) for share in halving}
        self._sharpen_at = steps - round(_SHARPENED * steps) if precision == "bf16" else -1
        self._made = 0  # updates so far
        self._optimizer, self._lr, self._updates = optimizer, lr, updates_per_step
        self.history: list[dict[str, float]] = []

    def compile_networks(self) -> None:
        """Through ``torch.compile``, for any number of rows: they get fewer as rows stop."""
        self.generator.compile(dynamic=True)
        if self.discriminator is not None:
            self.discriminator.compile(dynamic=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """L-BFGS, Adam or plain SGD over z."""
        if self._optimizer == "lbfgs":
            return BatchedLBFGS(self.z, self._lr)
        kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self._optimizer]
        return kind([self.z], lr=self._lr)

    def train_dataloader(self) -> DataLoader:
        """The schedule: how many updates each training step makes."""
        whole, rest = divmod(self.steps, self._updates)
        updates = [self._updates] * whole + [rest] * bool(rest)
        own = torch.Generator()  # else it takes a number from the global one
        return DataLoader(updates, batch_size=None, generator=own)  # type: ignore[arg-type]

    def on_fit_start(self) -> None:
        self.best = self.best.to(self.device)
        self._mark, self._marked_at = self._mark.to(self.device), self._marked_at.to(self.device)
        self._opinion = self._opinion.to(self.device)

    def terms(self, z: Tensor, rows: Tensor, asked: bool = True) -> tuple[Tensor, Tensor]:
        """Contextual and perceptual term, each ``(R,)``, of codes ``(R, nz)``.

        Args:
            rows: ``(R,)``, which rows they are: every image has its own pixels and mask.
            asked: whether the discriminator is; it is half of the work. Else its term is 0, as it
                is when λ = 0.
        """
        image = self.image_of[rows]
        generated = self.generator(z)
        context = contextual(generated, self.images[image], self.weight[image], self.norm)
        if not asked or self.lam == 0 or self.discriminator is None:
            return context, torch.zeros_like(context)
        return context, perceptual(self.discriminator(generated), self._loss, self._form)

    def objective(self, z: Tensor, context: Tensor, realism: Tensor) -> Tensor:
        """``(R,)``: what is minimised, of the terms at codes ``(R, nz)``."""
        penalty = self.z_penalty * z.square().mean(dim=1) if self.z_penalty else 0.0
        return context + self.lam * realism + penalty

    def training_step(self, updates: int, batch_idx: int) -> None:
        """That many updates of every row that is still searching."""
        if batch_idx % _SHARE_EVERY == 0:
            self._perceptual_share = self._measured_share()
        for _ in range(updates):
            rows = (self.best.stopped_by == RUNNING).nonzero()[:, 0]
            if not len(rows):
                self.trainer.should_stop = True
                break
            self._update(rows)
        step = min((batch_idx + 1) * self._updates, self.steps)
        self._log_row(step)

    def _update(self, rows: Tensor) -> None:
        if self._made == self._sharpen_at:
            self._sharpen(rows)
        optimizer = self.optimizers()
        z = self.z[rows]
        asked = self._made % self._every == 0
        context, realism = self.terms(z, rows, asked)
        if asked:
            self._opinion[rows] = realism.detach()
        else:
            realism = self._opinion[rows]
        objective = self.objective(z, context, realism)
        # rows are independent: the sum gives each its own gradient
        loss = objective.sum()
        if asked and self._every > 1:
            loss = loss + (self._every - 1) * self.lam * realism.sum()
        optimizer.zero_grad()  # type: ignore[union-attr]
        self.manual_backward(loss)
        gradient = self.z.grad[rows].abs().sum(dim=1)  # type: ignore[index]
        objective = objective.detach()
        self._keep_best(rows, objective, context.detach(), realism.detach())
        self._gradient_norm = gradient.mean()
        self._stop(rows, objective, gradient)
        # a row that has stopped cannot fall any more
        every = torch.full_like(self.best.objective, torch.inf)
        every[rows] = objective
        optimizer.step(lambda: every)  # type: ignore[union-attr]
        with torch.no_grad():
            self.z.copy_(project(self.z, self.constraint, self.radius))
        self.best.steps[rows] += self.best.stopped_by[rows] == RUNNING
        self._made += 1
        if self._made in self._halve_after:
            self._halve()

    @torch.no_grad()
    def _sharpen(self, rows: Tensor) -> None:
        """From here on in full precision, from the best so far: bf16's noise hides the bottom."""
        self.generator, self.discriminator = self.exact_generator, self.exact_discriminator
        self.z[rows] = self.best.z[rows]
        self.best.objective[rows] = torch.inf
        if self._optimizer == "lbfgs":
            self.optimizers().optimizer.rebase()  # type: ignore[union-attr]

    def _measured_share(self) -> float:
        """Of the gradient's L1 norm, the perceptual term's part; mean over the searching rows."""
        rows = (self.best.stopped_by == RUNNING).nonzero()[:, 0]
        if self.lam == 0 or self.discriminator is None or not len(rows):
            return 0.0
        z = self.z.detach()[rows].requires_grad_()
        # each from a graph of its own: a compiled network lets go of its graph after one use
        of_context = torch.autograd.grad(self.terms(z, rows, asked=False)[0].sum(), z)[0]
        of_realism = torch.autograd.grad(self.lam * self.terms(z, rows)[1].sum(), z)[0]
        known, real = (g.abs().sum(dim=1) for g in (of_context, of_realism))
        return (real / (known + real)).nanmean().item()  # 0/0 where both are exactly flat

    def _halve(self) -> None:
        count = len(self.images)
        searching = (self.best.stopped_by == RUNNING).view(count, -1)
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
            **{term: getattr(self.best, term)[found].mean().item() for term in _TERMS},
            "perceptual_share": self._perceptual_share,
            "gradient_norm": self._gradient_norm.item(),
            "searching": int((self.best.stopped_by == RUNNING).sum()),
        }
        self.history.append({"step": step, **means})
        for logger in self.loggers:
            logger.log_metrics(means, step=step)

    @torch.no_grad()
    def on_train_end(self) -> None:
        """Judge where the last update led, then every row's best in full precision, by D too."""
        rows = (self.best.stopped_by == RUNNING).nonzero()[:, 0]
        if len(rows):
            z = self.z.detach()[rows]
            context, realism = self.terms(z, rows)
            self._keep_best(rows, self.objective(z, context, realism), context, realism)
            self.best.stopped_by[rows] = STOPPED_BY.index("budget")
        z, found = self.best.z, self.best.objective.isfinite()
        generated = self.exact_generator(z)
        given, weight = self.images[self.image_of], self.weight[self.image_of]
        context = contextual(generated, given, weight, self.norm)
        realism = torch.full_like(context, torch.nan)
        if self.exact_discriminator is not None:
            logit = self.exact_discriminator(generated)
            realism = perceptual(logit, self._loss, self._form)
        objective = self.objective(z, context, realism if self.lam else torch.zeros_like(context))
        self.best.objective = objective.where(found, torch.inf)
        self.best.contextual = context.where(found, torch.inf)
        self.best.perceptual = realism.where(found, torch.inf)
