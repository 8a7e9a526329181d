"""T7: what a price, a level and a look are worth. Each test would refute its statement."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import huber_loss, softplus

from infcop_lite import evidence, looking
from infcop_lite.theory import decisions as d
from infcop_lite.theory.gradients import batch_square_norm
from infcop_lite.theory.schedules import probe_cost


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def descend(value, start, h, num_steps):
    """(losses, squared gradient norms) of gradient descent."""
    w, losses, squares = start.clone().requires_grad_(), [], []
    for _ in range(num_steps):
        loss = value(w)
        (g,) = torch.autograd.grad(loss, w)
        losses.append(loss.item())
        squares.append(g.square().sum().item())
        w = (w - h * g).detach().requires_grad_()
    return torch.tensor([losses, squares], dtype=torch.float64).unbind()


def convex(seed):
    """A convex loss and its smoothness: logistic or Huber regression on 20 samples."""
    x, y = normal(seed, 20, 3), normal(seed + 1, 20)
    curvature = torch.linalg.eigvalsh(x.T @ x / 20)[-1].item()
    if seed % 2:
        return lambda w: huber_loss(x @ w, y, delta=0.3), curvature
    return lambda w: softplus(x @ w * y.sign()).mean(), curvature / 4


# --- T7.9, T7.10: prices ---


@pytest.mark.parametrize("step", [0.3, 1.0, 1.5])
def test_t7_9_the_loss_rule_is_optimal_and_the_gradient_rule_never_early(step):
    for seed in range(12):
        value, beta = convex(seed)
        h = step / beta
        losses, squares = descend(value, 3 * normal(seed + 2, 3), h, 80)
        falls = -losses.diff()
        assert (falls.diff() <= 1e-12).all()  # (i)
        assert (h * (1 - step / 2) * squares[:-1] <= falls + 1e-12).all()  # (iii)
        assert (falls <= h * squares[:-1] + 1e-12).all()
        least = 1.1 * h * squares[-1].item()  # so that both rules fire
        for price in (max(0.9 * falls[3].item(), least), max(falls[3].item() / 20, least)):
            total = losses + price * torch.arange(80)
            stop = d.worth_stopping(losses, price)
            assert total[stop] <= total.min() + 1e-12  # (ii)
            late = int((h * squares <= price).nonzero()[0])
            assert late >= stop
            assert total[late] - total[stop] <= (late - stop) * step / 2 * price + 1e-12


def test_t7_9_a_fall_of_exactly_the_price_stops_and_none_trains_to_the_end():
    losses = torch.tensor([8.0, 4.0, 2.0, 1.0]).double()
    assert [d.worth_stopping(losses, price) for price in (4.0, 3.99, 2.0, 1.0, 0.99)] == [
        *(0, 1, 1, 2, 3)
    ]


def test_t7_9_steps_that_are_too_long_break_it():
    """A parabola with curvature 1, straight to the left of -1, from 1.5 with steps of 1.9."""
    x, losses = 1.5, []
    for _ in range(4):
        losses.append(x * x / 2 if x > -1 else -x - 0.5)
        x -= 1.9 * max(x, -1.0)
    losses = torch.tensor(losses, dtype=torch.float64)
    assert (-losses.diff()).tolist()[:2] == pytest.approx([0.275, 0.69875])  # it speeds up
    total = losses + 0.4 * torch.arange(4)
    assert d.worth_stopping(losses, 0.4) == 0 != int(total.argmin())


def test_t7_10_the_tolerance_is_the_norm_that_a_batch_shows_where_time_costs_the_price():
    gradients = normal(0, 50, 7) + 0.3
    square, trace = gradients.mean(0).square().sum().item(), gradients.var(0, correction=0).sum()
    price = square * 0.1 * 20  # nats per epoch of 20 steps of size .1, at this gradient
    shown = batch_square_norm(gradients, 8).sqrt().item()
    assert d.price_tolerance(price, 0.1, 20, 0.0, trace.item(), 8) == pytest.approx(shown)
    assert d.price_tolerance(price, 0.1, 20) == pytest.approx(math.sqrt(square))


def test_t7_10_an_epoch_with_momentum_lowers_the_loss_by_the_price_at_the_tolerance():
    w, speed, h, steps = 1.0, 0.0, 1e-4, 20
    for _ in range(2000):  # until the speed is that of the heavy ball
        speed = 0.9 * speed - h * w
        w += speed
    before, norm = w * w / 2, w
    for _ in range(steps):
        speed = 0.9 * speed - h * w
        w += speed
    price = before - w * w / 2
    assert d.price_tolerance(price, h, steps, momentum=0.9) == pytest.approx(norm, rel=0.015)
    assert d.price_tolerance(2 * price, h, 2 * steps, momentum=0.9) == pytest.approx(norm, rel=0.03)


def test_t7_10_noise_changes_the_path_as_the_formula_says():
    s, v, c, h = torch.tensor([0.5, 2.0]), torch.tensor([3.0, -1.0]), torch.tensor([0.4, 0.7]), 0.6
    mean_square, expected = v.double().square(), []
    for _ in range(8):
        expected.append((s * mean_square).sum() / 2)
        mean_square = (1 - h * s.double()).square() * mean_square + h**2 * c
    torch.testing.assert_close(d.sgd_excess(s, v, c, h, 7), torch.stack(expected))


def test_t7_10_at_rest_noise_leaves_a_floor_which_slow_directions_attain():
    s, c = torch.tensor([1e-4, 1.0]).double(), torch.tensor([0.4, 0.7]).double()
    rest = d.sgd_excess(s, 0 * s, c, 0.5, 400_000)[-1].item()
    assert rest >= 0.5 * c.sum().item() / 4
    slow = d.sgd_excess(s[:1], 0 * s[:1], c[:1], 0.5, 400_000)[-1].item()
    assert slow == pytest.approx(0.5 * 0.4 / 4, rel=1e-3)


def test_t7_10_the_expected_loss_is_convex_unless_the_start_is_better_than_the_rest():
    s, c = torch.tensor([0.5, 2.0]), torch.tensor([0.4, 0.7])
    losses = d.sgd_excess(s, torch.tensor([3.0, 2.0]), c, 0.6, 40)
    assert (losses.diff().diff() >= -1e-12).all()
    total = losses + 0.05 * torch.arange(41)
    assert d.worth_stopping(losses, 0.05) == int(total.argmin())
    better = d.sgd_excess(s, torch.zeros(2), c, 0.6, 40)
    assert (better.diff() >= 0).all()  # it only gets worse: no rule is needed


def test_t7_10_two_batches_show_the_square_without_the_noise():
    gradients = normal(0, 6, 3) + 0.2
    pairs = itertools.product(gradients, gradients)  # two independent batches of one sample
    mean = sum(d.cross_batch_energy(g, other) for g, other in pairs) / 36
    assert mean == pytest.approx(gradients.mean(0).square().sum().item())
    assert mean < 0.9 * batch_square_norm(gradients, 1).item()


# --- T7.11: break-even ---


def test_t7_11_break_even_costs_at_most_twice_the_least_and_the_price_of_a_gap():
    worst = 0.0
    for seed in range(300):
        n = 2 + seed % 15
        times = torch.arange(n).double() * (0.1 + seed % 3)
        losses = (-uniform(seed, n).pow(8).cumsum(0)).exp() * (seed % 4 == 0 or uniform(seed, n)[0])
        price = 10 ** (3 * uniform(seed + 1, 1).item() - 2.5)
        total = losses + price * times
        paid = total[d.break_even(losses, times, price)].item()
        gap = price * (times[1] - times[0]).item()
        assert paid <= 2 * total.min().item() + gap + 1e-12
        worst = max(worst, (paid - gap) / total.min().item())
    assert worst > 1.2


@pytest.mark.parametrize(
    ("factor", "least"), [(1.0, 1.998), (0.98, 2.015), (1.02, 2.015), (0.5, 2.9), (2.0, 2.9)]
)
def test_t7_11_the_adversary_makes_every_rule_pay_twice_and_any_other_more(factor, least):
    """The loss stays 1 up to the stop, that check included, and is 0 from the next one on."""
    times = torch.arange(3000).double() / 1000
    stop = d.break_even(torch.ones(3000), times, price=factor)
    losses = (torch.arange(3000) <= stop).double()
    assert d.break_even(losses, times, price=factor) == stop
    total = losses + times
    assert least < (total[stop] / total.min()).item() < 1.005 * (1 + max(factor, 1 / factor))


@pytest.mark.parametrize(("start", "gap"), [(1.0, 0.3), (1.0, 0.9), (7.3, 1.0), (2.0, 0.001)])
def test_t7_11_between_checks_the_lower_bound_is_two_less_the_price_of_a_gap(start, gap):
    """Whatever check a rule stops at, the adversary makes it pay (2 - c gap / start) the least."""
    times = torch.arange(int(3 * start / gap) + 2).double() * gap  # c = 1
    ratios = []
    for stop in range(len(times)):
        losses = start * (torch.arange(len(times)) <= stop).double()
        total = losses + times
        ratios.append((total[stop] / total.min()).item())
    assert min(ratios) >= 2 - gap / start - 1e-12
    if gap == 0.3:  # 2 itself would be refuted
        assert min(ratios) < 1.95


def test_t7_11_rising_losses_are_refused_and_the_bound_fails_for_them():
    times = torch.arange(5).double()
    losses = torch.tensor([5.0, 0.0, 9.0, 9.0, 9.0])
    with pytest.raises(ValueError, match="running minimum"):
        d.break_even(losses, times, price=1.0)
    least = losses.cummin(0).values
    assert d.break_even(least, times, price=1.0) == 1


def test_t7_11_a_known_floor_is_subtracted_and_a_rule_that_never_fires_trains_to_the_end():
    losses, times = torch.tensor([4.0, 3.5, 3.2, 3.1]).double(), torch.arange(4).double()
    assert d.break_even(losses, times, 0.4) == 3
    assert d.break_even(losses, times, 0.4, floor=3.0) == 2
    assert d.break_even(losses + 7, times, 0.4, floor=10.0) == 2


# --- T7.22, T7.23: allocation ---


def test_t7_22_the_best_allocation_gives_every_level_the_same_price():
    for seed in range(50):
        a, rate = (2 * normal(seed, 6)).exp(), 0.2 + seed % 3
        total = 6 * uniform(seed, 1).item()
        tau = d.allocate(a, rate, total)
        assert tau.sum().item() == pytest.approx(total)
        prices = a * rate * torch.exp(-rate * tau)
        price = prices[tau > 0].max()
        torch.testing.assert_close(prices[tau > 0], price.expand(int((tau > 0).sum())))
        assert (prices[tau == 0] <= price * (1 + 1e-9)).all()
        least = (a * torch.exp(-rate * tau)).sum()
        for other in range(20):  # and no other allocation is better
            share = uniform(100 * seed + other, 6)
            tried = (tau + 0.1 * (share / share.sum() * total - tau)).clamp_min(0)
            assert (a * torch.exp(-rate * tried)).sum() >= least - 1e-12


def test_t7_22_an_allocation_gains_no_more_than_its_ceiling_which_straight_curves_attain():
    for seed in range(50):
        a, rate = normal(seed, 5).exp(), 0.3
        tau, mean = d.allocate(a, rate, 10.0), 2.0
        gain = (a * math.exp(-rate * mean)).sum() - (a * torch.exp(-rate * tau)).sum()
        slopes = a * rate * math.exp(-rate * mean)
        assert gain.item() <= d.allocation_ceiling(slopes, tau) + 1e-12
    slopes, tau = torch.tensor([1.0, 3.0]).double(), torch.tensor([0.5, 3.5]).double()
    gain = (slopes * (tau - tau.mean())).sum().item()
    assert d.allocation_ceiling(slopes, tau) == pytest.approx(gain)


def test_t7_23_geometric_over_arithmetic_mean_is_the_least_of_all_and_attained():
    for seed in range(50):
        a, rate, mean = (0.5 * normal(seed, 7)).exp(), 0.8, 4.0
        constant = (a * math.exp(-rate * mean)).sum()
        least = (a * torch.exp(-rate * d.allocate(a, rate, 7 * mean))).sum()
        assert (least / constant).item() == pytest.approx(d.allocation_gain(a))
        tried = uniform(seed, 7)
        tried = tried / tried.sum() * 7 * mean
        assert (a * torch.exp(-rate * tried)).sum() / constant >= d.allocation_gain(a)
    few = d.allocate(torch.tensor([1.0, 1e6]), 1.0, 1.0)  # one level gets nothing: not attained
    assert (torch.tensor([1.0, 1e6]) * (-few).exp()).sum() / 1e6 * math.e > d.allocation_gain(
        torch.tensor([1.0, 1e6])
    )


def test_t7_23_a_factor_of_two_between_levels_is_worth_six_per_cent():
    assert d.allocation_gain(torch.tensor([1.0, 2.0])) == pytest.approx(0.943, abs=1e-3)
    spread = 1.2 * normal(0, 20_000)
    assert d.allocation_gain(spread.exp()) == pytest.approx(math.exp(-(1.2**2) / 2), rel=0.05)


# --- T7.24, T7.25: what no rule can do ---


def test_t7_24_every_stop_has_at_least_the_floor_as_regret_on_some_task():
    for seed in range(60):
        predictions = torch.randint(3, (5, 40), generator=torch.Generator().manual_seed(seed))
        floor = d.regret_floor(predictions)
        wrong = (predictions[:, None] != predictions).double().mean(2)  # (stop, task)
        law = uniform(seed, 5)
        for stop in (*torch.eye(5).double(), law / law.sum()):
            assert (stop @ wrong).max() >= floor - 1e-12


def test_t7_24_a_network_halfway_attains_the_floor():
    ends = torch.tensor([[0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]])
    wrong = (ends[1] != ends).double().mean(1).max().item()
    assert wrong == d.regret_floor(ends) == 0.5


def test_t7_24_labels_remove_the_floor():
    predictions = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]])
    regrets = [
        min((p != truth).double().mean().item() for p in predictions) for truth in predictions
    ]
    assert max(regrets) == 0 < d.regret_floor(predictions)


def test_t7_24_in_nats_the_mean_of_two_laws_attains_the_floor():
    for seed in range(30):
        p = normal(seed, 4, 20, 3).softmax(-1)
        kl = (p[None] * (p[None].log() - p[:, None].log())).sum(-1).mean(-1)  # (stop, task)
        assert kl.max(1).values.min() >= d.regret_floor_nats(p) - 1e-12
    p = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]]).double()[:, None]
    middle = (p[0] * (p[0] / p[1]).log()).sum().item()
    assert d.regret_floor_nats(p) == pytest.approx(middle)


def test_t7_25_held_out_labels_bound_the_regret_with_the_risk_of_hoeffding():
    looks, labels, risk = 6, 300, 0.1
    bound = d.holdout_regret(looks, labels, risk)
    assert 2 * looks * math.exp(-2 * labels * (bound / 2) ** 2) == pytest.approx(risk)
    accuracy = torch.linspace(0.5, 0.6, looks).double()
    draws = torch.distributions.Binomial(labels, accuracy)
    torch.manual_seed(0)
    regret = accuracy.max() - accuracy[draws.sample((3000,)).argmax(1)]
    assert (regret > bound).double().mean() <= risk
    assert regret.max() > 0.3 * bound


# --- T7.26, T7.27: what looking is worth ---


def test_t7_26_for_parabolas_the_value_of_looking_is_the_variance_of_the_best_stop():
    stops = torch.tensor([[2.0, 6.0, 4.0], [4.0, 5.0, 9.0]]).double()  # two equally likely seeds
    k = 0.7

    def regret(t):
        return (k / 2 * (t - stops).square()).mean().item()

    grid = torch.linspace(0, 12, 2401).double()
    constant = min(regret(t) for t in grid)
    timetable = regret(stops.mean(0))
    within, between = stops.var(0, correction=0).mean(), stops.mean(0).var(correction=0)
    assert timetable == pytest.approx(k / 2 * within.item())
    assert constant - timetable == pytest.approx(k / 2 * between.item(), abs=1e-5)


def test_t7_26_over_all_samples_of_seeds_the_estimates_are_right_on_average():
    law = [torch.tensor([2.0, 4.0]), torch.tensor([6.0, 5.0, 1.0])]  # of two levels
    k, found = 1.4, []
    for first in itertools.product(law[0], law[1]):
        for second in itertools.product(law[0], law[1]):
            found.append(d.value_of_looking(torch.tensor([first, second]), k))
    timetable, looking = torch.tensor(found, dtype=torch.float64).mean(0).tolist()
    within = sum(t.double().var(correction=0).item() for t in law) / 2
    between = torch.stack([t.double().mean() for t in law]).var(correction=0).item()
    assert (timetable, looking) == pytest.approx((k / 2 * between, k / 2 * within))


def test_t7_26_between_two_curvatures_the_value_lies_between_two_variances():
    for seed in range(40):
        a, rate, price = (0.3 * normal(seed, 9)).exp() * 5, 0.6, 0.2
        best = (a * rate / price).log() / rate
        grid = torch.linspace(best.min().item(), best.max().item(), 500).double()
        total = a * torch.exp(-rate * grid[:, None]) + price * grid[:, None]
        least = a * torch.exp(-rate * best) + price * best
        value = (total.mean(1).min() - least.mean()).item()
        curvature = a * rate**2 * torch.exp(-rate * grid[:, None])
        half = best.var(correction=0).item() / 2
        assert curvature.min().item() * half <= value <= curvature.max().item() * half + 1e-9
        # and exactly, in epochs
        assert value / price == pytest.approx(d.looking_epochs(a[:, None], rate).item(), rel=1e-3)


def test_t7_26_for_log_normal_amplitudes_the_two_forms_agree():
    z = normal(0, 100_000, 1)
    z = (z - z.mean()) / z.std()
    epochs = d.looking_epochs((0.4 * z).exp(), rate=0.5).item()
    best = 0.4 * z / 0.5  # plus a constant
    assert epochs == pytest.approx(0.5 / 2 * best.var().item(), rel=0.01)


@pytest.mark.parametrize(("price", "holds"), [(0.2, True), (0.99, True), (2.0, False)])
def test_t7_26_the_form_for_exponentials_needs_a_price_below_b_times_every_amplitude(price, holds):
    a, rate = torch.tensor([[1.0], [4.0]]).double(), 1.0
    grid = torch.linspace(0, 4, 40_001).double()
    total = a * torch.exp(-rate * grid) + price * grid
    value = (total.mean(0).min() - total.amin(1).mean()).item() / price
    promised = d.looking_epochs(a, rate).item()
    assert (value == pytest.approx(promised, abs=1e-6)) == holds
    assert (price < rate * a.min()) == holds


def test_t7_26_a_best_stop_at_zero_breaks_the_upper_bound():
    grid = torch.linspace(0, 4, 4001).double()
    price, k = 3.0, 1.0
    total = torch.stack([price * grid, k / 2 * (grid - 2).square()])  # one run is best not trained
    value = (total.mean(0).min() - total.amin(1).mean()).item()
    stops = grid[total.argmin(1)]
    assert stops.tolist() == pytest.approx([0, 2])
    assert value > 1.9 * k / 2 * stops.var(correction=0).item()


def test_t7_26_parts_in_nats_become_epochs_once_divided_by_the_price():
    stops = torch.tensor([[2.0, 3.0], [4.0, 9.0]])
    nats = d.value_of_looking(stops, curvature=0.02)
    assert [worth / 0.1 for worth in nats] == pytest.approx(d.value_of_looking(stops, 0.02 / 0.1))


def test_t7_27_a_rule_beats_a_timetable_exactly_if_it_predicts_better_than_the_mean():
    stops = torch.tensor([[2.0, 6.0], [4.0, 5.0], [9.0, 7.0]]).double()
    k = 0.7
    timetable = d.rule_loss(stops.mean(0).expand(3, 2), stops, k)
    assert timetable == pytest.approx(k / 2 * stops.var(0, correction=0).mean().item())
    error = stops.var(0, correction=0).mean().sqrt().item()
    for size, better in ((0.98, True), (1.02, False)):
        rule = stops + size * error
        played = (k / 2 * (rule - stops).square()).mean().item()
        assert d.rule_loss(rule, stops, k) == pytest.approx(played)
        assert (d.rule_loss(rule, stops, k) < timetable) == better


def test_t7_27_the_best_use_of_a_signal_is_its_conditional_mean():
    """Four equally likely seeds, a signal that tells the first two from the others."""
    best = torch.tensor([1.0, 3.0, 6.0, 10.0]).double()
    expected = torch.tensor([2.0, 2.0, 8.0, 8.0]).double()
    worth = d.rule_loss(best.mean().expand(4), best, 2.0) - d.rule_loss(expected, best, 2.0)
    assert worth == pytest.approx(expected.var(correction=0).item())
    for low, high in itertools.product((1.5, 2.0, 2.5), (7.0, 8.0, 8.5)):
        tried = torch.tensor([low, low, high, high]).double()
        assert d.rule_loss(tried, best, 2.0) >= d.rule_loss(expected, best, 2.0)


@pytest.mark.parametrize("table", ["convnet", "resnet20"])
def test_t7_28_in_the_recorded_runs_looking_is_worth_less_than_a_look_and_a_timetable_more(table):
    found = looking.worth(evidence.read(table).query("family == 'fixed'"))
    look = probe_cost(1000, 18_000)
    assert (found["looking"] + found["looking_half_width"] < look).all()
    assert (found["timetable"] - found["timetable_half_width"] > 2 * look).all()


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: d.worth_stopping(torch.tensor([]), 1.0), "losses"),
        (lambda: d.worth_stopping(torch.tensor([1.0, math.nan]), 1.0), "finite"),
        (lambda: d.worth_stopping(torch.ones(2), 0.0), "price"),
        (lambda: d.price_tolerance(1.0, 0.1, 10, momentum=1.0), "momentum"),
        (lambda: d.price_tolerance(1.0, 0.1, 10, batch_size=0), "batch_size"),
        (lambda: d.sgd_excess(torch.ones(1), torch.ones(1), torch.ones(1), 2.0, 1), "curvature"),
        (lambda: d.cross_batch_energy(torch.ones(1), torch.ones(2)), "gradients"),
        (lambda: d.allocate(torch.tensor([1.0, 0.0]), 1.0, 1.0), "amplitudes"),
        (lambda: d.allocation_ceiling(torch.ones(2), torch.ones(3)), "slope"),
        (lambda: d.regret_floor(torch.ones(3)), "predictions"),
        (lambda: d.holdout_regret(1, 10, 0.0), "risk"),
        (lambda: d.value_of_looking(torch.ones(1, 4), 1.0), "best_stops"),
        (lambda: d.rule_loss(torch.ones(2), torch.ones(3), 1.0), "stop"),
    ],
)
def test_bad_input_to_decisions_gets_one_clear_line(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call()
