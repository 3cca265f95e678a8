"""Packages a finished run as a model that a plugin can ship: the fuser's weights and a card beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusionkit.bench.record_files import read_records
from fusionkit.bench.records import Record
from fusionkit.config import read_toml, resolve
from fusionkit.data.pair_set import NONE_STATED, PairSet
from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.io.digest import file_digest
from fusionkit.models.card import (
    FIRST_TAG,
    UNNAMED,
    DataUse,
    Lengthening,
    ModelCard,
    Origin,
    Scores,
    Training,
    read_card,
    write_card,
)
from fusionkit.models.shipped import check_tag, model_file, models_in
from fusionkit.models.weights import WeightsInfo, load_fuser, save_fuser
from fusionkit.plugins import catalogue
from fusionkit.train.lineage import Ancestor
from fusionkit.train.run_folder import OPTIONS, RunFolder, RunRecord
from fusionkit.train.training_pairs import are_those_of, find_training_pairs

__all__ = ["package_model"]

NO_RECORD = "not stated by any data set record of fusionkit: see where the pairs come from"


def package_model(
    run: Path,
    to: Path,
    *,
    tag: str = FIRST_TAG,
    supersedes: Sequence[str] = (),
    bench: Sequence[Path] = (),
    data: str | None = None,
    beside: Sequence[str] = (),
    force: bool = False,
) -> tuple[Path, ModelCard]:
    """Write a run's fuser as ``TASK.safetensors``, or ``TASK@TAG.safetensors``, and its card beside it as TOML.

    The weights are those of the run, bit for bit. The description in the file names data sets instead of the folder
    that they lay in.

    Args:
        run: folder of a finished run.
        to: folder to write into: the one that the fuser's ``pretrained`` lists, for a plugin that ships them.
        tag: what tells the model from others of the task; ``v1`` is not part of the file's name.
        supersedes: tags of models in the folder that this one replaces. Their files are not changed.
        bench: folders of benches in which the run's weights, or weights packaged from it, were compared.
        data: where the training pairs lie now; as the run states if None. They must be the same pairs.
        beside: names of the bench's other methods to show beside; all of them if empty.
        force: replace a model that has the same tag.

    Returns:
        The weights file and its card.

    Raises:
        UsageError: an impossible tag, a model with that tag is there already, ``supersedes`` names a tag that is not
            there, or ``beside`` a method that no bench has.
        DataError: the run is not finished, its pairs are not there or others, a bench has no result of it, or
            something cannot be written.
    """
    check_tag(tag)
    folder = RunFolder.open(run)
    record = folder.record
    if not folder.is_finished:
        raise DataError(f"{run}: is not finished: go on with it: fusionkit train --resume {run}")
    fuser, info = load_fuser(folder.model)
    target = model_file(to, record.task, tag)
    if target.exists() and not force:
        raise UsageError(f"{target}: is there already: choose another --tag or --to, or replace it with --force")
    others = {model.tag for model in models_in(to) if model.task == record.task} - {tag}
    for old in supersedes:
        if old not in others:
            raise UsageError(f"--supersedes {old}: {to} has no such {record.task} model: {did_you_mean(old, others)}")
    uses = _uses(record, data or record.data, run)
    scores = _scores(bench, record.task, _known_digests(info.digest, target), beside, run)
    pairs = ", ".join(f"{use.dataset} {use.pairs}" for use in uses)
    described = WeightsInfo(
        fuser=info.fuser,
        task=record.task,
        config=info.config,
        training=_without_folders({**info.training, "data": pairs}),
    )
    save_fuser(target, fuser, described)
    card = ModelCard(
        fuser=info.fuser,
        task=record.task,
        tag=tag,
        supersedes=tuple(supersedes),
        parameters=sum(p.numel() for p in fuser.parameters()),
        weights_sha256=file_digest(target),
        run_sha256=info.digest,
        training=_training(folder, record, info.training),
        data=uses,
        scores=scores,
    )
    # The card comes last: until then a card that is there is refused as that of other weights.
    write_card(target, card)
    return target, card


def _training(folder: RunFolder, record: RunRecord, described: dict[str, Any]) -> Training:
    about = record.environment
    rows = list(folder.metrics())
    steps = int(described["steps"])
    return Training(
        trainer=record.method,
        preset=record.preset,
        given=_without_folders(_stated(record.given)),
        steps=steps,
        seed=record.seed,
        split=record.split,
        fingerprint=record.fingerprint,
        device=record.device,
        machine=(record.device != "cpu" and about.get("accelerator")) or about.get("processor") or "unknown",
        threads=about.get("threads", 1),
        precision=record.precision,
        seconds=round(steps * rows[-1]["seconds_per_step"], 1) if rows else None,
        versions={name: version for name, version in about.get("versions", {}).items() if version},
        commit=about.get("commit", ""),
        lineage=tuple(map(_origin, record.lineage)),
        extensions=tuple(Lengthening(**asdict(extension)) for extension in record.extensions),
    )


def _uses(record: RunRecord, spec: str, run: Path) -> tuple[DataUse, ...]:
    """The data sets of the training pairs, with the licences that their records state."""
    kind = catalogue.trainers.get(record.method)
    options: Any = resolve(kind.Config, (str(run / OPTIONS), read_toml(run / OPTIONS)))
    try:
        pairs = find_training_pairs(spec, task=record.task, split=record.split, labels=kind.label_kind(options))
    except DataError as error:
        raise DataError(f"{run}: the pairs it was trained on are needed for their licences (--data): {error}") from None
    if not are_those_of(pairs, record):
        raise DataError(f"--data {spec}: are not the pairs that {run} was trained on (their fingerprint differs)")
    return tuple(_use(pairs, name, count) for name, count in pairs.datasets.items())


def _use(pairs: PairSet, name: str, count: int) -> DataUse:
    if name in catalogue.datasets.names():
        known = catalogue.datasets.get(name)
        return DataUse(
            dataset=name, pairs=count, licence=known.licence, citation=known.citation, homepage=known.homepage
        )
    stated = pairs.licence if len(pairs.datasets) == 1 and pairs.licence != NONE_STATED else NO_RECORD
    return DataUse(dataset=name or UNNAMED, pairs=count, licence=stated, citation=pairs.citation)


def _stated(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without those that were given as None, which TOML cannot say."""
    return {
        name: _stated(value) if isinstance(value, Mapping) else value
        for name, value in options.items()
        if value is not None
    }


