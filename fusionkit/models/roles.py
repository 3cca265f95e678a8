"""Fusers whose classes state a role: the default of a task, or a control of downstream benchmarks."""

from __future__ import annotations

from collections.abc import Sequence

from fusionkit.plugins import catalogue

__all__ = ["controls", "preferred_fuser"]


def preferred_fuser(task: str, names: Sequence[str]) -> str | None:
    """Choose the default fuser of a task.

    Args:
        task: name of the task.
        names: registered names of the fusers to choose from.

    Returns:
        The only name given; else the only one whose class states the task in ``default_for``, where a built-in fuser
        comes before a plugin's; None if that leaves none or several.
    """
    if len(names) == 1:
        return names[0]
    stated = [name for name in names if task in catalogue.fusers.get(name).default_for]
    stated = [name for name in stated if catalogue.fusers.entry(name).built_in] or stated
    return stated[0] if len(stated) == 1 else None


def controls(*tasks: str) -> tuple[str, ...]:
    """List the fusers that downstream benchmarks compare every method with: those whose class states ``control``.

    Args:
        tasks: names of tasks; fusers that are not made for every one of them are left out.

    Returns:
        Registered names, sorted; fusers that cannot be loaded are left out.
    """
    return tuple(
        name
        for name, kind in catalogue.fusers.usable().items()
        if kind.control and (kind.tasks is None or set(tasks) <= set(kind.tasks))
    )
