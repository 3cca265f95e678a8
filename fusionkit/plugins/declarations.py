"""Data that plugins declare: data sets, metric profiles, and the tables that papers print.

The contracts that are classes stand in :mod:`fusionkit.contracts`. These are records: the target of their entry point
is an instance, and reading one does not import torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionkit.contracts.label_types import LabelKind
from fusionkit.io.text import counted
from fusionkit.runtime.python310 import Traversable, tomllib
from fusionkit.tasks import Task

__all__ = [
    "Dataset",
    "Pairs",
    "Profile",
    "PublishedLabels",
    "PublishedPaper",
    "PublishedRow",
    "PublishedTable",
    "Settings",
]

Settings = Mapping[str, Any]
"""Fields of a metric's class, with the values that a profile gives them."""

Pairs = Any
"""A :class:`fusionkit.data.PairSet`."""


@dataclass(frozen=True, kw_only=True)
class PublishedLabels:
    """Labels of a published data set.

    Attributes:
        kind: masks or boxes.
        classes: names of the classes, by id; of Pascal VOC files, as they stand there.
        verified: what the names, their order and the files' form rest on.
    """

    kind: LabelKind
    classes: tuple[str, ...]
    verified: str


class Dataset(ABC):
    """A data set with a name: the facts about it, and a search for its pairs in the user's copy.

    :class:`fusionkit.data.named_dataset.NamedDataset` finds pairs by path templates and fits nearly every data set.
    Implement this class for one whose pairs follow another rule.

    Attributes:
        name: the registered name.
        title: name in words.
        task: name of the fusion task.
        homepage: where its authors publish it.
        licence: the terms as its authors state them, ``"none stated"`` where they state none.
        citation: the publication to cite.
        images: size, channels and bit depth.
        paper_split: how the papers that we compare with use it; may be blank.
        verified: how the layout was confirmed, or that it could not be; may be blank.
        labels: the labels that are published with it.
        bibtex: BibTeX entry of ``citation``; "" where that is to be quoted as it is.
    """

    name: str
    title: str
    task: str
    homepage: str
    licence: str
    citation: str
    images: str
    paper_split: str = ""
    verified: str = ""
    labels: tuple[PublishedLabels, ...] = ()
    bibtex: str = ""

    @property
    @abstractmethod
    def splits(self) -> dict[str, int | None]:
        """Number of pairs per split as the authors publish it; None where they state no number."""

    @abstractmethod
    def pairs(self, folder: Path | None, task: Task, *, labels: LabelKind | None = None) -> Pairs:
        """Find the pairs.

        Args:
            folder: the user's copy, which is only read; None for the folder that FUSIONKIT_DATA names.
            task: the task to fuse for; it must be the data set's.
            labels: also find the labels of this kind.

        Returns:
            The pairs as a :class:`fusionkit.data.PairSet`.

        Raises:
            fusionkit.errors.DataError: the folder is missing or holds something else.
            fusionkit.errors.UsageError: the task is another one, or no folder is given.
        """


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A named set of conventions: under which settings each metric is computed.

    Attributes:
        name: the registered name; results are labelled with it.
        title: what it stands for.
        source: the code or paper that it follows.
        settings: metric -> fields that differ from the defaults, in table order; None for every registered metric
            with its defaults. A plugin names its own metrics here beside the built-in ones.

    Raises:
        ValueError: a text is blank.
    """

    name: str
    title: str
    source: str
    settings: Mapping[str, Settings] | None

    def __post_init__(self) -> None:
        blank = [field for field in ("name", "title", "source") if not getattr(self, field)]
        if blank:
            raise ValueError(f"profile {self.name or '?'}: {', '.join(blank)} may not be blank")

    def with_changes(self, changes: Mapping[str, Settings]) -> dict[str, Settings]:
        """Settings for a profile that follows this one: a metric in ``changes`` has the settings given there alone."""
        return {**(self.settings or {}), **changes}


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One line of a published table.

    Attributes:
        method: the name that the paper gives it.
        reference: its number in the paper's references, blank if it has none.
        values: one value per metric, None where the paper prints none.
    """

    method: str
    reference: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """One table of a paper, or the part of one that is about one data set.

    Attributes:
        paper: the paper's key (``"refusion"``).
        citation: the paper.
        table: its number there.
        kind: ``"comparison"``, ``"ablation"``, ``"hyperparameter"``, ``"segmentation"``, ``"detection"`` or
            ``"parameters"``. Comparisons are shown beside measured values.
        task: name of the fusion task; blank for parameters.
        dataset: the data set as the paper calls it; blank for parameters.
        covers: registered data sets that it stands beside.
        pairs: number of test pairs, None where it does not apply.
        profile: metric profile under which our values compare with it; blank where none does.
        metrics: registered names of the columns, or the printed ones where no registered metric is meant.
        printed: the columns' headings as printed.
        rows: its lines, as printed.
    """

    paper: str
    citation: str
    table: int
    kind: str
    task: str
    dataset: str
    covers: tuple[str, ...]
    pairs: int | None
    profile: str
    metrics: tuple[str, ...]
    printed: tuple[str, ...]
    rows: tuple[PublishedRow, ...]

    @property
    def label(self) -> str:
        """Place of the table: ``"refusion, Table 1 (MSRS)"``."""
        return f"{self.paper}, Table {self.table}" + (f" ({self.dataset})" if self.dataset else "")


