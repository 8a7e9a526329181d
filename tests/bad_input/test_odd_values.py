"""Every argument of every function that counts is looked at, whatever it is given.

Each function has one good call; then one argument at a time is replaced by each odd value. It must
return, or raise what is documented, in one line. An exception of torch's or Python's own, from
deep inside, says nothing about the argument.
"""

import copy
import inspect
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import infcop_lite
from infcop_lite import (
    Check,
    Config,
    Pruner,
    Trainer,
    amounts,
    compacting,
    flows,
    masks,
    plan,
    prices,
    prune,
    stopping,
    sweep,
    train,
)
from infcop_lite.confidence import check_confidence
from infcop_lite.data import Split
from infcop_lite.sweep import run_one

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
#: What calls a function of the caller's own: if that fails, its own words are the right ones.
OWN = {"loss", "score", "rewind", "augment", "evaluate", "optimizer", "scheduler", "adapter"}
OWN |= {"wrap", "keep", "look", "report"}


def odd_ends(call, good, name, excused=()):
    """Call with each odd value in place of one argument; return what ends as it should not."""
    wrong = []
    for odd, value in {"nothing odd": good[name], **ODD}.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call(**spare(good | {name: value}))
        except DOCUMENTED as error:
            if value is good[name] or "\n" in str(error) or not str(error):
                wrong.append(f"{odd}: {type(error).__name__} of several lines or none: {error}")
        except Exception as error:
            own = (name in OWN and callable(value)) or name in excused  # whose words are right
            wrong += [] if own else [f"{odd}: {type(error).__name__}: {str(error)[:80]}"]
    return wrong


def spare(arguments):
    """Networks are changed by some calls, so that each gets a copy."""
    return {k: copy.deepcopy(v) if isinstance(v, nn.Module) else v for k, v in arguments.items()}


@pytest.mark.parametrize(("call", "name"), CASES)
def test_an_odd_argument_is_refused_in_one_line_or_taken_for_what_it_is(call, name):
    excused = ["inputs"] if call is flows.collect_activations else []  # the network's own words
    assert not odd_ends(call, CALLS[call], name, excused)


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


# --- the front door -----------------------------------------------------------------------------

SMALL = {"levels": 1, "epochs": 1, "warmup_epochs": 1, "probe_size": 8, "batch_size": 6}
ON_DIGITS = Config(subset=60, levels=1, epochs=1, warmup_epochs=0, probe_size=8)
PAIR, SPLIT = (X, Y), Split(X, Y)
OBJECTS = {"loss": None, "score": "magnitude", "rewind": "weights", "stop": "budget", "dense": ()}


def a_pruner(**options):
    pruner = Pruner(copy.deepcopy(NET), levels=2, epochs=2, stop="information", **options)
    pruner.snapshot(probe=PAIR)
    return pruner


def a_trainer():
    return Trainer(copy.deepcopy(NET), SPLIT, SPLIT, None, Config(**SMALL))


def snapshot(probe, loss, validation_accuracy):
    pruner = Pruner(copy.deepcopy(NET), levels=2, epochs=2)
    pruner.snapshot(probe, loss, validation_accuracy=validation_accuracy)


def train_level(level, is_last, length):
    list(a_trainer().train_level(level, is_last, length))


def stop(**numbers):
    """Let every rule of the library see one check."""
    checks = [Check(**numbers)]
    rules = [infcop_lite.Schedule((1,)), infcop_lite.FlowConsistency("information", 0.5)]
    rules += [infcop_lite.ReachLoss(0.5), infcop_lite.ReachAccuracy(0.5), infcop_lite.Patience(1)]
    rules += [infcop_lite.SmallGradient(0.1), infcop_lite.MaskStability(0.5, 1)]
    rules += [infcop_lite.PriceOfTime(0.1), infcop_lite.BreakEven(0.1, 0.0)]
    return [rule.stop(checks) for rule in [*rules, infcop_lite.FixedEpochs(1)]]


