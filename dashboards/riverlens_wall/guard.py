"""What every answer carries, and which requests get none: other sites must not read the cameras. Shell.

A page elsewhere could open our WebSocket from the same browser, or rebind its own name to 127.0.0.1. So
the Host must be an address, localhost or an allowed name, and an Origin must be that same Host.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_allowed(host: str, origin: str | None, names: Collection[str]) -> bool:
    """Whether a request with these headers comes from our own page. `names`: allowed host names."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower() if _is_plain(host) else ""
        ours = origin is None or urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:  # half a bracket, as in http://[
        return False
    return ours and (name == "localhost" or name in names or _is_address(name))


def _is_plain(host: str) -> bool:
    return bool(host) and not set(host) & set("/?#@\\ ")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def guard(names: Collection[str]) -> Middleware:
    """The middleware: refuses foreign requests, adds the headers to all answers."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_allowed(request.host, request.headers.get("Origin"), names):
            return _refusal(request.host)
        try:
            return await handler(request)
        except web.HTTPException as error:
            error.headers.update(HEADERS)
            raise

    return check


def _refusal(host: str) -> web.Response:
    name = "".join(char for char in host[:100] if char.isprintable())
    return web.Response(
        status=403,
        headers=HEADERS,
        text=f"this wall is not known as {name!r}: open it by its address, or see --allowed-hosts\n",
    )


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`: WebSockets and files get the headers too."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
