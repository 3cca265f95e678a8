"""What can fuse right after install: fusers that need no weights, and those whose plugins ship them."""

from __future__ import annotations

from typing import Any

from fusionkit.errors import PluginError
from fusionkit.plugins import catalogue
from fusionkit.weights import read_info


def list_models() -> tuple[list[dict[str, Any]], list[str]]:
    """Every usable (fuser, task) and what is known of it, and the plugins that could not be asked.

    Returns:
        Rows with ``fuser``, ``task``, ``parameters``, ``trained``, ``reference``; and one line a problem.
    """
    rows: list[dict[str, Any]] = []
    problems = []
    for name in catalogue.fusers.names():
        try:
            kind = catalogue.fusers.get(name)
        except PluginError as error:
            problems.append(str(error))
            continue
        parameters = sum(p.numel() for p in kind().parameters())
        row = {"fuser": name, "parameters": parameters, "reference": kind.reference}
        if not parameters:
            rows.append({**row, "task": ", ".join(kind.tasks) if kind.tasks else "any", "trained": "needs no training"})
        for task, file in kind.pretrained().items():
            training = read_info(file).training
            trained = f"{training.get('preset', '?')} preset, {training.get('steps', '?')} steps"
            rows.append({**row, "task": task, "trained": trained})
        if parameters and not kind.pretrained():
            rows.append({**row, "task": "", "trained": f"not yet: fusionkit train {name} --task TASK"})
    return rows, problems
