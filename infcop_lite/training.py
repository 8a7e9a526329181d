"""One training with a fresh optimiser, schedule, loss and batches, drawn from one seed."""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from .amounts import spared
from .batches import on
from .classes import check_classes, class_range
from .config import Config
from .drawing import generator
from .feeding import InMemory, Source, check_finite
from .loaders import flip_shift
from .masks import Masks, prunable
from .train import AUTOCAST, classification_loss, make_optimizer, make_schedule, train_batches


def training(
    model: nn.Module,
    source: Source,
    config: Config,
    when: tuple[int, str],
    lr: float,
    schedule: str,
    length: int,
) -> Callable[[Masks, int], float]:
    """Return what trains some steps further, as masks say, and returns their mean loss.

    Args:
        model: the network, changed in place.
        source: of the batches.
        config: optimiser, schedule, loss and augmentation.
        when: (level, purpose), which with the config's seed draws everything.
        lr, schedule: by name, where the config has no functions of its own for them.
        length: steps over which the schedule is spread; 0 if there will be none.

    Raises:
        ValueError: a function of one's own that fails, or does not return what it should. Of a
            source that is not in memory, a batch with NaN, or with a target that is no class; the
            line says in which epoch and step.

    >>> from infcop_lite.data import Split
    >>> from infcop_lite.feeding import InMemory
    >>> layer, split = nn.Linear(1, 2), Split(torch.ones(4, 1), torch.tensor([0, 1, 0, 1]))
    >>> go_on = training(
    ...     layer, InMemory(split, 2, 0), Config(), (0, "level"), 0.1, "constant", 3)
    >>> 0 < go_on({"weight": torch.tensor([[True], [True]])}, 3) < 2
    True
    """
    c = config
    optimizer = _optimizer(model, c, lr)
    scheduler = _scheduler(optimizer, c, schedule, length) if length else None
    where = None if isinstance(source, InMemory) else partial(_where, when, source.steps_per_epoch)
    batches = _batches(source, seed_of(c, *when), next(model.parameters()).device, where)
    augment: Callable[[Any], Any] | None = None
    if c.augment != "none":
        change = flip_shift if isinstance(c.augment, str) else c.augment
        drawn = generator(c.seed, f"augment {when[1]}", when[0])
        augment = lambda batch: change(batch, drawn)  # noqa: E731
    mixed = AUTOCAST[c.autocast]
    loss = c.loss or partial(classification_loss, label_smoothing=c.label_smoothing)
    if where is not None and c.loss is None:
        loss = _with_classes(loss, where)

    def go_on(masks: Masks, num_steps: int) -> float:
        with torch.random.fork_rng():
            return train_batches(
                model, optimizer, masks, batches, num_steps, scheduler, loss, augment, mixed
            )

    return go_on


def seed_of(config: Config, level: int, purpose: str) -> int:
    """Return the seed of one of `drawing.PURPOSES` in a level."""
    return generator(config.seed, purpose, level).initial_seed()


def _batches(
    source: Source, seed: int, device: torch.device, where: Callable[[int], str] | None
) -> Iterator[tuple[Any, Any]]:
    """Yield batches on the device; if there is a ``where``, after a look at what has none yet."""
    batches = source.batches(seed)
    for step in count():
        # loaders and dropout draw from torch's global generator: seeded at every step, inside the
        # fork of the training, they do not depend on how often the run is checked
        torch.manual_seed(seed ^ step)
        try:
            batch = next(batches)
        except StopIteration:
            return
        if where is not None:
            check_finite(batch[0], where(step))
        torch.manual_seed(seed ^ step)
        yield on(batch, device)


def _where(when: tuple[int, str], steps_per_epoch: int, step: int) -> str:
    level, purpose = when
    epoch, within = divmod(step, steps_per_epoch)
    part = f"level {level}" if purpose == "level" else "the warm-up"
    return f"step {within + 1} of epoch {epoch + 1} of {part}"


def _with_classes(
    loss: Callable[[Any, Any], torch.Tensor], where: Callable[[int], str]
) -> Callable[[Any, Any], torch.Tensor]:
    """Return a loss, called once a step, that looks first whether its targets are classes."""
    steps = count()

    def looked(output: Any, targets: Any) -> torch.Tensor:
        step = next(steps)
        if isinstance(output, torch.Tensor):
            try:
                check_classes(output, class_range(targets))
            except ValueError as error:
                raise ValueError(f"{where(step)}: {error}") from None
        return loss(output, targets)

    return looked


def _optimizer(model: nn.Module, config: Config, lr: float) -> torch.optim.Optimizer:
    make = config.optimizer
    if isinstance(make, str):
        return make_optimizer(model, make, lr, config.momentum, config.weight_decay)
    optimizer = _made("optimizer", make, model)
    if not isinstance(optimizer, torch.optim.Optimizer):
        wanted = "a torch.optim.Optimizer, as lambda model: torch.optim.AdamW(model.parameters())"
        raise ValueError(f"optimizer must return {wanted}, not a {type(optimizer).__name__}")
    mine = {id(parameter) for parameter in model.parameters()}
    given = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not mine & given:
        raise ValueError(
            "optimizer must be made of the parameters of the model that it is called with, which"
            " is a copy of yours"
        )
    names_layers = isinstance(config.fraction, Mapping)
    for name, weight in prunable(model).items() if not names_layers else ():
        if id(weight) not in given and name not in spared(model, config.dense):
            warnings.warn(
                f"the optimizer does not train {name}, which levels prune: nothing will repair it."
                " Freeze it by requires_grad_(False), or name its layer in dense=",
                stacklevel=2,
            )
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"{type(optimizer).__name__} calls a closure several times a step, which no level here"
            " can; use Pruner in a loop of your own"
        )
    return optimizer


def _scheduler(
    optimizer: torch.optim.Optimizer, config: Config, schedule: str, length: int
) -> LRScheduler | None:
    if config.scheduler is None:
        return make_schedule(optimizer, schedule, length)
    scheduler = _made("scheduler", config.scheduler, optimizer, length)
    if isinstance(scheduler, ReduceLROnPlateau) or not isinstance(scheduler, LRScheduler):
        wanted = "a torch LRScheduler that steps after every optimiser step without a metric"
        raise ValueError(f"scheduler must return {wanted}, not a {type(scheduler).__name__}")
    return scheduler


def _made(name: str, make: Callable[..., Any], *given: Any) -> Any:
    try:
        return make(*given)
    except Exception as error:  # somebody else's function
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        wanted = {"optimizer": "(model)", "scheduler": "(optimizer, num_steps)"}[name]
        raise ValueError(f"{name} is called with {wanted} and fails: {reason}") from error
