"""``fusionkit live``: fuse live streams and show them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from fusionkit.cli.notes import answer, say
from fusionkit.cli.numbers import Number
from fusionkit.cli.source_options import aligner_option, reference_option, resize_option

if TYPE_CHECKING:
    from fusionkit.fuse.live import LiveStatus
    from fusionkit.fuse.model import Model
    from fusionkit.io.videos import Frame, VideoWriter


@click.command("live")
@click.option("-m", "--model", help="Run folder, weights file or name of a method.  [default: the task's]")
@click.option("--task", help="Fusion task, such as ivif.")
@click.option("-a", "first", required=True, help="First source: number of a camera, file, URL, or - for stdin.")
@click.option("-b", "second", required=True, help="Second source.")
@click.option("-s", "more", multiple=True, help="Further source; may be repeated.")
@click.option("-o", "out", type=click.Path(path_type=Path), help="Video to write: .mp4, .mov or .mkv.")
@click.option(
    "--show",
    "where",
    type=click.Choice(["auto", "window", "browser", "none"]),
    default="auto",
    show_default=True,
    help="Show the result in a window, or to browsers of this machine; auto: a window where there is a display.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port for browsers.  [default: a free one]")
@click.option(
    "--speed",
    type=click.Choice(["auto", "exact", "half", "quarter", "eighth"]),
    default="auto",
    show_default=True,
    help="As in 'fusionkit fuse'; auto: quarter where the method has weights, else exact.",
)
@click.option("--range-a", default="auto", show_default=True, help="Stored values that become 0 and 1, as in fuse.")
@click.option("--range-b", default="auto", show_default=True, help="The same of the second source.")
@click.option("--transform", type=click.Path(path_type=Path), help="Transforms that 'fusionkit align' wrote.")
@click.option(
    "--align",
    "kind",
    type=click.Choice(["none", "auto", "translation", "rigid", "affine", "homography"]),
    default="none",
    show_default=True,
    help="Find one transform from the first frames.",
)
@aligner_option
@reference_option
@resize_option
@click.option("--seconds", type=Number(min=0, min_open=True), help="Stop after this time.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--force", is_flag=True, help="Replace an existing video.")
def command(
    model: str | None,
    task: str | None,
    first: str,
    second: str,
    more: tuple[str, ...],
    out: Path | None,
    where: Literal["auto", "window", "browser", "none"],
    port: int,
    speed: Literal["auto", "exact", "half", "quarter", "eighth"],
    range_a: str,
    range_b: str,
    transform: Path | None,
    kind: str,
    aligner: str,
    reference: str,
    resize: bool,
    seconds: float | None,
    device: str,
    force: bool,
) -> None:
    """Fuse live streams, and show the result without delay.

    Each frame of the fastest source is fused with the newest ones of the others; frames that arrive meanwhile are
    dropped. Ctrl-C ends it. Needs the extra image-fusionkit[video].

    \b
    fusionkit live --task ivif -a 0 -b rtsp://127.0.0.1/visible --transform calibration/transforms.json
    fusionkit live --task ivif -a thermal.mkv -b visible.mp4 -o fused.mp4 --show none
    """
    from fusionkit.cli.align import chosen_aligning
    from fusionkit.errors import UsageError
    from fusionkit.fuse.live import LivePlan, fuse_live
    from fusionkit.fuse.reading import Reading
    from fusionkit.io.ranges import parse_range
    from fusionkit.io.videos import VideoWriter, check_video_target

    if out is not None:
        check_video_target(out, lossless=False)
        if out.exists() and not force:
            raise UsageError(f"{out}: is there already; name another place, or replace it with --force")
    if where == "none" and out is None:
        raise UsageError("--show none: nothing would come of it; name a video to write, -o")
    if resize and (kind != "none" or transform is not None):
        raise UsageError("--resize: --align and --transform bring sources to one size already; leave one out")
    sources = (first, second, *more)
    loaded = _load(model, task, device, speed, len(sources))
    aligning = chosen_aligning(
        "resize" if resize else kind, aligner, loaded.task or task or "", reference, "folder", transform, len(sources)
    )
    reading = Reading((parse_range(range_a, option="--range-a"), parse_range(range_b, option="--range-b")))
    plan = LivePlan(sources, reading, aligning, seconds)
    with ExitStack() as stack:
        shows = _screen(where, port, stack)
        writer: VideoWriter | None = None

        def show(frame: Frame) -> bool:
            nonlocal writer
            if out is not None:
                if writer is None:
                    size = frame.pixels.shape[0], frame.pixels.shape[1]
                    writer = stack.enter_context(VideoWriter(out, size, rate=25))
                writer.write(frame)
            return shows(frame)

        def report(status: LiveStatus) -> None:
            say(_line(status, sources))

        try:
            last = fuse_live(loaded, plan, show, report=report)
        except KeyboardInterrupt:
            say("note: stopped")
            return
        say(_line(last, sources))
    if out is not None:
        answer(out)


def _load(model: str | None, task: str | None, device: str, speed: Any, sources: int) -> Model:
    from fusionkit.errors import UsageError
    from fusionkit.fuse.model import load
    from fusionkit.models.listing import default_fuser

    if model is None and task is None:
        raise UsageError("say what to fuse with: --task for the model that ships for it, or --model")
    named = model or default_fuser(task or "")
    if speed != "auto":
        return load(named, task, device=device, speed=speed)
    exact = load(named, task, device=device)
    learned = any(True for _ in exact.method.parameters())
    return load(named, task, device=device, speed="quarter") if learned and sources == 2 else exact


def _line(status: LiveStatus, sources: tuple[str, ...]) -> str:
    dropped = ", ".join(f"{count} of {source}" for count, source in zip(status.dropped, sources, strict=True))
    return (
        f"{status.fused} fused, {status.rate:.1f} frames per second, latency {1000 * status.latency:.0f} ms, "
        f"dropped {dropped}"
    )


def _screen(where: str, port: int, stack: ExitStack) -> Callable[[Frame], bool]:
    """Return the function that shows a frame, and returns False once its window is closed."""
    from fusionkit.io.live_window import LiveWindow, window_is_possible
    from fusionkit.io.mjpeg_server import MjpegServer

    if where == "none":
        return lambda _frame: True
    if where == "window" or (where == "auto" and window_is_possible()):
        window = stack.enter_context(LiveWindow())
        return lambda frame: window.show(frame.pixels)
    server = stack.enter_context(MjpegServer(port))
    say(f"shown at {server.url}")

    def show(frame: Frame) -> bool:
        server.show(frame.pixels)
        return True

    return show
