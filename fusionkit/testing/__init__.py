"""The conformance kit: plain functions that try a plugin against its contract and say which rule it breaks.

They raise AssertionError, so a plugin's tests call them and nothing else is needed::

    def test_the_fuser_keeps_its_contract():
        check_fuser(MyFuser)
"""

from __future__ import annotations

from fusionkit.testing.downstream_checks import check_downstream
from fusionkit.testing.examples import example_labelled_pairs, example_labels, example_pairs, example_sources
from fusionkit.testing.fuser_checks import check_fuser
from fusionkit.testing.metric_checks import check_metric
from fusionkit.testing.outer_loss_checks import check_outer_loss, check_reconstructor
from fusionkit.testing.proposer_checks import check_loss_proposer
from fusionkit.testing.trainer_checks import check_trainer

__all__ = [
    "check_downstream",
    "check_fuser",
    "check_loss_proposer",
    "check_metric",
    "check_outer_loss",
    "check_reconstructor",
    "check_trainer",
    "example_labelled_pairs",
    "example_labels",
    "example_pairs",
    "example_sources",
]
