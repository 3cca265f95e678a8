"""Reads and writes weights files: safetensors with the fuser's name, its options and how it was trained."""

from __future__ import annotations

import json
import pickle
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from fusionkit.config import as_dict, resolve
from fusionkit.contracts import Companion, Downstream, Fuser, OuterLoss
from fusionkit.errors import DataError, FusionkitError, UsageError
from fusionkit.io.atomic import written_aside
from fusionkit.io.digest import file_digest
from fusionkit.io.text import shortened

FORMAT = 1
_KEY = "fusionkit"
_DIGEST = "sha256"
_COMPANION = "fusionkit-companion"
_WRAPPERS = ("state_dict", "model", "net", "params_ema", "params", "generator", "weight")
"""Keys under which published files hold their tensors."""
_MOST_WRAPPERS = 4


@dataclass(frozen=True)
class WeightsInfo:
    """The description in a weights file.

    Attributes:
        fuser: registered name of the fuser.
        task: the task it was trained for, or "".
        config: the fuser's options.
        training: how it was trained: preset, data, seed, steps, versions; free-form.
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
    # In the one text: the order of several entries is not stated, and equal weights give equal files.
    described[_DIGEST] = _content_digest(described, tensors)
    with written_aside(path) as aside:
        save_file(tensors, aside, metadata={_KEY: json.dumps(described, sort_keys=True)})


def save_companion(path: Path, companion: Companion) -> None:
    """Write a network that was trained beside a fuser, with its name and options, as safetensors.

    Raises:
        DataError: the file cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in companion.network.state_dict().items()}
    described = json.dumps({"format": FORMAT, **companion.facts}, sort_keys=True)
    with written_aside(path) as aside:
        save_file(tensors, aside, metadata={_COMPANION: described})


