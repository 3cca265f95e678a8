"""Adds ``--fusionkit-device`` and the fixture ``fusionkit_device`` to pytest. Loads PyTorch only when a test asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch

OPTION = "--fusionkit-device"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("fusionkit").addoption(
        OPTION,
        choices=("cpu", "cuda"),
        default="cpu",
        help="Device of the fixture fusionkit_device, on which the conformance kit runs plugins. [default: cpu]",
    )


@pytest.fixture(scope="session")
def fusionkit_device(request: pytest.FixtureRequest) -> torch.device:
    """The device that ``--fusionkit-device`` names; without it here, the tests that ask for it are skipped."""
    import torch

    name = str(request.config.getoption(OPTION))
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip(f"{OPTION} cuda: PyTorch {torch.__version__} sees no CUDA device here")
    return torch.device(name)