def _origin(ancestor: Ancestor) -> Origin:
    shown = Ancestor(**_without_folders(asdict(ancestor)))
    return Origin(model=shown.model, sha256=shown.sha256, trained=shown.line)


def _without_folders(value: Any) -> Any:
    """Nested values with absolute paths cut to their last two parts, and ``NAME:PATH`` to its name."""
    if isinstance(value, Mapping):
        return {name: _without_folders(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_folders(each) for each in value]
    if not isinstance(value, str):
        return value
    name, colon, place = value.partition(":")
    if colon and Path(place).is_absolute():
        return name
    return "/".join(Path(value).parts[-2:]) if Path(value).is_absolute() else value


def _known_digests(run_digest: str, target: Path) -> frozenset[str]:
    """The digests under which a bench may know the run's weights: the run's own, and that of an earlier package."""
    try:
        earlier = read_card(target) if target.is_file() else None
    except DataError:  # a card that is about to be replaced
        earlier = None
    if earlier is None or earlier.run_sha256 != run_digest:
        return frozenset({run_digest})
    return frozenset({run_digest, earlier.weights_sha256})


def _scores(
    benches: Sequence[Path], task: str, own_digests: frozenset[str], beside: Sequence[str], run: Path
) -> tuple[Scores, ...]:
    scores: list[Scores] = []
    seen: set[str] = set()
    for out in benches:
        records = read_records(out, task=task)
        own = [record for record in records if record.method.weights_sha256 in own_digests]
        if not own:
            raise DataError(
                f"--bench {out}: has no {task} result of the weights of {run}: compare them first: "
                f"fusionkit bench --task {task} --fuser {run} --out {out}"
            )
        for mine in own:
            others = [record for record in records if _comparable(record, mine)]
            seen |= {record.method.name for record in others}
            chosen = [record for record in others if not beside or record.method.name in beside]
            scores += [_means(mine, this=True), *(_means(record, this=False) for record in chosen)]
    for name in beside:
        if name not in seen:
            raise UsageError(f"--beside {name}: is not beside the model in any bench: {did_you_mean(name, seen)}")
    return tuple(scores)


def _comparable(record: Record, mine: Record) -> bool:
    """Return whether a record is another method's on the same images under the same profile."""
    other = record.method.weights_sha256 != mine.method.weights_sha256
    return other and _place(record) == _place(mine)


def _place(record: Record) -> tuple[Any, ...]:
    images = frozenset((image.name, image.sources_sha256) for image in record.images)
    return record.dataset, record.split, record.profile, images


def _means(record: Record, *, this: bool) -> Scores:
    means = {metric: record.mean(metric) for metric in record.metrics}
    return Scores(
        dataset=record.dataset,
        split=record.split,
        images=len(record.images),
        profile=record.profile,
        method=record.method.name,
        this=this,
        stretch=record.method.stretch,
        means={metric: float(f"{mean:.6g}") for metric, mean in means.items() if mean is not None},
    )
