"""Shared by the tests: a tiny model, a tiny prior, and commands run in this process."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import processes
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor

from gan_inpaint.conditioning.stored import make_encoder
from gan_inpaint.guide import gaussian
from gan_inpaint.inversion.config import SearchConfig
from gan_inpaint.inversion.lightning_module import ImageBatch
from gan_inpaint.inversion.pipeline import reconstruct
from gan_inpaint.inversion.result import Result
from gan_inpaint.models.dcgan import Projection, pair
from gan_inpaint.priors.files import save_prior
from gan_inpaint.priors.prior import Prior
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.runtime import precision
from gan_inpaint.training.gan_module import AdversarialTraining

torch.set_num_threads(1)  # tiny tensors: threads would only wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same for the commands that the tests start

TINY = ["model.size=16", "model.nz=8", "model.ngf=4", "model.ndf=4"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", action="store_true", help="many more tries: hours instead of minutes"
    )
    parser.addoption(
        "--bf16",
        action="store_true",
        help="let precision=auto choose bf16, as where it is native; without it, fp32",
    )
    parser.addoption(
        "--rounding",
        action="store_true",
        help="round the networks' first matrix product by the number of its rows, as Intel's MKL"
        " does and AMD's processors do not show",
    )


def pytest_configure(config: pytest.Config) -> None:
    processes.bf16 = config.getoption("--bf16")
    config.addinivalue_line("markers", "soak: too slow for every run; for `make soak`")
    config.addinivalue_line("markers", "bf16: `make test` runs it with --bf16 too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        return
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="for make soak"))


@pytest.fixture(autouse=True)
def _rounding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--rounding``: the last bit of every number of the product depends on the batch's size."""
    if not request.config.getoption("--rounding"):
        return
    forward = Projection.forward

    def rounded(self: Projection, z: torch.Tensor) -> torch.Tensor:
        product = forward(self, z)
        rng = torch.Generator().manual_seed(len(z))
        ulps = torch.randint(-1, 2, product.shape[1:], generator=rng)
        return product * (1 + ulps * torch.finfo(torch.float32).eps).to(product.dtype)

    monkeypatch.setattr(Projection, "forward", rounded)


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether a test should try as often as `make soak` wants."""
    return request.config.getoption("--soak")


def tiny_training(**changes: Any) -> AdversarialTraining:
    """A 16x16 DCGAN that trains in milliseconds."""
    sizes = {"size": 16, "channels": 1, "nz": 8, "ngf": 4, "ndf": 4, "discriminator_norm": "batch"}
    sizes |= {key: changes.pop(key) for key in sizes.keys() & changes.keys()}
    rates = {"lr": 1e-3, "beta1": 0.5}
    settings: dict[str, Any] = {
        "optimizers": {"discriminator": rates, "generator": rates},
        "ema_decay": 0.9,
        "batch_size": 4,
        "seed": 0,
        "log_every": 2,
        "about": {"architecture": "dcgan", **sizes, "dataset": "generated", "license": "none"},
    }
    settings |= changes
    both = None
    if conditioning := settings.get("conditioning"):
        both = make_encoder(conditioning["encoder"]).dim, conditioning["width"]
    with torch.random.fork_rng():
        torch.manual_seed(settings["seed"])
        networks = pair(**sizes, condition=both)
    return AdversarialTraining(*networks, **settings)


def search_unchecked(prior: Prior, images: Tensor, known: Tensor, config: SearchConfig) -> Result:
    """The search for one batch, without the checks of ``inpaint``."""
    found = []

    class Keep(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
            if pl_module.result is not None:
                found.append(pl_module.result)

    reconstruct(prior, config, [ImageBatch(images, known)], callbacks=[Keep()])
    return found[0]


def add_contrast(model: AdversarialTraining) -> None:
    """Enlarge the kernels of both untrained networks, so that their outputs differ."""
    for network in (model.generator, model.discriminator):
        for weight in network.parameters():
            if weight.ndim > 1:
                weight.mul_(10)


def save_tiny_prior(path: Path, **changes: object) -> Path:
    """An untrained prior with contrast, whose BatchNorm statistics are not the trivial ones."""
    model = tiny_training(**changes)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        add_contrast(model)
        for _ in range(50):
            model.discriminator(model.generator(torch.randn(16, model.nz)))
    save_prior(path, model.generator, model.discriminator, model.metadata())
    return path


@pytest.fixture(scope="session")
def tiny_prior_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_prior(tmp_path_factory.mktemp("prior") / "tiny.safetensors")


@pytest.fixture
def tiny_prior(tiny_prior_file: Path) -> Prior:
    return load_prior(tiny_prior_file)


@pytest.fixture(scope="session")
def digits() -> Prior:
    return load_prior("digits")


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands write below the working directory: give every test its own; no W&B account."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAN_INPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.fixture(autouse=True)
def _gaussians(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit the Gaussian of a prior's samples once for all tests."""
    folder = tmp_path_factory.getbasetemp() / "gaussians"
    monkeypatch.setattr(gaussian, "cache_folder", lambda: folder)


@pytest.fixture(autouse=True)
def _precision(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """`precision=auto` measures the machine: what a test finds must not depend on that."""
    bf16 = request.config.getoption("--bf16")
    monkeypatch.setattr(precision, "_has_bf16", lambda: bf16)
    monkeypatch.setattr(precision, "_gain", lambda: 2.0)


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line of an error; anything more is a defect of the command."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """``run("reconstruct", "lam=1")``: as from the shell, without waiting for imports again."""

    def call(name: str, *arguments: str) -> Ran:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        try:
            import_module(f"gan_inpaint.{name}").main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capfd.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


def write_pictures(folder: Path, count: int, size: int = 16, mode: str = "L") -> Path:
    """``count`` different images: 00.png, 01.png ..."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        shape = (size, size) if mode == "L" else (size, size, 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(
            folder / f"{index:02}.png"
        )
    return folder


def only(folder: Path, pattern: str) -> Path:
    """The one path that matches."""
    found = sorted(folder.glob(pattern))
    assert len(found) == 1, found
    return found[0]
