"""Networks by name, shaped for a data set.

Weights come from torch's global generator: seed it first. Parameter names appear in masks and
figures, so modules are named for what they are and defined in the order in which they run.
"""

import inspect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad

from .airnet import airnet


def build(name: str, dataset: Any = None, **options: Any) -> nn.Module:
    """Build a freshly initialised network for the images and classes of a data set.

    Source: LeCun et al. 1998 (mlp, lenet5); Simonyan & Zisserman 2014, arXiv:1409.1556 (vgg16 and,
    in small, convnet); He et al. 2015, arXiv:1512.03385 (resnet18, resnet20); Jordan 2024,
    arXiv:2404.00498 (airnet, of three widths).

    Args:
        name: one of `NAMES`; "vgg16" and "resnet18" are torchvision's.
        dataset: what `data.load` returns; without one, images are 1×28×28 for mlp and lenet5 and
            3×32×32 for the others, in 10 classes.
        **options: ``widths=(300, 100)`` of mlp; ``width=16`` of convnet; ``widths=(16, 64, 64)`` of
            airnet; ``weights=None`` of vgg16 and resnet18, or the name of pretrained weights,
            which torchvision then fetches.

    Returns:
        A module from images (sample, channel, height, width) to logits (sample, class).

    Raises:
        ValueError: an unknown name or option, a bad value, images too small for the network, or
            no data set for airnet, whose first convolution whitens its training images.
        OSError: pretrained weights could not be fetched.

    Note:
        The reference code knows only the two torchvision networks, pretrained, at 224×224.

    >>> [name for name, _ in build("mlp", widths=[5]).named_parameters()]
    ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias']
    """
    if name not in NAMES:
        raise ValueError(f"unknown model {name!r}; choose from {', '.join(NAMES)}")
    network = NETWORKS[name]
    known = [*inspect.signature(network.make).parameters][2:]
    asks_for_images = "images" in known
    if asks_for_images:
        known.remove("images")
    if unknown := [option for option in options if option not in known]:
        raise ValueError(f"{name} has no option {unknown[0]!r}, only {', '.join(known) or 'none'}")
    shape, num_classes, least = network.shape, 10, network.smallest
    if dataset is not None:
        shape, num_classes = tuple(dataset.train.inputs.shape[1:]), len(dataset.classes)
    if min(shape[1:]) < least:
        raise ValueError(
            f"{name} needs images of at least {least}×{least}, not {shape[1]}×{shape[2]}"
        )
    if asks_for_images and dataset is None:
        raise ValueError(f"{name} is fitted to training images: build it with a data set")
    given = {"images": dataset.train.inputs} if asks_for_images else {}
    return network.make(shape, num_classes, **given, **options)


def _mlp(
    shape: Sequence[int], num_classes: int, widths: Sequence[int] = (300, 100)
) -> nn.Sequential:
    if not isinstance(widths, list | tuple) or any(type(w) is not int or w < 1 for w in widths):
        raise ValueError(f"widths must be a list of whole numbers above 0, not {widths!r}")
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    sizes = [prod(shape), *widths]
    for i, (num_inputs, num_units) in enumerate(pairwise(sizes), start=1):
        layers[f"fc{i}"] = nn.Linear(num_inputs, num_units)
        layers[f"relu{i}"] = nn.ReLU()
    layers[f"fc{len(sizes)}"] = nn.Linear(sizes[-1], num_classes)
    return nn.Sequential(layers)


def _lenet5(shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """ReLU and max-pooling in place of the original's sigmoids and subsampling."""
    height, width = ((n // 2 - 4) // 2 for n in shape[1:])
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(shape[0], 6, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(16 * height * width, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, num_classes),
        )
    )


def _convnet(shape: Sequence[int], num_classes: int, width: int = 16) -> nn.Sequential:
    """Four 3×3 convolutions with BatchNorm, pooled after each, the channels doubling."""
    if type(width) is not int or width < 1:
        raise ValueError(f"width must be a whole number above 0, not {width!r}")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    sizes = [shape[0], *(width * 2**i for i in range(4))]
    for i, (num_inputs, num_units) in enumerate(pairwise(sizes), start=1):
        layers[f"conv{i}"] = nn.Conv2d(num_inputs, num_units, 3, padding=1, bias=False)
        layers[f"bn{i}"] = nn.BatchNorm2d(num_units)
        layers[f"relu{i}"] = nn.ReLU()
        layers[f"pool{i}"] = nn.MaxPool2d(2) if i < 4 else nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(sizes[-1], num_classes)
    return nn.Sequential(layers)


class _Block(nn.Module):
    """Two convolutions and option A's shortcut without parameters: subsample, pad with zeros."""

    def __init__(self, num_inputs: int, num_units: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_inputs, num_units, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(num_units)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(num_units, num_units, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(num_units)
        self.relu2 = nn.ReLU()
        self.stride, self.padding = stride, num_units - num_inputs

    def forward(self, x: Tensor) -> Tensor:
        shortcut = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.padding))
        return self.relu2(self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))) + shortcut)


