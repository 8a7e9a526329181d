"""Stop rules on hand-written checks: when they stop, when they must not, what they refuse."""

import copy
import dataclasses
import math
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infcop_lite.config import Config
from infcop_lite.stopping import (
    AnyOf,
    BreakEven,
    Check,
    FixedEpochs,
    FlowConsistency,
    MaskStability,
    Patience,
    PriceOfTime,
    ReachAccuracy,
    ReachLoss,
    Schedule,
    SmallGradient,
)

NAN = math.nan
seeded = settings(max_examples=200, derandomize=True, deadline=None, database=None)


def history(**measured):
    """Return checks at epochs 0, 1, 2, ...; each keyword is the list of one field."""
    columns = zip(*measured.values(), strict=True)
    return [
        Check(float(epoch), **dict(zip(measured, values, strict=True)))
        for epoch, values in enumerate(columns)
    ]


def flows(*distances, norm=2.0, flow="information", error=0.0):
    """Return checks with these distances to a reference of this norm."""
    return history(
        distances=[{flow: d} for d in distances],
        reference_norms=[{flow: norm}] * len(distances),
        distance_errors=[{flow: error}] * len(distances),
        relative_errors=[{flow: error}] * len(distances),
    )


def first_stop(rule, checks):
    """Return the number of the first check at which the rule stops, or None."""
    stops = (i for i in range(len(checks)) if rule.stop(checks[: i + 1]))
    return next(stops, None)


# One example of every rule, on a history in which it stops, and where it does.
EXAMPLES = {
    "fixed": (FixedEpochs(2), history(validation_accuracy=[NAN] * 4), 2),
    "accuracy": (ReachAccuracy(0.8), history(validation_accuracy=[0.1, 0.7, 0.8, 0.9]), 2),
    "information": (FlowConsistency("information", 0.25), flows(3.0, 0.6, 0.5, 0.49), 3),
    "gradient": (FlowConsistency("gradient", 0.25), flows(3.0, 0.6, 0.4, flow="gradient"), 2),
    "absolute": (FlowConsistency("information", 0.55, relative=False), flows(3.0, 0.6, 0.5), 2),
    "small-gradient": (SmallGradient(0.1), history(gradient_norm=[2.0, 0.3, 0.1, 0.09]), 3),
    "mask": (MaskStability(0.1), history(mask_distance=[NAN, 0.2, 0.1, 0.05]), 3),
    "mask, twice": (MaskStability(0.1, 2), history(mask_distance=[NAN, 0.0, 0.2, 0.0, 0.0]), 4),
    "patience": (Patience(2), history(validation_accuracy=[0.1, 0.5, 0.4, 0.45, 0.3]), 3),
    "loss": (ReachLoss(0.5), history(train_loss=[NAN, 0.9, 0.5, 0.1]), 2),
    "twice the loss": (ReachLoss(0.5, 2), history(train_loss=[NAN, 0.9, 0.5, 0.1, 0.9]), 4),
    "price": (PriceOfTime(0.25), history(train_loss=[NAN, 2.0, 1.0, 0.7, 0.45, 0.1]), 4),
    "break-even": (BreakEven(0.25), history(train_loss=[NAN, 2.0, 1.0, 0.75, 0.1]), 3),
    "confident": (
        FlowConsistency("information", 0.25, confidence=0.95),
        flows(3.0, 0.49, 0.4, 0.35, error=0.2),  # times exp(1.645 * 0.2) = 1.39
        3,
    ),
    "confident, absolute": (
        FlowConsistency("information", 0.5, relative=False, confidence=0.95, looks=4),
        flows(3.0, 0.49, 0.36, 0.31, error=0.2),  # times exp(2.241 * 0.2) = 1.57
        3,
    ),
    "schedule": (Schedule((5, 2)), history(level=[1, 1, 1, 1]), 2),
    "any of": (
        AnyOf(FixedEpochs(3), ReachAccuracy(0.8)),
        history(validation_accuracy=[0.1, 0.2, 0.85, 0.9]),
        2,
    ),
}
# What takes a tolerance alone, which has to be a positive number.
TOLERANT = [
    lambda epsilon: FlowConsistency("information", epsilon),
    PriceOfTime,
    BreakEven,
    SmallGradient,
    MaskStability,
]
RULES = pytest.mark.parametrize("rule", [rule for rule, *_ in EXAMPLES.values()], ids=EXAMPLES)


# When rules stop


@pytest.mark.parametrize(("rule", "checks", "expected"), EXAMPLES.values(), ids=EXAMPLES)
def test_each_rule_first_stops_where_it_should_by_hand(rule, checks, expected):
    assert first_stop(rule, checks) == expected


