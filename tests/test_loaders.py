"""Data of one's own: augmentation on the batch, loaders read once, arrays, memory."""

import itertools
import random
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.autograd.profiler import profile
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from infcop_lite import loaders, memory
from infcop_lite.identity import fingerprint
from infcop_lite.pruning import prune


def images(n=200, size=9):
    """Images that tell where each pixel came from: all values differ."""
    return torch.arange(n * 2 * size * size, dtype=torch.float32).reshape(n, 2, size, size)


def shifts_of(before, after):
    """How one image was mirrored and shifted, read off its middle."""
    found = []
    for mirrored in (False, True):
        source = before.flip(2) if mirrored else before
        for down in range(-2, 3):
            for right in range(-2, 3):
                if torch.equal(
                    after[:, 2:-2, 2:-2],
                    source.roll((-down, -right), (1, 2))[:, 2:-2, 2:-2],
                ):
                    found.append((mirrored, down, right))
    return found


def test_every_image_is_mirrored_and_shifted_by_itself_all_ways_equally_often():
    before = images()
    after = loaders.flip_shift(before, torch.Generator().manual_seed(0))
    ways = [shifts_of(a, b) for a, b in zip(before, after, strict=True)]
    assert all(len(way) == 1 for way in ways)
    seen = {way for ((*way,),) in ways for way in [tuple(way)]}
    assert len(seen) > 45  # of 50
    assert 70 < sum(mirrored for ((mirrored, _, _),) in ways) < 130
    assert torch.equal(before, images())


def test_what_comes_in_at_the_border_is_a_reflection():
    before = images(50, 4)
    after = loaders.flip_shift(before, torch.Generator().manual_seed(0))
    for a, b in zip(before, after, strict=True):
        assert set(b.unique().tolist()) <= set(a.unique().tolist())


