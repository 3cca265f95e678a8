"""What every test shares: quiet threads, the data folder, seeded draws."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from hypothesis import settings

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
def data_dir() -> Path:
    """A folder of real pairs with a MANIFEST.csv, named by the environment variable FUSIONKIT_DATA."""
    folder = os.environ.get("FUSIONKIT_DATA")
    if not folder or not (Path(folder) / "MANIFEST.csv").is_file():
        pytest.skip("set FUSIONKIT_DATA to a folder of real pairs with a MANIFEST.csv to run this test")
    return Path(folder)
