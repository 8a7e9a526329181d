"""The rows of a rule, equal to those it would have alone, whatever others asked for."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from .checks import ERRORS, READS
from .compute import resources
from .config import Config
from .flows import FLOWS
from .ledger import commit
from .level import Trainer
from .masks import Masks, density, mask_distance
from .measured import Measured, measurements
from .rows import Row
from .stopping import HELD_AGAINST, AnyOf, FixedEpochs, stop_rule

NAN = float("nan")


class Recorder:
    """Makes and keeps the rows of some rules on one network.

    Args:
        trainer: of that network.
        configs: label of the rule -> config.
        watched: the rule whose every check is kept, and with whose final masks all are compared.
        final_masks: those masks, if that rule is not among the configs.
        every_check: whether to keep every check of all rules.
        everything: whether a row that is kept holds all that can be measured, or what its rule
            reads and its config asks for.
    """

    def __init__(
        self,
        trainer: Trainer,
        configs: Mapping[str, Config],
        watched: str | None,
        final_masks: Masks | None,
        every_check: bool,
        everything: bool,
    ) -> None:
        self.started, self.trainer, self.configs = time.perf_counter(), trainer, configs
        self.watched, self.every_check, self.everything = watched, every_check, everything
        device = trainer.device
        self.final_masks = final_masks and {k: mask.to(device) for k, mask in final_masks.items()}
        self.rules = {name: stop_rule(config, target=1.0) for name, config in configs.items()}
        for rule in self.rules.values():
            trainer.monitor.check_reads(rule.reads)
        self.rows: dict[str, list[Row]] = {name: [] for name in configs}
        self.unlike: list[tuple[str, int, Masks]] = []  # rows that wait for the final masks
        self.drawn: dict[int, Masks] = {}  # a row of the watched rule in this level -> next mask
        made_with = resources(trainer.config.device, trainer.config.threads)
        made_with |= {"torch": torch.__version__, "commit": commit()}
        made_with["gradient_probe"] = len(trainer.monitor.gradient_probe[0])
        #: Columns that all rows of a rule have in common.
        self.about: dict[str, dict[str, Any]] = {
            name: {"rule": name, **describe(c), **made_with} for name, c in configs.items()
        }

    def keeps(self, name: str) -> bool:
        """Say whether a rule's every check is kept, not only where it ends a level."""
        return self.every_check or name == self.watched

    def measures(
        self, name: str, asked: frozenset[str] = frozenset(), ends: bool = False
    ) -> frozenset[str]:
        """Return what is measured where a row of a rule is kept.

        The mask distance needs the check before: it is measured at all checks of a level or at
        none, and not where no rule decides. Numbers of one's own are measured where the rule reads
        them, and where a level ends.

        Args:
            name: of the rule.
            asked: what its rule reads in this level; nothing where the epochs are fixed.
            ends: whether the level ends here.
        """
        monitor = self.trainer.monitor
        reads = (measurements(self.rules[name].reads) - {"mask"}) | asked
        more = frozenset({"accuracy"})
        if self.everything:
            more = READS - ERRORS - (frozenset() if self.keeps(name) else {"mask"}) | {"metrics"}
        elif self.configs[name].monitor and not reads & set(FLOWS):
            more |= {"information"}
        if "information" in more - reads and not monitor.has_flow:
            more = more - {"information"}
        if not self.everything and "accuracy" in monitor.names:
            more = more - {"accuracy"}
        return reads | more | ({"accuracy", "metrics"} if ends else set())

    def elapsed_s(self) -> float:
        """Return the seconds since the start of the run."""
        return time.perf_counter() - self.started

    def record(
        self,
        name: str,
        now: Measured,
        epoch: float,
        level: int,
        references: Mapping[str, Measured],
        asked: frozenset[str],
        **more: Any,
    ) -> Row:
        """Make the row of one rule at one check, keep it and return it.

        Args:
            name: of the rule.
            now: what was measured, for this rule and others.
            epoch: epochs trained in this level.
            level: prunings so far.
            references: "warmup" or "trained" -> what was measured of that network.
            asked: what its rule reads in this level.
            more: the other columns.
        """
        c, rule, masks, rows = self.configs[name], self.rules[name], self.trainer.masks, self.rows
        mine = now.restrict(self.measures(name, asked, more["stopped"]))
        # a fresh probe knows the flows of the snapshot alone
        known = {k: v for k, v in references.items() if k == "warmup" or mine.beside is None}
        held = {kind: mine.check(against, epoch, level) for kind, against in known.items()}
        check = held.get(c.reference) or mine.check(None, epoch, level)
        distances: dict[str, Any] = {
            f"{flow}_{kind}": distance / (against.reference_norms[flow] or NAN)
            for kind, against in held.items()
            for flow, distance in against.distances.items()
        }
        read = next((flow for flow in FLOWS if flow in rule.reads), "information")
        row = Row(
            **self.about[name],
            level=level,
            epoch=epoch,
            density=density(masks),
            train_loss=check.train_loss,
            validation_accuracy=check.validation_accuracy,
            flow_distance=check.distances.get(read, NAN),
            reference_norm=check.reference_norms.get(read, NAN),
            distance_error=(
                check.distance_errors if self.about[name]["absolute"] else check.relative_errors
            ).get(read, NAN),
            gradient_norm=check.gradient_norm,
            mask_distance=check.mask_distance,
            metrics=dict(check.metrics),
            **distances,
            overlap=NAN if self.final_masks is None else _overlap(masks, self.final_masks),
            elapsed_s=self.elapsed_s(),
            **more,
        )
        if self.final_masks is None and self.watched is not None:
            self.unlike.append((name, len(rows[name]), masks))
        if name == self.watched:
            self.drawn[len(rows[name])] = next(reversed(self.trainer.drawn.values()))
        rows[name].append(row)
        return row

    def begin_level(self, masks: Masks, names: list[str], is_last: bool) -> None:
        """Take note of the masks of a level; if they are the watched rule's last, all wait no more.

        Args:
            masks: of the level.
            names: of the rules that enter it.
            is_last: whether it trains the final network.
        """
        self.drawn = {}
        if not is_last or self.watched not in names:
            return
        self.final_masks = masks
        for name, i, others in self.unlike:
            self.rows[name][i] = replace(self.rows[name][i], overlap=_overlap(others, masks))
        self.unlike.clear()

    def end_level(self) -> None:
        """Fill in how far the watched rule's next masks were from that after the whole budget."""
        last, rows = self.drawn[max(self.drawn)], self.rows[self.watched or ""]
        for i, drawn in self.drawn.items():
            rows[i] = replace(rows[i], to_end=mask_distance(drawn, last, self.trainer.masks))


