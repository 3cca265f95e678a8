"""Finds the weights file that a name, a file or a run folder stands for."""

from __future__ import annotations

from pathlib import Path

from fusionkit.errors import DataError, UsageError
from fusionkit.models import MODEL_FILE
from fusionkit.models.shipped import choose_model, split_name
from fusionkit.plugins import catalogue

__all__ = ["find_trained_model", "weights_file"]


def find_trained_model(model: str, task: str) -> tuple[str, Path]:
    """Find trained weights by what a user gives.

    Args:
        model: a weights file of fusionkit's, a run folder, or the name of a shipped model.
        task: the task whose model is meant if only a fuser is named.

    Returns:
        The full name of a shipped model, or the absolute path of a file; and the file.

    Raises:
        fusionkit.errors.UsageError: no such name, or a fuser that ships no model for the task.
        fusionkit.errors.DataError: the folder holds no finished run.
    """
    named = split_name(model)
    if named is None:
        file = weights_file(model).resolve()
        return str(file), file
    fuser, wanted = named
    shipped = choose_model(catalogue.fusers.get(fuser), fuser, wanted, task=None if wanted else task)
    if shipped is None:
        raise UsageError(f"{model}: {fuser} ships no model for {task}: give a weights file, or see 'fusionkit models'")
    return f"{fuser}:{shipped.task}@{shipped.tag}", shipped.file


def weights_file(model: str | Path) -> Path:
    """Find the weights file of a run folder, or take the file itself.

    Raises:
        fusionkit.errors.UsageError: a word that is neither a path nor the name of a fuser.
        fusionkit.errors.DataError: the folder holds no finished run.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / MODEL_FILE).is_file():
            raise DataError(
                f"{path}: holds no {MODEL_FILE}; if it is a run that was stopped, finish it: "
                f"fusionkit train --resume {path}"
            )
        return path / MODEL_FILE
    if path.is_file() or isinstance(model, Path) or path.suffix == ".safetensors" or set(str(model)) & {"/", "\\"}:
        return path
    try:
        catalogue.fusers.get(model)
    except UsageError as error:
        raise UsageError(f"no such file, run folder or fuser: {error}") from None
    return path
