"""What a network costs to keep and to run: parameters, FLOPs, bytes."""

import copy

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


def cost(model: nn.Module, inputs: Tensor) -> dict[str, int]:
    """Return what a network costs: its parameters, the FLOPs of a pass, the bytes of its weights.

    Source: FLOPs by torch.utils.flop_counter: two for each multiplication with addition in
    convolutions and matrix products; nothing else counts.

    Args:
        model: the network; a copy in eval mode does the pass.
        inputs: (sample, ...) on the model's device; the FLOPs are those of one pass over them.

    Returns:
        A dict of "num_parameters", "num_flops" and "num_bytes", the last of the tensors of the
        state dict without the header of a file. Zeros cost as much as other numbers in all three.

    >>> cost(nn.Linear(3, 2), torch.zeros(5, 3))
    {'num_parameters': 8, 'num_flops': 60, 'num_bytes': 32}
    """
    twin = copy.deepcopy(model).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(inputs)
    saved = {id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}
    return {
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_flops": counter.get_total_flops(),
        "num_bytes": sum(tensor.numel() * tensor.element_size() for tensor in saved.values()),
    }
