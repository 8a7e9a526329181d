"""The masks that pruning now would give, the same whenever they are drawn; how they change."""

import numpy as np
import torch
from torch import nn

from .amounts import next_masks
from .config import Config
from .masks import Masks, mask_distance
from .scores import Batch, Loss

PURPOSES = ("level", "warmup", "probe", "augment level", "augment warmup", "score", "fresh probe")


def generator(seed: int, purpose: str, level: int) -> torch.Generator:
    """Return a generator for one of `PURPOSES`, whatever the lengths of earlier levels."""
    key = (seed, PURPOSES.index(purpose), level)
    own = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(own))


def drawn_masks(
    model: nn.Module,
    masks: Masks,
    config: Config,
    level: int,
    batch: Batch | None,
    loss: Loss = nn.functional.cross_entropy,
) -> Masks:
    """Return the masks that pruning now would give; a level draws its random numbers once.

    Args:
        level: that ends, >= 0.
        model, masks, config, batch, loss: as for `amounts.next_masks`.

    >>> layer = nn.Linear(2, 2); kept = {"weight": layer.weight > -9}
    >>> [int(drawn_masks(layer, kept, Config(fraction=0.5), 0, None)["weight"].sum())]
    [2]
    """
    with torch.random.fork_rng():
        torch.manual_seed(generator(config.seed, "score", level).initial_seed())
        return next_masks(model, masks, config, batch, loss)


def mask_change(
    drawn: dict[float, Masks], time: float, now: Masks, alive: Masks, doubling: bool = False
) -> float:
    """Return how much the next mask has changed, of the survivors; NaN at the first look.

    Args:
        drawn: when a level was looked at -> the next masks then; ``now`` is added.
        time: of this look, in steps or epochs of the level.
        now: the masks that pruning now would give.
        alive: the present masks.
        doubling: compare with half the time, not with the look before, and keep all.

    >>> now, alive = {"weight": torch.tensor([True, False])}, {"weight": torch.tensor([True, True])}
    >>> mask_change({1.0: {"weight": torch.tensor([False, True])}}, 2.0, now, alive)
    1.0
    """
    before = drawn.get(time / 2 if doubling else max(drawn, default=-1))
    if not doubling:
        drawn.clear()
    drawn[time] = now
    return mask_distance(before, now, alive) if before else float("nan")
