"""Masked steps, evaluation, optimisers, learning-rate schedules, check times. Knows no levels."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, LRScheduler

from . import _moved
from .classes import check_classes, class_range
from .masks import Masked, Masks, apply_masks

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("constant", "linear", "triangular", "cosine")
Augment = Callable[[Tensor, torch.Generator], Tensor]


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


def make_schedule(
    optimizer: torch.optim.Optimizer, name: str, num_steps: int
) -> LRScheduler | None:
    """Return the schedule of a learning rate over some steps; None where it stays what it is.

    Source: torch.optim.lr_scheduler. Budgeted training falls linearly to zero (Li, Yumer & Ramanan
    2020, arXiv:1905.04753).

    Args:
        optimizer: its present learning rate is the largest of the schedule.
        name: "constant"; "linear" or "cosine": from there to 0; "triangular": up to there over the
            first fifth of the steps, then linearly to 0.
        num_steps: over which it is spread.

    Raises:
        ValueError: an unknown name.

    >>> sgd = make_optimizer(nn.Linear(1, 1), "sgd", 1.0, 0.9, 0.0)
    >>> schedule, rates = make_schedule(sgd, "triangular", 5), []
    >>> for _ in range(5):
    ...     rates.append(round(sgd.param_groups[0]["lr"], 2)); sgd.step(); schedule.step()
    >>> rates
    [0.5, 1.0, 0.75, 0.5, 0.25]
    """
    if name not in SCHEDULES:
        raise ValueError(f"unknown schedule {name!r}; choose from {', '.join(SCHEDULES)}")
    if name == "constant":
        return None
    if name == "linear":
        return LinearLR(optimizer, 1.0, 0.0, num_steps)
    if name == "cosine":
        return CosineAnnealingLR(optimizer, max(1, num_steps))
    peak = num_steps // 5

    def triangle(step: int) -> float:
        if step <= peak:
            return (step + 1) / (peak + 1)
        return max(0.0, (num_steps - step) / (num_steps - peak))

    return LambdaLR(optimizer, triangle)


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
    multiples = _doubling() if spacing == "doubling" else count(1)
    due = 0
    while due < budget:
        yield due
        due = first * next(multiples)
    yield budget


def _doubling() -> Iterator[int]:
    """Yield 1, 2, 3, 4, 6, 8, 12, 16, ...: two for each doubling."""
    yield 1
    for n in count():
        yield 2 ** (n + 1)
        yield 3 * 2**n


def train_steps(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    masks: Masks,
    batches: Iterator[Tensor],
    num_steps: int,
    scheduler: LRScheduler | None = None,
    label_smoothing: float = 0.0,
    augment: Callable[[Tensor], Tensor] | None = None,
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
        label_smoothing: of the cross-entropy, in [0, 1): Szegedy et al. 2016, arXiv:1512.00567.
        augment: called with the inputs of each batch, returns what is trained on instead.

    Returns:
        The mean loss over these steps, in nats; with label smoothing, that loss.

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
    hold = Masked(model, masks)
    if not model.training:  # else what is frozen inside a training network stays frozen
        model.train()
    total = torch.zeros((), device=inputs.device)
    steps = 0
    for batch in islice(batches, num_steps):
        steps += 1
        index = batch.to(inputs.device)
        samples = inputs.index_select(0, index)
        logits = model(samples if augment is None else augment(samples))
        if not isinstance(logits, Tensor):
            raise ValueError(
                f"in training mode the model returns {type(logits).__name__}, not one tensor;"
                " switch auxiliary outputs off"
            )
        loss = nn.functional.cross_entropy(logits, targets[index], label_smoothing=label_smoothing)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        hold()
        total += loss.detach()
    hold.settle()
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
    limits = class_range(targets)
    loss = torch.zeros((), device=inputs.device)
    correct = torch.zeros((), dtype=torch.int64, device=inputs.device)
    with evaluating(model):
        for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
            logits = model(x)
            if not isinstance(logits, Tensor) or logits.dim() != 2:
                raise ValueError("a classifier must return one tensor: logits (sample, class)")
            check_classes(logits, limits)
            loss += nn.functional.cross_entropy(logits, y, reduction="sum")
            correct += (logits.argmax(1) == y).sum()
    return loss.item() / len(inputs), correct.item() / len(inputs)


__getattr__ = _moved.lookup("train", _moved.NAMES["train"])
