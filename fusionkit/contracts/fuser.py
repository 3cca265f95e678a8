"""The contract of every fusion method: a Fuser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from fusionkit.errors import UsageError

__all__ = ["Fuser", "NoOptions", "Options"]

Options = Any
"""A frozen dataclass of typed options (``Config`` of a class); ``fusionkit.config`` fills it."""


@dataclass(frozen=True)
class NoOptions:
    """The options of a class that has none."""


class Fuser(nn.Module, ABC):
    """Fuses aligned sources into one image: a network, or a formula without parameters.

    The toolkit calls it with luminance (``space = "luminance"``: colour, bit depth, stretch and more sources are then
    the toolkit's work) or with RGB (``space = "rgb"``: every source comes with three channels, grey ones repeated).

    ``forward`` must not change its inputs, must treat the samples of a batch independently, must take any
    ``H, W >= 1`` and give the same size back. Training reads ``parameters()`` and calls it through
    ``torch.func.functional_call``, so it keeps no state between calls.

    Args:
        config: an instance of :attr:`Config`; the defaults when None.
    """

    Config: ClassVar[type] = NoOptions
    space: ClassVar[Literal["luminance", "rgb"]] = "luminance"
    max_sources: ClassVar[int | None] = 2
    """How many sources one call takes; None for any number. More are folded in order: ((a, b), c)."""
    tasks: ClassVar[tuple[str, ...] | None] = None
    """The tasks it is made for, or None for all."""
    stretch: ClassVar[Literal["full", "none"]] = "none"
    """The range stretch its authors use when they write a result: the default of ``fuse --stretch``."""
    reference: ClassVar[str] = ""
    """Paper that defines the method."""

    def __init__(self, config: Options = None) -> None:
        super().__init__()
        self.config = config if config is not None else self.Config()

    @abstractmethod
    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse.

        Args:
            sources: two or more tensors ``(B, C, H, W)`` in [0, 1].

        Returns:
            The fused image, ``(B, C, H, W)`` in [0, 1].
        """

    def maps(self, *sources: Tensor) -> Mapping[str, Tensor]:
        """How it weighs the sources, as images to look at beside a result; a method without such weights has none.

        Args:
            sources: as :meth:`forward` takes them.

        Returns:
            Name -> map ``(B, 1, H, W)`` in [0, 1]. A name says which weight of which source (``"w_a"``), in letters,
            digits and underscores; of two maps that sum to 1 the first is enough.
        """
        return {}

    @classmethod
    def pretrained(cls) -> Mapping[str, Path]:
        """Weights files that ship with the plugin: task name -> safetensors file."""
        return {}

    @classmethod
    def import_weights(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename weights published by the method's authors into this class's ``state_dict``.

        Raises:
            DataError: a tensor is missing, left over or of another shape.
        """
        raise UsageError(f"{cls.__name__} has no published weights to import")
