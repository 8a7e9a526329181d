"""What comes back when you prune a network of your own: three things, and the story they tell."""

import math
from typing import NamedTuple

from torch import nn

from .config import Config
from .masks import Masks
from .records import Row


class _Three(NamedTuple):
    model: nn.Module
    masks: Masks
    rows: list[Row]


class Pruned(_Three):
    """A pruned network, its masks and the rows of its run; unpacks as these three.

    Source: what `imp.prune` returns.

    Args:
        model: the pruned network; removed weights are exactly zero.
        masks: parameter name -> boolean tensor, True = kept.
        rows: one per check; the last is the final network.
    """

    config: Config  # what was run

    @classmethod
    def of(cls, model: nn.Module, masks: Masks, rows: list[Row], config: Config) -> "Pruned":
        """Return the three, with the config of their run at hand."""
        result = cls(model, masks, rows)
        result.config = config
        return result

    def summary(self) -> str:
        """Return what came out and what it cost, one line each.

        Source: ours. The dense network is that of level 0, where its training ended. Accuracies
        are on the test split; on the validation split, which rules may have read, if there is none.

        >>> row = dict.fromkeys(Row.__annotations__, 0.5) | {"stopped": True, "elapsed_s": 1.0}
        >>> weights = {"weight": nn.Linear(2, 1).weight > 9}
        >>> print(Pruned.of(nn.Linear(2, 1), weights, [Row(**row)] * 2, Config()).summary())
        weights: 0 of 2 kept, density 0.0000; 1 other parameters, never pruned
        test accuracy: 0.5000 dense, 0.5000 pruned
        training: 3 of at most 18 epochs in 1 s, 2 of them warm-up
        """
        c, ends = self.config, [row for row in self.rows if row.stopped]
        split = "validation" if math.isnan(ends[-1].test_accuracy) else "test"
        dense, pruned = (getattr(row, f"{split}_accuracy") for row in (ends[0], ends[-1]))
        num_weights = sum(mask.numel() for mask in self.masks.values())
        num_kept = sum(int(mask.sum()) for mask in self.masks.values())
        num_others = sum(p.numel() for p in self.model.parameters()) - num_weights
        spent = c.warmup_epochs + sum(row.epoch for row in ends)
        budget = c.warmup_epochs + c.epochs * (len(ends) - 1) + c.last_epochs
        return (
            f"weights: {num_kept:,} of {num_weights:,} kept, density {num_kept / num_weights:.4f};"
            f" {num_others:,} other parameters, never pruned\n"
            f"{split} accuracy: {dense:.4f} dense, {pruned:.4f} pruned\n"
            f"training: {spent:.4g} of at most {budget:.4g} epochs in {ends[-1].elapsed_s:.0f} s,"
            f" {c.warmup_epochs:.4g} of them warm-up"
        )
