"""How a loader is read once, and what is lost of its order and its random draws."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SubsetRandomSampler

from . import memory
from .pairs import describe

BATCH_SIZE = 250
SEVERAL = 32  # samples that are read twice: one alone may be flipped alike by chance


@dataclass(frozen=True)
class Plan:
    """How data are read.

    Args:
        batches: to iterate over once.
        twice: the same few samples, read twice.
        num_samples: None where nobody knows.
        lost: what the loader does and a single reading does not, in words.
    """

    batches: Iterable[Any]
    twice: Iterable[Any]
    num_samples: int | None
    lost: tuple[str, ...] = ()


def plan(part: Any, batch_size: int | None = None) -> Plan:
    """Return how to read a loader or a data set once.

    Args:
        part: a DataLoader, or samples with a length. One that shuffles is read in the order of its
            data set.
        batch_size: that of the run, if the loader's is to be held against it.

    Raises:
        ValueError: something else, or a sampler without end.

    >>> found = plan(DataLoader([2, 3, 4], batch_size=2, shuffle=True, drop_last=True))
    >>> [batch.tolist() for batch in found.batches], found.lost
    ([[2, 3], [4]], ('drop_last has no effect',))
    """
    if not isinstance(part, DataLoader):
        part = DataLoader(_samples(part), batch_size=BATCH_SIZE)
        batch_size = None
    own = part.batch_size
    other = batch_size and own and own != batch_size
    lost = [f"batches are of batch_size={batch_size}, not of the loader's {own}"] if other else []
    if isinstance(part.dataset, IterableDataset) or _has_its_own_way(part):
        return Plan(part, _begun_twice(part), _length(part.dataset), tuple(lost))
    sampler = part.sampler if own or part.batch_sampler is None else part.batch_sampler
    keys, draws = _order(sampler)
    if draws:
        lost.append(f"its {type(sampler).__name__} draws other samples each time")
    if own and part.drop_last and len(keys) % own:
        lost.append("drop_last has no effect")
    again = partial(DataLoader, part.dataset, collate_fn=part.collate_fn)
    read = partial(
        again,
        num_workers=part.num_workers,
        timeout=part.timeout,
        worker_init_fn=part.worker_init_fn,
        multiprocessing_context=part.multiprocessing_context,
    )
    num_samples = len(_flat(keys))
    if not own and part.batch_sampler is None:  # what the data set gives are batches
        twice = again(batch_size=None, sampler=keys[:1] * 2)
        return Plan(read(batch_size=None, sampler=keys), twice, num_samples, tuple(lost))
    groups = [keys[i : i + own] for i in range(0, len(keys), own)] if own else keys
    twice = again(batch_sampler=[group[:SEVERAL] for group in groups[:1]] * 2)
    return Plan(read(batch_sampler=groups), twice, num_samples, tuple(lost))


def _samples(part: Any) -> Any:
    countable = hasattr(part, "__getitem__") and hasattr(part, "__len__")
    if countable and not isinstance(part, Mapping) and not hasattr(part, "to_numpy"):
        return part
    hint = "; put it into a DataLoader" if isinstance(part, IterableDataset) else ""
    raise ValueError(
        "data must be (inputs, targets), a DataLoader or a map-style Dataset,"
        f" not {describe(part)}{hint}"
    )


def _has_its_own_way(loader: Any) -> bool:
    return type(loader).__iter__ is not DataLoader.__iter__


def _begun_twice(loader: Any) -> Iterator[Any]:
    for _ in range(2):
        yield from islice(loader, 1)


def _length(part: Any) -> int | None:
    try:
        return len(part)
    except TypeError:
        return None


def _order(sampler: Any) -> tuple[list[Any], bool]:
    """Return the keys that a sampler gives, and whether it gives others the next time.

    Another order at every reading would make another run of the same data.
    """
    if type(sampler) is SubsetRandomSampler:
        return list(sampler.indices), False
    whole = type(sampler) is RandomSampler and not sampler.replacement
    if whole and sampler.num_samples == len(sampler.data_source):
        return list(range(sampler.num_samples)), False
    keys = _drawn(sampler)
    once, again = _flat(keys), _flat(_drawn(sampler))
    if Counter(once) != Counter(again):
        return keys, True
    shuffles = once != again and all(type(key) is int for key in once) and len(once) == len(keys)
    return (sorted(once) if shuffles else keys), False


def _drawn(sampler: Any) -> list[Any]:
    if _length(sampler) is not None:
        return list(sampler)
    keys = list(islice(sampler, memory.MOST + 1))
    if len(keys) > memory.MOST:
        raise memory.endless()
    return keys


def _flat(keys: Any) -> list[Any]:
    """Return the keys of all batches, numbers as int."""
    if isinstance(keys, list | tuple):
        return [key for group in keys for key in _flat(group)]
    return [int(keys) if hasattr(keys, "__index__") else keys]
