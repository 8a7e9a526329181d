"""The loop: train -> measure -> stop? -> prune -> begin the next level; for one rule or many."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from .compute import threads
from .config import Config
from .level import Trainer
from .masks import Masks
from .measured import Measured
from .recording import Recorder
from .rows import Row
from .tree import Event, Result, State, Tree

MAY_DIFFER = tuple("stop epsilon price confidence absolute patience reference monitor".split())


def run(
    config: Config,
    state: State | None = None,
    keep: Callable[[State], None] | None = None,
    look: Callable[[Row, Measured], None] | None = None,
    trainer: Trainer | None = None,
    everything: bool = False,
) -> Iterator[Row]:
    """Run the whole method and yield one row per (level, check).

    Source: Frankle & Carbin 2019, arXiv:1803.03635, with the stop rule of arXiv:2501.15592.
    Warm up -> snapshot -> per level: train until the rule, prune, rewind -> final training.

    Args:
        config: what to run.
        state: where to resume; from the start unless given. The rows that follow are the same, bit
            by bit but for their seconds, as if the run had never been interrupted.
        keep: called with the state before each level and after the last. From that before level 0
            a run with `Config.dense_epochs`, which are one training with the warm-up, begins anew.
        look: called at each check with its row and what was measured, the flows themselves, just
            before the row is yielded.
        trainer: a network and data of your own, made with the same config; it is used up.
        everything: measure all that there is at every check, not only what the rule reads, as
            `compare` does where it keeps a row. The dense network is then trained to its budget.

    Raises:
        ValueError: a state that is not this run's, or, like OSError, data or model not to be had.
        FloatingPointError: training diverged.

    >>> rows = list(run(Config(levels=1, epochs=1, warmup_epochs=1)))
    >>> [(row.level, row.epoch, round(row.density, 2)) for row in rows]
    [(0, 0.0, 1.0), (0, 1.0, 1.0), (1, 0.0, 0.8), (1, 1.0, 0.8)]
    """
    if state is not None and state.finished:
        return
    trainer = trainer or Trainer.of(config)
    name = str(config.stop)
    recorder = Recorder(trainer, {name: config}, None, None, True, everything)
    tree = Tree(recorder, keep)
    with threads(config.threads):
        for event in tree.grow(state):
            if isinstance(event, Event):
                if look is not None:
                    look(event.row, event.measured)
                yield event.row


run_imp = run


def compare(
    configs: Mapping[str, Config],
    watched: str | None = None,
    final_masks: Masks | None = None,
    every_check: bool = False,
) -> Iterator[Result]:
    """Run configs that differ only in their stop rules; yield each one's result when it is whole.

    A rule comes to what `run` would come to with it alone, for less training.

    Args:
        configs: name of the rule -> config; what `MAY_DIFFER` names may differ.
        watched: the rule whose every check is kept, and with whose final masks all are compared;
            its result comes first.
        final_masks: those masks, if that rule is not among the configs.
        every_check: whether to keep every check of all rules. Only where all are kept is the mask
            distance measured of rules that do not read it.

    Raises:
        ValueError: no configs, or configs that differ in more than the rule.
        FloatingPointError: training diverged.

    >>> from infcop_lite.stopping import FixedEpochs
    >>> shared = dict(levels=1, epochs=1, warmup_epochs=1)
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
    tree = Tree(Recorder(Trainer.of(config), configs, watched, final_masks, every_check, True))
    with threads(config.threads):
        for event in tree.grow():
            if isinstance(event, Result):
                yield event
