"""Everything that decides a run: one frozen dataclass, which is also the command line."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field, fields
from typing import Any, get_type_hints

import numpy as np

from . import _moved
from .datasets import RECORDS
from .masks import SCOPES
from .stopping import RULES, AnyOf, Rule
from .train import OPTIMIZERS, SCHEDULES

STOPS = tuple(RULES)
READS = frozenset({"accuracy", "information", "gradient", "mask"})
REFERENCES = ("warmup", "trained")
OBJECTS = ("stop", "rewind", "augment")  # fields that also take a rule or a function of one's own
#: What `anneal`, of the first release, stands for: the schedules of the levels and of the last.
ANNEAL = {
    "never": ("constant", "constant"),
    "last": ("constant", "linear"),
    "always": ("linear", "linear"),
}


def _option(default: Any, help: str, **limits: Any) -> Any:
    """Declare a field with its help and its limits: above, least, below, choices."""
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True)
class Config:
    """Everything that decides a run; two runs with equal configs give equal rows (T5.4-T5.5).

    Source: the fields are the command line's options; ``python -m infcop_lite run --help``.

    Some fields also take an object of your own: ``stop`` a rule; ``rewind`` a function
    (level, snapshot, weights now, masks) -> `level.Start`; ``augment`` a function
    (batch, generator) -> batch, which draws from that generator alone. "none" with a level schedule
    is learning-rate rewinding (Renda et al. 2020, arXiv:2003.02389), with a linear one budgeted
    pruning (Zimmer et al. 2023, arXiv:2111.00843).

    Raises:
        ValueError: a field of the wrong type or out of its range, in one line.

    >>> Config(levels=3).fraction
    0.2
    """

    data: str = _option("digits", f"data set: {', '.join(RECORDS)}")
    model: str = _option("mlp", "network: mlp, lenet5, convnet, resnet20, vgg16 or resnet18")
    subset: int | None = _option(None, "use this many training images instead of all", above=0)
    amount: str = _option("fixed", "how much a level prunes", choices=("fixed", "sap"))
    fraction: float = _option(
        0.2, "fixed amount: pruning fraction of what remains", above=0, below=1
    )
    p: float = _option(0.5, "SAP: smaller norm order", above=0)
    q: float = _option(1.0, "SAP: larger norm order", above=0)
    eta: float = _option(0.0, "SAP: tolerated ratio of removed to kept mass", least=0)
    gamma: float = _option(1.0, "SAP: scales the fraction", above=0)
    beta: float = _option(0.9, "SAP: the largest fraction allowed", above=0, below=1)
    scope: str = _option("layerwise", "where weights are ranked", choices=SCOPES)
    stop: str | Rule = _option(  # noqa: RUF009
        "budget", f"stop rule of a level: {', '.join(STOPS)}; join several with + for any of them"
    )
    epsilon: float = _option(
        0.25,
        "tolerance of the rule: of the flow in units of the reference flow's norm, of the gradient"
        " norm, or of the fraction of weights that change their fate in the next mask",
        above=0,
    )
    absolute: bool = _option(False, "take epsilon as an absolute flow distance, as published")
    patience: int = _option(2, "patience and mask: checks in a row", above=0)
    reference: str = _option(
        "warmup",
        "whose flow, accuracy and loss to compare with: the warm-up snapshot or the trained dense"
        " net",
        choices=REFERENCES,
    )
    levels: int = _option(10, "number of prunings, at most", least=0)
    final_density: float | None = _option(
        None,
        "no pruning goes below this density, and the level that is there is the last",
        above=0,
        below=1,
    )
    epochs: float = _option(
        8.0, "training budget of a level in epochs; 0 is one-shot", least=0, below=1e9
    )
    warmup_epochs: float = _option(
        2.0, "epochs before the snapshot that is rewound to", least=0, below=1e9
    )
    final_epochs: float | None = _option(
        None, "epochs at the final density; as many as --epochs unless given", least=0, below=1e9
    )
    dense_epochs: float = _option(
        0.0,
        "epochs of dense training that follow the warm-up under its schedule, in place of level 0;"
        " the snapshot is taken between",
        least=0,
        below=1e9,
    )
    rewind: str | Callable[..., Any] = _option(  # noqa: RUF009
        "weights",
        "what a pruned level begins with: the snapshot's weights, or none, those it has",
        choices=("weights", "none"),
    )
    schedule: str = _option(
        "constant",
        "learning rate of the warm-up and the dense training, over both",
        choices=SCHEDULES,
    )
    level_schedule: str = _option(
        "constant",
        "learning rate of a level, over the epochs that its rule fixes beforehand, else the budget",
        choices=SCHEDULES,
    )
    last_schedule: str = _option(
        "constant", "learning rate of the last level, over its budget", choices=SCHEDULES
    )
    check_steps: int | None = _option(
        None, "check every so many steps; once an epoch unless given", above=0
    )
    spacing: str = _option(
        "even",
        "checks come evenly, or after 1, 2, 3, 4, 6, 8, 12, ... times check_steps: two for each"
        " doubling of the training, and masks are compared with those of half of it",
        choices=("even", "doubling"),
    )
    probe_size: int = _option(2000, "training images on which flows are measured", above=1)
    monitor: bool = _option(True, "record the flow distance even if the rule does not read it")
    optimizer: str = _option("sgd", "optimiser", choices=OPTIMIZERS)
    batch_size: int = _option(128, "images per step", above=0)
    lr: float = _option(0.05, "learning rate, the largest of its schedule", above=0)
    level_lr: float | None = _option(
        None,
        "learning rate of the levels, the largest of their schedule; as --lr unless given",
        above=0,
    )
    momentum: float = _option(0.9, "momentum of sgd", least=0, below=1)
    weight_decay: float = _option(5e-4, "L2 penalty", least=0)
    label_smoothing: float = _option(
        0.0, "fraction of each target that is spread over all classes", least=0, below=1
    )
    augment: str | Callable[..., Any] = _option(  # noqa: RUF009
        "none",
        "what is done to every training batch anew: none, or flips and shifts of two pixels",
        choices=("none", "flip-shift"),
    )
    seed: int = _option(0, "decides splits, initial weights and data order", least=0, below=2**63)
    threads: int | None = _option(
        None, "CPU threads; torch's choice unless given", above=0, below=1025
    )
    device: str = _option("auto", "where to compute", choices=("auto", "cpu", "cuda"))
    anneal: InitVar[str | None] = None  # of the first release

    def __post_init__(self, anneal: str | None) -> None:
        hints = get_type_hints(type(self))
        if anneal is not None:
            for name, value in _from_anneal(anneal).items():
                object.__setattr__(self, name, value)
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.generic):  # a number out of a table: kept as Python's own
                object.__setattr__(self, f.name, value.item())
            _check_option(f.name, getattr(self, f.name), hints[f.name], f.metadata)
        if not self.p < self.q:
            raise ValueError(f"p must be smaller than q, not p={self.p}, q={self.q}")
        stop_rule(self, target=1.0)

    @property
    def last_epochs(self) -> float:
        """Epochs at the final density."""
        return self.epochs if self.final_epochs is None else self.final_epochs


def _from_anneal(anneal: str) -> dict[str, str]:
    if anneal not in ANNEAL:
        raise ValueError(f"unknown anneal {anneal!r}; choose from {', '.join(ANNEAL)}")
    found = dict(zip(("level_schedule", "last_schedule"), ANNEAL[anneal], strict=True))
    instead = ", ".join(f"{name}={value!r}" for name, value in found.items())
    message = f"anneal={anneal!r} is now {instead}; the old name goes with the next release"
    warnings.warn(message, DeprecationWarning, stacklevel=4)
    return found


def _check_option(name: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> None:
    kinds = getattr(hint, "__args__", (hint,))
    allowed = (*kinds, int) if float in kinds else kinds
    if type(value) is int and abs(value) >= 2**63:
        raise ValueError(f"{name} must fit in 64 bits")
    if name in OBJECTS and callable(value) and name != "stop":
        if isinstance(value, type):
            raise ValueError(f"{name} must be a name or a function, not the class {value.__name__}")
        return
    if name != "stop" and (
        type(value) not in allowed or (isinstance(value, float) and not math.isfinite(value))
    ):
        wanted = " or ".join(
            getattr(k, "__name__", "function") for k in kinds if k is not type(None)
        )
        raise ValueError(f"{name} must be a finite {wanted}, not {value!r}")
    if value is None:
        return
    if "choices" in limits and value not in limits["choices"]:
        raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(limits['choices'])}")
    if "above" in limits and not value > limits["above"]:
        raise ValueError(f"{name} must be greater than {limits['above']}, not {value}")
    if "least" in limits and not value >= limits["least"]:
        raise ValueError(f"{name} must be at least {limits['least']}, not {value}")
    if "below" in limits and not value < limits["below"]:
        raise ValueError(f"{name} must be less than {limits['below']}, not {value}")


def stop_rule(config: Config, target: float, loss: float = 0.0) -> Rule:
    """Return the stop rule that a config names.

    Source: design of the command line; names joined with "+" make `AnyOf`.

    Args:
        config: its ``stop`` is a name, or already a rule, which is returned as it is.
        target: validation accuracy of the reference network, for "accuracy".
        loss: training loss of the reference network, for "loss" and "twice-loss".

    Raises:
        ValueError: an unknown name.

    >>> stop_rule(Config(stop="information+accuracy"), target=0.9).rules[1]
    ReachAccuracy(target=0.9)
    """
    if not isinstance(config.stop, str):
        reads: Any = getattr(config.stop, "reads", None)
        is_rule = isinstance(reads, frozenset) and callable(getattr(config.stop, "stop", None))
        if isinstance(config.stop, type) or not is_rule:
            raise ValueError(f"stop must be a name or a rule, not {config.stop!r}")
        if unknown := sorted(map(str, reads - READS)):
            raise ValueError(f"the stop rule reads {', '.join(unknown)}, which is not measured")
        return config.stop
    names = config.stop.split("+")
    for name in names:
        if name not in RULES:
            raise ValueError(f"unknown stop rule {name!r}; choose from {', '.join(RULES)}")
    rules = [RULES[name](config, target, loss) for name in names]
    return rules[0] if len(rules) == 1 else AnyOf(*rules)


__getattr__ = _moved.lookup("config", _moved.NAMES["config"])
