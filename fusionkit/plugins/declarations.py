"""What plugins declare as data: data sets.

The contracts that are classes stand in :mod:`fusionkit.contracts`. These are records: the target of their entry point
is an instance, and reading one does not import torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionkit.label_types import LabelKind
from fusionkit.tasks import Task

__all__ = ["Dataset", "Pairs", "PublishedLabels"]

Pairs = Any
"""A :class:`fusionkit.data.PairSet`."""


@dataclass(frozen=True, kw_only=True)
class PublishedLabels:
    """What is known of the labels of a published data set.

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
