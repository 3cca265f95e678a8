"""Shows frames as Motion JPEG to browsers of this machine."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any

from numpy.typing import NDArray

from fusionkit.errors import UsageError
from fusionkit.io.codecs import encode

__all__ = ["MjpegServer"]

_PAGE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>fusionkit live</title>
<style>html,body{margin:0;height:100%;background:#111}img{width:100%;height:100%;object-fit:contain}</style>
<img src="/stream" alt="the fused stream">"""
_PATIENCE = 1.0


class MjpegServer:
    """Serves a page with the newest frame, at 127.0.0.1 alone. Use it as a context.

    Args:
        port: 0 chooses a free one.

    Attributes:
        url: where the page is.

    Raises:
        fusionkit.errors.UsageError: the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._news = Condition()
        self._jpeg = b""
        self._number = 0
        self.open = True
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        except OSError as error:
            raise UsageError(f"--port {port}: cannot be opened ({error.strerror}): choose another") from None
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> MjpegServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._news:
            self.open = False
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def show(self, pixels: NDArray[Any]) -> None:
        """Make ``(H, W, C)`` uint8 the newest frame."""
        jpeg = b"".join(encode(pixels, ".jpg", exif=None, orientation=1, icc=None))
        with self._news:
            self._jpeg, self._number = jpeg, self._number + 1
            self._news.notify_all()

    def after(self, number: int) -> tuple[int, bytes]:
        """Wait for a frame after a number; the last one again if none comes in a second."""
        with self._news:
            self._news.wait_for(lambda: self._number > number or not self.open, _PATIENCE)
            return self._number, self._jpeg

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the library's name
                if self.path == "/":
                    self._send("text/html; charset=utf-8", _PAGE)
                elif self.path == "/stream":
                    self._stream()
                else:
                    self.send_error(404)

            def _send(self, kind: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def _stream(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                number = 0
                try:
                    while server.open:
                        number, jpeg = server.after(number)
                        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                except ConnectionError:
                    pass  # the page was closed

            def log_message(self, *_: object) -> None:
                pass

        return Handler
