"""The least that a training step must compute: the products or convolutions of its layers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

LAYOUTS = (torch.contiguous_format, torch.channels_last)


def bare_products(
    model: nn.Module, batch: Tensor, num_steps: int
) -> tuple[float, list[Callable[[], None]]]:
    """Return the FLOPs of one step, and the products alone of as many steps, per memory layout.

    Forward and backward; the first layer needs no gradient of its inputs, and no bias is added.
    Two FLOPs make one multiply-add.
    """
    layers: list[tuple[Any, Tensor, Tensor]] = []

    def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        layers.append((module, torch.randn_like(inputs[0]), torch.randn_like(output)))

    kinds = (nn.Conv2d, nn.Linear)
    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        model(batch)
    for handle in handles:
        handle.remove()
    flops = 0.0
    products: list[list[Callable[[], object]]] = [[], []]
    for i, (module, x, g) in enumerate(layers):
        w, inner = module.weight.detach(), i > 0
        flops += (6 if inner else 4) * g.numel() * w[0].numel()
        for layout, calls in zip(LAYOUTS, products, strict=True):
            if isinstance(module, nn.Linear):
                calls.append(partial(multiply, x, w, g, inner))
            else:
                a, b, c = (t.contiguous(memory_format=layout) for t in (x, w, g))
                calls.append(partial(convolve, module, a, b, c, inner))

    def run_all(calls: list[Callable[[], object]]) -> None:
        for call in calls * num_steps:
            call()

    return flops, [partial(run_all, calls) for calls in products]


def multiply(x: Tensor, w: Tensor, g: Tensor, inner: bool) -> None:
    """Compute outputs, the gradient of the weights, and, unless first, that of the inputs."""
    torch.mm(x, w.T)
    torch.mm(g.T, x)
    if inner:
        torch.mm(g, w)


def convolve(module: nn.Conv2d, x: Tensor, w: Tensor, g: Tensor, inner: bool) -> None:
    """Compute the same for a convolution."""
    stride, padding = list(module.stride), list(module.padding)
    nn.functional.conv2d(x, w, None, module.stride, module.padding)
    torch.ops.aten.convolution_backward(
        g, x, w, None, stride, padding, [1, 1], False, [0, 0], 1, [inner, True, False]
    )
