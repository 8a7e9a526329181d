"""Which layer reads the units of which, in a traced network, and what happens to them between.

Units are followed through plain chains only; where a chain ends, the reason is a few words.
"""

from collections import Counter
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from .tracing import is_altered

# What acts on every number by itself in eval mode; anything else is asked about, or left alone.
_MODULES = "ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish Softplus Tanh Sigmoid Hardtanh"
_MODULES += " Hardswish Hardsigmoid Identity Dropout Dropout1d Dropout2d AlphaDropout"
_UNITWISE = {getattr(nn, name) for name in _MODULES.split()}
_UNITWISE |= {getattr(functional, name) for name in "relu leaky_relu elu gelu silu".split()}
_UNITWISE |= {torch.relu, torch.tanh, torch.sigmoid, "relu", "tanh", "sigmoid"}
NORMS = {nn.BatchNorm1d, nn.BatchNorm2d}
LAYERS = {nn.Linear, nn.Conv2d, *NORMS}

Step = Callable[[Tensor], Tensor]
Nodes = dict[Any, Any]


class Link(NamedTuple):
    """A layer, what happens to each of its units alone, and the only layer that reads them."""

    producer: Any
    steps: list[Step]
    consumer: Any


class Units(NamedTuple):
    """How many units a layer had and has, and why it kept what it kept."""

    before: int
    after: int
    why: str


def num_units(layer: Any) -> int:
    """Return the units that a layer has, of the kinds that `layers.is_layer` knows.

    >>> num_units(nn.ConvTranspose2d(2, 3, 1))
    3
    """
    names = ("out_features", "out_channels", "nf")  # the last is that of transformers' Conv1D
    return int(next(getattr(layer, name) for name in names if hasattr(layer, name)))


def modules_of(traced: fx.GraphModule) -> Nodes:
    """Return node -> module, for the nodes that call a module as it is on one input."""
    calls = [n for n in traced.graph.nodes if n.op == "call_module" and len(n.args) == 1]
    found = {node: traced.get_submodule(node.target) for node in calls if not node.kwargs}
    return {node: module for node, module in found.items() if not is_altered(module)}


def layers_of(traced: fx.GraphModule) -> Nodes:
    """Map graph nodes to the layers that may change, which are called once and share nothing."""
    nodes = traced.graph.nodes
    calls = Counter(node.target for node in nodes if node.op == "call_module")
    reads = Counter(id(attrgetter(node.target)(traced)) for node in nodes if node.op == "get_attr")
    for owner in traced.modules():
        reads.update(id(parameter) for parameter in owner.parameters(recurse=False))
    return {
        node: module
        for node, module in modules_of(traced).items()
        if type(module) in LAYERS and getattr(module, "running_mean", True) is not None
        if calls[node.target] == 1
        if all(reads[id(tensor)] == 1 and tensor.numel() for tensor in module.parameters())
    }


def link_from(node: Any, layers: Nodes, modules: Nodes) -> Link | str:
    """Follow a layer's units to the layer that reads them; if anything else does, say what.

    Args:
        node: calls a layer that has units, no batch norm.
        layers, modules: of `layers_of` and `modules_of`.

    >>> from .tracing import trace
    >>> traced = trace(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1)))
    >>> layers, modules = layers_of(traced), modules_of(traced)
    >>> [link_from(node, layers, modules) for node in layers]
    ['read by 1 (LayerNorm)', 'read by the output']
    """
    producer = layers[node]
    conv, steps = type(producer) is nn.Conv2d, list[Step]()
    if conv and producer.groups > 1:
        return "it is grouped"
    num_units, maps = len(producer.weight), conv
    while True:
        users = [user for user in node.users if not _is_batch_size(user, node)]
        why = f"read by {', '.join(_named(user, modules) for user in users) or 'nothing'}"
        if len(users) != 1 or users[0].args[:1] != (node,):
            return why
        node, layer = users[0], layers.get(users[0])
        if type(layer) is nn.Linear:  # behind a convolution: columns in blocks, one a channel
            blocks = conv and layer.in_features % num_units == 0
            fits = not maps and (blocks or layer.in_features == num_units)
            return Link(producer, steps, layer) if fits else why
        if type(layer) is nn.Conv2d:
            fits = maps and layer.groups == 1 and layer.in_channels == num_units
            return Link(producer, steps, layer) if fits else why
        if layer is not None:
            fits = maps if type(layer) is nn.BatchNorm2d else is_flat(node, modules)
            step = layer if fits and layer.num_features == num_units else None
        elif _flattens(node, modules):
            step, maps = nn.Flatten(), False
        elif (step := _unitwise(node, modules)) is None and maps and _pools(node, modules):
            step = nn.Identity()
        if step is None:
            return why
        steps.append(step)


def why_left(name: str, layer: nn.Module, traced: fx.GraphModule) -> str:
    """Return why a layer is none of `layers_of`.

    Args:
        name: of the layer.
        layer: as it was before the network was traced.
        traced: the network.

    >>> from .tracing import trace
    >>> layer = nn.Linear(2, 2)
    >>> why_left("0", layer, trace(nn.Sequential(layer, layer)))
    'it is called 2 times'
    """
    if not name:
        return "it is the whole network"
    unknown = f"it is a {type(layer).__name__}; only Linear and Conv2d are followed"
    calls = [n for n in traced.graph.nodes if n.op == "call_module" and n.target == name]
    if len(calls) != 1:
        inside = [n.target for n in traced.graph.nodes if name.startswith(f"{n.target}.")]
        if inside:
            return f"inside {inside[0]}, which torch.fx does not look into"
        is_open = any(n.target == f"{name}.weight" for n in traced.graph.nodes)
        return unknown if is_open else f"it is called {len(calls)} times"
    if is_altered(traced.get_submodule(name)):
        return "it has hooks or a patched forward"
    return unknown if type(layer) not in LAYERS else "something else reads its weights, too"


def _named(node: Any, modules: Nodes) -> str:
    """Return what a reader would call a node."""
    if node.op == "output":
        return "the output"
    if node.op == "call_module":
        kind = f" ({type(modules[node]).__name__})" if node in modules else ""
        return f"{node.target}{kind}"
    return str(getattr(node.target, "__name__", node.target))


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


def is_flat(node: Any, modules: Nodes) -> bool:
    """Whether a node is surely (sample, unit); without a flatten before it, it may be tokens."""
    while not _flattens(node, modules):
        rowwise = type(modules.get(node)) in {nn.Linear, nn.BatchNorm1d}
        if not (rowwise or _unitwise(node, modules)):
            return False
        node = node.all_input_nodes[0]
    return True
