"""Frames per second, latency and dropped frames of live streams.

    python -m benchmarks.live --data DATA [--task ivif] [--seconds 10] [--rate 25] [--threads 2] [--model refusion ...]

Makes two H.264 clips of 640x480 of the first test pairs, sends both over TCP at their own pace, and fuses them as
'fusionkit live' does, method by method. Decoding two streams, and encoding the result as JPEG for a browser, is in the
times.
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
import time
import warnings
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import fusionkit
from fusionkit.data.pair_finding import find_pairs
from fusionkit.errors import UsageError
from fusionkit.fuse.live import LivePlan, LiveStatus, fuse_live
from fusionkit.fuse.model import Model
from fusionkit.io.images import read_image
from fusionkit.io.mjpeg_server import MjpegServer
from fusionkit.io.videos import Frame, VideoWriter
from fusionkit.plugins import catalogue

SIZE = (640, 480)


def make_clips(data: str, task: str, folder: Path, *, frames: int, rate: int) -> list[Path]:
    """Write one clip per source: the pairs change once a second, and move to the side by a pixel per frame."""
    pairs = find_pairs(data, catalogue.tasks.get(task), split="test")[:8]
    clips = []
    for source in range(2):
        pictures = []
        for pair in pairs:
            pixels = read_image(pair.files[source]).pixels
            pixels = np.repeat(pixels, 3, 2) if pixels.shape[2] == 1 else pixels
            pictures.append(cv2.resize(pixels, SIZE, interpolation=cv2.INTER_AREA))
        clip = folder / f"source{source}.mp4"
        with VideoWriter(clip, SIZE[::-1], rate=rate) as writer:
            for k in range(frames):
                writer.write(Frame(k / rate, np.roll(pictures[k // rate % len(pictures)], k % rate, 1)))
        clips.append(clip)
    return clips


class Sender:
    """Sends a clip over TCP as MPEG-TS at its own pace, without encoding it again."""

    def __init__(self, clip: Path) -> None:
        self._clip = clip
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        Thread(target=self._send, daemon=True).start()

    def _send(self) -> None:
        import av

        connection, _ = self._listening.accept()
        file = connection.makefile("wb", buffering=0)
        try:
            with (
                av.open(str(self._clip)) as clip,
                av.open(file, "w", format="mpegts", options={"flush_packets": "1"}) as sent,
            ):
                stream = sent.add_stream_from_template(clip.streams.video[0])
                began = time.monotonic()
                for packet in clip.demux(video=0):
                    if packet.dts is None:
                        continue
                    time.sleep(max(0.0, began + float(packet.dts * packet.time_base) - time.monotonic()))
                    packet.stream = stream
                    sent.mux(packet)
        except (OSError, av.error.FFmpegError):
            pass  # the benchmark has ended
        finally:
            connection.close()


def measure(model: Model, clips: list[Path], seconds: float) -> LiveStatus:
    """Fuse for some seconds."""
    senders = [Sender(clip) for clip in clips]
    with MjpegServer() as server, warnings.catch_warnings():
        warnings.simplefilter("ignore")

        def show(frame: Frame) -> bool:
            server.show(frame.pixels)
            return True

        return fuse_live(model, LivePlan(tuple(sender.url for sender in senders), seconds=seconds), show)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", required=True)
    options.add_argument("--task", default="ivif")
    options.add_argument("--model", action="append")
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--rate", type=int, default=25)
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    cv2.setNumThreads(given.threads)
    print(f"{given.threads} threads, 640x480, two streams of {given.rate} frames per second\n")
    print("| method | speed | frames per second | latency | dropped |")
    print("| --- | --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(
            given.data, given.task, Path(folder), frames=round((given.seconds + 6) * given.rate), rate=given.rate
        )
        for name in given.model or ["refusion", "laplacian", "gff", "average"]:
            for speed in ("exact", "half", "quarter", "eighth"):
                try:
                    model = fusionkit.load(name, given.task, device="cpu", speed=speed)
                except UsageError:
                    continue
                learned = any(True for _ in model.method.parameters())
                if speed != "exact" and not learned:
                    continue
                status = measure(model, clips, given.seconds)
                share = status.dropped[0] / max(status.dropped[0] + status.fused, 1)
                speeds = f"{status.rate:.1f} | {1000 * status.latency:.0f} ms | {share:.0%}"
                print(f"| `{name}` | {speed} | {speeds} |", flush=True)


if __name__ == "__main__":
    main()
