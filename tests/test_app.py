"""The app's program: what it answers, refuses, and leaves behind."""

import io
import json
import os
import shlex
import signal
import socket
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from app_process import App, as_file, mask_with, noise, tiny_app
from conftest import Ran, save_tiny_prior
from PIL import Image

pytest.importorskip("aiohttp")
Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    yield from tiny_app(tmp_path_factory.mktemp("app"))


def painted(app: App, image: Image.Image, *holes: tuple[int, int, int, int], **options: object):  # type: ignore[no-untyped-def]
    """A photograph that is open, with a mask."""
    photograph = app.open(as_file(image, **options))
    size = photograph["width"], photograph["height"]
    app.json("PUT", f"/api/photographs/{photograph['id']}/mask", as_file(mask_with(size, *holes)))
    return photograph


# who may ask


def test_the_page_needs_the_token(app: App) -> None:
    assert app.ask("GET", "/")[0] == 403
    assert app.ask("GET", "/?token=guess")[0] == 403
    status, page, headers = app.ask("GET", f"/?token={app.token}")
    assert status == 200
    assert b"Paint what is missing" in page
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "example.org"},
        {"Host": "127.0.0.1"},
        {"Host": "evil.127.0.0.1.nip.io:80"},
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"X_Token": ""},
        {"X_Token": "guess"},
        {"X_Token": "ü"},
    ],
)
def test_nobody_else_may_change_anything(app: App, headers: dict[str, str]) -> None:
    given = {"X-Token" if k == "X_Token" else k: v for k, v in headers.items()}
    for method, path in (
        ("POST", "/api/photographs"),
        ("POST", "/api/jobs"),
        ("POST", "/api/example"),
    ):
        assert app.ask(method, path, b"{}", **given)[0] == 403
    assert app.ask("GET", "/api/priors", **given)[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static/server.py",
        "/static/",
        "/etc/passwd",
        "/api/photographs/../../etc/passwd/preview",
        "/api/jobs/x/photograph/0",
        "/api/jobs/x/__class__",
    ],
)
def test_no_path_reaches_the_file_system(app: App, path: str) -> None:
    assert app.ask("GET", path)[0] == 404


# photographs


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (b"", "a.png", "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a.eps", "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", "not an image"),
        (b"\0\0\0\x18ftypheic" + bytes(64), "IMG_1.HEIC", "export it as JPEG"),
        (b"GIF89a", "a.gif", "a.gif"),
    ],
)
def test_what_is_no_photograph_is_refused(
    app: App, content: bytes, name: str, sentence: str
) -> None:
    status, error = app.refused("POST", "/api/photographs", content, X_Name=name)
    assert status == 422
    assert sentence in error
    assert name in error


def test_a_damaged_photograph_is_refused(app: App) -> None:
    whole = as_file(noise(400, 300), "JPEG")
    status, error = app.refused("POST", "/api/photographs", whole[:2000], X_Name="half.jpg")
    assert (status, "half.jpg: cannot be read" in error) == (422, True)


def test_a_bomb_is_refused_before_it_is_decoded(app: App) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    side = 40_000
    header = side.to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
    rows = zlib.compress(bytes(side + 1) * 100)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )
    status, error = app.refused("POST", "/api/photographs", bomb, X_Name="bomb.png")
    assert (status, "bomb.png" in error) == (422, True)


def test_too_large_a_photograph_is_refused_early(app: App) -> None:
    connection = socket.create_connection(("127.0.0.1", app.port))
    head = (
        f"POST /api/photographs HTTP/1.1\r\nHost: 127.0.0.1:{app.port}\r\nX-Token: {app.token}\r\n"
    )
    connection.sendall(f"{head}Content-Length: 900000000\r\n\r\n".encode())  # nothing follows
    connection.settimeout(20)
    assert b"413" in connection.recv(4096)
    connection.close()


