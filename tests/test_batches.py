"""Batches of any shape: counted, cut, moved and fed in as the network takes them."""

from collections import UserDict

import pytest
import torch
from torch import nn

from infcop_lite.batches import call, joined, moved, num_samples, same, take
from infcop_lite.flows import collect_activations, gradient_flow, information_flow

NESTED = {"ids": torch.arange(12).reshape(6, 2), "more": (torch.arange(6), None, 0.5, "word")}


def test_samples_are_counted_over_all_tensors_and_must_agree():
    assert num_samples(NESTED) == num_samples(torch.zeros(6, 1)) == 6
    assert num_samples((torch.zeros(3, 1), torch.tensor(2.0))) == 3  # no dimension: everybody's
    for batch, found in [((torch.zeros(2), [torch.zeros(3)]), "2 and 3"), ({"a": 1}, "no")]:
        with pytest.raises(ValueError, match=f"a row for each sample, not {found} rows"):
            num_samples(batch)


def test_samples_are_taken_from_all_tensors_and_the_rest_stays():
    part = take(NESTED, 2, 4)
    assert part["ids"].tolist() == [[4, 5], [6, 7]]
    assert part["more"][0].tolist() == [2, 3]
    assert part["more"][1:] == (None, 0.5, "word")


def test_batches_are_joined_as_they_were_cut():
    both = joined([take(NESTED, 0, 2), take(NESTED, 2, 6)])
    assert same(both, NESTED)
    assert both["more"][1:] == (None, 0.5, "word")
    with pytest.raises(ValueError, match=r"one shape, not \[\(1,\), \(2,\)\]"):
        joined([torch.zeros(3, 2), torch.zeros(3, 1)])


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"x": torch.ones(1, 2)},
        {"x": torch.ones(2).long()},
        {"x": torch.tensor([1.0, torch.nan])},
    ],
)
def test_batches_are_the_same_if_all_their_tensors_are(other):
    assert same(other, other)
    assert not same({"x": torch.ones(2)}, other)


def test_a_moved_batch_is_plain():
    held = moved(UserDict(x=torch.ones(2, requires_grad=True), y=[torch.ones(1)]), "cpu")
    assert type(held) is dict
    assert type(held["y"]) is list
    assert not held["x"].requires_grad


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(2, 5), nn.Linear(5, 3)

    def forward(self, x, shift):
        return self.b(torch.tanh(self.a(x) + shift))


class One(Two):
    def forward(self, both):
        return super().forward(both["x"], both["shift"])


def test_inputs_go_in_by_name_one_by_one_or_as_one_dict_with_the_same_flows():
    model, x, shift = Two(), torch.randn(9, 2), torch.randn(9, 5)
    single = One()
    single.load_state_dict(model.state_dict())
    targets = torch.arange(9) % 3
    found = [
        (
            call(net, inputs),
            information_flow(collect_activations(net, inputs, batch_size=4)),
            gradient_flow(net, inputs, targets, batch_size=4),
        )
        for net, inputs in [
            (model, {"shift": shift, "x": x}),
            (model, (x, shift)),
            (model, [x, shift]),
            (single, ({"x": x, "shift": shift},)),
        ]
    ]
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
