"""Whether a network's weights are whole and in this process, as pruning needs."""

import torch
from torch import Tensor, nn

#: What parameters carry, or are, whose values lie elsewhere -> what has put them there.
SHARDED = {
    "device_mesh": "FSDP2 or tensor parallelism (DTensor)",
    "_fsdp_flattened": "FSDP",
    "_is_flat_param": "FSDP",
    "ds_tensor": "DeepSpeed ZeRO-3",
}


def inner(model: nn.Module) -> nn.Module:
    """Return the network inside a wrapper for data-parallel or compiled training, or both.

    Its parameters are the same objects, its names have no "module." or "_orig_mod." before them,
    and it sees the hooks of a measurement, which a compiled one may not.

    Args:
        model: any module.

    Raises:
        ValueError: something that is no module.

    >>> inner(nn.DataParallel(nn.Linear(2, 1)))
    Linear(in_features=2, out_features=1, bias=True)
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"a model must be a torch module, not {type(model).__name__}")
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(model, parallel):
            model = model.module
        elif (compiled := dict(model.named_children()).get("_orig_mod")) is not None:
            model = compiled
        else:
            return model


def check_whole(model: nn.Module) -> None:
    """See that every weight of a network is whole, and here.

    Args:
        model: any module.

    Raises:
        ValueError: a weight that is sharded over processes, or on the meta device.

    >>> check_whole(nn.Linear(2, 1, device="meta"))
    Traceback (most recent call last):
    ValueError: weight is on the meta device and holds no values; load them first
    """
    for name, weight in model.named_parameters():
        if by := _sharded_by(weight):
            raise ValueError(
                f"{name} is sharded over processes by {by}, and masks need whole weights; train"
                " with DistributedDataParallel, or prune before it is sharded"
            )
        if weight.device == torch.device("meta"):
            raise ValueError(f"{name} is on the meta device and holds no values; load them first")


def _sharded_by(weight: Tensor) -> str | None:
    return next(
        (by for mark, by in SHARDED.items() if getattr(weight, mark, False) is not False), None
    )
