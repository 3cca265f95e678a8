"""Streams to test with: a thread that sends frames over TCP as MPEG-TS, and may fall silent."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from threading import Event, Thread
from typing import Any

import numpy as np


class _Writing:
    """A socket as PyAV writes to it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def write(self, data: bytes) -> int:
        self._connection.sendall(data)
        return len(data)


class Sender:
    """Sends frames ``(H, W, 3)`` uint8, over and over, to the first program that connects to :attr:`url`.

    Args:
        frames: what is sent.
        rate: frames per second.
        count: how many frames in all.
        silence: after which frame nothing is sent for a time, and the seconds of it; or None.
    """

    def __init__(
        self, frames: Sequence[Any], *, rate: int = 25, count: int = 75, silence: tuple[int, float] | None = None
    ) -> None:
        self.frames, self.rate, self.count, self.silence = frames, rate, count, silence
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(10)
        self.url = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self._stop = Event()
        self._thread = Thread(target=self._send, daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._listening.close()
        self._thread.join(timeout=10)

    def _send(self) -> None:
        import av

        try:
            connection, _ = self._listening.accept()
            at_once = {"flush_packets": "1"}
            with connection, av.open(_Writing(connection), "w", format="mpegts", options=at_once) as container:
                stream = container.add_stream("mpeg2video", rate=self.rate)
                stream.height, stream.width = self.frames[0].shape[:2]
                stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
                stream.options = {"g": "1"}
                began = time.monotonic()
                for k in range(self.count):
                    if self.silence and k == self.silence[0]:
                        self._stop.wait(self.silence[1])
                        began += self.silence[1]
                    self._stop.wait(max(0.0, began + k / self.rate - time.monotonic()))
                    if self._stop.is_set():
                        return
                    frame = av.VideoFrame.from_ndarray(
                        np.ascontiguousarray(self.frames[k % len(self.frames)]), format="rgb24"
                    )
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
        except (OSError, ValueError, av.error.FFmpegError):
            pass  # nobody listens any more
