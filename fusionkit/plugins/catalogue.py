"""The registries of every kind of plugin. Importing this imports no plugin and no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fusionkit.plugins.registry import Registry

if TYPE_CHECKING:
    from fusionkit.contracts import Aligner, Fuser, LossProposer, MetaTrainer, Metric, OuterLoss, Reconstructor
    from fusionkit.plugins.declarations import Dataset, Profile, PublishedPaper
    from fusionkit.tasks import Task

__all__ = [
    "aligners",
    "datasets",
    "fusers",
    "loss_proposers",
    "metrics",
    "outer_losses",
    "profiles",
    "published_tables",
    "reconstructors",
    "registries",
    "tasks",
    "trainers",
]

fusers: Registry[type[Fuser]] = Registry("fuser", "fusionkit.fusers", "fusionkit.contracts:Fuser")
reconstructors: Registry[type[Reconstructor]] = Registry(
    "reconstructor", "fusionkit.reconstructors", "fusionkit.contracts:Reconstructor"
)
outer_losses: Registry[type[OuterLoss]] = Registry(
    "outer loss", "fusionkit.outer_losses", "fusionkit.contracts:OuterLoss", former_group="fusionkit.critics"
)
loss_proposers: Registry[type[LossProposer]] = Registry(
    "loss proposer", "fusionkit.loss_proposers", "fusionkit.contracts:LossProposer"
)
trainers: Registry[type[MetaTrainer]] = Registry("trainer", "fusionkit.trainers", "fusionkit.contracts:MetaTrainer")
metrics: Registry[type[Metric]] = Registry(
    "metric", "fusionkit.metrics", "fusionkit.contracts:Metric", own_name="info.name"
)
aligners: Registry[type[Aligner]] = Registry("aligner", "fusionkit.aligners", "fusionkit.contracts:Aligner")
datasets: Registry[Dataset] = Registry(
    "data set", "fusionkit.datasets", "fusionkit.plugins.declarations:Dataset", instances=True, own_name="name"
)
tasks: Registry[Task] = Registry("task", "fusionkit.tasks", "fusionkit.tasks:Task", instances=True, own_name="name")
profiles: Registry[Profile] = Registry(
    "metric profile", "fusionkit.profiles", "fusionkit.plugins.declarations:Profile", instances=True, own_name="name"
)
published_tables: Registry[PublishedPaper] = Registry(
    "paper",
    "fusionkit.published_tables",
    "fusionkit.plugins.declarations:PublishedPaper",
    instances=True,
    own_name="key",
)


def registries() -> tuple[Registry[Any], ...]:
    """Every registry, in the order that lists show them."""
    return (
        fusers,
        reconstructors,
        outer_losses,
        loss_proposers,
        trainers,
        metrics,
        aligners,
        datasets,
        tasks,
        profiles,
        published_tables,
    )
