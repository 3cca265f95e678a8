"""The numbers that papers print, as data: shown beside measured ones and never ranked with them.

A paper's table was computed on its authors' machine, from their images, by their code: it is shown as "published",
and neither averaged nor ranked with what was measured here. Plugins bring the tables: an entry point in
``fusionkit.published_tables`` whose target is a :class:`~fusionkit.plugins.declarations.PublishedPaper`.
"""

from __future__ import annotations

from fusionkit.plugins import catalogue
from fusionkit.plugins.declarations import PublishedPaper, PublishedRow, PublishedTable
from fusionkit.tasks import Task

__all__ = [
    "PublishedPaper",
    "PublishedRow",
    "PublishedTable",
    "papers",
    "protocol_profile",
    "published_beside",
    "published_tables",
]


def papers() -> tuple[str, ...]:
    """Keys of the papers whose tables are here."""
    return tuple(catalogue.published_tables.usable())


def published_tables(paper: str) -> tuple[PublishedTable, ...]:
    """Every table of a paper, in its order.

    Raises:
        fusionkit.errors.UsageError: no such paper.
        fusionkit.errors.PluginError: the plugin that brings it cannot be used.
    """
    return catalogue.published_tables.get(paper).tables


def published_beside(task: str, dataset: str) -> tuple[PublishedTable, ...]:
    """The comparisons of fusion quality that papers print for a data set, of every paper and profile.

    Args:
        task: name of the task.
        dataset: registered name of the data set; case does not matter.
    """
    return tuple(
        table
        for paper in catalogue.published_tables.usable().values()
        for table in paper.tables
        if table.kind == "comparison"
        and table.task == task
        and dataset.casefold() in {name.casefold() for name in table.covers}
    )


def protocol_profile(task: Task) -> str:
    """The metric profile of a task's usual protocol.

    It is the one that the task states; else that of the paper whose protocol the task follows, a built-in one first;
    else ``"standard"``.
    """
    if task.profile:
        return task.profile
    found = {key: paper for key, paper in catalogue.published_tables.usable().items() if task.name in paper.protocol_of}
    ranked = sorted(found, key=lambda key: (not catalogue.published_tables.entry(key).built_in, key))
    return found[ranked[0]].profile if ranked else "standard"