def describe(config: Config) -> dict[str, Any]:
    """Return the columns of a row that say of what run it is, and which rule.

    Args:
        config: with the rule.

    >>> rule = describe(Config(stop="information", epsilon=0.5))
    >>> rule["kind"], rule["epsilon"], rule["reference"]
    ('flow', 0.5, 'warmup')
    """
    rule = stop_rule(config, target=1.0)
    rules = rule.rules if isinstance(rule, AnyOf) else (rule,)
    if isinstance(config.stop, str):
        is_held = bool(set(config.stop.split("+")) & HELD_AGAINST)
    else:
        is_held = bool(rule.reads & set(FLOWS))
    rewind = config.rewind
    return {
        **{k: getattr(config, k) for k in ("data", "model", "amount", "scope", "seed")},
        "rewind": rewind if isinstance(rewind, str) else _name_of(rewind),
        "stop": str(config.stop),
        "kind": "full" if config.stop == "budget" else getattr(rule, "kind", "own"),
        "epsilon": next((r.epsilon for r in rules if hasattr(r, "epsilon")), NAN),
        "absolute": any(not getattr(r, "relative", True) for r in rules),
        "reference": config.reference if is_held else "",
        "epochs_fixed": next((float(r.n) for r in rules if isinstance(r, FixedEpochs)), NAN),
    }


def _overlap(masks: Masks, final: Masks) -> float:
    return density({k: masks[k] & mask for k, mask in final.items()}) / density(final)


def _name_of(function: Callable[..., object]) -> str:
    return getattr(function, "__name__", type(function).__name__)
