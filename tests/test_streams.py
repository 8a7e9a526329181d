"""A loader that is iterated anew each epoch: the same bits from one seed, whoever draws."""

import itertools
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    TensorDataset,
    WeightedRandomSampler,
)

from infcop_lite.batches import same
from infcop_lite.loaders import Stream
from infcop_lite.pruning import prune


class Augmented(Dataset):
    """A number of its own for each sample, and three that somebody draws at every reading."""

    def __init__(self, num_samples=10):
        self.num_samples, self.calls = num_samples, 0

    def __len__(self):
        return self.num_samples

    def __getitem__(self, index):
        self.calls += 1
        drawn = torch.rand(()), np.random.rand(), random.random()  # noqa: NPY002
        return torch.tensor([float(index), *drawn]), index % 2


class Flowing(IterableDataset):
    def __init__(self, num_samples=10):
        self.samples, self.num_samples = Augmented(), num_samples

    def __iter__(self):
        numbers = range(self.num_samples) if self.num_samples else itertools.count()
        return (self.samples[i] for i in numbers)


class Anew:
    """No loader of torch's, but iterable again and again."""

    def __iter__(self):
        return ((torch.rand(3, 2), torch.randint(2, (3,))) for _ in range(4))


def samples_of(num, batches):
    """The numbers of the samples in the next batches."""
    found = [pair[0][:, 0].tolist() for pair in itertools.islice(batches, num)]
    return [[int(number) for number in batch] for batch in found]


def epoch_of(num, batches):
    return list(itertools.chain(*samples_of(num, batches)))


class Boasting(Sampler):
    """Gives fewer samples than it says."""

    def __len__(self):
        return 10

    def __iter__(self):
        return iter(range(7))


WEIGHTED = WeightedRandomSampler([1.0, 9.0] * 5, 10)
LOADERS = {
    "in order": lambda: Stream(DataLoader(Augmented(), 3)),
    "shuffled": lambda: Stream(DataLoader(Augmented(), 3, shuffle=True)),
    "with a generator": lambda: Stream(
        DataLoader(Augmented(), 3, shuffle=True, generator=torch.Generator().manual_seed(3))
    ),
    "weighted": lambda: Stream(DataLoader(Augmented(), 3, sampler=WEIGHTED)),
    "drawn with replacement by a generator": lambda: Stream(
        DataLoader(Augmented(), 3, sampler=RandomSampler(range(10), True, 70, torch.Generator()))
    ),
    "fewer than they say": lambda: Stream(DataLoader(Augmented(), 3, sampler=Boasting())),
    "a batch sampler": lambda: Stream(
        DataLoader(
            Augmented(), batch_sampler=BatchSampler(RandomSampler(range(10)), 4, drop_last=True)
        )
    ),
    "one's own batches": lambda: Stream(
        DataLoader(Augmented(), batch_sampler=[[3, 1], [2], [0, 4]])
    ),
    "dropped": lambda: Stream(DataLoader(Augmented(), 3, drop_last=True)),
    "workers": lambda: Stream(DataLoader(Augmented(), 3, shuffle=True, num_workers=2)),
    "a stream": lambda: Stream(DataLoader(Flowing(), 3), steps_per_epoch=4),
    "without end": lambda: Stream(DataLoader(Flowing(0), 3), steps_per_epoch=4),
    "no loader": lambda: Stream(Anew(), steps_per_epoch=4),
    "a list": lambda: Stream(HELD),
}
HELD = [(torch.full((2, 1), float(n)), torch.zeros(2)) for n in range(4)]


@pytest.mark.parametrize("name", LOADERS)
def test_one_seed_gives_the_same_bits_and_nobody_else_loses_a_number(name):
    torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: NPY002
    first = list(itertools.islice(LOADERS[name]().batches(seed=1), 9))
    drawn = random.random(), torch.rand(()).item(), np.random.rand()  # noqa: NPY002
    torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: NPY002
    assert drawn == (random.random(), torch.rand(()).item(), np.random.rand())  # noqa: NPY002
    again = LOADERS[name]().batches(seed=1)
    for batch in first:  # whoever draws in between: dropout does
        random.random(), torch.rand(()), np.random.rand()  # noqa: NPY002
        assert same(batch, next(again))


