"""A window that shows frames, where OpenCV has windows and the machine a display."""

from __future__ import annotations

import os
import sys
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fusionkit.errors import UsageError

__all__ = ["LiveWindow", "window_is_possible"]

_TITLE = "fusionkit live"
_ESCAPE = 27


def window_is_possible() -> bool:
    """Return whether OpenCV was built with windows and there is a display."""
    line = next((line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")), "")
    shown = sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return shown and bool(line) and "NONE" not in line


class LiveWindow:
    """A window of its own. Use it as a context.

    Raises:
        fusionkit.errors.UsageError: there is no display, or OpenCV is the headless one.
    """

    def __enter__(self) -> LiveWindow:
        if not window_is_possible():
            raise UsageError(
                "--show window: there is no display, or OpenCV is the package opencv-python-headless, which has no "
                "windows: use --show browser"
            )
        cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL)
        return self

    def __exit__(self, *_: object) -> None:
        cv2.destroyAllWindows()

    def show(self, pixels: NDArray[Any]) -> bool:
        """Show ``(H, W, C)`` uint8; False once the window is closed, or q or Escape is pressed."""
        cv2.imshow(_TITLE, np.ascontiguousarray(pixels[..., ::-1]))
        pressed = cv2.waitKey(1) & 0xFF
        return pressed not in (_ESCAPE, ord("q")) and cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) >= 1
