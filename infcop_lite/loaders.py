"""Data of your own, whatever brings them: tensors, a DataLoader, a Dataset, batches that are dicts.

They are read once and stay in memory, as everything here does: a run passes over them many times.
Augmentation is done on the batch, anew at every step.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, RandomSampler, SubsetRandomSampler

from .data import Split, as_split

Adapter = Callable[[Any], tuple[Tensor, Tensor]]
BATCH_SIZE = 250
SHIFT = 2  # pixels


def in_memory(
    part: Any,
    adapter: Adapter | None = None,
    dtype: torch.dtype = torch.float32,
    classes: bool = True,
) -> Split:
    """Return data of any of the usual kinds as a split in memory, after checking them.

    Args:
        part: a split, a pair (inputs, targets) of tensors, a DataLoader, or a map-style Dataset,
            whose samples torch then collates. A loader that shuffles is read in the order of its
            data set, so that equal data give equal runs.
        adapter: called with each batch, returns its (inputs, targets); for batches that are no
            such pair, like the dicts of Hugging Face:
            ``lambda batch: (batch["pixel_values"], batch["labels"])``.
        dtype: of the network's weights; inputs that are floating-point must have it too.
        classes: whether targets must be classes, as for cross-entropy.

    Raises:
        ValueError: another kind of data, batches that are no pairs of tensors or differ in shape,
            an adapter that fails, or as for `data.as_split`.

    Note:
        Random augmentation is frozen: every epoch sees what it made of a sample when it was read.
        ``Config(augment=...)`` changes each batch anew.

    >>> samples = [{"x": torch.ones(2), "y": 0}, {"x": torch.zeros(2), "y": 1}]
    >>> in_memory(samples, lambda batch: (batch["x"], batch["y"])).targets
    tensor([0, 1])
    """
    is_pair = isinstance(part, tuple) or (
        isinstance(part, list) and all(isinstance(x, Tensor) for x in part)
    )
    if isinstance(part, Split) or is_pair:
        return as_split(part, dtype, classes)
    with torch.random.fork_rng():  # a loader draws a seed for its workers, even without any
        pairs = [_pair(batch, adapter) for batch in _batches(part)]
    if not pairs:
        raise ValueError(f"the {type(part).__name__} gives no batches")
    inputs, targets = zip(*pairs, strict=True)
    return as_split((_join(inputs, "inputs"), _join(targets, "targets")), dtype, classes)


def flip_shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror half of the images left to right, and shift each by up to two pixels either way.

    Source: the augmentation of CIFAR-10 since He et al. 2016, arXiv:1512.03385, with two pixels
    for their four; what comes in at the border is a reflection.

    Args:
        images: (sample, channel, height, width), at least 3 pixels a side.
        generator: of the CPU; it decides everything.

    Returns:
        As many images of the same shape; the given ones stay as they are.

    Raises:
        ValueError: what is no batch of images of that size.

    >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> flip_shift(x, torch.Generator().manual_seed(0)).shape
    torch.Size([1, 1, 4, 4])
    """
    if images.dim() != 4 or min(images.shape[2:]) <= SHIFT:
        raise ValueError(
            "augment flip-shift is for images (sample, channel, height, width) of at least"
            f" {SHIFT + 1} pixels a side, not {tuple(images.shape)}"
        )
    n, _, height, width = images.shape
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, n, 1), generator=generator)
    mirrored = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.arange(width).expand(n, -1)
    rows, columns = torch.arange(height) + down, columns.where(~mirrored, columns.flip(1)) + right
    padded = nn.functional.pad(images, [SHIFT] * 4, mode="reflect")
    sample, channel = torch.arange(n)[:, None, None, None], torch.arange(images.shape[1])
    index = (sample, channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :])
    return padded[tuple(i.to(images.device) for i in index)]


def _batches(part: Any) -> Iterable[Any]:
    if not isinstance(part, DataLoader):
        has_samples = hasattr(part, "__getitem__") and hasattr(part, "__len__")
        if not has_samples or isinstance(part, Mapping):
            raise ValueError(
                "data must be (inputs, targets), a DataLoader or a map-style Dataset,"
                f" not {_describe(part)}"
            )
        part = DataLoader(part, batch_size=BATCH_SIZE) if len(part) else ()
    elif part.batch_size and (order := _unshuffled(part)) is not None:
        # another order at every reading would make another run of the same data
        part = DataLoader(
            part.dataset,
            part.batch_size,
            sampler=order,
            num_workers=part.num_workers,
            collate_fn=part.collate_fn,
        )
    try:
        yield from part
    except (TypeError, RuntimeError, KeyError) as error:  # samples that torch cannot put together
        raise ValueError(f"the samples do not make batches: {_reason(error)}") from error


def _unshuffled(part: DataLoader[Any]) -> Sequence[int] | None:
    sampler = part.sampler
    if type(sampler) is SubsetRandomSampler:
        return list(sampler.indices)
    if type(sampler) is RandomSampler and not sampler.replacement:
        all_of_it = range(len(sampler.data_source))
        return all_of_it if sampler.num_samples == len(all_of_it) else None
    return None


def _pair(batch: Any, adapter: Adapter | None) -> tuple[Tensor, Tensor]:
    try:
        pair = batch if adapter is None else adapter(batch)
    except Exception as error:  # somebody else's function
        raise ValueError(f"the adapter fails on {_describe(batch)}: {_reason(error)}") from error
    is_pair = isinstance(pair, tuple | list) and len(pair) == 2
    if not is_pair or not all(isinstance(x, Tensor) and x.dim() for x in pair):
        hint = "; give an adapter that makes one of it" if adapter is None else ""
        raise ValueError(f"a batch must be (inputs, targets), not {_describe(pair)}{hint}")
    inputs, targets = pair
    if len(inputs) != len(targets):
        raise ValueError(f"{len(inputs)} inputs and {len(targets)} targets do not make a batch")
    return inputs.detach(), targets.detach()


def _join(tensors: tuple[Tensor, ...], what: str) -> Tensor:
    shapes = {tuple(tensor.shape[1:]) for tensor in tensors}
    if len(shapes) > 1:
        raise ValueError(f"the {what} of a sample must have one shape, not {sorted(shapes)}")
    return torch.cat(tensors)


def _describe(batch: Any) -> str:
    if isinstance(batch, Mapping):
        return f"a {type(batch).__name__} with the keys {', '.join(map(str, batch))}"
    if isinstance(batch, tuple | list):
        return f"a {type(batch).__name__} of {', '.join(type(x).__name__ for x in batch)}"
    return f"a {type(batch).__name__}"


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
