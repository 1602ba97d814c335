"""Compare the jobs of a sweep: paired differences, confidence intervals, sentences."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from gan_inpaint.reporting.sweep import SweepJob, ranked


@dataclass
class Lead:
    """The lead of the best job over something else, paired by image.

    Attributes:
        other: what it is compared with, in words.
        mean, error: mean and standard error of the difference in hole PSNR over the images, in dB.
        images: number of images measured for both.
        lost: the images on which the best job is behind, and by how many dB, the worst first.
    """

    other: str
    mean: float
    error: float
    images: int
    lost: dict[int, float]

    @property
    def verdict(self) -> str:
        """Whether the lead exceeds its 95 % confidence interval."""
        if not self.mean and not self.error:
            return "no difference"
        reach = stdtrit(self.images - 1, 0.975) * self.error  # Student's t: a 95 % interval
        return "more than the noise" if abs(self.mean) > reach else "within the noise"

    def __str__(self) -> str:
        return (
            f"It {'leads' if self.mean > 0 else 'trails'} {self.other} by {abs(self.mean):.2f} ±"
            f" {self.error:.2f} dB (mean and standard error over {self.images} images):"
            f" {self.verdict}."
        )


def findings(jobs: Sequence[SweepJob]) -> list[str]:
    """Sentences: the best job, whether its lead exceeds the noise, which lam had no effect."""
    failed = sum(job.summary["status"] == "failed" for job in jobs)
    sentences = [f"{failed} of {len(jobs)} jobs failed; the table says why."] if failed else []
    groups = _measured(jobs)
    if len(groups) > 1:
        sentences.append(
            f"The jobs had {len(groups)} different sets of images and masks; a fair comparison is"
            " possible only within a set."
        )
    for group in groups:
        best, *others = group
        where = ""
        if len(groups) > 1:
            where = f"With {task_label(group, [job for one in groups for job in one])}: "
        told = []
        if len(groups) == 1 or others:
            highest = best.summary["psnr_hole"]
            word = "highest" if where else "Highest"
            told.append(f"{where}{word} mean hole PSNR: {highest:.2f} dB, of {best.label}.")
        if others and (next_best := lead(others[0].label, best.psnrs, others[0].psnrs)):
            told.append(str(next_best))
        found = [lead(job.label, best.psnrs, job.psnrs) for job in others]
        close = sum(one is not None and one.verdict != "more than the noise" for one in found)
        if len(others) > 1:
            told.append(f"{close} of the {len(others)} other jobs are within the noise of it.")
        sentences += [" ".join(told)] if where else told
    among_all = verdict(jobs)
    return sentences + ([among_all] if among_all else []) + _without_effect(jobs)


def _measured(jobs: Sequence[SweepJob]) -> list[list[SweepJob]]:
    """The jobs whose truth is known, grouped as by ``by_task``."""
    return by_task([job for job in jobs if job.summary.get("psnr_hole") is not None])


def by_task(jobs: Sequence[SweepJob]) -> list[list[SweepJob]]:
    """The jobs with results, grouped by images and masks, the best of each group first."""
    groups: dict[str, list[SweepJob]] = {}
    for job in ranked(job for job in jobs if job.done):
        groups.setdefault(job.task, []).append(job)
    return list(groups.values())


def task_label(group: Sequence[SweepJob], jobs: Sequence[SweepJob]) -> str:
    """What tells a group of jobs with the same images and masks from the others: ``mask=half``."""
    shared = set.intersection(*(set(job.overrides) for job in group))
    others = set.intersection(*(set(job.overrides) for job in jobs))
    own = [override for override in group[0].overrides if override in shared - others]
    return " ".join(own) or f"those of job {group[0].number}"


def leads(jobs: Sequence[SweepJob]) -> list[tuple[SweepJob, Lead]]:
    """The leads of the best job of each task over the others, its average and the baselines."""
    found = []
    for best, *others in _measured(jobs):
        beside = [lead(job.label, best.psnrs, job.psnrs) for job in others]
        for column, words in _WITHIN.items():
            rows = best.results.items()
            theirs = {image: float(row[column]) for image, row in rows if row.get(column)}
            beside.append(lead(words, best.psnrs, theirs))
        found += [(best, one) for one in beside if one]
    return found


_IN_WORDS = {
    "mean": "the mean training image (baseline mean)",
    "nearest": "the nearest training image (baseline nearest)",
    "linear": "the linear estimate (baseline linear)",
    "network": "the learned guide alone (baseline network)",
    "biharmonic": "biharmonic filling (baseline biharmonic)",
    "telea": "Telea's method (baseline telea)",
    "ns": "the Navier-Stokes method (baseline ns)",
}
_WITHIN = {  # columns of a job's results
    "psnr_hole_average": "the average over its own restarts (estimate=mean)",
    **{f"psnr_hole_{name}": words for name, words in _IN_WORDS.items()},
}


def differences(ours: Mapping[int, float], theirs: Mapping[int, float]) -> dict[int, float]:
    """Image -> lead of ours in dB, where both are measured and finite."""
    apart = {image: ours[image] - theirs[image] for image in ours if image in theirs}
    return {image: value for image, value in apart.items() if math.isfinite(value)}


def lead(other: str, ours: Mapping[int, float], theirs: Mapping[int, float]) -> Lead | None:
    """The lead of one job over another; None with fewer than two images.

    Args:
        other: the other one, in words.
        ours, theirs: image -> hole PSNR in dB.

    Example:
        >>> print(lead("norm=l1", {0: 20.0, 1: 18.0, 2: 19.0}, {0: 18.0, 1: 17.0, 2: 17.5}))
        It leads norm=l1 by 1.50 ± 0.29 dB (mean and standard error over 3 images): more than the noise.
    """  # noqa: E501
    apart = differences(ours, theirs)
    values = np.array(list(apart.values()))
    if len(values) < 2:
        return None
    behind = sorted((image for image in apart if apart[image] < 0), key=lambda image: apart[image])
    return Lead(
        other,
        float(values.mean()),
        float(values.std(ddof=1) / math.sqrt(len(values))),
        len(values),
        {image: -apart[image] for image in behind},
    )


def verdict(jobs: Sequence[SweepJob]) -> str | None:
    """A sentence that names the best method measured, whatever it is; None if there is one only.

    The methods are the best job's completions, the average over its restarts, and the baselines,
    on the images and masks of that job.
    """
    groups = _measured(jobs)
    if len(groups) != 1:
        return None
    best = groups[0][0]
    found = {f"the search ({best.label})": best.psnrs}
    for column, words in _WITHIN.items():
        rows = best.results.items()
        if theirs := {image: float(row[column]) for image, row in rows if row.get(column)}:
            found[words.replace("its own restarts", f"the restarts of {best.label}")] = theirs
    finite = {k: [v for v in psnrs.values() if math.isfinite(v)] for k, psnrs in found.items()}
    means = {words: float(np.mean(values)) for words, values in finite.items() if values}
    if len(means) < 2:
        return None
    first, *others = sorted(means, key=lambda words: -means[words])
    ahead = lead(others[0], found[first], found[others[0]])
    if ahead is None:
        return None
    return (
        f"Highest hole PSNR of all methods measured here: {first}, {means[first]:.2f} dB;"
        f" {ahead.mean:.2f} ± {ahead.error:.2f} dB above {others[0]}, {ahead.verdict}."
    )


def _without_effect(jobs: Sequence[SweepJob]) -> list[str]:
    """A sentence on the values of lam that had no effect, if any."""
    shares = [
        (job.summary["lam"], job.summary.get("perceptual_share"))
        for job in jobs
        if job.done and job.summary.get("lam")
    ]
    idle = sorted({lam for lam, share in shares if share is not None and share < 1e-3})
    if not idle:
        return []
    values = ", ".join(f"{lam:g}" for lam in idle)
    return [f"lam={values} had no effect: the perceptual term was below 0.1 % of the gradient."]
