"""Plain words: docstrings that begin with what a thing is or does, no riddle names, "per" where it is distributive."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("fusionkit", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "plugins").iterdir() if p.is_dir()))
MODULES = tuple(file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
PAGES = (*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md")

RIDDLES = ("contest", "entrant", "contender", "campaign", "door", "heard", "hears", "told", "settle", "indifference")
"""Words of the former names; a reader cannot guess what they mean here."""

NAMES = (*RIDDLES, "at_once", "claimed")
"""Parts that no name of a module, class, function, parameter or field has."""

QUESTION = re.compile(r"(What|Who|Whose|Whom|Which|Whether|Where|When|How|That)\b")
VAGUE = re.compile(
    r"\b(nobody|somebody|somebody's|whoever|whatever|where there (?:is|are)|who (?:is|does) what)\b", re.I
)

_UNITS = (
    "image|pair|pixel|sample|step|epoch|batch|source|method|metric|line|file|class|row|seed|training|task|run|process|"
    "processor|second|column|group|call|channel|device|interval|snapshot|pass|name|label|package|stage|measurement"
)
_COUNTED = "pairs|pixels|bits|bytes|trainings|lines|rows|columns|seconds|branches|images|sources|heads|blocks|boxes"
PER = re.compile(
    rf"\b(?:an?|one|two|\d[\d,]*) (?!(?:CPU|GPU|of|in|for|with|as|is|to|by|\w+s)\b)[\w-]+ an? (?:{_UNITS})\b"
    rf"|\b(?:{_COUNTED}) an? (?:{_UNITS})\b",
    re.I,
)


def docstrings(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line, name and text of every docstring of a module, of strings below attributes included."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), getattr(node, "name", file.stem), text
            for former, later in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(former, ast.Assign | ast.AnnAssign)
                    and isinstance(later, ast.Expr)
                    and isinstance(later.value, ast.Constant)
                    and isinstance(later.value.value, str)
                ):
                    target = former.targets[0] if isinstance(former, ast.Assign) else former.target
                    yield later.lineno, ast.unparse(target), ast.unparse(later.value).strip("'\"")


def comments(file: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every comment of a module."""
    for token in tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def names(file: Path) -> Iterator[tuple[int, str]]:
    """Line and name of the module and of everything that it defines: classes, functions, parameters, fields."""
    yield 1, file.stem
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.lineno, node.target.id


def place(file: Path, line: int) -> str:
    """A place as editors read it."""
    return f"{file.relative_to(ROOT)}:{line}"


def prose(file: Path) -> Iterator[tuple[int, str]]:
    """Line and text of what a module says in docstrings and comments, or a page outside its code."""
    if file.suffix == ".py":
        for line, _, text in docstrings(file):
            yield line, text
        yield from comments(file)
        return
    code = False
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        code ^= line.lstrip().startswith("```")
        if not code:
            yield number, line


def test_first_lines_begin_with_what_a_thing_is_or_does() -> None:
    found = [
        f"{place(file, line)} {name}: {text.splitlines()[0]}"
        for file in MODULES
        for line, name, text in docstrings(file)
        if QUESTION.match(text) or VAGUE.search(text.splitlines()[0])
    ]
    assert not found, "begin with a verb or a noun phrase:\n" + "\n".join(found)


def test_no_name_is_a_riddle() -> None:
    found = [
        f"{place(file, line)} {name}"
        for file in MODULES
        for line, name in names(file)
        if any(re.search(rf"(^|_){word}(_|$)", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) for word in NAMES)
    ]
    assert not found, "use a name that a reader can guess:\n" + "\n".join(found)


def test_no_text_uses_the_former_names() -> None:
    word = re.compile(rf"\b(?:{'|'.join(RIDDLES)})s?\b", re.I)
    found = [
        f"{place(file, line)} {match[0]}"
        for file in (*MODULES, *PAGES)
        for line, text in prose(file)
        if (match := word.search(text))
    ]
    assert not found, "say it in plain words:\n" + "\n".join(found)


def test_distributive_phrases_say_per() -> None:
    found = [
        f"{place(file, line)} {match[0]!r}: write '... per ...'"
        for file in (*MODULES, *PAGES)
        for line, text in prose(file)
        for match in PER.finditer(" ".join(text.split()))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("text", ["a line an image", "one file a measurement", "8 bits a sample", "pairs a batch"])
def test_a_distributive_article_is_noticed(text: str) -> None:
    assert PER.search(f"It writes {text}.")


@pytest.mark.parametrize("text", ["one of a batch", "a fuser takes a batch", "a metric is a function", "as a class"])
def test_other_articles_are_left_alone(text: str) -> None:
    assert not PER.search(text)
