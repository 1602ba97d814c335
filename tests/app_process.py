"""The app in a process of its own, and requests to it as the page makes them."""

import http.client
import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from conftest import save_tiny_prior
from PIL import Image
from processes import started


class App:
    """A running app.

    Attributes:
        link: what it printed.
    """

    def __init__(self, folder: Path, *arguments: str):
        self.log = folder / "app.log"
        self.process = started("app", ["open=false", *arguments], self.log)
        self.link = self._link()
        self.port = int(self.link.split(":")[2].split("/")[0])
        self.token = self.link.partition("token=")[2]

    def _link(self) -> str:
        for _ in range(1200):
            text = self.log.read_text() if self.log.is_file() else ""
            found = [line for line in text.splitlines() if line.startswith("http://")]
            if found:
                return found[0]
            assert self.process.is_alive(), text
            time.sleep(0.05)
        raise AssertionError("no address was printed")

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers; the token and the host are right unless given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        given = {"X-Token": self.token} | {k.replace("_", "-"): v for k, v in headers.items()}
        connection.request(method, path, body, {k: v for k, v in given.items() if v != ""})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, content, {k.lower(): v for k, v in answer.getheaders()}

    def json(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The answer of a request that must succeed."""
        status, content, _ = self.ask(method, path, body, **headers)
        assert status < 300, content
        return json.loads(content) if content else None

    def refused(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """Status and sentence of a request that must fail."""
        status, content, _ = self.ask(method, path, body, **headers)
        assert status >= 400, content
        return status, json.loads(content)["error"]

    def open(self, content: bytes, name: str = "photo.png") -> dict[str, Any]:
        return self.json("POST", "/api/photographs", content, X_Name=quote(name))

    def start(self, photograph: dict[str, Any], **changes: Any) -> str:
        """Begin a search; its id."""
        return self.json("POST", "/api/jobs", self.wish(photograph, **changes))["id"]

    def wish(self, opened: dict[str, Any], **changes: Any) -> bytes:
        """The body of a request for a search."""
        prior = next(one for one in self.json("GET", "/api/priors") if one["selected"])
        wish = {"photograph": opened["id"], "prior": prior["id"]}
        wish |= {"box": opened["proposals"][0], "quality": "quick", "keep": 2} | changes
        return json.dumps(wish).encode()

    def events(self, job: str, after: int = 0) -> Iterator[tuple[int, str, dict[str, Any]]]:
        """Number, kind and data of a job's events, as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Last-Event-ID": str(after)} if after else {}
        connection.request("GET", f"/api/jobs/{job}/events", headers=headers)
        answer, event = connection.getresponse(), {}
        while line := answer.readline().decode():
            key, _, value = line.strip().partition(": ")
            if key in ("id", "event", "data"):
                event[key] = value
            elif not line.strip() and "data" in event:
                yield int(event["id"]), event["event"], json.loads(event["data"])
                event = {}
        connection.close()

    def finished(self, job: str) -> dict[str, Any]:
        """The data of the last event, which must be ``done``."""
        *_, (_, kind, data) = self.events(job)
        assert kind == "done", data
        return data

    def stop(self) -> None:
        self.process.terminate()
        self.process.join(20)


def tiny_app(folder: Path) -> Iterator[App]:
    """The app with a tiny colour prior, for a fixture; it must not have failed unseen."""
    before = Path.cwd()
    os.chdir(folder)
    prior = save_tiny_prior(folder / "tiny.safetensors", channels=3)
    running = App(folder, f"prior={prior}")
    yield running
    running.stop()
    os.chdir(before)
    assert "Traceback" not in running.log.read_text()


def as_file(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int, height: int, channels: int = 3, seed: int = 0) -> Image.Image:
    """A smooth random picture."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 6, channels)).astype(np.uint8)
    image = Image.fromarray(small[..., 0] if channels == 1 else small)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def mask_with(size: tuple[int, int], *boxes: tuple[int, int, int, int]) -> Image.Image:
    """White boxes on black."""
    mask = Image.new("L", size)
    for left, top, right, bottom in boxes:
        mask.paste(255, (left, top, right, bottom))
    return mask
