"""Config: what it accepts, what it refuses and how it says so; and the rules that it names."""

import itertools
import math
import sys
from dataclasses import FrozenInstanceError, fields

import pytest
from test_stopping import EXAMPLES

from infcop_lite.config import STOPS, Config, stop_rule
from infcop_lite.own import FUNCTIONS
from infcop_lite.stopping import (
    AnyOf,
    BreakEven,
    FixedEpochs,
    FlowConsistency,
    MaskStability,
    Patience,
    PriceOfTime,
    ReachAccuracy,
    ReachLoss,
    SmallGradient,
)

NAMES = [f.name for f in fields(Config)]
WHOLE = ["subset", "patience", "levels", "check_steps", "probe_size", "batch_size", "seed"]
WHOLE += ["gradient_probe"]
WHOLE += ["threads"]
REAL = ["fraction", "p", "q", "eta", "gamma", "beta", "epsilon", "epochs", "warmup_epochs"]
REAL += ["final_epochs", "final_density", "lr", "momentum", "weight_decay"]
REAL += ["dense_epochs", "level_lr", "label_smoothing", "price", "confidence"]
TEXT = ["data", "model", "amount", "scope", "reference", "optimizer", "device"]
TEXT += ["spacing", "rewind", "schedule", "level_schedule", "last_schedule", "augment", "score"]
TEXT += ["autocast"]
FLAGS = ["absolute", "monitor", "fresh_probe"]
OPTIONAL = {"subset", "final_epochs", "final_density", "check_steps", "threads", "level_lr"}
OPTIONAL |= set(FUNCTIONS)
OPTIONAL |= {"confidence"}

# Just inside and just outside of every range; None where the type alone sets no such bound.
TINY = sys.float_info.min
BELOW_ONE = math.nextafter(1, 0)
RANGES = {
    "subset": ([1, 10**9], [0, -1]),
    "fraction": ([TINY, BELOW_ONE], [0.0, 1.0, -0.2, 2.0]),
    "p": ([TINY, 0.99], [0.0, -1.0]),
    "q": ([0.51, 1e300], [0.0, -1.0]),
    "eta": ([0.0, 1e300], [-TINY, -1.0]),
    "gamma": ([TINY, 1e300], [0.0, -1.0]),
    "beta": ([TINY, BELOW_ONE], [0.0, 1.0, -0.1, 1.5]),
    "epsilon": ([TINY, 1e300], [0.0, -1.0, -TINY]),
    "price": ([TINY, 1e300], [0.0, -1.0, -TINY]),
    "confidence": ([math.nextafter(0.5, 1), BELOW_ONE], [0.5, 1.0, -0.95, 95.0]),
    "patience": ([1, 10**6], [0, -1]),
    "levels": ([0, 10**6], [-1]),
    "epochs": ([0.0, 0.5, 1e6], [-TINY, -1.0]),
    "warmup_epochs": ([0.0, 0.5, 1e6], [-TINY, -1.0]),
    "final_epochs": ([0.0, 0.5, 1e6], [-TINY, -1.0]),
    "dense_epochs": ([0.0, 0.5, 1e6], [-TINY, -1.0]),
    "level_lr": ([TINY, 1e300], [0.0, -1.0]),
    "label_smoothing": ([0.0, BELOW_ONE], [1.0, -TINY]),
    "final_density": ([TINY, BELOW_ONE], [0.0, 1.0, -0.1]),
    "check_steps": ([1, 10**6], [0, -1]),
    "probe_size": ([2, 10**9], [1, 0, -1]),
    "gradient_probe": ([1, 10**9], [0, -1]),
    "batch_size": ([1, 10**9], [0, -1]),
    "lr": ([TINY, 1e300], [0.0, -1.0]),
    "momentum": ([0.0, BELOW_ONE], [1.0, -TINY, 2.0]),
    "weight_decay": ([0.0, 1e300], [-TINY, -1.0]),
    "seed": ([0, 2**32], [-1]),
    "threads": ([1, 64], [0, -1]),
}
INSIDE = [(name, value) for name, (inside, _) in RANGES.items() for value in inside]
OUTSIDE = [(name, value) for name, (_, outside) in RANGES.items() for value in outside]


