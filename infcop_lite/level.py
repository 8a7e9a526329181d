"""What one level begins with, how it trains, and how the next mask changes meanwhile.

It knows no stop rule. Everything that a level depends on is its `Start`, a value; whatever a
`Trainer` holds besides is settings, data, and the network that is written over.
"""

import copy
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from . import data, models
from .amounts import check_final_density
from .batches import call, on, take
from .compute import choose_device, lay_out
from .config import Config
from .drawing import drawn_masks, mask_change
from .feeding import InMemory, Source
from .limits import expect, switch
from .masks import Masks, apply_masks, check_masks, full_masks, rewind
from .measured import Measured
from .monitor import Monitor
from .train import check_times, evaluate, evaluating
from .training import seed_of, training

NAN = float("nan")


@dataclass(frozen=True)
class Start:
    """All that a level depends on at its beginning, besides its config.

    It holds no optimiser state, since every level starts a fresh optimiser.

    Args:
        level: prunings so far, >= 0.
        masks: parameter name -> boolean tensor, True = kept.
        weights: the whole state dict to load, buffers too; it is read, never written to.

    >>> import torch
    >>> start = Start(1, {"weight": torch.tensor([[True, False]])}, nn.Linear(2, 1).state_dict())
    >>> start.level, list(start.weights)
    (1, ['weight', 'bias'])
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
    """A network with its data and settings, which trains levels and measures them.

    Source: Frankle & Carbin 2019, arXiv:1803.03635. `loop.run`, `loop.compare` and `prune` are made
    of these steps.

    Args:
        model: the network, changed in place.
        train: the training data, a split or any `feeding.Source` of batches.
        validation: the validation data, which stop rules may read.
        test: the test data, for reporting only.
        config: what to run.
        masks: what is kept at first; everything unless given.

    Raises:
        ValueError: masks that do not fit, a final density that the network already has, or data
            that do not fit the network.

    >>> trainer = Trainer.of(Config(levels=1, epochs=1, warmup_epochs=1))
    >>> trainer.warm_up().level, trainer.steps_per_epoch
    (0, 11)
    """

    def __init__(
        self,
        model: nn.Module,
        train: data.Split | Source,
        validation: data.Split,
        test: data.Split | None,
        config: Config,
        masks: Masks | None = None,
    ) -> None:
        expect("config", config, Config, "a Config")
        expect("model", model, nn.Module, "a torch module")
        expect("train", train, (data.Split, Source), "a Split or another source of batches")
        expect("validation", validation, data.Split, "a Split")
        expect("test", test, (data.Split, type(None)), "a Split")
        device = choose_device(config.device)
        self.config = config
        self.model = model.to(device)
        self.masks = full_masks(self.model)
        if masks is not None:
            self.masks = {name: masks[name].to(device) for name in check_masks(self.model, masks)}
            apply_masks(self.model, self.masks)
        check_final_density(self.model, config)
        self.test = None if test is None else test.to(device)
        self.validation, self.device = validation.to(device), device
        self.train: Any = train
        if isinstance(train, data.Split):
            self.train = train.to(device)
            train = InMemory(self.train, config.batch_size, seed_of(config, 0, "probe"))
        self.source: Source = train
        probe = on(self.source.head(config.probe_size), device)
        lay_out(self.model)
        if not self._runs(probe[0]):  # `view` does not take channels last
            lay_out(self.model, torch.contiguous_format)
        self.steps_per_epoch = self.source.steps_per_epoch
        self.check_steps = config.check_steps or self.steps_per_epoch
        self.loss = math.inf
        self.level, self.drawn = 0, dict[float, Masks]()
        self._dense: Callable[[int], float] | None = None
        self.monitor = Monitor(
            *(self.model, probe, self.validation, config.gradient_probe),
            *(config.loss, config.evaluate),
        )
        self._held: tuple[nn.Module, Masks] | None = None

    @classmethod
    def of(
        cls, config: Config, wrap: Callable[[nn.Module], nn.Module] = lambda network: network
    ) -> "Trainer":
        """Return a trainer of the network, on the data, that a config names.

        Args:
            config: what to run.
            wrap: a callback, called with the network; what it returns is trained in its place.

        Raises:
            ValueError: an unknown network, or data that do not fit it.
            OSError: files of the data set that are missing or damaged.
        """
        expect("config", config, Config, "a Config")
        expect("wrap", wrap, Callable, "a function")
        splits = data.load(config.data, subset=config.subset, seed=config.seed)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            model = wrap(models.build(config.model, splits))
        return cls(model, splits.train, splits.validation, splits.test, config)

    def _runs(self, inputs: Any) -> bool:
        try:
            with torch.no_grad(), evaluating(self.model):
                call(self.model, take(inputs, 0, 2))
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
        start = Start(0, self.masks, self.weights())
        self.hold_against(start.weights)
        return start

    def hold_against(self, snapshot: Mapping[str, Tensor]) -> None:
        """Take a state dict as that of the network which fresh probes are measured on, too."""
        if self.config.fresh_probe:
            model = copy.deepcopy(self.model)
            model.load_state_dict(snapshot)
            self._held = model, self.masks

    def begin(self, start: Start) -> None:
        """Load the weights of a start and take on its masks."""
        expect("start", start, Start, "a Start")
        names = check_masks(self.model, start.masks)  # in module order, whatever a file has done
        self.masks = {name: start.masks[name].to(self.device) for name in names}
        rewind(self.model, start.weights, self.masks)

    def next_start(self, level: int, snapshot: Mapping[str, Tensor]) -> Start:
        """Prune now, and return what the next level begins with, as `Config.rewind` says.

        Args:
            level: the next one.
            snapshot: the state dict after the warm-up.

        Raises:
            ValueError: a callable ``rewind`` that returns no `Start` of that level.
        """
        expect("level", level, Integral, "a whole number")
        return next_start(self.config, level, self.next_masks(level - 1), snapshot, self.weights)

    def next_masks(self, level: int) -> Masks:
        """Return the masks that pruning now would give; a level draws its random numbers once."""
        c, loss = self.config, self.config.loss or nn.functional.cross_entropy
        return drawn_masks(self.model, self.masks, c, level, self.monitor.probe, loss)

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

        The last check is at the budget. A caller that takes no further check stops the level.

        Args:
            level: its number, which also seeds the order of the data. Level 0 with
                `Config.dense_epochs` follows a `warm_up`.
            is_last: whether this level trains the final network.
            length: steps over which the learning-rate schedule runs; the budget unless given.

        Raises:
            ValueError: level 0 of a run with `Config.dense_epochs`, before a `warm_up`.
        """
        expect("level", level, Integral, "a whole number")
        expect("length", length, (Integral, type(None)), "a whole number of steps")
        switch("is_last", is_last)
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
            yield (step := due), loss

    def _training(
        self, level: int, purpose: str, lr: float, schedule: str, length: int
    ) -> Callable[[int], float]:
        """Return what trains some steps further as the masks say, and returns their mean loss."""
        c, model = self.config, self.model
        go_on = training(model, self.source, c, (level, purpose), lr, schedule, length)
        return lambda num_steps: go_on(self.masks, num_steps)

    # --- measuring ------------------------------------------------------------------------------

    def measure(self, what: Collection[str], now: Measured, step: int = 0) -> None:
        """Measure what is asked for after some steps of this level; see `Monitor.measure`."""
        monitor = self._fresh_monitor(step) if self.config.fresh_probe else self.monitor
        monitor.measure(what, now, self.masks, partial(self.mask_change, step))

    def _fresh_monitor(self, step: int) -> Monitor:
        """Return what measures on a probe of this check alone: the network, and the snapshot."""
        if self._held is None or not isinstance(self.source, InMemory):
            need = "a snapshot: call warm_up or hold_against first"
            raise ValueError(
                f"a fresh probe needs {need if self._held is None else 'data in memory'}"
            )
        c, own = self.config, seed_of(self.config, self.level, "fresh probe") ^ step
        probe = on(replace(self.source, seed=own).head(c.probe_size), self.device)
        model, masks = self._held
        beside = Monitor(model, probe, None, c.gradient_probe, c.loss), masks
        shared = (probe, self.validation, c.gradient_probe, c.loss, c.evaluate)
        return Monitor(self.model, *shared, beside)

    def test_accuracy(self) -> float:
        """Return the accuracy on the test set, for the reader only; NaN if there is none."""
        if self.test is None or not self.monitor.has_classes:
            return NAN
        return evaluate(self.model, self.test.inputs, self.test.targets)[1]

    def mask_change(self, step: int) -> float:
        """Return how much the next mask has changed, of the survivors; NaN at the first look.

        It is compared with that of the check before; with doubling checks, of half as many steps.
        """
        doubling = self.config.spacing == "doubling"
        return mask_change(self.drawn, step, self.next_masks(self.level), self.masks, doubling)