def test_fixed_epochs_counts_epochs_not_checks():
    checks = [Check(epoch) for epoch in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert first_stop(FixedEpochs(0.5), checks) == 2
    assert first_stop(FixedEpochs(0.6), checks) == 3
    assert first_stop(FixedEpochs(1.1), checks) is None


def test_a_schedule_has_its_own_epochs_for_each_level_and_the_last_serve_the_rest():
    rule = Schedule((0, 1, 2))
    for level, epochs in enumerate((0, 1, 2, 2, 2)):
        checks = [Check(float(n), level=level) for n in range(4)]
        assert first_stop(rule, checks) == epochs


@pytest.mark.parametrize("epochs", [(), (-1.0,), (1.0, math.inf), (NAN,)])
def test_a_schedule_of_no_epochs_is_refused(epochs):
    with pytest.raises(ValueError, match="numbers of epochs"):
        Schedule(epochs)


def test_a_loss_that_was_never_measured_is_reached_at_once_and_one_of_nan_is_refused():
    assert first_stop(ReachLoss(math.inf), history(train_loss=[NAN, 5.0])) == 1
    with pytest.raises(ValueError, match="loss of at least 0"):
        ReachLoss(NAN)


def test_zero_epochs_stop_before_any_training():
    assert FixedEpochs(0).stop([Check(0.0)])


def test_the_published_criterion_is_absolute_and_the_relative_one_scales_with_the_reference():
    checks = flows(9.0, 0.3, norm=0.5)
    assert FlowConsistency("information", 0.4, relative=False).stop(checks)
    assert not FlowConsistency("information", 0.4).stop(checks)
    assert FlowConsistency("information", 0.61).stop(checks)


def test_a_distance_of_exactly_epsilon_does_not_stop():
    checks = flows(9.0, 0.5, norm=2.0)
    assert not FlowConsistency("information", 0.25).stop(checks)
    assert not FlowConsistency("information", 0.5, relative=False).stop(checks)


def test_a_reference_flow_of_zero_is_never_reached_relatively():
    assert not FlowConsistency("information", 10.0).stop(flows(0.0, 0.0, norm=0.0))


def test_a_flow_rule_reads_its_own_flow_only():
    last = Check(1.0, distances={"gradient": 0.0}, reference_norms={"gradient": 1.0})
    assert FlowConsistency("gradient", 0.5).stop([Check(0.0), last])
    with pytest.raises(ValueError, match="reads the distance of the information flow"):
        FlowConsistency("information", 0.5).stop([Check(0.0), last])
    with pytest.raises(ValueError, match="reads the distance of the information flow"):
        FlowConsistency("information", 0.5, relative=False).stop([Check(0.0), last])


@pytest.mark.parametrize("rule", [ReachAccuracy(0.5), SmallGradient(0.5)])
def test_rules_on_the_last_check_forget_the_ones_before(rule):
    good = {"validation_accuracy": 0.9, "gradient_norm": 0.1}
    bad = {"validation_accuracy": 0.1, "gradient_norm": 0.9}
    assert rule.stop([Check(1.0, **bad), Check(2.0, **good)])
    assert not rule.stop([Check(1.0, **good), Check(2.0, **bad)])


def test_mask_stability_wants_its_checks_in_a_row():
    quiet, moving = 0.01, 0.5
    for distances, expected in [
        ([NAN, quiet], False),  # one quiet check, two are asked for
        ([quiet], False),
        ([NAN, quiet, moving, quiet], False),
        ([NAN, moving, quiet, quiet], True),
    ]:
        assert MaskStability(0.05, 2).stop(history(mask_distance=distances)) is expected


def test_patience_starts_again_with_every_new_best_but_not_with_an_equal_one():
    assert not Patience(2).stop(history(validation_accuracy=[0.5, 0.6, 0.5, 0.61]))
    assert Patience(2).stop(history(validation_accuracy=[0.5, 0.6, 0.5, 0.6]))


def test_patience_counts_from_the_untrained_network_on():
    assert Patience(1).stop(history(validation_accuracy=[0.9, 0.2]))


# When rules must not stop


UNTRAINED = Check(
    0.0,
    validation_accuracy=1.0,
    distances={"information": 0.0, "gradient": 0.0},
    reference_norms={"information": 1.0, "gradient": 1.0},
    distance_errors={"information": 0.0},
    relative_errors={"information": 0.0},
    gradient_norm=0.0,
    mask_distance=NAN,  # nothing to compare with before the second check
    train_loss=NAN,  # of no steps
)


#: Ten checks of a dead network: all was measured, and is NaN.
NANS = [
    Check(
        float(epoch),
        validation_accuracy=NAN,
        distances={"information": NAN, "gradient": NAN},
        reference_norms={"information": 1.0, "gradient": 1.0},
        distance_errors={"information": NAN},
        relative_errors={"information": NAN},
        gradient_norm=NAN,
        mask_distance=NAN,
        train_loss=NAN,
    )
    for epoch in range(10)
]


@RULES
def test_no_rule_stops_before_training_however_good_the_network(rule):
    assert not rule.stop([UNTRAINED])


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("fixed", "schedule")])
def test_nan_never_stops(name):
    rule, *_ = EXAMPLES[name]
    parts = rule.rules[1:] if isinstance(rule, AnyOf) else [rule]  # its budget may stop
    for part in parts:
        assert first_stop(part, NANS) is None


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("fixed", "schedule")])
def test_a_rule_that_reads_what_was_never_given_says_what(name):
    """A typo in a loop of one's own would cost the whole budget of every level."""
    rule, *_ = EXAMPLES[name]
    rule = rule.rules[1] if isinstance(rule, AnyOf) else rule
    with pytest.raises(
        ValueError, match=r"^the stop rule reads \w+.*, which this check was not given$"
    ):
        rule.stop([Check(float(epoch)) for epoch in range(10)])


