"""Path templates of published layouts, matched with files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.data.dataset_layout import Layout, Part, files_of
from fusionkit.errors import DataError


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def _found(root: Path, template: str) -> dict[str, list[str]]:
    return {
        name: [file.relative_to(root).as_posix() for file in files] for name, files in files_of(root, template).items()
    }


def test_a_field_is_the_name_and_the_suffix_is_free(tmp_path: Path) -> None:
    _touch(tmp_path, "train/ir/1.png", "train/ir/2.jpg", "train/ir/notes.txt", "train/ir/.3.png", "test/ir/4.png")
    assert _found(tmp_path, "train/ir/{name}") == {"1": ["train/ir/1.png"], "2": ["train/ir/2.jpg"]}


def test_case_does_not_matter_and_keeps_the_name_as_it_is(tmp_path: Path) -> None:
    _touch(tmp_path, "Train/IR/Img_A.PNG")
    assert _found(tmp_path, "train/ir/{name}_a") == {"Img": ["Train/IR/Img_A.PNG"]}


def test_a_field_that_comes_again_must_be_the_same(tmp_path: Path) -> None:
    _touch(tmp_path, "in/s1/s1_A.png", "in/s1/s2_A.png", "in/s2/s2_A.png")
    assert _found(tmp_path, "in/{name}/{name}_A") == {"s1": ["in/s1/s1_A.png"], "s2": ["in/s2/s2_A.png"]}


def test_digits_alone_match_a_field_of_digits(tmp_path: Path) -> None:
    _touch(tmp_path, "Part1/12/1.jpg", "Part1/Label/12.jpg")
    assert _found(tmp_path, "Part{part:d}/{scene:d}/*") == {"1-12": ["Part1/12/1.jpg"]}


def test_signs_of_regular_expressions_in_names_are_only_signs(tmp_path: Path) -> None:
    _touch(tmp_path, "a.b/x(1).png", "aXb/x(2).png")
    assert _found(tmp_path, "a.b/{name}") == {"x(1)": ["a.b/x(1).png"]}


def test_partners_are_found_with_their_truth(tmp_path: Path) -> None:
    _touch(tmp_path, "A/1_A.png", "B/1_B.png", "F/1_F.png", "A/2_A.png", "B/2_B.png")
    part = Part(sources=("A/{name}_A", "B/{name}_B"), pairs=2, truth="F/{name}_F")
    pairs, problems = part.find(tmp_path, "D")
    assert not problems
    assert [(pair.name, [f.name for f in pair.files]) for pair in pairs] == [
        ("1", ["1_A.png", "1_B.png"]),
        ("2", ["2_A.png", "2_B.png"]),
    ]
    assert [pair.truth and pair.truth.name for pair in pairs] == ["1_F.png", None]


def test_a_missing_partner_and_a_wrong_number_of_pairs_are_problems(tmp_path: Path) -> None:
    _touch(tmp_path, "A/1.png", "A/2.png", "B/1.png")
    _, problems = Part(split="test", sources=("A/{name}", "B/{name}"), pairs=2).find(tmp_path, "D")
    assert [str(problem) for problem in problems] == [
        "D/2: no partner in B",
        "D test: 1 complete pairs were found where its authors publish 2",
    ]


def test_a_part_takes_only_its_names(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"{side}/{n}.png" for side in "AB" for n in range(4)))
    listed = frozenset({"1", "2"})
    sources = ("A/{name}", "B/{name}")
    layout = Layout(
        source="us",
        parts=(
            Part(split="train", sources=sources, pairs=2, without=listed),
            Part(split="test", sources=sources, pairs=2, only=listed),
        ),
    )
    pairs, problems = layout.find(tmp_path, "D")
    assert not problems
    assert [(pair.split, pair.name) for pair in pairs] == [("train", "0"), ("train", "3"), ("test", "1"), ("test", "2")]


@pytest.mark.parametrize("form", ["{}", "{}.png", "images/{}.PNG", "{}.png extra words"])
def test_a_listed_part_takes_the_names_of_its_list(tmp_path: Path, form: str) -> None:
    _touch(tmp_path, *(f"{side}/{n}.png" for side in "AB" for n in ("v1.0", "v1.1", "v1.1_flip")))
    part = Part(split="val", sources=("A/{name}", "B/{name}"), pairs=None, listed="lists/val.txt", skip="*_flip")
    assert part.find(tmp_path, "D") == ((), ())
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "val.txt").write_text(form.format("v1.1") + "\n\n" + form.format("v1.1_flip") + "\n")
    pairs, problems = part.find(tmp_path, "D")
    assert [(pair.split, pair.name) for pair in pairs] == [("val", "v1.1")]
    assert not problems


def test_labels_are_found_by_the_template_of_their_kind(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"{side}/{n}.png" for side in "AB" for n in "12"), "M/1.png", "M/1.txt", "X/2.xml", "X/2.png")
    part = Part(sources=("A/{name}", "B/{name}"), pairs=None, masks="M/{name}", boxes="X/{name}")
    labels = {
        kind: [pair.label and pair.label.name for pair in part.find(tmp_path, "D", kind)[0]]
        for kind in ("segmentation", "detection", None)
    }
    assert labels == {"segmentation": ["1.png", None], "detection": [None, "2.xml"], None: [None, None]}
    assert Part(sources=("A/{name}", "B/{name}"), pairs=None).find(tmp_path, "D", "detection") == ((), ())


def test_an_irregular_part_passes_over_what_other_parts_pair(tmp_path: Path) -> None:
    _touch(tmp_path, "s/IR_1.png", "s/VIS_1.png", "t/IR_2.png")
    pairs, problems = Part(sources=("{name}/IR_*", "{name}/VIS_*"), pairs=None, irregular=True).find(tmp_path, "D")
    assert [pair.name for pair in pairs] == ["s"]
    assert not problems


@given(st.integers(2, 12))
def test_a_stack_gives_the_second_exposure_from_either_end(
    tmp_path_factory: pytest.TempPathFactory, count: int
) -> None:
    root = tmp_path_factory.mktemp("stack")
    _touch(root, *(f"7/{n}.JPG" for n in range(1, count + 1)), "8/1.JPG")
    pairs, _ = Part(sources=("{scene:d}/*",), pairs=None).find(root, "D")
    skip = 1 if count >= 5 else 0
    assert [[int(file.stem) for file in pair.files] for pair in pairs] == [[1 + skip, count - skip]]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: cannot be listed"):
        files_of(tmp_path / "gone", "{name}")


_WORD = st.from_regex(re.compile("[a-z0-9]{1,4}"), fullmatch=True)


@given(st.lists(_WORD, min_size=1, max_size=5, unique=True), _WORD, _WORD)
def test_every_file_made_from_a_template_is_found_by_it(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], before: str, after: str
) -> None:
    root = tmp_path_factory.mktemp("made")
    template = f"{before}/x_{{name}}/{{name}}-{after}"
    _touch(root, *(template.format(name=name) + ".png" for name in names))
    assert set(files_of(root, template)) == set(names)
