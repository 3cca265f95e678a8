"""The shell of the command line: light help, one line an error, exit codes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from importlib import metadata

import click
import pytest
from click.testing import CliRunner, Result

from fusionkit import cli
from fusionkit.cli import COMMANDS, CommandLine, main, report
from fusionkit.errors import DataError, DivergedError, PluginError, UsageError

HEAVY = {"torch", "numpy", "cv2", "scipy", "skimage", "kornia", "matplotlib", "PIL"}


def run(*args: str) -> Result:
    return CliRunner().invoke(main, list(args))


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Makes ``fusionkit probe`` raise an error."""

    def fail_with(error: BaseException) -> None:
        @click.command("probe")
        @click.option("--epochs", type=int)
        @click.argument("rest", nargs=-1)
        def probe(epochs: int | None, rest: tuple[str, ...]) -> None:
            raise error

        monkeypatch.setattr(CommandLine, "list_commands", lambda self, ctx: ["probe", "train"])
        monkeypatch.setattr(CommandLine, "get_command", lambda self, ctx, name: probe if name == "probe" else None)

    return fail_with


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["plugins", "list"], ["plugins", "--help"], ["trian"]])
def test_help_and_listing_import_nothing_heavy(args: list[str]) -> None:
    code = (
        "import sys\n"
        "from fusionkit.cli import main\n"
        f"try: main({args!r})\n"
        "except SystemExit: pass\n"
        f"print('heavy:', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = python(code)
    assert done.stdout.splitlines()[-1] == "heavy: []", done.stderr


def test_the_help_of_every_command_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from fusionkit.cli import COMMANDS, main\n"
        "for name in main.list_commands(None):\n"
        "    try: main([name, '--help'])\n"
        "    except SystemExit as end: assert not end.code, (name, end.code)\n"
        f"    print('heavy:', name, sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = python(code)
    told = [line for line in done.stdout.splitlines() if line.startswith("heavy:")]
    assert told == [f"heavy: {name} []" for name in main.list_commands(None)], done.stderr


def test_the_help_lists_every_command_that_is_there_with_its_short_help() -> None:
    listed = run("--help").stdout
    names = main.list_commands(None)
    assert "plugins" in names
    for name in names:
        assert f"  {name.ljust(max(map(len, names)))}  {COMMANDS[name]}\n" in listed
    for name in set(COMMANDS) - set(names):
        assert f"  {name}  " not in listed


def test_every_command_is_the_one_of_its_name() -> None:
    context = click.Context(main)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert isinstance(command, click.Command)
        assert command.name == name
        assert command.help


def test_the_version_is_that_of_the_distribution() -> None:
    assert run("--version").stdout == f"fusionkit {metadata.version('image-fusionkit')}\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["plugin"], "error: unknown command 'plugin': did you mean 'plugins'?"),
        (["zzz"], "error: unknown command 'zzz': (known: "),
        (["plugins", "lst"], "error: No such command 'lst'. Did you mean 'list'? (see 'fusionkit plugins --help')"),
        (["plugins", "list", "--jsn"], "error: No such option '--jsn'. Did you mean '--json'?"),
        (["--versoin"], "error: No such option '--versoin'. Did you mean '--version'?"),
        (["plugins", "new"], "error: Missing argument 'NAME'."),
        (["plugins", "list", "more"], "error: Got unexpected extra argument (more)"),
    ],
)
def test_a_mistyped_line_is_one_line_with_the_nearest_name_and_exits_2(args: list[str], told: str) -> None:
    result = CliRunner().invoke(main, args, prog_name="fusionkit")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(told)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("a option\nis wrong"), 2),
        (PluginError("a plugin is broken"), 3),
        (DataError("a file is damaged"), 4),
        (DivergedError("a loss is nan"), 5),
    ],
)
def test_an_error_of_ours_is_its_message_in_one_line_and_its_exit_code(failing, error: Exception, code: int) -> None:
    failing(error)
    result = run("probe")
    assert result.exit_code == code
    assert result.stderr == f"error: {' '.join(str(error).split())}\n"
    assert result.stdout == ""


