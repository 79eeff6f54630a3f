"""The page's own files: read once, served from memory by their exact names. Shell."""

from __future__ import annotations

from importlib.resources import files

from aiohttp import web

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class Pages:
    """What lies in `static/`; nothing else can be asked for."""

    def __init__(self) -> None:
        folder = files("riverlens_wall") / "static"
        self._files = {
            entry.name: entry.read_bytes()
            for entry in folder.iterdir()
            if "." in entry.name and f".{entry.name.rpartition('.')[2]}" in _TYPES
        }

    async def index(self, _: web.Request) -> web.Response:
        """The page."""
        return self._answer("index.html")

    async def file(self, request: web.Request) -> web.Response:
        """One of its files."""
        name = request.match_info["name"]
        if name not in self._files:
            raise web.HTTPNotFound
        return self._answer(name)

    def _answer(self, name: str) -> web.Response:
        mime = _TYPES[f".{name.rpartition('.')[2]}"]
        # A browser asks again each time: after an update old and new files must not mix.
        headers = {"Cache-Control": "no-cache"}
        return web.Response(body=self._files[name], content_type=mime, charset="utf-8", headers=headers)
