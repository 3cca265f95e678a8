"""Fused videos: each frame as its images are fused, in time, steady, and nothing half-written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

import fusionkit
from fusionkit.cli import main
from fusionkit.errors import DataError, FusionNote
from fusionkit.fuse.model import Model
from fusionkit.fuse.reading import Reading
from fusionkit.fuse.video import VideoPlan, fuse_videos
from fusionkit.io.ranges import parse_range
from fusionkit.io.videos import Frame, VideoWriter
from tests.support.clips import read_clip, write_clip

av = pytest.importorskip("av")

SIZE = (48, 64)


def _scene(seed: int, *, colour: bool = False, size: tuple[int, int] = SIZE) -> Any:
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3) if colour else size, dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 10, 240, cv2.NORM_MINMAX)


def _moving(scene: Any, count: int) -> list[Any]:
    return [np.roll(scene, k, 1) for k in range(count)]


def _model(name: str = "average", stretch: Any = "none") -> Model:
    return fusionkit.load(name, device="cpu", stretch=stretch)


def _flat(level: int) -> Any:
    return np.full(SIZE, level, np.uint8)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    infrared = write_clip(tmp_path / "ir.mkv", _moving(_scene(0), 6))
    return infrared, write_clip(tmp_path / "vi.mkv", _moving(_scene(1, colour=True), 6), sound=True)


def test_each_frame_is_what_its_images_give(pair: tuple[Path, Path], tmp_path: Path) -> None:
    frames, length = fuse_videos(_model(), VideoPlan(pair, tmp_path / "f.mkv", lossless=True))
    assert (frames, length) == (6, pytest.approx(0.6))
    made = read_clip(tmp_path / "f.mkv")
    assert [time for time, _ in made] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    for (_, fused), a, b in zip(made, _moving(_scene(0), 6), _moving(_scene(1, colour=True), 6), strict=True):
        assert np.array_equal(fused, _model().fuse(a, b).array())


def test_h264_holds_bt709_as_it_states(tmp_path: Path) -> None:
    colour = np.array([200, 90, 30], np.uint8)
    clip = write_clip(tmp_path / "c.mkv", [np.broadcast_to(colour, (*SIZE, 3)).copy()] * 2)
    fuse_videos(_model(), VideoPlan((clip, clip), tmp_path / "f.mp4"))
    with av.open(str(tmp_path / "f.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.format.name, int(frame.colorspace), int(frame.color_range)) == ("yuv420p", 1, 1)
        planes = [np.frombuffer(plane, np.uint8)[:8] for plane in frame.planes]
    red, green, blue = colour / 255
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    wanted = (16 + 219 * y, 128 + 224 * (blue - y) / 1.8556, 128 + 224 * (red - y) / 1.5748)
    for plane, value in zip(planes, wanted, strict=True):
        assert abs(plane - value).max() <= 2


def test_frames_are_matched_by_time(tmp_path: Path) -> None:
    slow = write_clip(tmp_path / "slow.mkv", [_flat(20 * k) for k in range(10)], rate=10)
    fast = write_clip(tmp_path / "fast.mkv", [_flat(100)] * 20, rate=25)
    with pytest.warns(FusionNote) as noted:
        frames, _ = fuse_videos(_model("copy-a"), VideoPlan((slow, fast), tmp_path / "f.mkv", lossless=True))
    assert [str(note.message).partition(" (")[0] for note in noted] == ["frame rates differ", "lengths differ"]
    made = read_clip(tmp_path / "f.mkv")
    assert frames == len(made) == 20
    for k, (time, fused) in enumerate(made):
        assert time == pytest.approx(k / 25, abs=1e-3)
        # The frame of the slow one that is nearest in time; both of two as near are right.
        assert abs(int(fused[0, 0, 0]) / 20 - 10 * k / 25) <= 0.5 + 1e-9


def test_a_clip_has_one_range(tmp_path: Path) -> None:
    """Equal temperatures stay equal although something hot enters."""
    room = 27_000 + 2 * _scene(0).astype(np.uint16)
    hot = room.copy()
    hot[:10, :10] += 3000
    thermal = write_clip(tmp_path / "t.mkv", [room, room, room, hot, hot, hot])
    visible = write_clip(tmp_path / "v.mkv", [_flat(100)] * 6)
    with pytest.warns(FusionNote, match=r"t\.mkv: .* are scaled to 0\.\.1 in the whole clip"):
        fuse_videos(_model("copy-a"), VideoPlan((thermal, visible), tmp_path / "f.mkv", lossless=True))
    made = [fused for _, fused in read_clip(tmp_path / "f.mkv")]
    assert np.array_equal(made[0][10:], made[5][10:])
    assert made[0].std() > 1
    fixed = Reading((parse_range("27000,27510"),))
    fuse_videos(_model("copy-a"), VideoPlan((thermal, visible), tmp_path / "g.mkv", reading=fixed, lossless=True))
    assert abs(read_clip(tmp_path / "g.mkv")[0][1][..., 0].astype(int) - _scene(0)).max() <= 1


def test_a_still_clip_is_stretched_as_its_image(tmp_path: Path) -> None:
    a, b = _scene(0), _scene(1, colour=True)
    clips = tuple(write_clip(tmp_path / f"{n}.mkv", [scene] * 3) for n, scene in (("a", a), ("b", b)))
    fuse_videos(_model(stretch="full"), VideoPlan(clips, tmp_path / "f.mkv", lossless=True))
    wanted = _model(stretch="full").fuse(a, b).array()
    for _, fused in read_clip(tmp_path / "f.mkv"):
        assert abs(fused.astype(int) - wanted).max() <= 2


def test_one_transform_aligns_the_clip(tmp_path: Path) -> None:
    scene = _scene(3, size=(160, 200))
    scene = np.where(scene > 125, scene // 2 + 110, scene // 3).astype(np.uint8)
    visible = _moving(scene, 4)
    shifted = [255 - np.roll(frame, (5, -4), (0, 1)) for frame in visible]
    clips = (write_clip(tmp_path / "a.mkv", shifted), write_clip(tmp_path / "b.mkv", visible))
    options = ("fuse", "-m", "copy-a", "-a", clips[0], "-b", clips[1], "-o", tmp_path / "f.mkv", "--lossless")
    done = _run(*options, "--align", "translation")
    assert done.exit_code == 0, done.output
    for (_, fused), frame in zip(read_clip(tmp_path / "f.mkv"), visible, strict=True):
        assert abs(fused[10:-10, 10:-10, 0].astype(int) - (255 - frame[10:-10, 10:-10])).mean() < 2


def test_sound_is_copied_as_it_is(pair: tuple[Path, Path], tmp_path: Path) -> None:
    fuse_videos(_model(), VideoPlan(pair, tmp_path / "f.mp4"))

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    original, copied = packets(pair[1]), packets(tmp_path / "f.mp4")
    assert len(copied) > 20
    assert copied == original[: len(copied)]


def test_odd_sides_are_made_even_with_a_note(tmp_path: Path) -> None:
    clips = tuple(write_clip(tmp_path / f"{n}.mkv", [_scene(k, size=(47, 63))] * 2) for k, n in enumerate("ab"))
    with pytest.warns(FusionNote, match="H.264 needs even sides"):
        fuse_videos(_model(), VideoPlan(clips, tmp_path / "f.mp4"))
    assert read_clip(tmp_path / "f.mp4")[0][1].shape == (48, 64, 3)
    fuse_videos(_model(), VideoPlan(clips, tmp_path / "f.mkv", lossless=True))
    assert read_clip(tmp_path / "f.mkv")[0][1].shape == (47, 63, 3)


def test_a_stopped_run_leaves_a_video_that_plays(pair: tuple[Path, Path], tmp_path: Path) -> None:
    def stop(_: str, done: int, __: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fuse_videos(_model(), VideoPlan(pair, tmp_path / "f.mp4"), report=stop)
    assert len(read_clip(tmp_path / "f.mp4")) == 3
    assert sorted(file.name for file in tmp_path.iterdir()) == ["f.mp4", "ir.mkv", "vi.mkv"]


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_command_says_how_fast_it_was(pair: tuple[Path, Path], tmp_path: Path) -> None:
    done = _run("fuse", "-m", "average", "-a", pair[0], "-b", pair[1], "-o", tmp_path / "f.mp4")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "f.mp4")
    assert "6 frames (0.60 s) at" in done.stderr


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 6000] = np.random.default_rng(0).bytes(6000)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "code", "what"),
    [
        (_cut, 4, "ir.mkv: "),
        (_damage, 4, "ir.mkv: cannot be decoded after"),
        (lambda path: path.write_text("no video"), 4, "ir.mkv: cannot be read as video"),
        (lambda path: write_clip(path, [_scene(0, size=(24, 32))] * 6), 4, "sources differ in size"),
        (lambda path: path.unlink(), 4, "ir.mkv: no such file"),
    ],
)
def test_a_video_that_cannot_be_fused_leaves_nothing(tmp_path: Path, change: Any, code: int, what: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, *SIZE), dtype=np.uint8)
    infrared = write_clip(tmp_path / "ir.mkv", list(noise))
    visible = write_clip(tmp_path / "vi.mkv", [_scene(1, colour=True)] * 20)
    change(infrared)
    done = _run("fuse", "-m", "average", "-a", infrared, "-b", visible, "-o", tmp_path / "f.mp4")
    assert done.exit_code == code, done.output
    assert what in done.output.splitlines()[-1]
    assert {file.name for file in tmp_path.iterdir()} <= {"ir.mkv", "vi.mkv"}


@pytest.mark.parametrize(
    ("out", "more", "what"),
    [
        ("f.png", (), "videos are fused into a video"),
        ("f.mp4", ("--lossless",), "--lossless is written into .mkv alone"),
        ("f.mp4", ("--maps",), "are for images, not for videos"),
        ("ir.mkv", ("--force",), "would replace a source"),
        ("there.mp4", (), "is there already"),
    ],
)
def test_a_wrong_result_is_refused(
    pair: tuple[Path, Path], tmp_path: Path, out: str, more: tuple[str, ...], what: str
) -> None:
    (tmp_path / "there.mp4").write_text("mine")
    done = _run("fuse", "-m", "average", "-a", pair[0], "-b", pair[1], "-o", tmp_path / out, *more)
    assert done.exit_code == 2
    assert what in done.output
    assert (tmp_path / "there.mp4").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_one_line(pair: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match="cannot be written"),
        VideoWriter(tmp_path / "file" / "f.mp4", SIZE, rate=10) as writer,
    ):
        writer.write(Frame(0.0, _scene(0)[..., None]))


def test_without_pyav_the_extra_is_named(
    pair: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    done = _run("fuse", "-m", "average", "-a", pair[0], "-b", pair[1], "-o", tmp_path / "f.mp4")
    assert done.exit_code == 2
    assert "pip install 'image-fusionkit[video]'" in done.output
