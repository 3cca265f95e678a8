"""Matching of the files of several folders by stem, number, order and pattern."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.data.pairing import image_files, match_folders, match_listings
from fusionkit.errors import DataError, UsageError


def folders(root: Path, *listings: tuple[str, ...]) -> list[Path]:
    """One folder ``a``, ``b``... per listing, with empty files of these names."""
    made = [root / "abcdef"[k] for k in range(len(listings))]
    for folder, names in zip(made, listings, strict=True):
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    return made


def matched(root: Path, by: str, *listings: tuple[str, ...]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Names of the files of every pair by the pair's name, and the problems."""
    pairs, problems = match_folders(folders(root, *listings), by=by)
    return {pair.name: tuple(file.name for file in pair.files) for pair in pairs}, [str(p) for p in problems]


def test_numbers_match_whatever_stands_around_them(tmp_path: Path) -> None:
    pairs, problems = matched(
        tmp_path, "number", ("IR_0002.PNG", "IR_0001.PNG", "IR_0010.png"), ("VIS_1.jpg", "VIS_10.jpg", "VIS_2.jpg")
    )
    assert pairs == {
        "IR_0001": ("IR_0001.PNG", "VIS_1.jpg"),
        "IR_0002": ("IR_0002.PNG", "VIS_2.jpg"),
        "IR_0010": ("IR_0010.png", "VIS_10.jpg"),
    }
    assert list(pairs) == ["IR_0001", "IR_0002", "IR_0010"]
    assert problems == []


def test_the_number_is_the_last_one_that_differs_between_all_files(tmp_path: Path) -> None:
    pairs, _ = matched(tmp_path, "number", ("cam1_007_640.png", "cam1_008_640.png"), ("8_v2.png", "7_v2.png"))
    assert pairs == {
        "cam1_007_640": ("cam1_007_640.png", "7_v2.png"),
        "cam1_008_640": ("cam1_008_640.png", "8_v2.png"),
    }


def test_a_number_without_partner_or_with_two_files_is_a_problem(tmp_path: Path) -> None:
    pairs, problems = matched(tmp_path, "number", ("a1.png", "b1.png", "a2.png", "a3.png"), ("1.png", "2.png", "4.png"))
    assert pairs == {"a2": ("a2.png", "2.png")}
    assert len(problems) == 3
    assert any("two files" in problem and "b1.png" in problem for problem in problems)


def test_order_counts_numbers_in_names_as_numbers(tmp_path: Path) -> None:
    pairs, problems = matched(
        tmp_path,
        "order",
        ("img10.png", "img2.png", "img1.png"),
        ("x.jpg", "z.jpg", "y.jpg"),
        ("3.png", "20.png", "1.png"),
    )
    assert pairs == {
        "img1": ("img1.png", "x.jpg", "1.png"),
        "img2": ("img2.png", "y.jpg", "3.png"),
        "img10": ("img10.png", "z.jpg", "20.png"),
    }
    assert problems == []


@pytest.mark.parametrize(
    ("listings", "words"),
    [
        ((("1.png", "2.png"), ("1.png",)), "as many images in each folder.*a 2, .*b 1"),
        ((("1.png", "1.jpg"), ("1.png", "2.png")), "1.jpg and 1.png would give results of one name"),
    ],
)
def test_order_refuses_what_it_cannot_match(tmp_path: Path, listings: tuple[tuple[str, ...], ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        match_folders(folders(tmp_path, *listings), by="order")


def test_a_pattern_takes_what_is_around_a_name_off_where_it_fits(tmp_path: Path) -> None:
    pairs, problems = matched(
        tmp_path, "pattern:{name}_fused", ("1_fused.png", "2.b_fused.png", "lone_fused.png"), ("1.png", "2.b.png")
    )
    assert pairs == {"1": ("1_fused.png", "1.png"), "2.b": ("2.b_fused.png", "2.b.png")}
    assert problems == ["lone: no partner in b"]


@pytest.mark.parametrize("by", ["pattern:fused", "pattern:{name}{name}", "pattern:"])
def test_a_pattern_needs_the_name_once(tmp_path: Path, by: str) -> None:
    with pytest.raises(UsageError, match=r"needs \{name\} once"):
        match_folders(folders(tmp_path, ("1.png",), ("1.png",)), by=by)


def test_an_unknown_rule_is_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'number'"):
        match_folders(folders(tmp_path, ("1.png",), ("1.png",)), by="numbers")


@pytest.mark.parametrize(
    ("by", "first", "second", "words"),
    [
        ("stem", "IR_1.png", "VIS_1.png", "no file name in common.*by number they would match"),
        ("stem", "a.png", "b.png", "no file name in common: partners need the same name before the suffix$"),
        ("number", "IR_1.png", "VIS_2.png", "no number in common: match them in order"),
        ("pattern:{name}_f", "a_f.png", "b.png", "no name in common by 'pattern:{name}_f'"),
    ],
)
def test_folders_with_nothing_in_common_are_answered_with_what_would_help(
    tmp_path: Path, by: str, first: str, second: str, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        match_folders(folders(tmp_path, (first,), (second,)), by=by)


def test_files_that_are_no_images_and_hidden_files_are_passed_over(tmp_path: Path) -> None:
    (folder,) = folders(tmp_path, ("x.PNG", "x.txt", "._x.png", "Thumbs.db"))
    (folder / "y.png").mkdir()
    assert {stem: [file.name for file in files] for stem, files in image_files(folder).items()} == {"x": ["x.PNG"]}


_STEMS = st.text("abc-_.1", min_size=1, max_size=3)


@given(st.lists(st.dictionaries(_STEMS, st.integers(1, 2), max_size=6), min_size=2, max_size=4))
def test_every_name_is_either_a_whole_pair_or_a_problem(counts: list[dict[str, int]]) -> None:
    listings = [
        {stem: [Path(f"{n}/{stem}.{'png' if k else 'jpg'}") for k in range(count)] for stem, count in side.items()}
        for n, side in enumerate(counts)
    ]
    pairs, problems = match_listings(listings, [str(n) for n in range(len(counts))])
    whole = {stem for stem in counts[0] if all(side.get(stem) == 1 for side in counts)}
    assert [pair.name for pair in pairs] == sorted(whole)
    assert [problem.key for problem in problems] == sorted(set().union(*counts) - whole)
    for pair in pairs:
        assert [file.parent.name for file in pair.files] == [str(n) for n in range(len(counts))]
        assert {file.stem for file in pair.files} == {pair.name}
    for problem in problems:
        lacking = [str(n) for n, side in enumerate(counts) if problem.key not in side]
        assert all(place in problem.what for place in lacking) if lacking else "two files" in problem.what


def test_rare_formats_count_where_a_folder_holds_no_others(tmp_path: Path) -> None:
    one, two = folders(tmp_path, ("1.npy", "2.NPY", "x.txt"), ("1.png", "1.npy", "preview.gif"))
    assert sorted(image_files(one)) == ["1", "2"]
    assert {stem: [file.name for file in files] for stem, files in image_files(two).items()} == {"1": ["1.png"]}
