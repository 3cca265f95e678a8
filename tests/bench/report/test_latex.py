"""Tables as LaTeX: values against the table, escapes against a reader of LaTeX, and BibTeX that a parser reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.bench.report.citations import as_bibtex
from fusionkit.bench.report.latex import as_latex, escaped
from fusionkit.bench.report.quality_tables import quality_tables
from fusionkit.plugins import catalogue
from tests.support.boardrecords import record

NASTY = r"100% of_A&B #1 {~^} $x$ \input{secrets}"
COMMANDS = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"\textless{}": "<",
    r"\textgreater{}": ">",
    r"\textbar{}": "|",
    r"\textquotedbl{}": '"',
}
TOKENS = re.compile(r"\\[a-z]+\{\}|\\[&%$#_{}]|[^\\&%$#_{}~^<>|\"]")


def read_back(text: str) -> str:
    """What LaTeX prints for a text; fails on a character that it would not print as it is."""
    found = TOKENS.findall(text)
    assert "".join(found) == text
    return "".join(COMMANDS.get(token, token[-1]) for token in found)


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_every_ascii_text_is_printed_as_it_is(text: str) -> None:
    assert read_back(escaped(text)) == text


def test_best_and_second_are_marked_and_intervals_are_on_request() -> None:
    values = {"a": [2.0, 4.0, 6.0], "b": [1.0, 2.0, 3.0], NASTY: [3.0, 5.0, 7.0]}
    (table,) = quality_tables([record(name, {"EN": v, "SD": v}, lower=()) for name, v in values.items()], resamples=200)
    lines = as_latex([table]).splitlines()
    rows = {line.split(" & ")[0]: line for line in lines if line.endswith(r"\\") and "&" in line}
    assert rows[escaped(NASTY)].endswith(r"\textbf{5.000} & \textbf{5.000} \\")
    assert rows["a"] == r"a & \underline{4.000} & \underline{4.000} \\"
    assert rows["b"] == r"b & 2.000 & 2.000 \\"
    assert rows["Method"] == r"Method & EN $\uparrow$ & SD $\uparrow$ \\"
    for rule in ("toprule", "midrule", "bottomrule"):
        assert lines.count(f"\\{rule}") == 1
    spread = next(row.cells["EN"].half_width for row in table.rows if row.method == "b")
    assert spread is not None
    assert rf"b & 2.000 {{\scriptsize $\pm$ {spread:.3f}}}" in as_latex([table], intervals=True)


def test_a_departure_stands_below_the_table() -> None:
    rows = [record("a", {"EN": [1.0]}), record("b", {"EN": [2.0]}), record("c_1", {"EN": [3.0]}, stretch="full")]
    text = as_latex(quality_tables(rows, resamples=50))
    assert r"c\_1$^{\dagger}$ & " in text
    assert r"$^{\dagger}$ c\_1: stretched to the full range, the other rows: not stretched." in text


def entries(text: str) -> dict[str, dict[str, str]]:
    """A small reader of BibTeX: every entry with balanced braces, no key twice."""
    found: dict[str, dict[str, str]] = {}
    for entry in text.strip().split("\n\n"):
        plain = re.sub(r"\\[{}]", "", entry)
        assert plain.count("{") == plain.count("}"), entry
        head = re.match(r"@\w+\{([^,\s]+),\n", entry)
        assert head, entry
        assert head[1] not in found
        found[head[1]] = dict(re.findall(r"^  (\w+) = \{(.*)\},?$", entry, re.M))
    return found


def test_bibtex_has_what_was_used_and_what_plugins_declare() -> None:
    kind = catalogue.fusers.get("densefuse")
    method = record("mine", {"EN": [1.0], "SSIM": [0.5]}, dataset="TNO")
    about = method.method.model_copy(update={"fuser": f"{kind.__module__}:{kind.__qualname__}"})
    data = method.data.model_copy(update={"citation": catalogue.datasets.get("TNO").citation})
    strange = record("a_b & c", {"EN": [1.0]}).method.model_copy(
        update={"reference": "Doe & Söhne, 50% better, Proc. X_Y, 2021", "fuser": "gone:Fuser"}
    )
    control = record("average", {"EN": [1.0]})
    found = entries(
        as_bibtex(
            [
                method.model_copy(update={"method": about, "data": data}),
                record("a_b & c", {"EN": [1.0]}).model_copy(update={"method": strange}),
                control,
            ]
        )
    )
    assert found["densefuse"]["author"] == "Li, Hui and Wu, Xiao-Jun"
    assert found["densefuse"]["year"] == "2019"
    assert "Simoncelli" in found["metric-ssim"]["note"]
    assert found["data-tno"]["author"] == "Toet"
    assert found["data-tno"]["year"] == "2014"
    assert found["method-a-b-c"]["note"] == r"Doe \& Söhne, 50\% better, Proc. X\_Y, 2021"
    assert not any("average" in key for key in found)


@pytest.mark.parametrize("name", ["densefuse", "didfuse", "gifnet", "ifcnn", "lrrnet", "lut-fuse", "matr", "mef-net"])
def test_declared_entries_are_whole(name: str) -> None:
    text = catalogue.fusers.get(name).bibtex()
    (fields,) = entries(text).values()
    assert {"author", "title", "year"} <= set(fields)


def test_every_declared_entry_belongs_to_a_fuser() -> None:
    kinds = [catalogue.fusers.get(name) for name in catalogue.fusers.names()]
    declared = {text for kind in kinds if kind.__module__.startswith("fusionkit_rivals.") and (text := kind.bibtex())}
    file = Path(__file__).parents[3] / "plugins" / "fusionkit_rivals" / "references.bib"
    assert len(declared) == len(entries(file.read_text(encoding="utf-8")))
