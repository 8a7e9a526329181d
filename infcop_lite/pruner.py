"""Levels, masks, scores and stop rules around a training loop of your own."""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .amounts import first_masks, is_sparse_enough
from .asking import as_probe, check_epoch, check_given, check_held, check_trains, held_rule
from .batches import moved
from .config import Config
from .drawing import drawn_masks, mask_change
from .level import next_start
from .limits import callback, number
from .masks import Masked, Masks, apply_masks, check_masks, density, rewind
from .measured import Measured, plain, told
from .monitor import ON_PROBE, Monitor
from .placement import check_whole, inner
from .planning import check_plan
from .ranks import agreed
from .scores import cross_entropy
from .standing import Standing, read
from .stopping import Check, Rule, as_rule

#: More fields of `Config` that a pruner takes.
MORE = frozenset(
    {"amount", "p", "q", "eta", "gamma", "beta", "epsilon", "absolute", "patience", "seed"}
    | {"gradient_probe", "price", "confidence"}
)
ENDLESS = 999_999_999.0
#: Gradients are measured, and weights copied, wherever a loop calls from.
outside_inference = torch.inference_mode(False)


class Pruner:
    """Prunes a network level by level inside a training loop of your own.

    Source: Frankle & Carbin 2019, arXiv:1803.03635, with the stop rule of arXiv:2501.15592.

    Call `snapshot` after your warm-up, `step` after each step of your optimiser, and `check` after
    an epoch or at any other time. Call `next_level` when a check returns True.

    Args:
        model: any module with Conv or Linear weights, on its device; changed in place. It may have
            any loss, inputs and outputs. Of a module in a wrapper, such as DistributedDataParallel
            or torch.compile, the network inside is pruned.
        masks: what is kept at first. Unless given, pruning of an already sparse network continues
            from its exact zeros, see `masks.found`. ``masks.full_masks(model)`` starts dense.
        score, fraction, scope, dense, rewind: as in `Config`. Layers that are frozen, or tied to
            an embedding, are not pruned.
        stop: name of a rule, or a rule. Numbers that it reads and the pruner does not measure, such
            as "f1", are to be given to `check`. "budget" never stops before ``epochs``.
        levels: number of prunings, at most; no limit unless given.
        final_density: no pruning goes below this density; no limit unless given.
        epochs: budget of a level; no limit unless given. With a budget, the last level trains
            all of it, as in `prune`. Without one, the rule also ends the last level.
        **more: settings named in `MORE`, as in `Config`.

    Attributes:
        masks: parameter name -> boolean tensor, True = kept.
        level: prunings so far.
        checks: the checks of all levels, oldest first.

    Raises:
        ValueError: nothing to prune, an unknown setting, or weights that are not whole and in this
            process (FSDP, ZeRO-3, lazy or meta), in one line.

    Note:
        Under torch.distributed every rank calls `snapshot`, `check` and `next_level`. Rank 0
        measures, on its probe and with its metrics, and decides. Masks, checks, answers and states
        are the same on every rank. Processes that each prune a network of their own must not
        share a process group. Flows are measured in batches of 250 samples, which need the memory
        of one batch and of all layers' outputs for the whole probe.

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
        model = inner(model)
        check_whole(model)
        # a rule of one's own may read what no config can measure
        known = {"stop": stop if type(stop) is str else None, "levels": levels, "epochs": epochs}
        more |= {name: value for name, value in known.items() if value is not None}
        self.config = Config(**{"epochs": ENDLESS} | more)
        self.model, self.levels, self.epochs = model, levels, epochs
        check_plan(model, self.config)
        given = first_masks(model, self.config.dense, stacklevel=3) if masks is None else masks
        self.masks = self._fitting(given)
        self.level, self.checks, self._drawn = 0, list[Check](), dict[float, Masks]()
        self._snapshot: Mapping[str, Any] | None = None
        self._reference: Measured | None = None
        self._monitor: Monitor | None = None
        self._loss: Callable[[Any, Any], Tensor] | None = None
        self._hold: Masked | None = None
        self._other: tuple[nn.Module, Masked] | None = None
        if masks is not None:
            apply_masks(model, self.masks)

    def _fitting(self, masks: Masks) -> Masks:
        """Return masks in module order, each where its weight is."""
        weights = check_masks(self.model, masks)
        return {name: masks[name].to(weight.device) for name, weight in weights.items()}

    @property
    def density(self) -> float:
        """The fraction of the prunable weights that the masks keep, in [0, 1]."""
        return density(self.masks)

    def step(self, model: nn.Module | None = None) -> None:
        """Set every removed weight to zero, after each optimiser step.

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

    @outside_inference
    def snapshot(
        self,
        probe: tuple[Any, Any] | None = None,
        loss: Callable[[Any, Any], Tensor] | None = None,
        **metrics: float,
    ) -> None:
        """Keep the weights that levels are rewound to, and measure the reference flows.

        Args:
            probe: (inputs, targets) on which flows are measured, and from which scores take their
                batch. Inputs of several tensors are a dict (by name) or a tuple (one by one).
            loss: called with the model's output and the targets, returns a mean over samples;
                cross-entropy unless given.
            **metrics: numbers of the network as it is, such as ``validation_accuracy=0.9``, for
                rules that compare a level with it.

        Raises:
            ValueError: no probe, or no metric, though the rule or the score reads it.
        """
        check_whole(self.model)
        probe = None if probe is None else as_probe(probe)

        def measured() -> dict[str, Any]:
            reference = told(metrics)
            flows = held_rule(self.stop, self.config, reference).reads & ON_PROBE
            if flows and probe is None:
                raise ValueError(
                    f"the stop rule reads the {min(flows)} flow:"
                    " give snapshot(probe=(inputs, targets))"
                )
            self.masks = self._fitting(self.masks)  # the model may have been moved
            self._take_on(probe, loss)
            if self._monitor is not None:
                self._monitor.measure(flows, reference, self.masks)
            reference.seconds.clear()  # states of equal runs are equal
            self._snapshot, self._reference, self._drawn = self._weights(), reference, {}
            return self.state_dict()

        state = agreed(measured)
        if state["snapshot"] is not self._snapshot:  # that of rank 0
            self.load_state_dict(state, loss)

    @outside_inference
    def check(self, epoch: float, **metrics: float) -> bool:
        """Measure what the rule reads, remember it, and say whether the level may end.

        Args:
            epoch: epochs trained in this level, 0 before the first.
            **metrics: ``train_loss``, ``validation_accuracy``, and whatever the rule reads.

        Returns:
            True if the level may end; then call `next_level`.

        Raises:
            ValueError: no snapshot yet, epochs that go down, or a number that the rule reads and
                that was not given. Or removed weights are not zero: `step` was not called.
        """
        is_over, check, drawn = agreed(lambda: self._looked(epoch, metrics))
        self.checks.append(Check(**check))
        self._drawn = {time: self._fitting(masks) for time, masks in drawn.items()}
        return is_over

    def _looked(
        self, epoch: float, metrics: Mapping[str, Any]
    ) -> tuple[bool, dict[str, Any], dict[float, Masks]]:
        """Return the answer, the check, and the masks drawn for it; only the last are written."""
        if self._reference is None:
            raise ValueError("check comes after snapshot: there is nothing to hold a level against")
        number("epoch", epoch)
        check_held(self.model, self.masks)
        check_epoch(epoch, self.level, self.checks, self.epochs)
        rule = held_rule(self.stop, self.config, self._reference)
        now = told(metrics if epoch > 0 else {"train_loss": float("nan"), **metrics})
        check_given(rule, now)
        if "mask" in rule.reads:
            drawn = self._next_masks()
            now.mask_distance = mask_change(self._drawn, float(epoch), drawn, self.masks)
        if self._monitor is not None:
            self._monitor.measure(rule.reads & ON_PROBE, now, self.masks)
        check = now.check(self._reference, float(epoch), self.level)
        is_over = self.epochs is not None and epoch >= self.epochs
        if self.epochs is None or not self.is_last:
            here = [earlier for earlier in self.checks if earlier.level == self.level]
            is_over = rule.stop([*here, check]) or is_over
        return is_over, plain(check), dict(self._drawn)

    @outside_inference
    def next_level(self, optimizer: torch.optim.Optimizer | None = None) -> bool:
        """Prune, begin the next level, and say whether there is one.

        Args:
            optimizer: the optimiser, whose state is cleared, since a level starts with a fresh one.
                You set its learning rate and schedule.

        Returns:
            False, with nothing changed, if ``levels`` or ``final_density`` has been reached.

        Raises:
            ValueError: no snapshot yet, scores that are not finite, or something that is no
                optimiser.
        """
        if optimizer is not None:
            check_trains(optimizer, self.model)
        if self._snapshot is None:
            raise ValueError("next_level comes after snapshot: there is nothing to rewind to")
        if self.is_last:
            return False
        masks, level, snapshot = agreed(self._next_masks), self.level + 1, self._snapshot

        def begun() -> tuple[Masks, Mapping[str, Tensor]]:
            start = next_start(self.config, level, masks, snapshot, self._weights)
            return start.masks, start.weights

        # weights of the snapshot are the same on every rank, those of a function need not be
        masks, weights = agreed(begun) if callable(self.config.rewind) else begun()
        masks = self._fitting(masks)
        rewind(self.model, weights, masks)
        self.masks, self.level, self._drawn = masks, level, {}
        self._hold = self._other = None
        self.model.zero_grad(set_to_none=True)
        if optimizer is not None:
            optimizer.state.clear()
        return True

    @property
    def has_snapshot(self) -> bool:
        """Whether `snapshot` has been taken, here or in the state that was loaded."""
        return self._snapshot is not None

    @property
    def is_last(self) -> bool:
        """Whether ``levels`` or ``final_density`` is reached, so that no level follows."""
        by_count = self.levels is not None and self.level >= self.levels
        return by_count or is_sparse_enough(self.masks, self.config)

    def _next_masks(self) -> Masks:
        batch = self._monitor.probe if self._monitor else None
        loss = self._loss or cross_entropy
        return drawn_masks(self.model, self.masks, self.config, self.level, batch, loss)

    def _weights(self) -> dict[str, Any]:
        return copy.deepcopy(self.model.state_dict())

    def _take_on(self, probe: tuple[Any, Any] | None, loss: Any) -> None:
        callback("loss", loss)
        self._loss, self._monitor = loss, None
        if probe is not None:
            held, size = moved(probe, self._device()), self.config.gradient_probe
            self._monitor = Monitor(self.model, held, None, size, loss)

    def _device(self) -> torch.device:
        return next(iter(self.masks.values())).device

    # --- killed and resumed ---------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return the pruner's state for your checkpoint, which loads with weights_only.

        The state holds masks, level, snapshot, reference, checks and the probe, but neither the
        settings nor the loss. You save the network, the optimiser and the order of the data.
        """
        return Standing(
            *(self.level, self.masks, self._snapshot, self._reference, self.checks, self._drawn),
            probe=self._monitor.probe if self._monitor else None,
            own_loss=self._loss is not None,
        ).state()

    def load_state_dict(
        self, state: Mapping[str, Any], loss: Callable[[Any, Any], Tensor] | None = None
    ) -> None:
        """Resume from a state, after which all is the same, bit by bit, as without interruption.

        Args:
            state: of a pruner with the same settings, on the same network.
            loss: the loss that `snapshot` got, if the rule or the score reads it, since a state
                does not hold it.

        Raises:
            ValueError: a state of something else, in one line; nothing is changed then.
        """
        held = read(state, self._fitting, self.model.state_dict())
        self.level, self.masks, self._snapshot = held.level, held.masks, held.snapshot
        self._reference, self.checks, self._drawn = held.reference, held.checks, held.drawn
        loss = self._loss if loss is None else loss
        self._take_on(held.probe, _no_loss if loss is None and held.own_loss else loss)
        self._hold = self._other = None


def _no_loss(output: Any, targets: Any) -> Tensor:
    raise ValueError("snapshot had a loss of its own: give load_state_dict(state, loss=...)")