@pytest.mark.parametrize("args", [["probe"], ["probe", "--epochs", "3"]])
def test_any_other_error_is_called_internal_and_exits_1_without_a_traceback(failing, args: list[str]) -> None:
    failing(KeyError("lost"))
    result = run(*args)
    assert result.exit_code == 1
    assert result.stderr == "internal error: KeyError: 'lost' (please report; --debug shows the traceback)\n"


@pytest.mark.parametrize("args", [["--debug", "probe"], ["probe", "--debug"], ["probe", "--debug", "--", "x"]])
@pytest.mark.parametrize("error", [KeyError("lost"), DataError("a file is damaged")])
def test_debug_shows_the_traceback_wherever_it_stands(failing, args: list[str], error: Exception) -> None:
    failing(error)
    result = run(*args)
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert report(error)[0] in result.stderr.splitlines()
    assert result.exit_code == report(error)[1]


def test_debug_behind_two_dashes_is_an_argument(failing) -> None:
    failing(KeyError("lost"))
    assert "Traceback" not in run("probe", "--", "--debug").stderr


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            OSError(errno.ENOSPC, "x", "out.png"),
            "error: out.png: No space left on device: free some space or choose another place",
        ),
        (
            OSError(errno.EROFS, "x", "out.png"),
            "error: out.png: Read-only file system: check its permissions or choose another place",
        ),
        (
            PermissionError(errno.EACCES, "x", "out.png"),
            "error: out.png: Permission denied: check its permissions or choose another place",
        ),
        (
            OSError(errno.ENOSPC, "x"),
            "error: a file: No space left on device: free some space or choose another place",
        ),
    ],
)
def test_a_place_that_cannot_be_written_is_no_bug(failing, error: OSError, told: str) -> None:
    failing(error)
    result = run("probe")
    assert (result.stderr, result.exit_code) == (told + "\n", 4)


def test_another_system_error_is_a_bug(failing) -> None:
    failing(FileNotFoundError(errno.ENOENT, "No such file or directory", "gone.png"))
    result = run("probe")
    assert result.exit_code == 1
    assert "internal error: FileNotFoundError: [Errno 2] No such file or directory: 'gone.png'" in result.stderr


def test_an_interrupt_exits_130_and_says_what_it_was_given(failing) -> None:
    failing(KeyboardInterrupt("stopped after step 7"))
    result = run("probe")
    assert result.exit_code == 130
    assert result.stderr.strip() == "interrupted: stopped after step 7"


def test_a_signal_from_the_keyboard_exits_130_in_a_real_process() -> None:
    code = (
        "import click, time\n"
        "from fusionkit.cli import CommandLine, main\n"
        "@click.command('wait')\n"
        "def wait():\n"
        "    click.echo('ready')\n"
        "    time.sleep(60)\n"
        "CommandLine.list_commands = lambda self, ctx: ['wait']\n"
        "CommandLine.get_command = lambda self, ctx, name: wait\n"
        "main(['wait'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.strip() == "interrupted"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGPIPE")
@pytest.mark.parametrize("args", [["--help"], ["plugins", "list"], ["plugins", "list", "--help"]])
def test_a_reader_that_goes_away_is_met_with_silence(args: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "fusionkit", *args], stdout=writer, stderr=subprocess.PIPE, timeout=120, check=False
    )
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == 141


def test_without_arguments_the_help_is_shown_and_the_exit_code_says_that_nothing_was_done() -> None:
    result = run()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr
    assert result.stdout == ""


def test_errors_pass_through_where_the_caller_asks_for_them(failing) -> None:
    failing(DataError("a file is damaged"))
    with pytest.raises(DataError, match="damaged"):
        main(["probe"], standalone_mode=False)


def test_a_command_whose_module_is_absent_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.COMMANDS, "absent", "Nothing.")
    assert "absent" not in run("--help").stdout
    assert run("absent").exit_code == 2
