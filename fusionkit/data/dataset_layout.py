"""The folder layout of a published data set as path templates, and the search for the files that match them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from fusionkit.contracts.label_types import LabelKind
from fusionkit.data.pair_set import IMAGE_SUFFIXES, LABEL_SUFFIXES, Pair, Problem
from fusionkit.data.pairing import children, match_listings
from fusionkit.errors import DataError
from fusionkit.io.regular_files import read_regular_text

__all__ = ["Layout", "Part", "files_of"]

_FIELD = re.compile(r"\{(\w+)(:d)?\}|\*")


@dataclass(frozen=True, kw_only=True)
class Part:
    """Pairs that lie together in a data set: usually one split.

    A template is a path without suffix, relative to the data set's folder. ``{field}`` matches a part of
    the pair's name, ``{field:d}`` digits, ``*`` anything; case does not matter. The pair's name is the fields joined by
    ``-``. ``train/ir/{name}`` and ``train/vi/{name}`` pair the files of equal stem.

    Attributes:
        split: name of the split, or "".
        sources: one template per source in the task's order; or one template that matches a stack of exposures, of
            which the second and the last but one in natural order are taken (first and last of fewer than five).
        pairs: how many pairs its authors publish, None where that is not stated.
        truth: template of the known fused image, or "".
        only: where not empty, the names that belong to this part.
        without: names that do not belong to this part.
        irregular: whether names follow several rules, so that a file without a partner in this part may have one in
            another part.
        listed: where not empty, a text file with one name per line: only those names belong to this part.
        skip: where not empty, names of this form (``"*_flip"``) belong to no part.
        masks: template of the class-id masks, or "".
        boxes: template of the files of boxes, or "".
    """

    split: str = ""
    sources: tuple[str, ...]
    pairs: int | None
    truth: str = ""
    only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    irregular: bool = False
    listed: str = ""
    skip: str = ""
    masks: str = ""
    boxes: str = ""

    def find(
        self, root: Path, dataset: str, labels: LabelKind | None = None
    ) -> tuple[tuple[Pair, ...], tuple[Problem, ...]]:
        """Find the pairs of this part under ``root``, and the problems with them.

        With ``labels``, each pair has its label of this kind where there is one; a part without such labels gives none.
        """
        template = {"segmentation": self.masks, "detection": self.boxes, None: ""}[labels]
        names = self._names(root)
        if (labels is not None and not template) or names == frozenset():
            return (), ()
        listings = [self._chosen(files_of(root, source), names) for source in self.sources]
        if len(listings) == 1:
            listings = _ends(listings[0])
        places = [source.rpartition("/")[0] or source for source in self.sources]
        pairs, problems = match_listings(listings, (places * 2)[: len(listings)], dataset=dataset, split=self.split)
        if self.irregular:
            problems = ()
        truths = files_of(root, self.truth) if self.truth and pairs else {}
        pairs = tuple(replace(pair, truth=truths[pair.name][0]) if pair.name in truths else pair for pair in pairs)
        if labels is not None and pairs:
            found = files_of(root, template, LABEL_SUFFIXES[labels])
            pairs = tuple(replace(pair, label=found[pair.name][0]) if pair.name in found else pair for pair in pairs)
        if pairs and self.pairs not in (None, len(pairs)):
            what = f"{len(pairs)} complete pairs were found where its authors publish {self.pairs}"
            problems = (*problems, Problem(f"{dataset}{self.split and ' '}{self.split}", what, self.split))
        return pairs, problems

    def _names(self, root: Path) -> frozenset[str] | None:
        """Read the names in the list: an empty set where the file is missing, None where this part has no list."""
        if not self.listed:
            return None
        file = root / self.listed
        if not file.is_file():
            return frozenset()
        try:
            lines = read_regular_text(file).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file}: cannot be read as a list of names: {error}") from error
        return frozenset(_without_suffix(line.strip()) for line in lines if line.strip())

    def _chosen(self, listing: Mapping[str, list[Path]], names: frozenset[str] | None) -> dict[str, list[Path]]:
        return {
            name: files
            for name, files in listing.items()
            if name not in self.without
            and (not self.only or name in self.only)
            and (names is None or name in names)
            and not (self.skip and fnmatchcase(name, self.skip))
        }


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One form in which a data set is published.

    Attributes:
        source: who publishes it in this form.
        parts: the parts of the data set.
        packed: where not empty, the template of images that hold the first source as a fourth channel of the second;
            ``parts`` then says how they lie once they are unpacked.
    """

    source: str
    parts: tuple[Part, ...]
    packed: str = ""

    def find(
        self, root: Path, dataset: str, labels: LabelKind | None = None
    ) -> tuple[tuple[Pair, ...], tuple[Problem, ...]]:
        """Find the pairs of all parts under ``root``; a part without any pair is not reported as a problem."""
        pairs: list[Pair] = []
        problems: list[Problem] = []
        for part in self.parts:
            found, wrong = part.find(root, dataset, labels)
            if found:
                pairs += found
                problems += wrong
        return tuple(pairs), tuple(problems)

    def __str__(self) -> str:
        return "; ".join(" with ".join(part.sources) for part in self.parts)


