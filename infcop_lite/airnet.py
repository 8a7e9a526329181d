"""A network whose first layer is fitted to its training images, and frozen."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def airnet(
    shape: Sequence[int],
    num_classes: int,
    images: Tensor,
    widths: Sequence[int] = (16, 64, 64),
) -> nn.Sequential:
    """A fixed whitening convolution, then three groups of two convolutions without shortcuts.

    Source: Jordan 2024, arXiv:2404.00498, with ReLU for GELU and BatchNorm as torch has it.

    Args:
        shape: of an image: channels, height, width.
        num_classes: how many logits, >= 1.
        images: (image, channel, height, width), the training images, to fit the first layer to.
        widths: channels of the groups, >= 1 each.

    Raises:
        ValueError: widths that are no whole numbers above 0.

    >>> net = airnet((3, 32, 32), 10, torch.rand(9, 3, 32, 32))
    >>> sum(w.numel() for w in net.parameters() if w.requires_grad)
    126794
    """
    if not isinstance(widths, list | tuple) or any(type(w) is not int or w < 1 for w in widths):
        raise ValueError(f"widths must be a list of whole numbers above 0, not {widths!r}")
    layers: OrderedDict[str, nn.Module] = OrderedDict(whiten=whitening(images), relu=nn.ReLU())
    sizes = [layers["whiten"].out_channels, *widths]
    for i, (num_inputs, num_units) in enumerate(pairwise(sizes), start=1):
        layers[f"group{i}"] = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(num_inputs, num_units, 3, padding=1, bias=False),
                pool=nn.MaxPool2d(2),
                bn1=nn.BatchNorm2d(num_units),
                relu1=nn.ReLU(),
                conv2=nn.Conv2d(num_units, num_units, 3, padding=1, bias=False),
                bn2=nn.BatchNorm2d(num_units),
                relu2=nn.ReLU(),
            )
        )
    layers.update(
        pool=nn.AdaptiveMaxPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(sizes[-1], num_classes)
    )
    return nn.Sequential(layers)


def whitening(images: Tensor, most: int = 5000) -> nn.Conv2d:
    """Return a frozen 2×2 convolution whose outputs, and their negatives, are uncorrelated.

    It projects each patch on the principal axes of the patches of the first images, in units of
    their deviations. A small constant keeps directions that hardly vary from being blown up.

    Args:
        images: (image, channel, height, width).
        most: how many of them are used, from the first.

    >>> whitening(torch.rand(9, 1, 8, 8)).weight.shape
    torch.Size([8, 1, 2, 2])
    """
    patches = nn.functional.unfold(images[:most].double().cpu(), 2)  # (image, 4 channels, place)
    patches = patches.transpose(1, 2).flatten(0, 1)
    variances, axes = torch.linalg.eigh(patches.T.cov())
    axes = (axes / (variances + 1e-2).sqrt()).T.flip(0).float()
    axes = axes * axes.sum(1, keepdim=True).sign()  # or the machine's choice of a sign decides
    conv = nn.Conv2d(images.shape[1], 2 * len(axes), 2, bias=False)
    kernels = axes.reshape(-1, *conv.weight.shape[1:])
    conv.weight = nn.Parameter(torch.cat([kernels, -kernels]), requires_grad=False)
    return conv
