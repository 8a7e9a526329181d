"""The method around a training loop of your own: the same masks, scores, rules and starts."""

import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from .amounts import is_sparse_enough, spared
from .batches import moved
from .config import Config
from .drawing import drawn_masks, mask_change
from .flows import FLOWS
from .level import next_start
from .masks import Masked, Masks, apply_masks, check_masks, density, found, rewind
from .monitor import Measured, Monitor, plain, told
from .never import Never
from .planning import check_plan
from .scores import cross_entropy
from .stopping import Check, Rule, as_rule, stop_rule

#: More fields of `Config` that a pruner takes.
MORE = frozenset(
    {"amount", "p", "q", "eta", "gamma", "beta", "epsilon", "absolute", "patience", "seed"}
    | {"gradient_probe"}
)
#: What `Pruner.snapshot` must be told for rules that hold a level against it, by their names.
HELD = {"accuracy": "validation_accuracy", "loss": "train_loss", "twice-loss": "train_loss"}
STATE = {"level", "masks", "snapshot", "reference", "checks", "drawn", "probe", "own_loss"}
ENDLESS = 999_999_999.0


class Pruner:
    """Prunes a network level by level inside a training loop of your own.

    Source: Frankle & Carbin 2019, arXiv:1803.03635, with the stop rule of arXiv:2501.15592. Call
    `snapshot` after your warm-up, `step` after each step of your optimiser, `check` after an epoch
    or whenever you like, and `next_level` when a check says so.

    Args:
        model: any module with Conv or Linear weights, on its device; changed in place. Its loss,
            its inputs and its outputs are nobody's business but yours.
        masks: what is kept at first. Unless given, an already sparse network goes on from its exact
            zeros, see `masks.found`; ``masks.full_masks(model)`` starts dense whatever it holds.
        score, fraction, scope, dense, rewind: as in `Config`. Layers that are frozen, or tied to
            an embedding, are spared.
        stop: name of a rule, or a rule; what it reads that is no measurement of ours, such as
            "f1", has to be given to `check`. "budget" never stops before ``epochs``.
        levels: number of prunings, at most; you decide unless given.
        final_density: no pruning goes below; likewise.
        epochs: budget of a level, likewise. With a budget, the last level trains it whole, as in
            `prune`; without one the rule ends the last level, too.
        **more: of `MORE`, as in `Config`.

    Attributes:
        masks: parameter name -> boolean tensor, True = kept.
        level: prunings so far.
        checks: of all levels, oldest first.

    Raises:
        ValueError: nothing to prune, or a setting that is none, in one line.

    >>> x, net = torch.randn(32, 4), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> pruner = Pruner(net, fraction=0.5, levels=2, epochs=1)
    >>> sgd = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    >>> pruner.snapshot(probe=(x, x[:, :1]), loss=nn.functional.mse_loss)
    >>> while True:
    ...     for epoch in (1, 2, 3):
    ...         sgd.zero_grad(); nn.functional.mse_loss(net(x), x[:, :1]).backward()
    ...         sgd.step(); pruner.step()
    ...         if pruner.check(epoch): break
    ...     if not pruner.next_level(sgd): break
    >>> pruner.level, pruner.density, int((net[0].weight != 0).sum())
    (2, 0.25, 8)
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        masks: Masks | None = None,
        score: str | Callable[..., Any] = "magnitude",
        fraction: float | Mapping[str, float] = 0.2,
        scope: str = "layerwise",
        dense: Any = (),
        stop: str | Rule = "budget",
        rewind: str | Callable[..., Any] = "weights",
        levels: int | None = None,
        final_density: float | None = None,
        epochs: float | None = None,
        **more: Any,
    ) -> None:
        if unknown := sorted(more.keys() - MORE):
            raise ValueError(
                f"unknown setting {unknown[0]!r}; there are also {', '.join(sorted(MORE))}"
            )
        self.stop = stop if isinstance(stop, str) else as_rule(stop)
        more |= {"score": score, "fraction": fraction, "scope": scope, "dense": dense}
        more |= {"rewind": rewind, "final_density": final_density, "model": type(model).__name__}
        # a rule of one's own may read what no config can measure
        known = {"stop": stop if type(stop) is str else None, "levels": levels, "epochs": epochs}
        more |= {name: value for name, value in known.items() if value is not None}
        self.config = Config(**{"epochs": ENDLESS} | more)
        self.model, self.levels, self.epochs = model, levels, epochs
        check_plan(model, self.config)
        self.masks = self._fitting(found(model) if masks is None else masks)
        self.level, self.checks, self._drawn = 0, list[Check](), dict[float, Masks]()
        self._snapshot: Mapping[str, Any] | None = None
        self._reference: Measured | None = None
        self._monitor: Monitor | None = None
        self._loss: Callable[[Any, Any], Tensor] | None = None
        self._hold: Masked | None = None
        self._other: tuple[nn.Module, Masked] | None = None
        if masks is not None:
            apply_masks(model, self.masks)
            return
        for name, why in spared(model, self.config.dense).items():
            self.masks[name] = self.masks[name] | (why == "dense")
        if self.density < 1:
            warnings.warn(
                f"the network came in sparse, density {self.density:.4f}: pruning goes on from its"
                " zeros; give masks=masks.full_masks(model) to start dense",
                stacklevel=2,
            )

    def _fitting(self, masks: Masks) -> Masks:
        """Return masks in module order, each where its weight is."""
        weights = check_masks(self.model, masks)
        return {name: masks[name].to(weight.device) for name, weight in weights.items()}

    @property
    def density(self) -> float:
        """The fraction of prunable weights that is kept, in [0, 1]."""
        return density(self.masks)

    def step(self, model: nn.Module | None = None) -> None:
        """Set every removed weight to zero: one prepared multiply, after each optimiser step.

        Args:
            model: another network of the same layers, such as a moving average of the weights; also
                one in a wrapper that holds it as ``module``. The pruned one unless given.

        Raises:
            ValueError: a network of other layers.
        """
        if model is None or model is self.model:
            self._hold = self._hold or Masked(self.model, self.masks)
            self._hold()
            return
        if self._other is None or self._other[0] is not model:
            inner = getattr(model, "module", model)  # in a wrapper
            self._other = model, Masked(inner, self.masks)
        self._other[1]()

    # --- a level --------------------------------------------------------------------------------

    def snapshot(
        self,
        probe: tuple[Any, Any] | None = None,
        loss: Callable[[Any, Any], Tensor] | None = None,
        **metrics: float,
    ) -> None:
        """Take the weights that levels are rewound to, and the flows that they are held against.

        Args:
            probe: (inputs, targets) on which flows are measured and scores read their batch. Inputs
                of several tensors are a dict (by name) or a tuple (one by one).
            loss: called with the model's output and the targets, returns a mean over samples;
                cross-entropy unless given.
            **metrics: of the network as it is, such as ``validation_accuracy=0.9``, for rules
                that hold a level against it.

        Raises:
            ValueError: no probe, or no metric, though the rule or the score reads it.
        """
        reference = told(metrics)
        flows = self._rule(reference).reads & set(FLOWS)
        if flows and probe is None:
            raise ValueError(
                f"the stop rule reads the {min(flows)} flow: give snapshot(probe=(inputs, targets))"
            )
        self.masks = self._fitting(self.masks)  # the model may have been moved
        self._take_on(probe, loss)
        if self._monitor is not None:
            self._monitor.measure(flows, reference, self.masks)
        reference.seconds.clear()  # states of equal runs are equal
        self._snapshot, self._reference, self._drawn = self._weights(), reference, {}

    def check(self, epoch: float, **metrics: float) -> bool:
        """Measure what the rule reads, remember it, and say whether the level may end.

        Args:
            epoch: epochs trained in this level, 0 before the first.
            **metrics: ``train_loss``, ``validation_accuracy``, and whatever the rule reads.

        Raises:
            ValueError: no snapshot yet, or a rule that reads what was not given.
        """
        if self._reference is None:
            raise ValueError("check comes after snapshot: there is nothing to hold a level against")
        rule = self._rule(self._reference)
        now = told(metrics if epoch > 0 else {"train_loss": float("nan"), **metrics})
        own = {"train_loss": now.loss, "accuracy": now.accuracy, **now.metrics}
        for name in sorted(rule.reads - {"mask", *FLOWS}):
            if isinstance(own.get(name, Never(name)), Never):
                wanted = "validation_accuracy" if name == "accuracy" else name
                raise ValueError(f"the stop rule reads {wanted}: give check(epoch, {wanted}=...)")
        if "mask" in rule.reads:
            drawn = self._next_masks()
            now.mask_distance = mask_change(self._drawn, float(epoch), drawn, self.masks)
        if self._monitor is not None:
            self._monitor.measure(rule.reads & set(FLOWS), now, self.masks)
        check = now.check(self._reference, float(epoch), self.level)
        is_over = self.epochs is not None and epoch >= self.epochs
        if self.epochs is None or not self._is_last():
            here = [earlier for earlier in self.checks if earlier.level == self.level]
            is_over = rule.stop([*here, check]) or is_over
        self.checks.append(check)
        return is_over

    def next_level(self, optimizer: torch.optim.Optimizer | None = None) -> bool:
        """Prune, begin the next level, and say whether there is one.

        Args:
            optimizer: its state is cleared, as a level starts a fresh one; its learning rate and
                schedule are yours.

        Returns:
            False, with nothing changed, where ``levels`` or ``final_density`` has been reached.

        Raises:
            ValueError: no snapshot yet, or scores that are not finite.
        """
        if self._snapshot is None:
            raise ValueError("next_level comes after snapshot: there is nothing to rewind to")
        if self._is_last():
            return False
        masks, level = self._next_masks(), self.level + 1
        start = next_start(self.config, level, masks, self._snapshot, self._weights)
        masks = self._fitting(start.masks)
        rewind(self.model, start.weights, masks)
        self.masks, self.level, self._drawn = masks, level, {}
        self._hold = self._other = None
        self.model.zero_grad(set_to_none=True)
        if optimizer is not None:
            optimizer.state.clear()
        return True

    def _is_last(self) -> bool:
        by_count = self.levels is not None and self.level >= self.levels
        return by_count or is_sparse_enough(self.masks, self.config)

    def _rule(self, reference: Measured) -> Rule:
        """Return the rule, held against what was measured of the network of the snapshot."""
        if not isinstance(self.stop, str):
            return self.stop
        known = {"validation_accuracy": reference.accuracy, "train_loss": reference.loss}
        for name in self.stop.split("+"):
            wanted = HELD.get(name, "")
            if isinstance(known.get(wanted), Never):
                raise ValueError(f"the stop rule {name} needs snapshot({wanted}=...)")
        return stop_rule(self.config, reference.accuracy, reference.loss)

    def _next_masks(self) -> Masks:
        batch = self._monitor.probe if self._monitor else None
        loss = self._loss or cross_entropy
        return drawn_masks(self.model, self.masks, self.config, self.level, batch, loss)

    def _weights(self) -> dict[str, Any]:
        return copy.deepcopy(self.model.state_dict())

    def _take_on(self, probe: tuple[Any, Any] | None, loss: Any) -> None:
        self._loss, self._monitor = loss, None
        if probe is not None:
            held, size = moved(probe, self._device()), self.config.gradient_probe
            self._monitor = Monitor(self.model, held, None, size, loss)

    def _device(self) -> torch.device:
        return next(iter(self.masks.values())).device

    # --- killed and resumed ---------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return where it stands, for your checkpoint; ``torch.load`` reads it with weights_only.

        Masks, level, snapshot, reference, checks and the probe; neither the settings nor the
        loss. The network, the optimiser and the order of the data are yours to keep.
        """
        return {
            "level": self.level,
            "masks": dict(self.masks),
            "snapshot": self._snapshot,
            "reference": self._reference and plain(self._reference),
            "checks": [plain(check) for check in self.checks],
            "drawn": dict(self._drawn),
            "probe": self._monitor and self._monitor.probe,
            "own_loss": self._loss is not None,
        }

    def load_state_dict(
        self, state: Mapping[str, Any], loss: Callable[[Any, Any], Tensor] | None = None
    ) -> None:
        """Go on from a state; what follows is the same, bit by bit, as if never interrupted.

        Args:
            state: of a pruner with the same settings, on the same network.
            loss: what `snapshot` was given, if the rule or the score reads it: no file holds it.

        Raises:
            ValueError: a state of something else, in one line; nothing has been changed then.
        """
        if not isinstance(state, Mapping) or set(state) != STATE:
            raise ValueError("this is no state of a Pruner: give what state_dict() returned")
        masks, snapshot, held = self._fitting(state["masks"]), state["snapshot"], state["reference"]
        if snapshot is not None and _shapes(snapshot) != _shapes(self.model.state_dict()):
            raise ValueError("the state holds the snapshot of another network")
        self.level, self.masks, self._snapshot = state["level"], masks, snapshot
        loss = loss or self._loss
        self._take_on(state["probe"], _no_loss if loss is None and state["own_loss"] else loss)
        self._hold = self._other = None
        flows = {"flows": moved(held["flows"], self._device())} if held else {}
        self._reference = replace(told({}), **held | flows) if held else None
        self.checks = [Check(**check) for check in state["checks"]]
        self._drawn = {time: self._fitting(drawn) for time, drawn in state["drawn"].items()}


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "shape", None) for name, value in state.items()}


def _no_loss(output: Any, targets: Any) -> Tensor:
    raise ValueError("snapshot had a loss of its own: give load_state_dict(state, loss=...)")
