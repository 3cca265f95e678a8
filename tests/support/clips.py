"""Small video files to test with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_clip(path: Path, frames: Sequence[Any], *, rate: int = 10, sound: bool = False) -> Path:
    """Write frames without loss (FFV1): ``(H, W)`` uint8 or uint16, or ``(H, W, 3)`` uint8 RGB; a tone may go along."""
    import av

    grey, deep = frames[0].ndim == 2, frames[0].dtype == np.uint16
    given = ("gray16le" if deep else "gray") if grey else "rgb24"
    stored = given if grey else "bgr0"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = stored
        audio = container.add_stream("aac", rate=44100) if sound else None
        if audio is not None:
            audio.layout = "mono"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=given).reformat(format=stored)))
        container.mux(stream.encode(None))
        if audio is not None:
            samples = np.sin(0.06 * np.arange(44100 * len(frames) // rate)).astype(np.float32)
            for start in range(0, len(samples), 1024):
                part = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
                part.sample_rate, part.pts = 44100, start
                container.mux(audio.encode(part))
            container.mux(audio.encode(None))
    return path


def read_clip(path: Path) -> list[tuple[float, Any]]:
    """Decode a clip: time and ``(H, W, 3)`` uint8 RGB of each frame."""
    import av

    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
