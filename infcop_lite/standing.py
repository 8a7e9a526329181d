"""Where a pruner stands, as plain numbers and tensors for a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from torch import Tensor

from .batches import moved
from .masks import Masks
from .measured import Measured, plain, told
from .stopping import Check


@dataclass(frozen=True)
class Standing:
    """What of a pruner changes while it is at work.

    Args:
        level: prunings so far.
        masks: parameter name -> boolean tensor, True = kept.
        snapshot: the state dict that levels are rewound to.
        reference: what was measured of the network of the snapshot.
        checks: of all levels, oldest first.
        drawn: when this level was looked at -> the masks that pruning would have given.
        probe: (inputs, targets) that everything is measured on.
        own_loss: whether the loss is one's own, which no file holds.
    """

    level: int
    masks: Masks
    snapshot: Mapping[str, Any] | None
    reference: Measured | None
    checks: list[Check]
    drawn: dict[float, Masks]
    probe: tuple[Any, Any] | None
    own_loss: bool

    def state(self) -> dict[str, Any]:
        """Return dicts, lists, numbers and tensors; ``torch.load`` reads them with weights_only."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        return values | {
            "masks": dict(self.masks),
            "reference": self.reference and plain(self.reference),
            "checks": [plain(check) for check in self.checks],
            "drawn": dict(self.drawn),
        }


def read(state: Any, fitting: Callable[[Masks], Masks], like: Mapping[str, Any]) -> Standing:
    """Return the standing that a state describes.

    Args:
        state: what `Standing.state` has returned.
        fitting: returns masks in module order, where the weights are, or refuses them.
        like: the state dict of the network, with the names and shapes of a snapshot; flows and the
            probe go where it is.

    Raises:
        ValueError: a state of something else, in one line.
    """
    if not isinstance(state, Mapping) or set(state) != {part.name for part in fields(Standing)}:
        raise ValueError("this is no state of a Pruner: give what state_dict() returned")

    device = next(value.device for value in like.values() if isinstance(value, Tensor))

    def snapshot(held: Any) -> Mapping[str, Any] | None:
        if held is not None and _shapes(held) != _shapes(like):
            raise ValueError("the state holds the snapshot of another network")
        return held

    def reference(held: Any) -> Measured | None:
        if held is None:
            return None
        vectors = {
            part: {name: moved(vector.detach(), device) for name, vector in held[part].items()}
            for part in ("flows", "influences")
            if part in held  # an earlier pruner had no influences
        }
        return replace(told({}), **_numbers(held) | vectors)

    def probe(held: Any) -> tuple[Any, Any] | None:
        return None if held is None else (moved(held[0], device), moved(held[1], device))

    parts: dict[str, Callable[[Any], Any]] = {
        "level": _count,
        "masks": lambda held: fitting(dict(held)),
        "snapshot": snapshot,
        "reference": reference,
        "checks": lambda held: [Check(**_numbers(check)) for check in held],
        "drawn": lambda held: {float(time): fitting(dict(d)) for time, d in held.items()},
        "probe": probe,
        "own_loss": bool,
    }
    values: dict[str, Any] = {}
    for name, part in parts.items():
        try:
            values[name] = part(state[name])
        except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{name} of the state is not what a pruner saves: {reason}") from error
    return Standing(**values)


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "shape", None) for name, value in state.items()}


def _count(level: Any) -> int:
    if type(level) is not int or level < 0:
        raise TypeError(f"{level!r} is no number of prunings")
    return level


def _numbers(held: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields that are numbers, or dicts of such, after making sure that they are."""
    for name, value in held.items():
        for part in value.values() if isinstance(value, Mapping) else [value]:
            if not isinstance(part, int | float | Tensor):
                raise TypeError(f"{name} is no number but {type(part).__name__}")
    return {name: dict(v) if isinstance(v, Mapping) else v for name, v in held.items()}