def _resnet20(shape: Sequence[int], num_classes: int) -> nn.Sequential:
    """Three stages of three blocks with 16, 32 and 64 channels."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(shape[0], 16, 3, padding=1, bias=False),
        bn1=nn.BatchNorm2d(16),
        relu1=nn.ReLU(),
    )
    for stage, (num_inputs, num_units) in enumerate([(16, 16), (16, 32), (32, 64)], start=1):
        first = _Block(num_inputs, num_units, stride=1 if stage == 1 else 2)
        others = {f"block{i}": _Block(num_units, num_units, stride=1) for i in (2, 3)}
        layers[f"stage{stage}"] = nn.Sequential(OrderedDict(block1=first, **others))
    layers.update(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(64, num_classes))
    for layer in layers.values():
        layer.apply(_he_normal)
    return nn.Sequential(layers)


def _he_normal(module: nn.Module) -> None:
    """Initialise a convolution as He et al. do; leave other modules alone."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _vgg16(shape: Sequence[int], num_classes: int, weights: str | None = None) -> nn.Module:
    return _torchvision("vgg16", "features.0", "classifier.6", shape[0], num_classes, weights)


def _resnet18(shape: Sequence[int], num_classes: int, weights: str | None = None) -> nn.Module:
    return _torchvision("resnet18", "conv1", "fc", shape[0], num_classes, weights)


def _torchvision(
    name: str, first: str, head: str, num_channels: int, num_classes: int, weights: str | None
) -> nn.Module:
    """Fit torchvision's network: its first convolution to the channels, its head to the classes.

    Pretrained kernels see the mean of other channels as each of their three colours.
    """
    from torchvision import models as zoo

    model = zoo.get_model(name, weights=None, num_classes=num_classes)
    conv = model.get_submodule(first)
    if num_channels != conv.in_channels:
        size = (conv.kernel_size, conv.stride, conv.padding)
        new = nn.Conv2d(num_channels, conv.out_channels, *size, bias=conv.bias is not None)
        parent, _, child = first.rpartition(".")
        setattr(model.get_submodule(parent), child, new)
        _he_normal(new)
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # so that a kept pre-activation stays what it was
    if weights is not None:
        state = _pretrained(zoo.get_model_weights(name), weights)
        if num_channels != conv.in_channels:
            kernel = state[f"{first}.weight"].sum(dim=1, keepdim=True) / num_channels
            state[f"{first}.weight"] = kernel.expand(-1, num_channels, -1, -1)
        body = {key: value for key, value in state.items() if not key.startswith(f"{head}.")}
        model.load_state_dict(body, strict=False)
    return model


def _pretrained(published: Any, weights: str) -> dict[str, Tensor]:
    known = [key for key, value in published.__members__.items() if value.meta["categories"]]
    if weights not in known:
        raise ValueError(f"unknown weights {weights!r}; choose from {', '.join(known)}")
    try:
        return dict(published[weights].get_state_dict(check_hash=True, weights_only=True))
    except (OSError, RuntimeError) as error:
        raise OSError(f"cannot fetch weights {weights}: {' '.join(str(error).split())}") from error


@dataclass(frozen=True)
class Network:
    """All that is known of a network by its name.

    Args:
        make: called with the shape of an image, the number of classes and the options that it
            names; with ``images=``, the training images, too, if it asks for them.
        shape: of an image where no data set gives one.
        smallest: pixels on a side with which it has anything left to work on.
    """

    make: Callable[..., nn.Module]
    shape: tuple[int, int, int] = (3, 32, 32)
    smallest: int = 1


NETWORKS: dict[str, Network] = {
    "mlp": Network(_mlp, (1, 28, 28)),
    "lenet5": Network(_lenet5, (1, 28, 28), 12),
    "convnet": Network(_convnet, smallest=8),
    "resnet20": Network(_resnet20),
    "vgg16": Network(_vgg16, smallest=32),
    "resnet18": Network(_resnet18),
    "airnet": Network(airnet, smallest=9),
    "airnet-32": Network(partial(airnet, widths=(32, 128, 128)), smallest=9),
    "airnet-64": Network(partial(airnet, widths=(64, 256, 256)), smallest=9),
}
NAMES = tuple(NETWORKS)
