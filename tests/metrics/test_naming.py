"""Names of metrics: as registered, written otherwise, and as other papers call them."""

from __future__ import annotations

import pytest

from fusionkit.errors import UsageError
from fusionkit.metrics.naming import resolve
from fusionkit.plugins import catalogue


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("VIF", "VIFp"), ("qg", "Qabf"), ("NCIE", "QNCIE"), ("std", "SD"), ("ms_ssim", "MS-SSIM"),
        ("MSSSIM", "MS-SSIM"),        ("Q_CB", "QCB"), ("fmi_pixel", "FMI-pixel"), ("VIFp", "VIFp"), ("viff", "VIFF"),
    ],
)  # fmt: skip
def test_a_metric_is_found_by_the_names_that_papers_have_for_it(given: str, known: str) -> None:
    assert resolve([given]) == (known,)


def test_an_alias_and_its_metric_are_one() -> None:
    assert resolve(["VIF", "EN", "VIFp"]) == ("VIFp", "EN")


def test_no_two_names_or_aliases_are_one_without_case_hyphens_and_underscores() -> None:
    metrics = catalogue.metrics.usable()
    names = [*metrics, *(alias for metric in metrics.values() for alias in metric.info.aliases)]
    folded = [name.casefold().replace("-", "").replace("_", "") for name in names]
    assert len(set(folded)) == len(folded)


def test_an_unknown_name_still_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="unknown metric 'VIFx': did you mean 'VIF"):
        resolve(["VIFx"])
