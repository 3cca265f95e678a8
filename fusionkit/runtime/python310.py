"""Parts of the standard library that Python 3.10 has under another name than later versions."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable

    import tomllib
else:
    from importlib.abc import Traversable

    import tomli as tomllib

__all__ = ["Traversable", "tomllib"]
