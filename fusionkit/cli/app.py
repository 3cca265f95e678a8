"""``fusionkit app``: a page to fuse with."""

from __future__ import annotations

import click

from fusionkit.cli.notes import answer, say
from fusionkit.cli.numbers import Number
from fusionkit.errors import UsageError


@click.command("app")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="Port; 0 for a free one.")
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    help="Offer this run folder or weights file, too; may be repeated.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option(
    "--max-upload", type=click.IntRange(1), default=500, show_default=True, help="Most megabytes of images at once."
)
@click.option(
    "--keep",
    type=Number(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Minutes after which images that are not used are deleted.",
)
@click.option("--open", "opened", is_flag=True, help="Open the page in the browser.")
def command(port: int, models: tuple[str, ...], device: str, max_upload: int, keep: float, opened: bool) -> None:
    """Fuse images in a browser: drop them on a page, choose a method, look at the result and its scores.

    Print the address of the page and answer there until Ctrl-C. Only this machine is answered (127.0.0.1), nothing is
    asked or sent elsewhere, and all files of the page are deleted when it ends. Needs the extra: pip install
    'image-fusionkit[app]'

    \b
    fusionkit app --open
    fusionkit app --model runs/refusion-mif-quick --port 9000
    """
    try:
        from fusionkit.app.server import AppServer, serve
        from fusionkit.app.uploads import Limits
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("fusionkit"):
            raise
        raise UsageError(f"the page needs {error.name}: pip install 'image-fusionkit[app]'") from None
    from fusionkit.app.choices import Choices

    choices = Choices(models, device=device)
    for problem in choices.problems:
        say(f"note: left out {problem}")

    def ready(address: str) -> None:
        answer(address)
        say("drop images on the page; Ctrl-C ends it")
        if opened:
            click.launch(address)

    serve(AppServer(choices, limits=Limits(megabytes=max_upload), keep_minutes=keep), port=port, ready=ready)
