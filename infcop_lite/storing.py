"""A network with fewer units than its class makes, on disk and back in its class."""

import copy
import os
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from . import handover, records
from .compacting import folded
from .masks import from_zeros

_CONV = nn.modules.conv._ConvNd
_TURNED = nn.modules.conv._ConvTransposeNd
CODE, KIND = "network/code", "network/class"


def save(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a smaller network to one safetensors file, which holds no code to execute.

    Source: `records.save_tensors`. Laid out as by `handover.save`, so that `handover.load` reads
    its weights, too, and masks of what is not zero.

    Args:
        model: what `compacting.compact` or `units.shrink` returned, trained further or not; or any
            other module. Not touched.
        path: must end in ``.safetensors``; a file that is there is replaced.

    Raises:
        ValueError: another ending, nothing to prune, or a state that is not all tensors.
        OSError: no such folder, a full disk, or one that is read-only; an earlier file is intact.

    >>> import tempfile; path = tempfile.mkdtemp() + "/net.safetensors"
    >>> save(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), path)
    >>> load(path, nn.Sequential(nn.Linear(2, 9), nn.ReLU(), nn.Linear(9, 1)))[0]
    Linear(in_features=2, out_features=3, bias=True)
    """
    folder, name = handover.folder_and_name(path)
    arrays = handover.as_arrays(model, from_zeros(model))
    arrays[KIND] = _as_bytes(type(model).__name__)
    arrays[CODE] = _as_bytes(model.code if isinstance(model, fx.GraphModule) else "")
    records.save_tensors(folder, name, arrays, {})


def load(path: str | os.PathLike[str], model: nn.Module) -> nn.Module:
    """Return the network that `save` wrote, its layers as small as they were.

    Args:
        path: ends in ``.safetensors``.
        model: a fresh one of the class that was pruned, at full size, on the device where the
            result shall be; not touched. What `compact` made is traced and folded once more.

    Returns:
        The network, a graph module in eval mode if `compact` made it, else of the class of
        ``model``, in the modes that it is in. Bit by bit, where ``model`` is of its precision.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that is damaged, or of another network; the line names what differs.
    """
    state, _ = handover.load(path)
    folder, name = handover.folder_and_name(path)
    arrays = records.read_tensors(folder, name, {})[0]
    where = f"{os.fspath(path)} holds another network than"
    if CODE not in arrays:
        raise ValueError(f"{os.fspath(path)} holds weights of full size: use handover.load")
    kind, code = (arrays[part].tobytes().decode() for part in (KIND, CODE))
    if kind != type(model).__name__:
        raise ValueError(f"{where} {type(model).__name__}: it is of {kind}")
    small = copy.deepcopy(model)
    if code:
        small = folded(small.eval())
    if code and small.code != code:
        raise ValueError(f"{where} this {kind}: its forward pass differs")
    own = small.state_dict()
    if odd := sorted(own.keys() ^ state.keys()):
        raise ValueError(f"{where} this {kind}: {odd[0]} is in one of them only")
    for key, tensor in own.items():
        shape = state[key].shape
        larger = len(shape) != tensor.dim() or any(
            a > b for a, b in zip(shape, tensor.shape, strict=True)
        )
        if larger:
            raise ValueError(
                f"{where} this {kind}: {key} is {tuple(shape)}, not at most {tuple(tensor.shape)}"
            )
    for owner, layer in small.named_modules():
        prefix = f"{owner}." if owner else ""
        tensors = {k: v for k, v in layer.state_dict().items() if "." not in k}
        changed = [k for k, v in tensors.items() if v.shape != state[prefix + k].shape]
        for key in changed:
            _replace(layer, key, state[prefix + key])
        if changed and not _resize(layer):
            raise ValueError(f"{where} this {kind}: the size of {owner} cannot be changed")
    small.load_state_dict(state)
    return small


def _replace(layer: nn.Module, key: str, value: Tensor) -> None:
    """Make room for a parameter or buffer of another size."""
    old: Any = getattr(layer, key)
    new = torch.empty_like(value, device=old.device, dtype=old.dtype)
    is_parameter = isinstance(old, nn.Parameter)
    setattr(layer, key, nn.Parameter(new, old.requires_grad) if is_parameter else new)


def _resize(layer: Any) -> bool:
    """Set the sizes that a layer says it has, and say whether it is known how."""
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, _CONV) and layer.groups > 1:  # depthwise: one filter for each channel
        layer.in_channels = layer.out_channels = layer.groups = len(layer.weight)
    elif isinstance(layer, _TURNED):
        layer.in_channels, layer.out_channels = layer.weight.shape[:2]
    elif isinstance(layer, _CONV):
        layer.out_channels, layer.in_channels = layer.weight.shape[:2]
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        layer.num_features = len(next(iter(layer.state_dict().values())))
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = len(layer.weight)
    elif isinstance(layer, nn.Embedding):
        layer.embedding_dim = layer.weight.shape[1]
    else:
        return False
    return True


def _as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)
