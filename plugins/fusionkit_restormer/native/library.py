"""The compiled libraries of the native form: found beside this module, chosen by what the processor has."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from fusionkit.errors import UsageError

__all__ = ["FORMS", "ImageArguments", "NetworkArguments", "best_form", "load_library"]

FORMS = ("avx2", "portable")
"""The forms that there can be, the fastest first."""

DONE, STOPPED, NO_MEMORY = 0, 1, 2
_VERSION = 1


class NetworkArguments(ctypes.Structure):
    """``fusionkit_network`` of ``restormer.h``."""

    _fields_ = [
        ("weights", ctypes.c_void_p),
        ("dim", ctypes.c_int),
        ("heads", ctypes.c_int),
        ("blocks", ctypes.c_int),
        ("expansion", ctypes.c_int),
        ("inputs", ctypes.c_int),
        ("decision", ctypes.c_int),
        ("threads", ctypes.c_int),
    ]


class ImageArguments(ctypes.Structure):
    """``fusionkit_image`` of ``restormer.h``."""

    _fields_ = [
        ("sources", ctypes.c_void_p * 2),
        ("out", ctypes.c_void_p),
        ("features", ctypes.c_void_p),
        ("height", ctypes.c_longlong),
        ("width", ctypes.c_longlong),
        ("band_bytes", ctypes.c_longlong),
        ("in_file", ctypes.c_int),
        ("stop", ctypes.c_void_p),
    ]


@cache
def load_library(form: str, folder: Path = Path(__file__).parent) -> ctypes.CDLL:
    """Load the library of a form.

    Raises:
        fusionkit.errors.UsageError: it was not compiled when fusionkit was installed, cannot be loaded, or is that of
            another version.
    """
    remedy = "install a C++ compiler (GCC 12 or Clang) and fusionkit again, or use --backend torch"
    found = sorted(folder.glob(f"restormer_{form}.*"))
    built = [file for file in found if file.suffix in (".so", ".dll", ".dylib")]
    if not built:
        raise UsageError(f"the native form {form} was not compiled when fusionkit was installed: {remedy}")
    try:
        library = ctypes.CDLL(str(built[0]))
        version = library.fusionkit_restormer_version()
    except (OSError, AttributeError) as error:
        raise UsageError(f"{built[0]} cannot be loaded ({' '.join(str(error).split())}): {remedy}") from None
    if version != _VERSION:
        raise UsageError(f"{built[0]} is of version {version} and {_VERSION} is needed: install fusionkit again")
    library.fusionkit_restormer_fuse.argtypes = [ctypes.POINTER(NetworkArguments), ctypes.POINTER(ImageArguments)]
    return library


@cache
def best_form() -> str:
    """The fastest form that is there and that this processor runs.

    Raises:
        fusionkit.errors.UsageError: none is there.
    """
    if load_library("portable").fusionkit_restormer_has_avx2():
        try:
            load_library("avx2")
        except UsageError:
            return "portable"
        return "avx2"
    return "portable"