def test_never_given_is_not_nan_wherever_a_check_has_been():
    for check in (Check(1.0), copy.deepcopy(Check(1.0)), pickle.loads(pickle.dumps(Check(1.0)))):
        with pytest.raises(ValueError, match="reads validation_accuracy"):
            ReachAccuracy(0.5).stop([check])
    assert not ReachAccuracy(0.5).stop([Check(1.0, NAN)])


def test_patience_follows_any_number_in_either_direction():
    def checks(*numbers):
        return [Check(float(n), metrics={"wer": wer}) for n, wer in enumerate(numbers)]

    rule = Patience(2, of="wer", mode="min")
    assert rule.reads == {"wer"}
    assert first_stop(rule, checks(0.9, 0.5, 0.6, 0.4, NAN, 0.4, 0.5)) == 6
    assert first_stop(Patience(2, of="wer"), checks(0.9, 0.5, 0.6)) == 2
    losses = history(train_loss=[NAN, 0.9, 0.5, 0.6])
    assert first_stop(Patience(1, of="train_loss", mode="min"), losses) == 3
    with pytest.raises(ValueError, match="mode must be max or min, not 'best'"):
        Patience(1, mode="best")
    with pytest.raises(ValueError, match="reads wer, which is not measured"):
        Config(stop=rule)


def test_a_nan_reference_never_stops():
    assert not FlowConsistency("information", 0.5).stop(flows(9.0, 0.0, norm=NAN))


def test_patience_does_not_count_checks_that_measured_nothing():
    """A NaN is neither the best accuracy nor a check without a new best."""
    rule = Patience(2)
    assert not rule.stop(history(validation_accuracy=[NAN, 0.5, 0.6]))
    assert not rule.stop(history(validation_accuracy=[0.5, NAN, NAN, NAN]))
    assert rule.stop(history(validation_accuracy=[NAN, 0.5, NAN, 0.4, 0.3]))


def test_one_nan_mask_distance_breaks_the_row():
    assert not MaskStability(0.1, 2).stop(history(mask_distance=[NAN, 0.0, NAN, 0.0]))


# Combinations and monotonicity


unit = st.one_of(st.floats(0.0, 1.0), st.just(NAN))
trajectories = st.lists(st.tuples(unit, unit, unit, unit), min_size=1, max_size=8).map(
    lambda rows: [
        Check(
            float(epoch),
            validation_accuracy=accuracy,
            distances={"information": distance, "gradient": distance},
            reference_norms={"information": 1.0, "gradient": 1.0},
            gradient_norm=gradient,
            mask_distance=mask if epoch else NAN,
        )
        for epoch, (accuracy, distance, gradient, mask) in enumerate(rows)
    ]
)
simple_rules = st.one_of(
    st.builds(FixedEpochs, st.integers(0, 9)),
    st.builds(ReachAccuracy, st.floats(0.0, 1.0)),
    st.builds(FlowConsistency, st.sampled_from(["information", "gradient"]), st.floats(0.01, 1.0)),
    st.builds(SmallGradient, st.floats(0.01, 1.0)),
    st.builds(MaskStability, st.floats(0.01, 1.0), st.integers(1, 3)),
    st.builds(Patience, st.integers(1, 4)),
)


def when(rule, checks):
    stop = first_stop(rule, checks)
    return math.inf if stop is None else stop


