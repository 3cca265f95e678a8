"""F on a CPU without PyTorch: one call of the compiled library per pair."""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionkit.errors import DataError, UsageError
from fusionkit_restormer.inputs import CHANNELS
from fusionkit_restormer.native.library import (
    DONE,
    FORMS,
    NO_MEMORY,
    STOPPED,
    ImageArguments,
    NetworkArguments,
    best_form,
    load_library,
)
from fusionkit_restormer.native.packing import GROUP, RestormerNetwork, pack_weights

__all__ = ["MEMORY_BYTES", "NativeRestormer"]

MEMORY_BYTES = 512 * 2**20
"""Features that are larger lie in a temporary file, whose pages are in memory only while they are worked on."""

_BAND_BYTES = 192 * 2**20
_INTERRUPTIBLE = 2**21  # pixels from which on Ctrl-C is answered before the image is done


class NativeRestormer:
    """The network for float32 images in the memory of the CPU.

    Args:
        fuser: the network, for its options; its weights are packed when it is called.
        form: one of :data:`FORMS`; the fastest that this processor runs where None.

    Raises:
        fusionkit.errors.UsageError: the options are not those of a network that is compiled, or no library is there.
    """

    def __init__(self, fuser: RestormerNetwork, form: str | None = None) -> None:
        c = fuser.config
        if not (c.cross_attention and c.gating):
            raise UsageError("the native form has cross attention and gating: use --backend torch without them")
        if c.dim % GROUP or c.dim // c.heads not in (2, 4) or c.dim * c.expansion > 256:
            raise UsageError(
                f"the native form is for a dim of {GROUP}, {2 * GROUP}... with heads of 2 or 4 channels, not for "
                f"dim={c.dim}, heads={c.heads}, expansion={c.expansion}: use --backend torch"
            )
        if form is not None and form not in FORMS:
            raise UsageError(f"native form {form!r}: one of {', '.join(FORMS)} is possible")
        self.form = best_form() if form is None else form
        self._library = load_library(self.form)
        self._weights = np.empty(0, np.float32)
        self._versions: list[tuple[int, int]] = []
        self._network = NetworkArguments(
            dim=c.dim,
            heads=c.heads,
            blocks=c.blocks,
            expansion=c.expansion,
            inputs=CHANNELS[c.inputs],
            decision=c.output == "decision",
        )

    def __getstate__(self) -> dict[str, object]:
        options = {name: getattr(self._network, name) for name, *_ in NetworkArguments._fields_ if name != "weights"}
        return {"form": self.form, "options": options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A library and the address of packed weights are this process's own.
        self.form = state["form"]
        self._library = load_library(self.form)
        self._weights, self._versions = np.empty(0, np.float32), []
        self._network = NetworkArguments(**state["options"])

    def takes(self, image: Tensor) -> bool:
        """Return whether it can fuse such an image now: float32 on the CPU, no gradient, nothing being traced."""
        plain = image.device.type == "cpu" and image.dtype == torch.float32 and type(image) is Tensor
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        return plain and not (traced or torch.is_grad_enabled())

    def _pack(self, fuser: RestormerNetwork) -> None:
        # Where a parameter was exchanged or changed in place, the packed weights are those of another network.
        versions = [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in fuser.parameters()]
        if versions != self._versions:
            self._weights, self._versions = pack_weights(fuser), versions

    def __call__(self, fuser: RestormerNetwork, *sources: Tensor) -> Tensor:
        """Fuse two luminance images ``(B, 1, H, W)`` in [0, 1] into one, equal to the network's to 1e-5.

        Raises:
            fusionkit.errors.DataError: the disk has no room for the temporary file of a large image.
            MemoryError: the memory does not suffice.
        """
        self._pack(fuser)
        a, b = (x.detach().contiguous() for x in sources)
        fused = torch.empty_like(a)
        batch, _, height, width = a.shape
        with _features(height * width * 2 * self._network.dim * 4) as (features, in_file):
            for k in range(batch):
                self._fuse(a[k, 0], b[k, 0], fused[k, 0], features, in_file)
        return fused

    def _fuse(self, a: Tensor, b: Tensor, out: Tensor, features: int, in_file: bool) -> None:
        height, width = out.shape
        stop = ctypes.c_int(0)
        image = ImageArguments(
            sources=(ctypes.c_void_p * 2)(a.data_ptr(), b.data_ptr()),
            out=out.data_ptr(),
            features=features,
            height=height,
            width=width,
            band_bytes=_BAND_BYTES if in_file else 2**62,
            in_file=in_file,
            stop=ctypes.addressof(stop),
        )
        network = NetworkArguments.from_buffer_copy(self._network)
        network.weights = self._weights.ctypes.data
        network.threads = torch.get_num_threads()
        codes: list[int] = []

        def work() -> None:
            codes.append(self._library.fusionkit_restormer_fuse(ctypes.byref(network), ctypes.byref(image)))

        if height * width < _INTERRUPTIBLE:
            work()
        else:
            # Python answers Ctrl-C between two of its own instructions: none runs in this thread during the call.
            thread = threading.Thread(target=work)
            thread.start()
            try:
                thread.join()
            finally:
                stop.value = 1
                thread.join()
        code = codes[0]
        if code == NO_MEMORY:
            raise MemoryError
        if code not in (DONE, STOPPED):
            raise RuntimeError(f"the native form {self.form} failed with code {code}")


@contextmanager
def _features(size: int) -> Iterator[tuple[int, bool]]:
    """The address of memory for features, and whether it is a file's."""
    if size <= MEMORY_BYTES:
        held = np.empty(size // 4 + GROUP, np.float32)
        yield held.ctypes.data + -held.ctypes.data % 64, False
        return
    folder = tempfile.gettempdir()
    try:
        with tempfile.TemporaryFile(prefix="fusionkit-", dir=folder) as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk is met here and not at the last stage
            else:
                file.truncate(size)
            mapped = mmap.mmap(file.fileno(), size)
    except OSError as error:
        raise DataError(
            f"{folder}: {error.strerror}: an image of this size needs {size / 2**30:.1f} GiB there while it is fused; "
            "free some space, or name another folder in the variable TMPDIR"
        ) from None
    view = np.frombuffer(mapped, np.uint8)
    try:
        yield view.ctypes.data, True
    finally:
        del view
        mapped.close()