@dataclass(frozen=True, kw_only=True)
class PublishedPaper:
    """The tables that a paper prints.

    Attributes:
        key: the registered name (``"refusion"``).
        title: the paper's title.
        citation: authors, place and year.
        tables: its tables, in its order.
        profile: the metric profile that its comparisons were computed under; blank where no profile fits.
        protocol_of: the tasks whose usual protocol it is: a bench of these uses :attr:`profile` if none is named.
    """

    key: str
    title: str
    citation: str
    tables: tuple[PublishedTable, ...]
    profile: str = ""
    protocol_of: tuple[str, ...] = ()

    @classmethod
    def read(cls, file: Traversable) -> PublishedPaper:
        """Read a paper's tables from TOML: a section ``[paper]`` and one ``[[panel]]`` per table and data set.

        ``[paper]`` has ``key``, ``title``, ``citation`` and may have ``profile`` and ``protocol_of``. A panel has
        ``table``, ``kind``, ``metrics``, ``printed`` and ``rows``, and may have ``task``, ``dataset``, ``covers``
        (the data set by default), ``pairs`` and ``profile``. A row is the method's name, its reference number ("" for
        none) and one value per metric; ``"/"`` where the paper prints none.

        Args:
            file: for example ``importlib.resources.files("my_package") / "tables.toml"``.

        Raises:
            ValueError: the file is not TOML, an entry is missing, or a row has another number of values.
        """
        data = tomllib.loads(file.read_text(encoding="utf-8"))
        try:
            paper = data["paper"]
            key, title, citation = paper["key"], paper["title"], paper["citation"]
        except KeyError as error:
            raise ValueError(f"{file.name}: [paper] with key, title and citation: {error} is missing") from None
        return cls(
            key=key,
            title=title,
            citation=citation,
            tables=tuple(
                _table(key, citation, panel, f"{file.name}, panel {number}")
                for number, panel in enumerate(data.get("panel", ()), 1)
            ),
            profile=paper.get("profile", ""),
            protocol_of=tuple(paper.get("protocol_of", ())),
        )


def _table(paper: str, citation: str, panel: Mapping[str, Any], where: str) -> PublishedTable:
    missing = [name for name in ("table", "kind", "metrics", "printed", "rows") if name not in panel]
    if missing:
        raise ValueError(f"{where}: {', '.join(missing)} is missing")
    width = len(panel["metrics"])
    for row in (panel["printed"], *(row[2:] for row in panel["rows"])):
        if len(row) != width:
            raise ValueError(
                f"{where}: {row} has {counted(len(row), 'value')} for the {width} metrics {panel['metrics']}"
            )
    dataset = panel.get("dataset", "")
    return PublishedTable(
        paper=paper,
        citation=citation,
        table=panel["table"],
        kind=panel["kind"],
        task=panel.get("task", ""),
        dataset=dataset,
        covers=tuple(panel.get("covers", (dataset,) if dataset else ())),
        pairs=panel.get("pairs"),
        profile=panel.get("profile", ""),
        metrics=tuple(panel["metrics"]),
        printed=tuple(panel["printed"]),
        rows=tuple(
            PublishedRow(
                method=method,
                reference=reference,
                values=tuple(None if value == "/" else float(value) for value in values),
            )
            for method, reference, *values in panel["rows"]
        ),
    )
