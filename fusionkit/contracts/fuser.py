"""The contract of every fusion method: a Fuser."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from fusionkit.config import check_bounds
from fusionkit.contracts.capabilities import Capabilities
from fusionkit.contracts.published_weights import PublishedWeights
from fusionkit.errors import DataError, UsageError

__all__ = ["Fuser", "NoOptions", "Options", "ShippedModel", "checked_options"]

Options = Any
"""A frozen dataclass of typed options (``Config`` of a class); ``fusionkit.config`` fills it."""


def checked_options(config: Options, owner: Any) -> Options:
    """Options of a class that has a ``Config``: the defaults for None, else checked against their own bounds.

    Raises:
        UsageError: a value of the wrong type or outside the bounds that its field declares.
    """
    if config is None:
        return owner.Config()
    if is_dataclass(config) and fields(config):
        check_bounds(config, owner.__name__)
    return config


@dataclass(frozen=True)
class NoOptions:
    """The options of a class that has none."""


@dataclass(frozen=True, kw_only=True)
class ShippedModel:
    """Trained weights that a plugin ships.

    Attributes:
        task: name of the task that they were trained for.
        file: the safetensors file.
        tag: what tells it from the other models of the same task: lower-case letters, digits, ``.`` and ``_``.
        superseded_by: tag of the model that replaces it; "" while nothing does. A superseded model still loads.
    """

    task: str
    file: Path
    tag: str = "v1"
    superseded_by: str = ""


class Fuser(nn.Module, ABC):
    """Fuses aligned sources into one image: a network, or a formula without parameters.

    The toolkit calls it with luminance (``space = "luminance"``: the toolkit handles colour, bit depth and stretch) or
    with RGB (``space = "rgb"``: every source comes with three channels, grey ones repeated). Sources always have a
    number, size and type that :attr:`capabilities` states.

    ``forward`` must not change its inputs, must treat the samples of a batch independently and must give the size of
    the sources back. Training reads ``parameters()`` and calls it through ``torch.func.functional_call``, so it keeps
    no state between calls.

    Args:
        config: an instance of :attr:`Config`; the defaults when None.
    """

    Config: ClassVar[type] = NoOptions
    """Its options. One called ``reference``, a string, is what ``fusionkit fuse --reference`` gives: a place counted
    from 1, or a letter."""
    capabilities: Capabilities = Capabilities()
    """Capabilities of the class. Where options change them, ``__init__`` sets them on the instance; the same holds for
    :attr:`space` and :attr:`stretch`."""
    space: Literal["luminance", "rgb"] = "luminance"
    tasks: ClassVar[tuple[str, ...] | None] = None
    """The tasks it is made for, or None for all."""
    stretch: Literal["full", "none"] = "none"
    """The range stretch its authors use when they write a result: the default of ``fuse --stretch``."""
    reference: ClassVar[str] = ""
    """Paper that defines the method."""
    default_for: ClassVar[tuple[str, ...]] = ()
    """The tasks whose default it is where several fusers can be; it ships a model for each of them, or needs none."""
    control: ClassVar[bool] = False
    """True for a method that downstream benchmarks compare every other one with, such as a single source."""
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = ()
    """Weights that the method's authors published and that :meth:`import_weights` reads."""

    def __init__(self, config: Options = None) -> None:
        super().__init__()
        self.config = checked_options(config, type(self))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "max_sources" in vars(cls):  # how fusers stated it before there were capabilities
            most = vars(cls)["max_sources"]
            cls.capabilities = replace(cls.capabilities, max_sources=most)
            advice = f"write capabilities = Capabilities(max_sources={most!r})"
            warnings.warn(f"{cls.__qualname__}.max_sources: {advice}", DeprecationWarning, stacklevel=2)

    @abstractmethod
    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse.

        Args:
            sources: tensors ``(B, C, H, W)`` in [0, 1], as many as :attr:`capabilities` allows.

        Returns:
            The fused image, ``(B, C, H, W)`` in [0, 1].
        """

    def fuse_stream(self, sources: Sequence[Tensor]) -> Tensor:
        """Fuse sources that are read whenever they are looked up: the result of :meth:`forward` in less memory.

        A fuser overrides it if its memory need not grow with the number of sources; it then looks each source up at
        most three times, one of them once more, and keeps at most two of them. It has ``capabilities.multiple`` 1.

        Args:
            sources: as :meth:`forward` takes them; ``sources[k]`` reads source k anew.
        """
        return self(*sources)

    def maps(self, *sources: Tensor) -> Mapping[str, Tensor]:
        """Compute how it weighs the sources, as images to look at beside a result; {} for a method without weights.

        Args:
            sources: as :meth:`forward` takes them.

        Returns:
            Name -> map ``(B, 1, H, W)`` in [0, 1]. A name says which weight of which source (``"w_a"``), in letters,
            digits and underscores; of two maps that sum to 1 the first is enough.
        """
        return {}

    @classmethod
    def bibtex(cls) -> str:
        """Give the BibTeX entries of the papers to cite; "" where :attr:`reference` is to be quoted as it is."""
        return ""

    def use_native(self) -> str:
        """Fuse by a compiled form from now on where that is possible: float32 on a CPU, without gradients.

        Its results equal those of :meth:`forward` to 1e-5, for every size. A method with a compiled form overrides
        this; the toolkit calls it when a model is loaded.

        Returns:
            The name of the form, for records: ``"avx2"``.

        Raises:
            fusionkit.errors.UsageError: there is none for these options, this installation or this processor; one line
                with the reason.
        """
        raise UsageError(f"{type(self).__name__} has no native form: leave --backend out")

    @classmethod
    def pretrained(cls) -> Sequence[ShippedModel] | Mapping[str, Path]:
        """List the trained models that ship with the plugin.

        Returns:
            The models. Without a tag the first one of a task is loaded or, where that is superseded, the one that
            supersedes it. A mapping of ``TASK`` or ``TASK@TAG`` to files is read as well; without a tag it is ``v1``.
            :func:`fusionkit.models.shipped.models_in` makes the list for a folder.
        """
        return ()

    @classmethod
    def rename_published(cls, name: str) -> str | None:
        """Translate the published name of a tensor.

        Returns:
            Its name in this class's ``state_dict``, "" for a tensor that never acts, None for one that has no place.
        """
        return name

    @classmethod
    def published_options(cls, tensors: Mapping[str, Tensor]) -> Mapping[str, Any]:
        """Read the options that shapes tell, such as a width.

        Args:
            tensors: published weights under the names of :meth:`rename_published`; some may be missing.

        Returns:
            Options of :attr:`Config`; defaults where a tensor is missing or of another form.
        """
        return {}

    @classmethod
    def import_weights(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename weights published by the method's authors into this class's ``state_dict``.

        Raises:
            DataError: a tensor is missing, left over or of another shape.
        """
        if not cls.published_weights:
            raise UsageError(f"{cls.__name__} has no published weights to import")
        renamed = {name: cls.rename_published(name) for name in tensors}
        unknown = [name for name, ours in renamed.items() if ours is None]
        if unknown:
            raise DataError(f"has no place for {len(unknown)}: {', '.join(unknown[:3])}")
        return {ours: tensors[name] for name, ours in renamed.items() if ours}
