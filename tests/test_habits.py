"""Loops as people write them: what they do by habit ends right, or in one clear line."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers.modeling_outputs import SequenceClassifierOutput

from infcop_lite import masks
from infcop_lite.loaders import Stream, in_memory
from infcop_lite.placement import inner
from infcop_lite.pruner import Pruner
from infcop_lite.pruning import prune

X = torch.randn(32, 10, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
SHORT = {"levels": 1, "fraction": 0.5, "epochs": 1, "warmup_epochs": 1, "batch_size": 16}
SHORT |= {"device": "cpu", "threads": 1}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, 2))


def begun(model=None, **settings):
    pruner = Pruner(model or network(), **{"fraction": 0.5, "levels": 2, "epochs": 2} | settings)
    pruner.snapshot((X, Y))
    return pruner


def trained(model, optimizer, pruner=None):
    for _ in range(2):
        optimizer.zero_grad()
        cross_entropy(model(X), Y).backward()
        optimizer.step()
        if pruner:
            pruner.step()


def holds(pruner):
    weights = masks.prunable(pruner.model)
    return all(not weights[name][~mask].any() for name, mask in pruner.masks.items())


# What they forget or mistake


def test_a_forgotten_step_is_noticed_at_the_next_check():
    pruner = begun()
    sgd = torch.optim.SGD(pruner.model.parameters(), 0.1, momentum=0.9)
    trained(pruner.model, sgd)  # nothing is removed yet, and nothing is wrong
    assert not pruner.check(1)
    pruner.next_level(sgd)
    trained(pruner.model, sgd)
    with pytest.raises(ValueError, match=r"\d+ removed weights are not zero: call pruner.step\(\)"):
        pruner.check(1)
    pruner.step()
    assert not pruner.check(1)
    pruner.model[0].weight.data.fill_(float("nan"))  # a network that has diverged is another matter
    pruner.check(2)


def test_epochs_that_count_over_all_levels_get_a_warning_and_those_that_go_down_a_line():
    pruner = begun()
    for epoch in (1, 2):
        is_over = pruner.check(epoch)
    assert is_over
    pruner.next_level()
    with pytest.warns(UserWarning, match=r"check\(3\) is the first of level 1, whose budget is 2"):
        assert pruner.check(3)
    with pytest.raises(ValueError, match=r"epochs go up within a level: check\(1\) comes after"):
        pruner.check(1)


@pytest.mark.parametrize(("budget", "epochs"), [(2, (2, 2)), (0.5, (1, 1)), (None, (1, 5))])
def test_checks_as_late_as_those_of_the_first_level_are_no_mistake(budget, epochs, recwarn):
    pruner = begun(epochs=budget)
    for epoch in epochs:
        pruner.check(epoch)
        pruner.next_level()
    assert not recwarn


def test_an_optimizer_of_another_network_and_a_scheduler_are_noticed():
    pruner = begun()
    other = torch.optim.SGD(network().parameters(), 0.1)
    with pytest.warns(UserWarning, match="this SGD trains no parameter of the pruned network"):
        assert pruner.next_level(other)
    scheduler = torch.optim.lr_scheduler.StepLR(other, 1)
    with pytest.raises(ValueError, match="next_level takes the optimizer, not a StepLR"):
        pruner.next_level(scheduler)
    assert pruner.level == 1


def test_an_optimizer_that_leaves_a_pruned_layer_alone_is_said():
    def head(model):
        return torch.optim.SGD(model[2].parameters(), 0.1)

    with pytest.warns(UserWarning, match="does not train 0.weight, which levels prune"):
        prune(network(), (X, Y), (X, Y), optimizer=head, **SHORT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prune(network(), (X, Y), (X, Y), optimizer=head, dense="0", **SHORT)
        prune(network(), (X, Y), (X, Y), optimizer=head, **SHORT | {"fraction": {"2": 0.5}})


def test_an_accuracy_in_percent_is_refused():
    with pytest.raises(ValueError, match="validation_accuracy is a fraction, 0 to 1, not 93"):
        begun(stop="patience").check(1, validation_accuracy=93)


def test_a_probe_is_one_pair_of_whatever_holds_numbers():
    pruner = begun(stop="information+gradient")
    pruner.check(1)
    arrays = begun(stop="information+gradient")
    arrays.snapshot((X.numpy(), [int(y) for y in Y]))
    arrays.check(1)
    assert arrays.checks[-1].reference_norms == pruner.checks[-1].reference_norms
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, Y), 8)
    with pytest.raises(
        ValueError, match=r"probe must be one pair \(inputs, targets\), such as next"
    ):
        pruner.snapshot(loader)


def test_a_scripted_network_is_refused_in_one_line():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(network())
    assert inner(scripted) is scripted
    with pytest.raises(ValueError, match="has no Conv or Linear weights to prune"):
        Pruner(scripted)


def test_what_of_a_batch_is_no_tensor_is_named():
    samples = [{"x": x, "y": y, "id": "s"} for x, y in zip(X, Y, strict=True)]
    loader = torch.utils.data.DataLoader(samples, 8)
    with pytest.raises(ValueError, match=r"but inputs.id.0 is a str; leave it out by an adapter"):
        in_memory(loader, lambda batch: ({"x": batch["x"], "id": batch["id"]}, batch["y"]))


class Named(nn.Module):
    """Takes a name beside its numbers, and answers as networks of Hugging Face do."""

    def __init__(self):
        super().__init__()
        self.layers = network()

    def forward(self, x, name=None):
        return SequenceClassifierOutput(logits=self.layers(x))


def test_names_go_through_a_stream_and_an_output_of_parts_needs_a_loss():
    def loss(output, targets):
        return cross_entropy(output.logits, targets)

    batches = [
        ({"x": x, "name": ["s"] * 8}, y) for x, y in zip(X.split(8), Y.split(8), strict=True)
    ]
    streamed = {name: value for name, value in SHORT.items() if name != "batch_size"}
    found = prune(Named(), Stream(batches), ({"x": X}, Y), loss=loss, **streamed)
    assert found.rows[-1].density == 0.5
    with pytest.raises(ValueError, match=r"must return one tensor.*for others give a loss="):
        prune(Named(), (X, Y), (X, Y), **SHORT)


# What they do rightly


def accumulated(model, optimizer, pruner):
    for index, (x, y) in enumerate(zip(X.split(4), Y.split(4), strict=True)):
        cross_entropy(model(x), y).backward()
        if index % 4 == 3:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            optimizer.step()
            pruner.step()
            optimizer.zero_grad()


def in_bfloat16(model, optimizer, pruner):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cross_entropy(model(X), Y).backward()
        optimizer.step()
        pruner.step()
        pruner.check(0.5)  # measured within, as by a trainer


def scaled(model, optimizer, pruner):
    scaler = torch.amp.GradScaler("cpu")
    for _ in range(2):
        optimizer.zero_grad()
        scaler.scale(cross_entropy(model(X), Y)).backward()
        scaler.step(optimizer)
        scaler.update()
        pruner.step()


def with_inference_mode(model, optimizer, pruner):
    trained(model, optimizer, pruner)
    with torch.inference_mode():
        pruner.check(0.5)


WAYS = [accumulated, in_bfloat16, scaled, with_inference_mode]


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_zeros_hold_and_flows_are_measured_in_every_way_of_training(way):
    pruner = begun(stop="information+gradient", epsilon=1e-9)
    adam = torch.optim.Adam(pruner.model.parameters(), 0.01, fused=True)
    more = True
    while more:
        way(pruner.model, adam, pruner)
        pruner.check(1)
        assert holds(pruner)
        more = pruner.next_level(adam)
    assert pruner.density == 0.25
    assert all(0 < check.distances["gradient"] < 9 for check in pruner.checks)


def test_a_layer_is_spared_while_it_is_frozen_and_no_longer():
    pruner = begun(levels=3)
    pruner.model[0].requires_grad_(False)
    kept = []
    for frozen in (False, True, False):
        pruner.model[2].requires_grad_(not frozen)
        pruner.model[0].requires_grad_(frozen)
        pruner.next_level()
        kept.append([masks.density({name: mask}) for name, mask in pruner.masks.items()])
    assert kept == [[1, 0.5], [0.5, 0.5], [0.5, 0.25]]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_of_a_pruner_prunes_the_copy_of_its_network(copied):
    pruner = begun(stop="information")
    pruner.step()
    twin = copied(pruner)
    twin.next_level()
    twin.step()
    assert (twin.density, pruner.density) == (0.5, 1)
    assert holds(twin)
    assert np.all(pruner.model[0].weight.detach().numpy() != 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_network_that_changes_its_precision_keeps_its_zeros(dtype):
    pruner = begun()
    pruner.next_level()
    pruner.model.to(dtype)
    pruner.model[0].weight.data.fill_(1)
    pruner.step()
    assert holds(pruner)
    pruner.next_level()
    assert pruner.density == 0.25
    assert pruner.model[0].weight.dtype == dtype
