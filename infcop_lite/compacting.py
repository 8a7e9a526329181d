"""What pruning really saves: a smaller network with the same outputs.

A unit (neuron or channel) without incoming weights is a constant; one without outgoing weights has
no effect. Both can go. Weights that are scattered among living units cannot: dense kernels multiply
by their zeros all the same.
"""

from collections import Counter
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from . import _moved
from .layers import copied
from .masks import Masks, apply_masks, check_masks
from .tracing import is_altered, trace

# What acts on every number by itself in eval mode; anything else is asked about, or left alone.
_MODULES = "ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Softplus Tanh Sigmoid Hardtanh"
_MODULES += " Hardswish Hardsigmoid Identity Dropout Dropout1d Dropout2d AlphaDropout"
_UNITWISE = {getattr(nn, name) for name in _MODULES.split()}
_UNITWISE |= {getattr(functional, name) for name in "relu leaky_relu elu gelu silu".split()}
_UNITWISE |= {torch.relu, torch.tanh, torch.sigmoid, "relu", "tanh", "sigmoid"}
_NORMS = {nn.BatchNorm1d, nn.BatchNorm2d}
_LAYERS = {nn.Linear, nn.Conv2d, *_NORMS}

__getattr__ = _moved.lookup("compacting", _moved.NAMES["compacting"])

Step = Callable[[Tensor], Tensor]
Nodes = dict[Any, Any]


class _Link(NamedTuple):
    """A layer, what happens to each of its units alone, and the only layer that reads them."""

    producer: Any
    steps: list[Step]
    consumer: Any


def compact(model: nn.Module, masks: Masks) -> nn.Module:
    """Return a smaller network with the same outputs in eval mode; the model is not touched.

    Source: torch.nn.utils.fusion folds batch norms; torch.fx finds the inputs of each layer.

    A unit whose incoming weights are all zero is a constant: it moves into the next bias. A unit
    whose outgoing weights are all zero is dropped. Either may free others, so this repeats until
    nothing changes. Where a zero-padded convolution follows, a constant fades at the border and
    fits no bias: one channel then carries all such constants. Every layer keeps at least one unit.

    This reaches plain chains of Linear and Conv2d with batch norm, activations, pooling, dropout
    and flattening between them, also those inside the blocks of a residual network. A layer that
    is read twice (the skip), called twice, grouped, hooked or tied, or followed by anything
    else, keeps its units.

    Args:
        model: any module that torch.fx can trace, with finite weights. Its inputs are batches,
            (sample, ...).
        masks: parameter name -> boolean tensor, one for every prunable weight.

    Returns:
        A module in eval mode with the layers' names of the model, a torch.fx.GraphModule whose
        ``code`` shows what it runs. Outputs agree up to round-off.

    Raises:
        ValueError: masks that do not fit, a surviving weight that is NaN or infinite, or a model
            that torch.fx cannot trace, or that has hooks of its own (its parts may have some).

    Note:
        What the forward pass decides by the mode it is in, it decides as in eval mode for good; and
        what it takes by default, a flag or None, it takes for good.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> masks = {"0.weight": torch.ones(3, 2).bool(), "2.weight": torch.ones(1, 3).bool()}
    >>> masks["0.weight"][1] = False
    >>> compact(model, masks).get_submodule("0")
    Linear(in_features=2, out_features=2, bias=True)
    """
    check_masks(model, masks)
    twin = copied(model).eval()
    apply_masks(twin, masks)
    for name, parameter in twin.named_parameters():
        if not torch.isfinite(parameter).all():
            raise ValueError(f"{name} holds weights that are NaN or infinite")
    traced = trace(twin)
    _fold_batch_norms(traced)
    layers, modules = _layers(traced), _modules(traced)
    found = [_link_from(node, layers, modules) for node in layers]
    links = [link for link in found if link is not None]
    size, before = _size(links), -1
    while size != before:
        for link in reversed(links):
            _shrink(link)
        size, before = _size(links), size
    traced.recompile()
    return traced


def _modules(traced: fx.GraphModule) -> Nodes:
    """Return node -> module, for the nodes that call a module as it is on one input."""
    calls = [n for n in traced.graph.nodes if n.op == "call_module" and len(n.args) == 1]
    found = {node: traced.get_submodule(node.target) for node in calls if not node.kwargs}
    return {node: module for node, module in found.items() if not is_altered(module)}


