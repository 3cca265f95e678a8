"""The names in the weights that ReFusion's authors published, and ours for them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from fusionkit.errors import DataError

_BLOCK = {
    "norm1.body": "norm1",
    "norm2.body": "norm2",
    "attn.temperature": "attention.temperature",
    "attn.qkv_dwconv": "attention.depthwise",
    "attn.qkv": "attention.qkv",
    "attn.project_out": "attention.project",
    "ffn.project_in": "feedforward.expand",
    "ffn.dwconv": "feedforward.depthwise",
    "ffn.project_out": "feedforward.project",
}
_LAYERS = {
    "project_in_1": "encoders.0.0",
    "project_in_2": "encoders.1.0",
    "project_out_0": "head.0",
    "project_out_1": "head.2",
    "FM.temperature1": "merge.cross.temperature.0",
    "FM.temperature2": "merge.cross.temperature.1",
    "FM.qkv1": "merge.cross.qkv.0",
    "FM.qkv2": "merge.cross.qkv.1",
    "FM.qkv1_dwconv": "merge.cross.depthwise.0",
    "FM.qkv2_dwconv": "merge.cross.depthwise.1",
    "FM.project_mid1": "merge.cross.project.0",
    "FM.project_mid2": "merge.cross.project.1",
    "FM.project_E": "merge.gating.gates.0",
    "FM.project_E_d": "merge.gating.gates.1",
    "FM.project_E1": "merge.gating.values.0.0",
    "FM.project_E1_d": "merge.gating.values.0.1",
    "FM.project_E2": "merge.gating.values.1.0",
    "FM.project_E2_d": "merge.gating.values.1.1",
    "FM.project_out1": "merge.gating.project.0",
    "FM.project_out2": "merge.gating.project.1",
}
_TWIN = re.compile(r"\.conv\.(weight|bias)$")
_STAGES = re.compile(r"^(encoder1|encoder2|decoder)\.(\d+)\.(.+?)(\.weight|\.bias)?$")


def published_name(name: str) -> str | None:
    """Translate a published name into the fuser's; None for an unknown one. Both names of a twin become one."""
    name = _TWIN.sub(r".\1", name.removeprefix("module."))
    stage = _STAGES.match(name)
    if stage:
        where, index, layer, suffix = stage[1], int(stage[2]), stage[3], stage[4] or ""
        if layer not in _BLOCK:
            return None
        prefix = f"decoder.{index}" if where == "decoder" else f"encoders.{int(where[-1]) - 1}.{index + 1}"
        return f"{prefix}.{_BLOCK[layer]}{suffix}"
    layer, _, suffix = name.rpartition(".")
    if layer in _LAYERS and suffix in ("weight", "bias"):
        return f"{_LAYERS[layer]}.{suffix}"
    return _LAYERS.get(name)


def _without_twins(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep one of the two names under which a published file stores each convolution.

    The authors' files hold each convolution twice, as ``X.weight`` and ``X.conv.weight``, because their layer keeps its
    ``torch.nn.Conv2d`` and that one's weight.

    Raises:
        DataError: two twins differ.
    """
    kept: dict[str, Tensor] = {}
    differing = []
    for name, tensor in tensors.items():
        plain = _TWIN.sub(r".\1", name)
        if plain in kept and not torch.equal(kept[plain], tensor):
            differing.append(plain)
        kept.setdefault(plain, tensor)
    if differing:
        raise DataError(
            f"two tensors are stored for {', '.join(differing[:3])}{'...' if len(differing) > 3 else ''}, and they "
            "differ: get a whole copy of the file"
        )
    return kept


def rename_published(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Map published names to the fuser's, checking that every tensor has its place.

    A name that is already the fuser's own stays as it is; a convolution that is stored twice is taken once.

    Args:
        tensors: as published.
        expected: the ``state_dict`` to fill.

    Raises:
        DataError: tensors are missing, left over or of another shape, or twins differ; the message names them.
    """
    renamed: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in _without_twins(tensors).items():
        target = name if name in expected else published_name(name)
        if target is None or target not in expected:
            unknown.append(name)
        else:
            renamed[target] = tensor
    missing = sorted(set(expected) - set(renamed))
    shapes = [
        f"{name} is {tuple(renamed[name].shape)}, not {tuple(expected[name].shape)}"
        for name in renamed
        if renamed[name].shape != expected[name].shape
    ]
    faults = [
        f"{label} {len(names)}: {', '.join(names[:3])}{'...' if len(names) > 3 else ''}"
        for label, names in (("has no place for", unknown), ("lacks", missing), ("other shapes", shapes))
        if names
    ]
    if faults:
        raise DataError("these are not ReFusion's published weights: " + "; ".join(faults))
    return renamed
