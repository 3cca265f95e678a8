"""Collections of results: tampering, mixed profiles, two people with one label, and what merging keeps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionkit.bench.collection import add_results, examine, merge_results, sound_records
from fusionkit.bench.record_files import seal, write_record
from fusionkit.bench.records import Record
from fusionkit.bench.report.board import load_results, write_board
from fusionkit.cli import main
from fusionkit.errors import DataError, UsageError
from tests.support import downstreamrecords
from tests.support.boardrecords import bench_folder, record

VALUES = {"EN": [6.0, 6.5], "SD": [30.0, 40.0]}


def folder(path: Path, *records: Record) -> Path:
    for each in records:
        write_record(path, each)
    return path


def run(*args: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*map(str, args)], standalone_mode=True)
    return done.exit_code, done.output


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return folder(tmp_path / "ours", record("alpha", VALUES), record("beta", {"EN": [5.0, 5.5], "SD": [20.0, 25.0]}))


def test_an_unfinished_or_damaged_result_is_no_fault_of_the_others(ours: Path, tmp_path: Path) -> None:
    unfinished = record("gamma", VALUES)
    write_record(ours, unfinished.model_copy(update={"data": unfinished.data.model_copy(update={"pairs": 9})}))
    focus = write_record(ours, record("delta", VALUES, task="mfif", dataset="Lytro"))
    (ours / str(focus.home)).write_text("{", encoding="utf-8")
    added, _ = add_results(ours, tmp_path / "to", tasks=["ivif"], methods=["alpha", "beta"])
    assert [each.method.name for each in added] == ["alpha", "beta"]
    with pytest.raises(DataError, match=r"gamma\.json: 7 of 9 pairs have no result: restore it or bench again$"):
        add_results(ours, tmp_path / "more", tasks=["ivif"])
    with pytest.raises(DataError, match=r"delta\.json: "):
        add_results(ours, tmp_path / "more", methods=["alpha"])
    with pytest.raises(UsageError, match=r"--method gama: .*did you mean 'gamma'"):
        add_results(ours, tmp_path / "more", methods=["gama"])
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize("command", [("verify",), ("cite",), ("table",), ("add", "--to", "x"), ("merge", "--to", "x")])
def test_a_folder_that_is_not_there_is_called_so(command: tuple[str, ...], tmp_path: Path) -> None:
    code, said = run("results", *command, tmp_path / "nowhere")
    assert code != 0
    assert said.startswith(f"error: {tmp_path / 'nowhere'}: no such folder")


def test_added_records_are_those_of_the_bench_bit_for_bit(tmp_path: Path) -> None:
    bench = bench_folder(tmp_path / "bench", methods=("alpha", "beta"))
    downstreamrecords.keep(bench, downstreamrecords.record("alpha", 0, 0.5))
    added, notes = add_results(bench, tmp_path / "shared")
    files = [path for path in (tmp_path / "shared").rglob("*") if path.is_file()]
    assert len(files) == len(added) == 3
    assert not notes
    for file in files:
        assert file.read_bytes() == (bench / file.relative_to(tmp_path / "shared")).read_bytes()
    shared = write_board(tmp_path / "shared").markdown.read_text(encoding="utf-8")
    assert shared == write_board(bench).markdown.read_text(encoding="utf-8")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_changed_value_is_found(ours: Path, data: st.DataObject) -> None:
    file = next(iter(sorted(ours.rglob("alpha.json"))))
    before = file.read_text(encoding="utf-8")
    content = json.loads(before)
    image = data.draw(st.sampled_from(content["images"]))
    metric = data.draw(st.sampled_from(sorted(image["scores"])))
    value = data.draw(st.floats(0, 100).filter(lambda x: x != image["scores"][metric]))
    image["scores"][metric] = value
    try:
        file.write_text(json.dumps(content), encoding="utf-8")
        assert list(examine(ours).faults) == [file.relative_to(ours).as_posix()]
        with pytest.raises(DataError, match="changed after it was written"):
            add_results(ours, ours.parent / "never")
        assert not (ours.parent / "never").exists()
    finally:
        file.write_text(before, encoding="utf-8")


def rename_file(out: Path) -> None:
    file = next(out.rglob("alpha.json"))
    file.rename(file.with_name("gamma.json"))


def cut_short(out: Path) -> None:
    file = next(out.rglob("alpha.json"))
    file.write_bytes(file.read_bytes()[:200])


def no_digest(out: Path) -> None:
    file = next(out.rglob("alpha.json"))
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, "sha256": ""}), encoding="utf-8")


def sealed_again(out: Path) -> None:
    """A pair fewer, under a new digest: the record contradicts its own number of pairs."""
    file = next(out.rglob("alpha.json"))
    content = json.loads(file.read_text(encoding="utf-8"))
    content["images"] = content["images"][:1]
    file.write_text(json.dumps({**content, "sha256": seal(content)}), encoding="utf-8")


def stray_file(out: Path) -> None:
    (out / "results" / "notes.json").write_text("{}", encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (rename_file, "stands in"),
        (cut_short, "damaged"),
        (no_digest, "no digest"),
        (sealed_again, "1 of 2 pairs have no result"),
        (stray_file, "no place of a record"),
    ],
)
def test_verify_names_the_file_and_fails(ours: Path, change: Callable[[Path], None], said: str) -> None:
    assert run("results", "verify", ours)[0] == 0
    change(ours)
    code, output = run("results", "verify", ours)
    assert code == DataError.exit_code
    assert said in output
    assert "1 fault is named above" in output
    assert "Traceback" not in output


def test_an_image_that_is_not_the_scored_one_is_found(tmp_path: Path) -> None:
    bench = bench_folder(tmp_path / "bench", methods=("alpha", "beta"))
    assert not examine(bench).faults
    fused = sorted((bench / "fused").rglob("*.png"))
    shutil.copyfile(fused[0], fused[1])
    (why,) = examine(bench).faults.values()
    assert why == ("1 of 4 fused images are no longer those that were scored",)


def test_two_profiles_in_one_task_are_refused_and_one_can_be_taken(tmp_path: Path, ours: Path) -> None:
    folder(ours, record("alpha", VALUES, profile="standard", dataset="TNO"))
    code, output = run("results", "verify", ours)
    assert code == DataError.exit_code
    assert "ivif: mixes the profiles refusion and standard" in output
    with pytest.raises(UsageError, match="mixes the profiles"):
        add_results(ours, tmp_path / "to")
    assert not (tmp_path / "to").exists()
    added, _ = add_results(ours, tmp_path / "to", profile="refusion")
    assert {r.method.name for r in added} == {"alpha", "beta"}
    with pytest.raises(UsageError, match="mixes the profiles"):
        add_results(ours, tmp_path / "to", profile="standard")
    assert not examine(tmp_path / "to").faults


def test_one_metric_in_two_ways_is_refused(ours: Path) -> None:
    other = record("gamma", VALUES)
    use = other.metrics["EN"].model_copy(update={"settings": {"base": "e"}})
    folder(ours, other.model_copy(update={"metrics": {**other.metrics, "EN": use}}))
    assert examine(ours).faults == {"ivif, MSRS-test, refusion": ("EN is computed in 2 ways",)}


def test_two_people_with_one_label_are_told_apart(tmp_path: Path, ours: Path) -> None:
    theirs = folder(tmp_path / "theirs", record("alpha", {"EN": [6.1, 6.4], "SD": [31.0, 39.0]}))
    with pytest.raises(UsageError, match=r"two results called 'alpha' on MSRS-test \(EN of 000: 6.0 and 6.1\)"):
        merge_results([("", ours), ("", theirs)], tmp_path / "both")
    assert not (tmp_path / "both").exists()
    records, notes = merge_results([("ann", ours), ("bob", theirs)], tmp_path / "both")
    assert {r.method.name for r in records} == {"alpha (ann)", "alpha (bob)", "beta"}
    assert len(notes) == 1
    assert not examine(tmp_path / "both").faults
    (table,) = load_results(tmp_path / "both")
    means = {row.method: row.value("EN") for row in table.rows}
    assert means == {"alpha (ann)": 6.25, "alpha (bob)": 6.25, "beta": 5.25}
    assert {row.method: row.value("SD") for row in table.rows}["alpha (bob)"] == 35.0


def test_equal_results_of_two_machines_are_taken_once(tmp_path: Path, ours: Path) -> None:
    rounded = {"EN": [6.0 * (1 + 1e-9), 6.5], "SD": [30.0, 40.0]}
    theirs = folder(tmp_path / "theirs", record("alpha", rounded, seconds=3.0, device="cuda (other)"))
    records, notes = merge_results([("", ours), ("", theirs)], tmp_path / "both")
    assert [r.method.name for r in records] == ["alpha", "beta"]
    assert notes == ("alpha on MSRS-test is there twice with equal scores: one is kept",)
    assert records[0].sha256 == next(r.sha256 for r in sound_records(ours) if r.method.name == "alpha")


def test_a_name_is_taken_only_when_it_is_told_to(tmp_path: Path, ours: Path) -> None:
    later = folder(tmp_path / "later", record("alpha", {"EN": [7.0, 7.5], "SD": [30.0, 40.0]}))
    assert run("results", "add", ours, "--to", tmp_path / "to")[0] == 0
    code, output = run("results", "add", later, "--to", tmp_path / "to")
    assert code == UsageError.exit_code
    assert "two results called 'alpha'" in output
    assert "--as alpha=NAME, or --replace" in output
    assert (
        "1 result of these was there already"
        in run("results", "add", ours, "--to", tmp_path / "to", "--method", "beta")[1]
    )
    assert run("results", "add", later, "--to", tmp_path / "to", "--as", "alpha=alpha, longer")[0] == 0
    assert {r.method.name for r in sound_records(tmp_path / "to")} == {"alpha", "beta", "alpha, longer"}
    assert run("results", "add", later, "--to", tmp_path / "to", "--replace")[0] == 0
    (table,) = load_results(tmp_path / "to")
    assert {row.method: row.value("EN") for row in table.rows}["alpha"] == 7.25


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("add", "{ours}", "--to", "x", "--method", "alhpa"), "did you mean 'alpha'"),
        (("add", "{ours}", "--to", "x", "--as", "alpha"), "write OLD=NEW"),
        (("add", "nowhere", "--to", "x"), "no such folder"),
        (("add", "{ours}", "--to", "x", "--as", "alhpa=b"), "--as alhpa: {ours} has no result"),
        (("merge", "{ours}", "--to", "{ours}"), "is there already"),
        (("verify", "nowhere"), "no such folder"),
        (("table", "{ours}", "--metric", "ENN"), "has no ENN"),
        (("table", "{ours}", "--format", "csv", "--intervals"), "is for LaTeX"),
    ],
)
def test_mistakes_get_one_line(ours: Path, args: tuple[str, ...], said: str) -> None:
    code, output = run("results", *(arg.format(ours=ours) for arg in args))
    assert code in (DataError.exit_code, UsageError.exit_code)
    assert said.format(ours=ours) in output
    assert len(output.strip().splitlines()) == 1


def test_a_file_that_another_process_is_writing_is_no_record(ours: Path) -> None:
    file = next((ours / "results").rglob("alpha.json"))
    (file.parent / ".alpha.json.x1.json").write_text("{", encoding="utf-8")
    findings = examine(ours)
    assert len(findings.records) == 2
    assert not findings.faults
    (file.parent / "alpha.copy.json").write_text("{", encoding="utf-8")
    assert list(examine(ours).faults) == [(file.parent / "alpha.copy.json").relative_to(ours).as_posix()]
