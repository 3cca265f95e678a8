"""Generate the tables of the pages from what is registered: ``python docs/tools/tables.py`` rewrites them.

A table stands in a page between ``<!-- table: NAME -->`` and ``<!-- end of table -->``. A test compares them.
"""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusionkit.models.card import ModelCard

DOCS = Path(__file__).parent.parent
_TABLE = re.compile(r"(<!-- table: (?P<name>[^\n]+?) -->\n)(?P<body>.*?)(<!-- end of table -->)", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [head, ["---"] * len(head), *([_cell(text) for text in row] for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def options(target: str, prefix: str = "") -> str:
    """List the options of a dataclass: name, default and description from its docstring.

    Args:
        target: ``module:Class``.
        prefix: stands before every name (``"trainer."``).
    """
    module, _, name = target.partition(":")
    rows = _option_rows(getattr(import_module(module), name), prefix)
    return table(("option", "default", "what it is"), rows)


def _option_rows(kind: Any, prefix: str) -> Iterator[tuple[str, str, str]]:
    said: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        said |= attributes(base.__doc__ or "")
    default = kind()
    for field in dataclasses.fields(kind):
        value = getattr(default, field.name)
        if not dataclasses.is_dataclass(value):
            yield f"`{prefix}{field.name}`", _value(value), said[field.name]
        elif prefix:  # the groups of a whole training have tables of their own
            yield from _option_rows(type(value), f"{prefix}{field.name}.")


def attributes(docstring: str) -> dict[str, str]:
    """Parse the ``Attributes:`` of a docstring, each as Markdown on one line."""
    found: dict[str, str] = {}
    name = ""
    for line in docstring.partition("Attributes:\n")[2].splitlines():
        if not line.strip() or not line.startswith("        "):
            break
        start = re.match(r"        (\w+): (.*)", line)
        if start:
            name = start[1]
            found[name] = start[2]
        else:
            found[name] += " " + line.strip()
    return {name: _markdown(text) for name, text in found.items()}


def tasks() -> str:
    """List every task with its sources, their folder names and the metrics of its tables."""
    from fusionkit.plugins import catalogue

    rows = []
    for name in catalogue.tasks.names():
        task = catalogue.tasks.get(name)
        sources = (f"{role} (`{'`, `'.join(names)}`)" for role, names in zip(task.sources, task.folders, strict=True))
        rows.append((f"`{name}`", task.title, *sources, " ".join(task.metrics)))
    return table(("task", "what", "source a (folder names)", "source b (folder names)", "metrics"), rows)


def datasets() -> str:
    """List every named data set."""
    from fusionkit.plugins import catalogue

    rows = []
    for name in catalogue.datasets.names():
        record = catalogue.datasets.get(name)
        pairs = ", ".join(
            f"{'not stated' if n is None else n} {split or 'in all'}" for split, n in record.splits.items()
        )
        rows.append((f"[{name}]({record.homepage})", f"`{record.task}`", pairs, record.images, record.licence))
    return table(("name", "task", "pairs", "images", "licence"), rows)


def labels() -> str:
    """List every named data set with labels: kind of labels, and classes by id."""
    from fusionkit.plugins import catalogue

    rows = []
    for name in catalogue.datasets.names():
        for known in catalogue.datasets.get(name).labels:
            rows.append((name, f"`{known.kind}`", ", ".join(known.classes), known.verified))
    return table(("data set", "labels", "classes, from id 0", "known from"), rows)


def presets(trainer: str) -> str:
    """List the presets of a trainer with purpose and settings."""
    from fusionkit.plugins import catalogue

    kind = catalogue.trainers.get(trainer)
    rows = []
    for name, values in kind.presets.items():
        chosen = ", ".join(f"`{option}={_toml(value)}`" for option, value in _flat(values))
        rows.append((f"`{name}`", kind.preset_notes.get(name, ""), chosen or "nothing: the defaults below"))
    return table(("preset", "what it is for", "what it sets"), rows)


def classical() -> str:
    """List every fuser without training."""
    from fusionkit.plugins import catalogue

    rows = []
    for name in catalogue.fusers.names():
        kind = catalogue.fusers.get(name)
        if kind.__module__.startswith("fusionkit_classical."):
            made_for = ", ".join(f"`{task}`" for task in kind.tasks) if kind.tasks else "any"
            most = str(kind.capabilities.max_sources or "any number")
            rows.append((f"[`{name}`](#{name})", made_for, most, kind.space, kind.reference))
    return table(("fuser", "task", "sources per call", "works on", "defined by"), rows)


def _published_networks() -> Iterator[tuple[str, Any]]:
    """Yield the name and class of each published network of another author."""
    from fusionkit.plugins import catalogue

    for name in catalogue.fusers.names():
        kind = catalogue.fusers.get(name)
        if kind.__module__.startswith("fusionkit_rivals.") and kind.published_weights:
            yield name, kind


def rivals() -> str:
    """List the published networks with their sizes and their authors' terms."""
    rows = [
        (
            f"`{name}`",
            ", ".join(f"`{task}`" for task in dict.fromkeys(t for w in kind.published_weights for t in w.tasks)),
            f"{kind.published_weights[0].parameters:,}",
            kind.published_weights[0].licence,
            kind.reference,
        )
        for name, kind in _published_networks()
    ]
    return table(("fuser", "tasks", "parameters", "licence", "defined by"), rows)


def rival_files() -> str:
    """List the published networks' weights files, and their faults."""
    rows = [
        (
            f"`{name}`",
            ", ".join(f"`{file}`" for file in dict.fromkeys(f for w in kind.published_weights for f in w.files)),
            "; ".join(kind.conventions.faults) or "none known",
        )
        for name, kind in _published_networks()
    ]
    return table(("fuser", "files", "not right as published"), rows)


def metrics() -> str:
    """List every registered metric."""
    from fusionkit.metrics.naming import conventions
    from fusionkit.plugins import catalogue

    rows = []
    for name in catalogue.metrics.names():
        info = catalogue.metrics.get(name).info
        where = ", ".join(f"`{profile}`" for profile in conventions(name) if profile != "standard")
        better = "higher" if info.higher_is_better else "lower"
        span = f"{info.range[0]:g} to {info.range[1]:g}"
        needs = info.needs if info.needs != "sources" else f"{info.needs} ({info.sources})"
        rows.append((f"`{name}`", info.title, better, span, info.unit, needs, where or "none"))
    return table(("metric", "title", "better", "range", "unit", "needs", "published profiles"), rows)


def models() -> str:
    """List every shipped model from its card."""
    from fusionkit.models.listing import list_models

    cards = [(entry.name, entry.card) for entry in list_models()[0] if entry.card is not None]
    if not cards:
        return "No trained model is part of this version.\n"
    rows = []
    for name, card in cards:
        data = ", ".join(f"{use.dataset} {use.pairs}" for use in card.data)
        shown = ("SCD", "Qabf")
        measured = [
            f"{s.dataset}: " + ", ".join(f"{metric} {s.means[metric]:.3g}" for metric in shown if metric in s.means)
            for s in card.scores
            if s.this
        ]
        rows.append((f"`{name}`", data, card.line, "; ".join(measured) or "nothing"))
    return table(("model", "trained on, pairs", "training", "measured"), rows)


def headline(fuser: str, dataset: str) -> str:
    """Compare a fuser's shipped model on one test set in SCD and Qabf, and count those where its models lead."""
    from fusionkit.models.listing import list_models

    shown = ("SCD", "Qabf")
    listed = [entry.card for entry in list_models()[0] if entry.card is not None]
    cards = [card for card in listed if card.fuser == fuser and _is_current(card)]
    sets: dict[str, dict[str, tuple[float, ...]]] = {}
    images: dict[str, int] = {}
    for card in cards:
        for score in card.scores:
            if score.method.startswith("copy-"):
                continue  # SCD is not defined on every copy
            values = sets.setdefault(score.dataset, {})
            values["**shipped model**" if score.this else score.method] = tuple(score.means[name] for name in shown)
            images[score.dataset] = score.images
    row = sets[dataset]
    names = {"authors": "the authors' weights"}
    made = table(
        (f"{' / '.join(shown)}, higher is better", *(names.get(name, name) for name in row)),
        [
            (
                f"{dataset}, {images[dataset]} test pairs",
                *(" / ".join(f"{v:.3f}" for v in pair) for pair in row.values()),
            )
        ],
    )
    rivals = {name: (values["**shipped model**"], values["authors"]) for name, values in sets.items()}
    ahead = [name for name, (ours, theirs) in rivals.items() if all(map(operator.gt, ours, theirs))]
    behind = [name for name, (ours, theirs) in rivals.items() if all(map(operator.lt, ours, theirs))]
    return (
        f"{made}\nThe shipped models lead the authors' weights in both metrics on {len(ahead)} of {len(rivals)} test "
        + (f"sets and trail them in both on {' and '.join(behind)}.\n" if behind else "sets.\n")
    )


def compared(model: str) -> str:
    """Compare a shipped model with the other methods of its card, on every test set."""
    from fusionkit.models.listing import list_models

    card = next(c for entry in list_models()[0] if (c := entry.card) is not None and f"{c.fuser}:{c.task}" == model)
    shown = ("EN", "SD", "SF", "AG", "SCD", "SSIM", "VIFp", "Qabf", "MI")
    rows = [
        (
            f"{score.dataset} {score.images}",
            f"**`{model}`**" if score.this else f"`{score.method}`",
            *(f"{score.means[name]:.3f}" for name in shown),
        )
        for score in card.scores
        if not score.method.startswith("copy-")
    ]
    return table(("set", "method", *shown), rows)


def _is_current(card: ModelCard) -> bool:
    """Return whether a model is the one that its fuser uses for the task when no tag is given."""
    from fusionkit.models.shipped import current_model, shipped_models
    from fusionkit.plugins import catalogue

    model = current_model(shipped_models(catalogue.fusers.get(card.fuser)), card.task)
    return model is not None and model.tag == card.tag


def profiles() -> str:
    """List every metric profile."""
    from fusionkit.metrics.profiles import PROFILES

    return table(
        ("profile", "what it stands for", "follows"), ((f"`{p.name}`", p.title, p.source) for p in PROFILES.values())
    )


def groups() -> str:
    """List every entry-point group with the kind of its targets."""
    from fusionkit.plugins.catalogue import registries

    rows = []
    for registry in registries():
        contract = registry._base.replace(":", ".")
        rows.append(
            (f"`{registry.group}`", registry.kind, f"`{contract}`", "an instance" if registry._instances else "a class")
        )
    return table(("group", "kind", "contract", "the target is"), rows)


def exit_codes() -> str:
    """List every exit code of the command line."""
    from fusionkit import cli, errors

    rows = [("0", "done", "")]
    rows.append(("1", "a bug of ours", "`--debug` shows the traceback; please report it"))
    for kind in (errors.UsageError, errors.PluginError, errors.DataError, errors.DivergedError):
        rows.append((str(kind.exit_code), _markdown(str(kind.__doc__)), f"`fusionkit.errors.{kind.__name__}`"))
    rows.append(
        (str(cli._INTERRUPTED), "Stopped by Ctrl-C or a polite kill; a training writes a checkpoint first.", "")
    )
    return table(("code", "meaning", "in Python"), rows)


def measured(name: str) -> str:
    """Copy the tables of a file of benchmarks/results, with the headings above them."""
    text = (DOCS.parent / "benchmarks" / "results" / name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith(("| ", "## "))]
    return "".join(f"\n#{line}\n\n" if line.startswith("#") else f"{line}\n" for line in lines).lstrip("\n")


TABLES: dict[str, Callable[..., str]] = {
    "classical": classical,
    "compared": compared,
    "rivals": rivals,
    "rival files": rival_files,
    "datasets": datasets,
    "exit codes": exit_codes,
    "groups": groups,
    "headline": headline,
    "labels": labels,
    "measured": measured,
    "metrics": metrics,
    "models": models,
    "options": options,
    "presets": presets,
    "profiles": profiles,
    "tasks": tasks,
}


def renewed(text: str) -> str:
    """Regenerate the tables of a page."""

    def replace(match: re.Match[str]) -> str:
        name, *arguments = match["name"].split("|")
        made = TABLES[name.strip()](*(argument.strip() for argument in arguments))
        return f"{match[1]}\n{made}\n{match[4]}"

    return _TABLE.sub(replace, text)


def _cell(text: str) -> str:
    # A bar would end the cell; escaped, it keeps its backslash inside code.
    return " ".join(text.split()).replace("|", "∣")


def _markdown(text: str) -> str:
    return " ".join(re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`").split())


def _value(value: Any) -> str:
    return f"`{value:.4g}`" if isinstance(value, float) else f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _flat(values: Any, prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def main() -> None:
    """Rewrite the tables of every page and of the README."""
    for page in (DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))):
        text = page.read_text(encoding="utf-8")
        if (made := renewed(text)) != text:
            page.write_text(made, encoding="utf-8")
            print(page)


if __name__ == "__main__":
    main()
