"""What was measured of one network at one moment, and what a rule sees of it."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from .checks import READS, Check
from .flows import flow_distance
from .never import Never
from .precision import distance_error

NAN = float("nan")


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
    """Return what a rule needs measured; all names of one's own are one evaluation, "metrics".

    >>> sorted(measurements({"accuracy", "f1", "auc"}))
    ['accuracy', 'metrics']
    """
    return frozenset(name if name in READS else "metrics" for name in reads)


def told(metrics: Mapping[str, Any]) -> Measured:
    """Return what somebody else has measured, as numbers; the rest was never given.

    Args:
        metrics: ``validation_accuracy``, ``train_loss``, and others by their names.

    Raises:
        ValueError: something that is not one number, or an accuracy in percent.

    >>> told({"train_loss": torch.tensor(0.5), "f1": 1}).metrics
    {'f1': 1.0}
    """
    numbers = {}
    for name, value in metrics.items():
        try:
            numbers[name] = float(value.detach() if isinstance(value, Tensor) else value)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            kind = type(value).__name__
            raise ValueError(f"{name} must be one number, not this {kind}") from None
    if numbers.get("validation_accuracy", 0) > 1:
        raise ValueError(
            f"validation_accuracy is a fraction, 0 to 1, not {numbers['validation_accuracy']:g}:"
            " divide percent by 100"
        )
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
