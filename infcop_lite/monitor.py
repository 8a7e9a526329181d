"""What is measured at the checks of a run: always the same probe, always the same references."""

import math

import torch
from torch import Tensor, nn

from .config import Config, stop_rule
from .data import Split
from .flows import FLOWS, collect_activations, flow_distance, gradient_flow, information_flow
from .masks import Masks
from .stopping import Check
from .train import evaluate

NAN = float("nan")


class Monitor:
    """Measures a network as its stop rule asks, and remembers what it is compared with.

    Source: ours; one fixed probe makes the sampling error smaller near the reference (T2.6).

    Args:
        model: the network; every measurement leaves it as found.
        train: the probe is drawn from it.
        validation: for the accuracy.
        config: names the rule; ``probe_size`` and ``monitor`` apply.
        generator: draws the probe.

    Note:
        The reference code measures on the whole training set.
    """

    def __init__(
        self,
        model: nn.Module,
        train: Split,
        validation: Split,
        config: Config,
        generator: torch.Generator,
    ) -> None:
        self.model, self.validation, self.config = model, validation, config
        chosen = torch.randperm(len(train), generator=generator)[: config.probe_size]
        chosen = chosen.to(train.inputs.device)
        self.probe = train.inputs[chosen], train.targets[chosen]
        self.rule = stop_rule(config, target=1.0)
        self.flows = [flow for flow in FLOWS if flow in self.rule.reads]
        self.references: dict[str, Tensor] = {}
        self.target = NAN

    def take_reference(self, masks: Masks) -> None:
        """Make the present network the one to compare with: its flows and its accuracy.

        Source: the warm-up snapshot as published, or the trained dense network.

        Args:
            masks: the survivors, for the gradient flow.

        Raises:
            FloatingPointError: the network has diverged.
        """
        target, flows = self._accuracy(), self.flows
        if not flows and self.config.monitor and len(masks) > 1:
            flows = ["information"]  # one layer alone has no flow to a next
        self.restore({flow: self._flow(flow, masks) for flow in flows}, target)

    def restore(self, references: dict[str, Tensor], target: float) -> None:
        """Take up references that were measured before.

        Source: what `take_reference` found.

        Args:
            references: flow name -> flow; none if there is no reference yet.
            target: validation accuracy of the reference network; NaN if there is none yet.
        """
        self.references, self.target = references, target
        self.flows = [flow for flow in FLOWS if flow in references] or self.flows
        if not math.isnan(target):
            self.rule = stop_rule(self.config, target)

    def check(self, epoch: float, masks: Masks, mask_distance: float = NAN) -> Check:
        """Measure everything that the rule reads, now.

        Source: what a `Check` holds.

        Args:
            epoch: epochs trained in this level.
            masks: the survivors, for the gradient flow.
            mask_distance: how much the next mask has changed, if the rule asks for it.

        Raises:
            FloatingPointError: the network has diverged.
        """
        accuracy = self._accuracy()
        flows = {flow: self._flow(flow, masks) for flow in self.flows}
        return Check(
            epoch=epoch,
            validation_accuracy=accuracy,
            distances={k: flow_distance(flows[k], v) for k, v in self.references.items()},
            reference_norms={k: v.norm().item() for k, v in self.references.items()},
            gradient_norm=flows["gradient"].norm().item() if "gradient" in flows else NAN,
            mask_distance=mask_distance,
        )

    def _accuracy(self) -> float:
        loss, accuracy = evaluate(self.model, self.validation.inputs, self.validation.targets)
        if not math.isfinite(loss):  # before any flow is measured on such a network
            raise FloatingPointError("the validation loss is not finite; a smaller lr may help")
        return accuracy

    def _flow(self, flow: str, masks: Masks) -> Tensor:
        if flow == "information":
            return information_flow(collect_activations(self.model, self.probe[0]))
        return gradient_flow(self.model, *self.probe, masks)


def check_fit(model: nn.Module, *splits: Split | None) -> None:
    """Try a network on one input of each split, and see that it has a class for every target.

    Source: ours; on a GPU a target beyond the last class would end the whole process.

    Args:
        model: the network, left as found.
        splits: what it is to be trained and measured on; None is passed over.

    Raises:
        ValueError: inputs that the model cannot take, or targets, or as for `train.evaluate`.

    >>> check_fit(nn.Linear(1, 2), Split(torch.ones(4, 1), torch.tensor([0, 0, 0, 2])))
    Traceback (most recent call last):
    ValueError: targets must be classes, 0 to 1
    """
    for split in filter(None, splits):
        try:
            evaluate(model, split.inputs[:1], split.targets.max().reshape(1))
        except (RuntimeError, TypeError) as error:
            given, reason = tuple(split.inputs.shape), " ".join(str(error).split())
            raise ValueError(f"the model cannot take inputs of shape {given}: {reason}") from error
