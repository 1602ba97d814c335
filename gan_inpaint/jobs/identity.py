"""The identity of a reconstruction: everything that affects its results."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_inpaint.jobs.config import ReconstructConfig

if TYPE_CHECKING:
    from gan_inpaint.data.loading import Source
    from gan_inpaint.jobs.conditions import JobConditions
    from gan_inpaint.priors.prior import Prior

_NOT_IN_IDENTITY = {  # keys that do not affect results, or whose content is hashed instead
    *("prior", "discriminator", "resume", "logger", "batch_size", "device", "trainer"),
    *("animate", "diagnose", "metrics", "trust", "maximize", "minimize"),
}

_CARRIED = {"data": ["gaussian"], "network": ["gaussian", "guide"]}  # files that a guide needs


def identity(
    settings: ReconstructConfig,
    prior: "Prior",
    source: "Source",
    mask: Callable,
    indices: list[int],
    conditions: "JobConditions | None",
) -> dict[str, Any]:
    """Everything that affects a job's results, as plain values.

    Args:
        indices: the job's images in ``source``.
    """
    from gan_inpaint.data.image_files import ImageFiles
    from gan_inpaint.data.loading import content_digest
    from gan_inpaint.data.mask_files import MaskFile
    from gan_inpaint.runtime.io import file_digest

    kept = {key: value for key, value in asdict(settings).items() if key not in _NOT_IN_IDENTITY}
    told = None
    if conditions is None:  # of an unconditional prior
        del kept["condition"]
    else:
        vectors = conditions.vectors(indices)
        told = None if vectors is None else hashlib.sha256(vectors.numpy().tobytes()).hexdigest()
    carried = [prior.companion(kind) for kind in _CARRIED.get(settings.guide, ())]
    for group in ("data", "mask"):  # the location of files does not matter, their content does
        kept[group] = {k: v for k, v in kept[group].items() if k not in ("path", "_partial_")}
        kept[group]["_target_"] = kept[group]["_target_"].rpartition(".")[2]
    if boxes := kept["data"].pop("boxes", None):
        kept["data"]["boxes"] = file_digest(Path(boxes))
    files = isinstance(source, ImageFiles)
    own = [(source.names[i], source.file(i) if files else None) for i in indices]  # type: ignore[attr-defined]
    return {
        "settings": kept,
        "prior": prior.digest,
        "statistics": "".join(file_digest(file) for file in carried if file) or None,
        "images": content_digest(source, indices, settings.seed),
        "conditions": told,
        "levels": source.shared_levels() if isinstance(source, ImageFiles) else None,
        "masks": mask.digest(own) if isinstance(mask, MaskFile) else None,
    }
