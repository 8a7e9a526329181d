"""Every argument of every function that counts is looked at, whatever it is given.

Each function has one good call; then one argument at a time is replaced by each odd value. It must
return, or raise what is documented, in one line. An exception of torch's or Python's own, from
deep inside, says nothing about the argument.
"""

import copy
import inspect
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import infcop_lite
from infcop_lite import Check, Config, amounts, compacting, flows, masks, prices, stopping, train
from infcop_lite.confidence import check_confidence

NAN, INF = float("nan"), float("inf")
NET = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
FULL = masks.full_masks(NET)
X, Y = torch.linspace(-1, 1, 48).view(12, 4), torch.arange(12) % 2
SCORES = {name: weight.detach().abs() for name, weight in masks.prunable(NET).items()}
LAYERS = {"a": X, "b": X[:, :3] ** 2}
ODD = {
    "none": None,
    "text": "0.5",
    "bytes": b"1",
    "nothing": "",
    "a class": stopping.Patience,
    "a function": len,
    "an object": object(),
    "a list": [1.0, 2.0],
    "an empty list": [],
    "an empty dict": {},
    "a dict": {"a": 1},
    "a set": {1},
    "nan": NAN,
    "infinity": INF,
    "negative": -1,
    "fraction": 0.5,
    "true": True,
    "complex": 1j,
    "an array": np.ones(2),
    "numpy nan": np.float64(NAN),
    "a number of numpy": np.float32(0.5),
    "a whole number of numpy": np.int64(1),
    "huge": 10**400,
    "a tensor": torch.ones(2),
    "an empty tensor": torch.ones(0),
    "whole numbers": torch.ones(2, 3, dtype=torch.int64),
    "a complex tensor": torch.ones(2, dtype=torch.complex64),
    "masks of numbers": {name: mask.int() for name, mask in FULL.items()},
    "masks of another": {"weight": torch.ones(1, 2, dtype=torch.bool)},
    "masks of names": dict.fromkeys(FULL, "kept"),
}
#: A function -> one good call of it.
CALLS = {
    masks.prunable: {"model": NET},
    masks.full_masks: {"model": NET},
    masks.from_zeros: {"model": NET},
    masks.found: {"model": NET},
    masks.keep_best: {"scores": SCORES, "masks": FULL, "fraction": 0.5, "scope": "global"},
    masks.magnitude_masks: {"model": NET, "masks": FULL, "fraction": 0.5, "scope": "layerwise"},
    masks.dead: {"masks": FULL},
    masks.n_of_m: {"scores": SCORES, "n": 2, "m": 4},
    masks.density: {"masks": FULL},
    masks.mask_distance: {"masks": FULL, "others": FULL, "alive": FULL},
    masks.check_masks: {"model": NET, "masks": FULL},
    masks.apply_masks: {"model": NET, "masks": FULL},
    masks.rewind: {"model": NET, "state": copy.deepcopy(NET.state_dict()), "masks": FULL},
    amounts.pq_index: {"weights": X[0], "p": 1, "q": 2},
    amounts.sap_fraction: {"weights": X[0], "p": 1, "q": 2, "eta": 0.1, "gamma": 1.0, "beta": 0.9},
    flows.correlation: {"a": X, "b": X},
    flows.information_flow: {"activations": LAYERS, "summary": "mean"},
    flows.flow_distance: {"flow": X[0], "reference": X[1]},
    flows.sampling_floor: {"activations": LAYERS},
    flows.collect_activations: {"model": NET, "inputs": X, "batch_size": 5},
    flows.gradient_flow: {"model": NET, "inputs": X, "targets": Y, "masks": FULL, "batch_size": 5},
    train.evaluate: {"model": NET, "inputs": X, "targets": Y, "batch_size": 5},
    compacting.compact: {"model": NET, "masks": FULL},
    check_confidence: {"confidence": 0.9, "looks": 2},
    stopping.ReachAccuracy: {"target": 0.9},
    stopping.ReachLoss: {"target": 0.9, "times": 2},
    stopping.FlowConsistency: {
        **{"flow": "information", "epsilon": 0.5, "relative": True, "confidence": 0.9},
        "looks": 2,
    },
    stopping.SmallGradient: {"epsilon": 0.5},
    stopping.MaskStability: {"epsilon": 0.5, "patience": 2},
    stopping.Patience: {"patience": 2, "of": "f1", "mode": "min"},
    stopping.FixedEpochs: {"n": 2},
    stopping.Schedule: {"epochs": (1, 2)},
    prices.PriceOfTime: {"price": 0.1},
    prices.BreakEven: {"price": 0.1, "floor": 0.0},
    Config: {name: getattr(Config, name) for name in Config.__annotations__},
}
CASES = [
    pytest.param(call, name, id=f"{call.__name__}: {name}")
    for call, good in CALLS.items()
    for name in good
]
DOCUMENTED = (ValueError, OSError, FloatingPointError)


