"""Import torchvision even where its compiled operators do not fit the installed PyTorch."""

from __future__ import annotations

import re
import sys
from types import ModuleType

from fusionkit.errors import UsageError

__all__ = ["load_torchvision"]

_LIBRARIES: list[object] = []
"""Operator declarations live as long as their Library object."""


def load_torchvision() -> ModuleType:
    """Import torchvision before anything that imports it (torchmetrics' boxes, timm).

    torchvision's wheels are built against one build of PyTorch. Beside another (the CPU build, say) its compiled
    operators do not load, and the import fails because it describes them. Declaring their names lets the rest, which
    is plain PyTorch, be used; calling such an operator still fails, so take NMS from kornia instead.

    Raises:
        UsageError: torchvision is not installed.
    """
    while True:
        try:
            import torchvision
        except ImportError as error:
            raise UsageError(
                "downstream networks need torchvision: install it with pip install 'image-fusionkit[downstream]'"
            ) from error
        except RuntimeError as error:
            absent = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if absent is None:
                raise
            _declare(absent[1])
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
        else:
            loaded: ModuleType = torchvision
            return loaded


def _declare(operator: str) -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    library.define(f"{operator}() -> ()")
    _LIBRARIES.append(library)
