"""Named data sets: complete records, found on disk as their authors publish them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import pytest

from fusionkit.data.dataset_layout import Layout, Part
from fusionkit.data.named_dataset import DATA_VARIABLE, NamedDataset
from fusionkit.errors import DataError, UsageError
from fusionkit.tasks import IVIF, MEIF, MFIF, MIF, Task

_TASKS = {task.name: task for task in (IVIF, MIF, MFIF, MEIF)}


def _records() -> list[NamedDataset]:
    modules = [import_module(f"fusionkit.data.published.{task}") for task in _TASKS]
    return [getattr(module, name) for module in modules for name in module.__all__]


_RECORDS = {record.name: record for record in _records()}
_LAYOUTS = [(record, layout) for record in _RECORDS.values() for layout in record.layouts]


def _fill(template: str, **fields: str) -> str:
    """A path of a template, each field with its value, stars with a word."""
    return re.sub(r"\{(\w+)(?::d)?\}", lambda mark: fields.get(mark[1], "7"), template).replace("*", "mid")


def _touch(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


def _list(file: Path, names: Iterable[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name}.png\n" for name in names))


def _make(root: Path, part: Part) -> set[str]:
    """Two pairs of a part, as empty files; gives their names."""
    first = re.search(r"\{(\w+)", part.sources[0])
    assert first is not None
    names = sorted(part.only)[:2] or ["11", "12"]
    for name in names:
        for template in part.sources:
            if len(part.sources) > 1:
                _touch(root / (_fill(template, **{first[1]: name}) + ".png"))
            else:
                for exposure in range(1, 8):
                    _touch(root / (_fill(template.replace("/*", f"/{exposure}"), scene=name) + ".png"))
        if part.listed:
            _list(root / part.listed, names)
        if part.truth:
            _touch(root / (_fill(part.truth, **{"scene" if len(part.sources) == 1 else first[1]: name}) + ".png"))
    return set(names)


def test_the_sets_of_the_papers_and_their_rivals_are_there() -> None:
    assert set(_RECORDS) == {
        *("MSRS", "RoadScene", "TNO", "FMB", "M3FD", "LLVIP", "MFNet"),
        *("Harvard_MRI_CT", "Harvard_MRI_PET", "Harvard_MRI_SPECT"),
        *("RealMFF", "Lytro", "MFI-WHU", "MFFW", "SICE", "MEFB"),
    }


@pytest.mark.parametrize("name", _RECORDS)
def test_a_record_says_everything(name: str) -> None:
    record = _RECORDS[name]
    assert record.task in _TASKS
    assert re.match(r"https?://", record.homepage)
    assert re.search(r"(19|20)\d\d|AANLIB", record.citation)
    assert len(record.verified) > 40, "says where the layout was read, or that it was not"
    for layout in record.layouts:
        assert layout.source
        for part in layout.parts:
            assert len(part.sources) in (1, len(_TASKS[record.task].sources))


def test_a_blank_field_is_refused_where_it_has_no_default() -> None:
    layout = Layout(source="us", parts=(Part(sources=("a/{n}", "b/{n}"), pairs=None),))
    said = dict.fromkeys(("title", "homepage", "citation", "images"), "x")
    own = NamedDataset(name="D", task="ivif", licence="CC0", layouts=(layout,), **said)
    assert (own.paper_split, own.verified, own.labels) == ("", "", ())
    with pytest.raises(ValueError, match="data set D: licence may not be blank"):
        NamedDataset(name="D", task="ivif", licence="", layouts=(layout,), **said)


def test_the_published_numbers_are_those_of_the_papers() -> None:
    assert _RECORDS["MSRS"].splits == {"train": 1083, "test": 361}
    assert _RECORDS["FMB"].splits == {"train": 1220, "test": 280}
    assert _RECORDS["M3FD"].splits == {"detection": 4200, "fusion": 300}
    assert _RECORDS["LLVIP"].splits == {"train": 12025, "test": 3463}
    assert sum(_RECORDS["LLVIP"].splits.values()) * 2 == 30976  # type: ignore[arg-type]  # images, by its README
    assert sum(_RECORDS["MFNet"].splits.values()) == 1569  # type: ignore[arg-type]  # by its README
    assert _RECORDS["RealMFF"].splits == {"": 710}
    assert _RECORDS["RoadScene"].splits == {"train": None, "test": 50}
    assert len(_RECORDS["RoadScene"].layouts[0].parts[1].only) == 50


@pytest.mark.parametrize(
    ("record", "layout"), _LAYOUTS, ids=[f"{r.name}-{r.layouts.index(lay)}" for r, lay in _LAYOUTS]
)
@pytest.mark.parametrize("below", ["", "{name}-main", "{name}/unpacked"])
def test_every_layout_is_found_in_its_folder_and_below_one_of_its_name(
    tmp_path: Path, record: NamedDataset, layout: Layout, below: str
) -> None:
    root = tmp_path / below.format(name=record.name)
    root.mkdir(parents=True, exist_ok=True)
    expected: dict[str, set[str]] = {}
    for part in layout.parts:
        names = _make(root, part)
        expected.setdefault(part.split, set()).update(names)
    pairs = record.locate(tmp_path, _TASKS[record.task])
    assert set(pairs.splits) == set(expected)
    for pair in pairs:
        assert any(
            pair.name.split("-")[-1] == name.split("-")[-1] or name in pair.name for name in expected[pair.split]
        )
        assert len(pair.files) == 2
        assert all(file.is_file() for file in pair.files)
        assert (pair.truth is not None) == bool(layout.parts[0].truth)
        assert pair.dataset == record.name
    assert pairs.licence == record.licence
    assert pairs.citation == record.citation
    # Two pairs are never all that was published, and that does not pass in silence.
    counted = [part for part in layout.parts if part.pairs is not None]
    assert sum("authors publish" in problem.what for problem in pairs.problems) == len(counted)


def test_the_first_source_is_the_task_s_first(tmp_path: Path) -> None:
    for place in ("infrared/train/1.jpg", "visible/train/1.jpg"):
        _touch(tmp_path / place)
    assert [file.parts[-3] for file in _RECORDS["LLVIP"].locate(tmp_path, IVIF)[0].files] == ["infrared", "visible"]


def test_a_complete_set_has_no_problems(tmp_path: Path) -> None:
    for n in range(1, 21):
        for side in "AB":
            _touch(tmp_path / f"lytro-{n:02}-{side}.jpg")
    pairs = _RECORDS["Lytro"].locate(tmp_path, MFIF)
    assert len(pairs) == 20
    assert not pairs.problems


def test_a_split_that_was_not_fetched_is_no_problem_until_it_is_asked_for(tmp_path: Path) -> None:
    for n in range(361):
        for side in ("ir", "vi"):
            _touch(tmp_path / "test" / side / f"{n:05}N.png")
    pairs = _RECORDS["MSRS"].locate(tmp_path, IVIF)
    assert not pairs.problems
    with pytest.raises(UsageError, match="has no split 'train'"):
        pairs.split("train")


def test_a_manifest_with_rows_of_the_set_is_read(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.csv").write_text(
        "task,dataset,split,name,file_a,file_b\nivif,MSRS,test,1,a.png,b.png\nivif,TNO,test,2,c.png,d.png\n"
    )
    pairs = _RECORDS["MSRS"].locate(tmp_path, IVIF)
    assert [pair.name for pair in pairs] == ["1"]
    assert pairs.citation == _RECORDS["MSRS"].citation


def test_a_wrong_folder_gives_what_was_expected_what_is_there_and_where_to_get_it(tmp_path: Path) -> None:
    _touch(tmp_path / "photos" / "1.png")
    with pytest.raises(DataError) as caught:
        _RECORDS["MSRS"].locate(tmp_path, IVIF)
    message = str(caught.value)
    assert "expected train/ir/{name} with train/vi/{name}; test/ir/{name} with test/vi/{name}" in message
    assert "it holds: photos" in message
    assert "github.com/Linfeng-Tang/MSRS" in message
    assert "\n" not in message


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: no such folder; MSRS is published at https"):
        _RECORDS["MSRS"].locate(tmp_path / "gone", IVIF)


@pytest.mark.parametrize("task", [MIF, MFIF, MEIF])
def test_another_task_is_an_error(tmp_path: Path, task: Task) -> None:
    with pytest.raises(UsageError, match=f"MSRS is for task ivif, not {task.name}"):
        _RECORDS["MSRS"].locate(tmp_path, task)


def test_without_a_folder_the_variable_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in (1, 2):
        for side in ("ir", "vi"):
            _touch(tmp_path / "MSRS" / "test" / side / f"{n}.png")
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert len(_RECORDS["MSRS"].pairs(None, IVIF)) == 2
    monkeypatch.delenv(DATA_VARIABLE)
    with pytest.raises(UsageError, match="write MSRS:DIR"):
        _RECORDS["MSRS"].pairs(None, IVIF)


def test_real_pairs_are_found_under_the_names_of_the_records(data_dir: Path) -> None:
    for name in ("MSRS", "RoadScene", "Harvard_MRI_PET", "Lytro", "MFFW", "MEFB"):
        record = _RECORDS[name]
        assert len(record.locate(data_dir, _TASKS[record.task]).split("test")) > 0
