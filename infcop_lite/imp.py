"""Iterative magnitude pruning: train -> measure -> stop? -> prune -> rewind, level by level."""

import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from . import data
from .config import Config, stop_rule
from .flows import FLOWS
from .loaders import Adapter, in_memory
from .masks import check_masks, density, prunable
from .monitor import Measured, check_fit
from .pruned import Pruned
from .records import Row
from .resuming import State, fingerprint, finished, resume
from .run import Run, next_masks
from .stopping import AnyOf, Check, FixedEpochs, Rule
from .train import lay_out, threads

__all__ = ["Config", "Pruned", "Row", "State", "next_masks", "prune", "run_imp"]

NAN = float("nan")


def run_imp(
    config: Config,
    state: State | None = None,
    keep: Callable[[State], None] | None = None,
    look: Callable[[Row, Measured], None] | None = None,
    run: Run | None = None,
) -> Iterator[Row]:
    """Run the whole method and yield one row per (level, check).

    Source: Frankle & Carbin 2019, arXiv:1803.03635, with the stop rule of arXiv:2501.15592.
    Warm up -> snapshot -> per level: train until the rule, prune, rewind -> final training.

    Args:
        config: what to run.
        state: where to go on; from the start unless given. The rows that follow are the same, bit
            by bit but for their seconds, as if the run had never been interrupted.
        keep: called with the state before each level and after the last.
        look: called at each check with its row and what was measured, the flows themselves, just
            before the row is yielded; the reference flows are in the state that ``keep`` gets.
        run: a network and data of your own, made with the same config; it is used up.

    Raises:
        ValueError: a state that is not this run's, or, like OSError, data or model not to be had.
        FloatingPointError: training diverged.

    >>> rows = list(run_imp(Config(levels=1, epochs=1, warmup_epochs=1)))
    >>> [(row.level, row.epoch, round(row.density, 2)) for row in rows]
    [(0, 0.0, 1.0), (0, 1.0, 1.0), (1, 0.0, 0.8), (1, 1.0, 0.8)]
    """
    run = run or Run.of(config)
    with threads(config.threads):
        yield from _Imp(run, look).levels(state, keep)


def prune(
    model: nn.Module,
    train: Any,
    validation: Any,
    test: Any = None,
    *,
    adapter: Adapter | None = None,
    folder: Path | str | None = None,
    progress: bool = False,
    **config: Any,
) -> Pruned:
    """Prune a network of your own; the one you pass in is left untouched.

    Source: `run_imp` on any module with Conv or Linear weights.

    Args:
        model: a classifier; its present weights are where the warm-up starts.
        train: (inputs, targets): (sample, ...) and (sample,) int64; or a DataLoader or a map-style
            Dataset of such pairs, read once into memory: see `loaders.in_memory`.
        validation: likewise; all that stop rules may read besides the training data.
        test: likewise, for reporting only.
        adapter: makes a pair (inputs, targets) of a batch that is something else, such as a dict.
        folder: where the run keeps rows.csv, run.json and network.safetensors, so that it may be
            killed. Called again with the same arguments it goes on after its last finished level
            and ends with the same bits; what is finished comes back at once. Other weights, layers
            or data are another run; another code of a forward pass nobody can tell.
        progress: draw a bar on stderr.
        **config: fields of `Config`; ``stop`` may also be a rule object.

    Returns:
        The pruned model, its masks, and the rows, to be unpacked; and a ``summary()`` of them.

    Raises:
        ValueError: data that do not fit, no prunable weights, a bad field, or a folder that holds
            a run with another config, other data or other initial weights.
        TypeError: a keyword that is no field.
        OSError: a folder that cannot be written to.
        FloatingPointError: training diverged.

    Note:
        nn.MultiheadAttention keeps the weights of queries, keys and values in one bare parameter,
        which no mask is for: it stays dense. Its output projection is pruned, but never called, so
        that the information flow passes it over.

    >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    >>> y = (x[:, 0] > 0).long()
    >>> net, masks, rows = prune(nn.Linear(4, 2), (x, y), (x, y), levels=2, fraction=0.5, epochs=2)
    >>> rows[-1].density
    0.25
    """
    settings = Config(**{"data": "custom", "model": type(model).__name__, **config})
    dtype = next(iter(prunable(model).values())).dtype

    def read(name: str, part: Any) -> data.Split:
        try:
            return in_memory(part, adapter, dtype)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    splits = [read("train", train), read("validation", validation)]
    held_out = None if test is None else read("test", test)
    with (
        threads(settings.threads),
        tqdm(total=settings.levels + 1, unit="level", disable=not progress) as bar,
    ):
        run = Run(copy.deepcopy(model), splits[0], splits[1], held_out, settings)
        check_fit(run.model, run.train, run.validation, run.test)
        method, rows = _Imp(run), list[Row]()

        def report(row: Row) -> None:
            rows.append(row)
            done = row.stopped or row.epoch / max(settings.epochs, settings.last_epochs)
            bar.n = round(row.level + done, 2)
            bar.refresh()

        if folder is None:
            for row in method.levels():
                report(row)
        else:
            about = _identity(settings, model, *splits, held_out)
            resume(method.levels, about, folder, report=report)
            state, rows = finished(about, folder)
            method._restore(state)
    lay_out(run.model, torch.contiguous_format)
    for module, original in zip(run.model.modules(), model.modules(), strict=True):
        module.training = original.training
    return Pruned.of(run.model, run.masks, rows, settings)