@seeded
@given(rules=st.lists(simple_rules, min_size=1, max_size=4), checks=trajectories)
def test_any_of_stops_exactly_when_the_first_of_its_rules_does(rules, checks):
    """T5.3a: one more rule never delays a stop."""
    assert when(AnyOf(*rules), checks) == min(when(rule, checks) for rule in rules)


@seeded
@given(rules=st.lists(simple_rules, min_size=1, max_size=3), n=st.integers(0, 5))
def test_with_a_budget_among_its_rules_any_of_never_exceeds_it(rules, n):
    assert when(AnyOf(*rules, FixedEpochs(n)), NANS) <= n


@seeded
@given(
    make=st.sampled_from(
        [
            lambda epsilon: FlowConsistency("information", epsilon),
            lambda epsilon: FlowConsistency("gradient", epsilon, relative=False),
            SmallGradient,
            MaskStability,
            lambda epsilon: MaskStability(epsilon, 2),
        ]
    ),
    epsilons=st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)),
    checks=trajectories,
)
def test_a_wider_tolerance_never_stops_later_on_the_same_trajectory(make, epsilons, checks):
    """T5.3a."""
    narrow, wide = sorted(epsilons)
    assert when(make(wide), checks) <= when(make(narrow), checks)


@pytest.mark.parametrize("epsilon", [0.05, 0.11, 0.2, 0.5, 1.5])
def test_on_a_geometric_approach_the_hitting_time_is_the_closed_form(epsilon):
    """T5.3b: D_t = c lambda^t + phi."""
    c, decay, floor = 1.0, 0.8, 0.1
    checks = flows(*(c * decay**t + floor for t in range(60)))
    expected = None
    if epsilon > floor:
        expected = math.floor(math.log(c / (epsilon - floor)) / math.log(1 / decay)) + 1
        expected = max(expected, 1)  # the rule first looks after some training
    assert first_stop(FlowConsistency("information", epsilon, relative=False), checks) == expected


# What rules say about themselves, and what they refuse


@pytest.mark.parametrize(
    ("rule", "reads"),
    [
        (FixedEpochs(1), set()),
        (ReachAccuracy(0.5), {"accuracy"}),
        (Patience(1), {"accuracy"}),
        (FlowConsistency("information", 1), {"information"}),
        (FlowConsistency("gradient", 1), {"gradient"}),
        (FlowConsistency("information", 1, confidence=0.9), {"information", "information-error"}),
        (PriceOfTime(1), set()),
        (BreakEven(1), set()),
        (SmallGradient(1), {"gradient"}),
        (MaskStability(1), {"mask"}),
        (
            AnyOf(MaskStability(1), AnyOf(Patience(1), SmallGradient(1))),
            {"mask", "accuracy", "gradient"},
        ),
    ],
    ids=lambda value: " ".join(sorted(value)) if isinstance(value, set) else str(value),
)
def test_each_rule_says_what_it_reads(rule, reads):
    assert rule.reads == reads


@RULES
def test_rules_are_frozen_and_equal_by_value(rule):
    name = dataclasses.fields(rule)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(rule, name, 1)
    twin = pickle.loads(pickle.dumps(rule))
    assert twin == rule
    assert hash(twin) == hash(rule)


def test_a_check_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Check(1.0).epoch = 2.0


BAD_NUMBERS = [0, -1, NAN, math.inf, "1", None]


@pytest.mark.parametrize("make", TOLERANT)
@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_a_tolerance_that_is_not_a_positive_number_is_refused(make, number):
    with pytest.raises(ValueError, match=r"^\w+ must be a positive number, not "):
        make(number)


@pytest.mark.parametrize("patience", [*BAD_NUMBERS, 0.5, 1.5])
def test_a_patience_that_is_not_a_whole_positive_number_is_refused(patience):
    for make in (lambda: Patience(patience), lambda: MaskStability(0.1, patience)):
        with pytest.raises(ValueError, match="patience must be"):
            make()


@pytest.mark.parametrize("n", [-1, NAN, math.inf])
def test_a_number_of_epochs_that_cannot_be_is_refused(n):
    with pytest.raises(ValueError, match="n must be a number of epochs"):
        FixedEpochs(n)


@pytest.mark.parametrize("target", [-0.1, 1.1, 90, NAN])
def test_a_target_that_is_no_accuracy_is_refused(target):
    with pytest.raises(ValueError, match=r"accuracy in \[0, 1\]"):
        ReachAccuracy(target)


def test_an_unknown_flow_is_refused():
    with pytest.raises(ValueError, match="unknown flow 'entropy'; choose from information"):
        FlowConsistency("entropy", 0.1)


def test_any_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one rule"):
        AnyOf()
