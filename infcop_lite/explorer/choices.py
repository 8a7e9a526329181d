"""Knobs, and knobs whose values depend on the knobs before them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Knob:
    """One thing to turn.

    Args:
        label: what it is called.
        options: text -> value, at least one, in order; the text is what the reader sees.
        start: index of the option to begin with.
        buttons: show all options side by side, rather than a slider.

    Raises:
        ValueError: no options, or a start beyond them.
    """

    label: str
    options: Mapping[str, Any]
    start: int = 0
    buttons: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.start < len(self.options):
            raise ValueError(f"the knob {self.label} has no option {self.start}")


Chooser = Knob | Callable[..., Knob]


def settled(chooser: Chooser, values: Sequence[Any]) -> Knob:
    """Return the knob that goes with the values of those before it.

    >>> settled(lambda a: Knob(f"b of {a}", {"one": 1}), [7]).label
    'b of 7'
    """
    return chooser if isinstance(chooser, Knob) else chooser(*values)
