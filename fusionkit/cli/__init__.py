"""Command line: imports each command when it is called, and turns errors into single lines and exit codes."""

from __future__ import annotations

import codecs
import errno
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NoReturn

import click

from fusionkit.cli.notes import notes_printed
from fusionkit.errors import DataError, FusionkitError, PluginError, UsageError, did_you_mean, missing_system_library
from fusionkit.io.text import printable, shortened

__all__ = ["main"]

COMMANDS = {
    "train": "Train a fusion method.",
    "fuse": "Fuse aligned images, or folders of them.",
    "live": "Fuse cameras and other streams as they come.",
    "app": "Fuse images in a browser.",
    "align": "Align images of one scene, or folders of them.",
    "weights": "Inspect weights files and import published ones.",
    "models": "List the models that can fuse without training.",
    "export": "Write a model as an ONNX file.",
    "data": "List, check and prepare data sets.",
    "sample": "Write the built-in sample pairs.",
    "score": "Score fused images against their sources.",
    "metrics": "List fusion metrics and profiles, or explain one.",
    "bench": "Compare methods over data sets.",
    "bench-downstream": "Compare methods by a network trained on their images.",
    "board": "Rewrite a benchmark's leaderboards from its results.",
    "results": "Collect, check, merge and print results.",
    "plugins": "List, check and create plugins.",
    "doctor": "Look at the installation.",
    "completion": "Let a shell complete commands and names.",
}
"""Name and short help of each command: the object ``command`` in the module of that name, with ``_`` for ``-``."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_UNNAMEABLE = frozenset({errno.ENAMETOOLONG, errno.ELOOP})
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
_TAKEN = frozenset({errno.ENOTDIR, errno.EISDIR, errno.EEXIST})
_CLOSED_PIPE = 128 + 13  # what a shell reports for a process that SIGPIPE ended
_INTERRUPTED = 130
_LONGEST_MESSAGE = 2000


def _module(name: str) -> str:
    return f"fusionkit.cli.{name.replace('-', '_')}"


class CommandLine(click.Group):
    """Command group ``fusionkit``: shows its help without importing a command, prints one line per error."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if find_spec(_module(name))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(_module(cmd_name)).command
        if ctx.resilient_parsing:
            # A shell completes a line.
            command = import_module(_module("completion")).complete_names(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise UsageError(f"unknown command {args[0]!r}: {did_you_mean(args[0], names)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except BrokenPipeError:
            _leave_closed_pipe()

    def invoke(self, ctx: click.Context) -> None:
        _keep_torch_importable()
        try:
            with notes_printed():
                super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            _leave_closed_pipe()

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and exit with its code; ``standalone_mode=False`` lets errors through instead."""
        _print_anywhere()
        given = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(given, prog_name, complete_var, standalone_mode=False, **extra)
        given, debug = _take_debug(given)
        if debug:
            logging.basicConfig(format="debug: %(message)s")
            logging.getLogger("fusionkit").setLevel(logging.DEBUG)
        try:
            # invoke() returns nothing, so this is None or the code of an explicit exit.
            code = super().main(given, prog_name, complete_var, standalone_mode=False, **extra)
        except Exception as error:
            if debug:
                traceback.print_exc()
            line, code = report(error)
            print(line, file=sys.stderr)
        sys.exit(code or 0)


def report(error: Exception) -> tuple[str, int]:
    """Return the line to print on stderr for an uncaught error, and the exit code."""
    if isinstance(error, FusionkitError):
        return f"error: {_line(error)}", error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.format_message(), UsageError.exit_code
    if isinstance(error, click.exceptions.Abort):
        message = _line(error.__cause__) if error.__cause__ else ""
        return f"interrupted{': ' if message else ''}{message}", _INTERRUPTED
    if isinstance(error, click.FileError):
        return f"error: {_line(error.format_message())}", DataError.exit_code
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        where = f" (see '{context.command_path} --help')" if context else ""
        return f"error: {_line(error.format_message())}{where}", UsageError.exit_code
    remedy = missing_system_library(error)
    if remedy:
        return f"error: OpenCV cannot be imported ({_line(error)}): {remedy}", PluginError.exit_code
    if isinstance(error, MemoryError):
        return "error: the memory of this machine does not suffice: use smaller images, batches or networks", 4
    if isinstance(error, OSError) and error.errno in _FULL | _FORBIDDEN | _TAKEN:
        # A full disk is met in a write, which knows no file name.
        file = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else "a file"
        remedy = "free some space" if error.errno in _FULL else "check its permissions"
        remedy = "look at what is there" if error.errno in _TAKEN else remedy
        return (
            f"error: {_line(shortened(file))}: {os.strerror(error.errno)}: {remedy} or choose another place",
            DataError.exit_code,
        )
    if isinstance(error, OSError) and error.errno in _UNNAMEABLE:
        return f"error: {_line(shortened(str(error.filename)))}: {os.strerror(error.errno)}: use another name", 4
    name = type(error).__name__
    return f"internal error: {name}: {_line(error)} (please report; --debug shows the traceback)", 1


_PLAIN = {"\u2191": "^", "\u2193": "v", "\u2020": "+", "\u00b1": "+-", "\u00b5": "u", "\u2013": "-", "\u2500": "-"}
"""Substitutes for the output's own symbols on a console that lacks them: arrows, dagger, plus-minus, micro, lines."""


def _print_anywhere() -> None:
    """Print plain characters for those that the console cannot show, so that results do not depend on the console."""
    codecs.register_error("fusionkit-plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="fusionkit-plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end


def _take_debug(args: list[str]) -> tuple[list[str], bool]:
    """Remove ``--debug`` wherever it stands before ``--``; return the other arguments and whether it was there."""
    end = args.index("--") if "--" in args else len(args)
    return [arg for arg in args[:end] if arg != "--debug"] + args[end:], "--debug" in args[:end]


def _keep_torch_importable() -> None:
    """Turn off PyTorch's loading of device backends where an installed distribution has malformed entry points.

    PyTorch reads the entry points of every distribution when it is imported, and fails on a malformed file.
    """
    from importlib.metadata import entry_points

    try:
        entry_points(group="torch.backends")
    except Exception:  # third-party metadata: 'fusionkit plugins check' reports it
        os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")


def _leave_closed_pipe() -> NoReturn:
    """Exit quietly after the reader of our output has closed the pipe."""
    # The interpreter flushes stdout once more as it ends, and would complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise click.exceptions.Exit(_CLOSED_PIPE)


def _line(message: object) -> str:
    return printable(shortened(" ".join(str(message).split()), _LONGEST_MESSAGE))


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from fusionkit.plugins.metadata import host_version

        click.echo(f"fusionkit {host_version() or '(not installed)'}")
        ctx.exit()


@click.group(cls=CommandLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error, and remarks.")
def main() -> None:
    """Train, run and compare image-fusion methods."""
