"""What a network is trained on: from memory as ever, or from anything that yields batches."""

import copy
import math
from itertools import islice

import pytest
import torch
from torch import nn

from infcop_lite.config import Config
from infcop_lite.data import Split
from infcop_lite.feeding import InMemory, Source
from infcop_lite.level import Trainer
from infcop_lite.loop import run
from infcop_lite.pruning import prune

TINY = Config(levels=1, epochs=2, warmup_epochs=1, batch_size=8, fraction=0.5, device="cpu")


def split(num=40):
    x = torch.randn(num, 4, generator=torch.Generator().manual_seed(0))
    return Split(x, (x[:, 0] > 0).long())


class Elsewhere:
    """Data that are no split: what `InMemory` yields, with noise of the global generator."""

    def __init__(self, noise=0.0):
        self.held, self.noise, self.asked = InMemory(split(), 8, 0), noise, []

    steps_per_epoch = 5

    def batches(self, seed):
        self.asked.append(seed)
        for inputs, targets in self.held.batches(seed):
            yield inputs + self.noise * torch.randn(inputs.shape), targets

    def head(self, num):
        return self.held.head(num)


def trained(source, model=None, config=TINY):
    torch.manual_seed(0)
    net = model or nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))
    trainer = Trainer(net, source, split(), None, config)
    rows = list(run(config, trainer=trainer))
    return trainer.model.state_dict(), [(row.train_loss, row.validation_accuracy) for row in rows]


def test_batches_from_elsewhere_train_to_the_same_bits_as_those_of_a_split():
    weights, rows = trained(split())
    others, seen = trained(Elsewhere())
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert str(seen) == str(rows)


def test_what_a_source_draws_from_the_global_generator_does_not_depend_on_the_checks():
    weights, _ = trained(Elsewhere(noise=0.5))
    again, _ = trained(Elsewhere(noise=0.5), config=Config(**vars(TINY) | {"check_steps": 3}))
    clean, _ = trained(Elsewhere())
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not torch.equal(weights["0.weight"], clean["0.weight"])


def test_every_level_and_the_warm_up_ask_with_a_seed_of_their_own():
    source = Elsewhere()
    trained(source)
    assert len(source.asked) == len(set(source.asked)) == 3


def test_the_head_of_a_split_is_drawn_once_and_batches_of_equal_seeds_are_equal():
    source = InMemory(split(), 8, seed=3)
    assert torch.equal(source.head(5)[0], source.head(40)[0][:5])
    first, second, other = (list(islice(source.batches(seed), 7)) for seed in (1, 1, 2))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0][0], other[0][0])


def test_a_source_that_runs_dry_is_told():
    class Short(Elsewhere):
        def batches(self, seed):
            return islice(super().batches(seed), 7)

    assert isinstance(Short(), Source)
    with pytest.raises(ValueError, match="5 steps were asked for and 2 batches were there"):
        trained(Short())


def test_inputs_of_several_tensors_are_cut_together():
    pair = {"a": torch.arange(6), "b": torch.arange(6) * 2}
    for inputs, targets in islice(InMemory(Split(pair, torch.arange(6)), 4, 0).batches(0), 3):
        assert torch.equal(inputs["a"] * 2, inputs["b"])
        assert torch.equal(inputs["a"], targets)


def test_the_source_is_asked_for_no_batch_more_than_there_are_steps():
    source, seen = Elsewhere(), []
    original = source.batches

    def counted(seed):
        for batch in original(seed):
            seen.append(seed)
            yield batch

    source.batches = counted
    trained(source, copy.deepcopy(nn.Linear(4, 2)))
    assert len(seen) == 5 + 10 + 10


def test_prune_trains_on_a_source_and_its_key_stands_for_the_data_in_a_folder(tmp_path):
    options = {"levels": 1, "epochs": 1, "warmup_epochs": 0, "batch_size": 8, "device": "cpu"}
    memory = prune(nn.Linear(4, 2), split(), split(), **options)
    assert math.isfinite(memory.rows[-1].train_loss)
    torch.manual_seed(0)
    net, source = nn.Linear(4, 2), Elsewhere()
    with pytest.raises(ValueError, match="give the stream a key="):
        prune(net, source, split(), folder=tmp_path, **options)
    source.key = "v1"
    found = prune(net, source, split(), folder=tmp_path, **options)
    assert torch.equal(found.model.weight, prune(net, split(), split(), **options).model.weight)
    source.key = "v2"
    with pytest.raises(ValueError, match="differs in train data"):
        prune(net, source, split(), folder=tmp_path, **options)


@pytest.mark.parametrize(
    ("inputs", "target", "line"),
    [
        (float("nan"), 0, "step 2 of epoch 2 of level 0: inputs hold NaN or infinity"),
        (float("inf"), 0, "step 2 of epoch 2 of level 0: inputs hold NaN or infinity"),
        (0.0, 2, "step 2 of epoch 2 of level 0: targets must be int64 classes, 0 to 1;"),
        (0.0, -100, "step 2 of epoch 2 of level 0: targets must be int64 classes, 0 to 1;"),
    ],
)
def test_every_batch_from_elsewhere_is_looked_at_and_a_bad_one_is_found(inputs, target, line):
    class Spoilt(Elsewhere):
        def batches(self, seed):
            for step, (x, y) in enumerate(super().batches(seed)):
                is_bad = step == 6 and len(self.asked) == 2
                yield (x + inputs, y * 0 + target) if is_bad else (x, y)

    with pytest.raises(ValueError, match=line):
        trained(Spoilt())


def test_targets_that_are_no_classes_are_for_a_loss_of_ones_own_and_other_inputs_are_let_be():
    class Ignored(Elsewhere):
        def batches(self, seed):
            for x, y in super().batches(seed):
                yield {"x": x, "ids": y, "causal": True}, torch.full_like(y, -100)

        def head(self, num):
            return next(self.batches(0))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2)

        def forward(self, x, ids=None, causal=None):
            return self.layer(x)

    def loss(output, targets):
        return output.square().mean()

    config = Config(**vars(TINY) | {"loss": loss})
    _, rows = trained(Ignored(), Net(), config)
    assert math.isfinite(rows[-1][0])