def test_the_generator_decides_the_augmentation():
    first, again, other = (
        loaders.flip_shift(images(), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shape", [(4, 10), (4, 1, 2, 9), (1, 9, 9)])
def test_what_is_no_batch_of_images_is_not_augmented(shape):
    with pytest.raises(ValueError, match="augment flip-shift is for images"):
        loaders.flip_shift(torch.zeros(shape), torch.Generator())


# --- reading once: what of a loader is lost is said ---------------------------------------------


class Drawn(Dataset):
    """Each reading of a sample draws; ``calls`` counts them."""

    def __init__(self, draw=lambda: torch.rand(3), num_samples=40):
        self.draw, self.num_samples, self.calls = draw, num_samples, 0

    def __len__(self):
        return self.num_samples

    def __getitem__(self, index):
        self.calls += 1
        return self.draw(), index % 2


def same_every_time(num_samples=40):
    return TensorDataset(torch.arange(num_samples * 3.0).reshape(-1, 3), halves(num_samples))


def halves(num_samples):
    return torch.arange(num_samples) % 2


class Endless(IterableDataset):
    def __iter__(self):
        return (batch for batch in itertools.repeat((torch.ones(3), 0)))


class Sized(IterableDataset):
    def __len__(self):
        return 40

    def __iter__(self):
        return iter(same_every_time())


class Reshuffled(IterableDataset):
    def __iter__(self):
        return ((torch.rand(3), 0) for _ in range(9))


class Shuffler(Sampler):
    """A sampler of one's own: the same samples, in another order each time."""

    def __iter__(self):
        return iter(torch.randperm(40).tolist())

    def __len__(self):
        return 40


class Forever(Sampler):
    def __iter__(self):
        return itertools.count()


SAMPLES = same_every_time()
WEIGHTED = WeightedRandomSampler([1.0, 9.0] * 20, 40)
LOST = {
    "torch draws": (Drawn(), "a sample read twice differs"),
    "numpy draws": (Drawn(lambda: np.random.rand(3).astype("float32")), "read twice differs"),  # noqa: NPY002
    "python draws": (Drawn(lambda: torch.full((3,), random.random())), "read twice differs"),
    "a rare flip": (
        Drawn(lambda: torch.tensor([1.0 if 0.07 < random.random() < 0.1 else 0.0] * 3)),
        "read twice differs",
    ),
    "augmentation while collating": (
        DataLoader(SAMPLES, 8, collate_fn=lambda batch: noisy(default_collate(batch))),
        "read twice differs",
    ),
    "augmentation in a batch sampler's batches": (
        DataLoader(Drawn(), batch_sampler=[range(20), range(20, 40)]),
        "read twice differs",
    ),
    "a stream that draws": (DataLoader(Reshuffled(), 4), "read twice differs"),
    "a weighted sampler": (
        DataLoader(SAMPLES, 8, sampler=WEIGHTED),
        "its WeightedRandomSampler draws other samples each time",
    ),
    "a sampler with replacement": (
        DataLoader(SAMPLES, 8, sampler=RandomSampler(SAMPLES, replacement=True)),
        "its RandomSampler draws",
    ),
    "a sampler of a few": (
        DataLoader(SAMPLES, 8, sampler=RandomSampler(SAMPLES, num_samples=10)),
        "its RandomSampler draws",
    ),
    "a batch sampler that draws": (
        DataLoader(SAMPLES, batch_sampler=BatchSampler(WEIGHTED, 8, drop_last=False)),
        "its BatchSampler draws",
    ),
    "drop_last": (DataLoader(SAMPLES, 12, drop_last=True), "drop_last has no effect"),
    "drop_last of a shuffler": (
        DataLoader(SAMPLES, 12, shuffle=True, drop_last=True),
        "drop_last has no effect",
    ),
    "another batch size": (DataLoader(SAMPLES, 12), "batch_size=10, not of the loader's 12"),
}
KEPT = {
    "a loader": DataLoader(SAMPLES, 10),
    "a shuffler": DataLoader(SAMPLES, 10, shuffle=True),
    "a shuffler of one's own": DataLoader(SAMPLES, 10, sampler=Shuffler()),
    "a sized stream": DataLoader(Sized(), 10),
    "drop_last that drops nothing": DataLoader(SAMPLES, 10, shuffle=True, drop_last=True),
    "batches of one's own": DataLoader(SAMPLES, batch_sampler=[range(30), range(30, 40)]),
    "samples that are batches": DataLoader([SAMPLES[:30], SAMPLES[30:]], batch_size=None),
    "workers": DataLoader(SAMPLES, 10, shuffle=True, num_workers=2),
    "a data set": SAMPLES,
}


def noisy(batch):
    return batch[0] + torch.rand(3), batch[1]


@pytest.mark.parametrize("name", LOST)
def test_what_a_single_reading_loses_is_said_in_one_line_with_the_way_out(name):
    part, lost = LOST[name]
    with pytest.warns(UserWarning, match="is read once and kept") as said:
        first = loaders.in_memory(part, batch_size=10)
    (message,) = (str(warning.message) for warning in said)
    assert lost in message
    assert "To train on, give loaders.Stream(loader)" in message
    assert "\n" not in message
    random.random(), torch.rand(1)  # the next reading is the same: a run may be killed
    with pytest.warns(UserWarning, match="read once"):
        again = loaders.in_memory(part, batch_size=10)
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.targets, again.targets)


@pytest.mark.parametrize("name", KEPT)
def test_where_nothing_is_lost_nothing_is_said_and_all_samples_are_there(name):
    states = random.getstate(), torch.get_rng_state()
    split = loaders.in_memory(KEPT[name], batch_size=10)
    assert torch.equal(split.inputs, SAMPLES.tensors[0])
    assert torch.equal(split.targets, SAMPLES.tensors[1])
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])


def test_drop_last_of_a_loader_in_order_drops_nothing_either():
    with pytest.warns(UserWarning, match="drop_last has no effect"):
        assert len(loaders.in_memory(DataLoader(same_every_time(130), 16, drop_last=True))) == 130


def test_a_sampler_of_a_few_gives_no_more():
    with pytest.warns(UserWarning, match="draws other samples"):
        assert len(loaders.in_memory(LOST["a sampler of a few"][0])) == 10


def test_the_generator_of_a_loader_goes_on_from_where_it_was():
    own = torch.Generator().manual_seed(3)
    loader = DataLoader(SAMPLES, 8, sampler=RandomSampler(SAMPLES, True, generator=own))
    before = own.get_state()
    with pytest.warns(UserWarning, match="read once"):
        loaders.in_memory(loader)
    assert torch.equal(own.get_state(), before)


