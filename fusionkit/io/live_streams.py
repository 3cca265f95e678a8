"""Streams that do not wait: cameras, network streams, pipes, files at their own pace; the newest frame is kept."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any

from fusionkit.errors import DataError
from fusionkit.io.videos import Frame, frame_pixels, load_av, reason

__all__ = ["LiveFrame", "LiveStream"]

_REOPENED_AFTER = 0.5
# FFmpeg looks into a network stream for up to 5 s before it gives the first frame, and then is late by that.
_AT_ONCE = {"probesize": "500000", "analyzeduration": "200000"}
_CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """The newest frame of a stream.

    Attributes:
        number: how many frames the stream has delivered up to this one, from 1.
        arrived: ``time.monotonic()`` when it was decoded.
        frame: its pixels, and its time in the stream.
    """

    number: int
    arrived: float
    frame: Frame


class LiveStream:
    """Decodes a stream in a thread of its own. Frames that are not taken in time are dropped, so that none is late.

    Use it as a context. A file plays at its own pace. A network stream that is not there yet, ends or
    breaks is opened again.

    Args:
        source: number of a camera, file, URL (``rtsp://``, ``http://``, ``tcp://``, ``udp://``), or ``-`` for the
            standard input.
        news: notified at each frame and at the end; shared by the streams that are read together.

    Attributes:
        newest: the newest frame, or None before the first.
        rate: frames per second as the stream states them, 25 before it is open.
        ended: the stream is over: its file has ended, or it cannot be read.
        fault: why it could not be read when it was opened last; "" otherwise.
        reopened: how often a network stream was opened again.
    """

    def __init__(self, source: str, news: Condition) -> None:
        self.source, self._news = source, news
        self.newest: LiveFrame | None = None
        self.rate = 25.0
        self.ended = False
        self.fault = ""
        self.reopened = 0
        self._stop = Event()
        self._is_file = "://" not in source and source != "-" and not source.isdigit()
        if self._is_file and not Path(source).exists():
            raise DataError(f"{source}: no such file; a camera is named by its number, a network stream by its URL")
        load_av()
        self._thread = Thread(target=self._run, name=f"stream {source}", daemon=True)

    def __enter__(self) -> LiveStream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=2.0)

    def _run(self) -> None:
        av = load_av()
        while not self._stop.is_set():
            fault = ""
            try:
                self._play()
            except (av.error.FFmpegError, OSError, ValueError) as error:
                fault = reason(error)
            if self._stop.is_set():
                return
            with self._news:
                self.fault, self.ended = fault, "://" not in self.source
                self._news.notify_all()
            if self.ended:
                return
            self.reopened += 1
            self._stop.wait(_REOPENED_AFTER)

    def _play(self) -> None:
        with self._open() as container:
            if not container.streams.video:
                raise ValueError("it holds no video")
            stream = container.streams.video[0]
            # Several frames are decoded side by side otherwise, each late by as many.
            stream.thread_type = "SLICE"
            self.rate = float(stream.average_rate or stream.guessed_rate or 25)
            began, first = time.monotonic(), None
            for picture in container.decode(stream):
                moment = picture.time or 0.0
                first = moment if first is None else first
                if self._is_file:
                    self._stop.wait(max(0.0, began + moment - first - time.monotonic()))
                if self._stop.is_set():
                    return
                pixels = frame_pixels(picture)
                with self._news:
                    number = self.newest.number + 1 if self.newest else 1
                    self.newest = LiveFrame(number, time.monotonic(), Frame(moment - first, pixels))
                    self._news.notify_all()

    def _open(self) -> Any:
        av = load_av()
        if self.source.isdigit():
            form = _CAMERA_FORMATS.get(sys.platform, "v4l2")
            place = {"v4l2": f"/dev/video{self.source}", "avfoundation": self.source}.get(form, f"video={self.source}")
            return av.open(place, format=form)
        if self.source == "-":
            return av.open(sys.stdin.buffer)
        # Cameras in a network send over UDP where they may; over TCP no part of a frame is lost.
        sent = {"rtsp_transport": "tcp"} if self.source.startswith("rtsp://") else {}
        return av.open(self.source, options={} if self._is_file else {**_AT_ONCE, **sent})
