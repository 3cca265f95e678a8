"""The updates of the three networks: an optimiser each, and the running average of the fuser."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fusionkit.contracts import Fuser
from fusionkit.train.bilevel.ema import RunningAverage
from fusionkit.train.bilevel.meta_steps import Networks
from fusionkit.train.bilevel.microbatch import under
from fusionkit.train.bilevel.optimisers import make_rule
from fusionkit.train.bilevel.options import BilevelOptions

__all__ = ["Updates"]


class Updates:
    """Changes the weights of a method's networks by their gradients.

    Args:
        networks: F, P and the outer loss.
        options: update rules, learning rates, decay of the average.
    """

    def __init__(self, networks: Networks, options: BilevelOptions) -> None:
        o = options
        self._fuser = networks.fuser
        self._average = RunningAverage(networks.fuser, o.ema_decay) if o.ema_decay else None
        self._rules = {
            "fuser": make_rule(o.fuser_optimizer, networks.fuser, o.lr),
            "outer_loss": make_rule(o.outer_loss_optimizer, networks.outer_loss, o.lr_outer_loss or o.lr),
            "proposer": make_rule(o.proposer_optimizer, networks.proposer, o.lr_proposer or o.lr, eps=o.proposer_eps),
        }

    def fuser(self, gradients: Mapping[str, Tensor], rate: float | Tensor = 1.0) -> None:
        """Update F by its gradients, with its learning rate times ``rate``, and the average of its weights."""
        self._rules["fuser"].update(gradients, rate)
        if self._average is not None:
            self._average.update_parameters(self._fuser)

    def outer_loss(self, gradients: Mapping[str, Tensor], rate: float | Tensor = 1.0) -> None:
        """Update the outer loss."""
        self._rules["outer_loss"].update(gradients, rate)

    def proposer(self, gradients: Mapping[str, Tensor], rate: float | Tensor = 1.0) -> None:
        """Update P."""
        self._rules["proposer"].update(gradients, rate)

    @property
    def averaged(self) -> Fuser:
        """F with its averaged weights, or F itself where no average is taken."""
        return self._fuser if self._average is None else self._average.module  # type: ignore[return-value]

    def state(self) -> dict[str, Tensor]:
        """The averaged fuser under ``average.``, the moments under ``update.``."""
        average = {} if self._average is None else self._average.state_dict()
        flat: dict[str, Tensor] = {f"average.{name}": value for name, value in average.items()}
        for name, rule in self._rules.items():
            flat |= {f"update.{name}.{key}": value for key, value in rule.state().items()}
        return flat

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`state` gave; other tensors are left alone."""
        if self._average is not None:
            self._average.load_state_dict(under(state, "average."))
        for name, rule in self._rules.items():
            rule.load_state(under(state, f"update.{name}."))
