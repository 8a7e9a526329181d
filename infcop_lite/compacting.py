"""Build a smaller network with the same outputs out of a pruned one.

A unit (neuron or channel) without incoming weights is a constant; one without outgoing weights has
no effect. Both can go. Weights that are scattered among living units cannot: dense kernels multiply
by their zeros all the same.
"""

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from . import _moved
from .layers import copied, is_layer
from .linking import (
    NORMS,
    Link,
    Units,
    is_flat,
    layers_of,
    link_from,
    modules_of,
    num_units,
    why_left,
)
from .masks import Masks, apply_masks, check_masks
from .tracing import trace

__getattr__ = _moved.lookup("compacting", _moved.NAMES["compacting"])


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
    else, keeps its units; its line of ``report`` says why. Whole units through skips: see `units`.

    Args:
        model: any module that torch.fx can trace, with finite weights. Its inputs are batches,
            (sample, ...).
        masks: parameter name -> boolean tensor, one for every prunable weight.

    Returns:
        A torch.fx.GraphModule in eval mode with the layers' names of the model. Its ``code`` shows
        what it runs, and its ``report`` says layer -> (units before, units after, why). Outputs
        agree up to round-off. `storing.save` keeps it.

    Raises:
        ValueError: masks that do not fit, or a surviving weight that is NaN or infinite. Or a model
            with hooks of its own (its parts may have some), or one that torch.fx cannot trace.

    Note:
        The smaller network stays in eval mode: a forward pass that asks for its mode always takes
        the branch of eval mode. Optional arguments, a flag or None, keep their default values.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> masks = {"0.weight": torch.ones(3, 2).bool(), "2.weight": torch.ones(1, 3).bool()}
    >>> masks["0.weight"][1] = False
    >>> small = compact(model, masks)
    >>> small.get_submodule("0"), tuple(small.report["2"])
    (Linear(in_features=2, out_features=2, bias=True), (1, 1, 'read by the output'))
    """
    check_masks(model, masks)
    twin = copied(model).eval()
    apply_masks(twin, masks)
    for name, parameter in twin.named_parameters():
        if not torch.isfinite(parameter).all():
            raise ValueError(f"{name} holds weights that are NaN or infinite")
    traced = folded(twin)
    layers, modules = layers_of(traced), modules_of(traced)
    units = {node: layer for node, layer in layers.items() if type(layer) not in NORMS}
    found = {node.target: link_from(node, layers, modules) for node in units}
    links = [link for link in found.values() if isinstance(link, Link)]
    size, before = _size(links), -1
    while size != before:
        for link in reversed(links):
            _shrink(link)
        size, before = _size(links), size
    traced.recompile()
    report = _report(model, traced, found)
    # copies of a graph module keep what stands there, and nothing else
    traced.meta["_user_preserved_attributes"] = {"report": report}
    vars(traced)["report"] = report
    return traced


def folded(model: nn.Module) -> fx.GraphModule:
    """Return the graph of a network, every batch norm folded into the layer before it.

    Args:
        model: in eval mode; its layers are the graph's, and are changed.

    Raises:
        ValueError: as for `tracing.trace`.

    >>> net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).eval()
    >>> [name for name, _ in folded(net).named_parameters()]
    ['0.weight', '0.bias']
    """
    traced = trace(model)
    _fold_batch_norms(traced)
    traced.recompile()
    return traced


def _report(
    model: nn.Module, traced: fx.GraphModule, found: dict[str, Link | str]
) -> dict[str, Units]:
    """Return layer -> units before, units after, why."""
    report = {}
    left = dict(traced.named_modules())
    for name, layer in model.named_modules():
        if is_layer(layer):
            before = num_units(layer)
            after = num_units(left[name]) if name and is_layer(left.get(name, traced)) else before
            why = found[name] if name in found else why_left(name, layer, traced)
            if isinstance(why, Link):
                why = "all are alive" if after == before else "the others were dead"
            report[name] = Units(before, after, why)
    return report


def _fold_batch_norms(traced: fx.GraphModule) -> None:
    """Fold every batch norm into the layer right before it, where nothing else reads that layer."""
    layers, modules = layers_of(traced), modules_of(traced)
    for node, norm in layers.items():
        source = node.args[0]
        layer: Any = layers.get(source)
        spatial = (type(layer), type(norm)) == (nn.Conv2d, nn.BatchNorm2d)
        rowwise = (type(layer), type(norm)) == (nn.Linear, nn.BatchNorm1d)
        if not (spatial or (rowwise and is_flat(source, modules))) or len(source.users) > 1:
            continue
        if norm.weight is None:  # affine=False, which torch cannot fuse with a linear layer
            norm.weight = nn.Parameter(torch.ones_like(norm.running_var))
            norm.bias = nn.Parameter(torch.zeros_like(norm.running_var))
        fused = fuse_conv_bn_eval(layer, norm) if spatial else fuse_linear_bn_eval(layer, norm)
        layer.weight, layer.bias = fused.weight, fused.bias
        node.replace_all_uses_with(source)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()


def _size(links: list[Link]) -> int:
    """Return the number of weights and of non-zero weights together: shrinking lowers it."""
    weights = [layer.weight for link in links for layer in (link.producer, link.consumer)]
    return sum(weight.numel() + int(weight.count_nonzero()) for weight in weights)


@torch.no_grad()
def _shrink(link: Link) -> None:
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
    for layer in (producer, *(step for step in steps if type(step) in NORMS)):
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
