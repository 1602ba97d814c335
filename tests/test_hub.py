"""Priors on the Hugging Face Hub, against a stand-in for it and a cached snapshot."""

import base64
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_inpaint import InputError, Prior, load_prior
from gan_inpaint.priors import hub

pytest.importorskip("huggingface_hub")
COMMIT = "a" * 40


def cached(home: Path, name: str, files: dict[str, bytes], ref: str = "main") -> None:
    """A repository as the Hub's client keeps it."""
    folder = home / "hub" / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / ref).write_text(COMMIT)
    for path, content in files.items():
        target = folder / "snapshots" / COMMIT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def alone(code: str, home: Path, **more: str) -> str:
    """What a program prints in a process of its own: the client reads its settings once."""
    variables = {"HF_HOME": str(home), "PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
    variables |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | more
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOAD = """
import gan_inpaint
try:
    prior = gan_inpaint.load_prior({source!r})
    print(prior.name, prior.image_shape, prior.digest, bool(prior.companion("gaussian")))
except gan_inpaint.InputError as problem:
    print("error:", problem)
"""


def test_a_saved_folder_is_the_same_prior(tmp_path: Path) -> None:
    prior = load_prior("digits")
    folder = prior.save_pretrained(tmp_path / "mine")
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.gaussian.safetensors",
        "model.safetensors",
    ]
    again = Prior.from_pretrained(folder)
    z = torch.randn(3, prior.nz)
    assert torch.equal(again.decode(z), prior.decode(z))
    assert again.digest == prior.digest
    assert again.companion("gaussian")
    config = json.loads((folder / "config.json").read_text())
    assert config["library_name"] == "gan_inpaint"
    assert config["nz"] == "32"
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: gan_inpaint\n")
    assert "trained on digits" in card.replace("\n", " ")
    (folder / "README.md").write_text("my own words")
    prior.save_pretrained(folder)
    assert (folder / "README.md").read_text() == "my own words"


def test_a_cached_snapshot_is_used_without_a_network(tmp_path: Path) -> None:
    folder = load_prior("digits").save_pretrained(tmp_path / "mine")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    cached(tmp_path, "somebody/digits", files)
    code = LOAD.format(source="hf-hub:somebody/digits")
    expected = f"hf-hub:somebody/digits (1, 32, 32) {load_prior('digits').digest} True"
    assert alone(code, tmp_path, HF_HUB_OFFLINE="1") == expected
    lost = alone(LOAD.format(source="hf-hub:somebody/else"), tmp_path, HF_HUB_OFFLINE="1")
    assert lost.startswith("error: prior=hf-hub:somebody/else: cannot be fetched (")
    assert "\n" not in lost


@pytest.mark.parametrize("source", ["hf-hub:digits", "hf-hub:a/b/c", "hf-hub:", "hf-hub:a b/c"])
def test_ambiguous_names_are_refused(source: str) -> None:
    with pytest.raises(InputError, match="write hf-hub:org/name"):
        load_prior(source)


def test_a_name_that_may_be_of_the_hub_is_pointed_there() -> None:
    with pytest.raises(InputError, match="or write hf-hub:somebody/faces"):
        load_prior("somebody/faces")


def test_a_prior_of_somebody_elses_module_has_no_file_to_publish(tmp_path: Path) -> None:
    from gan_inpaint import as_prior

    network = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Unflatten(1, (1, 8, 8)))
    prior = as_prior(network, nz=4, output_range=(-5, 5))
    with pytest.raises(InputError, match="is not of this package's networks"):
        prior.save_pretrained(tmp_path / "mine")


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as its client asks for."""

    files: dict[str, bytes]

    def do_HEAD(self) -> None:
        content = self.files.get(self.path.rpartition("/")[2])
        self.send_response(200 if content is not None else 404)
        self._headers(content or b"")

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if "/resolve/" in self.path and name in self.files:
            self._answer(self.files[name])
        elif "/tree/" in self.path:
            listed = [(name, len(content)) for name, content in self.files.items()]
            kind = {"type": "file", "oid": "0" * 40}
            self._answer([{**kind, "path": name, "size": size} for name, size in listed])
        elif "/api/models/" in self.path and self.files:
            siblings = [{"rfilename": name} for name in self.files]
            self._answer({"id": "me/digits", "sha": COMMIT, "siblings": siblings, "tags": []})
        else:
            self.send_response(404)
            self._headers(b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            mode = {"uploadMode": "regular", "shouldIgnore": False, "oid": None}
            self._answer({"files": [{"path": name, **mode} for name in names]})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    self.files[value["path"]] = base64.b64decode(value["content"])
            address = f"http://{self.headers['Host']}/me/digits/commit/{COMMIT}"
            self._answer({"commitUrl": address, "commitOid": COMMIT})
        else:
            address = f"http://{self.headers['Host']}/me/digits"
            self._answer({"url": address, "name": "me/digits", "id": "1"})

    def _answer(self, content: Any) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(200)
        self._headers(body)
        self.wfile.write(body)

    def _headers(self, body: bytes) -> None:
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, bytes]]]:
    """The stand-in's address, and its files."""
    handler = type("Handler", (Hub,), {"files": {}})
    standing = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=standing.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{standing.server_port}", handler.files  # type: ignore[attr-defined]
    standing.shutdown()


def test_a_prior_is_published_and_fetched_again(
    server: tuple[str, dict[str, bytes]], tmp_path: Path
) -> None:
    address, files = server
    publish = "import gan_inpaint; print(gan_inpaint.load_prior('digits').push_to_hub('me/digits'))"
    where = {"HF_ENDPOINT": address, "HF_TOKEN": "hf_x", "HF_HUB_DISABLE_XET": "1"}
    assert alone(publish, tmp_path, **where).endswith("hf-hub:me/digits")
    assert {"model.safetensors", "config.json", "README.md"} <= files.keys()
    fetched = alone(LOAD.format(source="hf-hub:me/digits@main"), tmp_path, **where)
    assert fetched == f"hf-hub:me/digits@main (1, 32, 32) {load_prior('digits').digest} True"


def test_a_repository_without_weights_is_named(
    server: tuple[str, dict[str, bytes]], tmp_path: Path, run: Callable
) -> None:
    address, files = server
    files["config.json"] = b"{}"
    found = alone(LOAD.format(source="hf-hub:me/empty"), tmp_path, HF_ENDPOINT=address)
    assert found == "error: prior=hf-hub:me/empty: the repository holds no model.safetensors"
    assert hub.WEIGHTS == "model.safetensors"