def _layers(traced: fx.GraphModule) -> Nodes:
    """Return node -> layer that may change: called once, its parameters read by nothing else."""
    nodes = traced.graph.nodes
    calls = Counter(node.target for node in nodes if node.op == "call_module")
    reads = Counter(id(attrgetter(node.target)(traced)) for node in nodes if node.op == "get_attr")
    for owner in traced.modules():
        reads.update(id(parameter) for parameter in owner.parameters(recurse=False))
    return {
        node: module
        for node, module in _modules(traced).items()
        if type(module) in _LAYERS and getattr(module, "running_mean", True) is not None
        if calls[node.target] == 1
        if all(reads[id(tensor)] == 1 and tensor.numel() for tensor in module.parameters())
    }


def _fold_batch_norms(traced: fx.GraphModule) -> None:
    """Fold every batch norm into the layer right before it, where nothing else reads that layer."""
    layers, modules = _layers(traced), _modules(traced)
    for node, norm in layers.items():
        source = node.args[0]
        layer: Any = layers.get(source)
        spatial = (type(layer), type(norm)) == (nn.Conv2d, nn.BatchNorm2d)
        rowwise = (type(layer), type(norm)) == (nn.Linear, nn.BatchNorm1d)
        if not (spatial or (rowwise and _is_flat(source, modules))) or len(source.users) > 1:
            continue
        fused = fuse_conv_bn_eval(layer, norm) if spatial else fuse_linear_bn_eval(layer, norm)
        layer.weight, layer.bias = fused.weight, fused.bias
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()


def _link_from(node: Any, layers: Nodes, modules: Nodes) -> _Link | None:
    """Follow a layer's units to the layer that reads them; None if anything else does."""
    producer = layers[node]
    conv, steps = type(producer) is nn.Conv2d, list[Step]()
    if type(producer) in _NORMS or (conv and producer.groups > 1):
        return None
    num_units, maps = len(producer.weight), conv
    while True:
        users = [user for user in node.users if not _is_batch_size(user, node)]
        if len(users) != 1 or users[0].args[:1] != (node,):
            return None
        node, layer = users[0], layers.get(users[0])
        if type(layer) is nn.Linear:  # behind a convolution: columns in blocks, one a channel
            blocks = conv and layer.in_features % num_units == 0
            fits = not maps and (blocks or layer.in_features == num_units)
            return _Link(producer, steps, layer) if fits else None
        if type(layer) is nn.Conv2d:
            fits = maps and layer.groups == 1 and layer.in_channels == num_units
            return _Link(producer, steps, layer) if fits else None
        if layer is not None:
            fits = maps if type(layer) is nn.BatchNorm2d else _is_flat(node, modules)
            step = layer if fits and layer.num_features == num_units else None
        elif _flattens(node, modules):
            step, maps = nn.Flatten(), False
        elif (step := _unitwise(node, modules)) is None and maps and _pools(node, modules):
            step = nn.Identity()
        if step is None:
            return None
        steps.append(step)


def _unitwise(node: Any, modules: Nodes) -> Step | None:
    """Return what a node does if it treats every number alike, else None."""
    if node.op == "call_module":
        return modules[node] if type(modules.get(node)) in _UNITWISE else None
    if node.target in _UNITWISE and len(node.all_input_nodes) == 1:
        function = getattr(Tensor, node.target) if node.op == "call_method" else node.target
        return lambda value: function(value, *node.args[1:], **node.kwargs)
    dropout = node.target is functional.dropout and node.kwargs.get("training") is False
    return nn.Identity() if dropout else None


def _pools(node: Any, modules: Nodes) -> bool:
    """Whether a node pools every channel alone and leaves a constant one as it is."""
    module = modules.get(node)
    if isinstance(module, nn.AvgPool2d):  # padding darkens the border
        return module.padding in (0, (0, 0)) and module.divisor_override is None
    if isinstance(module, nn.MaxPool2d):
        return not module.return_indices and module.dilation in (1, (1, 1))
    if node.target is functional.max_pool2d and len(node.all_input_nodes) == 1:
        return len(node.args) <= 4 and node.kwargs.get("dilation", 1) in (1, (1, 1))
    return type(module) is nn.AdaptiveAvgPool2d or node.target is functional.adaptive_avg_pool2d