@pytest.mark.parametrize("skip", [1, 3, 4, 11])
@pytest.mark.parametrize("name", LOADERS)
def test_who_goes_on_after_some_steps_gets_what_is_left(name, skip):
    whole = itertools.islice(LOADERS[name]().batches(seed=1), skip, skip + 4)
    for expected, found in zip(whole, LOADERS[name]().batches(seed=1, skip=skip), strict=False):
        assert same(expected, found)


@pytest.mark.parametrize("name", sorted(set(LOADERS) - {"a list"}))
def test_each_epoch_and_each_seed_draw_anew(name):
    stream = LOADERS[name]()
    epoch = stream.steps_per_epoch
    batches = list(itertools.islice(stream.batches(seed=1), 2 * epoch))
    assert not any(map(same, batches[:epoch], batches[epoch:]))
    assert not any(map(same, batches, stream.batches(seed=2)))


def test_what_two_streams_of_one_loader_draw_does_not_depend_on_whose_turn_it_is():
    sampler = RandomSampler(range(10), True, 99, torch.Generator())
    stream = Stream(DataLoader(Augmented(), 3, sampler=sampler))
    alone = list(itertools.islice(stream.batches(seed=1), 30))
    one, other = stream.batches(seed=1), stream.batches(seed=2)
    for expected in alone:
        assert same(next(one), expected)
        next(other)


def test_an_epoch_is_the_loaders_with_its_batch_size_and_what_it_drops():
    data = Augmented(130)
    stream = Stream(DataLoader(data, 16, shuffle=True, drop_last=True))
    assert stream.steps_per_epoch == 8
    batches = stream.batches(seed=0)
    first, second = (epoch_of(8, batches) for _ in range(2))
    assert len(first) == len(set(first)) == len(second) == len(set(second)) == 128
    assert first != second
    assert data.calls == 256


def test_a_weighted_sampler_draws_as_its_weights_say_and_others_each_epoch():
    stream = LOADERS["weighted"]()
    batches = stream.batches(seed=0)
    epochs = [epoch_of(4, batches) for _ in range(40)]
    odd = sum(number % 2 for epoch in epochs for number in epoch) / 400
    assert 0.84 < odd < 0.96
    assert len(set(map(tuple, epochs))) == 40


def test_whole_iterations_are_passed_over_unread():
    data = Augmented()
    stream = Stream(DataLoader(data, 3, shuffle=True))
    next(stream.batches(seed=0, skip=4 * 25 + 1))
    assert data.calls == 6


def test_no_sample_is_left_out_where_an_epoch_is_shorter_than_the_loader_or_longer():
    for steps in (1, 2, 9):
        stream = Stream(DataLoader(Augmented(), 3), steps_per_epoch=steps)
        expected = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9], [0, 1, 2]]
        assert stream.steps_per_epoch == steps
        assert samples_of(5, stream.batches(seed=0)) == expected


def test_a_sampler_that_wants_to_know_the_epoch_is_told():
    sampler = DistributedSampler(Augmented(), num_replicas=2, rank=0)
    stream = Stream(DataLoader(Augmented(), 5, sampler=sampler))
    first, second, third = samples_of(3, stream.batches(seed=0))
    assert first != second != third
    assert samples_of(1, stream.batches(seed=0, skip=2)) == [third]


def test_batches_become_pairs_of_tensors():
    batches = [{"x": np.ones((2, 3), "float32"), "y": [0, 1]}]
    stream = Stream(batches, adapter=lambda batch: ({"x": batch["x"]}, batch["y"]))
    inputs, targets = next(stream.batches(seed=0))
    assert torch.equal(inputs["x"], torch.ones(2, 3))
    assert torch.equal(targets, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"a batch must be .* not a dict .*; give an adapter"):
        next(Stream(batches).batches(seed=0))


# --- the probe ----------------------------------------------------------------------------------


def test_the_head_is_of_so_many_samples_of_one_reading():
    data = Augmented()
    stream = Stream(DataLoader(data, 3, shuffle=True))
    inputs, targets = stream.head(5)
    assert data.calls == 6
    assert inputs.shape == (5, 4)
    assert torch.equal(inputs[:, 0] % 2, targets.float())
    assert same(stream.head(5), (inputs, targets))
    assert sorted(stream.head(99)[0][:, 0].tolist()) == list(range(10))  # each once


