"""Losses, pictures and options of a run as event files, which TensorBoard shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2

from fusionkit.errors import UsageError

__all__ = ["EVENTS", "EventLog"]

EVENTS = "tensorboard"
"""Sub-folder of the event files in a run's folder."""


class EventLog:
    """Writes event files into the folder ``tensorboard`` of a run. The run's own log stays ``metrics.jsonl``.

    Args:
        run: the run's folder.

    Raises:
        fusionkit.errors.UsageError: the package that writes them is not installed.
    """

    def __init__(self, run: Path) -> None:
        try:
            import tensorboardX
        except ImportError:
            raise UsageError("--tensorboard needs tensorboardX: pip install 'image-fusionkit[tensorboard]'") from None
        self._run = run
        self._kind = tensorboardX.SummaryWriter
        self._writer: Any = None

    def begin(self, step: int, options: Mapping[str, Any]) -> None:
        """Open a file for the steps after ``step``; those that another file has of them are hidden.

        Args:
            step: steps that the run goes on from.
            options: options of the run.
        """
        self._writer = self._kind(str(self._run / EVENTS), purge_step=step + 1 if step else None)
        if not step:
            self._writer.add_text("options", f"```\n{json.dumps(options, indent=2)}\n```", 0)

    def add_losses(self, step: int, losses: Mapping[str, float]) -> None:
        """Add the losses by ``stage.term``, as ``stage/term``."""
        for name, value in losses.items():
            self._writer.add_scalar(name.replace(".", "/", 1), value, step)
        self._writer.flush()

    def add_pictures(self, step: int) -> None:
        """Add the snapshot that the run's folder has of a step."""
        for place in sorted((self._run / "images").glob("pair*")):
            for file in sorted(place.glob(f"step-{step:08d}_*.png")):
                image = cv2.imread(str(file), cv2.IMREAD_COLOR)
                if image is not None:
                    name = f"{place.name}/{file.stem.partition('_')[2]}"
                    self._writer.add_image(name, image[..., ::-1].copy(), step, dataformats="HWC")
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
