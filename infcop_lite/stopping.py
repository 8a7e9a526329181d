"""When a level may stop training: small frozen rules with one method.

A rule reads the checks of the current level and answers yes or no. It never trains or measures;
the loop measures what a rule says it reads (`reads`), and ends every level at its budget anyway.
All numbers come from training and validation data, never from the test set.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .checks import READS as READS
from .checks import Check as Check
from .checks import Rule as Rule
from .checks import count as _count
from .checks import plain as _plain
from .checks import positive as _positive
from .checks import trained as _trained
from .confidence import check_confidence, quantile
from .limits import is_number as _is_number
from .limits import shown as _shown
from .never import Never
from .prices import BreakEven as BreakEven
from .prices import PriceOfTime as PriceOfTime
from .timetables import FixedEpochs as FixedEpochs
from .timetables import Schedule as Schedule


@dataclass(frozen=True)
class ReachAccuracy:
    """Stop when the validation accuracy is back at a target.

    Source: the reference code's second condition, which reads the test set there.

    Args:
        target: accuracy in [0, 1].

    >>> ReachAccuracy(0.9).stop([Check(0.0, 0.1), Check(1.0, 0.92)])
    True
    """

    target: float
    kind = "accuracy"
    reads = frozenset({"accuracy"})

    def __post_init__(self) -> None:
        _plain(self)
        if not (_is_number(self.target) and 0 <= self.target <= 1):
            raise ValueError(f"target must be an accuracy in [0, 1], not {_shown(self.target)}")

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether the last validation accuracy reaches the target."""
        return _trained(checks) and checks[-1].validation_accuracy >= self.target


@dataclass(frozen=True)
class ReachLoss:
    """Stop when the training loss is back at a target: it is known anyway, and costs nothing.

    With the loss at the end of the warm-up as the target, a level trains until the pruned network
    is as good as the one it was rewound to. There is no tolerance to choose.

    Args:
        target: loss in nats, >= 0; infinite if the network it is taken from was never trained.
        times: train so many times as long as it took to get there, >= 1.

    >>> rule = ReachLoss(0.5, times=2)
    >>> first, second = Check(1.0, train_loss=0.4), Check(2.0, train_loss=0.6)
    >>> rule.stop([first]), rule.stop([first, second])
    (False, True)
    """

    target: float
    times: float = 1.0
    kind = "loss"
    reads = frozenset[str]()

    def __post_init__(self) -> None:
        _plain(self)
        if not (_is_number(self.target) and self.target >= 0):
            raise ValueError(f"target must be a loss of at least 0, not {_shown(self.target)}")
        if not (_is_number(self.times) and 1 <= self.times < math.inf):
            raise ValueError(f"times must be a number of at least 1, not {_shown(self.times)}")

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether the target was reached, long enough ago."""
        reached = (c.epoch for c in checks if c.epoch > 0 and c.train_loss <= self.target)
        return checks[-1].epoch >= self.times * next(reached, math.inf)


#: The absolute tolerances of the paper's experiments, by flow.
PUBLISHED = {"information": 0.11, "gradient": 0.5}


@dataclass(frozen=True)
class FlowConsistency:
    """Stop when the flow is within epsilon of the reference flow: the paper's criterion.

    Source: Gharatappeh & Yasaei Sekeh 2025, arXiv:2501.15592.

    Args:
        flow: "information" or "gradient".
        epsilon: tolerance, > 0.
        relative: measure epsilon in units of the reference flow's norm. False is as published.
        confidence: in (0.5, 1), for the information flow: the distance must be below the tolerance
            by so many standard errors of its logarithm as `confidence.quantile` says (T7.15,
            T7.16). As published, by none, unless given.
        looks: at so many looks at one network's training the rule may err, >= 1; each gets its
            share of ``1 - confidence`` (Bonferroni).

    Note:
        Without a confidence the rule is a coin toss at its own tolerance, however large the probe.
        With it, a network at the tolerance or beyond it passes a look with probability
        ``1 - confidence`` at most. That holds for networks that do not depend on the probe: it
        should be held out, and of 200 samples or more. What training images do to that, and several
        levels, ``experiments/error_rate.py`` counts. The gradient profile has no confidence: the
        error of its distance needs the gradient of every image in both networks, and a check has
        their mean.
        An absolute epsilon above the flow's ceiling is vacuous: it stops every level at its first
        check, whatever the network does (T2.3).

    >>> FlowConsistency("information", 0.5).stop(
    ...     [Check(1.0, distances={"information": 0.3}, reference_norms={"information": 1.0})])
    True
    """

    flow: str
    epsilon: float
    relative: bool = True
    confidence: float | None = None
    looks: int = 1
    kind = "flow"

    def __post_init__(self) -> None:
        _plain(self)
        if self.flow not in ["information", "gradient"]:
            raise ValueError(f"unknown flow {_shown(self.flow)}; choose from information, gradient")
        _positive("epsilon", self.epsilon)
        check_confidence(self.confidence, self.looks, self.flow)

    def __repr__(self) -> str:
        # without a confidence as in the first release: a run in a folder is known by this text
        more = f", confidence={self.confidence}, looks={self.looks}" if self.confidence else ""
        settings = f"flow={self.flow!r}, epsilon={self.epsilon!r}, relative={self.relative!r}{more}"
        return f"FlowConsistency({settings})"

    @property
    def reads(self) -> frozenset[str]:
        """The one flow that is compared, and with a confidence how exactly it is known."""
        return frozenset({self.flow} | ({f"{self.flow}-error"} if self.confidence else set()))

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether the last distance is below the tolerance, surely so if that is asked for."""
        last, never = checks[-1], Never(f"the distance of the {self.flow} flow")
        unit = last.reference_norms.get(self.flow, never) if self.relative else 1.0
        tolerance, distance = self.epsilon * unit, last.distances.get(self.flow, never)
        if self.confidence is not None:
            errors = last.relative_errors if self.relative else last.distance_errors
            error = errors.get(self.flow, Never(f"the error of the {self.flow} flow's distance"))
            # the distance times the exponential, but a large error must not overflow
            tolerance *= math.exp(-quantile(self.confidence, self.looks) * max(error, 0.0))
        return _trained(checks) and unit >= 0 and distance < tolerance


