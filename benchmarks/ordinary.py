"""The same pruning loop as most people write it: the yardstick, not part of the library.

A DataLoader with torchvision's transforms, torch.nn.utils.prune, rewinding by hand.
"""

import copy
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from torchvision.datasets import MNIST, FakeData

Images = Dataset[Any]


def mnist(subset: int, on_disk: bool) -> tuple[Images, Images, Images]:
    """Return train, validation (a tenth) and test; random images if MNIST is not on disk."""
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    if on_disk:
        root = Path(os.environ["INFCOP_DATA_DIR"])
        images: Images = MNIST(root, train=True, transform=transform)
        test: Images = MNIST(root, train=False, transform=transform)
    else:
        images = FakeData(subset, (1, 28, 28), 10, transform)
        test = FakeData(subset // 6, (1, 28, 28), 10, transform)
    order = torch.randperm(subset).tolist()
    held_out = subset // 10
    return Subset(images, order[held_out:]), Subset(images, order[:held_out]), test


def run(model: nn.Module, splits: tuple[Images, Images, Images], levels: int, epochs: int) -> float:
    """Train, prune a fifth of each layer, rewind, `levels` times; return the last test accuracy."""
    train, validation, test = splits
    loader = DataLoader(train, batch_size=128, shuffle=True)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    start = copy.deepcopy(model.state_dict())
    accuracy = 0.0
    for level in range(levels + 1):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
        for _ in range(epochs):
            model.train()
            for inputs, targets in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs), targets).backward()
                optimizer.step()
            _accuracy(model, validation)
        accuracy = _accuracy(model, test)
        if level == levels:
            break
        for layer in layers:
            prune.l1_unstructured(layer, "weight", amount=0.2)
        for name, value in model.state_dict().items():
            if not name.endswith("_mask"):
                value.copy_(start[name.removesuffix("_orig")])
    return accuracy


@torch.no_grad()
def _accuracy(model: nn.Module, images: Images) -> float:
    model.eval()
    correct = total = 0
    for inputs, targets in DataLoader(images, batch_size=1000):
        correct += int((model(inputs).argmax(1) == targets).sum())
        total += len(targets)
    return correct / total