def companion_facts(path: Path) -> dict[str, Any]:
    """Read what a file of :func:`save_companion` says of its network; empty for any other file."""
    try:
        with safe_open(path, "pt") as opened:
            facts = json.loads((opened.metadata() or {}).get(_COMPANION, "{}"))
    except (OSError, SafetensorError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def load_outer_loss(path: Path) -> OuterLoss:
    """Load the outer loss that a run kept, on the CPU, in evaluation mode.

    Raises:
        DataError: the file is missing, damaged, no outer loss's, or of a version of it with other options.
        PluginError: the outer loss's plugin is not installed or broken.
    """
    from fusionkit.plugins import catalogue

    try:
        with safe_open(path, "pt") as opened:
            facts = json.loads((opened.metadata() or {}).get(_COMPANION, "{}"))
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a weights file ({error})") from None
    # Files of versions that called an outer loss a critic say so.
    registered = facts.get("outer_loss", facts.get("critic"))
    if registered is None:
        raise DataError(f"{path}: does not say which outer loss it belongs to: give one that a training wrote")
    kind = catalogue.outer_losses.get(registered)
    try:
        options: Any = resolve(kind.Config, ("its options", facts["config"]))
    except UsageError as error:
        raise DataError(
            f"{path}: holds {registered!r} of another version of its plugin ({error}): train it again"
        ) from None

    def build() -> OuterLoss:
        return kind(options, classes=facts["classes"]) if issubclass(kind, Downstream) else kind(options)

    fits = f"{path}: these weights do not fit outer loss {registered!r}"
    outer_loss: OuterLoss = build_to_fit(build, tensors, fits)
    return outer_loss.eval()


def read_info(path: Path) -> WeightsInfo:
    """Read the description in a weights file without loading the weights.

    Raises:
        DataError: it is missing, damaged or not one of fusionkit's.
    """
    return _info(path)[0]


def load_fuser(path: Path) -> tuple[Fuser, WeightsInfo]:
    """Load the fuser that a weights file belongs to, on the CPU, in evaluation mode.

    Raises:
        DataError: the file is missing, damaged, of a newer format, or its weights do not fit the fuser it names.
        PluginError: the fuser's plugin is not installed or broken.
    """
    from fusionkit.plugins import catalogue

    info, described, stated = _info(path)
    try:
        kind = catalogue.fusers.get(info.fuser)
    except UsageError as error:
        raise UsageError(f"{path}: was trained for fuser {info.fuser!r}, which is not installed: {error}") from None
    options: Any = resolve(kind.Config, (str(path), info.config))
    tensors = load_file(path)
    if stated and stated != _content_digest(described, tensors):
        raise DataError(f"{path}: was changed after it was written, or damaged: copy it again")
    fuser: Fuser = build_to_fit(
        lambda: kind(options), tensors, f"{path}: these weights do not fit fuser {info.fuser!r}"
    )
    return fuser.eval(), info


def build_to_fit(build: Callable[[], nn.Module], tensors: Mapping[str, Tensor], complaint: str) -> Any:
    """Build a network and load weights into it; weights that do not fit are refused before memory is taken.

    A file describes the network that its weights belong to, and a damaged description can ask for any size. So the
    network is first built without memory (PyTorch's ``meta`` device), no larger than the weights at hand, and compared
    with them by names, shapes and kinds.

    Args:
        build: makes the network.
        tensors: its weights by name.
        complaint: begins the message if they do not fit.

    Raises:
        DataError: the weights do not fit.
    """
    with _no_more_parameters_than(len(tensors), complaint):
        try:
            with torch.device("meta"):
                problem = misfit(tensors, build().state_dict())
        except NotImplementedError:  # a network that computes something while it is built
            problem = ""
        except FusionkitError:
            raise
        except Exception as error:  # a plugin's code, given options that it may not expect
            why = shortened(" ".join(str(error).partition("Exception raised from")[0].split()))
            raise DataError(f"{complaint}: no network can be built as the file describes it ({why})") from None
        if problem:
            raise DataError(f"{complaint}: {problem}")
        network = build()
    problem = misfit(tensors, network.state_dict())
    if problem:
        raise DataError(f"{complaint}: {problem}")
    network.load_state_dict(tensors)
    return network


@contextmanager
def _no_more_parameters_than(count: int, complaint: str) -> Iterator[None]:
    made = 0

    def tally(_module: nn.Module, _name: str, _parameter: nn.Parameter | None) -> None:
        nonlocal made
        made += 1
        # Some networks make a parameter twice, to share or to replace it.
        if made > 4 * count + 64:
            raise DataError(f"{complaint}: the network that the file describes has more than its {count} tensors")

    handle = register_module_parameter_registration_hook(tally)
    try:
        yield
    finally:
        handle.remove()


def misfit(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """Describe why weights do not fit a network; "" if they do."""
    faults = []
    for label, names in (
        ("lacks", sorted(set(expected) - set(tensors))),
        ("has no place for", sorted(set(tensors) - set(expected))),
        ("wrong shape", [n for n in expected if n in tensors and tensors[n].shape != expected[n].shape]),
        (
            "not floating point",
            [n for n in expected if n in tensors and expected[n].is_floating_point() > tensors[n].is_floating_point()],
        ),
    ):
        if names:
            faults.append(f"{label} {len(names)}: {', '.join(names[:3])}{'...' if len(names) > 3 else ''}")
    return "; ".join(faults)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a foreign weights file: safetensors, a PyTorch file or an array, without running code in it.

    A PyTorch file may hold them flat, under one of the usual keys (``state_dict``, ``model``, ``params_ema``, ...) or
    under any key if only one holds named tensors; ``module.`` before every name, which ``DataParallel`` adds, is taken
    off. An ``.npy`` file holds one tensor, which is called ``array``.

    Raises:
        DataError: it is missing, damaged, holds more than tensors (code, whole modules), or no tensors.
    """
    return unwrapped(read_contents(path), path)[0]


def read_contents(path: Path) -> Any:
    """Read all that a foreign weights file holds, without running code in it.

    Beside tensors and plain values, a PyTorch file may hold NumPy scalars, such as the scores of a checkpoint.

    Raises:
        DataError: it is missing, damaged, or holds anything else (code, whole modules).
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file: give a .safetensors, .pth, .pt, .pkl, .model or .npy file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty: copy it again")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, struct.error) as error:
            raise DataError(f"{path}: is not a readable safetensors file ({error})") from None
    if path.suffix == ".npy":
        try:
            return {"array": torch.from_numpy(np.load(path, allow_pickle=False))}
        except (ValueError, OSError, EOFError, TypeError, SyntaxError) as error:
            raise DataError(f"{path}: is not a readable array of numbers ({shortened(str(error))})") from None
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_scalars()):
            # PyTorch warns of pickle protocols it does not expect; what it cannot read it refuses below.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise DataError(
            f"{path}: holds more than tensors and was not opened, since that could run code in it: "
            "save its state_dict alone, or as safetensors"
        ) from None
    except Exception as error:  # a damaged file makes PyTorch's reader fail in any way
        why = shortened((str(error).splitlines() or [type(error).__name__])[0])
        raise DataError(f"{path}: is not a readable PyTorch file ({why})") from None


