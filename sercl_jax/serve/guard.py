"""Who may ask, and what a browser may do with the page."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "::1")

# Nothing from elsewhere, nothing inline, in no other page; sound that the page itself made may be played.
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
          "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
_HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
            "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
            "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store"}


class Guard:
    """Middleware around a whole application.

    Args:
      hosts: names that requests may call this server by; None means any. A page elsewhere whose name is made to
        point to this machine ("DNS rebinding") calls it by its own.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], hosts: tuple[str, ...] | None):
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                headers.update(_HEADERS)
            await send(message)

        status, words = self._objection(Headers(scope=scope))
        if words:
            await JSONResponse({"error": words}, status)(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    def _objection(self, headers: Headers) -> tuple[int, str]:
        host = headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            return 400, f"This server answers as {', '.join(self._hosts)} only, not as {host[:100]!r}."
        # Browsers say which page a request comes from; programs do not.
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, f"The page {origin[:100]!r} may not use this server; open the server's own page."
        return 200, ""


def _name(host: str) -> str:
    """The host of `HOST:PORT` or `[HOST]:PORT`, lower case; "" if it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
