"""Live streams: newest frames without delay, drops that are counted, stalls that are said, and bad sources."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path
from threading import Condition
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import fusionkit
from fusionkit.cli import main
from fusionkit.contracts import Fuser
from fusionkit.errors import DataError, FusionNote, UsageError
from fusionkit.fuse.aligning import Aligning
from fusionkit.fuse.live import LivePlan, fuse_live
from fusionkit.fuse.model import Model
from fusionkit.fuse.reading import Reading
from fusionkit.io.live_streams import LiveStream
from fusionkit.io.mjpeg_server import MjpegServer
from fusionkit.io.ranges import parse_range
from fusionkit.io.videos import Frame
from tests.support.clips import read_clip, write_clip
from tests.support.senders import Sender

pytest.importorskip("av")
SIZE = (48, 64)


def _flat(level: int, size: tuple[int, int] = SIZE) -> Any:
    return np.full((*size, 3), level, np.uint8)


def _grainy(level: int) -> list[Any]:
    """Frames of a mean level that take some kilobytes, as a camera's do."""
    draw = np.random.default_rng(level)
    return [draw.integers(level - 30, level + 31, (96, 128, 3)).astype(np.uint8) for _ in range(5)]


def _average() -> Model:
    return fusionkit.load("average", device="cpu", stretch="none")


class _Slow(Fuser):
    """Average that takes a tenth of a second."""

    def forward(self, *sources: torch.Tensor) -> torch.Tensor:
        time.sleep(0.1)
        return torch.stack(sources).mean(0)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["live", *map(str, arguments)])


def test_files_play_at_their_pace_and_end(tmp_path: Path) -> None:
    a = write_clip(tmp_path / "a.mkv", [_flat(40)] * 10)
    b = write_clip(tmp_path / "b.mkv", [_flat(80)] * 10)
    shown: list[Frame] = []
    began = time.monotonic()
    with pytest.warns(FusionNote, match="has ended"):
        status = fuse_live(_average(), LivePlan((str(a), str(b))), lambda frame: not shown.append(frame))  # type: ignore[func-returns-value]
    assert time.monotonic() - began > 0.8, "a file is not read faster than it plays"
    assert status.fused == len(shown) >= 2
    assert all((frame.pixels == 60).all() for frame in shown)


def test_two_network_streams_are_fused_without_delay() -> None:
    with Sender(_grainy(40)) as a, Sender(_grainy(120)) as b:
        levels: list[float] = []

        def show(frame: Frame) -> bool:
            levels.append(float(frame.pixels.mean()))
            return len(levels) < 30

        status = fuse_live(_average(), LivePlan((a.url, b.url)), show)
    assert status.fused == 30
    assert np.abs(np.array(levels) - 80).max() < 3
    assert status.rate > 0
    assert status.latency > 0


def test_frames_are_dropped_rather_than_delayed(tmp_path: Path) -> None:
    a = write_clip(tmp_path / "a.mkv", [_flat(k) for k in range(0, 200, 2)], rate=50)
    b = write_clip(tmp_path / "b.mkv", [_flat(0)] * 100, rate=50)
    seen: list[tuple[float, float]] = []

    def show(frame: Frame) -> bool:
        seen.append((frame.time, 2 * float(frame.pixels.mean())))
        return True

    with pytest.warns(FusionNote, match="has ended"):
        status = fuse_live(Model(_Slow(), name="slow", stretch="none"), LivePlan((str(a), str(b))), show)
    assert 2 <= status.fused <= 22, "a fusing takes a tenth of the two seconds"
    assert 100 - status.fused - 3 <= status.dropped[0] <= 100 - status.fused
    assert status.latency > 0.09
    # The level of a frame is a hundred times its time: what is shown is what was there one fusing before.
    late = [when - level / 100 for when, level in seen[3:]]
    assert max(late) - min(late) < max(0.25, 4 * status.latency), "the delay does not grow"


