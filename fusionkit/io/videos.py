"""Read and write video files by PyAV: frames with their times, and the sound copied."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fusionkit.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = [
    "VIDEO_SUFFIXES",
    "Frame",
    "Video",
    "VideoWriter",
    "check_video_target",
    "frame_pixels",
    "load_av",
    "reason",
]

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"})
"""Suffixes, in lower case, of the files that are read as videos."""

WRITTEN = (".mkv", ".mov", ".mp4")
"""Suffixes of the videos that are written."""

_BT709, _LIMITED = 1, 1
# Whatever a container states beyond this is not the rounding of times.
_SLACK = 0.5


def load_av() -> ModuleType:
    """Import PyAV, and keep FFmpeg's own messages from the terminal.

    Raises:
        fusionkit.errors.UsageError: it is not installed.
    """
    try:
        import av
    except ImportError:
        raise UsageError("videos are read by PyAV: pip install 'image-fusionkit[video]'") from None
    av.logging.set_level(None)
    return av


def check_video_target(path: Path, *, lossless: bool) -> None:
    """Refuse a name that no video can be written to.

    Raises:
        fusionkit.errors.UsageError: another suffix than of :data:`WRITTEN`, or lossless in other files than ``.mkv``.
    """
    suffix = path.suffix.lower()
    if suffix not in WRITTEN:
        raise UsageError(f"{path}: videos are fused into a video: {did_you_mean(suffix, WRITTEN)}")
    if lossless and suffix != ".mkv":
        raise UsageError(f"{path}: --lossless is written into .mkv alone")


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    Attributes:
        time: seconds since the first frame.
        pixels: ``(H, W, C)``, C 1 or 3 in RGB order, uint8 or uint16; upright.
    """

    time: float
    pixels: NDArray[Any]