def _identity(config: Config, model: nn.Module, *splits: data.Split | None) -> dict[str, Any]:
    """Return all that decides a run in JSON values: the config, the weights and data as hashes."""
    rule = config.stop if isinstance(config.stop, str) else repr(config.stop)
    if " at 0x" in rule:
        raise ValueError(f"a run in a folder needs a stop rule that repr tells apart, not {rule}")
    parts = zip(("train", "validation", "test"), splits, strict=True)
    prints = {
        f"{name} data": fingerprint({"inputs": part.inputs, "targets": part.targets})
        for name, part in parts
        if part is not None
    }
    network = hashlib.sha256(str(model).encode()).hexdigest()  # layers without weights, too
    weights = fingerprint(model.state_dict(keep_vars=True))
    return asdict(config) | {"stop": rule, "network": network, "initial weights": weights} | prints


class _Imp:
    """The method on one run: its reference, its rule, its rows."""

    def __init__(self, run: Run, look: Callable[[Row, Measured], None] | None = None) -> None:
        self.started, self.look = time.perf_counter(), look or (lambda row, measured: None)
        self.run, self.config = run, run.config
        self.rule = stop_rule(run.config, target=1.0)
        self.flows = [flow for flow in FLOWS if flow in self.rule.reads]
        self.reference: Measured | None = None

    def levels(
        self, state: State | None = None, keep: Callable[[State], None] | None = None
    ) -> Iterator[Row]:
        """Run every level, or those that are left, and yield the rows; see `run_imp`."""
        config, keep = self.config, keep or (lambda state: None)
        if state is None:
            self.run.warm_up()
            if config.reference == "warmup":
                self._take_reference()
            keep(self._state(0))
        else:
            self._restore(state)
        level = state.level if state else 0
        while level < config.levels and not self.run.is_sparse_enough():
            defines_reference = level == 0 and config.reference == "trained"
            rule = FixedEpochs(config.epochs) if defines_reference else self.rule
            yield from self._level(level, rule)
            if defines_reference:
                self._take_reference()
            self.run.rewind(next_masks(self.run.model, self.run.masks, config))
            level += 1
            keep(self._state(level))
        if level <= config.levels:
            yield from self._level(level, FixedEpochs(config.last_epochs), is_last=True)
            keep(self._state(config.levels + 1))

    def _take_reference(self) -> None:
        if not self.flows and self.config.monitor and self.run.monitor.has_flow():
            self.flows = ["information"]
        self._hold(self.run.monitor.measure(self.run.masks, self.flows, self.run.loss))

    def _hold(self, reference: Measured) -> None:
        self.reference, self.flows = reference, list(reference.flows)
        self.rule = stop_rule(self.config, reference.accuracy, reference.loss)

    def _state(self, level: int) -> State:
        weights = self.run.snapshot if level <= self.config.levels else self.run.model.state_dict()
        held = self.reference or Measured(NAN, {})
        seconds, masks = self._elapsed_s(), self.run.masks
        return State(level, held.accuracy, seconds, masks, weights, held.flows, held.loss)

    def _restore(self, state: State) -> None:
        check_masks(self.run.model, state.masks)
        self.run.snapshot = state.weights
        masks = {name: state.masks[name].to(m.device) for name, m in self.run.masks.items()}
        self.run.rewind(masks)
        if not math.isnan(state.target):
            device = self.run.train.inputs.device
            references = state.references
            flows = {name: references[name].to(device) for name in FLOWS if name in references}
            self._hold(Measured(state.target, flows, state.loss))
        self.started -= state.elapsed_s

    def _elapsed_s(self) -> float:
        return time.perf_counter() - self.started

    def _level(self, level: int, rule: Rule, is_last: bool = False) -> Iterator[Row]:
        checks: list[Check] = []
        for step, loss in self.run.train_level(level, is_last):
            changed = self.run.mask_change(step) if "mask" in rule.reads else NAN
            measured = self.run.monitor.measure(self.run.masks, self.flows, loss)
            epoch = step / self.run.steps_per_epoch
            checks.append(measured.check(self.reference, epoch, changed, level))
            stopped = step >= self.run.budget(is_last) or rule.stop(checks)
            row = self._row(level, checks[-1], loss, stopped)
            self.look(row, measured)
            yield row
            if stopped:
                return

    def _row(self, level: int, check: Check, loss: float, stopped: bool) -> Row:
        c, rule = self.config, self.rule
        flow = next(iter(self.flows), "")
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
            density=density(self.run.masks),
            train_loss=loss,
            test_accuracy=self.run.test_accuracy() if stopped else NAN,
            flow_distance=check.distances.get(flow, NAN),
            reference_norm=check.reference_norms.get(flow, NAN),
            stopped=stopped,
            elapsed_s=self._elapsed_s(),
        )