class Doubling(DataLoader):
    """Iterates as no other loader does."""

    def __iter__(self):
        return (pair for pair in super().__iter__() for _ in range(2))


def test_a_loader_that_iterates_in_its_own_way_is_read_in_that_way():
    assert len(loaders.in_memory(Doubling(SAMPLES, 10))) == 80


# --- streams, and what has no end ---------------------------------------------------------------

STREAMS = {
    "in a loader": (DataLoader(Sized(), 9), None),
    "bare": (Reshuffled(), "not a Reshuffled; put it into a DataLoader"),
    "a generator": ((pair for pair in [SAMPLES[:2]]), "a map-style Dataset, not a generator"),
    "endless": (DataLoader(Endless(), 9), r"endless\? Wrap it in loaders.Stream\(loader, steps_"),
    "an endless sampler": (DataLoader(SAMPLES, 9, sampler=Forever()), "endless?"),
    "a Stream": (loaders.Stream(DataLoader(SAMPLES, 9)), "a Stream is for training"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_whole_or_refused_in_one_line(name, monkeypatch):
    monkeypatch.setattr(memory, "MOST", 100)
    part, complaint = STREAMS[name]
    if complaint is None:
        assert torch.equal(loaders.in_memory(part).inputs, SAMPLES.tensors[0])
    else:
        with pytest.raises(ValueError, match=complaint) as caught:
            loaders.in_memory(part)
        assert "\n" not in str(caught.value)


# --- memory -------------------------------------------------------------------------------------


class Unknown(IterableDataset):
    """Samples of 32 KiB, made when they are read."""

    def __init__(self, num_samples=1000):
        self.num_samples = num_samples

    def __iter__(self):
        return ((torch.full((8192,), float(i)), i % 2) for i in range(self.num_samples))


class Known(Dataset):
    def __len__(self):
        return 1000

    def __getitem__(self, index):
        return torch.full((8192,), float(index)), index % 2


def peak_bytes(function):
    """The most bytes that torch holds at one moment while it runs, besides those before."""
    with profile(profile_memory=True) as found:
        function()
    events = [e for e in found.kineto_results.events() if e.name() == "[memory]"]
    changes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    return max(itertools.accumulate(changes))


def test_what_torch_holds_at_one_moment_is_measured():
    def function():
        held = torch.zeros(1000)[:10]
        for _ in range(9):
            torch.zeros(500)
        return held

    assert peak_bytes(function) == 6000


@pytest.mark.parametrize(("part", "most"), [(Known(), 1.3), (Unknown(), 2.3)])
def test_reading_costs_about_the_data(part, most):
    splits = []
    peak = peak_bytes(lambda: splits.append(loaders.in_memory(DataLoader(part, 16))))
    (inputs,) = (split.inputs for split in splits)
    assert inputs[:, 5].tolist() == list(range(1000))
    assert peak < most * inputs.nbytes


def test_a_pair_of_tensors_is_checked_without_a_copy():
    inputs, targets = torch.zeros(1000, 8192), halves(1000)
    assert peak_bytes(lambda: loaders.in_memory((inputs, targets))) < 0.3 * inputs.nbytes
    assert loaders.in_memory((inputs, targets)).inputs is inputs
    inputs[-1, -1] = torch.nan
    with pytest.raises(ValueError, match="inputs hold NaN"):
        loaders.in_memory((inputs, targets))


def test_what_stands_for_data_in_a_folder_is_taken_without_a_copy():
    inputs = torch.zeros(1000, 1000)
    tracemalloc.start()
    expected = fingerprint({"inputs": inputs})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.1 * inputs.nbytes
    inputs[-1, -1] = 1.0
    assert fingerprint({"inputs": inputs}) != expected


@pytest.mark.parametrize(("part", "complaint"), [(Known(), "1,000 samples"), (Unknown(), "or mor")])
def test_more_than_memory_holds_is_refused_before_it_is_full(part, complaint, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda: 2**20)
    with pytest.raises(ValueError, match=rf"{complaint}.* are free; loaders.Stream\(loader\)"):
        loaders.in_memory(DataLoader(part, 16))


def test_what_an_adapter_leaves_out_or_adds_is_no_obstacle():
    """As many samples as were expected come only where nobody picks."""
    every_other = loaders.in_memory(DataLoader(SAMPLES, 8), lambda b: (b[0][::2], b[1][::2]))
    assert torch.equal(every_other.inputs, SAMPLES.tensors[0][::2])
    twice = loaders.in_memory(DataLoader(SAMPLES, 8), lambda b: (b[0].repeat(2, 1), b[1].repeat(2)))
    assert len(twice) == 80


class Several(Dataset):
    """Inputs of two tensors, targets of any kind."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        return {"x": torch.full((3,), float(index)), "more": (torch.ones(2),)}, torch.ones(5)


@pytest.mark.parametrize("part", [Several(), DataLoader(Several(), 7, shuffle=True)])
def test_inputs_of_several_tensors_are_read_together(part):
    split = loaders.in_memory(part, classes=False)
    assert split.inputs["x"][:, 2].tolist() == list(range(40))
    assert split.inputs["more"][0].shape == (40, 2)
    assert split.targets.shape == (40, 5)


def test_batches_of_other_parts_are_refused():
    parts = [({"x": torch.ones(2, 3)}, halves(2)), ({"y": torch.ones(2, 3)}, halves(2))]
    with pytest.raises(
        ValueError, match=r"the same parts, not inputs\.x, targets and inputs\.y, ta"
    ):
        loaders.in_memory(DataLoader(parts, batch_size=None))


def test_batches_of_other_types_are_refused_and_not_rounded():
    parts = [(torch.ones(2, 3), halves(2)), (torch.full((2, 3), 2), halves(2))]
    with pytest.raises(
        ValueError, match=r"the inputs must have one type, not torch.float32 and to"
    ):
        loaders.in_memory(DataLoader(parts, batch_size=None))


# --- arrays, tables, lists ----------------------------------------------------------------------

X = np.arange(12, dtype="float32").reshape(4, 3)
Y = np.array([0, 1, 0, 1])
FROZEN = X.copy()
FROZEN.setflags(write=False)
ARRAYS = {
    "a pair of arrays": (X, Y),
    "a list of two arrays": [X, Y],
    "an array that nobody may write to": (FROZEN, Y),
    "a mirrored array": (X[::-1][::-1], Y),
    "columns first": (np.asfortranarray(X), Y),
    "big-endian numbers": (X.astype(">f4"), Y),
    "an array and a tensor": (X, torch.from_numpy(Y)),
    "lists": (X.tolist(), Y.tolist()),
    "tables": (pd.DataFrame(X), pd.Series(Y)),
    "samples that are arrays": list(zip(X, Y, strict=True)),
    "batches that are arrays": DataLoader([(X, Y)], batch_size=None, collate_fn=lambda pair: pair),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_are_as_good_as_tensors(name):
    split = loaders.in_memory(ARRAYS[name])
    assert torch.equal(split.inputs, torch.from_numpy(X))
    assert torch.equal(split.targets, torch.from_numpy(Y))


HELPED = {
    "float64": ((X.astype("float64"), Y), r"convert one of the two, such as inputs.to\(torch.fl"),
    "small labels": ((X, Y.astype("uint8")), r"convert them, targets.to\(torch.int64\), or"),
    "words": ((np.array([["a"], ["b"]]), Y[:2]), "an array of <U1 is no tensor; turn it into num"),
    "a list of tensors": (([torch.ones(3)] * 4, Y), r"do not make samples; torch.stack\(inp"),
    "a table": (pd.DataFrame(X), r"data must be \(inputs, targets\).* not a DataFrame"),
}


@pytest.mark.parametrize("name", HELPED)
def test_arrays_that_do_not_fit_get_a_line_that_helps(name):
    part, complaint = HELPED[name]
    with pytest.raises(ValueError, match=complaint) as caught:
        loaders.in_memory(part)
    assert "\n" not in str(caught.value)


def test_images_of_bytes_are_told_how_to_be_scaled():
    images = torch.zeros(6, 3, 8, 8, dtype=torch.uint8), halves(6)
    with pytest.raises(ValueError, match=r"the model cannot.*inputs\.float\(\) / 255"):
        prune(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2)), images, images)