def _ends(stacks: Mapping[str, Sequence[Path]]) -> list[dict[str, list[Path]]]:
    first: dict[str, list[Path]] = {}
    last: dict[str, list[Path]] = {}
    for name, files in stacks.items():
        if len(files) > 1:
            ordered = sorted(files, key=lambda file: [int(run) for run in re.findall(r"\d+", file.stem)] or [0])
            skip = 1 if len(files) >= 5 else 0
            first[name], last[name] = [ordered[skip]], [ordered[-1 - skip]]
    return [first, last]


def files_of(root: Path, template: str, suffixes: Collection[str] = IMAGE_SUFFIXES) -> dict[str, list[Path]]:
    """Find the files that match a template of :class:`Part`.

    Args:
        root: the data set's folder.
        template: a path without suffix, with fields.
        suffixes: the suffixes to look for, in lower case; those of images by default.

    Returns:
        Pair name -> files.
    """
    found: defaultdict[str, list[Path]] = defaultdict(list)
    *folders, last = template.split("/")
    for folder, fields in _descend(root, folders, {}):
        for file in children(folder):
            if file.suffix.lower() in suffixes and (bound := _bind(last, file.stem, fields)) is not None:
                found["-".join(bound.values())].append(file)
    return dict(found)


def _without_suffix(name: str) -> str:
    """Return the name in a line of a list: ``00001D`` of ``00001D``, ``00001D.png`` or ``images/00001D.png``."""
    last = name.split()[0].rpartition("/")[2]
    stem, dot, suffix = last.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in IMAGE_SUFFIXES else last


def _descend(folder: Path, steps: Sequence[str], fields: dict[str, str]) -> Iterator[tuple[Path, dict[str, str]]]:
    if not steps:
        yield folder, fields
        return
    for child in children(folder):
        if (bound := _bind(steps[0], child.name, fields)) is not None and child.is_dir():
            yield from _descend(child, steps[1:], bound)


def _bind(step: str, name: str, fields: Mapping[str, str]) -> dict[str, str] | None:
    """Match a name with one step of a template: ``fields`` and those that it adds, or None if it does not match."""
    pattern = ""
    at = 0
    new: list[str] = []
    for mark in _FIELD.finditer(step):
        pattern += re.escape(step[at : mark.start()])
        at = mark.end()
        field = mark[1]
        if field is None:
            pattern += ".*"
        elif field in fields:
            pattern += re.escape(fields[field])
        elif field in new:
            pattern += f"(?P={field})"
        else:
            new.append(field)
            pattern += f"(?P<{field}>" + (r"\d+)" if mark[2] else ".+)")
    match = re.fullmatch(pattern + re.escape(step[at:]), name, re.IGNORECASE)
    return None if match is None else {**fields, **match.groupdict()}
