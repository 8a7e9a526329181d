"""Train, measure, ask the stop rule, prune and begin the next level, for one rule or many."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from .compute import threads
from .config import Config
from .level import Trainer
from .limits import callback, expect, switch
from .masks import Masks, check_masks
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
    After a warm-up the snapshot is taken. Each level trains until the stop rule ends it, then
    prunes and rewinds to the snapshot. The last level trains the final network.

    Args:
        config: what to run.
        state: where to resume; the run starts anew unless given. The rows that follow are the
            same bit by bit, but for their seconds, as without the interruption.
        keep: a callback, called with the state before each level and after the last. A run with
            `Config.dense_epochs` that resumes from the state before level 0 begins anew, since
            its warm-up and dense training are one training.
        look: a callback, called at each check with its row and with what was measured, the flows
            included, just before the row is yielded.
        trainer: a network and data of your own, made with the same config. The run changes it, so
            that it serves for one run.
        everything: whether to measure everything at every check, not only what the rule reads. The
            dense network is then trained to its budget, as in `compare`.

    Yields:
        One `rows.Row` per check, in the order in which the checks are made.

    Raises:
        ValueError: a state of another run, an unknown model, or data that do not fit.
        OSError: files of the data set that are missing or damaged.
        FloatingPointError: training diverged.

    >>> rows = list(run(Config(levels=1, epochs=1, warmup_epochs=1)))
    >>> [(row.level, row.epoch, round(row.density, 2)) for row in rows]
    [(0, 0.0, 1.0), (0, 1.0, 1.0), (1, 0.0, 0.8), (1, 1.0, 0.8)]
    """
    expect("config", config, Config, "a Config")
    expect("state", state, (State, type(None)), "a State")
    expect("trainer", trainer, (Trainer, type(None)), "a Trainer")
    callback("keep", keep)
    callback("look", look)
    switch("everything", everything)
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
    """Run configs that differ only in their stop rules, and yield the result of each.

    Each rule gets the same result as from `run` with that rule alone, for less training, since
    rules share the epochs that they have in common.

    Args:
        configs: name of the rule -> config. Only the fields in `MAY_DIFFER` may differ.
        watched: the rule whose every check is kept, and whose final masks all others are compared
            with; its result comes first.
        final_masks: masks to compare with, if that rule is not among the configs.
        every_check: whether to keep every check of all rules. Unless all are kept, the mask
            distance is measured only for rules that read it.

    Yields:
        One `tree.Result` per rule, as soon as its last level has ended.

    Raises:
        ValueError: no configs, configs that differ in more than the rule, or masks that do not fit.
        FloatingPointError: training diverged.

    >>> from infcop_lite.stopping import FixedEpochs
    >>> shared = dict(levels=1, epochs=1, warmup_epochs=1)
    >>> rules = {"full": Config(**shared), "one-shot": Config(stop=FixedEpochs(0), **shared)}
    >>> for result in compare(rules, "full"):
    ...     print(result.rule, [(stop.level, stop.epoch) for stop in result.stops if stop.stopped])
    full [(0, 1.0), (1, 1.0)]
    one-shot [(0, 0.0), (1, 1.0)]
    """
    expect("configs", configs, Mapping, "name of a rule -> Config")
    expect("watched", watched, (str, type(None)), "the name of a rule")
    switch("every_check", every_check)
    if not configs:
        raise ValueError("no configs to compare")
    for name, each in configs.items():
        expect(str(name), each, Config, "a Config")
    config = next(iter(configs.values()))
    same = {name: getattr(config, name) for name in MAY_DIFFER}
    for name, other in configs.items():
        if replace(other, **same) != config:
            raise ValueError(f"{name} differs in more than its stop rule")
    trainer = Trainer.of(config)
    if final_masks is not None:
        check_masks(trainer.model, final_masks)
    tree = Tree(Recorder(trainer, configs, watched, final_masks, every_check, True))
    with threads(config.threads):
        for event in tree.grow():
            if isinstance(event, Result):
                yield event
