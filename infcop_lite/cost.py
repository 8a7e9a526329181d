"""What a network costs to keep and to run, in parameters, FLOPs and bytes."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .layers import copied


def cost(model: nn.Module, inputs: Tensor) -> dict[str, int]:
    """Return a network's parameters, the FLOPs of a forward pass, and the bytes of its weights.

    Source: FLOPs by torch.utils.flop_counter: two for each multiplication with addition in
    convolutions and matrix products; nothing else counts.

    Args:
        model: the network; a copy in eval mode does the pass.
        inputs: (sample, ...) on the model's device; the FLOPs are those of one pass over them.

    Returns:
        A dict of "num_parameters", "num_flops" and "num_bytes", the last of the tensors of the
        state dict without the header of a file. Zeros cost as much as other numbers in all three.

    Raises:
        ValueError: quantised layers, as int8 has them: torch counts no FLOPs of these. The line
            says how many bytes they take.

    >>> cost(nn.Linear(3, 2), torch.zeros(5, 3))
    {'num_parameters': 8, 'num_flops': 60, 'num_bytes': 32}
    """
    state = {id(tensor): tensor for tensor in _tensors(model.state_dict(keep_vars=True))}
    num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if any(tensor.is_quantized for tensor in state.values()):
        raise ValueError(
            f"{type(model).__name__} is quantised, and torch counts no FLOPs of that: take its cost"
            f" before; its weights are {num_bytes:,} bytes now"
        )
    twin = copied(model).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(inputs)
    return {
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_flops": counter.get_total_flops(),
        "num_bytes": num_bytes,
    }


def _tensors(state: Any) -> Iterator[Tensor]:
    """Yield the tensors of a state dict; quantised layers have theirs in tuples there."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping | tuple | list):
        for part in state.values() if isinstance(state, Mapping) else state:
            yield from _tensors(part)
