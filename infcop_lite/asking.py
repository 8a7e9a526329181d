"""What a rule asks somebody else's training loop for: at the snapshot, and at every check."""

from .config import Config
from .measured import Measured
from .monitor import ON_PROBE
from .never import Never
from .stopping import Rule, stop_rule

#: What a snapshot must be told for rules that hold a level against it, by their names.
HELD = {"accuracy": "validation_accuracy", "loss": "train_loss", "twice-loss": "train_loss"}


def held_rule(stop: str | Rule, config: Config, reference: Measured) -> Rule:
    """Return a rule, held against what was measured of the network of the snapshot.

    Args:
        stop: a rule, or the name of one.
        config: whose ``stop`` is that name.
        reference: what was measured.

    Raises:
        ValueError: a number that the rule is held against was never given.

    >>> held_rule("loss", Config(stop="loss"), Measured(loss=0.5)).target
    0.5
    """
    if not isinstance(stop, str):
        return stop
    known = {"validation_accuracy": reference.accuracy, "train_loss": reference.loss}
    for name in stop.split("+"):
        wanted = HELD.get(name, "")
        if isinstance(known.get(wanted), Never):
            raise ValueError(f"the stop rule {name} needs snapshot({wanted}=...)")
    return stop_rule(config, reference.accuracy, reference.loss)


def check_given(rule: Rule, now: Measured) -> None:
    """See that a check was given every number which the rule reads and nobody here measures.

    Args:
        rule: with its ``reads``.
        now: what was given.

    Raises:
        ValueError: one is missing.

    >>> from .stopping import Patience
    >>> check_given(Patience(2, of="f1"), Measured())
    Traceback (most recent call last):
    ValueError: the stop rule reads f1: give check(epoch, f1=...)
    """
    own = {"train_loss": now.loss, "accuracy": now.accuracy, **now.metrics}
    for name in sorted(rule.reads - ON_PROBE - {"mask"}):
        if isinstance(own.get(name, Never(name)), Never):
            wanted = "validation_accuracy" if name == "accuracy" else name
            raise ValueError(f"the stop rule reads {wanted}: give check(epoch, {wanted}=...)")
