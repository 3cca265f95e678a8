"""The commands that reproduce the paper's tables, on the built-in sample with schedules of a few steps."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.paper.__main__ import cli, main
from benchmarks.paper.figures import draw_figure
from benchmarks.paper.lines import trained_line
from benchmarks.paper.schedules import cut, parse_schedule, steps_of, trainer_options
from benchmarks.paper.study import Cell, Study, specs
from benchmarks.paper.variants import FULL, Variant, ablations, halves, sweep
from fusionkit.bench.published_tables import published_tables
from fusionkit.bench.record_files import read_records
from fusionkit.config import merged, resolve
from fusionkit.data.pair_finding import find_pairs
from fusionkit.errors import UsageError
from fusionkit.plugins import catalogue
from fusionkit.train import run
from fusionkit.train.bilevel import BilevelOptions
from fusionkit.train.run_folder import RunFolder

SCHEDULE = "quick:4"
NAME = parse_schedule(SCHEDULE).name
TINY = {"trainer": {"crop": 16, "batch": 2}} | {
    part: {"dim": 4, "heads": 2, "blocks": 1} for part in ("fuser", "proposer", "reconstructor")
}


def _manifest(folder: Path, task: str, names: tuple[str, ...]) -> Path:
    """The sample's pairs under the names of data sets: two test pairs, one of the others, and the rest to train on."""
    rows = ["task,dataset,split,name,file_a,file_b"]
    pairs = find_pairs("sample", catalogue.tasks.get(task))
    tests = [pair for pair in pairs if pair.split == "test"]
    for name, count in zip(names, (2, 1), strict=True):
        rows += [f"{task},{name},test,{p.name},{p.files[0]},{p.files[1]}" for p in tests[:count]]
    rows += [f"{task},{names[0]},train,{p.name},{p.files[0]},{p.files[1]}" for p in pairs if p.split == "train"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "MANIFEST.csv").write_text("\n".join(rows) + "\n")
    return folder


def _arguments(command: str, out: Path, *more: object) -> list[str]:
    given = [f"{part}.{name}={value}" for part, options in TINY.items() for name, value in options.items()]
    settings = [word for option in given for word in ("--set", option)]
    return [command, "--out", str(out), "--device", "cpu", "--quiet", *settings, *map(str, more)]


def _lines(report: dict[str, Any], title: str) -> list[dict[str, Any]]:
    return next(panel["lines"] for panel in report["panels"] if panel["title"] == title)


def _stamps(out: Path) -> dict[Path, int]:
    files = (*out.rglob("model.safetensors"), *out.rglob("metrics.jsonl"), *(out / "bench").rglob("fused/**/*.png"))
    return {file: file.stat().st_mtime_ns for file in files}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _manifest(tmp_path_factory.mktemp("data"), "ivif", ("MSRS", "Street"))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("paper")


@pytest.fixture(scope="module")
def fifth(data: Path, out: Path) -> dict[str, Any]:
    """Table 5 with one row beside the whole method, and two seeds."""
    rows = ("--row", "V", "--seed", 0, "--seed", 1)
    with pytest.MonkeyPatch.context() as patch:
        # The snapshots are looked at, a run's own figures are not.
        patch.setattr(run, "draw_run", lambda *_: None)
        assert main(_arguments("table5", out, "--data", data, "--schedule", SCHEDULE, *rows)) == 0
    report: dict[str, Any] = json.loads((out / "table5.json").read_text())
    return report


def test_published_lines_are_those_that_the_paper_prints(fifth: dict[str, Any]) -> None:
    (panel,) = (table for table in published_tables("refusion") if table.table == 5)
    printed = {row.method: row.values for row in panel.rows}
    shown = [line for line in _lines(fifth, "MSRS") if line["origin"] == "published"]
    assert [line["method"][:2].strip() for line in shown] == ["V", "Ou"]
    for line in shown:
        assert tuple(line["values"][metric] for metric in panel.metrics) == printed[line["method"]]


def test_measured_lines_are_the_means_of_the_records_over_images_then_seeds(fifth: dict[str, Any], out: Path) -> None:
    records = {(r.dataset, r.method.name): r for r in read_records(out / "bench" / NAME)}
    for title, dataset in (("MSRS", "MSRS"), ("Street-test, which the paper's table does not have", "Street")):
        measured = [line for line in _lines(fifth, title) if line["origin"] == "measured"]
        for line, key in zip(measured, ("V", "full"), strict=True):
            for metric in ("EN", "SSIM", "Qabf", "CC-a"):
                each = [
                    statistics.fmean(image.scores[metric] for image in records[dataset, f"{key}-{seed}"].images)
                    for seed in (0, 1)
                ]
                assert line["values"][metric] == pytest.approx(sum(each) / 2, rel=1e-12)
                assert line["spread"][metric] == pytest.approx(abs(each[0] - each[1]) / 2**0.5, rel=1e-9)
            weights = [records[dataset, f"{key}-{seed}"].method.weights_sha256 for seed in (0, 1)]
            assert [run["weights_sha256"] for run in line["runs"]] == weights
            assert weights[0] != weights[1]


