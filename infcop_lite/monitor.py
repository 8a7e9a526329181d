"""Measurements of a network, always on the same probe and only when somebody asks."""

import math
from collections.abc import Callable, Collection, Mapping
from functools import cached_property, partial
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn

from .batches import call, shapes, take
from .checks import ERRORS, READS
from .data import Split
from .evaluation import evaluated
from .flows import FLOWS, collect_activations, gradient_flow, information_flow
from .masks import Masks
from .measured import Measured
from .precision import flow_influence
from .train import evaluate, evaluating, has_classes

NAN = float("nan")
#: What a probe is needed for.
ON_PROBE = frozenset(FLOWS) | ERRORS


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
            masks: the survivors, for the gradient profile.
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
            ValueError: there are no validation data.
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
            masks: the survivors, for the gradient profile.

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
