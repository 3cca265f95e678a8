"""The conformance kit: plain functions that test a plugin against its contract and say which rule it breaks.

They raise AssertionError, so a plugin's tests call them and nothing else is needed::

    def test_the_fuser_keeps_its_contract(fusionkit_device):
        check_fuser(MyFuser, device=fusionkit_device)

The fixture comes with fusionkit; ``pytest --fusionkit-device cuda`` runs such tests on a GPU. Every check that runs a
plugin takes ``device``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusionkit.testing.aligner_checks import check_aligner
    from fusionkit.testing.data_checks import check_dataset, check_profile, check_task
    from fusionkit.testing.downstream_checks import check_downstream
    from fusionkit.testing.examples import example_labelled_pairs, example_labels, example_pairs, example_sources
    from fusionkit.testing.fuser_checks import check_fuser
    from fusionkit.testing.metric_checks import check_metric
    from fusionkit.testing.outer_loss_checks import check_outer_loss, check_reconstructor
    from fusionkit.testing.proposer_checks import check_loss_proposer
    from fusionkit.testing.trainer_checks import check_trainer

__all__ = [
    "check_aligner",
    "check_dataset",
    "check_downstream",
    "check_fuser",
    "check_loss_proposer",
    "check_metric",
    "check_outer_loss",
    "check_profile",
    "check_reconstructor",
    "check_task",
    "check_trainer",
    "example_labelled_pairs",
    "example_labels",
    "example_pairs",
    "example_sources",
]

_HOMES = {
    "check_aligner": "aligner_checks",
    "check_dataset": "data_checks",
    "check_downstream": "downstream_checks",
    "check_fuser": "fuser_checks",
    "check_loss_proposer": "proposer_checks",
    "check_metric": "metric_checks",
    "check_outer_loss": "outer_loss_checks",
    "check_profile": "data_checks",
    "check_reconstructor": "outer_loss_checks",
    "check_task": "data_checks",
    "check_trainer": "trainer_checks",
    "example_labelled_pairs": "examples",
    "example_labels": "examples",
    "example_pairs": "examples",
    "example_sources": "examples",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: pytest imports this package for its option, in tests of other projects as well.
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