STATE = a_pruner().state_dict()
START = a_trainer().warm_up()
#: Name of what stands at the front door -> what calls it or its method, and one good call.
FRONT = {
    "prune": [
        (
            prune,
            {"model": NET, "train": PAIR, "validation": PAIR, "test": PAIR, "masks": FULL}
            | {"adapter": None, "folder": None, "progress": False}
            | OBJECTS
            | SMALL,
        )
    ],
    "plan": [(plan, {"model": NET, "masks": FULL, "fraction": 0.5, "dense": ()})],
    "Pruner": [
        (
            lambda **options: Pruner(**options),
            {"model": NET, "masks": FULL, "score": "magnitude", "fraction": 0.2, "dense": ()}
            | {"scope": "layerwise", "stop": "budget", "rewind": "weights", "levels": 2}
            | {"final_density": None, "epochs": 2, "amount": "fixed", "seed": 0, "epsilon": 0.5}
            | {"absolute": False, "patience": 2},
        ),
        (lambda model: a_pruner().step(model), {"model": NET}),
        (snapshot, {"probe": PAIR, "loss": None, "validation_accuracy": 0.5}),
        (
            lambda **numbers: a_pruner().check(**numbers),
            {"epoch": 1, "train_loss": 0.5, "f1": 0.5},
        ),
        (
            lambda optimizer: a_pruner().next_level(optimizer),
            {"optimizer": torch.optim.SGD(NET.parameters(), 0.1)},
        ),
        (
            lambda **held: a_pruner().load_state_dict(**held),
            {"state": STATE, "loss": None},
        ),
    ],
    "Trainer": [
        (
            lambda **parts: Trainer(**parts),
            {"model": NET, "train": SPLIT, "validation": SPLIT, "test": SPLIT, "masks": FULL}
            | {"config": Config(**SMALL)},
        ),
        (Trainer.of, {"config": ON_DIGITS, "wrap": lambda network: network}),
        (lambda start: a_trainer().begin(start), {"start": START}),
        (train_level, {"level": 0, "is_last": False, "length": None}),
        (
            lambda **held: a_trainer().next_start(**held),
            {"level": 1, "snapshot": START.weights},
        ),
    ],
    "Start": [
        (
            lambda **held: a_trainer().begin(infcop_lite.Start(**held)),
            {"level": 0, "masks": START.masks, "weights": START.weights},
        )
    ],
    "run": [
        (
            lambda **given: next(infcop_lite.run(**given)),
            {"config": ON_DIGITS, "state": None, "keep": None, "look": None, "trainer": None}
            | {"everything": False},
        )
    ],
    "compare": [
        (
            lambda **given: next(infcop_lite.compare(**given)),
            {"configs": {"a": ON_DIGITS}, "watched": None, "final_masks": None}
            | {"every_check": False},
        )
    ],
    "Check": [
        (
            stop,
            {"epoch": 1.0, "validation_accuracy": 0.5, "distances": {"information": 0.1}}
            | {"reference_norms": {"information": 1.0}, "gradient_norm": 0.1, "metrics": {}}
            | {"mask_distance": 0.1, "level": 0, "train_loss": 0.5}
            | {"distance_errors": {"information": 0.1}, "relative_errors": {"information": 0.1}},
        )
    ],
    "AnyOf": [(lambda rule: infcop_lite.AnyOf(rule), {"rule": infcop_lite.Patience(2)})],
}
THROUGH = [
    pytest.param(call, good, name, id=f"{front}, {number}: {name}")
    for front, calls in FRONT.items()
    for number, (call, good) in enumerate(calls)
    for name in good
]


@pytest.mark.parametrize(("call", "good", "name"), THROUGH)
def test_an_odd_argument_at_the_front_door_is_refused_in_one_line_or_taken(
    call, good, name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where a folder that is named goes
    assert not odd_ends(call, good, name)


@pytest.mark.parametrize("name", ["runs", "folder", "command", "report", "folders"])
def test_an_odd_folder_of_runs_is_refused_in_one_line_or_taken(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = replace(ON_DIGITS, threads=1)
    run_one(config, tmp_path / "a")
    good = {"runs": {"a": config}, "folder": tmp_path}
    good |= {"command": "", "report": lambda run, problem: None}
    if name == "folders":
        assert not odd_ends(infcop_lite.read_runs, {"folders": tmp_path}, name)
    else:  # where every run is finished nothing is started
        monkeypatch.setattr(sweep, "side_by_side", lambda *_: iter(()))
        assert not odd_ends(infcop_lite.run_many, good, name)


def test_every_name_of_the_front_door_is_thrown_at():
    thrown = {call.__name__ for call in CALLS} | set(FRONT) | {"run_many", "read_runs"}
    assert infcop_lite.run_imp is infcop_lite.run
    assert set(infcop_lite.__all__) - {"run_imp"} <= thrown


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
