"""Priors on the Hugging Face Hub: fetch one, save one in its form, publish one."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gan_inpaint.errors import InputError
from gan_inpaint.priors.networks import read_networks
from gan_inpaint.runtime.io import atomic_write

if TYPE_CHECKING:
    from gan_inpaint.priors.gan import Prior

PREFIX = "hf-hub:"
WEIGHTS = "model.safetensors"
_COMPANIONS = ("gaussian", "guide")
_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_CARD = """---
library_name: gan_inpaint
license: other
license_name: "{license}"
tags: [gan, dcgan, inpainting, image-to-image]
---
# {name}

A DCGAN for inpainting: {channels}x{size}x{size} images, nz {nz}, trained on {dataset}
({images_seen} images seen). License of the data: {license}.

```
python -m gan_inpaint.reconstruct prior={prefix}ORG/{name}
```

What is filled in is made up: plausible, not true. Please add what the prior is good for, its
figures on held-out images, and its known failures.
"""


def fetch(source: str) -> Path:
    """The weights of ``hf-hub:org/name[@revision]``, from the local cache or downloaded.

    Raises:
        InputError: the name is not of this form, or there is no such repository or network.
    """
    name, _, revision = source.removeprefix(PREFIX).partition("@")
    if not _NAME.fullmatch(name):
        raise InputError(f"prior={source}: write {PREFIX}org/name, or {PREFIX}org/name@revision")
    hub = _hub()
    files = [WEIGHTS, *(Path(WEIGHTS).stem + f".{kind}.safetensors" for kind in _COMPANIONS)]
    try:
        folder = hub.snapshot_download(
            name, revision=revision or None, allow_patterns=[*files, "config.json", "README.md"]
        )
    except Exception as problem:  # of many kinds, depending on network, cache and rights
        raise InputError(f"prior={source}: cannot be fetched ({_first_line(problem)})") from problem
    weights = Path(folder) / WEIGHTS
    if not weights.is_file():
        raise InputError(f"prior={source}: the repository holds no {WEIGHTS}")
    return weights


def save_pretrained(prior: "Prior", folder: str | Path) -> Path:
    """Write a prior as a folder in the Hub's form; returns the folder.

    ``model.safetensors`` holds both networks and their metadata, which ``config.json`` repeats;
    ``README.md`` is a model card. The files of its guide come along.

    Raises:
        InputError: it was not loaded from a file of this package.
    """
    if not prior.files:
        raise InputError(
            f"the prior {prior.name} is not of this package's networks; publish the file that you"
            " load it from, and the function that does"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    read_networks(*prior.files).save(folder / WEIGHTS)  # type: ignore[arg-type]
    for kind in _COMPANIONS:
        if companion := prior.companion(kind):
            with atomic_write((folder / WEIGHTS).with_suffix(f".{kind}.safetensors")) as temporary:
                temporary.write_bytes(companion.read_bytes())
    config = {"library_name": "gan_inpaint", **prior.metadata}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    card = folder / "README.md"
    if not card.is_file():  # one that somebody has written stays
        card.write_text(model_card(prior.metadata, folder.name), "utf-8")
    return folder


def push_to_hub(prior: "Prior", repo_id: str, **options: Any) -> str:
    """Publish a prior; returns its address.

    Args:
        repo_id: ``org/name``; made if it does not exist.
        options: of ``huggingface_hub.HfApi.create_repo``, such as ``private=True``.
    """
    if not _NAME.fullmatch(repo_id):
        raise InputError(f"push_to_hub: {repo_id}: write org/name")
    from tempfile import TemporaryDirectory

    api = _hub().HfApi()
    with TemporaryDirectory() as temporary:
        folder = save_pretrained(prior, Path(temporary) / repo_id.partition("/")[2])
        try:
            api.create_repo(repo_id, exist_ok=True, **options)
            api.upload_folder(repo_id=repo_id, folder_path=folder)
        except Exception as problem:
            raise InputError(
                f"push_to_hub: {repo_id}: {_first_line(problem)}; if you are not logged in, run"
                " hf auth login"
            ) from problem
    return f"{PREFIX}{repo_id}"


def model_card(metadata: Mapping[str, str], name: str) -> str:
    """A README in the Hub's form, to be completed by hand."""
    known = dict.fromkeys(
        ("channels", "size", "nz", "dataset", "license", "images_seen"), "unknown"
    )
    return _CARD.format(name=name, prefix=PREFIX, **(known | dict(metadata)))


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise InputError(
            "priors of the Hugging Face Hub need an extra: pip install 'gan_inpaint[hub]'"
        ) from None
    return huggingface_hub


def _first_line(problem: BaseException) -> str:
    return next(iter(str(problem).strip().splitlines()), type(problem).__name__)[:200]