def test_a_stalled_source_is_said_and_taken_up_again() -> None:
    with (
        Sender(_grainy(40), count=110) as a,
        Sender(_grainy(120), count=60, silence=(15, 1.8)) as b,
        pytest.warns(FusionNote) as notes,
    ):
        status = fuse_live(_average(), LivePlan((a.url, b.url), seconds=4.0), lambda _: True)
    said = [str(note.message) for note in notes]
    assert any(line.startswith(f"{b.url}: no frame for ") for line in said)
    assert any(line.startswith(f"{b.url}: goes on") for line in said)
    assert status.fused > 25, "the other source was fused on"


def test_the_stream_that_stalls_may_be_the_leading_one() -> None:
    with (
        Sender(_grainy(40), count=40, silence=(20, 30.0)) as a,
        Sender(_grainy(120), count=110) as b,
        pytest.warns(FusionNote, match="no frame for"),
    ):
        status = fuse_live(_average(), LivePlan((a.url, b.url), seconds=3.5), lambda _: True)
    assert status.fused > 25


def test_a_given_transform_is_used_in_every_frame(tmp_path: Path) -> None:
    scene = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8), (0, 0), 2)
    matrix = np.array([[1.0, 0, 3], [0, 1, 2], [0, 0, 1]])
    a = write_clip(tmp_path / "a.mkv", [scene] * 8)
    b = write_clip(tmp_path / "b.mkv", [np.zeros((60, 80), np.uint8)] * 8)
    shown: list[Any] = []
    plan = LivePlan((str(a), str(b)), aligning=Aligning("auto", 1, "folder", (matrix, None)))
    fuse_live(_average(), plan, lambda frame: shown.append(frame.pixels) or len(shown) < 3)  # type: ignore[func-returns-value]
    known = scene[2:, 3:].astype(float) / 2
    for pixels in shown:
        assert np.abs(pixels[:58, :77, 0] - known).max() <= 1


def test_a_range_follows_slowly(tmp_path: Path) -> None:
    low = np.meshgrid(np.linspace(27000, 27500, 64), np.ones(48))[0].astype(np.uint16)
    high = (low + 600).astype(np.uint16)
    a = write_clip(tmp_path / "a.mkv", [low] * 10 + [high] * 30, rate=20)
    b = write_clip(tmp_path / "b.mkv", [np.zeros((48, 64), np.uint8)] * 40, rate=20)
    means: list[float] = []
    reading = Reading((parse_range("minmax", option="range"), parse_range("full", option="range")))
    with pytest.warns(FusionNote, match="has ended"):
        fuse_live(
            fusionkit.load("maximum", device="cpu", stretch="none"),
            LivePlan((str(a), str(b)), reading),
            lambda frame: not means.append(float(frame.pixels.mean())),  # type: ignore[func-returns-value]
        )
    assert means[0] == pytest.approx(127.5, abs=3)
    assert max(means) > 200, "a sudden change is not stretched away at once"
    assert means[-1] < max(means) - 20, "and followed within seconds"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("a.mkv", "gone.mkv"), "gone.mkv: no such file; a camera is named by its number"),
        (("a.mkv", "text.mp4"), "text.mp4: cannot be read"),
        (("a.mkv", "big.mkv"), "sources differ in size"),
        (("a.mkv", "9"), "9: cannot be read"),
    ],
)
def test_bad_sources_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_clip(Path("a.mkv"), [_flat(1)] * 4)
    write_clip(Path("big.mkv"), [_flat(1, (64, 64))] * 4)
    Path("text.mp4").write_text("no video")
    result = _run("-m", "average", "-a", given[0], "-b", given[1], "-o", "f.mp4", "--show", "none")
    assert result.exit_code == 4
    assert says in result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("error")]) == 1
    assert not Path("f.mp4").exists()