class Video:
    """A video file to read.

    Args:
        path: the file.

    Attributes:
        rate: frames per second.
        duration: seconds, as the file states; None where it does not.
        sound: whether it has sound.

    Raises:
        fusionkit.errors.UsageError: PyAV is not installed.
        fusionkit.errors.DataError: the file cannot be read, or holds no video.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as (container, stream):
            self.rate = float(stream.average_rate or stream.guessed_rate or 25)
            self.time_base: Fraction = stream.time_base or Fraction(1, 90000)
            self.sound = bool(container.streams.audio)
            if stream.duration is not None:
                self.duration: float | None = float(stream.duration * self.time_base)
            else:
                known = container.duration is not None and not self.sound
                self.duration = (container.duration or 0) / 1_000_000 if known else None

    @contextmanager
    def _open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        av = load_av()
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such file; check the name")
        try:
            with av.open(str(self.path)) as container:
                if not container.streams.video:
                    raise DataError(f"{self.path}: holds no video")
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                yield container, stream
        except (av.error.FFmpegError, OSError) as error:
            raise DataError(f"{self.path}: cannot be read as video ({reason(error)}): get the file again") from None

    def frames(self) -> Iterator[Frame]:
        """Decode all frames, in the order of their times.

        Raises:
            fusionkit.errors.DataError: the file cannot be decoded to its end, or is cut off.
        """
        av = load_av()
        first: float | None = None
        time = 0.0
        with self._open() as (container, stream):
            try:
                for frame in container.decode(stream):
                    first = frame.time or 0.0 if first is None else first
                    time = (frame.time or 0.0) - first
                    yield Frame(time, frame_pixels(frame))
            except av.error.FFmpegError as error:
                raise DataError(
                    f"{self.path}: cannot be decoded after {time:.2f} s ({reason(error)}): get the file again, "
                    "or cut it there"
                ) from None
        if first is None:
            raise DataError(f"{self.path}: holds no frame")
        end = time + 1 / self.rate
        if self.duration is not None and end < self.duration - _SLACK:
            raise DataError(
                f"{self.path}: ends after {end:.2f} s of {self.duration:.2f} s: it was cut off; get the file again"
            )

    def frames_at(self, times: Sequence[float]) -> list[Frame]:
        """Decode the first frame at or after each of some times, in seconds; those past the end are left out.

        Raises:
            fusionkit.errors.DataError: the file cannot be read.
        """
        av = load_av()
        found: list[Frame] = []
        with self._open() as (container, stream):
            start = float((stream.start_time or 0) * self.time_base)
            for wanted in times:
                container.seek(int((start + wanted) / self.time_base), stream=stream)
                try:
                    for frame in container.decode(stream):
                        if (frame.time or 0.0) - start >= wanted - 0.5 / self.rate:
                            found.append(Frame((frame.time or 0.0) - start, frame_pixels(frame)))
                            break
                except av.error.FFmpegError:
                    # Decoding from the start reports a fault with its place.
                    continue
        return found


def frame_pixels(frame: VideoFrame) -> NDArray[Any]:
    """Pixels ``(H, W, C)`` of a decoded frame, C 1 or 3 in RGB order, uint8 or uint16; upright."""
    form = frame.format
    grey = form.name.startswith("gray") or (form.name.startswith("y") and len(form.components) == 1)
    deep = max(component.bits for component in form.components) > 8
    name = ("gray16le" if deep else "gray") if grey else ("rgb48le" if deep else "rgb24")
    pixels = frame.to_ndarray(format=name)
    turns = int(getattr(frame, "rotation", 0) or 0) // 90 % 4
    if turns:
        pixels = np.rot90(pixels, turns)
    return np.ascontiguousarray(pixels if pixels.ndim == 3 else pixels[:, :, None])


def reason(error: Exception) -> str:
    """Cause of a fault as FFmpeg or the system states it, in few words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class VideoWriter:
    """Writes frames to a video file, H.264 in 4:2:0 or, without loss, FFV1.

    Use it as a context: the file appears under its name when the block ends without an error, or with
    KeyboardInterrupt, so that a stopped run leaves a video that plays to where it came.

    Args:
        path: see :func:`check_video_target`.
        size: height and width; odd sides are lengthened by a pixel for H.264, see :attr:`padded`.
        rate: frames per second that the file states; each frame keeps its own time.
        sound: the video whose sound is copied, or None.
        lossless: write FFV1.

    Attributes:
        padded: whether a row or column was added.
        sound_left_out: why the sound is not copied; "" where it is, or there is none.

    Raises:
        fusionkit.errors.DataError: the file cannot be written.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], *, rate: float, sound: Video | None = None, lossless: bool = False
    ) -> None:
        self.path, self.lossless = path, lossless
        self.padded = not lossless and bool(size[0] % 2 or size[1] % 2)
        self.sound_left_out = ""
        self._size = size if lossless else (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._rate, self._sound = rate, sound
        self._last = -1
        self._output: OutputContainer
        self._stream: Any

    def __enter__(self) -> VideoWriter:
        av = load_av()
        self._aside = self.path.with_name(f".{self.path.stem[:80]}.{os.getpid()}{self.path.suffix}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._output = av.open(str(self._aside), "w")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({reason(error)}): choose another place") from None
        rate = Fraction(self._rate).limit_denominator(100_000)
        self._stream = self._output.add_stream("ffv1" if self.lossless else "libx264", rate=rate)
        self._stream.height, self._stream.width = self._size
        self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, 90_000)
        if not self.lossless:
            self._stream.pix_fmt = "yuv420p"
            self._stream.options = {"crf": "16", "preset": "medium"}
            context = self._stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = _BT709
            context.color_range = _LIMITED
        else:
            self._stream.pix_fmt = "bgr0"
        self._copy_from = self._copied_sound()
        return self

    def _copied_sound(self) -> Any:
        if self._sound is None:
            return None
        av = load_av()
        source = av.open(str(self._sound.path))
        try:
            track = source.streams.audio[0]
            return source, track, self._output.add_stream_from_template(track)
        except (av.error.FFmpegError, ValueError, OSError) as error:
            source.close()
            self.sound_left_out = reason(error)
            return None

    def write(self, frame: Frame) -> None:
        """Encode a frame; its time is kept.

        Raises:
            fusionkit.errors.DataError: the file cannot be written.
        """
        av = load_av()
        pixels = np.broadcast_to(frame.pixels, (*frame.pixels.shape[:2], 3))
        more = [(0, whole - side) for whole, side in zip(self._size, pixels.shape[:2], strict=True)]
        if any(end for _, end in more):
            pixels = np.pad(pixels, (*more, (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        if self.lossless:
            picture = picture.reformat(format="bgr0")
        else:
            picture = picture.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED)
        self._last = max(round(frame.time * 90_000), self._last + 1)
        picture.pts, picture.time_base = self._last, Fraction(1, 90_000)
        self._encode(picture)

    def _encode(self, picture: VideoFrame | None) -> None:
        """Encode and write a frame, or with None what is left."""
        try:
            self._output.mux(self._stream.encode(picture))
        except (load_av().error.FFmpegError, OSError) as error:
            raise DataError(
                f"{self.path}: cannot be written ({reason(error)}): free space or choose another place"
            ) from None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None or issubclass(kind, KeyboardInterrupt):
                self._encode(None)
                self._write_sound()
                self._output.close()
                if self._last >= 0:
                    os.replace(self._aside, self.path)
            else:
                self._output.close()
        finally:
            if self._copy_from is not None:
                self._copy_from[0].close()
            self._aside.unlink(missing_ok=True)

    def _write_sound(self) -> None:
        if self._copy_from is None:
            return
        source, track, target = self._copy_from
        until = self._last / 90_000 + 1 / self._rate
        for packet in source.demux(track):
            if packet.dts is None:
                continue
            if float(packet.pts * packet.time_base) > until:
                break
            packet.stream = target
            self._output.mux(packet)
