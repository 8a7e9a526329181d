"""The levels of a run as a tree, which rules share until their masks differ.

Rules that are compared share their warm-up, their dense training, and every level that they begin
alike. They branch only where they disagree, and each still sees, and records, what it would alone.
A run with one rule is the tree with one branch.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from .amounts import is_sparse_enough
from .level import Start
from .masks import Masks, check_masks
from .measured import Measured, measurements
from .recording import Recorder
from .rows import Row
from .stopping import Check, FixedEpochs, Rule, stop_rule
from .windows import warn_if_decided

NAN = float("nan")


@dataclass(frozen=True)
class State:
    """Where a run stands between two levels, with all that the rest depends on.

    With it a killed run resumes as if nothing had happened.

    Args:
        start: of the level to train next; of a finished run its final network.
        snapshot: the state dict after the warm-up; that of the start unless given.
        references: "warmup" or "trained" -> what was measured of that network.
        elapsed_s: seconds spent so far.
        finished: nothing is left to train.
    """

    start: Start
    snapshot: Mapping[str, Tensor] | None = None
    references: Mapping[str, Measured] = field(default_factory=dict)
    elapsed_s: float = 0.0
    finished: bool = False


@dataclass(frozen=True)
class Result:
    """What one rule came to.

    Args:
        rule: its name.
        stops: one row for each level, in order; and every check before, if they are kept.
        masks: of the final network.
    """

    rule: str
    stops: list[Row]
    masks: Masks


@dataclass(frozen=True)
class Event:
    """One check of one rule, with its row and what was measured, flows included."""

    rule: str
    row: Row
    measured: Measured


@dataclass
class _Branch:
    """One rule in one level: what it has seen there, and what that cost."""

    rule: Rule
    reference: Measured | None
    checks: list[Check] = field(default_factory=list)
    measure_s: float = 0.0

    @property
    def reads(self) -> frozenset[str]:
        """What is measured for the rule."""
        return measurements(self.rule.reads)

    def stops(self, now: Measured, epoch: float, level: int) -> bool:
        """Let the rule see what it reads, nothing that others asked for, and say if it stops."""
        reads = self.reads
        self.measure_s += sum(now.seconds[what] for what in reads)
        self.checks.append(now.restrict(reads).check(self.reference, epoch, level))
        return self.rule.stop(self.checks)


class Tree:
    """A node is a level with its start; its branches are the sets of rules that stop together.

    Args:
        recorder: of the rules, on their network.
        keep: called with the state before each level and after the last.
    """

    def __init__(self, recorder: Recorder, keep: Callable[[State], None] | None = None) -> None:
        self.recorder, self.trainer = recorder, recorder.trainer
        self.configs, self.config, self.keep = recorder.configs, self.trainer.config, keep
        self.references: dict[str, Measured] = {}

    # --- where it begins ------------------------------------------------------------------------

    def _restore(self, state: State | None) -> Start:
        """Go on from a state, or from a warm-up; return the start of the next level."""
        self.recorder.started -= state.elapsed_s if state else 0.0
        if state is None or (state.start.level == 0 and self.config.dense_epochs):
            start = self.trainer.warm_up()
            self.snapshot = start.weights
            self._take_reference("warmup")
            return start
        check_masks(self.trainer.model, state.start.masks)
        for name, value in self.trainer.model.state_dict().items():
            kept = state.start.weights.get(name, value)
            if kept.dtype != value.dtype:  # which a copy would round without a word
                found, own = (str(each.dtype).removeprefix("torch.") for each in (kept, value))
                raise ValueError(
                    f"the state holds {name} in {found}, the network has {own}: it is damaged or "
                    "of another network; delete it to start anew"
                )
        device = self.trainer.device
        self.snapshot = state.start.weights if state.snapshot is None else state.snapshot
        self.trainer.hold_against(self.snapshot)
        self.references = {kind: held.to(device) for kind, held in state.references.items()}
        return state.start

    def _wants(self, kind: str) -> bool:
        return self.recorder.everything or kind in {c.reference for c in self.configs.values()}

    def _take_reference(self, kind: str) -> None:
        if self._wants(kind):
            measures = frozenset().union(*map(self.recorder.measures, self.configs))
            self.references[kind] = Measured(loss=self.trainer.loss)
            self.trainer.measure(measures - {"mask", "metrics"}, self.references[kind])

    def _state(self, start: Start, finished: bool = False) -> State:
        seconds = self.recorder.elapsed_s()
        return State(start, self.snapshot, dict(self.references), seconds, finished)

    # --- growing --------------------------------------------------------------------------------

    def grow(self, state: State | None = None) -> Iterator[Event | Result]:
        """Train a level until every rule in it has stopped, then its branches, the watched first.

        A branch that is done is let go: without rewinding, weights are held of those that wait
        beside the present path, and of no other.
        """
        trainer, config, recorder = self.trainer, self.config, self.recorder
        waiting, is_kept = [(list(self.configs), self._restore(state))], state is not None
        while waiting:
            names, start = waiting.pop()
            if self.keep and not is_kept:
                self.keep(self._state(start))
            is_kept = False
            is_last = start.level >= config.levels or is_sparse_enough(start.masks, config)
            recorder.begin_level(start.masks, names, is_last)
            branches: list[tuple[list[str], Start]] = []
            for length, together in self._lengths(start.level, is_last, names):
                yield from self._train(start, together, length, is_last, branches)
            if is_last and self.keep:  # or the copy of the final weights is for nobody
                self.keep(self._state(Start(start.level + 1, start.masks, trainer.weights()), True))
            if is_last:
                for name in sorted(names, key=lambda name: name != recorder.watched):
                    yield Result(name, recorder.rows[name], start.masks)
            branches.reverse()  # the last is grown first
            waiting += sorted(branches, key=lambda branch: recorder.watched in branch[0])

    def _lengths(self, level: int, is_last: bool, names: list[str]) -> list[tuple[int, list[str]]]:
        """Return rules that may share a level: those over which its schedule has one length."""
        trainer, budget = self.trainer, self.trainer.budget(level, is_last)
        is_dense = level == 0 and self.config.dense_epochs > 0
        if is_last or is_dense or self.config.level_schedule == "constant":
            return [(budget, names)]
        groups: dict[int, list[str]] = {}
        if self._takes_trained(level, is_last):
            groups[budget] = []  # first, and even if no rule trains so long
        for name in names:
            known = getattr(self._rule(name, level, is_last), "length", None)
            length = trainer.planned_steps(level, known(level)) if known else budget
            groups.setdefault(length, []).append(name)
        return list(groups.items())

    def _takes_trained(self, level: int, is_last: bool) -> bool:
        return level == 0 and not is_last and self._wants("trained")

    def _rule(self, name: str, level: int, is_last: bool) -> Rule:
        config = self.configs[name]
        if level == 0 and config.dense_epochs:
            return FixedEpochs(config.dense_epochs)
        if is_last or (level == 0 and config.reference == "trained"):
            return FixedEpochs(config.last_epochs if is_last else config.epochs)
        reference = self.references.get(config.reference)
        if reference is None:
            return self.recorder.rules[name]
        return stop_rule(config, reference.accuracy, reference.loss)

    def _train(
        self,
        start: Start,
        names: list[str],
        length: int,
        is_last: bool,
        branches: list[tuple[list[str], Start]],
    ) -> Iterator[Event]:
        """Train the level of some rules until all have stopped; add what they go on with."""
        trainer, recorder, level = self.trainer, self.recorder, start.level
        trainer.begin(start)
        known = {k: v for k, v in self.references.items() if level > 0 or k == "warmup"}
        waiting = {
            name: _Branch(self._rule(name, level, is_last), known.get(self.configs[name].reference))
            for name in names
        }
        warn_if_decided(trainer, level, ((b.rule, b.reference) for b in waiting.values()))
        budget = trainer.budget(level, is_last)
        takes_trained = self._takes_trained(level, is_last) and length == budget
        train_s, started = 0.0, time.process_time()
        for step, loss in trainer.train_level(level, is_last, length):
            train_s += time.process_time() - started
            epoch, over, now = step / trainer.steps_per_epoch, step >= budget, Measured(loss=loss)
            done = []
            for name, branch in waiting.items():
                trainer.measure(branch.reads, now, step)
                if branch.stops(now, epoch, level) or over:
                    done.append(name)
            test_accuracy = trainer.test_accuracy() if done else NAN
            if done and not is_last:
                branches.append((done, trainer.next_start(level + 1, self.snapshot)))
            for name in [name for name in waiting if name in done or recorder.keeps(name)]:
                branch, stopped = waiting[name], name in done
                trainer.measure(recorder.measures(name, branch.reads, stopped), now, step)
                more = {"stopped": stopped, "test_accuracy": test_accuracy if stopped else NAN}
                more |= {"train_s": train_s, "measure_s": branch.measure_s}
                row = recorder.record(name, now, epoch, level, known, branch.reads, **more)
                yield Event(name, row, now)
            if over and recorder.watched in done:
                recorder.end_level()
            waiting = {name: branch for name, branch in waiting.items() if name not in done}
            if not waiting and (over or not takes_trained):
                break
            started = time.process_time()
        if takes_trained:
            self._take_reference("trained")