def test_the_head_is_of_one_shape_where_batches_are_padded():
    ids = [torch.zeros(2, length) for length in (5, 7, 5)]
    stream = Stream([({"ids": x, "more": (x + 1,)}, torch.zeros(2)) for x in ids])
    inputs, targets = stream.head(4)
    assert inputs["ids"].shape == inputs["more"][0].shape == (4, 5)
    assert len(targets) == 4


# --- what cannot be iterated anew ---------------------------------------------------------------


class Once:
    """Looks as if it could be read again."""

    def __init__(self):
        self.left = iter([(torch.ones(2, 3), torch.zeros(2))])

    def __iter__(self):
        return self.left


REFUSED = {
    "a generator": (lambda: Stream(pair for pair in []), "a generator can be read only once"),
    "a data set": (lambda: Stream(Augmented()), "not of a Augmented; put a Dataset into a DataLo"),
    "a flowing data set": (lambda: Stream(Flowing()), "batch_size=None if it gives batches"),
    "nothing": (lambda: Stream(None), "made of batches, not of a NoneType"),
    "no length": (lambda: Stream(Anew()), "give steps_per_epoch"),
    "no length of a loader": (lambda: Stream(DataLoader(Flowing(), 3)), "give steps_per_epoch"),
    "no batches": (lambda: Stream([]), "the list gives no batches"),
    "no whole batch": (
        lambda: Stream(DataLoader(Augmented(), 16, drop_last=True)),
        "the DataLoader gives no batches",
    ),
    "no steps": (lambda: Stream(Anew(), steps_per_epoch=0), "a whole number, 1 or more, not 0"),
    "half a step": (lambda: Stream(Anew(), steps_per_epoch=0.5), "1 or more, not 0.5"),
    "an empty key": (lambda: Stream(Anew(), 4, key=""), "key must be a name for the data, such"),
    "backwards": (lambda: next(Stream(Anew(), 4).batches(0, skip=-1)), "skip must be a number"),
    "an end": (
        lambda: list(itertools.islice(Stream(Once(), 1).batches(0), 2)),
        "iteration 2 of the stream gives no batches; can it be read only once?",
    ),
    "a sample": (lambda: next(Stream(SAMPLE).batches(0)), "a batch must be .* not a Tensor"),
    "other lengths": (
        lambda: Stream([(torch.ones(2, 3), torch.ones(3))]).head(1),
        "not 2 and 3 rows",
    ),
}
SAMPLE = torch.ones(2, 3)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_iterated_anew_is_refused_in_one_line(name):
    ask, complaint = REFUSED[name]
    with pytest.raises(ValueError, match=complaint) as caught:
        ask()
    assert "\n" not in str(caught.value)


class Hidden(Augmented):
    """Draws from random numbers that nobody else knows."""

    own = np.random.default_rng(0)

    def __getitem__(self, index):
        return torch.tensor(self.own.random(4, "float32")), index % 2


def test_random_numbers_that_nobody_can_seed_are_found_out():
    assert all(LOADERS[name]().repeats() for name in LOADERS)
    assert not Stream(DataLoader(Hidden(), 3)).repeats()
    living_on = DataLoader(Augmented(), 3, num_workers=1, persistent_workers=True)
    assert not Stream(living_on).repeats()


# --- in one call --------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for SIGKILL inside one process: nothing may catch it."""


class Mortal(Augmented):
    """Dies at its n-th reading."""

    def __init__(self, left=math.inf):
        super().__init__(40)
        self.left = left

    def __getitem__(self, index):
        if self.calls >= self.left:
            raise Killed
        return super().__getitem__(index)


def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


def pruned(stream, folder=None, **options):
    held_back = torch.rand(20, 4, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2
    settings = {"levels": 2, "fraction": 0.5, "epochs": 2, "warmup_epochs": 1, "device": "cpu"}
    settings |= {"stop": "information", "probe_size": 16} | options
    return prune(net(), stream, held_back, held_back, folder=folder, **settings)


def assert_same(found, expected):
    for name, weight in expected.model.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], weight)
    seconds = {name for name in vars(expected.rows[0]) if name.endswith("_s")}
    rows = [
        [{k: v for k, v in vars(row).items() if k not in seconds} for row in run.rows]
        for run in (found, expected)
    ]
    assert str(rows[0]) == str(rows[1])


