"""The rows of each epoch's plan: indices of its pairs, with their crops and flips."""

from __future__ import annotations

from fusionkit.data.epoch_plan import EpochPlan, draw_epoch
from fusionkit.data.pair_store import PairStore
from fusionkit.train.bilevel.options import BilevelOptions
from fusionkit.train.bilevel.schedule import Schedule

__all__ = ["PlannedRows"]


class PlannedRows:
    """Draws the plan of an epoch when it is first asked for, and keeps the last one.

    Args:
        source: the training pairs.
        options: batch, crop and augmentation.
        schedule: steps per epoch.
        seed: of the run.
    """

    def __init__(self, source: PairStore, options: BilevelOptions, schedule: Schedule, seed: int) -> None:
        self._source, self._options, self._schedule, self._seed = source, options, schedule, seed
        self._kept: tuple[int, EpochPlan] | None = None

    def __getitem__(self, epoch: int) -> EpochPlan:
        """The plan of an epoch, on the device where the pairs are."""
        if self._kept is None or self._kept[0] != epoch:
            o, home = self._options, self._source.home
            drawn = draw_epoch(
                self._source.sizes,
                seed=self._seed,
                epoch=epoch,
                meta_steps=self._schedule.meta_steps,
                fusion_steps=self._schedule.fusion_steps,
                batch=o.batch,
                crop=o.crop,
                flip=o.flip,
                swap=o.swap,
            )
            self._kept = epoch, EpochPlan(drawn.mtr.to(home), drawn.mts.to(home), drawn.ftr.to(home))
        return self._kept[1]
