"""Masked steps, evaluation, optimisers, learning-rate schedules, check times. Knows no levels."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, LRScheduler

from . import _moved
from .batches import call, num_samples, pick, pieces, take
from .classes import check_classes, class_range
from .limits import check
from .masks import Masked, Masks, apply_masks

OPTIMIZERS = ("sgd", "adam")
SCHEDULES = ("constant", "linear", "triangular", "cosine")
#: Mixed precision by name; float16 would need its losses scaled.
AUTOCAST = {"none": None, "bfloat16": torch.bfloat16}
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
    if not isinstance(model, nn.Module):
        raise ValueError(f"a model must be a torch module, not {type(model).__name__}")
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        if modes[model]:
            model.train()  # what an eval() or train() of one's own did besides, it may undo
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
    pairs = (pick((inputs, targets), index) for index in batches)

    def loss(logits: Any, y: Any) -> Tensor:
        return classification_loss(logits, y, label_smoothing)

    return train_batches(model, optimizer, masks, pairs, num_steps, scheduler, loss, augment)


def classification_loss(logits: Any, targets: Any, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy in nats of what a network in training returns.

    Source: torch.nn.functional.cross_entropy.

    Args:
        logits: (sample, class).
        targets: (sample,) int64.
        label_smoothing: in [0, 1).

    Raises:
        ValueError: a network that returns something else, such as auxiliary outputs.

    >>> round(classification_loss(torch.zeros(1, 2), torch.tensor([1])).item(), 4)
    0.6931
    """
    if not isinstance(logits, Tensor):
        raise ValueError(
            f"in training mode the model returns {type(logits).__name__}, not one tensor;"
            " switch auxiliary outputs off, or give a loss= of your own"
        )
    return nn.functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)


