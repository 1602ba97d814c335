"""Commands in processes of their own that need not import everything again: to be killed."""

import json
import multiprocessing
import os
import resource
import sys
import tempfile
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

bf16 = False  # what precision=auto chooses in these processes; set by `pytest --bf16`
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "gan_inpaint.training.callbacks",
        "gan_inpaint.jobs.runner",
        "gan_inpaint.reporting.comparison",
        "gan_inpaint.web.studio",
        "gan_inpaint.app",
        "gan_inpaint.train",
        "gan_inpaint.reconstruct",
        "pytorch_lightning",
        "matplotlib.figure",
    ]
)


def started(name: str, arguments: list[str], log: Path, memory: int | None = None) -> BaseProcess:
    """A command in the working directory, with what it says in ``log``.

    Args:
        memory: bytes of data that it may ask the system for.
    """
    chosen = (name, arguments, Path.cwd(), log, memory, bf16)
    process = _context.Process(target=_main, args=chosen)
    process.start()
    return process


def _main(
    name: str,
    arguments: list[str],
    directory: Path,
    log: Path,
    memory: int | None,
    native_bf16: bool,
) -> None:
    os.chdir(directory)
    os.environ["WANDB_MODE"] = "offline"
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    os.environ["GAN_INPAINT_CACHE"] = str(directory / "cache")
    torch.set_num_threads(1)
    if name == "app":  # a test looks for what is left there, while other apps run
        tempfile.tempdir = str(log.parent)
    out = log.open("w", buffering=1)
    sys.stdout = sys.stderr = out
    sys.argv = [f"{name}.py", *arguments]
    from gan_inpaint.jobs import results
    from gan_inpaint.runtime import precision

    precision._has_bf16 = lambda: native_bf16
    precision._gain = lambda: 2.0  # type: ignore[assignment]
    results._SAVE_AFTER = results._COST = (
        0.0  # as often as can be: a kill may then come in the midst of it
    )
    import_module(f"gan_inpaint.{name}").main()


def check_whole(directory: Path) -> int:
    """Read every file below a directory to its end, unfinished temporary ones aside; their number.

    W&B's own log of a run is appended to, and W&B reads what there is of it.
    """
    files = [p for p in directory.rglob("*") if p.is_file() and ".part" not in p.name]
    files = [p for p in files if "wandb" not in p.parts and p.suffix != ".log"]
    files = [p for p in files if p.name != ".lock"]
    for file in files:
        match file.suffix:
            case ".png" | ".gif":
                with Image.open(file) as picture:
                    picture.load()
            case ".json":
                assert json.loads(file.read_text())
            case ".yaml":  # Hydra's own, written before the command begins
                yaml.safe_load(file.read_text())
            case ".csv":
                assert file.read_bytes().endswith(b"\n")
                widths = {line.count(",") for line in file.read_text().splitlines()}
                assert len(widths) == 1, file
            case ".ckpt":
                assert "state_dict" in torch.load(file, weights_only=True)
            case ".safetensors":
                assert load_file(file)
            case ".html":
                assert file.read_text().rstrip().endswith("</html>")
            case ".uint8":
                facts = (
                    json.loads(file.with_suffix(".json").read_text())
                    if (file.with_suffix(".json").is_file())
                    else None
                )
                assert facts is None or file.stat().st_size == torch.Size(facts["shape"]).numel()
            case _:
                raise AssertionError(f"{file}: what is it?")
    return len(files)