def _flattens(node: Any, modules: Nodes) -> bool:
    """Whether a node makes one row of each sample, unit after unit."""
    if isinstance(module := modules.get(node), nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    if (node.op, node.target) in {("call_function", torch.flatten), ("call_method", "flatten")}:
        return (node.args[1:], node.kwargs) in [((1,), {}), ((), {"start_dim": 1})]
    if node.op == "call_method" and node.target in ("view", "reshape") and len(node.args) == 3:
        return _is_batch_size(node.args[1], node.args[0]) and node.args[2] == -1
    return False


def _is_batch_size(node: Any, of: Any) -> bool:
    """Whether a node is ``of.size(0)``."""
    parts = (node.op, node.target, node.args) if isinstance(node, fx.Node) else ()
    return parts == ("call_method", "size", (of, 0))


def _is_flat(node: Any, modules: Nodes) -> bool:
    """Whether a node is surely (sample, unit); without a flatten before it, it may be tokens."""
    while not _flattens(node, modules):
        rowwise = type(modules.get(node)) in {nn.Linear, nn.BatchNorm1d}
        if not (rowwise or _unitwise(node, modules)):
            return False
        node = node.all_input_nodes[0]
    return True


def _size(links: list[_Link]) -> int:
    """Return the number of weights and of non-zero weights together: shrinking lowers it."""
    weights = [layer.weight for link in links for layer in (link.producer, link.consumer)]
    return sum(weight.numel() + int(weight.count_nonzero()) for weight in weights)


@torch.no_grad()
def _shrink(link: _Link) -> None:
    """Take the dead units out of a link, in place."""
    producer, steps, consumer = link
    num_units, weight = len(producer.weight), consumer.weight
    value = weight.new_zeros(num_units) if producer.bias is None else producer.bias.clone()
    value = value.reshape(1, -1, *[1] * (producer.weight.dim() - 2))
    for step in steps:
        value = step(value)
    value = value.flatten()
    # (unit of the consumer, unit, column): pixels of a kernel, or of the maps that were flattened
    outgoing = weight.reshape(len(weight), num_units, -1).clone()
    used = outgoing.any(2).any(0)
    constant = ~producer.weight.flatten(1).any(1) & value.isfinite() & used

    if _fades_at_borders(consumer):
        bright = constant & (value != 0)
        if bright.any():
            carrier = int((value.abs() * bright).argmax())
            ratios = value[bright] / value[carrier]
            outgoing[:, carrier] = (outgoing[:, bright] * ratios[:, None]).sum(1)
            constant[carrier] = False
    elif (shift := outgoing[:, constant].sum(2) @ value[constant]).any():
        _set(consumer, bias=shift if consumer.bias is None else consumer.bias + shift)

    outgoing[:, constant] = 0
    keep = used & ~constant
    if not keep.any():  # torch has no layers without units: one stays, without incoming weights
        keep[0] = True
        _set(producer, weight=torch.zeros_like(producer.weight))
    for layer in (producer, *(step for step in steps if type(step) in _NORMS)):
        _set(layer, **{name: t[keep] for name, t in layer.state_dict().items() if t.dim()})
    _set(consumer, weight=outgoing[:, keep].reshape(len(weight), -1, *weight.shape[2:]))


def _fades_at_borders(layer: Any) -> bool:
    """Whether a constant input gives an output that is not constant: zeros pad the border."""
    convolves = type(layer) is nn.Conv2d and layer.padding_mode == "zeros"
    return convolves and layer.padding not in ("valid", 0, (0, 0))


def _set(layer: Any, **tensors: Tensor) -> None:
    """Replace parameters and buffers of a layer, and the sizes that it says it has."""
    for name, tensor in tensors.items():
        if not name.startswith("running"):
            tensor = nn.Parameter(tensor, requires_grad=layer.weight.requires_grad)
        setattr(layer, name, tensor)
    if type(layer) is nn.Linear:
        layer.out_features, layer.in_features = layer.weight.shape
    elif type(layer) is nn.Conv2d:
        layer.out_channels, layer.in_channels = layer.weight.shape[:2]
    else:
        layer.num_features = len(layer.running_mean)