def test_both_origins_stand_side_by_side_on_the_page_with_the_schedule_named(fifth: dict[str, Any], out: Path) -> None:
    page = (out / "table5.md").read_text()
    panel = page.partition("## MSRS")[2].partition("\n## ")[0]
    rows = [line.split(" | ")[1] for line in panel.splitlines() if re.match(r"\| (V|Ours) ", line)]
    assert rows == ["published", "measured"] * 2
    assert "| published | 6.32 | 38.42 | 11.03 | 2.89 | 1.43 | 0.42 |" in page
    assert f"cut to {parse_schedule(SCHEDULE).steps} steps" in page
    assert "110,000" in page
    assert "361 pairs" in page
    assert re.search(r"Ours is ahead .* in 6 of 6 published comparisons and in \d+ of 6 measured", page)
    assert str(out) not in page
    assert str(out) not in json.dumps(fifth["about"]["command"])
    assert "--data DATA" in page


def test_the_agreement_counts_what_the_lines_say(fifth: dict[str, Any], out: Path) -> None:
    lines = {(line["method"], line["origin"]): line["values"] for line in _lines(fifth, "MSRS")}
    ahead = same = 0
    for method in {method for method, _ in lines} - {"Ours"}:
        for metric in ("EN", "SD", "SF", "AG", "SCD", "SSIM"):
            verdicts = [
                lines["Ours", origin][metric] > lines[method, origin][metric] for origin in ("published", "measured")
            ]
            ahead += verdicts[1]
            same += verdicts[0] == verdicts[1]
    assert (
        f"and in {ahead} of 6 measured ones; paper and measurement agree in {same}." in (out / "table5.md").read_text()
    )


