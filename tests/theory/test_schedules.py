"""T5: the cost model, checking intervals, hitting times. Each test would refute its statement."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from infcop_lite.flows import information_flow, sampling_floor
from infcop_lite.stopping import AnyOf, Check, FlowConsistency, ReachAccuracy
from infcop_lite.theory.schedules import (
    best_interval,
    first_crossing,
    fit_geometric,
    hitting_sensitivity,
    hitting_time,
    interval_cost,
    probe_cost,
    safe_interval,
    speed_up,
    stop_probabilities,
    worst_interval_cost,
)

fifty = settings(deadline=None, derandomize=True, max_examples=50)
positive = st.floats(0.01, 50)


def level_cost(ready, interval, probe):
    """Play one level: train epoch by epoch, probe every so many, stop once ready."""
    cost, epoch = 0.0, 0
    while True:
        epoch += 1
        cost += 1
        if epoch % interval == 0:
            cost += probe
            if epoch >= ready:
                return cost


# --- speed-up ---


@fifty
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.integers(1, 4),
    st.floats(0, 2),
    st.booleans(),
    st.integers(1, 30),
    st.integers(0, 9),
)
def test_t5_1_the_speed_up_is_the_ratio_of_two_runs_played_epoch_by_epoch(
    probes, interval, probe, first_check, final, warmup
):
    epochs_used = [n * interval for n in probes]  # a level ends at one of its checks
    budget = max(epochs_used)
    played = sum(level_cost(tau, interval, probe) for tau in epochs_used)
    played += warmup + final + (probe * len(probes) if first_check else 0)
    full = warmup + (len(probes) + 1) * budget
    found = speed_up(epochs_used, budget, final, probe, interval, first_check, warmup)
    assert found == pytest.approx(full / played)


@fifty
@given(st.lists(st.floats(0, 8), min_size=1, max_size=9), st.floats(0, 2), st.integers(1, 4))
def test_t5_1_it_pays_exactly_if_the_mean_epochs_with_probes_are_below_the_budget(taus, a, s):
    mean = (1 + a / s) * sum(taus) / len(taus)
    if abs(mean - 8) > 1e-6:
        assert (speed_up(taus, 8, probe=a, interval=s) > 1) == (mean < 8)
    assert speed_up(taus, 8, 4, a, s) <= (len(taus) + 1) * 8 / 4 + 1e-12


@fifty
@given(st.lists(st.floats(0, 8), min_size=1, max_size=9), st.floats(0, 50))
def test_t5_1_a_common_warm_up_moves_the_speed_up_towards_one(taus, warmup):
    without, with_it = speed_up(taus, 8), speed_up(taus, 8, warmup=warmup)
    low, high = sorted([1.0, without])
    assert low - 1e-12 <= with_it <= high + 1e-12


def test_t5_1_values():
    assert probe_cost(1000, 60_000) == pytest.approx(1 / 180)
    assert probe_cost(60_000, 60_000, 2) == pytest.approx(2 / 3)
    assert probe_cost(60_000, 60_000, 2) / 2 == pytest.approx(1 / 3)  # every two epochs


# --- checking interval ---


@pytest.mark.parametrize("probe", [0.0, 0.017, 0.33, 2 / 3, 3.0])
@pytest.mark.parametrize("interval", [1, 2, 3, 5, 8])
def test_t5_2_the_cost_is_exact_when_the_epochs_are_even_over_multiples_of_the_interval(
    probe, interval
):
    taus = range(1, 6 * interval + 1)
    played = sum(level_cost(tau, interval, probe) for tau in taus) / len(taus)
    mean = sum(taus) / len(taus)
    assert interval_cost(mean, interval, probe) == pytest.approx(played)


def played_cost(epochs, interval, probe):
    """Mean cost of levels that are ready after 1 to N epochs, N = 2 epochs - 1, played."""
    readies = range(1, round(2 * epochs - 1) + 1)
    return sum(level_cost(ready, interval, probe) for ready in readies) / len(readies)


@pytest.mark.parametrize("probe", [0.0, 0.01, 0.1, 2 / 3, 3.0, 25.0, 400.0])
def test_t5_2_no_interval_costs_less_than_the_best_where_all_laws_are_even(probe):
    """Ready after 1 to 60 epochs: even modulo every divisor of 60, the whole range 2 tau - 1."""
    divisors = [s for s in range(1, 61) if 60 % s == 0]
    played = [played_cost(30.5, s, probe) for s in divisors]
    assert [interval_cost(30.5, s, probe) for s in divisors] == pytest.approx(played)
    best = best_interval(30.5, probe)
    assert interval_cost(30.5, best, probe) <= min(played) * (1 + 1e-12)
    assert 1 <= best <= 60


def law_exists(mean, longest, most=300):
    """Whether a law on whole epochs with this mean is even modulo each of 1 to longest."""
    ready = np.arange(1, most + 1)
    rows, wanted = [np.ones(most), ready], [1, mean]
    for s in range(2, longest + 1):
        for rest in range(s - 1):
            rows.append(ready % s == rest)
            wanted.append(1 / s)
    found = linprog(np.zeros(most), A_eq=np.array(rows, float), b_eq=wanted, method="highs")
    return found.status == 0


def test_t5_2_intervals_can_be_compared_only_where_one_law_is_even_modulo_each():
    """Each alone may be as long as 2 tau - 1; together they may not."""
    assert law_exists(10, 10)
    assert not law_exists(10, 11)
    assert law_exists(2, 2)
    assert not law_exists(2, 3)  # even modulo 3 with mean 2 is 1, 2, 3, which is not even modulo 2


def test_t5_2_an_interval_longer_than_the_law_can_be_even_over_is_not_recommended():
    """Beyond s = 2 tau - 1 the formula is below what a played level costs."""
    assert [best_interval(*law) for law in ((1, 5.0), (10, 25.0), (10, 2 / 3))] == [1, 19, 4]
    assert [level_cost(1, s, 5.0) for s in (1, 2)] == [6.0, 7.0]  # ready after one epoch, always
    assert interval_cost(1, 2, 5.0) == 5.25
    assert played_cost(10, 19, 25.0) == 44.0 < played_cost(10, 22, 25.0) == 47.0


@fifty
@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.floats(0, 20), st.integers(1, 50))
def test_t5_2_no_law_costs_more_than_the_worst(readies, probe, interval):
    mean = sum(readies) / len(readies)
    played = sum(level_cost(ready, interval, probe) for ready in readies) / len(readies)
    assert played <= worst_interval_cost(mean, interval, probe) * (1 + 1e-12)


@fifty
@given(st.lists(st.integers(0, 9), min_size=1, max_size=8), st.floats(0, 20), st.integers(1, 9))
def test_t5_2_the_worst_is_attained_by_levels_that_are_ready_right_after_a_check(ks, probe, s):
    readies = [1 + k * s for k in ks]
    played = sum(level_cost(ready, s, probe) for ready in readies) / len(readies)
    assert played == pytest.approx(worst_interval_cost(sum(readies) / len(readies), s, probe))


@fifty
@given(st.floats(1, 200), st.floats(0, 20))
def test_t5_2_the_safe_interval_has_the_least_worst_cost(epochs, probe):
    least = min(worst_interval_cost(epochs, s, probe) for s in range(1, 200))
    safe = worst_interval_cost(epochs, safe_interval(epochs, probe), probe)
    assert safe == pytest.approx(least)


def test_t5_2_one_is_best_up_to_a_product_of_two_and_not_only_up_to_one():
    assert best_interval(5, 2 / 9) == 1  # a (2 tau - 1) = 2: one and two cost the same
    assert interval_cost(5, 1, 2 / 9) == pytest.approx(interval_cost(5, 2, 2 / 9))
    assert best_interval(5, 2.01 / 9) == 2


@fifty
@given(st.floats(1, 100), st.floats(0.02, 10))
def test_t5_2_the_continuous_optimum_is_the_stated_root(epochs, probe):
    root = math.sqrt(probe * (2 * epochs - 1))

    def cost(s):
        return (epochs + (s - 1) / 2) * (1 + probe / s)

    assert cost(root) <= min(cost(root * 1.01), cost(root * 0.99))


# --- hitting times ---

paths = st.lists(st.floats(0, 1), min_size=3, max_size=12)


ties = st.lists(st.integers(0, 7).map(lambda k: k / 8), min_size=3, max_size=12)


@fifty
@given(ties, st.integers(1, 8), st.integers(1, 8))
def test_t5_3a_the_smaller_tolerance_stops_later_exactly_if_a_check_lies_between(path, one, other):
    small, large = sorted([one / 8, other / 8])
    checks = [Check(float(t + 1), distances={"information": d}) for t, d in enumerate(path)]

    def tau(epsilon):  # the library's rule, check by check
        rule = FlowConsistency("information", epsilon, relative=False)
        return next((t for t in range(len(path)) if rule.stop(checks[: t + 1])), len(path))

    early, late = tau(large), tau(small)
    assert early <= late
    assert (early < late) == (early < len(path) and small <= path[early])
    distances = torch.tensor(path, dtype=torch.float64)
    assert [early, late] == [int(first_crossing(distances, e)) for e in (large, small)]


@fifty
@given(paths, paths, st.floats(0.01, 1))
def test_t5_3a_one_more_condition_never_stops_later_on_one_path(path, accuracies, epsilon):
    flow, accuracy = FlowConsistency("information", epsilon, relative=False), ReachAccuracy(0.9)
    checks = [
        Check(float(t + 1), validation_accuracy=acc, distances={"information": d})
        for t, (d, acc) in enumerate(zip(path, accuracies, strict=False))
    ]

    def tau(rule):
        stops = (t for t in range(1, len(checks) + 1) if rule.stop(checks[:t]))
        return next(stops, len(checks) + 1)

    assert tau(AnyOf(flow, accuracy)) == min(tau(flow), tau(accuracy))
    crossing = first_crossing(torch.tensor(path[: len(checks)], dtype=torch.float64), epsilon)
    assert tau(flow) == crossing + 1


def two_rounds(epsilon):
    """Gradient descent on a quadratic in two weights, one of them pruned between two rounds."""
    hessian, start, target = np.array([[0.5, -1], [-1, 3]]), np.array([2.0, 0]), np.array([-1, 3.0])
    alive, taus, pruned = np.ones(2), [], None
    for _ in range(2):
        w = start * alive
        for step in itertools.count(1):  # noqa: B007
            w = w - 0.25 * (hessian @ w - target) * alive
            if np.linalg.norm((hessian @ w - target) * alive) < epsilon:
                break
        taus.append(step)
        if pruned is None:
            pruned = int(np.abs(w).argmin())
            alive[pruned] = 0
    return taus, pruned


def test_t5_3a_counterexample_a_larger_tolerance_can_cost_more_over_two_rounds():
    loose, strict = two_rounds(1.0), two_rounds(0.5)
    assert loose == ([1, 6], 1)
    assert strict == ([2, 2], 0)
    assert sum(loose[0]) > sum(strict[0])


@fifty
@given(positive, st.floats(0.05, 0.98), st.floats(0, 2), positive)
def test_t5_3b_the_formula_is_the_first_whole_time_below_the_tolerance(c, rate, floor, epsilon):
    tau = hitting_time(epsilon, c, rate, floor)
    if epsilon <= floor:
        assert tau == math.inf
        return
    steps = torch.arange(2000, dtype=torch.float64)
    path = c * rate**steps + floor
    counted = int(first_crossing(path, epsilon))
    boundary = c * rate**tau + floor, c * rate ** max(tau - 1, 0) + floor
    if min(abs(d - epsilon) for d in boundary) > 1e-12 * (1 + floor) and counted < 2000:
        assert tau == counted


def test_t5_3b_round_off_does_not_move_the_time_when_the_tolerance_is_a_distance():
    for rate, k, floor in itertools.product((0.9, 0.5, 0.3, 0.99), range(1, 25), (0.0, 0.1)):
        epsilon = rate**k + floor  # D_k itself, which is not below it
        path = torch.tensor([rate**t + floor for t in range(40)], dtype=torch.float64)
        assert hitting_time(epsilon, 1.0, rate, floor) == int(first_crossing(path, epsilon))
    assert hitting_time(0.9**2, 1.0, 0.9) == 3


def test_t5_3b_the_cases_on_the_boundary():
    assert hitting_time(1.0, 1.0, 0.5) == 1  # D_0 = epsilon is not below it
    assert hitting_time(0.5, 1.0, 0.5) == 2
    assert hitting_time(1.01, 1.0, 0.5) == 0
    assert hitting_time(0.2, 1.0, 0.5, 0.2) == math.inf


@fifty
@given(st.floats(0.1, 0.95), st.floats(0, 0.5), st.floats(0.02, 0.4))
def test_t5_3b_the_sensitivity_is_the_derivative(rate, floor, above):
    x = torch.tensor(math.log(floor + above), dtype=torch.float64, requires_grad=True)
    tau = torch.log(1.0 / (x.exp() - floor)) / math.log(1 / rate)
    (slope,) = torch.autograd.grad(tau, x)
    assert hitting_sensitivity(floor + above, rate, floor) == pytest.approx(slope.item())


def test_t5_3b_the_sensitivity_is_unbounded_near_the_floor_only():
    near = [hitting_sensitivity(0.2, 0.5, 0.2 - gap) for gap in (1e-2, 1e-4, 1e-6)]
    assert near[0] / near[1] == pytest.approx(1e-2)
    assert near[1] / near[2] == pytest.approx(1e-2, rel=1e-3)
    assert hitting_sensitivity(1e-9, 0.5) == pytest.approx(-1 / math.log(2))


def test_t5_3c_a_fresh_probe_inflates_the_squared_distance_by_the_variance_of_the_flow():
    """Probes of a network whose true flow is known, against references that stand still."""
    generator, size, num_images = torch.Generator().manual_seed(0), 200, 4000
    a = torch.randn(num_images, 3, generator=generator, dtype=torch.float64)
    b = (a @ torch.randn(3, 3, generator=generator, dtype=torch.float64)).relu()
    layers = {"a": a, "b": b + 0.5, "c": (b.flip(1) - 1).relu() + 0.3 * a}
    truth, off = information_flow(layers), torch.tensor([0.04, -0.04], dtype=torch.float64)
    squares = []
    for _ in range(800):
        drawn = torch.randint(num_images, (size,), generator=generator)
        flow = information_flow({name: layer[drawn] for name, layer in layers.items()})
        squares.append([(flow - truth - way * off).square().sum().item() for way in (1, -1)])
    inflated = np.array(squares).mean(0) - off.square().sum().item()
    variance = sampling_floor(layers) ** 2 / 2 * num_images / size  # of one probe, not of two
    assert inflated.mean() == pytest.approx(variance, rel=0.12)  # the small bias cancels
    assert (abs(inflated / variance - 1) > 0.15).all()  # and matters where it does not


def test_t5_3c_the_stop_probabilities_are_those_of_simulated_runs():
    distances = torch.tensor([0.3, 0.2, 0.15, 0.12, 0.1, 0.08])
    generator = torch.Generator().manual_seed(0)
    read = distances + 0.05 * torch.randn(100_000, 6, generator=generator)
    counts = torch.bincount(first_crossing(read, 0.11), minlength=7) / 100_000
    expected = stop_probabilities(distances, 0.11, 0.05)
    assert expected.sum().item() == pytest.approx(1)
    assert torch.allclose(counts.double(), expected, atol=0.006)


def test_t5_3c_noise_stops_a_slow_decay_too_early_and_a_fast_one_too_late():
    steps = torch.arange(60.0)
    slow, fast = 0.3 * 0.92**steps, torch.full((60,), 0.10)
    for distances, early in ((slow, True), (fast, False)):
        exact = int(first_crossing(distances, 0.11))
        probabilities = stop_probabilities(distances, 0.11, 0.05)
        mean = (probabilities * torch.arange(61)).sum().item()
        assert (mean < exact - 1) if early else (mean > exact + 0.3)


@fifty
@given(paths, st.floats(0, 1))
def test_t5_3c_two_crossings_in_a_row_never_come_before_the_check_after_the_first(path, epsilon):
    distances = torch.tensor(path)
    once, twice = first_crossing(distances, epsilon), first_crossing(distances, epsilon, 2)
    assert twice >= min(once + 1, torch.tensor(len(path)))


def test_t5_6_the_fit_finds_floors_and_tells_growth_from_decay():
    steps = torch.arange(9, dtype=torch.float64)
    amplitude, rate, floor = fit_geometric(0.6 * 0.7**steps + 0.25)
    assert (amplitude, rate, floor) == pytest.approx((0.6, 0.7, 0.25))
    assert fit_geometric(0.5 - 0.4 * 0.6**steps)[0] < 0


@fifty
@given(st.lists(st.floats(0, 2), min_size=4, max_size=9))
def test_t5_6_no_other_geometric_path_on_the_grid_fits_better(path):
    y = np.array(path)
    c, rate, floor = fit_geometric(torch.tensor(path, dtype=torch.float64))
    error = np.square(y - c * rate ** np.arange(len(y)) - floor).sum()
    for other in (0.1, 0.35, 0.8, 0.95):
        basis = np.stack([other ** np.arange(len(y)), np.ones(len(y))], 1)
        best = basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
        assert error <= np.square(y - best).sum() + 1e-9


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: probe_cost(0, 10), "num_probe must be"),
        (lambda: speed_up([9], 8), "between 0 and the budget"),
        (lambda: speed_up([1], 8, probe=-1), "probe must be"),
        (lambda: speed_up([0], 8, final_epochs=0), "costs nothing"),
        (lambda: interval_cost(0, 1, 0), "at least 1"),
        (lambda: best_interval(0.5, 0.1), "at least 1"),
        (lambda: first_crossing(torch.ones(2), 1.0, 3), "cannot cross"),
        (lambda: hitting_time(0.1, 1, 1), "rate must be"),
        (lambda: hitting_time(0.1, 0, 0.5), "amplitude must be"),
        (lambda: hitting_sensitivity(0.1, 0.5, 0.1), "above the floor"),
        (lambda: stop_probabilities(torch.ones(2), 1.0, 0.0), "noise must be"),
        (lambda: stop_probabilities(torch.ones(0), 1.0, 1.0), "must be \\(check,\\)"),
        (lambda: fit_geometric(torch.ones(3)), "at least 4"),
    ],
)
def test_bad_input_gets_one_clear_line(call, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        call()
    assert "\n" not in str(error.value)
