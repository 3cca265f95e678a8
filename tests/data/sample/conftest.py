"""The samples of all tasks, made once."""

from __future__ import annotations

import pytest

from fusionkit.data import PairSet
from fusionkit.data.sample import SAMPLE_TASKS, sample_pairs
from tests.support.sample_pictures import TASKS


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PairSet]:
    root = tmp_path_factory.mktemp("samples")
    return {name: sample_pairs(TASKS[name], root / name) for name in SAMPLE_TASKS}
