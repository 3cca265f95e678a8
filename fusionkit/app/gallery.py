"""Scenes of the built-in sample to begin with."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fusionkit.app.fuse_job import write_shown
from fusionkit.app.workroom import SourceSet, Workroom
from fusionkit.data.pair_set import Pair
from fusionkit.data.sample import SAMPLE_TASKS, sample_pairs
from fusionkit.errors import UsageError
from fusionkit.io.images import read_image
from fusionkit.plugins import catalogue

__all__ = ["Gallery"]

_PER_TASK = 2
_SMALL = 240  # pixels of the longer side


@dataclass(frozen=True)
class _Scene:
    task: str
    pair: Pair


class Gallery:
    """Scenes of the sample, one small picture per source. The sample is made on first use.

    Args:
        room: where small pictures are kept.
    """

    def __init__(self, room: Workroom) -> None:
        self._room = room

    @cached_property
    def _scenes(self) -> tuple[_Scene, ...]:
        found: list[_Scene] = []
        for name in SAMPLE_TASKS:
            pairs = list(sample_pairs(catalogue.tasks.get(name)).split("test"))
            found += [_Scene(name, pair) for pair in pairs[:: -(-len(pairs) // _PER_TASK)]]
        return tuple(found)

    def describe(self) -> list[dict[str, Any]]:
        """Write the scenes for the page."""
        return [
            {"task": scene.task, "name": scene.pair.name, "sources": len(scene.pair.files)} for scene in self._scenes
        ]

    def picture(self, number: int, source: int) -> Path:
        """Return the small picture of a source.

        Raises:
            fusionkit.errors.UsageError: there is none.
        """
        pair = self._scene(number).pair
        if not 0 <= source < len(pair.files):
            raise UsageError("there is no such picture in the gallery")
        file = self._room.folder / f"gallery-{number}-{source}.png"
        if not file.is_file():
            write_shown(file, read_image(pair.files[source]), longest=_SMALL)
        return file

    def take(self, number: int) -> tuple[SourceSet, str]:
        """Make a set of sources of a scene; return it with the name of its task.

        Raises:
            fusionkit.errors.UsageError: there is no such scene.
        """
        scene = self._scene(number)
        taken = self._room.new_set()
        roles = catalogue.tasks.get(scene.task).sources
        for role, file in zip(roles, scene.pair.files, strict=True):
            source = taken.add_source(role)
            shutil.copyfile(file, source.place_for(file.name))
        if scene.pair.truth is not None:
            taken.truth = taken.folder / f"truth{scene.pair.truth.suffix}"
            shutil.copyfile(scene.pair.truth, taken.truth)
        return taken, scene.task

    def _scene(self, number: int) -> _Scene:
        if not 0 <= number < len(self._scenes):
            raise UsageError("there is no such scene in the gallery")
        return self._scenes[number]
