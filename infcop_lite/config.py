"""Everything that decides a run: one frozen dataclass, which is also the command line."""

from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, fields
from typing import Any, get_type_hints

import numpy as np

from . import _moved
from .compute import DEVICE
from .datasets import SOURCES
from .limits import check, option, patterns
from .masks import SCOPES
from .models import NETWORKS
from .own import OBJECTS, check_function, check_void
from .scores import SCORES
from .stopping import RULES, Rule, stop_rule, warn_of_dead
from .train import AUTOCAST, OPTIMIZERS, SCHEDULES

STOPS = tuple(RULES)
REFERENCES = ("warmup", "trained")


@dataclass(frozen=True)
class Config:
    """Everything that decides a run; two runs with equal configs give equal rows (T5.4-T5.5).

    Source: the fields are the command line's options; ``python -m infcop_lite run --help``.

    Some fields also take an object of your own. ``stop`` takes a rule. ``score`` takes a function
    (model, masks, batch, loss) -> name -> tensor like the weight. ``rewind`` takes a function
    (level, snapshot, weights now, masks) -> `level.Start`. ``augment`` takes a function (batch,
    generator) -> batch, which draws from that generator alone. ``fraction`` may be a mapping from
    layers, or patterns of their names, to a fraction each; what it does not name stays dense.

    Your own training is four functions. ``loss`` (output, targets) -> a mean over samples takes any
    output and any targets; gradient profiles and Taylor scores read it, too. ``optimizer`` (model)
    -> Optimizer is called anew for every level, and lr, momentum and weight decay are then its own.
    ``scheduler`` (optimizer, num_steps) -> LRScheduler steps after each optimiser step; its
    num_steps are those of the level. ``evaluate`` (model, in eval mode and without gradients) ->
    name -> number is called where levels end, and at the checks of rules that read one of its
    names, such as ``Patience(2, of="f1")``. What it calls "accuracy" takes the place of the
    validation accuracy. It is called once before the run, to know its names.

    ``gradient_probe`` trades precision for seconds: the error of a distance falls like
    1 / sqrt(images), as T2.6 says of the other flow. Of the mlp on MNIST it is 0.15 reference norms
    with 500 images and 0.08 with 2000, at 0.8 and 3.1 % of an epoch a check
    (``benchmarks/precision.md``). A small tolerance of the gradient needs more images.

    ``rewind="none"`` with a level schedule is learning-rate rewinding (Renda et al. 2020,
    arXiv:2003.02389), with a linear one budgeted pruning (Zimmer et al. 2023, arXiv:2111.00843).

    Raises:
        ValueError: a field of the wrong type or out of its range, in one line.

    >>> Config(levels=3).fraction
    0.2
    """

    data: str = option("digits", f"data set: {', '.join(SOURCES)}")
    model: str = option("mlp", f"network: {', '.join(NETWORKS)}")
    subset: int | None = option(None, "use this many training images instead of all", above=0)
    score: str | Callable[..., Any] = option(  # noqa: RUF009
        "magnitude", "what weights are ranked by", choices=tuple(SCORES)
    )
    dense: tuple[str, ...] = option(
        (), "layers that are not pruned: names, or patterns with *, joined by commas"
    )
    amount: str = option("fixed", "how much a level prunes", choices=("fixed", "sap"))
    fraction: float | Mapping[str, float] = option(
        0.2, "fixed amount: pruning fraction of what remains", above=0, below=1
    )
    p: float = option(0.5, "SAP: smaller norm order", above=0)
    q: float = option(1.0, "SAP: larger norm order", above=0)
    eta: float = option(0.0, "SAP: tolerated ratio of removed to kept mass", least=0)
    gamma: float = option(1.0, "SAP: scales the fraction", above=0)
    beta: float = option(0.9, "SAP: the largest fraction allowed", above=0, below=1)
    scope: str = option("layerwise", "where weights are ranked", choices=SCOPES)
    stop: str | Rule = option(  # noqa: RUF009
        "budget", f"stop rule of a level: {', '.join(STOPS)}; join several with + for any of them"
    )
    epsilon: float = option(
        0.25,
        "tolerance of the rule: of the flow in units of the reference flow's norm, of the gradient"
        " norm, or of the fraction of weights that change their fate in the next mask",
        above=0,
    )
    price: float = option(
        0.1, "price and break-even: what an epoch costs, in nats of the training loss", above=0
    )
    confidence: float | None = option(
        None,
        "information: how sure it must be that the distance is below epsilon; unless given, by no"
        " more than the reading says",
        above=0.5,
        below=1,
    )
    absolute: bool = option(False, "take epsilon as an absolute flow distance, as published")
    patience: int = option(2, "patience and mask: checks in a row", above=0)
    reference: str = option(
        "warmup",
        "whose flow, accuracy and loss to compare with: the warm-up snapshot or the trained dense"
        " net",
        choices=REFERENCES,
    )
    levels: int = option(10, "number of prunings, at most", least=0)
    final_density: float | None = option(
        None,
        "no pruning goes below this density, and the level that is there is the last",
        above=0,
        below=1,
    )
    epochs: float = option(
        8.0, "training budget of a level in epochs; 0 is one-shot", least=0, below=1e9
    )
    warmup_epochs: float = option(
        2.0, "epochs before the snapshot that is rewound to", least=0, below=1e9
    )
    final_epochs: float | None = option(
        None, "epochs at the final density; as many as --epochs unless given", least=0, below=1e9
    )
    dense_epochs: float = option(
        0.0,
        "epochs of dense training that follow the warm-up under its schedule, in place of level 0;"
        " the snapshot is taken between",
        least=0,
        below=1e9,
    )
    rewind: str | Callable[..., Any] = option(  # noqa: RUF009
        "weights",
        "what a pruned level begins with: the snapshot's weights, or none, those it has",
        choices=("weights", "none"),
    )
    schedule: str = option(
        "constant",
        "learning rate of the warm-up and the dense training, over both",
        choices=SCHEDULES,
    )
    level_schedule: str = option(
        "constant",
        "learning rate of a level, over the epochs that its rule fixes beforehand, else the budget",
        choices=SCHEDULES,
    )
    last_schedule: str = option(
        "constant", "learning rate of the last level, over its budget", choices=SCHEDULES
    )
    check_steps: int | None = option(
        None, "check every so many steps; once an epoch unless given", above=0
    )
    spacing: str = option(
        "even",
        "checks come evenly, or after 1, 2, 3, 4, 6, 8, 12, ... times check_steps: two for each"
        " doubling of the training, and masks are compared with those of half of it",
        choices=("even", "doubling"),
    )
    probe_size: int = option(2000, "training images on which flows are measured", above=1)
    gradient_probe: int = option(
        500, "the first so many of them, at most, for the gradient profile", above=0
    )
    fresh_probe: bool = option(
        False, "measure each check on a new probe, and the snapshot's flows on the same one"
    )
    monitor: bool = option(
        False, "record the distance of the information flow though the rule reads no flow"
    )
    loss: Callable[..., Any] | None = option(  # noqa: RUF009
        None, "(output, targets) -> mean; cross-entropy"
    )
    evaluate: Callable[..., Any] | None = option(  # noqa: RUF009
        None, "(model) -> name -> number"
    )
    optimizer: str | Callable[..., Any] = option(  # noqa: RUF009
        "sgd", "optimiser", choices=OPTIMIZERS
    )
    scheduler: Callable[..., Any] | None = option(  # noqa: RUF009
        None, "(optimizer, num_steps) -> LRScheduler"
    )
    batch_size: int = option(128, "images per step", above=0)
    lr: float = option(0.05, "learning rate, the largest of its schedule", above=0)
    level_lr: float | None = option(
        None,
        "learning rate of the levels, the largest of their schedule; as --lr unless given",
        above=0,
    )
    momentum: float = option(0.9, "momentum of sgd", least=0, below=1)
    weight_decay: float = option(5e-4, "L2 penalty", least=0)
    label_smoothing: float = option(
        0.0, "fraction of each target that is spread over all classes", least=0, below=1
    )
    augment: str | Callable[..., Any] = option(  # noqa: RUF009
        "none",
        "what is done to every training batch anew: none, or flips and shifts of two pixels",
        choices=("none", "flip-shift"),
    )
    autocast: str = option(
        "none",
        "mixed precision: what layers multiply in while they train, as torch.autocast chooses;"
        " whatever is measured is measured in full precision",
        choices=tuple(AUTOCAST),
    )
    seed: int = option(0, "decides splits, initial weights and data order", least=0, below=2**63)
    threads: int | None = option(
        None, "CPU threads; torch's choice unless given", above=0, below=1025
    )
    device: str = option("auto", "where to compute", **DEVICE)
    anneal: InitVar[str | None] = None  # of the first release

    def __post_init__(self, anneal: str | None) -> None:
        hints = get_type_hints(type(self))
        if anneal is not None:
            for name, value in _moved.from_anneal(anneal).items():
                object.__setattr__(self, name, value)
        object.__setattr__(self, "dense", patterns(self.dense))
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.generic):  # a number out of a table: kept as Python's own
                object.__setattr__(self, f.name, value.item())
            self._check(f.name, getattr(self, f.name), hints[f.name], f.metadata)
        if not self.p < self.q:
            raise ValueError(f"p must be smaller than q, not p={self.p}, q={self.q}")
        settings = {f.name: getattr(self, f.name) for f in fields(self)}
        check_void(settings, {f.name: f.default for f in fields(self)})
        warn_of_dead(stop_rule(self, target=1.0), stacklevel=3)
        if self.fresh_probe and self.reference != "warmup":
            raise ValueError("fresh_probe measures the snapshot anew: it needs reference='warmup'")

    def _check(self, name: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> None:
        if name in ("stop", "dense"):
            return  # `stop_rule` and `patterns` look at them
        if name in OBJECTS:
            check_function(name, value, limits.get("choices", ()))
            return
        if name == "fraction" and isinstance(value, Mapping):
            if not value:
                raise ValueError("fraction must be a number, or name at least one layer")
            for layer, each in value.items():
                check(f"{name} of {layer}", each, float, limits)
            return
        check(name, value, hint, limits)

    @property
    def last_epochs(self) -> float:
        """Epochs at the final density."""
        return self.epochs if self.final_epochs is None else self.final_epochs


__getattr__ = _moved.lookup("config", _moved.NAMES["config"])
