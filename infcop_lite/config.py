"""Everything that decides a run: one frozen dataclass, which is also the command line."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

import numpy as np

from .masks import SCOPES
from .stopping import (
    AnyOf,
    FixedEpochs,
    FlowConsistency,
    MaskStability,
    Patience,
    ReachAccuracy,
    ReachLoss,
    Rule,
    SmallGradient,
)
from .train import OPTIMIZERS

STOPS = tuple(
    "budget accuracy information gradient small-gradient mask patience twice-loss loss".split()
)
READS = frozenset({"accuracy", "information", "gradient", "mask"})


def _option(default: Any, help: str, **limits: Any) -> Any:
    """Declare a field with its help and its limits: above, least, below, choices."""
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True)
class Config:
    """Everything that decides a run; two runs with equal configs give equal rows (T5.4-T5.5).

    Source: the fields are the command line's options; ``python -m infcop_lite run --help``.

    Raises:
        ValueError: a field of the wrong type or out of its range, in one line.

    >>> Config(levels=3).fraction
    0.2
    """

    data: str = _option("digits", "data set: digits, mnist, fashion-mnist or cifar10")
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
        choices=("warmup", "trained"),
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
    anneal: str = _option(
        "never",
        "lower lr to zero, linearly, over the budget of the last level or of all",
        choices=("never", "last", "always"),
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
    lr: float = _option(0.05, "learning rate", above=0)
    momentum: float = _option(0.9, "momentum of sgd", least=0, below=1)
    weight_decay: float = _option(5e-4, "L2 penalty", least=0)
    seed: int = _option(0, "decides splits, initial weights and data order", least=0, below=2**63)
    threads: int | None = _option(
        None, "CPU threads; torch's choice unless given", above=0, below=1025
    )
    device: str = _option("auto", "where to compute", choices=("auto", "cpu", "cuda"))

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
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


def _check_option(name: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> None:
    kinds = getattr(hint, "__args__", (hint,))
    allowed = (*kinds, int) if float in kinds else kinds
    if type(value) is int and abs(value) >= 2**63:
        raise ValueError(f"{name} must fit in 64 bits")
    if name != "stop" and (
        type(value) not in allowed or (isinstance(value, float) and not math.isfinite(value))
    ):
        wanted = " or ".join(k.__name__ for k in kinds if k is not type(None))
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
    relative = not config.absolute
    rules: dict[str, Rule] = {
        "budget": FixedEpochs(config.epochs),
        "accuracy": ReachAccuracy(target),
        "loss": ReachLoss(loss),
        "twice-loss": ReachLoss(loss, times=2),
        "information": FlowConsistency("information", config.epsilon, relative),
        "gradient": FlowConsistency("gradient", config.epsilon, relative),
        "small-gradient": SmallGradient(config.epsilon),
        "mask": MaskStability(config.epsilon, config.patience),
        "patience": Patience(config.patience),
    }
    names = config.stop.split("+")
    for name in names:
        if name not in rules:
            raise ValueError(f"unknown stop rule {name!r}; choose from {', '.join(STOPS)}")
    return rules[names[0]] if len(names) == 1 else AnyOf(*(rules[name] for name in names))


def grid(options: Mapping[str, Any], axes: Sequence[str]) -> dict[str, Config]:
    """Return a config for each point of a grid, named after the point.

    Source: the command line's ``--grid``.

    Args:
        options: fields of `Config` that all points share.
        axes: each ``field=value,value,...``; the grid is their product.

    Raises:
        ValueError: an unknown field, a value that is not of its type or range, or one given twice.

    >>> [(name, config.seed) for name, config in grid({"levels": 3}, ["seed=0,1"]).items()]
    [('seed=0', 0), ('seed=1', 1)]
    """
    hints = get_type_hints(Config)
    values: dict[str, list[Any]] = {}
    for axis in axes:
        name, equals, text = axis.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or name not in hints:
            known = ", ".join(f.name for f in fields(Config))
            raise ValueError(
                f"a grid is field=value,value,... with a field of {known}; not {axis!r}"
            )
        if name in values:
            raise ValueError(f"two grids for {name}; give all its values in one")
        if options.get(name, getattr(Config, name)) != getattr(Config, name):
            raise ValueError(f"{name} is given both as an option and in the grid {axis!r}")
        values[name] = [_parse(name, word.strip(), hints[name]) for word in text.split(",")]
        if len(set(values[name])) < len(values[name]):
            raise ValueError(f"a value is given twice in the grid {axis!r}")
    points = [
        dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())
    ]
    return {
        ",".join(f"{k}={v}" for k, v in point.items()): Config(**{**options, **point})
        for point in points
    }


def _parse(name: str, word: str, hint: Any) -> Any:
    kinds = getattr(hint, "__args__", (hint,))
    words: dict[str, Any] = {"true": True, "false": False} if bool in kinds else {}
    if type(None) in kinds:
        words["none"] = None
    if word.lower() in words:
        return words[word.lower()]
    try:
        return next(kind for kind in kinds if kind in (int, float, str))(word)
    except (ValueError, StopIteration):
        raise ValueError(f"{word!r} is no value for {name}") from None
