"""One level: what it begins with, how it is trained, how much the next mask changes meanwhile.

It knows no stop rule. Everything that a level depends on is its `Start`, a value; whatever a
`Trainer` holds besides is settings, data, and the network that is written over.
"""

import copy
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from . import data, models
from .amounts import check_final_density
from .compute import choose_device, lay_out
from .config import Config
from .drawing import drawn_masks, generator, mask_change
from .loaders import flip_shift
from .masks import Masks, check_masks, full_masks, rewind
from .monitor import Measured, Monitor
from .train import (
    check_times,
    evaluate,
    evaluating,
    make_optimizer,
    make_schedule,
    shuffled_batches,
    train_steps,
)

NAN = float("nan")


@dataclass(frozen=True)
class Start:
    """What a level begins with: all that it depends on, besides its config.

    It holds no optimiser state: every level starts a fresh optimiser, also when it goes on.

    Args:
        level: prunings so far, >= 0.
        masks: parameter name -> boolean tensor, True = kept.
        weights: the whole state dict to load, buffers too; it is read, never written to.
    """

    level: int
    masks: Masks
    weights: Mapping[str, Tensor]


def next_start(
    config: Config,
    level: int,
    masks: Masks,
    snapshot: Mapping[str, Tensor],
    weights: Callable[[], Mapping[str, Tensor]],
) -> Start:
    """Return what a level begins with, as `Config.rewind` says.

    Args:
        config: with ``rewind``.
        level, masks: of the level.
        snapshot: the state dict after the warm-up.
        weights: returns a copy of the present state dict.

    Raises:
        ValueError: a callable ``rewind`` that returns no `Start` of that level.
    """
    how = config.rewind
    if how == "weights":
        return Start(level, masks, snapshot)
    if isinstance(how, str):
        return Start(level, masks, weights())
    start = how(level, snapshot, weights(), masks)
    if not isinstance(start, Start) or start.level != level:
        found = f"one of level {start.level}" if isinstance(start, Start) else repr(start)
        raise ValueError(f"rewind must return a Start of level {level}, not {found}")
    return start


