"""The search for a damaged image's latent code: a LightningModule whose only parameter is z."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gan_inpaint import masks
from gan_inpaint.blending import poisson
from gan_inpaint.config import SearchSettings, search_settings
from gan_inpaint.errors import InputError
from gan_inpaint.losses import contextual, perceptual
from gan_inpaint.prior import Prior
from gan_inpaint.randomness import draw_latent, torch_rng

METRICS = ("objective", "contextual", "perceptual", "gradient_norm", "searching")
_RUNNING, STOPPED_BY = -1, ("tolerance", "plateau", "budget", "failed")
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


class LatentReconstruction(pl.LightningModule):
    """Minimises ``contextual(z) + lam * perceptual(z)`` over z alone, each row on its own.

    ``dict(named_parameters())`` is exactly ``{"z": ...}``: the networks are frozen copies whose
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
        constraint: ``clip`` (z in [-1, 1]), ``ball`` (|z| at most ``radius``·√nz) or ``none``.
        radius: of the ball, in units of √nz, the typical length of a normal code.
        updates_per_step: z updates in one ``training_step``, which hides Lightning's overhead.
        first_step: number of the first step in the logs: batches of images follow each other.
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
        updates_per_step: int = 10,
        first_step: int = 0,
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
        self.constraint, self.radius = constraint, radius * z.shape[1] ** 0.5
        self._optimizer, self._lr, self._updates = optimizer, lr, updates_per_step
        self._first_step = first_step
        self.last_row: dict[str, float] = {}

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
        if self.lam == 0:  # the discriminator is half of the work
            return context, context.detach(), torch.zeros_like(context)
        realism = perceptual(self.discriminator(generated), self._loss)
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
        self._project()
        self.best.steps[rows] += self.best.stopped_by[rows] == _RUNNING

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

    @torch.no_grad()
    def _project(self) -> None:
        if self.constraint == "clip":
            self.z.clamp_(-1, 1)
        elif self.constraint == "ball":
            length = self.z.norm(dim=1, keepdim=True)
            self.z.mul_((self.radius / length).clamp(max=1))

    def _log_row(self, step: int) -> None:
        """Means over all rows of their best so far: a row that has stopped keeps its values."""
        self.last_row = {
            "objective": self.best.objective.mean().item(),
            "contextual": self.best.contextual.mean().item(),
            "perceptual": self.best.perceptual.mean().item(),
            "gradient_norm": self._gradient_norm.item(),
            "searching": int((self.best.stopped_by == _RUNNING).sum()),
        }
        for logger in self.loggers:
            logger.log_metrics(self.last_row, step=self._first_step + step)

    @torch.no_grad()
    def on_train_end(self) -> None:
        """Judge where the last update led, and fill in what a search without D left open."""
        rows = (self.best.stopped_by == _RUNNING).nonzero()[:, 0]
        if len(rows):
            self._keep_best(rows, *self.terms(self.z[rows], rows))
            self.best.stopped_by[rows] = STOPPED_BY.index("budget")
        if self.lam == 0:
            logit = self.discriminator(self.generator(self.best.z))
            self.best.perceptual = perceptual(logit, self._loss)


@dataclass
class Result:
    """What a search found, one entry an image.

    Attributes:
        images: ``(B, C, H, W)`` in [-1, 1]: the known pixels as they were, the hole from G(z).
        generated: ``(B, C, H, W)``, what fills the hole, everywhere: G(z), or with
            ``estimate=mean`` its average over the restarts.
        z: ``(B, nz)``, the winning restart's.
        objective, contextual, perceptual, steps: ``(B,)``, likewise.
        restart: ``(B,)``, the index of the winner.
        stopped_by: B words: ``tolerance``, ``plateau``, ``budget`` or ``failed``.
        rows: every restart, those of one image being neighbours.
    """

    images: Tensor
    generated: Tensor
    z: Tensor
    objective: Tensor
    contextual: Tensor
    perceptual: Tensor
    steps: Tensor
    restart: Tensor
    stopped_by: list[str]
    rows: Rows


def inpaint(images: Tensor, known: Tensor, prior: Prior, **options: Any) -> Result:
    """Fill the holes of images with what the prior's generator makes of the known pixels.

    Args:
        images: ``(B, C, H, W)`` in [-1, 1], at the prior's size and channels; what is in the hole
            is never looked at (a NaN is fine there).
        known: ``(B or 1, 1, H, W)``, bool or 0/1: 1 = observed pixel, 0 = missing.
        prior: from ``load_prior``.
        options: ``lam``, ``norm``, ``steps`` ...: the search keys of ``reconstruct``; those not
            given are taken from the same YAML file as the command's.

    Raises:
        InputError: a wrong shape, mask or option (a ValueError).

    Example:
        >>> import gan_inpaint, torch
        >>> prior = gan_inpaint.load_prior("digits")
        >>> images = prior.sample(2, seed=0)
        >>> known = torch.ones(1, 1, 32, 32); known[..., 8:24, 8:24] = 0
        >>> result = gan_inpaint.inpaint(images, known, prior, steps=5)
        >>> torch.equal(result.images[..., :8], images[..., :8])
        True
    """
    known = _checked(images, known, prior)
    settings = search_settings(options)
    parts = [
        search(prior, image_part, known_part, settings)
        for image_part, known_part in zip(
            images.split(settings.images_at_once), known.split(settings.images_at_once), strict=True
        )
    ]
    return _joined(parts)


