"""From nothing to a paper's table: the second of the two commands that README and quickstart give."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from fusionkit.cli import main
from fusionkit.data.sample import sample_pairs
from fusionkit.metrics import score_files
from fusionkit.plugins import catalogue
from tests.support.pages import DOCS, ROOT

PAGES = (ROOT / "README.md", ROOT / "README.zh-CN.md", DOCS / "quickstart.md", DOCS / "quickstart-zh.md")


def second_command(page: Path) -> str:
    found = re.search(r"^pip install image-fusionkit\n(fusionkit bench .*)$", page.read_text(encoding="utf-8"), re.M)
    assert found, page
    return found[1]


def test_every_page_gives_the_same_two_commands() -> None:
    assert len({second_command(page) for page in PAGES}) == 1


def test_the_second_command_makes_the_table_of_the_paper_on_ones_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = list(sample_pairs(catalogue.tasks.get("ivif")).split("test"))[:2]
    for pair in pairs:
        for name, file in zip(("ir", "vi"), pair.files, strict=True):
            (tmp_path / "mine" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, tmp_path / "mine" / name / f"{pair.name}.png")
    arguments = shlex.split(second_command(PAGES[0]))[1:]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "profile refusion" in result.output
    assert (tmp_path / "bench" / "index.html").is_file()

    table = CliRunner().invoke(main, ["results", "table", "bench", "--format", "csv"])
    rows = list(csv.DictReader(table.stdout.splitlines()))
    task = catalogue.tasks.get("ivif")
    shown = {row["metric"]: float(row["mean"]) for row in rows if row["method"] == "average"}
    assert set(task.metrics) <= set(shown)
    scores = []
    for pair in pairs:
        (fused,) = (tmp_path / "bench" / "fused").rglob(f"average/{pair.name}.png")
        found = score_files(fused, *pair.files, metrics=task.metrics, profile="refusion").mean()
        scores.append(found)
    for metric in task.metrics:
        assert shown[metric] == pytest.approx(sum(one[metric] for one in scores) / len(scores), rel=1e-4)
