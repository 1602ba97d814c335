"""``python -m gan_inpaint.app``: serve the page on this machine until a signal comes."""

import asyncio
import errno
import signal
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING

from gan_inpaint.cli.command import command
from gan_inpaint.errors import InputError
from gan_inpaint.jobs.directory import RunDirectory
from gan_inpaint.runtime.signals import Interrupted

if TYPE_CHECKING:
    from gan_inpaint.web.studio import Studio

_PATIENCE = 1.0  # seconds for open connections at the end


@dataclass
class AppConfig:
    """The root keys of ``python -m gan_inpaint.app``."""

    port: int
    open: bool
    photograph: str | None
    prior: str

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise InputError(f"port={self.port}: must be between 0 and 65535; 0: any free one")


@command("app", AppConfig)
def main(settings: AppConfig, run: RunDirectory) -> None:
    """Serve the page; print its address, and open it."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise InputError("the app needs pip install 'gan_inpaint[app]'") from None
    if settings.photograph is not None and not Path(settings.photograph).is_file():
        raise InputError(f"photograph={settings.photograph}: no such file; check the path")
    with TemporaryDirectory(prefix="gan_inpaint_") as folder:
        signum = asyncio.run(_serve(settings, Path(folder)))
    raise Interrupted(signum)


async def _serve(settings: AppConfig, folder: Path) -> int:
    """Serve until a signal comes; returns its number."""
    from aiohttp import web

    from gan_inpaint.web.server import Server

    loop = asyncio.get_running_loop()
    stop = _signal_future(loop)
    server = Server()
    runner = web.AppRunner(server.application(), shutdown_timeout=_PATIENCE, access_log=None)
    await runner.setup()
    server.port = await _listen(runner, settings.port)
    # after the page can be opened, because torch and Lightning take seconds
    server.studio = loop.run_in_executor(
        None, _make_studio, settings, folder, lambda: loop.call_soon_threadsafe(server.changed)
    )
    address = f"http://127.0.0.1:{server.port}/?token={server.token}"
    print(address, flush=True)
    if settings.open:  # some browsers return only when they are closed
        Thread(target=webbrowser.open, args=[address], daemon=True).start()
    try:
        studio = await server.studio  # raises what is wrong with the prior or the photograph
        try:
            return await stop
        finally:
            await asyncio.to_thread(studio.close)
    finally:
        await runner.cleanup()


async def _listen(runner: object, port: int) -> int:
    """Bind to 127.0.0.1; returns the port."""
    from aiohttp import web

    site = web.TCPSite(runner, "127.0.0.1", port)  # type: ignore[arg-type]
    try:
        await site.start()
    except OSError as problem:
        if problem.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise InputError(
            f"port={port}: it is taken, or not allowed; choose another one, or leave it out"
        ) from None
    return site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]


def _signal_future(loop: asyncio.AbstractEventLoop) -> "asyncio.Future[int]":
    """Completed by the first SIGINT or SIGTERM."""
    stop = loop.create_future()

    def came(signum: int) -> None:
        if not stop.done():
            stop.set_result(signum)

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, came, signum)
    return stop


def _make_studio(settings: AppConfig, folder: Path, changed: Callable[[], object]) -> "Studio":
    from gan_inpaint.runtime.memory import keep_freed_memory
    from gan_inpaint.web.studio import Studio

    keep_freed_memory()
    studio = Studio(folder, settings.prior, changed)
    if settings.photograph:
        path = Path(settings.photograph)
        studio.open(path.name, path.read_bytes())
    return studio
