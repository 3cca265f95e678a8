"""Model cards: say what shipped weights were trained on, how, and how good they are.

A card is a TOML file with the name of the weights (``ivif.toml`` beside ``ivif.safetensors``). Nothing in it is typed
by hand: :func:`fusionkit.bench.model_package.package_model` computes it from a run's folder, the records of a bench and
the records of the data sets. Nothing here imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import tomli_w
from pydantic import ConfigDict, Field, ValidationError

from fusionkit.errors import DataError
from fusionkit.io.atomic import write_text
from fusionkit.io.regular_files import read_regular_text
from fusionkit.io.strict_records import Digest, StrictRecord
from fusionkit.runtime.python310 import tomllib

__all__ = [
    "FIRST_TAG",
    "FORMAT",
    "UNNAMED",
    "DataUse",
    "Lengthening",
    "ModelCard",
    "Origin",
    "Scores",
    "Training",
    "as_markdown",
    "card_path",
    "read_card",
    "write_card",
]

FIRST_TAG = "v1"
"""Tag of a model whose file and card name none."""

UNNAMED = "unnamed"
"""Name of training data that came without one."""

FORMAT: Literal[1] = 1
"""Version of the card's form; a newer one is refused."""


class _Strict(StrictRecord):
    # TOML has no tuples: its arrays are converted.
    model_config = ConfigDict(strict=False)


class DataUse(_Strict):
    """One data set that a model was trained on.

    Attributes:
        dataset: its name.
        pairs: number of its pairs that were used.
        licence: licence that its record states.
        citation: paper to cite, or "".
        homepage: address where its authors publish it, or "".
    """

    dataset: str
    pairs: int = Field(ge=1)
    licence: str = Field(min_length=1)
    citation: str = ""
    homepage: str = ""


class Origin(_Strict):
    """A model whose weights a training began from.

    Attributes:
        model: its full name, or the end of the path of its file.
        sha256: digest of its file.
        trained: its training in one line, or "" if its file does not say.
    """

    model: str
    sha256: Digest
    trained: str = ""


class Lengthening(_Strict):
    """More epochs that a finished training was given.

    Attributes:
        epochs: how many.
        step: number of steps that were taken before.
        sha256: digest of the weights until then.
    """

    epochs: int = Field(ge=1)
    step: int = Field(ge=1)
    sha256: Digest


class Training(_Strict):
    """Training of a model.

    Attributes:
        trainer: registered trainer.
        preset: its preset.
        given: options that were set beside the preset.
        steps: length of the schedule.
        seed: seed of initial weights and random draws.
        split: split of the data.
        fingerprint: digest of the training pairs.
        device: ``"cpu"`` or ``"cuda"``.
        machine: name of the processor or accelerator.
        threads: number of CPU threads.
        precision: ``"fp32"``, ``"tf32"`` or ``"bf16"``.
        seconds: time of all steps in seconds, computed from the log; None without a log.
        versions: package name -> version, of the packages that the weights depend on.
        commit: commit of the toolkit, or "".
        lineage: the models that it began from, the oldest first; it took its first weights from the last.
        extensions: more epochs after its end.
    """

    trainer: str
    preset: str
    given: dict[str, Any] = {}
    steps: int = Field(ge=1)
    seed: int
    split: str = ""
    fingerprint: Digest
    device: str
    machine: str
    threads: int = Field(ge=1)
    precision: str
    seconds: float | None = Field(default=None, ge=0)
    versions: dict[str, str] = {}
    commit: str = ""
    lineage: tuple[Origin, ...] = ()
    extensions: tuple[Lengthening, ...] = ()


class Scores(_Strict):
    """One method's means on one data set.

    Attributes:
        dataset: the data set.
        split: its split, or "".
        images: number of fused images.
        profile: the metric profile.
        method: name of the method in the bench.
        this: whether this row is the model of the card.
        stretch: its range stretch; "" for results of another program.
        means: metric -> mean over the images; a metric that is undefined on one of them is left out.
    """

    dataset: str
    split: str = ""
    images: int = Field(ge=1)
    profile: str
    method: str
    this: bool
    stretch: Literal["full", "none", ""] = ""
    means: dict[str, float]


class ModelCard(_Strict):
    """The card of a shipped model.

    Attributes:
        format: version of the card's form.
        fuser: registered fuser.
        task: the task it is for.
        tag: what tells it from the fuser's other models of the task.
        supersedes: tags of the models that it replaces.
        parameters: number of learned parameters.
        weights_sha256: digest of the weights file beside the card.
        run_sha256: digest of the weights file of the run that it comes from; its tensors are the same.
        training: how it was trained.
        data: what it was trained on.
        scores: means of this model and of others on the same images.
    """

    format: Literal[1] = FORMAT
    fuser: str
    task: str
    tag: str = FIRST_TAG
    supersedes: tuple[str, ...] = ()
    parameters: int = Field(ge=1)
    weights_sha256: Digest
    run_sha256: Digest
    training: Training
    data: tuple[DataUse, ...] = Field(min_length=1)
    scores: tuple[Scores, ...] = ()

    @property
    def pairs(self) -> int:
        """Number of training pairs."""
        return sum(use.pairs for use in self.data)

    @property
    def line(self) -> str:
        """The training in one line, for lists."""
        t = self.training
        what = f"{t.preset} preset, {_several(t.steps, 'step')}, {_several(self.pairs, 'pair')}, seed {t.seed}"
        origin = f", from {t.lineage[-1].model}" if t.lineage else ""
        return f"{what}{origin}, {t.machine}{_time(t.seconds)}"