def search(
    prior: Prior,
    images: Tensor,
    known: Tensor,
    settings: SearchSettings,
    loggers: Sequence[pl.loggers.Logger] = (),
    callbacks: Sequence[pl.Callback] = (),
    first_step: int = 0,
) -> Result:
    """``inpaint`` for one batch: ``known`` is bool ``(B, 1, H, W)``, the settings are complete."""
    z = starting_points(prior, images, known, settings)
    constraint = settings.constraint
    if constraint == "auto":
        constraint = {"normal": "ball", "uniform": "clip"}[prior.latent]
    module = LatentReconstruction(
        prior,
        images,
        known,
        z,
        lam=settings.lam,
        norm=settings.norm,
        optimizer=settings.optimizer,
        lr=settings.lr,
        steps=settings.steps,
        tolerance=settings.tolerance,
        patience=settings.patience,
        constraint=constraint,
        radius=settings.radius,
        first_step=first_step,
    )
    with _quiet_lightning():
        trainer = pl.Trainer(
            max_epochs=1,
            devices=1,
            logger=list(loggers),
            callbacks=list(callbacks),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module)
    rows = Rows(*(getattr(module.best, field.name).cpu() for field in fields(Rows)))
    return _best_of(rows, prior, images, known, settings.estimate, settings.blend)


def starting_points(
    prior: Prior, images: Tensor, known: Tensor, settings: SearchSettings
) -> Tensor:
    """``(B * restarts, nz)``: the nearest of ``candidates`` random codes, or random ones if 0.

    Nearest by the contextual term under each image's own mask. A random start is a function of the
    seed and of the image's known pixels: the same image gets the same start in any batch.
    """
    restarts = settings.restarts
    if not settings.candidates:
        starts = []
        for image, mask in zip(images, known, strict=True):
            content = torch.where(mask, image, 0.0).cpu().numpy().tobytes()
            rng = torch_rng("start", settings.seed, content)
            starts.append(draw_latent(restarts, prior.nz, prior.latent, rng))
        return torch.cat(starts)
    rng = torch_rng("candidates", settings.seed)
    codes = draw_latent(settings.candidates, prior.nz, prior.latent, rng)
    distances = []
    with torch.no_grad():
        for part in codes.split(256):
            generated = prior.generator(part)
            distances.append(
                torch.stack(
                    [
                        contextual(generated, image, mask[None].float(), settings.norm)
                        for image, mask in zip(images, known, strict=True)
                    ]
                )
            )
    nearest = torch.cat(distances, dim=1).topk(restarts, largest=False).indices
    return codes[nearest.flatten()]


def _best_of(
    rows: Rows, prior: Prior, images: Tensor, known: Tensor, estimate: str, blend: str
) -> Result:
    count = len(images)
    restarts = len(rows.z) // count
    # a row that failed before its first finite objective holds infinity: it never wins over others
    objective = rows.objective.view(count, restarts)
    restart = objective.argmin(dim=1)
    winner = rows[torch.arange(count) * restarts + restart]
    with torch.no_grad():
        generated = torch.cat([prior.generator(part) for part in winner.z.split(256)])
        if estimate == "mean" and restarts > 1:
            every = torch.cat([prior.generator(part) for part in rows.z.split(256)])
            # all failed: the winner's picture stands, marked as failed
            weight = torch.where(objective.isfinite().any(1, True), objective.isfinite(), True)
            every = every.unflatten(0, (count, restarts)) * weight[:, :, None, None, None]
            generated = every.sum(dim=1) / weight.sum(dim=1)[:, None, None, None]
    filling = generated
    if blend == "poisson":
        filling = torch.from_numpy(poisson(generated.numpy(), images.numpy(), known[:, 0].numpy()))
    return Result(
        images=torch.where(known, images, filling),
        generated=generated,
        z=winner.z,
        objective=winner.objective,
        contextual=winner.contextual,
        perceptual=winner.perceptual,
        steps=winner.steps,
        restart=restart,
        stopped_by=[STOPPED_BY[reason] for reason in winner.stopped_by],
        rows=rows,
    )


def _joined(parts: list[Result]) -> Result:
    def join(values: list) -> Any:
        if isinstance(values[0], Tensor):
            return torch.cat(values)
        if isinstance(values[0], Rows):
            return Rows(*(join([getattr(v, f.name) for v in values]) for f in fields(Rows)))
        return [item for value in values for item in value]

    return Result(*(join([getattr(part, f.name) for part in parts]) for f in fields(Result)))


def _checked(images: Tensor, known: Tensor, prior: Prior) -> Tensor:
    expected = (prior.channels, prior.size, prior.size)
    if images.ndim != 4 or not len(images) or tuple(images.shape[1:]) != expected:
        raise InputError(
            f"images have shape {tuple(images.shape)}, but the prior {prior.name} has"
            f" {prior.channels} channel(s) and size {prior.size}: give (B, {prior.channels},"
            f" {prior.size}, {prior.size})"
        )
    if (
        known.ndim != 4
        or known.shape[1:] != (1, *expected[1:])
        or len(known) not in (1, len(images))
    ):
        raise InputError(
            f"known has shape {tuple(known.shape)}, but ({len(images)} or 1, 1, {prior.size},"
            f" {prior.size}) fits the images"
        )
    if not bool(((known == 0) | (known == 1)).all()):
        raise InputError("known holds values other than 0 (missing) and 1 (observed)")
    known = known.bool()
    for index, mask in enumerate(known):
        masks.check(mask, f"known[{index}]")
    return known.expand(len(images), -1, -1, -1)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """A search starts one Trainer a batch: its announcements would bury ours."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            yield
    finally:
        logger.setLevel(level)