@dataclass(frozen=True)
class SmallGradient:
    """Stop when the norm of the masked gradient is small: what the reference's gradient rule is.

    Source: T4.5; the reference compares a norm with a mean that is almost zero.

    Args:
        epsilon: absolute tolerance on the norm over all prunable weights, > 0.

    >>> SmallGradient(0.5).stop([Check(0.0), Check(1.0, gradient_norm=0.4)])
    True
    """

    epsilon: float
    kind = "gradient"
    reads = frozenset({"gradient"})

    def __post_init__(self) -> None:
        _plain(self)
        _positive("epsilon", self.epsilon)

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether the last gradient norm is below epsilon."""
        return _trained(checks) and checks[-1].gradient_norm < self.epsilon


@dataclass(frozen=True)
class MaskStability:
    """Stop when the mask that would be drawn now has stopped changing.

    Source: early-bird tickets, You et al. 2020, arXiv:1909.11957; why the mask is the natural
    yardstick under rewinding: T5.5.

    Args:
        epsilon: tolerated fraction of surviving weights that change their fate between checks, > 0.
        patience: how many checks in a row must be within it, >= 1.

    >>> MaskStability(0.05).stop([Check(0.0), Check(1.0, mask_distance=0.01)])
    True
    """

    epsilon: float
    patience: int = 1
    kind = "mask"
    reads = frozenset({"mask"})

    def __post_init__(self) -> None:
        _plain(self)
        _positive("epsilon", self.epsilon)
        _count("patience", self.patience)

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether the last `patience` mask distances are all below epsilon."""
        recent = checks[-self.patience :]
        return len(recent) == self.patience and all(c.mask_distance < self.epsilon for c in recent)


