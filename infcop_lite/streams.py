"""A loader read anew each epoch, for augmentation, samplers and data beyond memory.

Two iterations with one seed give the same batches, bit by bit, and leave everybody else's random
numbers alone.
"""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from torch import Generator
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from .batches import joined, num_samples, same, shapes, take
from .pairs import Adapter, as_pair, describe

END = object()
#: Samplers that give as many samples as they say.
COUNTED = (
    SequentialSampler,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    DistributedSampler,
)


class Stream:
    """A loader to train on that is iterated anew each epoch, instead of being read into memory.

    What the loader does at every reading stays: random augmentation, samplers, ``drop_last``, its
    batch size, its workers. Before each iteration, and not after it, random numbers are seeded:
    those of torch on the CPU, numpy and Python, the loader's generator and its sampler's. A
    sampler or a data set that has ``set_epoch`` is told the epoch. Numbers that a loader draws on a
    GPU are neither seeded nor put back: it does not `repeats`, and no folder takes it. Draw on the
    CPU, and move what was drawn.

    Args:
        loader: a DataLoader, or any other iterable of batches that can be iterated again.
        steps_per_epoch: batches that count as an epoch; ``len(loader)`` unless given. Where an
            iteration ends the next one begins, so that no sample is left out.
        key: a name of your own for these data, which stands for them in a run's folder; no hash
            is taken. Whoever changes the data changes the key.
        adapter: makes (inputs, targets) of a batch that is something else, such as a dict.

    Raises:
        ValueError: what can be read only once, gives samples instead of batches, gives nothing, or
            does not know its length while ``steps_per_epoch`` is not given.

    >>> stream = Stream([(torch.ones(2, 3), torch.tensor([0, 1]))], key="two samples")
    >>> inputs, targets = next(stream.batches(seed=0))
    >>> stream.steps_per_epoch, targets
    (1, tensor([0, 1]))
    """

    steps_per_epoch: int

    def __init__(
        self,
        loader: Iterable[Any],
        steps_per_epoch: int | None = None,
        key: str | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        if isinstance(loader, Iterator):
            raise ValueError(
                f"a stream is iterated anew each epoch, and {describe(loader)} can be read only"
                " once; give what makes it, such as the DataLoader"
            )
        if isinstance(loader, Dataset) or not isinstance(loader, Iterable):
            raise ValueError(
                f"a stream is made of batches, not of {describe(loader)}; put a Dataset into a"
                " DataLoader (batch_size=None if it gives batches)"
            )
        if key is not None and not (isinstance(key, str) and key):
            raise ValueError(f"key must be a name for the data, such as 'v1', not {key!r}")
        self.loader, self.key, self.adapter = loader, key, adapter
        self.steps_per_epoch = _steps(loader) if steps_per_epoch is None else steps_per_epoch
        if type(self.steps_per_epoch) is not int or self.steps_per_epoch < 1:
            raise ValueError(
                f"steps_per_epoch must be a whole number, 1 or more, not {steps_per_epoch!r}"
            )

    def __repr__(self) -> str:
        return f"Stream(key={self.key!r}, steps_per_epoch={self.steps_per_epoch})"

    def adapted(self, adapter: Adapter | None) -> "Stream":
        """Return the same stream with an adapter; without one, this stream.

        >>> Stream([{"x": 1}]).adapted(None).adapter is None
        True
        """
        if adapter is None:
            return self
        return Stream(self.loader, self.steps_per_epoch, self.key, adapter)

    def batches(self, seed: int, skip: int = 0) -> Iterator[tuple[Any, Any]]:
        """Yield (inputs, targets) without end; equal arguments give equal batches.

        Args:
            seed: 0 or more; with the number of the iteration it decides all that is drawn.
            skip: batches to leave out, for a run that resumes after so many steps. Whole iterations
                are passed over unread where the loader's samplers are torch's; the rest is read,
                since nobody knows otherwise what it draws.

        Raises:
            ValueError: an iteration that gives no batch, or batches that are no pairs.

        >>> numbers = Stream([(torch.tensor([n]), torch.tensor([0])) for n in range(3)])
        >>> [int(inputs) for inputs, _ in islice(numbers.batches(0, skip=4), 3)]
        [1, 2, 0]
        """
        if type(skip) is not int or skip < 0:
            raise ValueError(f"skip must be a number of batches, 0 or more, not {skip!r}")
        length = _exact_length(self.loader)
        first, skip = divmod(skip, length) if length else (0, skip)
        for epoch in count(first):
            found = False
            for pair in self._iteration(seed, epoch):
                found = True
                if skip:
                    skip -= 1
                else:
                    yield pair
            if not found:
                again = "; can it be read only once?" if epoch else ""
                raise ValueError(f"iteration {epoch + 1} of the stream gives no batches{again}")

    def head(self, num: int) -> tuple[Any, Any]:
        """Return the first samples of a reading as one batch, on which measurements are made.

        Args:
            num: of samples, 1 or more; fewer if an epoch has no more. Batches of another shape
                than the first, padded otherwise for instance, are left out.

        Raises:
            ValueError: as for `batches`.

        >>> Stream([(torch.ones(2, 3), torch.tensor([0, 1]))] * 2).head(3)[1]
        tensor([0, 1, 0])
        """
        found = list[Any]()
        for pair in islice(self.batches(0), self.steps_per_epoch):
            if not found or _sample(pair) == _sample(found[0]):
                found.append(pair)
            if sum(map(num_samples, found)) >= num:
                break
        return take(joined(found), 0, num)

    def repeats(self) -> bool:
        """Return whether a second reading with the same seed begins with the same batch.

        A loader that draws from random numbers of its own does not, nor does one whose workers live
        on from epoch to epoch. A run with such a loader cannot be resumed with the same bits.

        >>> Stream([(torch.ones(2, 3), torch.tensor([0, 1]))]).repeats()
        True
        """
        first, again = (next(self.batches(0)) for _ in range(2))
        return same(first, again)

    def _iteration(self, seed: int, epoch: int) -> Iterator[tuple[Any, Any]]:
        """Yield the pairs of one iteration, with random numbers of its own while it reads."""
        generators = _generators(self.loader)
        words = np.random.SeedSequence((seed, epoch)).generate_state(2 + len(generators), np.uint64)
        own: list[Any] = []

        @contextmanager
        def drawing() -> Iterator[None]:
            others = _states(generators)
            try:
                if own:
                    _restore(own.pop(), generators)
                else:
                    _seed(words.tolist(), generators)
                yield
            finally:
                own.append(_states(generators))
                _restore(others, generators)

        with drawing():
            for part in _parts(self.loader):
                if callable(tell := getattr(part, "set_epoch", None)):
                    tell(epoch)
            batches = iter(self.loader)
        while True:
            with drawing():
                batch = next(batches, END)
                pair = (END, END) if batch is END else as_pair(batch, self.adapter)
            if pair[0] is END:
                return
            yield pair


@contextmanager
def own_random(loader: Any) -> Iterator[None]:
    """Let a loader draw the same random numbers whenever it is read, and leave all as it was.

    Args:
        loader: its own generators go on from where they are; what it draws from the numbers that
            all share (torch on the CPU, numpy, Python) begins anew.

    >>> def drawn():
    ...     with own_random(None):
    ...         return random.random()
    >>> drawn() == drawn()
    True
    """
    generators = _generators(loader)
    before = _states(generators)
    try:
        _seed([0, 0, 0], generators[:1])
        yield
    finally:
        _restore(before, generators)


def _states(generators: list[Generator]) -> tuple[Any, ...]:
    shared = np.random.get_state()  # noqa: NPY002 - it is what data sets draw from
    return random.getstate(), shared, [g.get_state() for g in generators]


def _restore(states: tuple[Any, ...], generators: list[Generator]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    for generator, state in zip(generators, states[2], strict=True):
        generator.set_state(state)


def _seed(words: list[int], generators: list[Generator]) -> None:
    random.seed(words[0])
    np.random.seed(words[1] % 2**32)  # noqa: NPY002
    for generator, word in zip(generators, words[2:], strict=True):
        generator.manual_seed(word)


def _parts(loader: Any) -> list[Any]:
    """Return the parts of a loader that may draw, or want to know the epoch, each once."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    parts = [loader, getattr(loader, "sampler", None), batch_sampler]
    parts += [getattr(batch_sampler, "sampler", None), getattr(loader, "dataset", None)]
    return list({id(part): part for part in parts if part is not None}.values())


def _generators(loader: Any) -> list[Generator]:
    found = [getattr(part, "generator", None) for part in _parts(loader)]
    return [torch.default_generator, *(g for g in found if isinstance(g, Generator))]


def _exact_length(loader: Any) -> int:
    """Return how many batches an iteration gives if that is certain, else 0."""
    counted = type(loader) is DataLoader and not isinstance(loader.dataset, IterableDataset)
    if not counted or type(loader.sampler) not in COUNTED:
        return 0
    return len(loader) if type(loader.batch_sampler) in (BatchSampler, type(None)) else 0


def _sample(batch: Any) -> Any:
    """Return the shapes of one sample, in the structure of its batch."""
    return shapes(take(batch, 0, 1))


def _steps(loader: Any) -> int:
    try:
        steps = len(loader)
    except TypeError:
        raise ValueError(
            f"{describe(loader)} does not know its length: give steps_per_epoch, the number of"
            " batches that count as an epoch"
        ) from None
    if not steps:
        raise ValueError(f"the {type(loader).__name__} gives no batches")
    return steps
