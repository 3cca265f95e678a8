"""Make the sample of a task: a folder of PNGs with a manifest."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from fusionkit.data.manifest import FILENAME, read_manifest, write_manifest
from fusionkit.data.pair_checks import verify
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.io.atomic import folder_written_aside
from fusionkit.io.locks import file_lock
from fusionkit.tasks import Task

if TYPE_CHECKING:
    from fusionkit.data.sample.photographs import Scene

__all__ = [
    "CACHE_VARIABLE",
    "SAMPLE_TASKS",
    "VERSION",
    "cache_folder",
    "make_once",
    "make_scenes",
    "sample_pairs",
    "write_scene",
]

VERSION = 1
"""Increased when the same seed gives other pictures than before."""

CACHE_VARIABLE = "FUSIONKIT_CACHE"
"""Environment variable: the folder for samples instead of the user's cache folder."""

LICENCE = "made by fusionkit from photographs in the public domain or under CC0, as scikit-image ships them"

_MAKERS = {
    "ivif": "fusionkit.data.sample.infrared_visible:thermal_scenes",
    "mif": "fusionkit.data.sample.medical_slices:slice_scenes",
    "mfif": "fusionkit.data.sample.multi_focus:focus_scenes",
    "meif": "fusionkit.data.sample.multi_exposure:exposure_scenes",
}

SAMPLE_TASKS = tuple(_MAKERS)
"""The tasks that have a sample."""

_NOTE = """{heading}

Small synthetic pairs to try fusionkit with: not a benchmark; {licence}.
MANIFEST.csv lists the pairs, their split and their digests; truth/, where there is one, holds the known fused images.
"""


def make_scenes(task: Task, *, seed: int = 0) -> list[Scene]:
    """Make the sample of a task in memory; the same seed gives the same pictures.

    Raises:
        fusionkit.errors.UsageError: the task has no sample.
    """
    if task.name not in _MAKERS:
        raise UsageError(f"there is no built-in sample for task {task.name!r}: {did_you_mean(task.name, _MAKERS)}")
    from numpy.random import Generator, default_rng

    module, _, name = _MAKERS[task.name].partition(":")
    maker: Callable[[Generator], list[Scene]] = getattr(import_module(module), name)
    return maker(default_rng([seed, SAMPLE_TASKS.index(task.name)]))


def sample_pairs(task: Task, folder: Path | None = None, *, seed: int = 0) -> PairSet:
    """Return the built-in sample of a task, made on first use: train and test pairs of about 256 x 256 pixels.

    Args:
        task: one of the four built-in tasks.
        folder: where to write it; the user's cache, by version and seed, when None. It is written atomically; a folder
            that already holds this sample is used as it is.
        seed: another seed gives other noise, light, bodies and heads from the same photographs.

    Returns:
        The pairs, with their truth where the task has one.

    Raises:
        fusionkit.errors.DataError: ``folder`` holds something else, or cannot be written.
        fusionkit.errors.UsageError: the task has no sample, or ``seed`` is negative.
    """
    if seed < 0:
        raise UsageError(f"seed: a sample's seed is 0 or more, got {seed}")
    target = cache_folder() / f"sample-v{VERSION}-seed{seed}" / task.name if folder is None else folder
    heading = f"fusionkit sample, task {task.name}, version {VERSION}, seed {seed}"

    def write(aside: Path) -> None:
        pairs = tuple(write_scene(aside, task, scene) for scene in make_scenes(task, seed=seed))
        write_manifest(aside / FILENAME, PairSet(task, pairs, str(target)))

    def check() -> None:
        verify(read_manifest(target / FILENAME, task))

    make_once(target, _NOTE.format(heading=heading, licence=LICENCE), write, check, replace=folder is None)
    found = read_manifest(target / FILENAME, task)
    return PairSet(task, found.pairs, f"the built-in sample ({target})", licence=LICENCE, citation="none")


def cache_folder() -> Path:
    """Return fusionkit's cache folder: FUSIONKIT_CACHE, or one in the platform's cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "fusionkit" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fusionkit"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fusionkit"


def make_once(
    folder: Path, note: str, write: Callable[[Path], None], check: Callable[[], None], *, replace: bool
) -> None:
    """Make a sample's folder, unless it exists and is intact.

    Args:
        folder: the folder, which is written atomically.
        note: its README.txt, whose first line identifies the sample, version and seed.
        write: writes the sample into an empty folder.
        check: raises a DataError where ``folder`` is damaged.
        replace: whether a folder with other content is deleted.

    Raises:
        fusionkit.errors.DataError: ``folder`` holds something else, or cannot be written.
    """
    if _holds(folder, note, check):
        return
    if replace:
        # Of several processes that find none, or a damaged one, the first makes it and the others wait.
        with file_lock(folder.with_name(f".{folder.name}.lock"), wait=True):
            if not _holds(folder, note, check):
                shutil.rmtree(folder, ignore_errors=True)
                _make(folder, note, write)
    else:
        _make(folder, note, write)


def _make(folder: Path, note: str, write: Callable[[Path], None]) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: is there already and is not this sample: choose a new or an empty folder")
    with folder_written_aside(folder) as aside:
        write(aside)
        (aside / "README.txt").write_text(note, encoding="utf-8")


def _holds(folder: Path, note: str, check: Callable[[], None]) -> bool:
    """Return whether ``folder`` is this sample, undamaged."""
    try:
        if (folder / "README.txt").read_text(encoding="utf-8").splitlines()[:1] != note.splitlines()[:1]:
            return False
        check()
    except (OSError, UnicodeDecodeError, DataError):
        return False
    return True


def write_scene(folder: Path, task: Task, scene: Scene) -> Pair:
    """Write the images of one scene as PNGs, one sub-folder per source."""
    from fusionkit.io.images import Image, write_image

    places = [*(names[0] for names in task.folders), "truth"]
    files: list[Path] = []
    for place, image in zip(places, (*scene.sources, scene.truth), strict=True):
        if image is not None:
            file = folder / place / f"{scene.name}.png"
            file.parent.mkdir(exist_ok=True)
            write_image(file, Image(image if image.ndim == 3 else image[:, :, None]))
            files.append(file)
    truth = files.pop() if scene.truth is not None else None
    return Pair(scene.name, tuple(files), dataset="sample", split=scene.split, truth=truth)