def test_an_endless_photograph_takes_no_memory(app: App) -> None:
    def peak() -> int:
        status = Path(f"/proc/{app.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024

    before = peak()
    connection = socket.create_connection(("127.0.0.1", app.port))
    head = (
        f"POST /api/photographs HTTP/1.1\r\nHost: 127.0.0.1:{app.port}\r\nX-Token: {app.token}\r\n"
    )
    connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
    part = b"10000\r\n" + bytes(2**16) + b"\r\n"
    connection.settimeout(30)
    answer = b""
    try:
        for _ in range(3000):  # 190 MB
            connection.sendall(part)
    except OSError:  # it does not listen any more
        pass
    try:
        answer = connection.recv(4096)
    except OSError:
        answer = b"413"
    assert b"413" in answer
    assert peak() - before < 150
    assert app.json("GET", "/api/priors")


@pytest.mark.parametrize("name", ["../../etc/passwd.png", "C:\\x\\passwd.png", "/passwd.png"])
def test_a_name_is_only_a_label(app: App, name: str) -> None:
    assert app.open(as_file(noise(20, 20)), name)["name"] == "passwd.png"


def test_only_eight_photographs_are_kept(app: App) -> None:
    first = app.open(as_file(noise(20, 20)))
    for _ in range(8):
        last = app.open(as_file(noise(20, 20)))
    kept = [one["id"] for one in app.json("GET", "/api/photographs")]
    assert (len(kept), first["id"] in kept, last["id"] in kept) == (8, False, True)
    assert app.ask("GET", f"/api/photographs/{first['id']}/preview")[0] == 404
    for _ in range(2):
        assert app.ask("DELETE", f"/api/photographs/{last['id']}")[0] == 204


def test_a_preview_is_small_and_upright(app: App) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turned by a quarter
    photograph = app.open(as_file(noise(3000, 1500), "JPEG", exif=exif), "turned.jpg")
    assert (photograph["width"], photograph["height"]) == (1500, 3000)
    content = app.ask("GET", f"/api/photographs/{photograph['id']}/preview")[1]
    with Image.open(io.BytesIO(content)) as preview:
        assert preview.size == (1024, 2048)


def test_a_mask_of_other_proportions_is_refused(app: App) -> None:
    photograph = app.open(as_file(noise(64, 48)))
    path = f"/api/photographs/{photograph['id']}/mask"
    status, error = app.refused("PUT", path, as_file(mask_with((64, 64), (0, 0, 9, 9))))
    assert (status, "proportions" in error) == (422, True)
    assert app.refused("PUT", path, b"no image")[0] == 422
    told = app.json("PUT", path, as_file(mask_with((32, 24), (0, 0, 16, 24))))
    assert told["missing"] == pytest.approx(0.5)


# searches


def test_a_search_tells_how_far_it_is_and_what_it_found(app: App) -> None:
    photograph = painted(app, noise(64, 64), (20, 20, 40, 40))
    job = app.start(photograph, keep=3)
    events = list(app.events(job))
    kinds = [kind for _, kind, _ in events]
    assert [data["phase"] for _, kind, data in events if kind == "phase"] == [
        "prior",
        "guide",
        "starts",
        "search",
    ]
    assert "progress" in kinds[:-1]
    assert kinds[-1] == "done"
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    assert list(app.events(job, after=len(events) - 1)) == events[-1:]
    told = events[-1][2]
    assert told["completions"] == 3
    for path in ("completions/0", "completions/2?blend=none", "damaged", "unsure", "mask"):
        content = app.ask("GET", f"/api/jobs/{job}/{path}")[1]
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.size == (64, 64)
    assert app.ask("GET", f"/api/jobs/{job}/completions/3")[0] == 404
    assert app.refused("GET", f"/api/jobs/{job}/completions/0?blend=x")[0] == 422


def test_another_blend_is_the_same_search(app: App) -> None:
    job = app.start(painted(app, noise(64, 64), (20, 20, 40, 40)))
    told = app.finished(job)
    views = {
        b: app.ask("GET", f"/api/jobs/{job}/completions/0?blend={b}")[1] for b in told["commands"]
    }
    assert views["poisson"] != views["none"]
    assert told["commands"]["none"] == told["commands"]["poisson"].replace("=poisson", "=none")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"box": [0, 0, 65, 65]}, "within 64x64"),
        ({"box": [5, 5, 5, 9]}, "within"),
        ({"box": [1]}, "frame"),
        ({"box": ["a", 0, 9, 9]}, "frame"),
        ({"box": [0, 0, 9.5, 9]}, "frame"),
        ({"seed": 1.5}, "1.5: seed must be a whole number"),
        ({"quality": "${oc.env:HOME}"}, "quality=${oc.env:HOME}"),
        ({"lam": 1e308}, "lam"),
        ({"keep": 9}, "completions"),
        ({"keep": "many"}, "keep"),
        ({"radius": 5}, "unusual"),
        ({"guide_weight": -1}, "likeness"),
        ({"quality": "best"}, "quality"),
        ({"seed": -1}, "seed"),
        ({"lam": "nan"}, "lam"),
        ({"prior": "../faces"}, "prior"),
        ({"photograph": "x"}, "photograph"),
        ({"condition": "a red seven"}, "condition"),
        ({"condition": [1]}, "condition"),
        ({"steps": 10**9}, "steps"),
    ],
)
def test_a_wrong_wish_is_one_sentence(app: App, changes: dict, sentence: str) -> None:
    photograph = painted(app, noise(64, 64), (20, 20, 40, 40))
    status, content, _ = app.ask("POST", "/api/jobs", app.wish(photograph, **changes))
    if status == 202:  # found wrong with the prior at hand
        *_, (_, kind, data) = app.events(json.loads(content)["id"])
        assert kind == "failed"
        error = data["error"]
    else:
        assert status == 422
        error = json.loads(content)["error"]
    assert sentence in error


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 50_000, b"{}", b"\xff"])
def test_what_is_no_wish_is_refused(app: App, body: bytes) -> None:
    assert app.refused("POST", "/api/jobs", body)[0] == 422