@dataclass(frozen=True)
class Patience:
    """Stop when a number, the validation accuracy for one, has not improved for some checks.

    Source: early stopping, Prechelt 1998.

    Args:
        patience: checks without a new best, >= 1.
        of: "accuracy", "train_loss", or a name of `Check.metrics`.
        mode: whether "max" or "min" is best.

    >>> Patience(2).stop([Check(0.0, 0.5), Check(1.0, 0.9), Check(2.0, 0.8), Check(3.0, 0.9)])
    True
    >>> Patience(1, "f1").stop([Check(1.0, metrics={"f1": 0.6}), Check(2.0, metrics={"f1": 0.5})])
    True
    """

    patience: int
    of: str = "accuracy"
    mode: str = "max"
    kind = "patience"

    def __post_init__(self) -> None:
        _plain(self)
        _count("patience", self.patience)
        if not isinstance(self.of, str):
            raise ValueError(f"of must be the name of a number, not {_shown(self.of)}")
        if self.mode not in ("max", "min"):
            raise ValueError(f"mode must be max or min, not {_shown(self.mode)}")

    @property
    def reads(self) -> frozenset[str]:
        """The one number that is followed."""
        return frozenset({self.of} - {"train_loss"})

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether the best number lies at least `patience` measured checks back."""
        name = "validation_accuracy" if self.of == "accuracy" else self.of
        asked = [c for c in checks if c.epoch > 0 or name != "train_loss"]
        found = (getattr(c, name, c.metrics.get(name, Never(name))) for c in asked)
        numbers = [number for number in found if number <= math.inf]  # not NaN
        if not numbers:
            return False
        best = max(numbers) if self.mode == "max" else min(numbers)
        return len(numbers) - 1 - numbers.index(best) >= self.patience


@dataclass(frozen=True)
class AnyOf:
    """Stop as soon as one of several rules says so.

    Source: the published loop is AnyOf(accuracy, flow). One more rule never delays a stop (T5.3a).

    Args:
        rules: at least one rule.

    >>> AnyOf(FixedEpochs(3), ReachAccuracy(0.9)).stop([Check(0.0), Check(1.0, 0.95)])
    True
    """

    rules: tuple[Rule, ...]
    kind = "any"

    def __init__(self, *rules: Rule) -> None:
        if not rules:
            raise ValueError("AnyOf needs at least one rule")
        for rule in rules:
            if isinstance(rule, type) or not callable(getattr(rule, "stop", None)):
                raise ValueError(f"AnyOf joins rules, not {_shown(rule)}")
        object.__setattr__(self, "rules", rules)

    @property
    def reads(self) -> frozenset[str]:
        """Everything that one of the rules reads."""
        return frozenset().union(*(rule.reads for rule in self.rules))

    def stop(self, checks: Sequence[Check]) -> bool:
        """Say whether any rule stops; all are asked, so that each says what it was not given."""
        answers = [rule.stop(checks) for rule in self.rules]
        return any(answers)


#: Name -> rule, made of the settings of a `config.Config` and of the reference network's validation
#: accuracy and training loss.
RULES: dict[str, Callable[[Any, float, float], Rule]] = {
    "budget": lambda c, accuracy, loss: FixedEpochs(c.epochs),
    "accuracy": lambda c, accuracy, loss: ReachAccuracy(accuracy),
    "information": lambda c, accuracy, loss: _consistency("information", c),
    "gradient": lambda c, accuracy, loss: _consistency("gradient", c),
    "small-gradient": lambda c, accuracy, loss: SmallGradient(c.epsilon),
    "mask": lambda c, accuracy, loss: MaskStability(c.epsilon, c.patience),
    "patience": lambda c, accuracy, loss: Patience(c.patience),
    "twice-loss": lambda c, accuracy, loss: ReachLoss(loss, times=2),
    "loss": lambda c, accuracy, loss: ReachLoss(loss),
    "price": lambda c, accuracy, loss: PriceOfTime(c.price),
    "break-even": lambda c, accuracy, loss: BreakEven(c.price),
}


#: Those that compare something with the reference network.
HELD_AGAINST = frozenset({"accuracy", "loss", "twice-loss", "information", "gradient"})


def _consistency(flow: str, settings: Any) -> Rule:
    return FlowConsistency(flow, settings.epsilon, not settings.absolute, settings.confidence)


def consistencies(rule: Rule) -> list[FlowConsistency]:
    """Return the rules that compare a flow, of which a rule is made.

    >>> consistencies(AnyOf(FixedEpochs(1), FlowConsistency("gradient", 0.5)))[0].flow
    'gradient'
    """
    if isinstance(rule, AnyOf):
        return [found for part in rule.rules for found in consistencies(part)]
    return [rule] if isinstance(rule, FlowConsistency) else []


def warn_of_dead(rule: Rule, stacklevel: int = 2) -> None:
    """Warn of a tolerance that a dead network meets: its flow is 0, so its distance is 1 (T7.12).

    Args:
        rule: of any kind.
        stacklevel: as for `warnings.warn`.

    >>> warn_of_dead(FlowConsistency("information", 1.0))
    """
    if any(each.relative and each.epsilon > 1 for each in consistencies(rule)):
        message = "a relative epsilon above 1 accepts a dead network, whose distance is exactly 1"
        warnings.warn(f"{message}; choose at most 1", stacklevel=stacklevel + 1)


def stop_rule(config: Any, target: float, loss: float = 0.0) -> Rule:
    """Return the stop rule that a config names.

    Source: design of the command line; names joined with "+" make `AnyOf`.

    Args:
        config: a `config.Config`; its ``stop`` is a name, or already a rule, which is returned as
            it is.
        target: validation accuracy of the reference network, for "accuracy".
        loss: training loss of the reference network, for "loss" and "twice-loss".

    Raises:
        ValueError: an unknown name.

    >>> from infcop_lite.config import Config
    >>> stop_rule(Config(stop="information+accuracy"), target=0.9).rules[1]
    ReachAccuracy(target=0.9)
    """
    if not isinstance(config.stop, str):
        rule = as_rule(config.stop)
        unknown = sorted(map(str, rule.reads - READS))
        if unknown and config.evaluate is None:
            raise ValueError(
                f"the stop rule reads {', '.join(unknown)}, which is not measured: give evaluate="
            )
        return rule
    names = config.stop.split("+")
    for name in names:
        if name not in RULES:
            raise ValueError(f"unknown stop rule {name!r}; choose from {', '.join(RULES)}")
    rules = [RULES[name](config, target, loss) for name in names]
    return rules[0] if len(rules) == 1 else AnyOf(*rules)


def as_rule(given: Any) -> Rule:
    """Return a rule of one's own, after making sure that it is one.

    Raises:
        ValueError: it lacks ``reads`` or ``stop``.

    >>> as_rule(Patience(2)).reads
    frozenset({'accuracy'})
    """
    reads: Any = getattr(given, "reads", None)
    is_rule = isinstance(reads, frozenset) and callable(getattr(given, "stop", None))
    if isinstance(given, type) or not is_rule:
        raise ValueError(f"stop must be a name or a rule, not {_shown(given)}")
    return cast(Rule, given)
