"""The pages: small server-rendered shells around the modules under static/."""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable
from functools import wraps
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.templating import Jinja2Templates

from live.people.queries import has_staff
from live.protocol.codes import Refusal
from live.rooms import queries
from live.settings import Settings

# Not in every system's table; a browser refuses a module or a playlist of the wrong type.
_KINDS = {".m3u8": "application/vnd.apple.mpegurl", ".ts": "video/mp2t", ".mjs": "text/javascript", ".js": "text/javascript"}
for _end, _kind in _KINDS.items():
    mimetypes.add_type(_kind, _end)


def static_folder() -> Path:
    """The pages' files: inside an installed wheel, else the checkout's."""
    packed = Path(str(files("live"))) / "_static"
    return packed if packed.is_dir() else Path(__file__).resolve().parents[2] / "static"


# Of this very machine. The shop has one of them in its address, and a page of the other is foreign to its doors and sockets.
_NAMES = {"localhost": "127.0.0.1", "127.0.0.1": "localhost"}
Page = Callable[[Request], Awaitable[Response]]
_templates = Jinja2Templates(directory=static_folder())


def language(request: Request) -> str:
    """zh unless the visitor asked otherwise: `?lang=`, else the cookie, else the browser's first language."""
    asked = request.query_params.get("lang") or request.cookies.get("lang")
    if asked in ("zh", "en"):
        return asked
    return "en" if request.headers.get("accept-language", "").lower().startswith("en") else "zh"


def _page(request: Request, name: str, status: int = 200, **facts: Any) -> Response:
    config: Settings = request.state.settings
    around = {"nonce": request.state.nonce, "lang": language(request), "demo": config.env == "demo"}
    return _templates.TemplateResponse(request, f"{name}/index.html", around | facts, status_code=status)


def at_home(page: Page) -> Page:
    """The page, for whoever has typed the other name of this machine at the address where it works."""

    @wraps(page)
    async def found(request: Request) -> Response:
        home = urlsplit(request.state.settings.web_url)
        there = _NAMES.get(home.hostname or "")
        if there and request.headers.get("host", "").lower() == home.netloc.replace(home.hostname or "", there, 1):
            return RedirectResponse(str(request.url.replace(scheme=home.scheme, netloc=home.netloc)), 307)
        return await page(request)

    return found


async def start(request: Request) -> Response:
    """GET /: the rooms, and where the staff goes in."""
    async with request.state.db.begin() as session:
        found = await queries.rooms(session)
        owned = await has_staff(session)
    rooms = [{"id": room.id, "title": {"zh": room.title_zh, "en": room.title_en}, "phase": room.phase} for room in found]
    return _page(request, "index", rooms=rooms, demo_logins=_demo_logins(request), owned=owned)


def _demo_logins(request: Request) -> list[dict[str, str]]:
    """Accounts of the demo, for its own start page only."""
    if request.state.settings.env != "demo":
        return []
    from live.demo.seed import logins

    return logins()


async def room(request: Request) -> Response:
    """GET /room/{id}: what a viewer sees."""
    try:
        async with request.state.db.begin() as session:
            found = await queries.room(session, request.path_params["room"])
    except Refusal:
        return not_found(request)
    return _page(request, "room", room_id=found.id)


async def console(request: Request) -> Response:
    """GET /console and /console/{id}: the host's."""
    return _page(request, "console", room_id=request.path_params.get("room", ""))


async def plain(request: Request) -> Response:
    """GET /store, /hq, /login."""
    return _page(request, request.url.path.strip("/"))


def not_found(request: Request) -> Response:
    """A page that says so, and where to go."""
    return _page(request, "missing", status=404)


async def favicon(request: Request) -> Response:
    """GET /favicon.ico, which browsers ask for whatever the page says."""
    return RedirectResponse("/static/shared/favicon.svg", 308)


async def media(request: Request) -> Response:
    """GET /media/…: pictures and the demo's video, under the home folder."""
    folder = (request.state.settings.home / "media").resolve()
    try:
        wanted = (folder / request.path_params["path"]).resolve()
        found = wanted.is_relative_to(folder) and wanted.is_file()
    except (OSError, ValueError):  # a name longer than the file system's, or with NUL in it
        found = False
    if not found:
        raise HTTPException(404)
    return FileResponse(wanted)


def routes(config: Settings) -> list[BaseRoute]:
    """Every page, and the files they load."""
    return [
        Route("/", at_home(start)),
        Route("/room/{room}", at_home(room)),
        Route("/console", at_home(console)),
        Route("/console/{room}", at_home(console)),
        Route("/store", at_home(plain)),
        Route("/hq", at_home(plain)),
        Route("/login", at_home(plain)),
        Route("/favicon.ico", favicon),
        Route("/media/{path:path}", media),
        Mount("/static", StaticFiles(directory=static_folder())),
    ]
