"""Named data sets: facts about each, and the search for its pairs in the user's copy.

Nothing is ever downloaded: a record says where the authors publish a data set and under which licence; the user
fetches it, and :meth:`NamedDataset.locate` checks that what lies there is it. A third party adds a data set with an
entry point in ``fusionkit.datasets`` whose target is an instance of :class:`NamedDataset`, or of another
:class:`fusionkit.plugins.declarations.Dataset`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path

from fusionkit.contracts.label_types import LabelKind, LabelSpec
from fusionkit.data.dataset_layout import Layout, files_of
from fusionkit.data.manifest import FILENAME, read_manifest
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.data.pairing import children
from fusionkit.errors import DataError, UsageError
from fusionkit.plugins.declarations import Dataset, PublishedLabels
from fusionkit.tasks import Task

__all__ = ["DATA_VARIABLE", "NamedDataset", "PublishedLabels"]

DATA_VARIABLE = "FUSIONKIT_DATA"
"""Environment variable: the folder in which ``NAME`` without a folder is searched."""


@dataclass(frozen=True, kw_only=True)
class NamedDataset(Dataset):
    """A data set whose pairs are found by path templates. Fields without a default may not be blank.

    Attributes:
        name: the registered name.
        title: name in words.
        task: name of the fusion task.
        homepage: where its authors publish it.
        licence: the terms as its authors state them, ``"none stated"`` where they state none.
        citation: the publication to cite.
        layouts: the forms in which it is published; the first is the authors' own.
        images: size, channels and bit depth.
        paper_split: how the papers that we compare with use it, and which lists are public.
        verified: how the layout was confirmed, or that it could not be.
        labels: the labels that are published with it; ``masks`` or ``boxes`` of the parts say where they lie.
        bibtex: BibTeX entry of ``citation``; "" where that is to be quoted as it is.

    Raises:
        ValueError: a field is blank.
    """

    name: str
    title: str
    task: str
    homepage: str
    licence: str
    citation: str
    layouts: tuple[Layout, ...]
    images: str
    paper_split: str = ""
    verified: str = ""
    labels: tuple[PublishedLabels, ...] = ()
    bibtex: str = ""

    def __post_init__(self) -> None:
        blank = [field.name for field in fields(self) if field.default is MISSING and not getattr(self, field.name)]
        if blank:
            raise ValueError(f"data set {self.name or '?'}: {', '.join(blank)} may not be blank")

    @property
    def splits(self) -> dict[str, int | None]:
        """Number of pairs of each split as the authors publish it; None where they state no number."""
        counts: dict[str, int | None] = {}
        for part in self.layouts[0].parts:
            known = counts.get(part.split, 0)
            counts[part.split] = None if part.pairs is None or known is None else known + part.pairs
        return counts

    def locate(self, folder: Path, task: Task, *, labels: LabelKind | None = None) -> PairSet:
        """Find the pairs of this data set in ``folder``.

        ``folder`` holds the unpacked data set, or a sub-folder with it that starts with its name, or a
        ``MANIFEST.csv`` with rows of this data set.

        Args:
            folder: where to look; it is only read.
            task: the task to fuse for; it must be the data set's.
            labels: also find the labels of this kind.

        Returns:
            The pairs; a number of pairs that is not the published one is among its ``problems``.

        Raises:
            fusionkit.errors.DataError: the folder is not there or holds something else.
            fusionkit.errors.UsageError: the data set is for another task.
        """
        if task.name != self.task:
            raise UsageError(f"data set {self.name} is for task {self.task}, not {task.name}")
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; {self.name} is published at {self.homepage}")
        if (folder / FILENAME).is_file():
            return self._described(read_manifest(folder / FILENAME, task, dataset=self.name, labels=labels))
        spec = self._label_spec(labels) if labels is not None else None
        for place in self._places(folder):
            found = [(layout, *layout.find(place, self.name, labels)) for layout in self.layouts]
            layout, pairs, problems = max(found, key=lambda item: (_labelled(item[1]), len(item[1])))
            if pairs:
                origin = f"{self.name} in {place} (as {layout.source} publishes it)"
                return self._described(PairSet(task, pairs, origin, problems=problems, labels=spec))
            self._refuse_packed(place)
        holds = ", ".join([child.name for child in children(folder)][:6]) or "nothing"
        raise DataError(
            f"{folder} does not hold {self.name}: expected {self.layouts[0]}; it holds: {holds}; "
            f"the data set is published at {self.homepage}"
        )

    def pairs(self, folder: Path | None, task: Task, *, labels: LabelKind | None = None) -> PairSet:
        """Find the pairs like :meth:`locate`; without a folder, in that of the environment variable FUSIONKIT_DATA.

        Raises:
            fusionkit.errors.UsageError: no folder is given and the variable is not set.
        """
        if folder is not None:
            return self.locate(folder, task, labels=labels)
        root = os.environ.get(DATA_VARIABLE)
        if not root:
            raise UsageError(
                f"data set {self.name}: write {self.name}:DIR with the folder that holds it, or set {DATA_VARIABLE}; "
                f"it is published at {self.homepage}"
            )
        return self.locate(Path(root), task, labels=labels)

    def _label_spec(self, kind: LabelKind) -> LabelSpec:
        for known in self.labels:
            if known.kind == kind:
                return LabelSpec(kind, known.classes)
        kinds = " and ".join(known.kind for known in self.labels)
        raise UsageError(f"data set {self.name}: no {kind} labels are known{kinds and f'; it has labels for {kinds}'}")

    def _refuse_packed(self, place: Path) -> None:
        for layout in self.layouts:
            if layout.packed and files_of(place, layout.packed):
                raise DataError(
                    f"{place}: its images hold the infrared as a fourth channel; separate the sources first: "
                    f"fusionkit data unpack {self.name}:{place} -o OUT"
                )

    def _described(self, found: PairSet) -> PairSet:
        return replace(found, licence=self.licence, citation=self.citation)

    def _places(self, folder: Path) -> Iterator[Path]:
        yield folder
        wanted = _plain(self.name)
        for child in children(folder):
            if child.is_dir() and _plain(child.name).startswith(wanted):
                yield child
                yield from (inner for inner in children(child) if inner.is_dir())


def _labelled(pairs: tuple[Pair, ...]) -> int:
    return sum(pair.label is not None for pair in pairs)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