def refusal(**options):
    """Return the message with which Config refuses these options."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers look at the message
        Config(**options)
    return str(caught.value)


def test_every_field_is_in_one_of_the_lists_of_this_file():
    assert sorted(WHOLE + REAL + TEXT + FLAGS) == sorted(set(NAMES) - {"stop", "dense", *FUNCTIONS})
    assert sorted(RANGES) == sorted(WHOLE + REAL)


def test_the_defaults_are_a_valid_config():
    assert Config() == Config(data="digits", model="mlp", stop="budget")


def test_a_config_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Config().seed = 1


@pytest.mark.parametrize(("name", "value"), INSIDE)
def test_a_number_inside_its_range_is_accepted(name, value):
    assert getattr(Config(**{name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), OUTSIDE)
def test_a_number_outside_its_range_is_refused(name, value):
    message = refusal(**{name: value})
    assert name in message
    assert str(value) in message


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [[0.5], {"a": 1}, 1j, b"sgd"])
def test_a_value_of_a_foreign_type_is_refused_by_every_field(name, value):
    assert name in refusal(**{name: value})


@pytest.mark.parametrize("name", sorted(set(NAMES) - OPTIONAL))
def test_none_is_refused_by_every_field_that_needs_a_value(name):
    assert name in refusal(**{name: None})


@pytest.mark.parametrize("name", sorted(OPTIONAL))
def test_none_is_accepted_by_the_optional_fields(name):
    assert getattr(Config(**{name: None}), name) is None


@pytest.mark.parametrize("name", WHOLE + REAL)
@pytest.mark.parametrize("value", ["1", True, False])
def test_a_number_is_neither_text_nor_a_truth_value(name, value):
    assert name in refusal(**{name: value})


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("value", [2.0, 2.5, math.nan, math.inf])
def test_a_count_is_a_whole_number(name, value):
    assert name in refusal(**{name: value})


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_real_number_is_finite(name, value):
    message = refusal(**{name: value})
    assert name in message
    assert str(value) in message


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("value", [0, 1, "yes", 1.0])
def test_a_flag_is_true_or_false_and_nothing_else(name, value):
    assert name in refusal(**{name: value})


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("value", [0, 1.5, True])
def test_a_name_is_text(name, value):
    assert name in refusal(**{name: value})


@pytest.mark.parametrize("name", ["amount", "scope", "reference", "optimizer", "device"])
@pytest.mark.parametrize("value", ["", "nonsense", "SGD", "layerwise "])
def test_an_unknown_name_is_refused_with_the_choices(name, value):
    message = refusal(**{name: value})
    assert repr(value) in message
    choices = next(f.metadata["choices"] for f in fields(Config) if f.name == name)
    assert all(choice in message for choice in choices)


@pytest.mark.parametrize(("p", "q"), [(1.0, 1.0), (2.0, 1.0), (1.0, 0.5)])
def test_p_must_be_smaller_than_q(p, q):
    message = refusal(p=p, q=q)
    assert message == f"p must be smaller than q, not p={p}, q={q}"


@pytest.mark.parametrize("options", [{"epsilon": -1.0}, {"p": 2.0}, {"stop": "x"}, {"lr": None}])
def test_every_refusal_is_one_line(options):
    assert "\n" not in refusal(**options)


def test_an_unknown_field_is_refused():
    with pytest.raises(TypeError, match="epsilom"):
        Config(epsilom=0.1)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("budget", FixedEpochs(5.0)),
        ("accuracy", ReachAccuracy(0.75)),
        ("information", FlowConsistency("information", 0.3, relative=True)),
        ("gradient", FlowConsistency("gradient", 0.3, relative=True)),
        ("small-gradient", SmallGradient(0.3)),
        ("loss", ReachLoss(0.0)),
        ("twice-loss", ReachLoss(0.0, times=2)),
        ("mask", MaskStability(0.3, 4)),
        ("patience", Patience(4)),
        ("price", PriceOfTime(0.2)),
        ("break-even", BreakEven(0.2)),
    ],
)
def test_each_stop_name_is_its_rule(name, rule):
    config = Config(stop=name, epochs=5.0, epsilon=0.3, patience=4, price=0.2)
    assert stop_rule(config, target=0.75) == rule


def test_the_list_of_stop_names_is_complete():
    message = refusal(stop="nonsense")
    assert "'nonsense'" in message
    assert all(name in message for name in STOPS)
    assert {type(stop_rule(Config(stop=name), 1.0)) for name in STOPS} <= {
        type(rule) for rule, *_ in EXAMPLES.values()
    }


def test_absolute_makes_epsilon_a_plain_distance():
    for flow in ("information", "gradient"):
        rule = stop_rule(Config(stop=flow, absolute=True), target=1.0)
        assert rule == FlowConsistency(flow, 0.25, relative=False)


@pytest.mark.parametrize("pair", itertools.permutations(STOPS, 2), ids="+".join)
def test_names_joined_by_plus_stop_at_any_of_their_rules_in_that_order(pair):
    rule = stop_rule(Config(stop="+".join(pair)), target=0.5)
    assert isinstance(rule, AnyOf)
    assert rule.rules == tuple(stop_rule(Config(stop=name), target=0.5) for name in pair)


def test_all_names_may_be_joined():
    rule = stop_rule(Config(stop="+".join(STOPS)), target=0.5)
    assert rule.reads == {"accuracy", "information", "gradient", "mask"}


@pytest.mark.parametrize(
    "stop", ["", "+", "information+", "+information", "information + gradient", "Information"]
)
def test_a_malformed_stop_is_refused(stop):
    assert "unknown stop rule" in refusal(stop=stop)


def test_a_rule_object_is_returned_as_it_is():
    rule = FixedEpochs(1.5)
    assert stop_rule(Config(stop=rule), target=0.5) is rule


@pytest.mark.parametrize("stop", [3, 0.5, True, object(), FixedEpochs])
def test_what_is_neither_a_name_nor_a_rule_is_refused(stop):
    assert "stop" in refusal(stop=stop)


@pytest.mark.parametrize(
    ("given", "held"),
    [("fc1, conv*", ("fc1", "conv*")), (["fc1"], ("fc1",)), ((), ()), ("", ())],
)
def test_layers_that_stay_dense_are_names_in_any_usual_form(given, held):
    assert Config(dense=given).dense == held


def test_a_fraction_may_be_named_for_each_layer():
    assert Config(fraction={"fc1": 0.3, "conv*": 0.5}).fraction["fc1"] == 0.3
    for wrong in (0.0, 1.0, "a", None, True):
        assert "fraction of fc1 must be" in refusal(fraction={"fc1": wrong})
