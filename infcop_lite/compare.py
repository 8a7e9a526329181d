"""Several stop rules on one network: levels that begin alike are trained once.

Runs that differ in nothing but the rule share their warm-up, their dense training, and every level
they enter with the same masks. Here they branch only where their rules disagree, like a tree, and
each rule still sees what it would see alone.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from .config import READS, Config, stop_rule
from .masks import Masks, density, mask_distance
from .monitor import Measured
from .run import Run, next_masks
from .stopping import Check, FixedEpochs, Rule
from .train import threads

NAN = float("nan")
MAY_DIFFER = ("stop", "epsilon", "absolute", "patience", "reference", "monitor")


@dataclass(frozen=True)
class Stop:
    """Where one rule ended one level; of the rule that is watched, or of all, every check before.

    Source: ours. Accuracies are in [0, 1], losses in nats; what was not measured is NaN. Flow
    distances are in units of the reference flow's norm.

    Args:
        rule: its name.
        level: 0 is dense; the last one has the final density.
        epoch: epochs trained in this level.
        density: fraction of the prunable weights that the level has.
        stopped: False for the checks before.
        train_loss: since the check before.
        validation_accuracy, test_accuracy: the latter only where the level ends.
        information_warmup, information_trained, gradient_warmup, gradient_trained: distance of a
            flow to that of the warm-up snapshot, or of the trained dense network.
        gradient_norm: of the surviving weights.
        mask_distance: how much the next mask has changed; see `Config.spacing`.
        to_end: distance of the next mask to that after the whole budget; only of what is watched.
        overlap: fraction of the watched rule's final weights that this network still has.
        train_s: processor seconds of training in this level, over all threads.
        measure_s: processor seconds of measuring what the rule reads in this level.
    """

    rule: str
    level: int
    epoch: float
    density: float
    stopped: bool = False
    train_loss: float = NAN
    validation_accuracy: float = NAN
    test_accuracy: float = NAN
    information_warmup: float = NAN
    information_trained: float = NAN
    gradient_warmup: float = NAN
    gradient_trained: float = NAN
    gradient_norm: float = NAN
    mask_distance: float = NAN
    to_end: float = NAN
    overlap: float = NAN
    train_s: float = 0.0
    measure_s: float = 0.0


@dataclass(frozen=True)
class Result:
    """What one rule came to.

    Source: ours.

    Args:
        rule: its name.
        stops: one for each level, in order; and every check before, if they are kept.
        masks: of the final network.
    """

    rule: str
    stops: list[Stop]
    masks: Masks


def compare(
    configs: Mapping[str, Config],
    watched: str | None = None,
    final_masks: Masks | None = None,
    every_check: bool = False,
) -> Iterator[Result]:
    """Run configs that differ only in their stop rules; yield each one's result when it is whole.

    Source: ours. A rule comes to what `run_imp` would come to with it alone, for less training.

    Args:
        configs: name of the rule -> config; what `MAY_DIFFER` names may differ.
        watched: the rule whose every check is kept, and with whose final masks all are compared;
            its result comes first.
        final_masks: those masks, if that rule is not among the configs.
        every_check: whether to keep every check of all rules.

    Raises:
        ValueError: no configs, or configs that differ in more than the rule.
        FloatingPointError: training diverged.

    >>> shared = dict(levels=1, epochs=1, warmup_epochs=1, monitor=False)
    >>> rules = {"full": Config(**shared), "one-shot": Config(stop=FixedEpochs(0), **shared)}
    >>> for result in compare(rules, "full"):
    ...     print(result.rule, [(stop.level, stop.epoch) for stop in result.stops if stop.stopped])
    full [(0, 1.0), (1, 1.0)]
    one-shot [(0, 0.0), (1, 1.0)]
    """
    if not configs:
        raise ValueError("no configs to compare")
    config = next(iter(configs.values()))
    same = {name: getattr(config, name) for name in MAY_DIFFER}
    for name, other in configs.items():
        if replace(other, **same) != config:
            raise ValueError(f"{name} differs in more than its stop rule")
    run = Run.of(config)
    if final_masks is not None:
        final_masks = {k: mask.to(run.masks[k].device) for k, mask in final_masks.items()}
    with threads(config.threads):
        run.warm_up()
        tree = _Tree(run, configs, watched, final_masks, every_check)
        yield from tree.grow(0, run.masks, {name: [] for name in configs})


class _Look:
    """One check: everything is measured when it is first needed, and the seconds are kept."""

    def __init__(self, run: Run, step: int, level: int) -> None:
        self.run, self.step, self.level = run, step, level
        self.loss = run.loss if step else NAN
        self.seconds: dict[str, float] = {}
        self.accuracy = self.changed = NAN
        self.flows: dict[str, Tensor] = {}

    def need(self, reads: frozenset[str]) -> None:
        for what in sorted(reads - self.seconds.keys()):
            started = time.process_time()
            if what == "mask":
                self.changed = self.run.mask_change(self.step)
            elif what == "accuracy":
                self.accuracy = self.run.monitor.accuracy()
            elif what == "gradient" or len(self.run.masks) > 1:
                self.flows[what] = self.run.monitor.flow(what, self.run.masks)
            self.seconds[what] = time.process_time() - started

    def check(self, reference: Measured | None) -> Check:
        epoch = self.step / self.run.steps_per_epoch
        measured = Measured(self.accuracy, self.flows, self.loss)
        return measured.check(reference, epoch, self.changed, self.level)


class _Tree:
    """A node is a level with its masks; its branches are the sets of rules that stop together."""

    def __init__(
        self,
        run: Run,
        configs: Mapping[str, Config],
        watched: str | None,
        final_masks: Masks | None,
        every_check: bool,
    ) -> None:
        self.run, self.configs, self.watched = run, configs, watched
        self.final_masks, self.every_check = final_masks, every_check
        self.references: dict[str, Measured] = {}
        self._take_reference("warmup")

    def _take_reference(self, name: str) -> None:
        look = _Look(self.run, 0, 0)
        look.need(READS - {"mask"})
        self.references[name] = Measured(look.accuracy, look.flows, self.run.loss)

    def _rule(self, name: str, level: int, is_last: bool) -> Rule:
        config = self.configs[name]
        if is_last or config.reference not in self.references:
            return FixedEpochs(config.last_epochs if is_last else config.epochs)
        reference = self.references[config.reference]
        return stop_rule(config, reference.accuracy, reference.loss)

    def grow(self, level: int, masks: Masks, before: dict[str, list[Stop]]) -> Iterator[Result]:
        """Train a level until every rule in it has stopped, then grow its branches."""
        run, config = self.run, self.run.config
        run.rewind(masks)
        is_last = level == config.levels or run.is_sparse_enough()
        if is_last and self.watched in before:
            self.final_masks = masks
        waiting = {name: self._rule(name, level, is_last) for name in before}
        checks: dict[str, list[Check]] = {name: [] for name in before}
        measure_s = dict.fromkeys(before, 0.0)
        branches: list[tuple[list[str], Masks]] = []
        train_s, started = 0.0, time.process_time()
        for step, _ in run.train_level(level, is_last):
            train_s += time.process_time() - started
            look = _Look(run, step, level)
            for name, rule in waiting.items():
                look.need(rule.reads)
                measure_s[name] += sum(look.seconds[what] for what in rule.reads)
                checks[name].append(look.check(self.references.get(self.configs[name].reference)))
            over = step >= run.budget(is_last)
            done = [name for name, rule in waiting.items() if over or rule.stop(checks[name])]
            test_accuracy = run.test_accuracy() if done else NAN
            for name in waiting:
                if name in done or name == self.watched or self.every_check:
                    look.need(READS)
                    stop = self._stop(name, level, look, train_s, measure_s[name])
                    if name in done:
                        stop = replace(stop, stopped=True, test_accuracy=test_accuracy)
                    before[name].append(stop)
            if done:
                branches.append((done, next_masks(run.model, masks, config)))
            for name in done:
                del waiting[name]
            if not waiting:
                break
            started = time.process_time()
        if level == 0 and over:
            self._take_reference("trained")
        if over and self.watched in branches[-1][0]:
            self._look_back(before[self.watched], level)
        for names, after in sorted(branches, key=lambda branch: self.watched not in branch[0]):
            if is_last:
                yield from (Result(name, before[name], masks) for name in names)
            else:
                yield from self.grow(level + 1, after, {name: before[name] for name in names})

    def _stop(self, name: str, level: int, look: _Look, train_s: float, measure_s: float) -> Stop:
        run = self.run
        overlap = NAN
        if self.final_masks is not None:
            shared = {k: run.masks[k] & mask for k, mask in self.final_masks.items()}
            overlap = density(shared) / density(self.final_masks)
        distances: dict[str, Any] = {
            f"{flow}_{kind}": distance / (check.reference_norms[flow] or NAN)
            for kind, reference in self.references.items()
            for check in [look.check(reference)]
            for flow, distance in check.distances.items()
        }
        check = look.check(None)
        return Stop(
            rule=name,
            level=level,
            epoch=check.epoch,
            density=density(run.masks),
            train_loss=check.train_loss,
            validation_accuracy=check.validation_accuracy,
            gradient_norm=check.gradient_norm,
            mask_distance=check.mask_distance,
            **distances,
            overlap=overlap,
            train_s=train_s,
            measure_s=measure_s,
        )

    def _look_back(self, stops: list[Stop], level: int) -> None:
        """Fill in how far each check's mask was from that after the whole budget."""
        run = self.run
        looked = sorted(run.would_be)
        here = [i for i, stop in enumerate(stops) if stop.level == level]
        for i, step in zip(here, looked, strict=False):
            to_end = mask_distance(run.would_be[step], run.would_be[looked[-1]], run.masks)
            stops[i] = replace(stops[i], to_end=to_end)