def card_path(weights: Path) -> Path:
    """The path of a weights file's card."""
    return weights.with_suffix(".toml")


def write_card(weights: Path, card: ModelCard) -> Path:
    """Write the card of a weights file, whole or not at all.

    Raises:
        fusionkit.errors.DataError: it cannot be written.
    """
    path = card_path(weights)
    write_text(path, tomli_w.dumps(card.model_dump(exclude_none=True)))
    return path


def read_card(weights: Path) -> ModelCard | None:
    """Read the card of a weights file; None if it has none.

    Raises:
        fusionkit.errors.DataError: it is damaged, of a newer form, or the card of other weights.
    """
    from fusionkit.io.digest import file_digest

    path = card_path(weights)
    if not path.is_file():
        return None
    try:
        card = ModelCard.model_validate(tomllib.loads(read_regular_text(path)))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a model card ({error}): package the model again") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: is no model card of this version ({where}: {first['msg']}): package again") from None
    if card.weights_sha256 != file_digest(weights):
        raise DataError(f"{path}: is the card of other weights than {weights.name} beside it: package the model again")
    return card


def as_markdown(card: ModelCard, *, title: str = "", stretch: str = "") -> str:
    """Format a card as a page of Markdown.

    Args:
        card: the card.
        title: the task in words.
        stretch: the range stretch that the model fuses with by default, where it is known.
    """
    t = card.training
    given = ", ".join(f"`{name}={value}`" for name, value in _flat(t.given)) or "none"
    replaced = f" (supersedes {', '.join(f'`{tag}`' for tag in card.supersedes)})" if card.supersedes else ""
    versions = ", ".join(f"{name} {value}" for name, value in t.versions.items() if value)
    lines = [
        f"# {card.fuser}, {title or card.task}",
        "",
        f"- Fuser `{card.fuser}`, task `{card.task}`, tag `{card.tag}`{replaced}, {card.parameters:,} parameters.",
        f"- Trained by `{t.trainer}` with preset `{t.preset}`, other options: {given}; {_several(t.steps, 'step')}, "
        f"seed {t.seed}, {t.precision}.",
        *(
            f"- Began from the weights of `{o.model}` (SHA-256 `{o.sha256}`){f': {o.trained}' if o.trained else ''}."
            for o in reversed(t.lineage)
        ),
        *(
            f"- Extended by {_several(e.epochs, 'epoch')} after {_several(e.step, 'step')}; SHA-256 of the weights "
            f"until then `{e.sha256}`."
            for e in t.extensions
        ),
        *([f"- Fuses with range stretch `{stretch}` unless told otherwise (`--stretch`)."] if stretch else []),
        f"- On {t.device} ({t.machine}), {_several(t.threads, 'thread')}{_time(t.seconds)}; "
        f"{versions or 'versions unknown'}{f'; commit `{t.commit[:12]}`' if t.commit else ''}.",
        f"- SHA-256 of the weights `{card.weights_sha256}`, of the training pairs `{t.fingerprint}`.",
        "",
        f"## Data: {_several(card.pairs, 'pair')}{f', split {t.split}' if t.split else ''}",
        "",
    ]
    for use in card.data:
        tail = f" {use.citation.rstrip('.')}." if use.citation else ""
        tail += f" <{use.homepage}>" if use.homepage else ""
        lines.append(f"- {use.dataset}: {_several(use.pairs, 'pair')}. Licence: {use.licence.rstrip('.')}.{tail}")
    lines += ["", "## Measured", ""]
    if not card.scores:
        lines.append("Nothing was measured.")
    for place in dict.fromkeys((s.dataset, s.split, s.images, s.profile) for s in card.scores):
        lines += [*_score_table(place, card), ""]
    return "\n".join(lines).rstrip() + "\n"


def _score_table(place: tuple[str, str, int, str], card: ModelCard) -> list[str]:
    dataset, split, images, profile = place
    rows = [s for s in card.scores if (s.dataset, s.split, s.images, s.profile) == place]
    metrics = list(dict.fromkeys(metric for row in rows for metric in row.means))
    lines = [
        f"{dataset}{f', {split}' if split else ''}, {_several(images, 'image')}, profile `{profile}`:",
        "",
        "| method | stretch | " + " | ".join(metrics) + " |",
        "| --- " * (len(metrics) + 2) + "|",
    ]
    for row in rows:
        name = f"**{row.method}** (this model)" if row.this else row.method
        values = [f"{row.means[m]:.4g}" if m in row.means else "-" for m in metrics]
        lines.append(f"| {name} | {row.stretch or '-'} | " + " | ".join(values) + " |")
    return lines


def _flat(options: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in options.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return found


def _several(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f", {seconds / 3600:.1f} h" if seconds >= 5400 else f", {max(seconds / 60, 0.1):.1f} min"