def test_a_long_wish_is_refused(app: App) -> None:
    assert app.refused("POST", "/api/jobs", b" " * 70_000)[0] == 413


def test_nothing_or_everything_painted_is_refused(app: App) -> None:
    photograph = app.open(as_file(noise(64, 64)))
    assert "nothing" in app.refused("POST", "/api/jobs", app.wish(photograph))[1]
    for holes, word in (((0, 0, 64, 64), "everything"), ((0, 0, 8, 8), "outside")):
        mask = as_file(mask_with((64, 64), holes))
        app.json("PUT", f"/api/photographs/{photograph['id']}/mask", mask)
        wish = app.wish(photograph, box=[16, 16, 48, 48])
        assert word in app.refused("POST", "/api/jobs", wish)[1]


MODES = ["RGB", "L", "I;16", "P", "RGBA", "CMYK", "LA", "turned"]


def photograph_of(mode: str) -> tuple[bytes, str]:
    """A file with a colour profile where it can hold one."""
    colour = noise(50, 40)
    profile = {"icc_profile": b"a profile" * 20}
    if mode == "turned":
        exif = Image.Exif()
        exif[274] = 6
        return as_file(colour, "JPEG", exif=exif, quality=95, **profile), "turned.jpg"
    if mode == "CMYK":
        return as_file(colour.convert("CMYK"), "TIFF", **profile), "photo.tif"
    if mode == "I;16":
        deep = np.asarray(colour.convert("L")).astype(np.uint16) * 257
        return as_file(Image.fromarray(deep)), "photo.png"
    image = colour.convert("RGBA") if "A" in mode else colour
    if "A" in mode:
        image.putalpha(noise(50, 40, 1, seed=2))
    converted = image.quantize(64) if mode == "P" else image.convert(mode)
    return as_file(converted, **profile), "photo.png"


