"""The method around a training loop of your own: the same masks, scores, rules and starts."""

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

    Source: Frankle & Carbin 2019, arXiv:1803.03635, with the stop rule of arXiv:2501.15592. Call
    `snapshot` after your warm-up, `step` after each step of your optimiser, `check` after an epoch
    or whenever you like, and `next_level` when a check says so.

    Args:
        model: any module with Conv or Linear weights, on its device; changed in place. Its loss,
            its inputs and its outputs are nobody's business but yours. Wrapped, as by
            DistributedDataParallel or torch.compile, the network inside is pruned.
        masks: what is kept at first. Unless given, an already sparse network starts from its exact
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
        ValueError: nothing to prune, weights that are not whole and here (FSDP, ZeRO-3, lazy or
            meta), or a setting that is none, in one line.

    Note:
        Under torch.distributed every rank calls `snapshot`, `check` and `next_level`. Rank 0
        measures, on its probe and with its metrics, and decides; masks, checks, answers and states
        are the same on every rank. Processes that each prune a network of their own must not
        share a process group. Flows are measured in batches of 250 samples: memory is that of one,
        and of what the layers put out for the whole probe.

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

    @outside_inference
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

        Raises:
            ValueError: no snapshot yet, a rule that reads what was not given, epochs that go down,
                or removed weights that are not zero, since nobody called `step`.
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
            optimizer: its state is cleared, as a level starts a fresh one; its learning rate and
                schedule are yours.

        Returns:
            False, with nothing changed, where ``levels`` or ``final_density`` has been reached.

        Raises:
            ValueError: no snapshot yet, scores that are not finite, or what is no optimiser.
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
        """Whether ``levels`` or ``final_density`` has been reached: no level comes after this."""
        by_count = self.levels is not None and self.level >= self.levels
        return by_count or is_sparse_enough(self.masks, self.config)

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
        return Standing(
            *(self.level, self.masks, self._snapshot, self._reference, self.checks, self._drawn),
            probe=self._monitor.probe if self._monitor else None,
            own_loss=self._loss is not None,
        ).state()

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
        held = read(state, self._fitting, self.model.state_dict())
        self.level, self.masks, self._snapshot = held.level, held.masks, held.snapshot
        self._reference, self.checks, self._drawn = held.reference, held.checks, held.drawn
        loss = loss or self._loss
        self._take_on(held.probe, _no_loss if loss is None and held.own_loss else loss)
        self._hold = self._other = None


def _no_loss(output: Any, targets: Any) -> Tensor:
    raise ValueError("snapshot had a loss of its own: give load_state_dict(state, loss=...)")
