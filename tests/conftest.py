"""What every test shares: quiet threads, seeded draws, pairs to train on, the data folder."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from tests.support.small_pairs import write_noise_pairs

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    # A shell that runs us in the background has us ignore Ctrl-C, and the processes that tests start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("default", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def small_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve pairs of 24 x 20 pixels, for tests of trainings that do not ask what is learned."""
    return write_noise_pairs(tmp_path_factory.mktemp("small") / "pairs", 12)


@pytest.fixture(scope="module")
def no_pictures() -> Iterator[None]:
    """Leave out the pictures of the runs that this process trains; they take longer than the steps of a small one."""
    from fusionkit.train import run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "draw_run", lambda *_: None)
        patch.setattr(run, "save_snapshot", lambda *_: None)
        yield


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """A folder of real pairs with a MANIFEST.csv, named by the environment variable FUSIONKIT_DATA."""
    folder = os.environ.get("FUSIONKIT_DATA")
    if not folder or not (Path(folder) / "MANIFEST.csv").is_file():
        pytest.skip("set FUSIONKIT_DATA to a folder of real pairs with a MANIFEST.csv to run this test")
    return Path(folder)