@pytest.mark.parametrize("mode", MODES)
def test_a_download_keeps_the_photograph_and_the_command_repeats_it(
    app: App, mode: str, run: Run, tmp_path: Path
) -> None:
    content, name = photograph_of(mode)
    photograph = app.open(content, name)
    size = photograph["width"], photograph["height"]
    mask = mask_with(size, (12, 10, 24, 26))
    app.json("PUT", f"/api/photographs/{photograph['id']}/mask", as_file(mask))
    job = app.start(photograph, box=[2, 1, 38, 37])
    told = app.finished(job)
    downloads = [app.ask("GET", f"/api/jobs/{job}/photograph/{rank}")[1] for rank in range(2)]
    with Image.open(io.BytesIO(content)) as opened, Image.open(io.BytesIO(downloads[0])) as filled:
        given = opened.transpose(Image.Transpose.ROTATE_270) if mode == "turned" else opened
        assert filled.size == size
        assert filled.mode == opened.mode
        assert filled.info.get("icc_profile") == opened.info.get("icc_profile")
        known = np.asarray(mask) == 0
        assert np.array_equal(np.asarray(filled)[known], np.asarray(given)[known])
        assert not np.array_equal(np.asarray(filled), np.asarray(given))
    bundle = zipfile.ZipFile(io.BytesIO(app.ask("GET", f"/api/jobs/{job}/bundle")[1]))
    bundle.extractall(tmp_path)
    command = (tmp_path / "command.txt").read_text().strip()
    assert command == told["commands"]["poisson"]
    ran = run("reconstruct", *shlex.split(command)[3:], "hydra.run.dir=job")
    assert ran.code == 0, ran.err
    suffix = ".tif" if mode == "CMYK" else ".png"
    stem = Path(name).stem
    assert (tmp_path / f"job/restored/{stem}{suffix}").read_bytes() == downloads[0]
    assert (tmp_path / f"job/restored_alternatives/{stem}_1{suffix}").read_bytes() == downloads[1]
    restored = only_file(bundle, "restored/")
    assert bundle.read(restored) == downloads[0]


def only_file(bundle: zipfile.ZipFile, folder: str) -> str:
    (name,) = [name for name in bundle.namelist() if name.startswith(folder)]
    return name


@pytest.mark.parametrize(
    "name",
    [
        "${oc.env:HOME}.png",
        "好" * 100 + ".png",
        "photo.txt",
        "a b,c=d'e(f)[1]{x}#;&!~.png",
        "~x.png",
    ],
)
def test_any_name_can_be_downloaded_and_repeated(
    app: App, name: str, run: Run, tmp_path: Path
) -> None:
    photograph = app.open(as_file(noise(40, 40)), name)
    mask = as_file(mask_with((40, 40), (12, 10, 24, 26)))
    app.json("PUT", f"/api/photographs/{photograph['id']}/mask", mask)
    job = app.start(photograph)
    app.finished(job)
    status, content, _ = app.ask("GET", f"/api/jobs/{job}/photograph/0")
    assert status == 200
    bundle = app.ask("GET", f"/api/jobs/{job}/bundle")[1]
    zipfile.ZipFile(io.BytesIO(bundle)).extractall(tmp_path)
    command = (tmp_path / "command.txt").read_text()
    ran = run("reconstruct", *shlex.split(command)[3:], "hydra.run.dir=job")
    assert ran.code == 0, ran.err
    (restored,) = (tmp_path / "job" / "restored").iterdir()
    assert restored.read_bytes() == content


def test_a_photograph_without_contrast_is_filled(app: App) -> None:
    told = app.finished(
        app.start(painted(app, Image.new("RGB", (64, 64), "white"), (9, 9, 30, 30)))
    )
    assert (told["explained"], told["fits"]) == (None, True)


def test_a_mask_that_leaves_nothing_known_is_refused(app: App) -> None:
    photograph = app.open(as_file(noise(160, 160)))
    dots = np.zeros((160, 160), np.uint8)
    dots[::8, ::8] = 255
    mask = as_file(Image.fromarray(dots))
    app.json("PUT", f"/api/photographs/{photograph['id']}/mask", mask)
    *_, (_, kind, data) = app.events(app.start(photograph))
    assert (kind, "nothing known is left" in data["error"]) == ("failed", True)


