"""How a call ended: with a result, or with one line for the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fusionkit.errors import FusionkitError


def refusal(call: Callable[[], Any]) -> str | None:
    """The message of the FusionkitError that ``call`` raises, or None; every other exception is a bug and passes."""
    try:
        call()
    except FusionkitError as error:
        return str(error)
    return None
