"""Checks of every request before it is answered: from this machine's page, and not too large."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["POLICY", "RequestChecks", "TooLarge", "too_large"]

_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
"""Names by which a browser on this machine, or one that is forwarded to it, calls the server."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content policy of the page: nothing comes from elsewhere, and nothing goes there."""

_HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class TooLarge(Exception):
    """A request with more bytes than are taken."""


def too_large(megabytes: int) -> str:
    """Say that an upload is too large, and what to do."""
    return f"the images are larger than {megabytes} MB together: send fewer, or start the page with --max-upload"


class RequestChecks:
    """Refuse requests under a foreign name, from a foreign page, or with too many bytes; add the headers of safety.

    A page elsewhere can make a browser send requests to this machine, by its own name if its DNS says so. Such a
    request tells a foreign Host or Origin.

    Args:
        app: what answers the other requests. Reading a body that grows too large raises :class:`TooLarge` in it.
        most: most bytes of a request.
    """

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        fault = self._fault(scope)
        if fault:
            await JSONResponse({"error": fault}, 403)(scope, receive, send_safely)
            return
        headers = Headers(scope=scope)
        told = headers.get("content-length", "0")
        if not told.isdecimal() or int(told) > self._most:
            refusal = JSONResponse({"error": too_large(self._most // 1_000_000)}, 413)
            await refusal(scope, receive, send_safely)
            return
        seen = 0

        async def receive_some() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._most:
                    raise TooLarge
            return message

        await self._app(scope, receive_some, send_safely)

    def _fault(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if (host if host.endswith("]") else host.rpartition(":")[0] or host) not in _HOSTS:
            return "this server answers as 127.0.0.1 and localhost alone"
        origin = headers.get("origin")
        foreign = origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}")
        if foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return "requests of other pages are refused"
        return ""
