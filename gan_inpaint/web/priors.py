"""The priors that the page offers: the bundled ones, and those trained in this directory."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from safetensors import safe_open

from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.registry import BUNDLED, TRAINED, find_prior, load_prior
from gan_inpaint.web.request import Refused

_KNOWS = {"celeba": "aligned faces", "captions": "coloured digits with captions"}
_LISTED = 50  # trained priors, the newest first
_LOADED = 2  # kept in memory


class Priors:
    """Priors by opaque ids, loaded when they are used.

    Args:
        first: the one that the page selects, as ``prior=`` takes it.

    Raises:
        InputError: ``first`` does not exist or cannot be read.
    """

    def __init__(self, first: str):
        self._first, self._lock = first, Lock()
        self._loaded = OrderedDict({first: load_prior(first)})
        self._about_first = self._loaded[first].metadata  # also of a checkpoint
        self._sources: dict[str, str] = {}

    def listed(self) -> list[dict[str, Any]]:
        """What the page shows of each: id, name, size, channels, license, condition."""
        listed = []
        for source, file in self._found():
            metadata = self._about_first if source == self._first else _metadata(file)
            if metadata is None:
                continue
            identity = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:32]
            self._sources[identity] = source
            listed.append(
                {
                    "id": identity,
                    "name": source,
                    "selected": source == self._first,
                    "size": metadata.get("size"),
                    "channels": metadata.get("channels"),
                    "knows": _KNOWS.get(metadata.get("dataset", ""), metadata.get("dataset")),
                    "license": metadata.get("license"),
                    "ball": metadata.get("latent") == "normal",
                    "condition": _condition(metadata),
                }
            )
        return listed

    def source(self, identity: str) -> str:
        """What ``prior=`` takes for an id.

        Raises:
            Refused: there is none.
        """
        if identity not in self._sources:
            self.listed()  # perhaps the page is older than this process
        if identity not in self._sources:
            raise Refused("prior: it is gone; choose another one", "prior")
        return self._sources[identity]

    def load(self, identity: str) -> Prior:
        """The prior of an id."""
        source = self.source(identity)
        with self._lock:
            if source not in self._loaded:
                self._loaded[source] = load_prior(source)
            self._loaded.move_to_end(source)
            while len(self._loaded) > _LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[source]

    def _found(self) -> list[tuple[str, Path]]:
        bundled = [(p.stem, p) for p in BUNDLED.glob("*.safetensors") if "." not in p.stem]
        trained = sorted(
            (p for folder in TRAINED for p in Path(folder).glob("**/prior.safetensors")),
            key=lambda p: -p.stat().st_mtime,
        )
        found = sorted(bundled) + [(str(p.parent), p) for p in trained[:_LISTED]]
        if self._first not in dict(found):
            found.append((self._first, find_prior(self._first)[0]))
        return found


def _metadata(file: Path) -> dict[str, str] | None:
    """What a file says of its prior; None if it is not one."""
    try:
        with safe_open(file, "numpy") as opened:
            metadata = opened.metadata() or {}
    except Exception:  # damaged, or being written
        return None
    return metadata if "size" in metadata else None


def _condition(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """Kind and choices of a prior's conditions; None if it takes none."""
    try:
        state = json.loads(metadata["conditioning"])["encoder"]
    except (KeyError, ValueError, TypeError):
        return None
    choices = state.get("classes") or state.get("names") or []
    return {"kind": state.get("kind"), "choices": choices}