def test_the_command_writes_what_it_fused(tmp_path: Path) -> None:
    a = write_clip(tmp_path / "a.mkv", [_flat(40)] * 20)
    b = write_clip(tmp_path / "b.mkv", [_flat(80)] * 20)
    result = _run("-m", "average", "-a", a, "-b", b, "-o", tmp_path / "f.mp4", "--show", "none")
    assert result.exit_code == 0, result.output
    assert "frames per second, latency" in result.stderr
    assert "dropped" in result.stderr
    made = read_clip(tmp_path / "f.mp4")
    assert len(made) >= 2
    assert abs(float(made[1][1].mean()) - 60) < 2
    again = _run("-m", "average", "-a", a, "-b", b, "-o", tmp_path / "f.mp4", "--show", "none")
    assert again.exit_code == 2
    assert "is there already" in again.stderr


def test_a_model_with_weights_is_fused_at_its_fast_speed(tmp_path: Path) -> None:
    scenes = [
        cv2.GaussianBlur(np.random.default_rng(k).integers(0, 256, SIZE, dtype=np.uint8), (0, 0), 3) for k in (0, 1)
    ]
    sources = [write_clip(tmp_path / f"{k}.mkv", [scene] * 5) for k, scene in enumerate(scenes)]
    target = tmp_path / "f.mp4"
    result = _run("--task", "ivif", "-a", sources[0], "-b", sources[1], "-o", target, "--show", "none")
    assert result.exit_code == 0, result.output
    known = fusionkit.load("refusion:ivif", device="cpu", speed="quarter").fuse(*scenes).array()
    made = read_clip(target)[-1][1][..., 0].astype(float)
    assert np.abs(made - known.reshape(SIZE)).mean() < 3


def test_wrong_options_are_one_line(tmp_path: Path) -> None:
    for given, says in {
        ("--show", "none"): "name a video to write",
        ("-o", "f.gif"): "videos are fused into a video",
        ("-o", "f.mp4", "--align", "auto", "--resize"): "leave one out",
        ("-o", "f.mp4", "--range-a", "5,1"): "--range-a",
    }.items():
        result = _run("-m", "average", "-a", "x", "-b", "y", *given)
        assert result.exit_code == 2, given
        assert says in result.stderr


def test_browsers_see_the_newest_frame() -> None:
    with MjpegServer() as server:
        assert server.url.startswith("http://127.0.0.1:")
        server.show(_flat(10))
        server.show(_flat(200))
        with urllib.request.urlopen(server.url) as page:
            assert b'src="/stream"' in page.read()
        with urllib.request.urlopen(f"{server.url}/stream", timeout=5) as stream:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += stream.read(1)
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            picture = cv2.imdecode(np.frombuffer(stream.read(length), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert abs(float(picture.mean()) - 200) < 2
    with MjpegServer() as one, pytest.raises(UsageError, match="--port"):
        MjpegServer(int(one.url.rpartition(":")[2]))


def test_a_window_needs_a_display(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    a = write_clip(tmp_path / "a.mkv", [_flat(40)] * 3)
    result = _run("-m", "average", "-a", a, "-b", a, "--show", "window")
    assert result.exit_code == 2
    assert "use --show browser" in result.stderr


def test_a_source_that_never_sends_is_named() -> None:
    with (
        Sender(_grainy(40), count=30, silence=(0, 9.0)) as late,
        Sender(_grainy(40), count=90) as there,
        pytest.raises(DataError, match=f"{late.url}: no frame in 2 s"),
    ):
        fuse_live(_average(), LivePlan((there.url, late.url), patience=2.0), lambda _: True)


def test_a_port_that_nobody_opens_is_named_with_the_cause(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", [_flat(40)] * 30)
    with pytest.raises(
        DataError, match=r"tcp://127.0.0.1:9: no frame in 1 s \(Connection refused\): check that it sends"
    ):
        fuse_live(_average(), LivePlan((str(clip), "tcp://127.0.0.1:9"), patience=1.0), lambda _: True)


def test_a_stream_keeps_the_newest_frame_alone(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", [_flat(k) for k in range(20)], rate=100)
    news = Condition()
    with LiveStream(str(clip), news) as stream:
        with news:
            assert news.wait_for(lambda: stream.ended, 5)
        assert stream.newest is not None
        assert stream.newest.number == 20
        assert abs(float(stream.newest.frame.pixels.mean()) - 19) < 1
