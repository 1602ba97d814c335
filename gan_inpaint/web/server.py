"""The HTTP side of the app: routes, checks of every request, events. Knows nothing of images.

Nothing heavy is imported here: the page is served at once, and its first request waits until the
rest is there.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from aiohttp import web

from gan_inpaint.errors import InputError

if TYPE_CHECKING:
    from gan_inpaint.web.studio import Studio

_STATIC = Path(__file__).parent / "static"
_FILES = {
    "style.css": "text/css",
    "app.js": "text/javascript",
    "api.js": "text/javascript",
    "painter.js": "text/javascript",
    "results.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_LARGEST = 50 * 2**20  # bytes of a photograph
_LARGEST_JSON = 64 * 2**10
_HEARTBEAT = 10.0  # seconds
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src"
    " 'self' blob: data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action"
    " 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_BLENDS = ("poisson", "none")

_logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Serves the page of one studio.

    Attributes:
        token: what the terminal's link carries; needed for whatever changes something.
        port: that it listens on.
        studio: comes when everything is imported.
    """

    studio: "asyncio.Future[Studio]"

    def __init__(self) -> None:
        self.token, self.port = secrets.token_urlsafe(24), 0
        self._listeners: set[asyncio.Event] = set()
        self._closing = asyncio.Event()

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._guard], client_max_size=_LARGEST)
        app.on_shutdown.append(self._shut_down)
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/static/{name}", self._static),
                web.get("/api/priors", self._priors),
                web.get("/api/photographs", self._photographs),
                web.post("/api/photographs", self._open),
                web.get("/api/photographs/{id}/preview", self._preview),
                web.post("/api/example", self._open_example),
                web.get("/api/photographs/{id}/mask", self._mask),
                web.put("/api/photographs/{id}/mask", self._set_mask),
                web.delete("/api/photographs/{id}", self._forget),
                web.post("/api/jobs", self._start),
                web.delete("/api/jobs/{id}", self._cancel),
                web.get("/api/jobs/{id}/events", self._events),
                web.get("/api/jobs/{id}/completions/{rank:[0-9]{1,2}}", self._completion),
                web.get("/api/jobs/{id}/photograph/{rank:[0-9]{1,2}}", self._filled),
                web.get("/api/jobs/{id}/{picture:damaged|unsure|mask}", self._picture),
                web.get("/api/jobs/{id}/bundle", self._bundle),
                web.get("/api/bundle", self._bundle_of_all),
            ]
        )
        return app

    def changed(self) -> None:
        """Wake whoever follows a job; call it on the event loop's thread."""
        for listener in self._listeners:
            listener.set()

    async def _shut_down(self, app: web.Application) -> None:
        self._closing.set()
        self.changed()

    # every request

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse what does not come from the page, and turn errors into sentences."""
        try:
            self._check(request)
            response = await handler(request)
        except web.HTTPException as problem:
            response = _error(problem.status, problem.text or problem.reason)
        except InputError as problem:
            response = _error(422, str(problem), getattr(problem, "field", None))
        except KeyError:
            response = _error(404, "it is gone; open it again")
        except MemoryError:
            response = _error(422, "out of memory: choose a smaller photograph")
        except Exception:
            _logger.exception("%s %s failed", request.method, request.path)
            response = _error(
                500, "an unexpected error, a bug: please report what the terminal shows"
            )
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    def _check(self, request: web.Request) -> None:
        host = request.headers.get("Host", "")
        if host not in (f"127.0.0.1:{self.port}", f"localhost:{self.port}"):
            raise web.HTTPForbidden(text="this program answers only on 127.0.0.1")
        from_page = request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
        if request.path != "/" and not from_page:  # the link may be clicked anywhere
            raise web.HTTPForbidden(text="another site asked for this")
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            raise web.HTTPForbidden(text="another site asked for this")
        changes = request.method not in ("GET", "HEAD")
        given = request.headers.get("X-Token", "")
        lists = request.path in ("/api/priors", "/api/photographs")
        if (changes or lists) and not self._knows(given):
            raise web.HTTPForbidden(text="open the link that the terminal printed")

    def _knows(self, token: str) -> bool:
        given = token.encode(errors="replace")  # a header may hold any bytes
        return secrets.compare_digest(given, self.token.encode())

    async def _call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Run what takes long on another thread."""
        return await asyncio.to_thread(function, *arguments)

    # the page

    async def _page(self, request: web.Request) -> web.Response:
        if not self._knows(request.query.get("token", "")):
            return web.Response(status=403, text="Open the link that the terminal printed.")
        return web.Response(body=(_STATIC / "index.html").read_bytes(), content_type="text/html")

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _FILES:
            raise web.HTTPNotFound(text="no such file")
        return web.Response(body=(_STATIC / name).read_bytes(), content_type=_FILES[name])

    async def _priors(self, request: web.Request) -> web.Response:
        studio = await self.studio
        return web.json_response(await self._call(studio.priors.listed))

    # photographs

    async def _open(self, request: web.Request) -> web.Response:
        content = await _body(request, _LARGEST, "the photograph is larger than 50 MB")
        studio, name = await self.studio, _decoded(request.headers.get("X-Name", ""))
        opened = await self._call(studio.open, name, content, request.headers.get("X-Prior"))
        return web.json_response(opened.describe(), status=201)

    async def _photographs(self, request: web.Request) -> web.Response:
        studio = await self.studio
        return web.json_response([opened.describe() for opened in studio.album.all()])

    async def _preview(self, request: web.Request) -> web.Response:
        studio = await self.studio
        opened = studio.album.get(request.match_info["id"])
        return web.Response(body=opened.preview, content_type="image/png")

    async def _open_example(self, request: web.Request) -> web.Response:
        studio = await self.studio
        opened = await self._call(studio.open_example, request.headers.get("X-Prior"))
        return web.json_response(opened.describe(), status=201)

    async def _mask(self, request: web.Request) -> web.Response:
        opened = (await self.studio).album.get(request.match_info["id"])
        return _png(await self._call(opened.mask_png))

    async def _set_mask(self, request: web.Request) -> web.Response:
        content = await _body(request, _LARGEST, "the mask is larger than 50 MB")
        studio = await self.studio
        opened = studio.album.get(request.match_info["id"])
        return web.json_response(await self._call(opened.set_mask, content))

    async def _forget(self, request: web.Request) -> web.Response:
        (await self.studio).album.remove(request.match_info["id"])
        return web.Response(status=204)

    # jobs

    async def _start(self, request: web.Request) -> web.Response:
        from gan_inpaint.web.studio import Busy

        content = await _body(request, _LARGEST_JSON, "the request is larger than 64 KB")
        studio = await self.studio
        try:
            job = await self._call(studio.start, content)
        except Busy:
            return _error(409, "another search is running; stop it, or wait for its end")
        return web.json_response({"id": job.id}, status=202)

    async def _cancel(self, request: web.Request) -> web.Response:
        with suppress(KeyError):
            (await self.studio).job(request.match_info["id"]).cancel()
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, from the one after ``Last-Event-ID``."""
        job = (await self.studio).job(request.match_info["id"])
        last = request.headers.get("Last-Event-ID", "")
        sent = int(last) if last.isdecimal() and len(last) < 10 else 0
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_HEADERS})
        await response.prepare(request)
        news = asyncio.Event()
        self._listeners.add(news)
        try:
            while not self._closing.is_set():
                news.clear()
                events = job.events[sent:]
                for event in events:
                    lines = f"id: {event.number}\nevent: {event.kind}\ndata: "
                    await response.write(f"{lines}{json.dumps(event.data)}\n\n".encode())
                sent += len(events)
                if not job.running and sent >= len(job.events):
                    break
                try:
                    await asyncio.wait_for(news.wait(), _HEARTBEAT)
                except TimeoutError:
                    await response.write(b": still here\n\n")
        except ConnectionError:  # the page is closed
            pass
        finally:
            self._listeners.discard(news)
        return response

    async def _completion(self, request: web.Request) -> web.Response:
        job = (await self.studio).job(request.match_info["id"])
        rank, blend = int(request.match_info["rank"]), _blend(request)
        return _png(await self._call(job.completion, rank, blend))

    async def _filled(self, request: web.Request) -> web.Response:
        job = (await self.studio).job(request.match_info["id"])
        rank, blend = int(request.match_info["rank"]), _blend(request)
        path = await self._call(job.filled, rank, blend)
        kind = "image/png" if path.suffix == ".png" else "image/tiff"
        number = f"_{rank}" if rank else ""
        return _download(path.read_bytes(), f"{path.stem}{number}{path.suffix}", kind)

    async def _picture(self, request: web.Request) -> web.Response:
        job = (await self.studio).job(request.match_info["id"])
        return _png(await self._call(getattr(job, request.match_info["picture"])))

    async def _bundle(self, request: web.Request) -> web.Response:
        job = (await self.studio).job(request.match_info["id"])
        content = await self._call(job.bundle, _blend(request))
        return _download(content, f"{Path(job.name).stem}.zip", "application/zip")

    async def _bundle_of_all(self, request: web.Request) -> web.Response:
        studio = await self.studio
        jobs = request.query.get("jobs", "").split(",")
        content = await self._call(studio.bundle, jobs, _blend(request))
        return _download(content, "photographs.zip", "application/zip")


async def _body(request: web.Request, largest: int, sentence: str) -> bytes:
    """The request's body, refused as soon as it is known to be too large."""
    if (request.content_length or 0) > largest:
        raise web.HTTPRequestEntityTooLarge(largest, request.content_length or 0, text=sentence)
    content = bytearray()
    async for part in request.content.iter_chunked(2**16):
        content += part
        if len(content) > largest:
            raise web.HTTPRequestEntityTooLarge(largest, len(content), text=sentence)
    return bytes(content)


def _decoded(name: str) -> str:
    """A header's text: the page percent-encodes it."""
    return unquote(name)


def _blend(request: web.Request) -> str:
    blend = request.query.get("blend", _BLENDS[0])
    if blend not in _BLENDS:
        raise web.HTTPUnprocessableEntity(text=f"blend: choose one of {', '.join(_BLENDS)}")
    return blend


def _png(content: bytes) -> web.Response:
    return web.Response(body=content, content_type="image/png")


def _download(content: bytes, name: str, kind: str) -> web.Response:
    disposition = f"attachment; filename*=UTF-8''{quote(name)}"
    headers = {"Content-Disposition": disposition}
    return web.Response(body=content, content_type=kind, headers=headers)


def _error(status: int, sentence: str, field: str | None = None) -> web.Response:
    return web.json_response({"error": sentence, "field": field}, status=status)