@pytest.mark.parametrize(("call", "name"), CASES)
def test_an_odd_argument_is_refused_in_one_line_or_taken_for_what_it_is(call, name):
    wrong = []
    for odd, value in ODD.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call(**CALLS[call] | {name: value})
        except DOCUMENTED as error:
            if "\n" in str(error) or not str(error):
                wrong.append(f"{odd}: {type(error).__name__} of several lines or none")
        except Exception as error:
            if (call, name) == (flows.collect_activations, "inputs"):
                continue  # the network's own words about inputs that it cannot take
            wrong.append(f"{odd}: {type(error).__name__}: {str(error)[:80]}")
    assert not wrong, f"{call.__name__}({name}=...)\n" + "\n".join(wrong)


def test_every_good_call_is_one():
    for call, good in CALLS.items():
        call(**good)


def test_every_rule_and_every_function_on_masks_and_flows_has_its_call():
    called = {call.__name__ for call in CALLS} | {"AnyOf"}  # which has a test of its own
    for module in (masks, flows):
        own = [
            name
            for name, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        ]
        wanted = {name for name in own if not name.startswith("_")}
        assert wanted - called <= {"of_zeros", "every_module_called"}
    front = {name for name in infcop_lite.__all__ if hasattr(getattr(infcop_lite, name), "kind")}
    assert front <= called


# --- right answers where there used to be wrong ones --------------------------------------------


def test_a_distance_among_the_survivors_is_a_fraction():
    a, b, alive = (
        torch.tensor(t, dtype=torch.bool) for t in ([1, 0, 1, 1], [0, 1, 0, 0], [1, 0, 0, 0])
    )
    assert masks.mask_distance({"a": a}, {"a": b}, {"a": alive}) == 1.0
    assert masks.mask_distance({"a": a}, {"a": b}, {"a": ~alive}) == 1.0
    assert masks.mask_distance({"a": a}, {"a": a ^ alive}, {"a": ~alive}) == 0.0
    with pytest.raises(ValueError, match="different networks"):
        masks.mask_distance({"a": a}, {"a": b}, {"b": alive})
    with pytest.raises(ValueError, match="boolean"):
        masks.mask_distance({"a": a}, {"a": b}, {"a": alive.long()})


@pytest.mark.parametrize("track", [True, False])
def test_a_linear_layer_before_a_norm_without_weights_is_compacted(track):
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(3, affine=False, track_running_stats=track)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), norm, nn.ReLU(), nn.Linear(3, 2))
    net(X)  # so that the statistics are not 0 and 1
    mask = masks.full_masks(net)
    mask["1.weight"][0] = False
    masks.apply_masks(net.eval(), mask)
    torch.testing.assert_close(compacting.compact(net, mask)(X), net(X))


def test_a_correlation_does_not_depend_on_the_scale():
    for scale in (1e-170, 1e170):
        a = X.double() * scale
        torch.testing.assert_close(
            flows.correlation(a, a), flows.correlation(X.double(), X.double())
        )


def test_a_number_of_numpy_is_a_number_and_leaves_no_trace():
    assert repr(stopping.FlowConsistency("gradient", np.float32(0.5))) == repr(
        stopping.FlowConsistency("gradient", 0.5)
    )
    assert stopping.Patience(np.int64(2)) == stopping.Patience(2)
    rule = stopping.Schedule([np.float32(0.5), np.int64(2)])
    assert repr(rule) == "Schedule(epochs=(0.5, 2))"
    assert rule.stop([Check(2.0, level=5)])


def test_a_class_is_no_rule():
    with pytest.raises(ValueError, match="AnyOf joins rules"):
        stopping.AnyOf(stopping.Patience)


def test_the_distance_of_whole_numbers_is_right():
    assert flows.flow_distance(torch.tensor([3, 0]), torch.tensor([0, 4])) == 5.0
