"""Targets that are classes of a network's outputs, or one line that says what to do instead."""

from typing import Any

import torch
from torch import Tensor

#: The lowest and the highest of targets that are no classes.
NONE = (-1, -1)


def class_range(targets: Any) -> tuple[int, int]:
    """Return the lowest and the highest class of some targets; `NONE` if they are something else.

    >>> class_range(torch.tensor([2, 0])), class_range(torch.tensor([0.5]))
    ((0, 2), (-1, -1))
    """
    is_class = isinstance(targets, Tensor) and targets.dtype == torch.int64 and targets.numel()
    if not is_class:
        return NONE
    lowest, highest = targets.aminmax()
    return int(lowest), int(highest)


def check_classes(output: Any, limits: tuple[int, int]) -> None:
    """Check that a network has an output for each class of its targets, as cross-entropy needs.

    Args:
        output: of the network, (sample, class, ...).
        limits: of the targets, as `class_range` gives them.

    Raises:
        ValueError: an output that is no such tensor, or targets that are no such classes, as in a
            regression, of one logit, or where a class is to be ignored.

    >>> check_classes(torch.zeros(4, 3), (0, 3))
    Traceback (most recent call last):
    ValueError: targets must be int64 classes, 0 to 2; for others give a loss
    """
    if not isinstance(output, Tensor):
        raise ValueError(f"the model returns {type(output).__name__}: give a loss of your own")
    if output.dim() < 2:
        shape = tuple(output.shape)
        raise ValueError(f"logits are (sample, class), not {shape}; for others give a loss")
    num_classes = output.shape[1]
    if limits[0] < 0 or limits[1] >= num_classes:
        own = ", of one logit binary_cross_entropy_with_logits" if num_classes == 1 else ""
        raise ValueError(
            f"targets must be int64 classes, 0 to {num_classes - 1}; for others give a loss{own}"
        )
