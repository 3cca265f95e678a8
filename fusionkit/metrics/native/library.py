"""The compiled library of FMI: found beside this module, chosen by what the processor has."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["FORMS", "NativeFMI", "load_form", "load_native_fmi"]

FORMS = ("avx2", "portable")
"""The forms that there can be, the fastest first."""

_VERSION = 1
_ROWS = 64  # rows from which on a second thread pays
_log = logging.getLogger("fusionkit")


class NativeFMI(NamedTuple):
    """The compiled form of the sum that FMI is the mean of.

    Attributes:
        form: one of :data:`FORMS`.
        library: the loaded library.
    """

    form: str
    library: ctypes.CDLL

    def __call__(self, features: Sequence[Tensor], window: int) -> Tensor:
        """Sum the normalised information of all windows of the sources with those of the fused image.

        Args:
            features: maps ``(B, 1, H, W)`` float64 on the CPU, that of the fused image first.
            window: side of the windows.

        Returns:
            ``(B,)`` float64.

        Raises:
            MemoryError: the memory does not suffice.
        """
        maps = [x.detach().contiguous() for x in features]
        height = maps[0].shape[2] - window + 1
        bands = min(torch.get_num_threads(), max(1, height // _ROWS))
        edges = [height * n // bands for n in range(bands + 1)]
        items = [(image, top, bottom) for image in range(len(maps[0])) for top, bottom in pairwise(edges)]

        def work(item: tuple[int, int, int]) -> float:
            image, top, bottom = item
            addresses = (ctypes.c_void_p * len(maps))(*(x[image].data_ptr() for x in maps))
            total = ctypes.c_double()
            code = self.library.fusionkit_fmi_sum(
                addresses, len(maps) - 1, maps[0].shape[3], top, bottom, window, ctypes.byref(total)
            )
            if code:
                raise MemoryError
            return total.value

        if bands == 1:
            sums = list(map(work, items))
        else:
            with ThreadPoolExecutor(bands) as pool:
                sums = list(pool.map(work, items))
        return torch.tensor(sums, dtype=torch.float64).view(-1, bands).sum(1)


@cache
def load_native_fmi() -> NativeFMI | None:
    """Load the fastest compiled form for this processor; without one, None and a debug line with the reason."""
    try:
        portable = load_form("portable")
        if portable.library.fusionkit_fmi_has_avx2():
            try:
                return load_form("avx2")
            except OSError:
                pass
        return portable
    except OSError as error:
        _log.debug("FMI is computed by PyTorch: %s", error)
        return None


def load_form(form: str, folder: Path = Path(__file__).parent) -> NativeFMI:
    """Load the library of a form.

    Raises:
        OSError: it was not compiled when fusionkit was installed, cannot be loaded, or is that of another version.
    """
    built = [file for file in sorted(folder.glob(f"fmi_{form}.*")) if file.suffix in (".so", ".dll", ".dylib")]
    if not built:
        raise OSError(f"the native form {form} was not compiled when fusionkit was installed")
    try:
        library = ctypes.CDLL(str(built[0]))
        version = library.fusionkit_fmi_version()
    except (OSError, AttributeError) as error:
        raise OSError(f"{built[0]} cannot be loaded ({' '.join(str(error).split())})") from None
    if version != _VERSION:
        raise OSError(f"{built[0]} is of version {version} and {_VERSION} is needed: install fusionkit again")
    pointer, integer = ctypes.c_void_p, ctypes.c_longlong
    library.fusionkit_fmi_sum.argtypes = [
        pointer, ctypes.c_int, integer, integer, integer, ctypes.c_int, pointer,
    ]  # fmt: skip
    return NativeFMI(form, library)
