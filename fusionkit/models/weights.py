"""Weights files: safetensors that say which fuser they belong to, how it was configured and how it was trained."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fusionkit.config import as_dict, resolve
from fusionkit.contracts import Companion, Critic, Downstream, Fuser
from fusionkit.errors import DataError, UsageError
from fusionkit.io.atomic import written_aside

FORMAT = 1
_KEY = "fusionkit"
_COMPANION = "fusionkit-companion"


@dataclass(frozen=True)
class WeightsInfo:
    """What a weights file says of itself.

    Attributes:
        fuser: registered name of the fuser.
        task: the task it was trained for, or "".
        config: the fuser's options.
        training: how it was trained: preset, data, seed, steps, versions; free-form, for the record.
        digest: SHA-256 of the file, in hexadecimal; "" before it is written.
    """

    fuser: str
    task: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    digest: str = ""


def save_fuser(path: Path, fuser: Fuser, info: WeightsInfo) -> None:
    """Write a fuser's weights with their description, as safetensors.

    Raises:
        DataError: the file cannot be written.
    """
    described = {"format": FORMAT, **asdict(info), "config": as_dict(fuser.config)}
    del described["digest"]
    tensors = {name: value.detach().cpu().contiguous() for name, value in fuser.state_dict().items()}
    with written_aside(path) as aside:
        save_file(tensors, aside, metadata={_KEY: json.dumps(described, sort_keys=True)})


def save_companion(path: Path, companion: Companion) -> None:
    """Write a network that was trained beside a fuser, with what building it again needs, as safetensors.

    Raises:
        DataError: the file cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in companion.network.state_dict().items()}
    described = json.dumps({"format": FORMAT, **companion.facts}, sort_keys=True)
    with written_aside(path) as aside:
        save_file(tensors, aside, metadata={_COMPANION: described})


def load_critic(path: Path) -> Critic:
    """Build the registered critic that a run kept and load it, on the CPU, in evaluation mode.

    Raises:
        DataError: the file is missing, damaged, or no critic's.
        PluginError: the critic's plugin is not installed or broken.
    """
    from fusionkit.plugins import catalogue

    try:
        with safe_open(path, "pt") as opened:
            facts = json.loads((opened.metadata() or {}).get(_COMPANION, "{}"))
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a weights file ({error})") from None
    if "critic" not in facts:
        raise DataError(f"{path}: does not say which critic it belongs to: give one that a training wrote")
    kind = catalogue.critics.get(facts["critic"])
    options: Any = resolve(kind.Config, (str(path), facts["config"]))
    critic: Critic = kind(options, classes=facts["classes"]) if issubclass(kind, Downstream) else kind(options)
    problem = misfit(tensors, critic.state_dict())
    if problem:
        raise DataError(f"{path}: these weights do not fit critic {facts['critic']!r}: {problem}")
    critic.load_state_dict(tensors)
    return critic.eval()


def read_info(path: Path) -> WeightsInfo:
    """What a weights file says of itself, without loading it.

    Raises:
        DataError: it is missing, damaged or not one of fusionkit's.
    """
    return _info(path)[0]


def load_fuser(path: Path) -> tuple[Fuser, WeightsInfo]:
    """Build the fuser that a weights file belongs to and load it, on the CPU, in evaluation mode.

    Raises:
        DataError: the file is missing, damaged, of a newer format, or its weights do not fit the fuser it names.
        PluginError: the fuser's plugin is not installed or broken.
    """
    from fusionkit.plugins import catalogue

    info, _ = _info(path)
    try:
        kind = catalogue.fusers.get(info.fuser)
    except UsageError as error:
        raise UsageError(f"{path}: was trained for fuser {info.fuser!r}, which is not installed: {error}") from None
    fuser: Fuser = kind(resolve(kind.Config, (str(path), info.config)))
    tensors = load_file(path)
    problem = misfit(tensors, fuser.state_dict())
    if problem:
        raise DataError(f"{path}: these weights do not fit fuser {info.fuser!r}: {problem}")
    fuser.load_state_dict(tensors)
    return fuser.eval(), info


def misfit(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Why weights do not fit, in words; "" where they do."""
    faults = []
    for label, names in (
        ("lacks", sorted(set(expected) - set(tensors))),
        ("has no place for", sorted(set(tensors) - set(expected))),
        ("wrong shape", [n for n in expected if n in tensors and tensors[n].shape != expected[n].shape]),
    ):
        if names:
            faults.append(f"{label} {len(names)}: {', '.join(names[:3])}{'...' if len(names) > 3 else ''}")
    return "; ".join(faults)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a foreign weights file: safetensors, or a PyTorch file read without running code in it.

    A PyTorch file may hold them flat or under one of the usual keys (``state_dict``, ``model``, ``params``).

    Raises:
        DataError: it is missing, damaged, holds more than tensors (code, whole modules), or no tensors.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file: give a .safetensors, .pth or .pt file")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, struct.error) as error:
            raise DataError(f"{path}: is not a readable safetensors file ({error})") from None
    try:
        with warnings.catch_warnings():
            # PyTorch warns of pickle protocols it does not expect; what it cannot read it refuses below.
            warnings.simplefilter("ignore", UserWarning)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(
            f"{path}: holds more than tensors and was not opened, since that could run code in it: "
            "save its state_dict alone, or as safetensors"
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise DataError(f"{path}: is not a readable PyTorch file ({str(error).splitlines()[0]})") from None
    while isinstance(loaded, Mapping) and not all(isinstance(v, Tensor) for v in loaded.values()):
        inner = next((loaded[k] for k in ("state_dict", "model", "params", "net") if k in loaded), None)
        if inner is None:
            break
        loaded = inner
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise DataError(f"{path}: holds no state_dict: expected named tensors")
    return dict(loaded)


def import_weights(name: str, path: Path, *, task: str = "") -> tuple[Fuser, WeightsInfo]:
    """Take up weights that a method's authors published.

    Args:
        name: registered fuser.
        path: safetensors or PyTorch file.
        task: what they were trained for, if known.

    Raises:
        DataError: the file cannot be read, or does not fit; says which tensors.
        UsageError: no such fuser, or it has no published weights.
    """
    from fusionkit.plugins import catalogue

    kind = catalogue.fusers.get(name)
    try:
        tensors = kind.import_weights(read_tensors(path))
    except DataError as error:
        prefix = "" if str(error).startswith(str(path)) else f"{path}: "
        raise DataError(f"{prefix}{error}") from None
    fuser: Fuser = kind()
    fuser.load_state_dict(tensors)
    return fuser.eval(), WeightsInfo(fuser=name, task=task, training={"imported": path.name, "sha256": digest(path)})


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _info(path: Path) -> tuple[WeightsInfo, list[str]]:
    if not path.is_file():
        raise DataError(f"{path}: no such file: give a weights file, a run folder or the name of a fuser")
    try:
        with safe_open(path, framework="pt") as stream:
            metadata, names = stream.metadata() or {}, list(stream.keys())
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: is not a readable safetensors file ({error})") from None
    if _KEY not in metadata:
        raise DataError(
            f"{path}: does not say which fuser it belongs to: if it is a method's published weights, "
            "convert it with 'fusionkit weights import'"
        )
    try:
        described = json.loads(metadata[_KEY])
        version = described.pop("format")
        if version > FORMAT:
            raise DataError(f"{path}: is of format {version}, newer than this fusionkit reads ({FORMAT}): upgrade it")
        return WeightsInfo(**described, digest=digest(path)), names
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: its description is damaged ({error})") from None
