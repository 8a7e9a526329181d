"""How exactly a probe knows a distance (T7.15), and what a rule does that is told so (T7.16)."""

import copy
import math
from dataclasses import replace
from statistics import NormalDist

import pytest
import torch

from infcop_lite import Pruner
from infcop_lite.confidence import quantile
from infcop_lite.config import Config
from infcop_lite.flows import flow_distance, information_flow
from infcop_lite.loop import State, compare, run
from infcop_lite.precision import distance_error, flow_influence
from infcop_lite.stopping import AnyOf, Check, FlowConsistency

FAST = {"subset": 300, "levels": 2, "fraction": 0.6, "epochs": 3, "warmup_epochs": 1}
FAST |= {"probe_size": 150, "threads": 1, "device": "cpu"}
SURE = FlowConsistency("information", 0.5, confidence=0.95)


def two_networks(n, draw):
    """Return the outputs of a fixed reference and of a fixed other network, on new samples."""
    x = torch.randn(n, 3, generator=draw, dtype=torch.float64)
    a, b, c = x.T
    reference = {"1": torch.stack([a + 0.3 * c, b], 1), "2": torch.stack([a, a + b], 1)}
    reference["3"] = torch.stack([a + c, a - 0.2 * b], 1)
    other = {"1": torch.stack([a, b + 0.5 * c], 1), "2": torch.stack([c, b + a**3 / 4], 1)}
    other["3"] = torch.stack([a + c, c + 0.5 * b], 1)
    return other, reference


def readings(n, relative, repeats, seed=0):
    """Return the log distances and the standard errors that so many probes of n samples give."""
    draw, logs, errors = torch.Generator().manual_seed(seed), [], []
    for _ in range(repeats):
        nets = two_networks(n, draw)
        flows, psi = [information_flow(v) for v in nets], [flow_influence(v) for v in nets]
        unit = flows[1].norm().item() if relative else 1.0
        logs.append(math.log(flow_distance(*flows) / unit))
        errors.append(distance_error(*flows, *psi, relative))
    return torch.tensor(logs), torch.tensor(errors)


@pytest.mark.parametrize("relative", [True, False])
def test_t7_15_the_standard_error_is_the_spread_of_the_log_distance_between_probes(relative):
    logs, errors = readings(300, relative, 200)
    assert errors.mean() / logs.std() == pytest.approx(1, abs=0.15)
    assert errors.std() < 0.2 * errors.mean()


@pytest.mark.parametrize("relative", [True, False])
def test_t7_15_the_influence_of_a_sample_is_the_derivative_of_the_log_distance(relative):
    """Exact but for a difference quotient: no constant of the formula may be off by two percent.

    A sample that is seen a little more often moves the log distance by its psi.
    """
    nets = two_networks(60, torch.Generator().manual_seed(3))
    flows, psi = [information_flow(v) for v in nets], [flow_influence(v) for v in nets]

    def log_distance(times):
        again = [{k: v.repeat_interleave(times, 0) for k, v in net.items()} for net in nets]
        now, then = map(information_flow, again)
        return math.log(flow_distance(now, then) / (then.norm().item() if relative else 1.0))

    often, slopes = 60, []
    base = log_distance(torch.full((60,), often))
    for i in range(60):
        times = torch.full((60,), often)
        times[i] += 1
        slopes.append((log_distance(times) - base) * times.sum().item())
    exact = torch.tensor(slopes).std(correction=0).item() / math.sqrt(60)
    assert distance_error(*flows, *psi, relative) == pytest.approx(exact, rel=5e-3)


def test_t7_15_equal_networks_have_no_error_and_equal_flows_by_chance_an_infinite_one():
    psi = torch.tensor([[1.0], [-1.0]])
    flow, none = torch.tensor([0.5]), torch.tensor([0.0])
    assert distance_error(flow, flow, psi, psi) == 0
    assert distance_error(flow, flow, psi, -psi) == math.inf
    assert distance_error(flow, none, psi, psi) == math.inf
    assert distance_error(flow, none, psi, psi, relative=False) == 0
    for same, stops in ((0.0, True), (math.inf, False), (math.nan, False)):
        check = Check(
            1.0,
            distances={"information": 0.0},
            reference_norms={"information": 1.0},
            relative_errors={"information": same},
        )
        assert SURE.stop([check]) is stops