def _numpy_scalars() -> list[Any]:
    """List what a pickled NumPy number names, by its names before and since NumPy 2; none of it runs a file's code."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    kinds = [type(np.dtype(name)) for name in ("f4", "f8", "i4", "i8", "?")]
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *kinds]


def unwrapped(loaded: Any, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Take the named tensors out of the contents of a foreign file, without wrappers around them or their names.

    Returns:
        The tensors, and the keys that they lay under, with ``"module."`` if it began every name.

    Raises:
        DataError: there are no named tensors.
    """
    wrappers: list[str] = []
    for _ in range(_MOST_WRAPPERS):
        if not isinstance(loaded, Mapping) or all(isinstance(v, Tensor) for v in loaded.values()):
            break
        networks = [name for name, value in loaded.items() if isinstance(name, str) and _is_state_dict(value)]
        key = next((key for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)), None)
        if key is None and len(networks) > 1:
            raise DataError(f"{path}: holds tensors under {', '.join(networks)}: save one of them alone")
        nested = networks or [name for name, value in loaded.items() if isinstance(value, Mapping)]
        if key is None and len(nested) != 1:
            loaded = None
            break
        key = key or nested[0]
        wrappers.append(key)
        loaded = loaded[key]
    if not _is_state_dict(loaded):
        raise DataError(
            f"{path}: holds no state_dict: named tensors were expected, at most under {', '.join(_WRAPPERS)} "
            "or one other key"
        )
    tensors = dict(loaded)
    while all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
        wrappers.append("module.")
    return tensors, tuple(wrappers)


def _is_state_dict(value: Any) -> TypeGuard[Mapping[str, Tensor]]:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def _content_digest(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of a description and of the tensors with their names, types and shapes."""
    digest = sha256(json.dumps(described, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _info(path: Path) -> tuple[WeightsInfo, dict[str, Any], str]:
    """The description of a weights file, as read and as it stands, and the digest of its content, "" in older files."""
    if not path.is_file():
        raise DataError(f"{path}: no such file: give a weights file, a run folder or the name of a fuser")
    try:
        with safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
    except (SafetensorError, OSError) as error:
        if path.suffix != ".safetensors":
            raise DataError(
                f"{path}: is not a weights file of fusionkit's: if it is a method's published weights, convert it with "
                "'fusionkit weights import'"
            ) from None
        raise DataError(f"{path}: is not a readable safetensors file ({error})") from None
    if _KEY not in metadata:
        raise DataError(
            f"{path}: does not say which fuser it belongs to: if it is a method's published weights, "
            "convert it with 'fusionkit weights import'"
        )
    try:
        described = TypeAdapter(dict[str, Any]).validate_json(metadata[_KEY])
        stated = described.pop(_DIGEST, "")
        as_written = dict(described)
        version = TypeAdapter(int).validate_python(described.pop("format"), strict=True)
        if version > FORMAT:
            raise DataError(f"{path}: is of format {version}, newer than this fusionkit reads ({FORMAT}): upgrade it")
        unknown = sorted(described.keys() - {field.name for field in fields(WeightsInfo)})
        if unknown:
            raise DataError(f"{path}: its description is damaged (unknown entry {shortened(unknown[0])!r})")
        # As JSON, since a strict check of Python values asks for a WeightsInfo.
        checked = json.dumps({**described, "digest": file_digest(path)})
        info = TypeAdapter(WeightsInfo).validate_json(checked, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{path}: its description is damaged ({f'{where}: ' if where else ''}{first['msg']})") from None
    except KeyError as error:
        raise DataError(f"{path}: its description is damaged (it lacks {error})") from None
    return info, as_written, str(stated)
