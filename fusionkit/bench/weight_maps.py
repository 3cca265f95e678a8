"""Weight maps of a method on a pair, written as images beside the result."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from fusionkit.bench.paths import map_file
from fusionkit.config import read_toml, resolve
from fusionkit.contracts import Fuser, LossProposer
from fusionkit.data.pair_set import Pair
from fusionkit.fuse.model import Model
from fusionkit.fuse.source_maps import checked_maps, compute_maps, fuser_inputs
from fusionkit.io.images import Image, read_image, write_image
from fusionkit.plugins import catalogue
from fusionkit.plugins.guard import run_guarded
from fusionkit.train.checkpoints import load_checkpoint
from fusionkit.train.run_folder import OPTIONS, RECORD, RunFolder

__all__ = ["MapDrawer", "drawer", "learned_proposer"]

_BITS = 8


class MapDrawer:
    """Draws the maps of pairs: those of the fuser, and of a training run what its loss proposer learned.

    Args:
        model: what fuses.
        proposer: the loss proposer that it was trained with, or None.
    """

    def __init__(self, model: Model, proposer: LossProposer | None = None) -> None:
        self.model = model
        self.proposer = proposer.to(model.device).eval() if proposer is not None else None

    def __call__(self, pair: Pair, folder: Path) -> tuple[str, ...]:
        """Write the maps of a pair and give their names; none where it has more sources than one call takes.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: the pair cannot be read, or the plugin fails on it.
            fusionkit.errors.DataError: a map cannot be written.
        """
        most = self.model.fuser.capabilities.max_sources
        if most is not None and len(pair.files) > most:
            return ()
        maps = run_guarded(lambda: self._maps(pair))
        for name, image in maps.items():
            write_image(map_file(folder, pair.name, name), Image.from_tensor(image, bits=_BITS))
        return tuple(maps)

    def _maps(self, pair: Pair) -> dict[str, Tensor]:
        images = [read_image(file) for file in pair.files]
        maps = compute_maps(self.model, images)
        if self.proposer is not None:
            with torch.inference_mode():
                learned = self.proposer(*fuser_inputs(self.model, images))
            for name, weights in learned.items():
                # They sum to 1 over the sources: of two, the first says all.
                for k in range(weights.shape[1] if weights.shape[1] > 2 else 1):
                    maps[f"{name}_{chr(ord('a') + k)}"] = weights[:, k : k + 1]
        return checked_maps(maps, images[0])


def drawer(model: Model, origin: str) -> MapDrawer | None:
    """Return the function that draws the maps of a model; None where neither it nor its training has any.

    Args:
        model: what fuses.
        origin: as it was given: a fuser's name, a run folder, a weights file.

    Raises:
        fusionkit.plugins.guard.PluginCallFailed: the run's loss proposer cannot be loaded.
    """
    folder = Path(origin).expanduser()
    proposer = run_guarded(lambda: learned_proposer(folder)) if origin not in catalogue.fusers.names() else None
    if proposer is None and type(model.fuser).maps is Fuser.maps:
        return None
    return MapDrawer(model, proposer)


def learned_proposer(run: Path) -> LossProposer | None:
    """The loss proposer of a training run, from its last checkpoint; None without such a run or proposer.

    Raises:
        fusionkit.errors.FusionkitError: the run is damaged, or its trainer cannot be used.
    """
    if not (run / RECORD).is_file():
        return None
    folder = RunFolder.open(run)
    kept = load_checkpoint(run)
    if kept is None:
        return None
    kind = catalogue.trainers.get(folder.record.method)
    options = run / OPTIONS
    return kind.proposer_of(resolve(kind.Config, (str(options), read_toml(options))), kept.state)
