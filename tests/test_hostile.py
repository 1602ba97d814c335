"""Files and settings that nobody made in good faith: a sentence, and nothing else, comes of them.

``attack`` makes each input with hypothesis, the same ones every time; ``--soak`` makes ten times as
many, others each time. Whatever is not an ``InputError`` is a defect, and so is an answer that
takes longer than a few seconds, more memory than ``MEMORY``, or leaves a file where none belongs.
"""

import inspect
import io
import json
import os
import pickle
import resource
import shutil
import signal
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from conftest import TINY, Ran, save_tiny_prior, tiny_training, write_pictures
from hypothesis import HealthCheck, given, settings
from PIL import Image
from safetensors.torch import load_file

from gan_inpaint.cli.command import compose_settings, instantiate_checked
from gan_inpaint.cli.conf_path import CONF
from gan_inpaint.data.archives import open_files
from gan_inpaint.data.datasets import Folder
from gan_inpaint.data.mask_files import MaskFile
from gan_inpaint.data.masks import random
from gan_inpaint.data.photographs import read_photograph, write_photograph
from gan_inpaint.errors import InputError
from gan_inpaint.jobs.config import ReconstructConfig
from gan_inpaint.priors.registry import load_prior
from gan_inpaint.reporting import comparison
from gan_inpaint.training.config import TrainConfig

Run = Callable[..., Ran]

SECONDS = 5  # for one input
MEMORY = 1500 * 2**20  # bytes more than at the start of the test


