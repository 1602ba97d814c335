"""Priors on the Hugging Face Hub: fetch one, save one in its form, publish one."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from gan_inpaint.errors import InputError
from gan_inpaint.priors.files import read_networks
from gan_inpaint.runtime.io import atomic_write

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


class HubMixin:
    """What a prior does with the Hub."""

    name: str
    files: tuple[Path, ...]
    metadata: Mapping[str, str]

    @classmethod
    def from_file(cls, path: Path, name: str) -> Self:
        """A prior of a file; ``name`` is a short description of it."""
        raise NotImplementedError

    def companion(self, kind: str) -> Path | None:
        """A file of the guide beside the prior's, if it is there."""
        raise NotImplementedError

    @classmethod
    def from_pretrained(cls, source: str | Path, revision: str | None = None) -> Self:
        """Load a prior from the Hugging Face Hub (``org/name``) or from a folder in its form.

        Raises:
            InputError: it is not there, or cannot be read.
        """
        address = f"{PREFIX}{source}" + (f"@{revision}" if revision else "")
        if not Path(source).is_dir():
            return cls.from_file(fetch(address), address)
        for name in (WEIGHTS, "prior.safetensors"):
            if (Path(source) / name).is_file():
                return cls.from_file(Path(source) / name, str(source))
        raise InputError(f"prior={source}: the folder holds no {WEIGHTS}")

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write a folder in the Hub's form; returns it.

        ``model.safetensors`` holds both networks and their metadata, which ``config.json`` repeats;
        ``README.md`` is a model card. The files of its guide come along.

        Raises:
            InputError: it was not loaded from a file of this package.
        """
        if not self.files:
            raise InputError(
                f"the prior {self.name} is not of this package's networks; publish the file that"
                " you load it from, and the function that does"
            )
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        read_networks(*self.files).save(folder / WEIGHTS)  # type: ignore[arg-type]
        for kind in _COMPANIONS:
            if companion := self.companion(kind):
                there = (folder / WEIGHTS).with_suffix(f".{kind}.safetensors")
                with atomic_write(there) as temporary:
                    temporary.write_bytes(companion.read_bytes())
        config = {"library_name": "gan_inpaint", **self.metadata}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        card = folder / "README.md"
        if not card.is_file():  # one that somebody has written stays
            card.write_text(model_card(self.metadata, folder.name), "utf-8")
        return folder

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Publish it; returns what ``prior=`` takes.

        Args:
            repo_id: ``org/name``; made if it does not exist.
            options: of ``huggingface_hub.HfApi.create_repo``, such as ``private=True``.
        """
        if not _NAME.fullmatch(repo_id):
            raise InputError(f"push_to_hub: {repo_id}: write org/name")
        api = _hub().HfApi()
        with TemporaryDirectory() as temporary:
            folder = self.save_pretrained(Path(temporary) / repo_id.partition("/")[2])
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
