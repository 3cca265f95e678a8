"""Every public function of a metric module has an example, whose printed value is the one that is computed."""

from __future__ import annotations

import doctest
import inspect
from importlib import import_module
from types import FunctionType, ModuleType

import pytest

from fusionkit.plugins import catalogue

MODULES = sorted(
    {catalogue.metrics.get(entry.name).__module__ for entry in catalogue.metrics.entries() if entry.built_in}
)


def functions(module: ModuleType) -> list[FunctionType]:
    public = [getattr(module, name) for name in module.__all__]
    return [thing for thing in public if inspect.isfunction(thing)]


@pytest.mark.parametrize("name", [*MODULES, "fusionkit.metrics.scoring"])
def test_examples_give_the_values_that_they_print(name: str) -> None:
    module = import_module(name)
    finder, runner = doctest.DocTestFinder(exclude_empty=False), doctest.DocTestRunner(verbose=False)
    examples = {test.name.rpartition(".")[2]: test for test in finder.find(module)}
    if name in MODULES:
        assert functions(module)
        assert [f.__name__ for f in functions(module) if not examples[f.__name__].examples] == []
    for test in examples.values():
        # An example runs on its own imports.
        test.globs = {**test.globs} if name not in MODULES else {}
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