def test_influences_of_other_samples_or_layers_are_refused():
    flow, psi = torch.zeros(2), torch.zeros(5, 2)
    for wrong in (torch.zeros(4, 2), torch.zeros(5, 3)):
        with pytest.raises(ValueError, match="needs both flows on the same samples"):
            distance_error(flow, flow, psi, wrong)
    with pytest.raises(ValueError, match="not an empty probe"):
        distance_error(flow, flow, psi[:0], psi[:0])


# T7.16


def fires(logs, errors, truth, confidence, looks=1):
    """Return how often a rule stops whose tolerance is exactly the true distance."""
    rule = FlowConsistency("information", math.exp(truth), confidence=confidence, looks=looks)
    return sum(
        rule.stop(
            [
                Check(
                    1.0,
                    distances={"information": math.exp(log)},
                    reference_norms={"information": 1.0},
                    relative_errors={"information": error},
                )
            ]
        )
        for log, error in zip(logs.tolist(), errors.tolist(), strict=True)
    ) / len(logs)


def test_t7_16_at_the_tolerance_the_plain_rule_is_a_coin_toss_and_a_sure_one_errs_as_it_says():
    logs, errors = readings(300, True, 300, seed=1)
    truth = readings(100_000, True, 1, seed=2)[0].item()
    assert fires(logs, errors, truth, None) == pytest.approx(0.5, abs=0.08)
    for confidence, looks in ((0.95, 1), (0.8, 1), (0.8, 4)):
        share = (1 - confidence) / looks
        assert fires(logs, errors, truth, confidence, looks) == pytest.approx(share, abs=0.04)


@pytest.mark.parametrize("looks", [1, 4])
@pytest.mark.parametrize("confidence", [0.6, 0.95, 0.999])
def test_t7_16_the_allowance_is_the_normal_quantile_of_each_looks_share(confidence, looks):
    z = quantile(confidence, looks)
    assert 1 - NormalDist().cdf(z) == pytest.approx((1 - confidence) / looks)
    rule, error = FlowConsistency("information", 0.5, True, confidence, looks), 0.3
    for factor, stops in ((0.98, False), (1.02, True)):
        check = Check(
            1.0,
            distances={"information": 2.0 * 0.5 * math.exp(-z * error * factor)},
            reference_norms={"information": 2.0},
            relative_errors={"information": error},
        )
        assert rule.stop([check]) is stops


def test_without_a_confidence_the_rule_is_the_old_one_and_so_is_its_name():
    rule = FlowConsistency("information", 0.5)
    assert repr(rule) == "FlowConsistency(flow='information', epsilon=0.5, relative=True)"
    assert repr(SURE) == repr(rule)[:-1] + ", confidence=0.95, looks=1)"
    assert rule.reads == {"information"}
    check = Check(1.0, distances={"information": 0.4}, reference_norms={"information": 1.0})
    assert rule.stop([check])
    with pytest.raises(ValueError, match="reads the error of the information flow"):
        SURE.stop([check])


@pytest.mark.parametrize("confidence", [0.5, 1.0, 0.0, -0.1, 95.0, math.nan, "0.9", True, 1])
def test_a_confidence_that_is_none_is_refused(confidence):
    with pytest.raises(ValueError, match=r"^confidence must be a probability in \(0.5, 1\), not "):
        FlowConsistency("information", 0.5, confidence=confidence)


@pytest.mark.parametrize("looks", [0, -1, 1.5, math.nan, True, None, 10**400])
def test_looks_that_are_no_count_are_refused(looks):
    with pytest.raises(ValueError, match="looks must be a whole number of at least 1"):
        FlowConsistency("information", 0.5, confidence=0.95, looks=looks)


