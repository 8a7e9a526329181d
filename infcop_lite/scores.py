"""What weights are ranked by; a score of your own is a function.

A score is called with the network, its masks, a batch (inputs, targets) and a loss. For each
prunable weight it returns a tensor of the same shape, and a larger entry is more worth keeping.
Only the order of the entries counts, within each layer or, in global scope, over all layers.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .batches import call, num_samples, pieces
from .classes import check_classes, class_range
from .layers import has_inputs_first
from .masks import Masks, prunable
from .train import evaluating

Batch = tuple[Any, Any]
Loss = Callable[[Any, Any], Tensor]
Scores = dict[str, Tensor]
Score = Callable[[nn.Module, Masks, Batch | None, Loss], Mapping[str, Tensor]]
BATCH_SIZE = 250


def magnitude(model: nn.Module, masks: Masks, batch: Batch | None, loss: Loss) -> Scores:
    """Return the absolute value of each weight; it reads no batch.

    Source: Han et al. 2015, arXiv:1506.02626.

    >>> layer = nn.Linear(2, 1); _ = layer.weight.data.copy_(torch.tensor([[-3.0, 2.0]]))
    >>> magnitude(layer, {}, None, nn.functional.cross_entropy)["weight"]
    tensor([[3., 2.]])
    """
    return {name: weight.detach().abs() for name, weight in prunable(model).items()}


def weight_times_input(model: nn.Module, masks: Masks, batch: Batch | None, loss: Loss) -> Scores:
    """Return the magnitude of a weight times the norm of its input, over the samples of a batch.

    Source: Wanda, Sun et al. 2023, arXiv:2306.11695, for linear layers; for a convolution the norm
    is that of its input channel over all places.

    Raises:
        ValueError: no batch.

    >>> layer = nn.Linear(2, 1); _ = layer.weight.data.copy_(torch.tensor([[-3.0, 2.0]]))
    >>> batch = torch.tensor([[1.0, 3.0], [0.0, 4.0]]), torch.tensor([0, 0])
    >>> weight_times_input(layer, {}, batch, nn.functional.cross_entropy)["weight"]
    tensor([[ 3., 10.]])
    """
    weights, squares = prunable(model), dict[str, Tensor]()

    def add(name: str, module: nn.Module, given: tuple[Tensor, ...]) -> None:
        x, weight = given[0].detach(), weights[name]
        axis = 1 if isinstance(module, nn.modules.conv._ConvNd) else -1
        norms = x.movedim(axis, 0).flatten(1).square().sum(1)
        groups = getattr(module, "groups", 1)
        if has_inputs_first(module):
            per_unit = norms[:, None]
        elif groups > 1:  # a unit of a grouped convolution reads the channels of its own group
            per_unit = norms.reshape(groups, -1).repeat_interleave(len(weight) // groups, 0)
        else:
            per_unit = norms.expand(len(weight), -1)
        squares[name] = squares[name] + per_unit if name in squares else per_unit

    with _watched(model, add), torch.no_grad(), evaluating(model):
        for x, _ in _pieces(batch):
            call(model, x)
    scores = magnitude(model, masks, batch, loss)
    for name, score in scores.items():
        norms = squares.get(name, torch.zeros(score.shape[:2], device=score.device)).sqrt()
        score *= norms.reshape(*norms.shape, *[1] * (score.dim() - 2))
    return scores


def taylor(model: nn.Module, masks: Masks, batch: Batch | None, loss: Loss) -> Scores:
    """Return, to first order, how far removing a weight moves the loss, ``|weight x gradient|``.

    Source: Molchanov et al. 2019, arXiv:1906.10771, whose score is its square, which ranks alike.

    Raises:
        ValueError: no batch.

    >>> layer = nn.Linear(2, 2); batch = torch.eye(2), torch.tensor([0, 1])
    >>> taylor(layer, {}, batch, nn.functional.cross_entropy)["weight"].shape
    torch.Size([2, 2])
    """
    parts = _pieces(batch)
    total = sum(num_samples(x) for x, _ in parts)
    weights = {name: weight for name, weight in prunable(model).items() if weight.requires_grad}
    totals = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    with evaluating(model), torch.enable_grad():
        for x, y in parts:
            part = loss(call(model, x), y) * (num_samples(x) / total)
            found = torch.autograd.grad(part, list(weights.values()), allow_unused=True)
            for name, gradient in zip(weights, found, strict=True):
                if gradient is not None:
                    totals[name] += gradient
    frozen = {k: torch.zeros_like(w) for k, w in prunable(model).items() if k not in weights}
    return {k: (w * totals[k]).detach().abs() for k, w in weights.items()} | frozen


def at_random(model: nn.Module, masks: Masks, batch: Batch | None, loss: Loss) -> Scores:
    """Return random scores from torch's global generator, as a control for other scores.

    >>> at_random(nn.Linear(2, 1), {}, None, nn.functional.cross_entropy)["weight"].shape
    torch.Size([1, 2])
    """
    weights = prunable(model).items()
    return {name: torch.rand(weight.shape).to(weight.device) for name, weight in weights}


def cross_entropy(output: Any, targets: Any) -> Tensor:
    """Return the mean cross-entropy in nats, of classes and of nothing else.

    Source: torch, which takes numbers of any kind for the probabilities of classes.

    Raises:
        ValueError: targets that are no int64 classes of the output, as for `check_classes`.

    >>> cross_entropy(torch.zeros(1, 2), torch.tensor([1])).item() == torch.tensor(2.0).log().item()
    True
    """
    check_classes(output, class_range(targets))
    return nn.functional.cross_entropy(output, targets)


#: Name -> score.
SCORES: dict[str, Score] = {
    "magnitude": magnitude,
    "weight-times-input": weight_times_input,
    "taylor": taylor,
    "random": at_random,
}


def _pieces(batch: Batch | None) -> list[Batch]:
    """Return a batch in pieces of a size that memory has room for."""
    if batch is None:
        raise ValueError("this score reads a batch: give (inputs, targets)")
    return list(pieces(batch, BATCH_SIZE))


@contextmanager
def _watched(
    model: nn.Module, told: Callable[[str, nn.Module, tuple[Tensor, ...]], None]
) -> Iterator[None]:
    """Tell of every input of a prunable layer, while it lasts."""
    names = {id(weight): name for name, weight in prunable(model).items()}
    handles = []
    for module in model.modules():
        name = names.get(id(getattr(module, "weight", None)))
        if name is not None:

            def hook(module: nn.Module, given: tuple[Tensor, ...], name: str = name) -> None:
                told(name, module, given)

            handles.append(module.register_forward_pre_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