def train_batches(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    masks: Masks,
    batches: Iterator[tuple[Any, Any]],
    num_steps: int,
    scheduler: LRScheduler | None = None,
    loss: Callable[[Any, Any], Tensor] = classification_loss,
    augment: Callable[[Any], Any] | None = None,
    autocast: torch.dtype | None = None,
) -> float:
    """Train for some steps on whatever batches; removed weights are exactly zero after each step.

    Source: masked training with any loss.

    Args:
        model: the network, changed in place and left in training mode: its ``train()`` is called,
            and a module that was in eval mode inside a training network stays so.
        optimizer: over the model's parameters.
        masks: True = kept, on the model's device.
        batches: (inputs, targets), on the model's device; inputs of several tensors are a dict (by
            name) or a tuple (one by one).
        num_steps: optimiser steps to take, >= 1.
        scheduler: of the optimiser's learning rate, told after every step.
        loss: called with the output and the targets, returns a mean over samples.
        augment: called with the inputs of each batch, returns what is trained on instead.
        autocast: what layers multiply in, by `torch.autocast`; None is the type of the weights.

    Returns:
        The mean loss over these steps.

    Raises:
        ValueError: as for `train_steps`, or a loss that is not one number with a gradient.
        FloatingPointError: the loss became NaN or infinite.

    >>> model = nn.Linear(1, 1); masks = {"weight": torch.tensor([[True]])}
    >>> sgd = make_optimizer(model, "sgd", 0.1, 0.9, 0.0)
    >>> batches = iter([(torch.ones(4, 1), torch.zeros(4, 1))] * 3)
    >>> train_batches(model, sgd, masks, batches, 3, loss=nn.functional.mse_loss) > 0
    True
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("no parameter of the model may change: requires_grad is False everywhere")
    apply_masks(model, masks)
    hold = Masked(model, masks)
    to_train(model)
    device = next(model.parameters()).device
    mixed = torch.autocast(device.type, autocast, enabled=autocast is not None)
    total = torch.zeros((), device=device)
    steps = 0
    for inputs, targets in islice(batches, num_steps):
        steps += 1
        if augment is not None:
            inputs = augment(inputs)
        with mixed:
            error = loss(call(model, inputs), targets)
        if steps == 1 and not (isinstance(error, Tensor) and not error.dim() and error.grad_fn):
            raise ValueError(
                f"the loss must return one number, a mean over samples, made of the output by"
                f" torch, not {_described(error)}"
            )
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        hold()
        total += error.detach()
    hold.settle()
    if not 1 <= steps == num_steps:
        raise ValueError(f"{num_steps} steps were asked for and {steps} batches were there")
    mean_loss = total.item() / num_steps
    if not abs(mean_loss) < float("inf"):
        raise FloatingPointError("the training loss is not finite; a smaller lr may help")
    return mean_loss


def to_train(model: nn.Module) -> None:
    """Call a model's ``train()``, which may keep parts of it frozen; what is frozen stays so.

    Args:
        model: a module in eval mode inside a training network stays in eval mode.

    >>> model = nn.Sequential(nn.BatchNorm1d(1).eval())
    >>> to_train(model); model[0].training
    False
    """
    frozen = [module for module in model.modules() if not module.training]
    was_training = model.training
    model.train()
    for module in frozen if was_training else ():
        module.training = False


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    if value.dim():
        return f"a tensor of shape {tuple(value.shape)}"
    return "a number that has no gradient"


@torch.no_grad()
def has_classes(model: nn.Module, inputs: Any, targets: Any) -> bool:
    """Say whether there is an accuracy: outputs (sample, class), and targets that are such classes.

    Args:
        model: the network; it is tried on one sample.
        inputs, targets: of all samples.

    >>> has_classes(nn.Linear(1, 2), torch.ones(3, 1), torch.tensor([0, 1, 1]))
    True
    >>> has_classes(nn.Linear(1, 1), torch.ones(3, 1), torch.tensor([0, 1, 1]))
    False
    """
    if not isinstance(targets, Tensor) or targets.dtype != torch.int64 or targets.dim() != 1:
        return False
    with evaluating(model):
        output = call(model, take(inputs, 0, 1))
    is_logits = isinstance(output, Tensor) and output.dim() == 2 and output.shape[1] > 1
    return is_logits and int(targets.min()) >= 0 and int(targets.max()) < output.shape[1]


@torch.no_grad()
def evaluate(
    model: nn.Module, inputs: Any, targets: Tensor, batch_size: int = 250
) -> tuple[float, float]:
    """Return (loss, accuracy) in eval mode; every module is left in the mode it had.

    Source: cross-entropy in nats; accuracy is the fraction of correct arg-max predictions.

    Args:
        model: the network.
        inputs: (sample, ...) on the model's device; of several tensors, a dict or a tuple.
        targets: (sample,) int64.
        batch_size: samples per forward pass.

    Raises:
        ValueError: no samples, inputs and targets that do not pair up, or a batch size below 1.
            Logits that are not (sample, class), or a target that is no class of the network.

    >>> model = nn.Linear(1, 2, bias=False); _ = model.weight.data.copy_(torch.tensor([[1.], [0.]]))
    >>> evaluate(model, torch.ones(4, 1), torch.tensor([0, 0, 0, 1]))[1]
    0.75
    """
    size = num_samples(inputs)
    if not isinstance(targets, Tensor) or targets.dim() != 1:
        raise ValueError("targets must be a tensor (sample,), int64")
    if size == 0 or size != len(targets):
        raise ValueError(f"{size} inputs and {len(targets)} targets: no samples to evaluate on")
    check("batch_size", batch_size, int, {"least": 1})
    limits = class_range(targets)
    loss = torch.zeros((), device=targets.device)
    correct = torch.zeros((), dtype=torch.int64, device=targets.device)
    with evaluating(model):
        for x, y in pieces((inputs, targets), batch_size):
            logits = call(model, x)
            if not isinstance(logits, Tensor) or logits.dim() != 2:
                raise ValueError(
                    "a classifier must return one tensor: logits (sample, class); for others give a"
                    " loss= of your own"
                )
            check_classes(logits, limits)
            loss += nn.functional.cross_entropy(logits, y, reduction="sum")
            correct += (logits.argmax(1) == y).sum()
    return loss.item() / size, correct.item() / size


__getattr__ = _moved.lookup("train", _moved.NAMES["train"])
