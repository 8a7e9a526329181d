"""Iterative magnitude pruning: train -> measure -> stop? -> prune -> rewind, level by level."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import data, models
from .config import Config, next_masks
from .masks import Masks, density, full_masks, mask_distance, prunable, rewind
from .monitor import Monitor, check_fit
from .records import Row
from .stopping import AnyOf, Check, FixedEpochs, Rule
from .train import (
    choose_device,
    evaluate,
    lay_out,
    make_optimizer,
    shuffled_batches,
    threads,
    train_steps,
)

__all__ = ["Config", "Row", "State", "next_masks", "prune", "run_imp"]

NAN = float("nan")
PURPOSES = ("level", "warmup", "probe")


@dataclass(frozen=True)
class State:
    """Where a run stands between two levels: all that the next level depends on.

    Source: ours; with it a killed run goes on as if nothing had happened.

    Args:
        level: the level to train next; one more than ``levels`` when the run is finished.
        target: validation accuracy of the reference network; NaN before there is one.
        elapsed_s: seconds spent so far.
        masks: of that level; of the final network in a finished run.
        weights: the state dict that is rewound to; that of the final network in a finished run.
        references: flow name -> reference flow; none before there is a reference.
    """

    level: int
    target: float
    elapsed_s: float
    masks: Masks
    weights: dict[str, Tensor]
    references: dict[str, Tensor]


def run_imp(
    config: Config, state: State | None = None, keep: Callable[[State], None] | None = None
) -> Iterator[Row]:
    """Run the whole method and yield one row per (level, check).

    Source: Frankle & Carbin 2019, arXiv:1803.03635, with the stop rule of arXiv:2501.15592.
    Warm up -> snapshot -> per level: train until the rule, prune, rewind -> final training.

    Args:
        config: what to run.
        state: where to go on; from the start unless given. The rows that follow are the same, bit
            by bit but for their seconds, as if the run had never been interrupted.
        keep: called with the state before each level and after the last.

    Raises:
        ValueError: a state that is not this run's, or, like OSError, data or model not to be had.
        FloatingPointError: training diverged.

    >>> rows = list(run_imp(Config(levels=1, epochs=1, warmup_epochs=1)))
    >>> [(row.level, row.epoch, round(row.density, 2)) for row in rows]
    [(0, 0.0, 1.0), (0, 1.0, 1.0), (1, 0.0, 0.8), (1, 1.0, 0.8)]
    """
    splits = data.load(config.data, subset=config.subset, seed=config.seed)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = models.build(config.model, splits)
    with threads(config.threads):
        run = _Run(model, splits.train, splits.validation, splits.test, config)
        yield from run.levels(state, keep)


def prune(
    model: nn.Module,
    train: data.Split | tuple[Tensor, Tensor],
    validation: data.Split | tuple[Tensor, Tensor],
    test: data.Split | tuple[Tensor, Tensor] | None = None,
    **config: Any,
) -> tuple[nn.Module, Masks, list[Row]]:
    """Prune a network of your own; the one you pass in is left untouched.

    Source: `run_imp` on any module with Conv or Linear weights.

    Args:
        model: a classifier; its present weights are where the warm-up starts.
        train: (inputs, targets): (sample, ...) float and (sample,) int64.
        validation: likewise; all that stop rules may read besides the training data.
        test: likewise, for reporting only.
        **config: fields of `Config`; ``stop`` may also be a rule object.

    Returns:
        The pruned model, its masks, and the rows.

    Raises:
        ValueError: data that do not fit, no prunable weights, or a bad field.
        FloatingPointError: training diverged.

    >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] > 0).long()
    >>> net, masks, rows = prune(nn.Linear(4, 2), (x, y), (x, y), levels=2, fraction=0.5, epochs=2)
    >>> rows[-1].density
    0.25
    """
    settings = Config(**{"data": "custom", "model": type(model).__name__, **config})
    dtype = next(iter(prunable(model).values())).dtype
    splits = [data.as_split(part, dtype) for part in (train, validation)]
    held_out = None if test is None else data.as_split(test, dtype)
    with threads(settings.threads):
        run = _Run(copy.deepcopy(model), splits[0], splits[1], held_out, settings)
        check_fit(run.model, run.train, run.monitor.validation, run.test)
        rows = list(run.levels())
    lay_out(run.model, torch.contiguous_format)
    for module, original in zip(run.model.modules(), model.modules(), strict=True):
        module.training = original.training
    return run.model, run.masks, rows


class _Run:
    """One run: the network, its masks, the snapshot it rewinds to, and its monitor."""

    def __init__(
        self,
        model: nn.Module,
        train: data.Split,
        validation: data.Split,
        test: data.Split | None,
        config: Config,
    ) -> None:
        self.started = time.perf_counter()
        device = choose_device(config.device)
        self.config = config
        self.model = model.to(device)
        lay_out(self.model)
        self.masks = full_masks(self.model)
        self.train, self.test = train.to(device), None if test is None else test.to(device)
        self.steps_per_epoch = math.ceil(len(train) / config.batch_size)
        self.monitor = Monitor(
            self.model, self.train, validation.to(device), config, self._generator(0, "probe")
        )

    def levels(
        self, state: State | None = None, keep: Callable[[State], None] | None = None
    ) -> Iterator[Row]:
        config, keep = self.config, keep or (lambda state: None)
        if state is None:
            self._warm_up()
            keep(self._state(0))
        else:
            self._restore(state)
        for level in range(state.level if state else 0, config.levels):
            defines_reference = level == 0 and config.reference == "trained"
            rule = FixedEpochs(config.epochs) if defines_reference else self.monitor.rule
            yield from self._level(level, config.epochs, rule)
            if defines_reference:
                self.monitor.take_reference(self.masks)
            self.masks = next_masks(self.model, self.masks, config)
            rewind(self.model, self.snapshot, self.masks)
            keep(self._state(level + 1))
        final_epochs = config.epochs if config.final_epochs is None else config.final_epochs
        yield from self._level(config.levels, final_epochs, FixedEpochs(final_epochs))
        keep(self._state(config.levels + 1))

    def _state(self, level: int) -> State:
        weights = self.snapshot if level <= self.config.levels else self.model.state_dict()
        target, references = self.monitor.target, self.monitor.references
        return State(level, target, self._elapsed_s(), self.masks, weights, references)

    def _restore(self, state: State) -> None:
        self.snapshot = state.weights
        rewind(self.model, self.snapshot, state.masks)
        self.masks = {name: state.masks[name] for name in self.masks}  # in module order
        self.monitor.restore(state.references, state.target)
        self.started -= state.elapsed_s

    def _elapsed_s(self) -> float:
        return time.perf_counter() - self.started

    def _warm_up(self) -> None:
        num_steps = round(self.config.warmup_epochs * self.steps_per_epoch)
        if num_steps:
            self._train(self._optimizer(), self._batches(0, "warmup"), num_steps)
        self.snapshot = copy.deepcopy(self.model.state_dict())
        if self.config.reference == "warmup":
            self.monitor.take_reference(self.masks)

    def _level(self, level: int, epochs: float, rule: Rule) -> Iterator[Row]:
        batches = self._batches(level)
        optimizer = self._optimizer()  # a fresh one: its state is rewound too
        budget = round(epochs * self.steps_per_epoch)
        checks: list[Check] = []
        would_be: Masks = {}
        step, loss = 0, NAN
        while True:
            before, changed = would_be, NAN
            if "mask" in rule.reads:
                would_be = next_masks(self.model, self.masks, self.config)
                changed = mask_distance(before, would_be, self.masks) if before else NAN
            check = self.monitor.check(step / self.steps_per_epoch, self.masks, changed)
            checks.append(check)
            stopped = step >= budget or rule.stop(checks)
            yield self._row(level, check, loss, stopped)
            if stopped:
                return
            num_steps = min(self.config.check_steps or self.steps_per_epoch, budget - step)
            loss = self._train(optimizer, batches, num_steps)
            step += num_steps

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
        self, optimizer: torch.optim.Optimizer, batches: Iterator[Tensor], num_steps: int
    ) -> float:
        inputs, targets = self.train.inputs, self.train.targets
        with torch.random.fork_rng():
            return train_steps(
                self.model, optimizer, inputs, targets, self.masks, batches, num_steps
            )

    def _row(self, level: int, check: Check, loss: float, stopped: bool) -> Row:
        c, rule = self.config, self.monitor.rule
        flow = next(iter(self.monitor.flows), "")
        test_accuracy = NAN
        if stopped and self.test is not None:
            test_accuracy = evaluate(self.model, self.test.inputs, self.test.targets)[1]
        rules = rule.rules if isinstance(rule, AnyOf) else (rule,)
        settings = {name: getattr(c, name) for name in ("data", "model", "amount", "scope", "seed")}
        measured = ("epoch", "validation_accuracy", "gradient_norm", "mask_distance")
        return Row(
            **settings,
            **{name: getattr(check, name) for name in measured},
            stop=str(c.stop),
            epsilon=next((r.epsilon for r in rules if hasattr(r, "epsilon")), NAN),
            absolute=any(not getattr(r, "relative", True) for r in rules),
            level=level,
            density=density(self.masks),
            train_loss=loss,
            test_accuracy=test_accuracy,
            flow_distance=check.distances.get(flow, NAN),
            reference_norm=check.reference_norms.get(flow, NAN),
            stopped=stopped,
            elapsed_s=self._elapsed_s(),
        )
