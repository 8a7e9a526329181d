"""What is measured of a network: always on the same probe, when somebody first asks for it."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn

from .batches import call, shapes, take
from .checks import ERRORS, READS, Check
from .data import Split
from .evaluation import evaluated
from .flows import FLOWS, collect_activations, flow_distance, gradient_flow, information_flow
from .masks import Masks
from .never import Never
from .precision import distance_error, flow_influence
from .train import evaluate, evaluating, has_classes

NAN = float("nan")
#: What a probe is needed for.
ON_PROBE = frozenset(FLOWS) | ERRORS


@dataclass
class Measured:
    """What was measured of one network at one moment; as a reference, what others are held against.

    It is filled by `Monitor.measure`, as far as somebody asks.

    Args:
        accuracy: on the validation data, in [0, 1].
        flows: flow name -> flow, one number per layer or pair of layers.
        loss: mean training loss over the steps before, in nats; as a reference infinite if there
            were none.
        mask_distance: how much the next mask has changed, see `level.Trainer.mask_change`.
        seconds: measurement -> processor seconds that it took, over all threads.
        metrics: name -> any other number, which somebody else has measured.
        influences: flow name -> each sample's share in the error of that flow.
        beside: of a fresh probe, what was measured of the snapshot on the same one: it then takes
            the place of the reference.
    """

    accuracy: float = NAN
    flows: dict[str, Tensor] = field(default_factory=dict)
    loss: float = math.inf
    mask_distance: float = NAN
    seconds: dict[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    influences: dict[str, Tensor] = field(default_factory=dict)
    beside: "Measured | None" = None

    def restrict(self, what: Collection[str]) -> "Measured":
        """Return the same without what somebody has not asked for.

        Args:
            what: of `checks.READS`, and "metrics".

        >>> Measured(0.9, {"gradient": torch.ones(2)}).restrict({"accuracy"}).flows
        {}
        """
        return replace(
            self,
            accuracy=self.accuracy if "accuracy" in what else NAN,
            flows={flow: vector for flow, vector in self.flows.items() if flow in what},
            mask_distance=self.mask_distance if "mask" in what else NAN,
            metrics=self.metrics if "metrics" in what else {},
            influences={k: psi for k, psi in self.influences.items() if f"{k}-error" in what},
        )

    def to(self, device: torch.device | str) -> "Measured":
        """Return the same with its flows on a device.

        >>> Measured(flows={"gradient": torch.ones(2)}).to(torch.device("meta")).flows["gradient"]
        tensor(..., device='meta', size=(2,))
        """
        flows, influences = (
            {k: vector.to(device) for k, vector in held.items()}
            for held in (self.flows, self.influences)
        )
        return replace(self, flows=flows, influences=influences)

    def check(
        self, reference: "Measured | None" = None, epoch: float = 0.0, level: int = 0
    ) -> Check:
        """Return the check that a stop rule sees.

        Args:
            reference: what the flows are held against, if there is one yet.
            epoch: epochs trained in this level.
            level: prunings so far.

        >>> now = Measured(0.9, {"information": torch.tensor([0.0, 3.0])})
        >>> now.check(Measured(0.8, {"information": torch.tensor([4.0, 0.0])})).distances
        {'information': 5.0}
        """
        gradient = self.flows.get("gradient")
        against = self.beside if reference and self.beside else reference or Measured()
        expected, psi, psi_0 = against.flows, self.influences, against.influences
        common = [flow for flow in self.flows if flow in expected]
        errors: list[dict[str, float]] = [
            {
                k: distance_error(self.flows[k], expected[k], psi[k], psi_0[k], relative)
                for k in common
                if k in psi and k in psi_0
            }
            for relative in (False, True)
        ]
        return Check(
            epoch=epoch,
            validation_accuracy=self.accuracy,
            distances={k: flow_distance(self.flows[k], expected[k]) for k in common},
            reference_norms={k: expected[k].norm().item() for k in common},
            gradient_norm=NAN if gradient is None else gradient.norm().item(),
            mask_distance=self.mask_distance,
            level=level,
            train_loss=self.loss,
            metrics=self.metrics,
            distance_errors=errors[0],
            relative_errors=errors[1],
        )


def measurements(reads: Collection[str]) -> frozenset[str]:
    """Return what is measured for a rule: its names of one's own are one evaluation, "metrics".

    >>> sorted(measurements({"accuracy", "f1", "auc"}))
    ['accuracy', 'metrics']
    """
    return frozenset(name if name in READS else "metrics" for name in reads)


def told(metrics: Mapping[str, Any]) -> Measured:
    """Return what somebody else has measured, as numbers; the rest was never given.

    Args:
        metrics: ``validation_accuracy``, ``train_loss``, and others by their names.

    Raises:
        ValueError: something that is not one number.

    >>> told({"train_loss": torch.tensor(0.5), "f1": 1}).metrics
    {'f1': 1.0}
    """
    numbers = {}
    for name, value in metrics.items():
        try:
            numbers[name] = float(value.detach() if isinstance(value, Tensor) else value)
        except (TypeError, ValueError, RuntimeError):
            kind = type(value).__name__
            raise ValueError(f"{name} must be one number, not this {kind}") from None
    accuracy, loss = (numbers.pop(k, Never(k)) for k in ("validation_accuracy", "train_loss"))
    never = Never("mask_distance")
    return Measured(accuracy, loss=loss, mask_distance=never, metrics=numbers)


def plain(found: Measured | Check) -> dict[str, Any]:
    """Return numbers, tensors and dicts that any checkpoint holds, without what was never given.

    >>> plain(Check(1.0, 0.5))["validation_accuracy"], "train_loss" in plain(Check(1.0, 0.5))
    (0.5, False)
    """
    values = {f.name: getattr(found, f.name) for f in fields(found)}
    given = {name: value for name, value in values.items() if not isinstance(value, Never | None)}
    return {name: dict(v) if isinstance(v, Mapping) else v for name, v in given.items()}


class Monitor:
    """Measures a network, always on the same probe and the same validation data.

    One fixed probe makes the sampling error smaller near the reference (T2.6).

    Args:
        model: the network; every measurement leaves it as found.
        probe: (inputs, targets), training samples; inputs of several tensors are a dict or a tuple.
        validation: for the accuracy, if that is measured here.
        gradient_probe: the gradient is measured on the first so many of the probe; on all if there
            are fewer. See `Config` for what that costs.
        loss: as for `flows.gradient_flow`.
        evaluate: as for `evaluated`, if there is one.
        beside: measures another network, of these masks, whenever this one measures something on
            the probe.

    Note:
        The reference code measures on the whole training set.
    """

    def __init__(
        self,
        model: nn.Module,
        probe: tuple[Any, Any],
        validation: Split | None,
        gradient_probe: int,
        loss: Callable[[Any, Any], Tensor] | None = None,
        evaluate: Callable[[nn.Module], Mapping[str, Any]] | None = None,
        beside: "tuple[Monitor, Masks] | None" = None,
    ) -> None:
        self.model, self.probe, self.validation, self.loss = model, probe, validation, loss
        self.evaluate, self.beside = evaluate, beside
        self.gradient_probe = take(probe, 0, gradient_probe)

    def measure(
        self,
        what: Collection[str],
        now: Measured,
        masks: Masks,
        mask_change: Callable[[], float] = lambda: NAN,
    ) -> None:
        """Measure what is asked for, as far as it is not there yet, and add it to ``now``.

        Args:
            what: of `checks.READS`, and "metrics".
            now: of the network as it is.
            masks: the survivors, for the gradient flow.
            mask_change: measures how much the next mask has changed.

        Raises:
            ValueError: a measurement that nobody knows.
            FloatingPointError: the network has diverged.
        """

        def measure_mask() -> None:
            now.mask_distance = mask_change()

        def measure_accuracy() -> None:
            if "accuracy" in self.names:
                measure_metrics()
            else:
                now.accuracy = self.accuracy()

        def measure_metrics() -> None:
            numbers = self.evaluated()
            if "accuracy" in numbers:
                now.accuracy = numbers.pop("accuracy")
                now.seconds |= {"accuracy": 0.0}
            now.metrics = numbers
            now.seconds |= {"metrics": 0.0}

        def measure_flow(name: str) -> None:
            now.flows[name] = self.flow(name, masks)

        def measure_error() -> None:
            activations = collect_activations(self.model, self.probe[0])
            now.influences["information"] = flow_influence(activations)

        # accuracy first: it finds out whether the network has diverged
        known: dict[str, Callable[[], None]] = {"accuracy": measure_accuracy, "mask": measure_mask}
        known |= {name: partial(measure_flow, name) for name in FLOWS}
        known |= {"information-error": measure_error, "metrics": measure_metrics}
        if unknown := sorted(set(what) - known.keys()):
            raise ValueError(f"unknown measurement {unknown[0]!r}; choose from {', '.join(known)}")
        for name in known:
            if name in what and name not in now.seconds:
                started = process_time()
                known[name]()
                if self.beside is not None and name in ON_PROBE:
                    (other, dense), now.beside = self.beside, now.beside or Measured()
                    other.measure({name}, now.beside, dense)
                now.seconds[name] = process_time() - started

    @cached_property
    def has_flow(self) -> bool:
        """Whether there is an information flow, of two layers or more that are called on samples.

        A layer alone has no flow to a next; see `flows.collect_activations` for others.
        """
        try:
            # two numbers, of which one is no accidental number of tokens
            few = [take(self.probe[0], 0, n) for n in (2, 3)]
            return all(len(collect_activations(self.model, inputs)) > 1 for inputs in few)
        except ValueError:
            return False

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the numbers that ``evaluate`` gives, found by calling it once."""
        return frozenset(self.evaluated())

    def evaluated(self) -> dict[str, float]:
        """Return the numbers that ``evaluate`` gives, now; none without one."""
        return {} if self.evaluate is None else evaluated(self.model, self.evaluate)

    @cached_property
    def has_classes(self) -> bool:
        """Whether the validation targets are classes; without a loss of one's own they have to."""
        held = self.validation
        return self.loss is None or (
            held is not None and has_classes(self.model, held.inputs, held.targets)
        )

    def check_reads(self, reads: Collection[str]) -> None:
        """See that what a rule reads is measured here.

        Args:
            reads: of a rule.

        Raises:
            ValueError: a name that ``evaluate`` does not give, or an accuracy that nobody has.
        """
        if unknown := sorted(set(reads) - READS - self.names):
            given = ", ".join(sorted(self.names)) or "nothing"
            raise ValueError(f"the stop rule reads {unknown[0]}, but evaluate gives {given}")
        if "accuracy" in reads and not self.has_classes and "accuracy" not in self.names:
            raise ValueError(
                "the stop rule reads the accuracy, but the targets are not classes: choose another"
                " stop=, or give evaluate=, which may return an accuracy of yours"
            )

    def accuracy(self) -> float:
        """Return the accuracy on the validation data, NaN where the targets are not classes.

        Raises:
            FloatingPointError: the network has diverged.
        """
        if self.validation is None:
            raise ValueError("no validation data: the accuracy is not measured here")
        if not self.has_classes:
            if not all(weight.isfinite().all() for weight in self.model.parameters()):
                raise FloatingPointError("the weights are not finite; a smaller lr may help")
            return NAN
        loss, accuracy = evaluate(self.model, self.validation.inputs, self.validation.targets)
        if not math.isfinite(loss):
            raise FloatingPointError("the validation loss is not finite; a smaller lr may help")
        return accuracy

    def flow(self, name: str, masks: Masks) -> Tensor:
        """Return a flow, now.

        Args:
            name: "information" or "gradient".
            masks: the survivors, for the gradient flow.

        Raises:
            ValueError: another name.
        """
        if name == "information":
            return information_flow(collect_activations(self.model, self.probe[0]))
        if name == "gradient":
            inputs, targets = self.gradient_probe
            return gradient_flow(self.model, inputs, targets, masks, loss=self.loss)
        raise ValueError(f"unknown flow {name!r}; choose from {', '.join(FLOWS)}")


