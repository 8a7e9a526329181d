"""One run's moving parts: network, masks, snapshot, and the steps that any pruning loop is made of.

It knows of levels but of no stop rule; who asks for the next check trains on.
"""

import copy
import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LinearLR, LRScheduler

from . import data, models
from .config import Config
from .masks import (
    Masks,
    density,
    full_masks,
    magnitude_masks,
    mask_distance,
    rewind,
    sap_fractions,
)
from .monitor import Monitor
from .train import (
    check_times,
    choose_device,
    evaluate,
    evaluating,
    lay_out,
    make_optimizer,
    shuffled_batches,
    train_steps,
)

NAN = float("nan")
PURPOSES = ("level", "warmup", "probe")


def next_masks(model: nn.Module, masks: Masks, config: Config) -> Masks:
    """Return the masks that pruning now would give.

    Source: the fixed fraction of arXiv:1803.03635, or SAP's, arXiv:2302.05601.

    Args:
        model: the network whose weights are ranked.
        masks: the current masks.
        config: amount, fraction, scope and SAP's parameters.

    >>> from infcop_lite.masks import full_masks
    >>> model = nn.Linear(10, 1)
    >>> int(next_masks(model, full_masks(model), Config(fraction=0.3))["weight"].sum())
    7
    """
    c = config
    if c.amount == "fixed":
        fractions: float | dict[str, float] = c.fraction
    else:
        fractions = sap_fractions(model, masks, c.scope, c.p, c.q, c.eta, c.gamma, c.beta)
    if c.final_density is not None:
        most = 1 - min(1.0, c.final_density / max(density(masks), 1e-12))
        if isinstance(fractions, dict):
            fractions = {name: min(fraction, most) for name, fraction in fractions.items()}
        else:
            fractions = min(fractions, most)
    return magnitude_masks(model, masks, fractions, c.scope)


class Run:
    """A network on its way from dense to sparse.

    Source: Frankle & Carbin 2019, arXiv:1803.03635; `run_imp`, `prune` and `compare` are made of
    these steps.

    Args:
        model: the network, changed in place.
        train, validation: what it is trained on, and what rules may read besides.
        test: for reporting only.
        config: what to run.
    """

    def __init__(
        self,
        model: nn.Module,
        train: data.Split,
        validation: data.Split,
        test: data.Split | None,
        config: Config,
    ) -> None:
        device = choose_device(config.device)
        self.config = config
        self.model = model.to(device)
        self.masks = full_masks(self.model)
        self.train, self.test = train.to(device), None if test is None else test.to(device)
        self.validation = validation.to(device)
        lay_out(self.model)
        if not self._runs():  # `view` does not take channels last
            lay_out(self.model, torch.contiguous_format)
        self.steps_per_epoch = math.ceil(len(train) / config.batch_size)
        self.check_steps = config.check_steps or self.steps_per_epoch
        self.loss = math.inf
        probe = self._generator(0, "probe")
        self.monitor = Monitor(self.model, self.train, self.validation, config.probe_size, probe)

    @classmethod
    def of(
        cls, config: Config, wrap: Callable[[nn.Module], nn.Module] = lambda network: network
    ) -> "Run":
        """Return a run on the data and the network that a config names.

        Args:
            config: what to run.
            wrap: called with the network; what it returns is trained in its place.
        """
        splits = data.load(config.data, subset=config.subset, seed=config.seed)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            model = wrap(models.build(config.model, splits))
        return cls(model, splits.train, splits.validation, splits.test, config)

    def _runs(self) -> bool:
        try:
            with torch.no_grad(), evaluating(self.model):
                self.model(self.train.inputs[:2])
        except Exception:  # `check_fit` says which
            return False
        return True

    def warm_up(self) -> None:
        """Train the dense network and take the snapshot that every level rewinds to."""
        num_steps = round(self.config.warmup_epochs * self.steps_per_epoch)
        optimizer, batches = self._optimizer(), self._batches(0, "warmup")
        for part in (num_steps - self.check_steps, min(num_steps, self.check_steps)):
            if part > 0:  # the loss is that of the last part
                self.loss = self._train(optimizer, batches, part)
        self.snapshot = copy.deepcopy(self.model.state_dict())

    def rewind(self, masks: Masks) -> None:
        """Go back to the snapshot, with other masks."""
        self.masks = masks
        rewind(self.model, self.snapshot, masks)

    def is_sparse_enough(self) -> bool:
        """Say whether pruning has come to its end: but for rounding, at most one weight a layer."""
        num_weights = sum(mask.numel() for mask in self.masks.values())
        excess = density(self.masks) - (self.config.final_density or -1.0)
        return excess * num_weights < len(self.masks)

    def budget(self, is_last: bool = False) -> int:
        """Return the most steps that a level trains, or the last level."""
        epochs = self.config.last_epochs if is_last else self.config.epochs
        return round(epochs * self.steps_per_epoch)

    def train_level(self, level: int, is_last: bool = False) -> Iterator[tuple[int, float]]:
        """Train as the masks say, and yield (steps so far, mean loss since the last) at each check.

        The last check is that at the budget; who stops asking before has stopped the level.
        """
        c, budget = self.config, self.budget(is_last)
        batches, optimizer = self._batches(level), self._optimizer()  # its state is rewound too
        anneals = c.anneal == "always" or (c.anneal == "last" and is_last)
        scheduler = LinearLR(optimizer, 1.0, 0.0, budget) if anneals else None
        self.would_be: dict[float, Masks] = {}
        step, loss = 0, NAN
        for due in check_times(self.check_steps, budget, c.spacing):
            if due > step:
                loss = self.loss = self._train(optimizer, batches, due - step, scheduler)
                step = due
            yield step, loss

    def mask_change(self, step: int) -> float:
        """Return how much the next mask has changed, of the survivors; NaN at the first look.

        It is compared with that of the check before; with doubling checks, of half as many steps.
        """
        now = next_masks(self.model, self.masks, self.config)
        doubling = self.config.spacing == "doubling"
        before = self.would_be.get(step / 2 if doubling else max(self.would_be, default=-1))
        if not doubling:
            self.would_be.clear()
        self.would_be[step] = now
        return mask_distance(before, now, self.masks) if before else NAN

    def test_accuracy(self) -> float:
        """Return the accuracy on the test set, for the reader only."""
        if self.test is None:
            return NAN
        return evaluate(self.model, self.test.inputs, self.test.targets)[1]

    def _optimizer(self) -> torch.optim.Optimizer:
        c = self.config
        return make_optimizer(self.model, c.optimizer, c.lr, c.momentum, c.weight_decay)

    def _generator(self, level: int, purpose: str = "level") -> torch.Generator:
        """Return a generator for one purpose: no level depends on how long another ran."""
        key = (self.config.seed, PURPOSES.index(purpose), level)
        seed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(seed))

    def _batches(self, level: int, purpose: str = "level") -> Iterator[Tensor]:
        generator = self._generator(level, purpose)
        batches = shuffled_batches(len(self.train), self.config.batch_size, generator)
        for step, batch in enumerate(batches):
            # dropout draws from torch's global generator: seeded at every step, inside _train's
            # fork, it does not depend on how often the run is checked
            torch.manual_seed(generator.initial_seed() ^ step)
            yield batch

    def _train(
        self,
        optimizer: torch.optim.Optimizer,
        batches: Iterator[Tensor],
        num_steps: int,
        scheduler: LRScheduler | None = None,
    ) -> float:
        x, y = self.train.inputs, self.train.targets
        with torch.random.fork_rng():
            return train_steps(
                self.model, optimizer, x, y, self.masks, batches, num_steps, scheduler
            )
