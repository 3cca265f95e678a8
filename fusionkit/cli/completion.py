"""``fusionkit completion``: the line that lets a shell complete commands, options and names."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from fusionkit.cli.notes import answer, say

__all__ = ["command", "complete_names"]

_PROGRAM = "fusionkit"
_VARIABLE = "_FUSIONKIT_COMPLETE"
_FILES = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/completions/fusionkit.fish"}
_CATALOGUES = {
    "task": "tasks",
    "profile": "profiles",
    "aligner": "aligners",
    "downstream": "outer_losses",
    "model": "fusers",
    "fusers": "fusers",
    "method": "trainers",
    "metrics": "metrics",
}
"""Registry of the names that a parameter takes, by the parameter."""


@click.command("completion")
@click.argument("shell", type=click.Choice(list(_FILES)))
def command(shell: str) -> None:
    """Print the script by which SHELL completes commands, options, and names of tasks, methods and metrics.

    \b
    fusionkit completion bash >> ~/.bashrc
    fusionkit completion zsh >> ~/.zshrc
    fusionkit completion fish > ~/.config/fish/completions/fusionkit.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(click.Group(_PROGRAM), {}, _PROGRAM, _VARIABLE)
    answer(script.source_template % script.source_vars())
    say(f"put this into {_FILES[shell]} and open a new shell")


def complete_names(found: click.Command) -> click.Command:
    """Let the parameters of a command that take names of plugins complete them, without importing any plugin."""
    for parameter in found.params:
        registry = _CATALOGUES.get(parameter.name or "")
        if registry and not isinstance(parameter.type, click.Choice):
            parameter._custom_shell_complete = _names_of(registry)
    if isinstance(found, click.Group):
        for inner in found.commands.values():
            complete_names(inner)
    return found


def _names_of(registry: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    def complete(context: Any, parameter: Any, incomplete: str) -> list[CompletionItem]:
        names = getattr(import_module("fusionkit.plugins.catalogue"), registry).names()
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]

    return complete