def check_fit(
    model: nn.Module, *splits: Split | None, loss: Callable[[Any, Any], Tensor] | None = None
) -> None:
    """Try a network on one input of each split, and see that it has a class for every target.

    On a GPU a target beyond the last class would end the whole process.

    Args:
        model: the network, left as found.
        splits: what it is to be trained and measured on; None is passed over.
        loss: of your own, which is tried instead, on two samples.

    Raises:
        ValueError: inputs that the model or the loss cannot take, or targets, or as for
            `train.evaluate`.

    >>> check_fit(nn.Linear(1, 2), Split(torch.ones(4, 1), torch.tensor([0, 0, 0, 2])))
    Traceback (most recent call last):
    ValueError: targets must be int64 classes, 0 to 1; for others give a loss
    """
    for split in filter(None, splits):
        try:
            if loss is None:
                evaluate(model, take(split.inputs, 0, 1), split.targets.max().reshape(1))
                continue
            with torch.no_grad(), evaluating(model):
                output = call(model, take(split.inputs, 0, 2))
        except (RuntimeError, TypeError, AssertionError, LookupError) as error:
            given, reason = shapes(split.inputs), " ".join(str(error).split())
            bytes_ = isinstance(split.inputs, Tensor) and split.inputs.dtype == torch.uint8
            hint = "; scale images first: inputs.float() / 255" if bytes_ else ""
            raise ValueError(
                f"the model cannot take inputs of shape {given}: {reason}{hint}"
            ) from error
        targets = take(split.targets, 0, 2)
        try:
            loss(output, targets)
        except Exception as error:  # somebody else's function
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            given = f"outputs of shape {shapes(output)} and targets of shape {shapes(targets)}"
            raise ValueError(f"the loss cannot take {given}: {reason}") from error