def attack(
    soak: bool, tries: int, strategy: st.SearchStrategy, target: Callable[..., object]
) -> None:
    """Give ``target`` that many inputs; only an InputError may come of one."""
    refused = taken = 0

    def one(value: object) -> None:
        nonlocal refused, taken
        try:
            with in_time(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target(value)
            taken += 1
        except InputError as problem:
            check_sentence(str(problem))
            refused += 1

    quiet = settings(
        max_examples=tries * (10 if soak else 1),
        deadline=None,
        derandomize=not soak,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    quiet(given(strategy)(one))()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < MEMORY
    print(f"{refused + taken} inputs: {refused} refused, {taken} taken")


def check_sentence(text: str) -> None:
    assert text.strip()
    assert text.isprintable(), f"one line, without codes for the terminal: {text!r}"


class Content(bytes):
    """Of a file, too long to be shown."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


@contextmanager
def in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"no answer within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def damaged(*originals: bytes) -> st.SearchStrategy[bytes]:
    """One of some files with bytes changed, cut off, put in or made huge; or just bytes."""

    @st.composite
    def change(draw: st.DrawFn) -> bytes:
        content = bytearray(draw(st.sampled_from(originals)))
        for _ in range(draw(st.integers(0, 4))):
            at = draw(st.integers(0, max(len(content) - 1, 0)))
            # headers decide more than pixels do
            at = min(at, draw(st.sampled_from([16, 64, 256, len(content)])))
            what = draw(st.sampled_from(["flip", "huge", "zero", "cut", "insert", "repeat"]))
            match what:
                case "flip":
                    content[at : at + 1] = bytes([draw(st.integers(0, 255))])
                case "huge":
                    huge = draw(st.sampled_from([2**31 - 1, 2**32 - 1, 10**9, 65535, 2**24]))
                    order = draw(st.sampled_from("<>"))
                    content[at : at + 4] = struct.pack(f"{order}I", huge)
                case "zero":
                    content[at : at + 8] = bytes(8)
                case "cut":
                    del content[at:]
                case "insert":
                    content[at:at] = draw(st.binary(max_size=16))
                case "repeat":
                    content += content[at : at + 1000]
        return Content(content)

    return change() | st.binary(max_size=200)


def several(words: str) -> list[str]:
    return words.split()


def pictures() -> list[bytes]:
    """One small file of every format and mode that people have."""
    rng, files = np.random.default_rng(0), []
    colour = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
    for name, modes in {
        "PNG": ["RGB", "L", "RGBA", "LA", "P", "1", "I;16"],
        "JPEG": ["RGB", "L", "CMYK"],
        "GIF": ["P"],
        "BMP": ["RGB", "L"],
        "TIFF": ["RGB", "F", "I;16"],
        "WEBP": ["RGB", "RGBA"],
        "PPM": ["RGB", "L"],
    }.items():
        for mode in modes:
            if mode == "I;16":
                picture = Image.fromarray(rng.integers(0, 65536, (20, 24), np.uint16))
            else:
                picture = colour.convert("L").convert(mode) if mode == "F" else colour.convert(mode)
            out = io.BytesIO()
            picture.save(out, name, **({"compression": "tiff_lzw"} if name == "TIFF" else {}))
            files.append(out.getvalue())
    return files


def folder(path: Path, **options: object) -> Folder:
    chosen: dict = {"size": 16, "channels": 3, "split": "all", "truth": None, "grey": True}
    return Folder(**chosen | {"box": None, "path": str(path)} | options)


def everything_below(path: Path) -> set[Path]:
    return set(path.rglob("*"))


def test_picture_files(tmp_path: Path, soak: bool) -> None:
    def look(case: tuple[bytes, str, int]) -> None:
        content, suffix, channels = case
        file = tmp_path / f"picture{suffix}"
        file.write_bytes(content)
        source = folder(file, channels=channels)
        pixels = source[0]
        assert (pixels.shape, pixels.dtype) == ((channels, 16, 16), np.uint8)
        mask = partial(random, missing=0.5)
        found = read_photograph(source, 0, mask, np.random.default_rng(0))[2]
        filled = found.fill(torch.zeros(channels, 16, 16), "none")
        write_photograph(tmp_path / "restored", "picture", filled)

    suffixes = st.sampled_from([".png", ".jpg", ".tif", ".gif", ".webp", ".bmp", ".ppm"])
    cases = st.tuples(damaged(*pictures()), suffixes, st.sampled_from([1, 3]))
    attack(soak, 600, cases, look)


def test_mask_files(tmp_path: Path, soak: bool) -> None:
    def look(case: tuple[bytes, tuple[int, int]]) -> None:
        content, frame = case
        file = tmp_path / "mask.png"
        file.write_bytes(content)
        hole = MaskFile(str(file), False).hole("x.png", frame, (0, 0, 16, 16))[0]
        assert hole.shape == (16, 16)

    frames = st.sampled_from([(16, 16), (24, 20), (20, 24), (4000, 16)])
    attack(soak, 300, st.tuples(damaged(*pictures()), frames), look)


def archives() -> dict[str, bytes]:
    picture, found = pictures()[0], {}
    for packing in ("", "gz", "bz2", "xz"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=f"w:{packing}") as tar:
            for name in ("a.png", "b/c.png"):
                member = tarfile.TarInfo(name)
                member.size = len(picture)
                tar.addfile(member, io.BytesIO(picture))
            link = tarfile.TarInfo("link.png")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        found[f".tar.{packing}" if packing else ".tar"] = out.getvalue()
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", compression) as archive:
            for name in ("a.png", "b/c.png", "../../up.png"):
                archive.writestr(name, picture)
        found[f"{compression}.zip"] = out.getvalue()
    found[".txt"] = b"a.png\n/etc/passwd\n../x.png\n/dev/zero\n\n"
    return found


def test_archives(tmp_path: Path, soak: bool) -> None:
    originals = archives()
    inside = tmp_path / "inside"
    inside.mkdir()

    def look(case: tuple[str, bytes]) -> None:
        suffix, content = case
        file = inside / f"pictures{suffix}"
        file.write_bytes(content)
        try:
            source = folder(file)
            assert source.fingerprint
            for index in range(min(len(source), 4)):
                try:
                    source[index]
                except InputError as problem:
                    check_sentence(str(problem))
        finally:
            file.unlink()
            assert not everything_below(inside), "nothing is unpacked"

    cases = [st.tuples(st.just(suffix), damaged(data)) for suffix, data in originals.items()]
    attack(soak, 400, st.one_of(cases), look)


def test_priors(tmp_path: Path, soak: bool) -> None:
    """Bytes changed, and headers that are well-formed and lie."""
    valid = save_tiny_prior(tmp_path / "tiny.safetensors").read_bytes()
    length = struct.unpack("<Q", valid[:8])[0]
    header, body = json.loads(valid[8 : 8 + length]), valid[8 + length :]
    numbers = st.sampled_from(
        [0, 1, -1, 3, 7, 16, 17, 64, 2**20, 2**31, 2**40, 10**10, 10**30, 1.5, None, "x", [], True]
    )
    written = several("0 1 -1 3 16 17 1048576 1e3 nan uniform hinge batch spectral none")
    odd = ["9" * 30, "9" * 5000, "", "٣", "\x00", "a\nb", "\x1b[31m"]
    words = st.sampled_from([*written, *odd])

    @st.composite
    def lying(draw: st.DrawFn) -> bytes:
        lie = json.loads(json.dumps(header))
        for _ in range(draw(st.integers(1, 3))):
            key = draw(st.sampled_from(sorted(lie)))
            if key == "__metadata__":
                entry = draw(st.sampled_from(sorted(lie[key]) or ["size"]))
                if draw(st.booleans()):
                    lie[key][entry] = draw(words)
                else:
                    lie[key].pop(entry, None)
                continue
            match draw(st.sampled_from(several("shape dtype data_offsets drop rename add"))):
                case "shape":
                    lie[key]["shape"] = draw(st.lists(numbers, max_size=5))
                case "dtype":
                    kinds = ["F64", "BF16", "I8", "U8", "BOOL", "F8_E4M3", "X", 3]
                    lie[key]["dtype"] = draw(st.sampled_from(kinds))
                case "data_offsets":
                    lie[key]["data_offsets"] = draw(st.lists(numbers, max_size=3))
                case "drop":
                    if len(lie) > 2:
                        del lie[key]
                case "rename":
                    lie[draw(st.text(max_size=8))] = lie.pop(key)
                case "add":
                    lie[f"{key}x"] = lie[key]
        text = json.dumps(lie).encode()
        claimed = draw(st.just(len(text)) | st.sampled_from([0, 2**63, 10**10, len(text) - 1]))
        return Content(struct.pack("<Q", claimed) + text + body)

    def load(content: bytes) -> None:
        file = tmp_path / "prior.safetensors"
        file.write_bytes(content)
        prior = load_prior(file)
        assert prior.sample(2, seed=0).shape == (2, prior.channels, prior.size, prior.size)

    attack(soak, 250, damaged(valid), load)
    attack(soak, 350, lying(), load)


class Evil:
    """A pickle that runs a program when it is loaded as pickles are."""

    def __init__(self, call: Callable, *arguments: object):
        self._call = call, arguments

    def __reduce__(self) -> tuple:
        return self._call


def test_weights_with_code_in_them(tmp_path: Path, soak: bool) -> None:
    trap = tmp_path / "trap"
    state = load_file(save_tiny_prior(tmp_path / "tiny.safetensors"))
    part = {
        key.removeprefix("generator."): value.float()
        for key, value in state.items()
        if key.startswith("generator.")
    }
    files = []
    for content in (
        part,
        {"netG": part, "epoch": 3},
        {**part, "main.0.weight": Evil(os.system, f"touch {trap}")},
        Evil(os.system, f"touch {trap}"),
        Evil(exec, f"open({str(trap)!r}, 'w')"),
        [Evil(shutil.rmtree, str(tmp_path / "gone"))],
        torch.nn.Linear(2, 2),
        {**part, "main.0.weight": part["main.0.weight"][:1, :1, :1, :1].expand(10**4, 10**4, 4, 4)},
        {**part, "main.0.weight": part["main.0.weight"].to_sparse()},
        {**part, "main.0.weight": part["main.0.weight"].long()},
        {**part, "main.0.weight": part["main.0.weight"].to(torch.complex64)},
        {"main.0.weight": np.zeros((2, 2, 4, 4))},
    ):
        for modern in (True, False):
            out = io.BytesIO()
            torch.save(content, out, _use_new_zipfile_serialization=modern)
            files.append(out.getvalue())
    files.append(pickle.dumps(Evil(os.system, f"touch {trap}")))
    checkpoint = tmp_path / "whole.ckpt"
    module = tiny_training()
    about = {"hyper_parameters": dict(module.hparams), "epoch": 3, "images_seen": 7}
    torch.save({"state_dict": module.state_dict(), **about}, checkpoint)
    files.append(checkpoint.read_bytes())
    with zipfile.ZipFile(io.BytesIO(files[0])) as archive:  # a bomb: weights are never packed
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
            for member in archive.infolist():
                packed.writestr(member.filename, archive.read(member) + bytes(10**8))
    files.append(out.getvalue())
    (tmp_path / "gone").mkdir()

    def load(case: tuple[bytes, str]) -> None:
        content, suffix = case
        file = tmp_path / f"weights{suffix}"
        file.write_bytes(content)
        try:
            prior = load_prior(file)
            assert prior.sample(4, seed=0).isfinite().all()
        finally:
            assert not trap.exists()
            assert (tmp_path / "gone").exists()

    content = st.sampled_from(files).map(Content) | damaged(*files[:4], files[-2])
    attack(soak, 350, st.tuples(content, st.sampled_from([".pth", ".pt", ".ckpt"])), load)


VALUES = st.sampled_from(
    [
        *several("0 -1 1e400 nan inf null true abc [] [1,2] {} {a:1} '' 1.5 ${oc.env:HOME} ${x}"),
        *several("${ \\ /dev/null é 'a [ 1_0 0x10 1:30 ../.. ~ * 1,2 ${oc.env:WANDB_API_KEY}"),
        *["x" * 300, "9" * 40, "a b", "\x1b[31m", ""],
    ]
)


@pytest.mark.parametrize(
    ("name", "schema"), [("reconstruct", ReconstructConfig), ("train", TrainConfig)]
)
def test_settings(name: str, schema: type, soak: bool, tmp_path: Path) -> None:
    """Every key takes every value: a sentence, or settings that can be built."""
    import yaml
    from hydra import initialize_config_dir

    base = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    keys = [key for key in base if key not in ("defaults", "hydra")]
    keys += ["data", "mask", "model", "trainer", "+experiment", "+recipe", "data.path", "data.size"]
    keys += ["mask.side", "mask.path", "model.size", "optimizer.generator.lr", "trainer.max_epochs"]
    keys += ["schedule.discriminator", "nothing", "+new", "~lam", "hydra.run.dir", "", "a b", "[x]"]
    keys += ["data._target_", "+mask._target_", "trainer.accelerator", "augment.differentiable"]
    override = st.tuples(st.sampled_from(keys), VALUES).map("=".join) | VALUES
    prior = load_prior(save_tiny_prior(tmp_path / "tiny.safetensors"))

    def settle(overrides: list[str]) -> None:
        found = compose_settings(name, overrides, schema)
        if "_target_" in " ".join(overrides):
            return  # a program's own owner may name any
        data = instantiate_checked("data", found.data)
        given = {"prior": prior} if "prior" in inspect.signature(data).parameters else {}
        data(size=prior.size, channels=prior.channels, split="train", **given)
        if name == "reconstruct":
            instantiate_checked("mask", found.mask)(16, np.random.default_rng(0), "x.png")

    with initialize_config_dir(str(CONF), version_base="1.3"):
        attack(soak, 150, st.lists(override, min_size=1, max_size=3), settle)


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    nothing = bytes(2**20)

    def zipped(name: str, size: int) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("ok.png", pictures()[0])
            with archive.open("bomb.png", "w", force_zip64=True) as member:
                for _ in range(size >> 20):
                    member.write(nothing)
        return tmp_path / name

    def tarred(name: str, size: int, count: int = 1) -> Path:
        with tarfile.open(tmp_path / name, "w:xz", preset=0) as archive:
            for number in range(count):
                member = tarfile.TarInfo(f"{number}.png")
                member.size = size
                with (tmp_path / "zeros").open("wb") as zeros:
                    zeros.truncate(size)
                with (tmp_path / "zeros").open("rb") as zeros:
                    archive.addfile(member, zeros)
        return tmp_path / name

    large = 400 * 2**20
    with in_time():
        source = folder(zipped("large.zip", large))
        assert source[source.names.index("ok.png")].shape == (3, 16, 16)
        with pytest.raises(InputError, match="expands to more than 200 times its size"):
            source[source.names.index("bomb.png")]
    bomb = tarred("large.tar.xz", large)
    with in_time(), pytest.raises(InputError, match="expands to more than 200 times its size"):
        folder(bomb)[0]
    bomb = tarred("many.tar.xz", 100 * 2**20, 5)
    with in_time(), pytest.raises(InputError, match="expands to more than 200 times its size"):
        open_files(bomb)
    claim = tarfile.TarInfo("huge.png")
    claim.size = 10 * 2**30
    (tmp_path / "claims.tar").write_bytes(claim.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with in_time(), pytest.raises(InputError, match="cannot be read"):
        open_files(tmp_path / "claims.tar")
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    import zlib

    body = zlib.compress(bytes(2**20))
    png = b"\x89PNG\r\n\x1a\n"
    for kind, content in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b"")):
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        png += struct.pack(">I", len(content)) + kind + content + checksum
    (tmp_path / "bomb.png").write_bytes(png)
    with in_time(), pytest.raises(InputError, match="60000x60000, 3600 megapixels, more than 250"):
        folder(tmp_path / "bomb.png")[0]
    with in_time(), pytest.raises(InputError, match="more than 250"):
        MaskFile(str(tmp_path / "bomb.png"), False).hole("x.png", (16, 16), (0, 0, 16, 16))[0]


def test_small_files_that_ask_for_much(tmp_path: Path) -> None:
    """They say less of their size than is true, or hide it where it is read at once."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, packing in (("lie.zip", zipfile.ZIP_DEFLATED), ("lie_bz.zip", zipfile.ZIP_BZIP2)):
        with (
            zipfile.ZipFile(tmp_path / name, "w", packing) as archive,
            archive.open("bomb.png", "w", force_zip64=True) as member,
        ):
            for _ in range(1000):
                member.write(bytes(2**20))
        content = (tmp_path / name).read_bytes()
        true = struct.pack("<Q", 1000 * 2**20)
        small = struct.pack("<I", 1000 * 2**20)
        content = content.replace(true, struct.pack("<Q", 1000)).replace(
            small, struct.pack("<I", 1000)
        )
        (tmp_path / name).write_bytes(content)
        with in_time(), pytest.raises(InputError, match="cannot be read"):
            folder(tmp_path / name)[0]
    with tarfile.open(tmp_path / "note.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo("a.png"))
        member = tarfile.TarInfo("b.png")
        member.pax_headers = {"comment": "x" * (50 * 2**20)}
        tar.addfile(member)
    with in_time(), pytest.raises(InputError, match="a header of 50 MiB"):
        open_files(tmp_path / "note.tar.gz")
    huge = b"\x80\x02cbuiltins\nbytearray\nJ\x00\x00\x00\x7f\x85R."
    for name in ("bytes.pth", "bytes.ckpt"):
        (tmp_path / name).write_bytes(huge)
        with in_time(), pytest.raises(InputError, match="damaged"):
            load_prior(tmp_path / name)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 1000 * 2**20


def test_what_never_ends_is_not_waited_for(tmp_path: Path, run: Run) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "prior.safetensors")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "list.txt").write_text("pipe.png\nzero.png\n/dev/tty\n")
    with in_time():
        for path in ("pipe.png", "/dev/zero"):
            with pytest.raises(InputError, match="neither a folder nor a regular file"):
                folder(tmp_path / path)
            with pytest.raises(InputError, match="neither a folder nor a regular file"):
                MaskFile(str(tmp_path / path), False)
            with pytest.raises(InputError):
                load_prior(path)
        with pytest.raises(InputError):
            load_prior(tmp_path / "prior.safetensors")
        source = folder(tmp_path / "list.txt")
        assert source.names == ["pipe.png", "zero.png"]
        for index in range(2):
            with pytest.raises(InputError, match="not a regular file"):
                source[index]
        (tmp_path / "linked").mkdir()
        (tmp_path / "linked" / "round").symlink_to(tmp_path / "linked")
        (tmp_path / "linked" / "zero.png").symlink_to("/dev/zero")
        with pytest.raises(InputError, match="the folder is empty"):
            folder(tmp_path / "linked")


def test_names_that_lead_out_or_that_a_terminal_would_obey(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    inside = tmp_path / "inside"
    inside.mkdir()
    names = ["../../up.png", "/tmp/absolute.png", "a\x1b]0;title\x07.png", "new\nline.png"]
    names += [
        "<script>alert(1)</script>.png",
        "=cmd|' /C calc'!A0.png",
        "x" * 240 + ".png",
        "ü.png",
    ]
    with zipfile.ZipFile(inside / "odd.zip", "w") as archive:
        for name in names:
            archive.writestr(name, pictures()[1])
        archive.writestr("broken\x1b[31m.png", b"no image")
    odd = inside / "folder"
    odd.mkdir()
    (odd / os.fsdecode(b"latin\xe9.png")).write_bytes(pictures()[1])
    (odd / "sub\x1b[1m").mkdir()
    (odd / "sub\x1b[1m" / "x.png").write_bytes(pictures()[1])
    (odd / "passwd.png").symlink_to("/etc/passwd")
    before = everything_below(tmp_path)
    for path, count in ((inside / "odd.zip", 7), (odd, 2)):
        job = tmp_path / "jobs" / path.stem
        options = [f"prior={prior}", "data=folder", f"data.path={path}", "logger=none", "steps=2"]
        ran = run("reconstruct", *options, f"hydra.run.dir={job}")
        assert ran.code == 0, ran.err
        said = ran.out + ran.err
        assert all(c.isprintable() or c == "\n" for c in said)
        written = everything_below(tmp_path) - before
        assert all(tmp_path / "jobs" in (p, *p.parents) for p in written)
        assert len([p for p in (job / "restored").rglob("*") if p.is_file()]) == count
    assert not Path("/tmp/absolute.png").exists()
    assert not (tmp_path.parent / "up.png").exists()


def test_runs_that_somebody_else_made(tmp_path: Path, run: Run) -> None:
    """Their settings are data: nothing in them is run, and what is odd is said."""
    trap = tmp_path / "trap"
    for line in (
        "data._target_=os.system",
        "+data.x._target_=os.system",
        "++hydra.searchpath=[/tmp]",
        "hydra/launcher=evil",
        "data.path=${oc.env:HOME}",
    ):
        directory = tmp_path / "run"
        (directory / ".hydra").mkdir(parents=True, exist_ok=True)
        (directory / "train.log").touch()
        (directory / "reconstruct.log").touch()
        (directory / ".hydra" / "overrides.yaml").write_text(f"- {json.dumps(line)}\n")
        for command in ("train", "reconstruct"):
            ran = run(command, f"resume={directory}")
            assert ran.code == 2
            assert "could run any code; start a new run instead" in ran.sentence
    code = "- !!python/object/apply:os.system [x]"
    code = "- !!python/object/apply:os.system [x]"
    for text in ("", "a: b", "[[1]]", "\x00", code, "{", "- 1\n"):
        (directory / ".hydra" / "overrides.yaml").write_text(text)
        ran = run("train", f"resume={directory}")
        assert ran.code == 2, text
        assert ran.sentence
    assert not trap.exists()


def test_sweeps_that_somebody_else_made(tmp_path: Path, soak: bool, run: Run) -> None:
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    options = [f"prior={prior}", "data=generated", "data.count=2", "logger=none", "steps=2"]
    assert run("reconstruct", "-m", "lam=0.1,0.2", *options, "hydra.sweep.dir=sweep").code == 0
    names = ["summary.json", "results.csv", "restarts.csv", "metrics.csv", ".hydra/overrides.yaml"]
    names += ["images/00000.png", "known/00001.png", ".hydra/hydra.yaml", "latents.safetensors"]
    originals = {name: (tmp_path / "sweep" / "0" / name).read_bytes() for name in names}
    odd = ['{"status": 3}', "[]", '{"status": "done", "lam": {"a": 1}}', '{"status": "<script>"}']

    def compare(case: tuple[str, bytes]) -> None:
        name, content = case
        file = tmp_path / "sweep" / "0" / name
        try:
            file.write_bytes(content)
            comparison.compare(tmp_path / "sweep")
            page = (tmp_path / "sweep" / "index.html").read_text()
            assert "<script>alert" not in page
        finally:
            file.write_bytes(originals[name])

    changed = [st.tuples(st.just(name), damaged(data)) for name, data in originals.items()]
    lies = st.tuples(st.just("summary.json"), st.sampled_from(odd).map(str.encode))
    attack(soak, 25, st.one_of(*changed, lies), compare)


def test_what_a_sweep_says_is_shown_as_it_is(tmp_path: Path, run: Run) -> None:
    """Not obeyed: by a terminal, by rich's markup, by OmegaConf's interpolation."""
    prior = save_tiny_prior(tmp_path / "tiny.safetensors")
    options = [f"prior={prior}", "data=generated", "data.count=2", "logger=none", "steps=2"]
    assert run("reconstruct", "-m", "lam=0.1,0.2", *options, "hydra.sweep.dir=sweep").code == 0
    job = tmp_path / "sweep" / "0"
    (job / "summary.json").write_text(
        json.dumps({"status": "failed", "error": "\x1b]0;pwned\x07boo", "lam": 0.1})
    )
    for line in ("x=[/red]", "x=\x1b[2J", "a=${b", "???", "[" * 1500):
        (job / ".hydra" / "overrides.yaml").write_text(f"- {json.dumps(line)}\n")
        ran = run("compare", "sweep=sweep")
        assert "Traceback" not in ran.err
        assert all(c.isprintable() or c == "\n" for c in ran.out + ran.err)
    for name in ("multirun.yaml", "1/images/abcde.png", "²/summary.json"):
        (tmp_path / "sweep" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "sweep" / name).write_text("{}")
    (job / ".hydra" / "overrides.yaml").write_text("[" * 1500)
    shutil.rmtree(tmp_path / "sweep" / "1" / "images")
    for text in ('{"psnr_hole": 1' + "0" * 400 + "}", "[" * 200_000, '{"status": "run'):
        (job / "summary.json").write_text(text)
        ran = run("compare", "sweep=sweep")
        assert "Traceback" not in ran.err, ran.err
        assert "job 0 failed: its summary.json is damaged" in ran.out
    ran = run("reconstruct", "resume=sweep/0")
    assert ran.code == 2


def test_no_secret_is_written_anywhere(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {"WANDB_API_KEY": "5ecre7" * 6 + "abcd", "HF_TOKEN": "hf_verysecret"}
    for key, value in secrets.items():
        monkeypatch.setenv(key, value)
    pictures_there = write_pictures(tmp_path / "pictures", 20)
    options = ["data=folder", f"data.path={pictures_there}", "batch_size=4", *TINY]
    assert run("train", *options, "trainer.max_epochs=1", "hydra.run.dir=runs/train").code == 0
    prior = "prior=runs/train"
    options = [prior, "data=generated", "data.count=2", "steps=2", "hydra.sweep.dir=runs/sweep"]
    ran = run("reconstruct", "-m", "lam=0.1,0.2", *options)
    assert ran.code == 0
    files = [p for p in (tmp_path / "runs").rglob("*") if p.is_file()]
    assert len(files) > 40
    for secret in secrets.values():
        assert secret not in ran.out + ran.err
        for file in files:
            assert secret.encode() not in file.read_bytes(), file