def test_several_photographs_travel_with_boxes_and_masks(
    app: App, run: Run, tmp_path: Path
) -> None:
    jobs = []
    for number, name in enumerate(["a.png", "a.png", "it's (1).png"]):
        photograph = app.open(as_file(noise(60, 44 + number, seed=number)), name)
        size = photograph["width"], photograph["height"]
        mask = as_file(mask_with(size, (10, 10, 22, 24)))
        app.json("PUT", f"/api/photographs/{photograph['id']}/mask", mask)
        jobs.append(app.start(photograph, box=[number, 0, 40 + number, 40]))
        app.finished(jobs[-1])
    content = app.ask("GET", f"/api/bundle?jobs={','.join(jobs)}&blend=none")[1]
    zipfile.ZipFile(io.BytesIO(content)).extractall(tmp_path)
    names = {path.name for path in (tmp_path / "photographs").iterdir()}
    assert names == {"a.png", "a_2.png", "it's (1).png"}
    ran = run(
        "reconstruct", *shlex.split((tmp_path / "command.txt").read_text())[3:], "hydra.run.dir=job"
    )
    assert ran.code == 0, ran.err
    for path in (tmp_path / "restored").iterdir():
        assert (tmp_path / "job" / "restored" / path.name).read_bytes() == path.read_bytes()
    assert app.ask("GET", "/api/bundle?jobs=x")[0] == 404


# stopping


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[App]:
    running = App(tmp_path, "prior=faces")
    yield running
    running.stop()


def temporary_folders(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("gan_inpaint_*")}


def test_one_search_at_a_time_which_stops_at_once(slow: App) -> None:
    photograph = painted(slow, noise(256, 256), (90, 90, 160, 160))
    job = slow.start(photograph, keep=8, quality="good")
    assert slow.refused("POST", "/api/jobs", slow.wish(photograph))[0] == 409
    for _, kind, data in slow.events(job):
        if kind == "progress" and data["step"] >= 3:
            break
    started = time.monotonic()
    assert slow.ask("DELETE", f"/api/jobs/{job}")[0] == 204
    *_, (_, kind, _) = slow.events(job)
    assert (kind, time.monotonic() - started < 1) == ("cancelled", True)
    assert slow.ask("DELETE", f"/api/jobs/{job}")[0] == 204
    assert slow.ask("GET", f"/api/jobs/{job}/completions/0")[0] == 404
    slow.finished(slow.start(photograph, keep=1, quality="quick"))


def test_a_signal_ends_a_search_and_leaves_nothing(tmp_path: Path) -> None:
    for signum, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        app = App(tmp_path, "prior=faces")
        assert len(temporary_folders(tmp_path)) == 1
        job = app.start(painted(app, noise(256, 256), (90, 90, 160, 160)), quality="good")
        next(app.events(job))
        os.kill(app.process.pid or 0, signum)
        app.process.join(30)
        assert app.process.exitcode == code, app.log.read_text()
        assert not temporary_folders(tmp_path)
        assert "Traceback" not in app.log.read_text()
        app.log.unlink()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["prior=nonsense"], "no such file, training run or bundled prior"),
        (["photograph=there_is_none.jpg"], "photograph=there_is_none.jpg: no such file"),
        (["port=70000"], "port=70000: must be between"),
        (["port=x"], "port"),
        (["ports=1"], "did you mean port?"),
    ],
)
def test_a_wrong_argument_is_one_sentence(run: Run, arguments: list[str], sentence: str) -> None:
    ran = run("app", "open=false", *arguments)
    assert ran.code == 2
    assert sentence in ran.sentence


def test_a_port_that_is_taken_is_said(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = run("app", "open=false", f"port={taken.getsockname()[1]}")
    assert ran.code == 2
    assert "it is taken" in ran.sentence


def test_without_aiohttp_the_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "aiohttp", None)
    ran = run("app", "open=false")
    assert (ran.code, "gan_inpaint[app]" in ran.sentence) == (2, True)


def test_a_photograph_of_the_command_line_is_open(tmp_path: Path) -> None:
    noise(40, 30).save(tmp_path / "own.png")
    prior = save_tiny_prior(tmp_path / "tiny.safetensors", channels=3)
    app = App(tmp_path, f"prior={prior}", f"photograph={tmp_path / 'own.png'}")
    assert [one["name"] for one in app.json("GET", "/api/photographs")] == ["own.png"]
    app.stop()
