"""fusionkit: train, run and compare image-fusion methods.

>>> import fusionkit
>>> model = fusionkit.load("laplacian")                       # doctest: +SKIP
>>> model.fuse("ir.png", "visible.png").save("fused.png")     # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusionkit.data.pair_finding import find_pairs
    from fusionkit.fuse.model import Fused, Model, fuse_tensors, load
    from fusionkit.metrics import score
    from fusionkit.train.run import TrainRequest, resume, start

__all__ = ["Fused", "Model", "TrainRequest", "find_pairs", "fuse_tensors", "load", "resume", "score", "start"]

try:
    __version__ = version("image-fusionkit")
except PackageNotFoundError:
    __version__ = "0"

_HOMES = {
    "Fused": "fusionkit.fuse.model",
    "Model": "fusionkit.fuse.model",
    "TrainRequest": "fusionkit.train.run",
    "find_pairs": "fusionkit.data.pair_finding",
    "fuse_tensors": "fusionkit.fuse.model",
    "load": "fusionkit.fuse.model",
    "resume": "fusionkit.train.run",
    "score": "fusionkit.metrics",
    "start": "fusionkit.train.run",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: importing the package must not cost an import of torch.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fusionkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