def test_the_same_command_does_nothing_again_and_other_options_are_refused(
    fifth: dict[str, Any], data: Path, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, page = _stamps(out), (out / "table5.md").read_text()
    asked = ("--data", data, "--schedule", SCHEDULE, "--row", "V")
    assert main(_arguments("table5", out, *asked, "--seed", 0, "--seed", 1)) == 0
    assert capsys.readouterr().out == page
    assert len(before) > 10
    assert _stamps(out) == before
    assert main(_arguments("table5", out, *asked, "--set", "trainer.lr=1e-4")) == 2
    said = capsys.readouterr().err
    assert "other options" in said
    assert said.count("\n") == 1
    assert _stamps(out) == before


def test_a_comparison_takes_up_the_model_that_another_table_trained(
    fifth: dict[str, Any], data: Path, out: Path
) -> None:
    before = _stamps(out)
    asked = ("--data", data, "--schedule", SCHEDULE, "--fuser", "average", "--fuser", "copy-a", "--metric", "Qabf")
    assert main(_arguments("table1", out, *asked)) == 0
    report = json.loads((out / "table1.json").read_text())
    lines = _lines(report, "MSRS")
    assert [line["method"] for line in lines if line["origin"] == "published"][-1] == "ReFusion"
    measured = {line["method"]: line["values"] for line in lines if line["origin"] == "measured"}
    assert list(measured) == ["average", "copy-a", "ReFusion, trained here"]
    whole = next(line for line in _lines(fifth, "MSRS") if line["method"] == "Ours" and line["origin"] == "measured")
    assert measured["ReFusion, trained here"]["EN"] == pytest.approx(
        whole["values"]["EN"], abs=3 * whole["spread"]["EN"]
    )
    assert "RoadScene:DIR" in (out / "table1.md").read_text()
    after = _stamps(out)
    assert {file: after[file] for file in before} == before
    assert {file.parent.name for file in set(after) - set(before)} == {"average", "copy-a"}


def test_published_means_of_several_sets_stand_beside_the_mean_over_all_their_images(tmp_path: Path) -> None:
    folder = _manifest(tmp_path / "data", "mif", ("Harvard_MRI_CT", "Harvard_MRI_PET"))
    asked = ("--data", folder, "--schedule", "none", "--fuser", "average", "--fuser", "maximum", "--metric", "Qabf")
    assert main(_arguments("table2", tmp_path / "out", *asked)) == 0
    report = json.loads((tmp_path / "out" / "table2.json").read_text())
    records = [r for r in read_records(tmp_path / "out" / "bench" / "installed") if r.method.name == "average"]
    # One image in one set, two in the other: the mean over images is not the mean of means.
    assert sorted(len(record.images) for record in records) == [1, 2]
    values = [image.scores["SD"] for record in records for image in record.images]
    pooled = next(line for line in _lines(report, "Harvard") if line["method"] == "average")
    assert pooled["values"]["SD"] == pytest.approx(statistics.fmean(values), rel=1e-12)
    alone = next(line for line in _lines(report, "Harvard_MRI_CT-test, alone") if line["method"] == "average")
    assert alone["values"]["SD"] == pytest.approx(records[0].mean("SD"), rel=1e-12)
    assert "trained" not in json.dumps([line["method"] for panel in report["panels"] for line in panel["lines"]])


def test_parameters_are_counted_beside_the_printed_ones(tmp_path: Path) -> None:
    assert main(["table7", "--out", str(tmp_path)]) == 0
    lines = json.loads((tmp_path / "table7.json").read_text())["panels"][0]["lines"]
    at = [line["method"] for line in lines].index("ReFusion")
    assert (lines[at]["origin"], lines[at]["values"]) == ("published", {"parameters": 0.06})
    assert (lines[at + 1]["origin"], lines[at + 1]["values"]) == ("measured", {"parameters": 0.059856})


def test_the_whole_training_is_drawn_snapshot_by_snapshot(fifth: dict[str, Any], data: Path, out: Path) -> None:
    before = _stamps(out)
    asked = _arguments("figures", out, "--data", data, "--schedule", SCHEDULE)
    assert main([asked[0], "8", *asked[1:]]) == 0
    assert _stamps(out) == before
    place = out / "runs" / f"ivif-{NAME}" / "full-0"
    for k in (0, 1):
        sheet = cv2.imread(str(out / f"figure8-{k}.png"))
        snapshots = {file.name[:13] for file in (place / "images" / f"pair{k}").glob("step-*")}
        assert sheet.shape[1] == 52 + (1 + len(snapshots)) * (168 + 6)
        # The last column's lowest tile is v_b of the last step, scaled down.
        last = cv2.imread(str(place / "images" / f"pair{k}" / f"{max(snapshots)}_v_b.png"))
        height = (sheet.shape[0] - 20) // 5 - 6
        tile = sheet[-6 - height : -6, -6 - 168 : -6]
        assert abs(tile.astype(float).mean() - last.astype(float).mean()) < 2


def test_a_sweep_is_drawn_with_a_column_a_value(fifth: dict[str, Any], out: Path, tmp_path: Path) -> None:
    done = RunFolder.open(out / "runs" / f"ivif-{NAME}" / "full-0")

    class Trained:
        schedule = parse_schedule(SCHEDULE)

        def trained(self, variants: tuple[Variant, ...]) -> list[Cell]:
            return [Cell(variant=variant, seed=0, path=done.path) for variant in variants]

    for number in (13, 14):
        (first, *_) = draw_figure(number, lambda _task: Trained(), tmp_path)  # type: ignore[arg-type,return-value]
        assert cv2.imread(str(first)).shape[1] == 52 + (1 + 7) * (168 + 6)
    (twelfth,) = draw_figure(12, lambda _task: Trained(), tmp_path)  # type: ignore[arg-type,return-value]
    assert cv2.imread(str(twelfth)).shape[1] == 52 + 4 * 2 * (168 + 6)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    yield None


def test_a_training_that_diverges_leaves_its_row_empty_and_the_others_there(
    no_pictures: None, data: Path, tmp_path: Path
) -> None:
    study = Study(
        task="ivif",
        schedule=parse_schedule(SCHEDULE),
        train=str(data),
        data=(f"MSRS:{data}",),
        out=tmp_path,
        options=TINY,
        limit=1,
        device="cpu",
        say=lambda _line: None,
        progress=_silent,
    )
    bad, good = study.trained([Variant("bad", options={"trainer": {"lr_outer_loss": 1e6}}), FULL])
    assert (bad.failure, good.failure) == ("diverged", "")
    groups = study.compared(list(specs([bad, good])))
    lines = [trained_line(cell.variant.key, [cell], groups, ("EN",)) for cell in (bad, good)]
    assert [line.values["EN"] is None for line in lines] == [True, False]
    assert lines[0].note == "seed 0 diverged"


@given(steps=st.integers(1, 200_000), preset=st.sampled_from(["quick", "paper"]))
def test_a_cut_schedule_has_about_the_steps_that_were_asked_for(steps: int, preset: str) -> None:
    whole = trainer_options(catalogue.trainers.get("refusion").presets[preset])
    shorter = cut(whole, steps)
    assert 0 <= shorter.warmup < shorter.epochs
    assert (shorter.lr, shorter.crop, shorter.batch) == (whole.lr, whole.crop, whole.batch)
    # An epoch has whole steps of each kind, so that at worst every epoch is off by half a step of each.
    assert abs(steps_of(shorter) - steps) <= max(shorter.epochs, 2)
    assert steps_of(cut(whole, steps_of(whole))) == steps_of(whole)


def test_the_steps_of_a_schedule_are_those_of_the_trainer() -> None:
    options = BilevelOptions(epochs=5, warmup=2, meta_steps=3, fusion_steps=4)
    stages = [4, 4, 7, 7, 7]
    assert steps_of(options) == sum(stages)
    quick = parse_schedule("quick")
    assert (quick.steps, quick.paper_steps, quick.name) == (800, 50 * 2200, "quick")
    assert parse_schedule("150") == parse_schedule("quick:150")
    assert merged(quick.options, {"trainer": {"lr": 2.0}})["trainer"]["crop"] == quick.options["trainer"]["crop"]


@pytest.mark.parametrize(
    ("text", "word"), [("quik", "did you mean 'quick'"), ("quick:x", "quick:150"), ("0", "positive")]
)
def test_a_schedule_that_is_none_is_named(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        parse_schedule(text)


def test_every_row_of_the_ablations_leaves_out_what_it_says() -> None:
    (panel,) = halves(5)
    variants = {variant.key: variant for variant in ablations()}
    assert {variant.row for variant in variants.values()} == {row.method for row in panel.rows}
    kind = catalogue.trainers.get("refusion").Config
    base = parse_schedule("quick").options
    full: Any = resolve(kind, ("full", base))
    configs = {key: resolve(kind, ("row", merged(base, variant.options))) for key, variant in variants.items()}
    assert configs["full"] == full
    assert len({str(config) for config in configs.values()}) == 9
    assert (configs["I"].proposal, configs["I"].trainer) == ("equal", full.trainer)
    assert (configs["II"].proposal, variants["II"].method) == ("equal", "refusion-joint")
    assert (variants["III"].method, configs["III"].trainer.hypergradient) == ("refusion-inner", "one_step")
    assert (configs["IV"].reconstructor.combine, configs["IV"].fuser) == ("sum", full.fuser)
    assert configs["V"].fuser.output == "decision"
    merging = {key: (configs[key].fuser.cross_attention, configs[key].fuser.gating) for key in ("VI", "VII", "VIII")}
    assert merging == {"VI": (False, False), "VII": (False, True), "VIII": (True, False)}


def test_every_row_of_the_sweeps_has_its_weights() -> None:
    base = parse_schedule("quick").options
    kind = catalogue.trainers.get("refusion").Config
    for panel in halves(6):
        variants = sweep(panel, base)
        assert len({variant.key for variant in variants}) == len(panel.rows) == 7
        for variant in variants:
            config: Any = resolve(kind, ("row", merged(base, variant.options)))
            first, second = re.findall(r"[\d.]+(?=,|$)", variant.row)
            assert (config.proposer.alpha, config.reconstructor.alpha) == (float(first), float(second))
    other = merged(base, {"proposer": {"alpha": 0.5}})
    assert FULL.key not in {variant.key for variant in sweep(halves(6)[1], other)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["table5", "--row", "IX"], ("--row IX", "VIII")),
        (["table5", "--schedule", "none"], ("--schedule none",)),
        (["table8"], ("table8",)),
        (["figures", "7"], ("7",)),
        (["table6", "--task", "miff"], ("did you mean 'mif'",)),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert all(word in said for word in words), said


def test_the_commands_of_the_page_are_possible() -> None:
    page = (Path(__file__).parents[3] / "docs" / "paper.md").read_text(encoding="utf-8")
    found = [shlex.split(line)[3:] for line in page.splitlines() if line.startswith("python -m benchmarks.paper ")]
    assert len(found) > 4
    for name, *rest in found:
        command = cli.commands[name]
        context = command.make_context(name, list(rest))
        parse_schedule(context.params["schedule"])
    assert all(f"`{name}`" in page for name in ("table5", "table6", "table7", "figures"))