KINDS = {
    "augmented": lambda data: DataLoader(data, 8),
    "shuffled": lambda data: DataLoader(data, 8, shuffle=True, drop_last=True),
    "weighted": lambda data: DataLoader(
        data, 8, sampler=WeightedRandomSampler([1.0, 9.0] * 20, 40)
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_on_a_stream_killed_in_a_folder_goes_on_and_ends_with_the_same_bits(kind, tmp_path):
    def stream(left=math.inf):
        return Stream(KINDS[kind](Mortal(left)), key="v1")

    expected = pruned(stream())
    assert expected.rows[-1].density == pytest.approx(0.25, abs=0.02)
    for left in (100, 170):  # in the warm-up and after it
        with pytest.raises(Killed):
            pruned(stream(left), tmp_path)
    assert_same(pruned(stream(), tmp_path), expected)


def test_an_augmented_loader_that_was_read_once_is_the_same_run_when_called_again(tmp_path):
    found = []
    for noise in range(2):
        torch.manual_seed(noise), random.seed(noise)  # whoever has drawn before
        with pytest.warns(UserWarning, match="a sample read twice differs"):
            found.append(pruned(DataLoader(Augmented(40), 8), tmp_path, batch_size=8))
    assert_same(*found)


def test_every_epoch_of_a_run_reads_anew():
    data = Augmented(40)
    pruned(Stream(DataLoader(data, 8)), stop="budget")
    assert data.calls == 16 + 40 * (1 + 3 * 2)  # two batches are the probe


def test_a_stream_in_a_folder_needs_a_key_of_its_own(tmp_path):
    loader = DataLoader(Augmented(40), 8)
    with pytest.raises(ValueError, match="give the stream a key="):
        pruned(Stream(loader), tmp_path)
    pruned(Stream(loader, key="v1"), tmp_path, levels=0, epochs=0)
    for other in (Stream(loader, key="v2"), Stream(loader, 3, key="v1")):
        with pytest.raises(ValueError, match="differs in train data"):
            pruned(other, tmp_path, levels=0, epochs=0)


def test_a_stream_that_cannot_be_repeated_is_refused_in_a_folder_and_runs_without(tmp_path):
    data = Hidden(40)
    with pytest.raises(ValueError, match="a stream that draws alike when seeded alike"):
        pruned(Stream(DataLoader(data, 8), key="v1"), tmp_path)
    assert pruned(Stream(DataLoader(data, 8), key="v1"), levels=1, epochs=1).rows


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(4, 6), nn.Linear(6, 1)

    def forward(self, x, shift):
        return self.head(self.first(x).relu() + shift)


def test_a_stream_feeds_a_network_of_several_inputs_with_a_loss_of_its_own():
    x, shift = torch.rand(20, 4), torch.rand(20, 6)
    samples = [({"shift": b, "x": a}, a[:1]) for a, b in zip(x, shift, strict=True)]
    options = {"loss": nn.functional.mse_loss, "levels": 1, "fraction": 0.5, "epochs": 2}
    found = prune(Two(), Stream(DataLoader(samples, 8, shuffle=True)), samples, **options)
    assert found.rows[-1].density == pytest.approx(0.5)
    assert math.isfinite(found.rows[-1].train_loss)


def test_a_stream_keeps_its_batch_size_and_takes_the_adapter():
    loader = DataLoader([{"x": torch.rand(4), "y": i % 2} for i in range(20)], 8)
    held_back = [{"x": torch.rand(4), "y": i % 2} for i in range(20)]
    options = {"levels": 1, "epochs": 1, "device": "cpu", "adapter": lambda b: (b["x"], b["y"])}
    assert prune(net(), Stream(loader), held_back, **options).rows
    with pytest.raises(ValueError, match="are its loader's: leave batch_size out"):
        prune(net(), Stream(loader), held_back, batch_size=4, **options)


def test_another_batch_size_than_the_loaders_is_said_unless_it_was_asked_for():
    data = TensorDataset(torch.rand(20, 4), torch.arange(20) % 2)
    options = {"levels": 0, "epochs": 0, "warmup_epochs": 0, "device": "cpu"}
    with pytest.warns(UserWarning, match="batch_size=128, not of the loader's 8"):
        prune(net(), DataLoader(data, 8), DataLoader(data, 5), **options)
    prune(net(), DataLoader(data, 8), DataLoader(data, 5), batch_size=10, **options)
