"""Masked training and evaluation. Knows nothing of levels."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, count, islice

import torch
from torch import Tensor, nn

from .masks import Masks, apply_masks, prunable

OPTIMIZERS = ("sgd", "adam")


def choose_device(name: str) -> str:
    """Return the device to compute on.

    Source: torch.cuda.

    Args:
        name: "cpu", "cuda", or "auto": cuda where there is one.

    Raises:
        ValueError: cuda is asked for and there is none.

    >>> choose_device("cpu")
    'cpu'
    """
    auto = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and auto == "cpu":
        raise ValueError("device is cuda, but there is none here; choose cpu or auto")
    return auto if name == "auto" else name


def accelerator(device: str) -> str | None:
    """Return the name of the GPU that a device stands for; None on a CPU.

    Source: torch.cuda.

    Args:
        device: as for `choose_device`.

    Raises:
        ValueError: cuda is asked for and there is none.

    >>> accelerator("cpu") is None
    True
    """
    return torch.cuda.get_device_name() if choose_device(device) == "cuda" else None


def lay_out(model: nn.Module, memory_format: torch.memory_format = torch.channels_last) -> None:
    """Store the weights of 2-d convolutions channels last: the same network, faster on most CPUs.

    Source: torch's memory formats; names, shapes, indices and the state dict do not change.

    Args:
        model: the network, changed in place; its activations follow the layout of its weights.
        memory_format: torch.contiguous_format takes it back.

    >>> conv = nn.Conv2d(2, 2, 3); lay_out(conv)
    >>> conv.weight.is_contiguous(memory_format=torch.channels_last)
    True
    """
    for weight in model.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=memory_format)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode, and afterwards back into the mode it had.

    Source: torch.nn.Module.eval.

    Args:
        model: any module; a frozen BatchNorm inside a training network stays frozen.

    >>> model = nn.Dropout().train()
    >>> with evaluating(model):
    ...     model.training
    False
    >>> model.training
    True
    """
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Compute on so many CPU threads, and afterwards on as many as before.

    Source: torch.set_num_threads.

    Args:
        number: of threads; as many as before if None.

    >>> with threads(1):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_optimizer(
    model: nn.Module, name: str, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Return a fresh optimiser over all parameters.

    Source: torch.optim.

    Args:
        model: the network.
        name: "sgd" or "adam" (which ignores the momentum).
        lr: learning rate, > 0.
        momentum: in [0, 1).
        weight_decay: L2 penalty, >= 0.

    Raises:
        ValueError: an unknown name, or a number out of its range.

    >>> type(make_optimizer(nn.Linear(1, 1), "adam", 1e-3, 0.9, 0.0)).__name__
    'Adam'
    """
    if not (0 < lr < math.inf and 0 <= momentum < 1 and 0 <= weight_decay < math.inf):
        raise ValueError(
            f"lr must be > 0, momentum in [0, 1), weight decay >= 0, not"
            f" {lr}, {momentum}, {weight_decay}"
        )
    if name == "sgd":
        return torch.optim.SGD(
            model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True
        )
    if name == "adam":
        return torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    raise ValueError(f"unknown optimizer {name!r}; choose from {', '.join(OPTIMIZERS)}")


def shuffled_batches(
    num_samples: int, batch_size: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Yield index batches without end, a fresh permutation every epoch.

    Source: sampling without replacement; the last batch of an epoch may be smaller.

    Args:
        num_samples: size of the training split, >= 1.
        batch_size: samples per step, >= 1.
        generator: decides every permutation.

    Raises:
        ValueError: no samples, or a batch size below 1.

    >>> batches = shuffled_batches(5, 2, torch.Generator().manual_seed(0))
    >>> [len(next(batches)) for _ in range(4)]
    [2, 2, 1, 2]
    """
    if num_samples < 1 or batch_size < 1:
        raise ValueError(f"{num_samples} samples do not make batches of {batch_size}")
    while True:
        yield from torch.randperm(num_samples, generator=generator).split(batch_size)


def check_times(first: int, budget: int, spacing: str = "even") -> Iterator[int]:
    """Yield the steps after which a level is looked at: 0, the budget, and some between.

    Source: ours; times that grow with the training cost a level of n steps log n looks, not n.

    Args:
        first: the first look after some training, >= 1.
        budget: the last look, >= 0.
        spacing: "even", or "doubling": 1, 2, 3, 4, 6, 8, 12, 16, ... times the first.

    >>> list(check_times(10, 75)), list(check_times(10, 75, "doubling"))
    ([0, 10, 20, 30, 40, 50, 60, 70, 75], [0, 10, 20, 30, 40, 60, 75])
    """
    doubling = chain([1], chain.from_iterable((2**n, 3 * 2 ** (n - 1)) for n in count(1)))
    for multiple in chain([0], doubling if spacing == "doubling" else count(1)):
        if first * multiple >= budget:
            break
        yield first * multiple
    yield budget


def train_steps(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    masks: Masks,
    batches: Iterator[Tensor],
    num_steps: int,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> float:
    """Train for some steps; removed weights are exactly zero after every one of them.

    Source: masked training with cross-entropy.

    Args:
        model: the network, changed in place and left in training mode.
        optimizer: over the model's parameters.
        inputs: (sample, ...) on the model's device.
        targets: (sample,) int64.
        masks: True = kept, on the model's device.
        batches: index batches, for example `shuffled_batches`.
        num_steps: optimiser steps to take, >= 1.
        scheduler: of the optimiser's learning rate, told after every step.

    Returns:
        The mean loss over these steps, in nats.

    Raises:
        ValueError: masks that do not fit the model, fewer than num_steps batches, or no parameter
            that may change.
        FloatingPointError: the loss became NaN or infinite.

    >>> model = nn.Linear(1, 2); masks = {"weight": torch.tensor([[True], [False]])}
    >>> sgd = make_optimizer(model, "sgd", 0.1, 0.9, 0.1)
    >>> x, y = torch.ones(4, 1), torch.tensor([0, 1, 0, 1])
    >>> loss = train_steps(model, sgd, x, y, masks, iter([torch.arange(4)] * 3), 3)
    >>> model.weight[1, 0].item()
    0.0
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("no parameter of the model may change: requires_grad is False everywhere")
    apply_masks(model, masks)
    weights = prunable(model)
    # Multiplying by 0 and 1 is many times faster than masked_fill_ with a boolean.
    pruned = [
        (weights[name], torch.empty_like(weights[name]).copy_(mask))
        for name, mask in masks.items()
        if not mask.all()
    ]
    if not model.training:  # else what is frozen inside a training network stays frozen
        model.train()
    total = torch.zeros((), device=inputs.device)
    steps = 0
    for batch in islice(batches, num_steps):
        steps += 1
        index = batch.to(inputs.device)
        logits = model(inputs.index_select(0, index))
        if not isinstance(logits, Tensor):
            raise ValueError(
                f"in training mode the model returns {type(logits).__name__}, not one tensor;"
                " switch auxiliary outputs off"
            )
        loss = nn.functional.cross_entropy(logits, targets[index])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        with torch.no_grad():
            for weight, kept in pruned:
                weight.mul_(kept)
        total += loss.detach()
    with torch.no_grad():
        for weight, _ in pruned:
            weight.add_(0.0)  # a negative number times 0 is -0.0
    if not 1 <= steps == num_steps:
        raise ValueError(f"{num_steps} steps were asked for and {steps} batches were there")
    mean_loss = total.item() / num_steps
    if not abs(mean_loss) < float("inf"):
        raise FloatingPointError("the training loss is not finite; a smaller lr may help")
    return mean_loss


@torch.no_grad()
def evaluate(
    model: nn.Module, inputs: Tensor, targets: Tensor, batch_size: int = 250
) -> tuple[float, float]:
    """Return (loss, accuracy) in eval mode; every module is left in the mode it had.

    Source: cross-entropy in nats; accuracy is the fraction of correct arg-max predictions.

    Args:
        model: the network.
        inputs: (sample, ...) on the model's device.
        targets: (sample,) int64.
        batch_size: samples per forward pass.

    Raises:
        ValueError: no samples, inputs and targets that do not pair up, logits that are not
            (sample, class), a target that is no class of the network, or a batch size below 1.

    >>> model = nn.Linear(1, 2, bias=False); _ = model.weight.data.copy_(torch.tensor([[1.], [0.]]))
    >>> evaluate(model, torch.ones(4, 1), torch.tensor([0, 0, 0, 1]))[1]
    0.75
    """
    if len(inputs) == 0 or len(inputs) != len(targets):
        raise ValueError(
            f"{len(inputs)} inputs and {len(targets)} targets: no samples to evaluate on"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    lowest, highest = (int(target) for target in targets.aminmax())
    loss = torch.zeros((), device=inputs.device)
    correct = torch.zeros((), dtype=torch.int64, device=inputs.device)
    with evaluating(model):
        for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
            logits = model(x)
            if not isinstance(logits, Tensor) or logits.dim() != 2:
                raise ValueError("a classifier must return one tensor: logits (sample, class)")
            if lowest < 0 or highest >= logits.shape[1]:
                raise ValueError(f"targets must be classes, 0 to {logits.shape[1] - 1}")
            loss += nn.functional.cross_entropy(logits, y, reduction="sum")
            correct += (logits.argmax(1) == y).sum()
    return loss.item() / len(inputs), correct.item() / len(inputs)
