"""Registries: what loads, what fails at which stage, and that one failure stays with its name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from fusionkit.contracts import Fuser
from fusionkit.errors import PluginError, UsageError
from fusionkit.plugins import catalogue
from fusionkit.plugins.registry import Registry
from fusionkit.tasks import IVIF, Task

FUSERS = "fusionkit.fusers"
GOOD = """
from fusionkit.contracts import Fuser
class Good(Fuser):
    def forward(self, *sources):
        return sources[0]
"""

Make = Callable[..., "Registry[type[Fuser]]"]


@pytest.fixture
def fusers(monkeypatch: pytest.MonkeyPatch) -> Make:
    """The registry of fusers over some folders, which are importable for the length of the test."""
    before = set(sys.modules)

    def make(*folders: Path) -> Registry[type[Fuser]]:
        for folder in folders:
            monkeypatch.syspath_prepend(str(folder))
        return Registry("fuser", FUSERS, "fusionkit.contracts:Fuser", path=[str(folder) for folder in folders])

    yield make  # type: ignore[misc]
    for module in set(sys.modules) - before:
        if not module.startswith(("torch", "fusionkit")):
            del sys.modules[module]


def test_a_plugin_is_imported_on_first_use_and_once(offer, fusers: Make) -> None:
    folder = offer("lazy", {FUSERS: {"good": "lazy_good:Good"}}, modules={"lazy_good": GOOD})
    registry = fusers(folder)
    assert registry.names() == ["good"]
    assert "lazy_good" not in sys.modules
    loaded = registry.get("good")
    assert issubclass(loaded, Fuser)
    assert registry.get("good") is loaded
    assert registry.get("lazy:good") is loaded
    assert registry.problem(registry.entries()[0]) is None


@pytest.mark.parametrize(
    ("source", "target", "stage", "told"),
    [
        (
            "import a_module_nobody_has",
            "bad:X",
            "load",
            "install the package that has the module 'a_module_nobody_has'",
        ),
        ("import fusionkit.gone", "bad:X", "load", "install a version of bad that was made for this image-fusionkit"),
        ("1 / 0", "bad:X", "load", "ZeroDivisionError: division by zero"),
        ("def f(:\n", "bad:X", "load", "SyntaxError"),
        ("raise SystemExit('goodbye')", "bad:X", "load", "SystemExit: goodbye"),
        ("raise ValueError('two\\nlines')", "bad:X", "load", "ValueError: two lines"),
        (GOOD, "bad:Missing", "load", "has no attribute 'Missing'"),
        (GOOD, "absent:Good", "load", "No module named 'absent'"),
        ("class X: pass", "bad:X", "contract", "it is the class X, not a subclass of fusionkit.contracts.Fuser"),
        ("X = 3", "bad:X", "contract", "it is a int, not a subclass of fusionkit.contracts.Fuser"),
        (
            "from fusionkit.contracts import Fuser\nclass X(Fuser): pass",
            "bad:X",
            "contract",
            "X does not implement forward",
        ),
    ],
)
def test_a_broken_plugin_is_told_with_stage_cause_and_remedy_and_leaves_the_others_alone(
    offer, fusers: Make, source: str, target: str, stage: str, told: str
) -> None:
    folder = offer("bad", {FUSERS: {"broken": target}}, version="0.3", modules={"bad": source})
    offer("lazy", {FUSERS: {"good": "lazy_good:Good"}}, modules={"lazy_good": GOOD})
    registry = fusers(folder)
    messages = []
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            registry.get("broken")
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith(f"fuser 'broken' of bad 0.3 cannot be used: {stage}: ")
    assert told in messages[0]
    assert "\n" not in messages[0]
    assert registry.problem(registry.entry("broken")).stage == stage
    assert registry.get("good").__name__ == "Good"


def test_a_broken_import_runs_once_and_keeps_its_traceback(offer, fusers: Make, tmp_path: Path) -> None:
    source = f"with open({str(tmp_path / 'runs')!r}, 'a') as f: f.write('x')\nraise RuntimeError('once')"
    registry = fusers(offer("bad", {FUSERS: {"broken": "bad:X"}}, modules={"bad": source}))
    for _ in range(3):
        with pytest.raises(PluginError) as caught:
            registry.get("broken")
        assert isinstance(caught.value.__cause__, RuntimeError)
    assert (tmp_path / "runs").read_text() == "x"


def test_an_interrupt_during_an_import_is_no_fault_of_the_plugin(offer, fusers: Make) -> None:
    registry = fusers(offer("slow", {FUSERS: {"slow": "slow:X"}}, modules={"slow": "raise KeyboardInterrupt"}))
    with pytest.raises(KeyboardInterrupt):
        registry.get("slow")


def test_a_plugin_for_another_version_is_refused_without_importing_it(offer, fusers: Make) -> None:
    folder = offer(
        "future", {FUSERS: {"new": "future:Good"}}, requires=["image-fusionkit>=99"], modules={"future": GOOD}
    )
    registry = fusers(folder)
    with pytest.raises(PluginError, match=r"'new' of future 1.0 cannot be used: version: it needs image-fusionkit>=99"):
        registry.get("new")
    assert "future" not in sys.modules


def test_a_name_of_two_distributions_is_refused_naming_both_and_each_is_had_in_full(offer, fusers: Make) -> None:
    folder = offer("one", {FUSERS: {"same": "one:Good"}}, modules={"one": GOOD})
    offer("Two-Way", {FUSERS: {"same": "two:Good"}}, version="2.0", modules={"two": GOOD})
    registry = fusers(folder)
    with pytest.raises(PluginError) as caught:
        registry.get("same")
    message = str(caught.value)
    assert message == (
        "fuser 'same' cannot be used: discover: the name is claimed by one 1.0 and by two-way 2.0; "
        "use 'one:same' or 'two-way:same'"
    )
    assert registry.get("one:same").__module__ == "one"
    assert registry.get("two-way:same").__module__ == "two"
    assert registry.get("Two.Way:same").__module__ == "two"
    assert registry.names() == ["same"]
    assert [registry.problem(entry).stage for entry in registry.entries()] == ["discover", "discover"]


def test_a_built_in_name_cannot_be_taken_over(offer, fusers: Make) -> None:
    folder = offer("image-fusionkit", {FUSERS: {"ours": "ours:Good"}}, version="0.1.0", modules={"ours": GOOD})
    offer("aaa", {FUSERS: {"ours": "thief:Good"}}, modules={"thief": GOOD})
    registry = fusers(folder)
    assert registry.get("ours").__module__ == "ours"
    assert registry.get("aaa:ours").__module__ == "thief"
    problems = {entry.distribution: registry.problem(entry) for entry in registry.entries()}
    assert problems["image-fusionkit"] is None
    assert "built in" in problems["aaa"].cause
    assert "'aaa:ours'" in problems["aaa"].remedy


def test_an_unknown_name_is_answered_with_the_nearest(offer, fusers: Make) -> None:
    folder = offer("lazy", {FUSERS: {"good": "g:Good", "better": "g:Better"}})
    registry = fusers(folder)
    with pytest.raises(UsageError, match=r"unknown fuser 'goud': did you mean 'good'\? \(known: better, good\)"):
        registry.get("goud")
    with pytest.raises(UsageError, match="unknown fuser 'nobody:good'"):
        registry.get("nobody:good")


def test_ambiguous_names_are_offered_in_full(offer, fusers: Make) -> None:
    folder = offer("one", {FUSERS: {"same": "one:Good"}})
    offer("two", {FUSERS: {"same": "two:Good"}})
    with pytest.raises(UsageError, match=r"known: one:same, two:same"):
        fusers(folder).get("sam")


def test_a_name_on_a_malformed_line_is_a_plugin_error_and_never_unknown(offer, fusers: Make) -> None:
    registry = fusers(offer("malformed", f"[{FUSERS}]\nlost = where\n"))
    with pytest.raises(PluginError, match=r"'lost' of malformed 1.0 cannot be used: discover: the target 'where'"):
        registry.get("lost")


def test_an_unknown_name_tells_of_a_file_that_may_hold_it(offer, fusers: Make) -> None:
    registry = fusers(offer("binary", b"[fusionkit.fusers]\nx = \xff\xfe:X\n"))
    with pytest.raises(UsageError, match=r"unknown fuser 'x'.*binary: entry_points.txt cannot be read"):
        registry.get("x")


def test_an_object_of_the_wrong_kind_or_name_breaks_the_contract_of_tasks(offer, monkeypatch) -> None:
    source = "from fusionkit.tasks import IVIF, Task\nnot_one = 3\nother = IVIF"
    folder = offer(
        "tasky",
        {"fusionkit.tasks": {"a": "tasky:not_one", "b": "tasky:other", "c": "tasky:Task"}},
        modules={"tasky": source},
    )
    monkeypatch.syspath_prepend(str(folder))
    registry: Registry[Task] = Registry(
        "task", "fusionkit.tasks", "fusionkit.tasks:Task", instances=True, own_name="name", path=[str(folder)]
    )
    causes = [registry.problem(entry).cause for entry in registry.entries()]
    assert causes == [
        "it is a int, not an instance of fusionkit.tasks.Task",
        "it calls itself 'ivif' (name) and is registered as 'b'",
        "it is the class Task, not an instance of fusionkit.tasks.Task",
    ]
    del sys.modules["tasky"]


def test_a_metric_without_a_record_breaks_the_contract(offer, monkeypatch) -> None:
    source = (
        "from fusionkit.contracts import Metric\nclass M(Metric):\n    def __call__(self, fused, *s, truth=None): ..."
    )
    folder = offer("metricky", {"fusionkit.metrics": {"M": "metricky:M"}}, modules={"metricky": source})
    monkeypatch.syspath_prepend(str(folder))
    registry = Registry(
        "metric", "fusionkit.metrics", "fusionkit.contracts:Metric", own_name="info.name", path=[str(folder)]
    )
    assert "info.name is missing" in registry.problem(registry.entries()[0]).cause
    del sys.modules["metricky"]


def test_a_distribution_installed_meanwhile_is_found_after_refresh(offer, fusers: Make) -> None:
    registry = fusers(offer("lazy", {FUSERS: {"good": "lazy_good:Good"}}, modules={"lazy_good": GOOD}))
    assert registry.names() == ["good"]
    offer("later", {FUSERS: {"late": "later:Good"}}, modules={"later": GOOD})
    assert registry.names() == ["good"]
    registry.refresh()
    assert registry.names() == ["good", "late"]


class First(Fuser):
    def forward(self, *sources: Tensor) -> Tensor:
        return sources[0]


class Second(First):
    pass


def test_a_running_program_registers_and_replaces_its_own_names(fusers: Make, tmp_path: Path) -> None:
    registry = fusers(tmp_path)
    registry.register("mine", First)
    assert registry.get("mine") is First
    registry.register("mine", Second)
    assert registry.get("mine") is Second
    assert registry.get("in-process:mine") is Second
    assert registry.names() == ["mine"]
    assert [(e.origin, e.target) for e in registry.entries()] == [("in-process", f"{__name__}:Second")]
    assert registry.problem(registry.entries()[0]) is None


def test_a_running_program_cannot_take_an_installed_name_or_register_another_kind(offer, fusers: Make) -> None:
    registry = fusers(offer("lazy", {FUSERS: {"good": "lazy_good:Good"}}, modules={"lazy_good": GOOD}))
    with pytest.raises(UsageError, match=r"'good' is a name of lazy 1.0"):
        registry.register("good", First)
    with pytest.raises(PluginError, match="not a subclass of"):
        registry.register("other", int)  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="does not implement forward"):
        registry.register("other", Fuser)
    assert registry.names() == ["good"]


def test_plugins_of_a_former_group_are_taken_too(offer, monkeypatch: pytest.MonkeyPatch) -> None:
    old = offer("old", {"fusionkit.former": {"good": "old_good:Good"}}, modules={"old_good": GOOD})
    both = offer("both", {FUSERS: {"two": "both_new:Good"}, "fusionkit.former": {"two": "both_gone:Good"}},
                 modules={"both_new": GOOD})  # fmt: skip
    path = [str(old), str(both)]
    for folder in path:
        monkeypatch.syspath_prepend(folder)
    registry = Registry("fuser", FUSERS, "fusionkit.contracts:Fuser", path=path, former_group="fusionkit.former")
    assert registry.names() == ["good", "two"]
    assert issubclass(registry.get("good"), Fuser)
    assert registry.entry("two").group == FUSERS


def test_the_catalogue_holds_the_tasks_under_their_names() -> None:
    assert catalogue.tasks.get("ivif") is IVIF
    assert {"ivif", "mif", "mfif", "meif"} <= set(catalogue.tasks.names())
    assert [registry.group for registry in catalogue.registries()] == [
        f"fusionkit.{kind}"
        for kind in (
            "fusers",
            "reconstructors",
            "outer_losses",
            "loss_proposers",
            "trainers",
            "metrics",
            "aligners",
            "datasets",
            "tasks",
            "profiles",
            "published_tables",
        )
    ]