def test_looks_without_a_confidence_and_confidence_of_the_gradient_are_refused():
    with pytest.raises(ValueError, match="looks share what confidence leaves: give a confidence"):
        FlowConsistency("information", 0.5, looks=4)
    for make in (
        lambda: FlowConsistency("gradient", 0.5, confidence=0.95),
        lambda: Config(stop="gradient", confidence=0.95),
    ):
        with pytest.raises(ValueError, match="confidence is for the information flow"):
            make()


# In a run


def told(rows):
    skip = ("train_s", "measure_s", "elapsed_s")
    return [tuple(str(v) for k, v in vars(row).items() if k not in skip) for row in rows]


def test_a_run_measures_the_error_only_if_its_rule_asks_and_trains_alike():
    sure, plain = Config(stop=SURE, **FAST), Config(stop="information", epsilon=0.5, **FAST)
    assert all(not math.isnan(row.distance_error) for row in run(sure))
    assert all(math.isnan(row.distance_error) for row in run(plain))
    named = replace(plain, confidence=0.95)
    assert {row.stop for row in run(named)} == {"information"}
    numbers = [
        [(r.level, r.epoch, r.train_loss, str(r.distance_error)) for r in run(c)]
        for c in (sure, named)
    ]
    assert numbers[0] == numbers[1]


def test_beside_others_and_resumed_a_sure_rule_comes_to_what_it_comes_to_alone():
    configs = {"plain": Config(stop="information", epsilon=0.5, **FAST), "full": Config(**FAST)}
    configs |= {"sure": Config(stop=SURE, **FAST)}
    ends = {result.rule: result.stops for result in compare(configs, "full")}
    states: list[State] = []
    alone = list(run(configs["sure"], keep=states.append))
    stopped = [(r.level, r.epoch, r.distance_error) for r in alone if r.stopped]
    found = [(r.level, r.epoch, r.distance_error) for r in ends["sure"] if r.stopped]
    assert str(found[:-1]) == str(stopped[:-1])  # the last level reads nothing
    assert all(math.isnan(row.distance_error) for row in ends["plain"])
    state = next(state for state in states if state.start.level == 1)
    again = list(run(configs["sure"], state))
    assert told(again) == told(row for row in alone if row.level > 0)


def test_any_of_may_hold_a_sure_rule():
    rule = AnyOf(SURE, FlowConsistency("gradient", 0.5))
    assert rule.reads == {"information", "information-error", "gradient"}


def test_inside_a_loop_of_ones_own_a_sure_rule_measures_and_survives_a_checkpoint():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(80, 4, generator=draw)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    pruner = Pruner(net, stop="information", epsilon=0.9, confidence=0.8, fraction=0.5)
    pruner.snapshot(probe=(x, x))
    net[0].weight.data.add_(0.1 * torch.randn(8, 4, generator=draw))
    answer = pruner.check(1)
    (check,) = pruner.checks
    assert check.relative_errors["information"] > 0
    other = Pruner(copy.deepcopy(net), stop="information", epsilon=0.9, confidence=0.8)
    other.load_state_dict(pruner.state_dict())
    assert other.check(2) is answer
    assert other.checks[-1].relative_errors == check.relative_errors
    with pytest.raises(ValueError, match=r"reads the information flow: give snapshot\(probe="):
        Pruner(net, stop=SURE, masks=pruner.masks).snapshot()


def test_inside_a_loop_of_ones_own_a_price_needs_the_loss_and_no_probe():
    net = torch.nn.Linear(4, 3)
    pruner = Pruner(net, stop="price", price=0.5)
    pruner.snapshot()
    losses = (2.0, 1.0, 0.6)
    assert [pruner.check(n, train_loss=loss) for n, loss in enumerate(losses, 1)] == [0, 0, 1]
    with pytest.raises(ValueError, match="reads train_loss, which this check was not given"):
        pruner.check(4)