class Trainer:
    """A network, its data and its settings: it trains levels, and measures.

    Source: Frankle & Carbin 2019, arXiv:1803.03635; `loop.run`, `loop.compare` and `prune` are made
    of these steps.

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
        check_final_density(self.model, config)
        self.train, self.test = train.to(device), None if test is None else test.to(device)
        self.validation = validation.to(device)
        lay_out(self.model)
        if not self._runs():  # `view` does not take channels last
            lay_out(self.model, torch.contiguous_format)
        self.steps_per_epoch = math.ceil(len(train) / config.batch_size)
        self.check_steps = config.check_steps or self.steps_per_epoch
        self.loss = math.inf
        self.level, self.drawn = 0, dict[float, Masks]()
        self._dense: Callable[[int], float] | None = None
        drawn = torch.randperm(len(train), generator=self._generator(0, "probe"))
        chosen = drawn[: config.probe_size].to(device)
        probe = self.train.inputs[chosen], self.train.targets[chosen]
        self.monitor = Monitor(self.model, probe, self.validation, config.gradient_probe)

    @classmethod
    def of(
        cls, config: Config, wrap: Callable[[nn.Module], nn.Module] = lambda network: network
    ) -> "Trainer":
        """Return a trainer of the network, on the data, that a config names.

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
        except Exception:  # `monitor.check_fit` says which
            return False
        return True

    # --- what a level begins with ---------------------------------------------------------------

    def warm_up(self) -> Start:
        """Train the dense network up to the snapshot, and return it as the start of level 0.

        With `Config.dense_epochs`, level 0 goes on from here: one training under one schedule.
        """
        c = self.config
        num_steps, dense_steps = (
            round(epochs * self.steps_per_epoch) for epochs in (c.warmup_epochs, c.dense_epochs)
        )
        go_on = self._training(0, "warmup", c.lr, c.schedule, num_steps + dense_steps)
        last = min(num_steps, self.check_steps)  # the loss is that of the last part
        if num_steps > last:
            go_on(num_steps - last)
        if num_steps:
            self.loss = go_on(last)
        self._dense = go_on if dense_steps else None
        return Start(0, self.masks, self.weights())

    def begin(self, start: Start) -> None:
        """Load the weights of a start and take on its masks."""
        names = check_masks(self.model, start.masks)  # in module order, whatever a file has done
        self.masks = {name: start.masks[name].to(self.train.inputs.device) for name in names}
        rewind(self.model, start.weights, self.masks)

    def next_start(self, level: int, snapshot: Mapping[str, Tensor]) -> Start:
        """Prune now, and return what the next level begins with, as `Config.rewind` says.

        Args:
            level: the next one.
            snapshot: the state dict after the warm-up.

        Raises:
            ValueError: a callable ``rewind`` that returns no `Start` of that level.
        """
        return next_start(self.config, level, self.next_masks(level - 1), snapshot, self.weights)

    def next_masks(self, level: int) -> Masks:
        """Return the masks that pruning now would give; a level draws its random numbers once."""
        return drawn_masks(self.model, self.masks, self.config, level, self.monitor.probe)

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of the state dict as it is now."""
        return copy.deepcopy(self.model.state_dict())

    # --- training -------------------------------------------------------------------------------

    def budget(self, level: int, is_last: bool = False) -> int:
        """Return the most steps that a level trains."""
        c = self.config
        if level == 0 and c.dense_epochs:
            return round(c.dense_epochs * self.steps_per_epoch)
        return round((c.last_epochs if is_last else c.epochs) * self.steps_per_epoch)

    def checks(self, level: int, is_last: bool = False) -> Iterator[int]:
        """Yield the steps after which a level is looked at; the last is its budget."""
        budget = self.budget(level, is_last)
        return check_times(self.check_steps, budget, self.config.spacing)

    def planned_steps(self, level: int, epochs: float) -> int:
        """Return the steps of the first check at or after so many epochs, at most the budget."""
        steps = (n for n in self.checks(level) if n / self.steps_per_epoch >= epochs)
        return next(steps, self.budget(level))

    def train_level(
        self, level: int, is_last: bool = False, length: int | None = None
    ) -> Iterator[tuple[int, float]]:
        """Train as the masks say, and yield (steps so far, mean loss since the last) at each check.

        The last check is that at the budget; who stops asking before has stopped the level.

        Args:
            level: draws the order of the data; level 0 with `Config.dense_epochs` follows a
                `warm_up`.
            is_last: whether it trains the final network.
            length: steps over which its schedule is spread; the budget unless given.
        """
        c = self.config
        if level == 0 and c.dense_epochs:
            if self._dense is None:
                raise ValueError("the dense training goes on from a warm-up: call warm_up first")
            go_on, self._dense = self._dense, None
        else:  # a fresh optimiser: its state is never carried over
            schedule = c.last_schedule if is_last else c.level_schedule
            steps = length or self.budget(level, is_last)
            go_on = self._training(level, "level", c.level_lr or c.lr, schedule, steps)
        self.level, self.drawn = level, {}
        step, loss = 0, NAN
        for due in self.checks(level, is_last):
            if due > step:
                loss = self.loss = go_on(due - step)
                step = due
            yield step, loss

    def _training(
        self, level: int, purpose: str, lr: float, schedule: str, length: int
    ) -> Callable[[int], float]:
        """Return what trains some steps further, and returns their mean loss."""
        c, x, y = self.config, self.train.inputs, self.train.targets
        optimizer = make_optimizer(self.model, c.optimizer, lr, c.momentum, c.weight_decay)
        scheduler = make_schedule(optimizer, schedule, length)
        batches = self._batches(self._generator(level, purpose))
        augment: Callable[[Tensor], Tensor] | None = None
        if c.augment != "none":
            change = flip_shift if isinstance(c.augment, str) else c.augment
            generator = self._generator(level, f"augment {purpose}")
            augment = lambda batch: change(batch, generator)  # noqa: E731

        def go_on(num_steps: int) -> float:
            with torch.random.fork_rng():
                return train_steps(
                    *(self.model, optimizer, x, y, self.masks, batches, num_steps),
                    *(scheduler, c.label_smoothing, augment),
                )

        return go_on

    def _generator(self, level: int, purpose: str) -> torch.Generator:
        return generator(self.config.seed, purpose, level)

    def _batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        batches = shuffled_batches(len(self.train), self.config.batch_size, generator)
        for step, batch in enumerate(batches):
            # dropout draws from torch's global generator: seeded at every step, inside the fork
            # of the training, it does not depend on how often the run is checked
            torch.manual_seed(generator.initial_seed() ^ step)
            yield batch

    # --- measuring ------------------------------------------------------------------------------

    def measure(self, what: Collection[str], now: Measured, step: int = 0) -> None:
        """Measure what is asked for after some steps of this level; see `Monitor.measure`."""
        self.monitor.measure(what, now, self.masks, partial(self.mask_change, step))

    def test_accuracy(self) -> float:
        """Return the accuracy on the test set, for the reader only; NaN if there is none."""
        if self.test is None:
            return NAN
        return evaluate(self.model, self.test.inputs, self.test.targets)[1]

    def mask_change(self, step: int) -> float:
        """Return how much the next mask has changed, of the survivors; NaN at the first look.

        It is compared with that of the check before; with doubling checks, of half as many steps.
        """
        doubling = self.config.spacing == "doubling"
        return mask_change(self.drawn, step, self.next_masks(self.level), self.masks, doubling)
