"""T7: the solvable model, with and without rewinding. Each test would refute its statement."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from infcop_lite.theory import lengths, selection
from infcop_lite.theory import solvable as s
from infcop_lite.theory.consistency import pruning_floor
from infcop_lite.theory.decisions import price_regret


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moment(seed, size, spread=1.0):
    """A second moment whose eigenvalues spread over e^(-spread) to e^spread."""
    basis, _ = torch.linalg.qr(normal(seed, size, size))
    values = torch.exp(
        spread * (2 * torch.rand(size, generator=torch.Generator().manual_seed(seed)))
    )
    return (basis * (values.double() / math.exp(spread))) @ basis.T


def model(seed, rows=2, size=5, share=0.4, spread=1.0):
    """(start, best, mask, second moment) of a random solvable model; every row keeps a weight."""
    mask = torch.rand(rows, size, generator=torch.Generator().manual_seed(seed + 7)) > share
    mask[:, seed % size] = True
    start, best = normal(seed + 1, rows, size) * mask, normal(seed + 2, rows, size)
    return start, best, mask, moment(seed + 3, size, spread)


def loss(weight, best, second_moment):
    v = weight - best
    return (v @ second_moment * v).sum((-2, -1)) / 2


def gaps(path, best, second_moment):
    return torch.stack([torch.tensor(s.flow_gap(w, best, second_moment)) for w in path])


# --- T7.1, T7.2: the last layer ---


@pytest.mark.parametrize("smooth", [0.0, 0.1])
def test_t7_1_the_gradient_of_the_last_layer_is_a_difference_of_two_flows(smooth):
    for seed in range(20):
        torch.manual_seed(seed)
        body = nn.Sequential(nn.Linear(4, 6), nn.ReLU()).double()
        last = nn.Linear(6, 3).double()
        x, y = normal(seed, 30, 4), torch.arange(30) % 3
        a = body(x)
        cross_entropy(last(a), y, label_smoothing=smooth).backward()
        soft = (1 - smooth) * one_hot(y, 3).double() + smooth / 3
        gap = s.label_flow_gap(a, last(a).softmax(1), soft)
        torch.testing.assert_close(gap, last.weight.grad, rtol=0, atol=1e-14)
        bias = s.label_flow_gap(torch.ones(30, 1), last(a).softmax(1), soft)
        torch.testing.assert_close(bias[:, 0], last.bias.grad, rtol=0, atol=1e-14)


def test_t7_1_whole_numbers_as_targets_are_one_hot():
    a, p, y = normal(0, 9, 4), normal(1, 9, 3).softmax(1), torch.arange(9) % 3
    assert torch.equal(s.label_flow_gap(a, p, y), s.label_flow_gap(a, p, one_hot(y, 3)))


def test_t7_1_moving_features_add_one_term_without_which_the_inequality_is_wrong():
    """|grad| <= |T - T_0| + |E y (a_0 - a)| + gamma_0; the second instance attains it."""
    slack = []
    for seed in range(100):
        a, a0 = normal(seed, 12, 4), normal(seed + 500, 12, 4)
        p, p0, y = (normal(seed + k, 12, 3).softmax(1) for k in (1, 2, 3))
        slack.append(_moved(a, a0, p, p0, y))
    hand = torch.ones(1, 1, dtype=torch.float64)
    tight = _moved(2 * hand, hand, 0 * hand, hand, hand)
    assert min(slack) >= -1e-12
    assert tight == pytest.approx(0)


def _moved(a, a0, p, p0, y):
    n = len(a)
    terms = [(p.T @ a - p0.T @ a0) / n, y.T @ (a0 - a) / n, s.label_flow_gap(a0, p0, y)]
    return (sum(t.norm() for t in terms) - s.label_flow_gap(a, p, y).norm()).item()


def frozen(a, weight, best):
    """(distance of the flows, loss above its minimum, offset); soft labels make `best` optimal."""
    y, q = (a @ best.T).softmax(1), (a @ weight.T).softmax(1)
    above = (y * (y.log() - (a @ weight.T).log_softmax(1))).sum(1).mean().item()
    return ((q - y).T @ a / len(a)).norm().item(), above, (weight - best).norm().item()


def test_t7_2_frozen_features_enclose_the_loss_by_the_distance_of_the_flows():
    for seed in range(200):
        a, best = normal(seed, 15, 4), normal(seed + 1, 3, 4)
        weight = best + 10 ** (seed % 5 - 3) * normal(seed + 2, 3, 4)
        weight[0, seed % 4] = 0  # masked or not
        distance, above, offset = frozen(a, weight, best)
        low, high = s.frozen_loss_interval(distance, a.T @ a / len(a), offset)
        assert low * (1 - 1e-6) <= above <= high * (1 + 1e-6)


def test_t7_2_both_constants_are_attained():
    a, direction = torch.ones(1, 1).double(), torch.tensor([[1.0], [-1.0]]).double() / math.sqrt(2)
    distance, above, offset = frozen(a, 0.001 * direction, 0 * direction)
    assert above == pytest.approx(s.frozen_loss_interval(distance, a, offset)[0], rel=1e-5)
    distance, above, offset = frozen(a, 500 * direction, 0 * direction)
    assert above == pytest.approx(s.frozen_loss_interval(distance, a, offset)[1], rel=5e-3)


def test_t7_2_features_that_move_break_the_lower_end():
    """The flow stays, the features double and the weights halve in one class: no distance."""
    a, best = torch.ones(1, 1).double(), torch.tensor([[1.0], [-1.0]]).double()
    y, moved = (a @ best.T).softmax(1), 3 * a
    q = (moved @ best.T).softmax(1)
    above = (y * (y / q).log()).sum().item()
    distance = (q.T @ moved - y.T @ a).norm().item()
    low, high = s.frozen_loss_interval(distance, a, 0.0)
    assert not low <= above <= high


# --- T7.3: full flow and loss ---


def test_t7_3_the_distance_is_the_unmasked_gradient_and_encloses_the_loss():
    for seed in range(100):
        start, best, _, second = model(seed)
        weight = start.clone().requires_grad_()
        value = loss(weight, best, second)
        value.backward()
        distance = s.flow_gap(start, best, second)
        assert distance == pytest.approx(weight.grad.norm().item())
        low, high = s.loss_interval(distance, second)
        assert low <= value.item() * (1 + 1e-12)
        assert value.item() <= high * (1 + 1e-12)


def test_t7_3_a_real_regression_has_this_loss_and_this_flow():
    x, y = normal(0, 40, 4), normal(1, 40, 2)
    second = x.T @ x / 40
    best = torch.linalg.lstsq(x, y).solution.T
    weight = normal(2, 2, 4)
    above = ((x @ weight.T - y).square().sum() - (x @ best.T - y).square().sum()) / 80
    flows = [(x @ w.T).T @ x / 40 for w in (weight, best)]
    distance = (flows[0] - flows[1]).norm().item()
    assert distance == pytest.approx(s.flow_gap(weight, best, second))
    low, high = s.loss_interval(distance, second)
    assert low <= above.item() <= high


@pytest.mark.parametrize("which", [0, -1])
def test_t7_3_both_ends_are_attained_along_an_extreme_eigenvector(which):
    second = moment(3, 5)
    v = torch.linalg.eigh(second).eigenvectors[:, which][None]
    ends = s.loss_interval(s.flow_gap(v, 0 * v, second), second)
    assert ends[which + 1] == pytest.approx(loss(v, 0 * v, second).item())


def test_t7_3_of_a_singular_moment_the_smallest_positive_eigenvalue_counts():
    second = torch.diag(torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64))
    v = torch.tensor([[9.0, 1.0, 0.0]], dtype=torch.float64)
    upper = s.loss_interval(s.flow_gap(v, 0 * v, second), second)[1]
    assert upper == pytest.approx(loss(v, 0 * v, second).item())


@pytest.mark.parametrize(("at", "reference", "end"), [(3.0, 1.0, 1), (3.0, -1.0, 0)])
def test_t7_3_an_unconverged_reference_widens_the_interval_by_its_gradient(at, reference, end):
    second, one = torch.tensor([[2.0]]).double(), torch.ones(1, 1).double()
    gamma = s.flow_gap(reference * one, 0 * one, second)
    interval = s.loss_interval(s.flow_gap(at * one, reference * one, second), second, gamma)
    exact = loss(at * one, 0 * one, second).item()
    assert interval[end] == pytest.approx(exact)
    assert interval[0] <= exact * (1 + 1e-12) <= interval[1] * (1 + 2e-12)
    assert s.loss_interval(1.0, second, reference_gradient=3.0)[0] == 0  # certifies nothing


def test_t7_3_correlations_do_not_see_a_scale_that_ruins_the_loss():
    x, best = normal(0, 500, 3), normal(1, 2, 3)
    correlations = [torch.corrcoef(torch.cat([(x @ w.T).T, x.T])) for w in (best, 5 * best)]
    torch.testing.assert_close(*correlations)
    assert loss(5 * best, best, x.T @ x / 500) > 5


# --- T7.4, T7.5: training on a mask ---


def test_t7_4_the_path_is_the_matrix_exponential_and_steps_of_descent_are_played():
    for seed in range(20):
        start, best, mask, second = model(seed)
        h = 0.9 / torch.linalg.eigvalsh(second)[-1].item()
        played = [start]
        for _ in range(6):
            played.append(played[-1] - h * ((played[-1] - best) @ second) * mask)
        found = s.masked_path(start, best, mask, second, torch.arange(7), step=h)
        torch.testing.assert_close(found, torch.stack(played))
        flow = s.masked_path(start, best, mask, second, torch.tensor([0.0, 0.3, 2.0]))
        for t, weights in zip((0.0, 0.3, 2.0), flow, strict=True):
            for row, kept in enumerate(mask):
                rest = selection.refit(best, mask, second)[row, kept]
                decay = torch.linalg.matrix_exp(-t * second[kept][:, kept])
                expected = rest + decay @ (start[row, kept] - rest)
                torch.testing.assert_close(weights[row, kept], expected)
        assert not flow[:, ~mask].any()


def test_t7_4_the_price_is_the_least_loss_on_the_mask_and_the_floor_encloses_it():
    for seed in range(100):
        start, best, mask, second = model(seed, rows=1)
        end = s.masked_path(start, best, mask, second, torch.tensor([1e4]))[0]
        price = s.mask_price(best, mask, second)
        assert price == pytest.approx(loss(end, best, second).item(), abs=1e-12)
        assert s.resting_distance(best, mask, second) == pytest.approx(
            s.flow_gap(end, best, second), abs=1e-9
        )
        if not mask.all():
            removed, q = best[0, ~mask[0]], s.removed_moment(second, mask[0])
            assert price == pytest.approx((removed @ q @ removed / 2).item())
            low, high = s.loss_interval(s.resting_distance(best, mask, second), q)
            assert low * (1 - 1e-9) <= price <= high * (1 + 1e-9)


@pytest.mark.parametrize("which", [0, -1])
def test_t7_4_the_sandwich_of_the_price_is_attained_along_an_eigenvector_of_q(which):
    second, mask = moment(4, 5), torch.tensor([[True, True, False, False, False]])
    q = s.removed_moment(second, mask[0])
    best = torch.zeros(1, 5, dtype=torch.float64)
    best[0, 2:] = torch.linalg.eigh(q).eigenvectors[:, which]
    ends = s.loss_interval(s.resting_distance(best, mask, second), q)
    assert ends[which + 1] == pytest.approx(s.mask_price(best, mask, second))


def test_t7_4_the_distance_decays_geometrically_to_its_floor():
    times = torch.linspace(0, 6, 25)
    for seed in range(25):
        start, best, mask, second = model(seed, rows=1 + seed % 3)
        c, mu, floor = s.decay_bound(start, best, mask, second)
        distance = gaps(s.masked_path(start, best, mask, second, times), best, second)
        assert ((distance - floor).abs() <= c * torch.exp(-mu * times.double()) + 1e-9).all()
        assert mu >= torch.linalg.eigvalsh(second)[0].item() - 1e-12  # interlacing
        for epsilon in (1.1 * floor + 1e-6, floor + c / 9 + 1e-6):
            within = max(0.0, math.log(c / (epsilon - floor)) / mu) + 1e-9
            late = s.masked_path(start, best, mask, second, torch.tensor([within]).double())
            assert s.flow_gap(late[0], best, second) <= epsilon + 1e-9


def test_t7_4_amplitude_and_rate_of_the_decay_are_attained_by_one_weight():
    second, mask = torch.diag(torch.tensor([3.0, 1.0])), torch.tensor([[True, False]])
    start, best = torch.zeros(1, 2), torch.tensor([[2.0, 0.0]])
    c, mu, floor = s.decay_bound(start, best, mask, second)
    path = s.masked_path(start, best, mask, second, torch.tensor([0.0, 1.0]))
    assert gaps(path, best, second).tolist() == pytest.approx([c, c * math.exp(-mu)])
    assert (mu, floor) == (3.0, 0.0)


def test_t7_5_the_resting_distance_is_within_its_bound_of_the_floor_of_any_weights():
    closest = 0.0
    for seed in range(100):
        start, best, mask, second = model(seed, size=2 + seed % 4, spread=2.0)
        bound = s.overshoot_bound(second)
        floor = pruning_floor(best, mask, second)
        resting = s.resting_distance(best, mask, second)
        assert floor - 1e-9 <= resting <= bound * floor * (1 + 1e-9) + 1e-12
        path = s.masked_path(start, best, mask, second, torch.linspace(0, 3, 7))
        assert resting <= bound * gaps(path, best, second).min() * (1 + 1e-9) + 1e-12
        closest = max(closest, resting / floor / bound if floor > 1e-9 else 0.0)
    assert closest > 0.9


@pytest.mark.parametrize("kappa", [4.0, 25.0, 100.0])
def test_t7_5_the_bound_is_attained_and_the_distance_rises_while_the_loss_falls(kappa):
    c, d = math.sqrt(kappa / (1 + kappa)), math.sqrt(1 / (1 + kappa))
    basis = torch.tensor([[c, d], [-d, c]], dtype=torch.float64)  # inputs in the eigenbasis
    second = basis @ torch.diag(torch.tensor([1.0, kappa], dtype=torch.float64)) @ basis.T
    best, mask = torch.tensor([[0.0, 1.0]]).double(), torch.tensor([[True, False]])
    columns = second[:, :1]
    start = torch.linalg.lstsq(columns, (best @ second).T).solution.T * mask
    distance = s.masked_path(start, best, mask, second, torch.linspace(0, 4, 30))
    losses, distance = loss(distance, best, second), gaps(distance, best, second)
    assert (distance.diff() > -1e-12).all()
    assert distance[3] > distance[0]
    assert (losses.diff() < 1e-12).all()
    floor, resting = pruning_floor(best, mask, second), s.resting_distance(best, mask, second)
    assert floor == pytest.approx(distance[0].item())
    assert resting / floor == pytest.approx(s.overshoot_bound(second))


# --- T7.6: deep linear networks ---


def test_t7_6_the_end_to_end_flow_bounds_the_gradient_of_every_layer():
    for seed in range(40):
        weights = [normal(seed + i, *shape) for i, shape in enumerate([(4, 3), (4, 4), (2, 4)])]
        best, second = normal(seed + 9, 2, 3), moment(seed, 3)
        live = [w.clone().requires_grad_() for w in weights]
        product = live[2] @ live[1] @ live[0]
        value = loss(product, best, second)
        gradients = torch.autograd.grad(value, live)
        distance = s.flow_gap(product, best, second)
        low, high = s.loss_interval(distance, second)
        assert low * (1 - 1e-12) <= value.item() <= high * (1 + 1e-12)
        for layer, g in enumerate(gradients):
            assert g.norm() <= s.layer_gradient_bound(distance, weights, layer) * (1 + 1e-12)


def test_t7_6_layers_of_one_unit_attain_it_and_zeros_have_no_gradient_but_a_distance():
    weights = [torch.tensor([[k]], dtype=torch.float64) for k in (2.0, 3.0, 5.0)]
    live = weights[1].clone().requires_grad_()
    one = torch.ones(1, 1, dtype=torch.float64)
    loss(5 * live * 2, 7 * one, one).backward()
    bound = s.layer_gradient_bound(s.flow_gap(30 * one, 7 * one, one), weights, 1)
    assert live.grad.abs().item() == pytest.approx(bound)
    assert s.layer_gradient_bound(s.flow_gap(0 * one, 7 * one, one), [0 * one] * 3, 1) == 0


# --- T7.7, T7.8: a price for time ---


def test_t7_7_the_first_time_at_which_the_squared_gradient_is_the_price_is_the_best_stop():
    for seed in range(25):
        start, best, mask, second = model(seed)
        price = 10 ** (seed % 4 - 2.5)
        stop = s.best_stop(start, best, mask, second, price)
        times = torch.cat([torch.tensor([stop]).double(), torch.linspace(0, 3 * stop + 2, 200)])
        path = s.masked_path(start, best, mask, second, times)
        total = loss(path, best, second) + price * times
        assert total[0] <= total.min() + 1e-9
        energy = (((path - best) @ second) * mask).square().sum((1, 2))
        assert stop == 0 or energy[0].item() == pytest.approx(price)
        assert (energy[1:].diff() <= 1e-12).all()


def test_t7_7_without_convexity_the_rule_can_stop_at_a_saddle():
    a, price, h, total = 0.01, 0.01, 1e-3, []
    first = 2 * (a * (1 - a * a)) ** 2
    for step in range(10_000):  # a = b: both follow a' = a (1 - a^2)
        total.append((1 - a * a) ** 2 / 2 + price * step * h)
        a += h * a * (1 - a * a)
    assert first < price  # so the rule stops at once
    assert total[0] > 8 * min(total)


def test_t7_8_the_regret_under_pl_is_within_its_bound():
    """w^2 + 3 sin^2 w is PL with mu = .1755 (found on a grid) and not convex."""
    mu, h = 0.1755, 2e-3
    for price, start in itertools.product((0.01, 0.3, 2.0, 9.0), (2.5, -4.0, 6.0)):
        w, total, fired = start, [], None
        for step in range(4000):
            g = 2 * w + 3 * math.sin(2 * w)
            total.append(w * w + 3 * math.sin(w) ** 2 + price * step * h)
            if fired is None and g * g <= price:
                fired = step
            w -= h * g
        assert total[fired] - min(total) <= price_regret(price, mu) + 2 * price * h


def test_t7_8_the_bound_is_attained_by_a_cliff_right_behind_the_stop():
    """Slope sqrt(c) at the start, PL there; then a cliff of slope k down to the infimum."""
    price, mu, k = 0.5, 0.2, 300.0
    height = price / (2 * mu)  # PL at the start: c >= 2 mu (loss - infimum), with equality
    down_s = height / k**2  # gradient flow falls with speed k at slope k
    regret = height - price * down_s
    assert regret == pytest.approx(price_regret(price, mu), rel=1e-4)


# --- T7.18, T7.19: levels ---


def play(seed, tau, rows=1, size=8, levels=3, rewinding=False, second=None, start=None):
    """Prune the smallest weight of each level; yield (mask, before, after the prune, end)."""
    best = normal(seed + 2, rows, size)
    second = moment(seed + 3, size) if second is None else second
    snapshot = normal(seed + 1, rows, size) if start is None else start
    mask, weights = torch.ones(rows, size, dtype=torch.bool), snapshot
    for r in range(levels):
        before = weights
        scores = torch.where(mask, before.abs(), math.inf)
        mask = mask & (scores > scores.min())
        begin = (snapshot if rewinding else before) * mask
        times = torch.tensor([tau[r]], dtype=torch.float64)
        weights = s.masked_path(begin, best, mask, second, times)[0]
        yield mask, before, begin, weights, best, second


def pl_of(mask, second):
    return min(torch.linalg.eigvalsh(second[k][:, k])[0].item() for k in mask)


def test_t7_18_the_excess_after_the_last_level_is_within_the_sum_of_forgotten_jumps():
    for seed in range(25):
        tau = [0.3, 0.1 + seed % 3, 0.5]
        jumps, pls, beta = [], [], None
        first = None
        previous = torch.ones(1, 8, dtype=torch.bool)
        for mask, before, begin, weights, best, second in play(seed, tau):  # noqa: B007
            beta = torch.linalg.eigvalsh(second)[-1].item()
            excess = loss(before, best, second).item() - s.mask_price(best, previous, second)
            first = excess if first is None else first
            jumps.append((loss(begin, best, second) - loss(before, best, second)).item())
            removed = (before - begin).norm().item()
            assert jumps[-1] <= lengths.jump_bound(removed, max(excess, 0.0), beta) + 1e-9
            pls.append(pl_of(mask, second))
            previous = mask
        last = loss(weights, best, second).item() - s.mask_price(best, mask, second)
        assert last <= lengths.excess_bound(jumps, tau, pls, first) + 1e-9


def test_t7_18_one_rate_and_useless_weights_attain_the_bound():
    """Inputs white with variance 2, the removed weight is 0 in the best map: no price to pay."""
    best, second = torch.tensor([[1.0, 0.0]]).double(), 2 * torch.eye(2).double()
    start, mask = torch.tensor([[4.0, 3.0]]).double(), torch.tensor([[True, False]])
    jump = (loss(start * mask, best, second) - loss(start, best, second)).item()
    end = s.masked_path(start * mask, best, mask, second, torch.tensor([0.4]))[0]
    found = lengths.excess_bound([jump], [0.4], [2.0], loss(start, best, second).item())
    assert found == pytest.approx(loss(end, best, second).item())
    assert jump < 0  # a prune may help; the bound still holds


def test_t7_18_the_jump_of_a_weight_below_its_best_value_attains_its_bound():
    second, best, w = torch.tensor([[3.0]]).double(), torch.ones(1, 1).double() * 2, 0.5
    at = torch.full((1, 1), w, dtype=torch.float64)
    jump = (loss(0 * at, best, second) - loss(at, best, second)).item()
    excess = loss(at, best, second).item()
    assert lengths.jump_bound(w, excess, 3.0) == pytest.approx(jump)


def test_t7_18_with_growing_rates_the_last_level_is_the_best_place_for_every_epoch():
    jumps, pls = [1.0, 2.0, 0.5], [0.2, 0.3, 0.4]
    spread = lengths.excess_bound(jumps, [1.0, 1.0, 1.0], pls, 3.0)
    assert lengths.excess_bound(jumps, [0.0, 0.0, 3.0], pls, 3.0) <= spread
    falling = pls[::-1]  # without growing rates it can fail
    assert lengths.excess_bound(jumps, [0.0, 0.0, 3.0], falling, 30.0) > lengths.excess_bound(
        jumps, [3.0, 0.0, 0.0], falling, 30.0
    )


def test_t7_19_a_level_of_this_length_repairs_its_prune_and_attains_it_at_one_rate():
    best, mask = torch.zeros(1, 2).double(), torch.tensor([[True, False]])
    second, tolerance = 2 * torch.eye(2).double(), 0.25
    start = torch.tensor([[0.5, 0.0]]).double()  # excess 0.25 = the tolerance
    raised = start * math.sqrt(5)  # a jump of 4 tolerances
    tau = lengths.level_length(4 * tolerance, tolerance, pl=2.0)
    end = s.masked_path(raised, best, mask, second, torch.tensor([tau]).double())[0]
    assert loss(end, best, second).item() == pytest.approx(tolerance)
    assert lengths.level_length(-1.0, tolerance, pl=2.0) == 0.0


def test_t7_19_levels_of_this_length_keep_the_excess_within_the_tolerance():
    for seed in range(30):
        tolerance, second = 0.05 + 0.1 * (seed % 5), moment(seed + 3, 8)
        best = normal(seed + 2, 1, 8)
        mask, weights = torch.ones(1, 8, dtype=torch.bool), best.clone()
        for _ in range(5):
            scores = torch.where(mask, weights.abs(), math.inf)
            mask = mask & (scores > scores.min())
            jump = (loss(weights * mask, best, second) - loss(weights, best, second)).item()
            tau = lengths.level_length(jump, tolerance, pl_of(mask, second))
            times = torch.tensor([tau], dtype=torch.float64)
            weights = s.masked_path(weights * mask, best, mask, second, times)[0]
            above = loss(weights, best, second).item() - s.mask_price(best, mask, second)
            assert above <= tolerance * (1 + 1e-9)


def test_t7_19_a_rewound_level_needs_this_length_and_one_rate_attains_it():
    gap, tolerance, beta = 8.0, 0.5, 2.0
    tau = lengths.rewound_length(gap, tolerance, beta)
    best, mask, second = torch.zeros(1, 1).double(), torch.ones(1, 1).bool(), torch.eye(1) * beta
    start = torch.full((1, 1), math.sqrt(2 * gap / beta), dtype=torch.float64)
    end = s.start_excess(start, best, mask, second, torch.tensor([tau]).double()).item()
    assert end == pytest.approx(tolerance)
    for seed in range(30):  # and never shorter, whatever the other directions do
        start, best, mask, second = model(seed)
        beta = torch.linalg.eigvalsh(second)[-1].item()
        zero = torch.zeros(1).double()
        gap = s.start_excess(start, best, mask, second, zero).item()
        tau = 0.99 * lengths.rewound_length(gap, gap / 10, beta)
        left = s.start_excess(start, best, mask, second, torch.tensor([tau]).double()).item()
        assert left > gap / 10


def test_t7_19_the_total_is_attained_by_equal_prunes_and_grows_like_a_root():
    beta, mu, tolerance, energy = 2.0, 0.3, 0.1, 4.0

    def total(removed):
        jumps = [lengths.jump_bound(e, tolerance, beta) for e in removed]
        return sum(lengths.level_length(j, tolerance, mu) for j in jumps)

    bounds = []
    for r in (1, 4, 16, 64, 4096):
        bound = lengths.total_length_bound(r, energy, tolerance, beta, mu)
        assert total([math.sqrt(energy / r)] * r) == pytest.approx(bound)
        uneven = normal(r, r).abs()
        uneven = (uneven * math.sqrt(energy) / uneven.norm()).tolist()
        assert total(uneven) <= bound * (1 + 1e-12)
        bounds.append(bound)
        root = math.sqrt(2 * beta * energy * r / tolerance)
        assert bound <= (root + beta * energy / (2 * tolerance)) / (2 * mu)
    assert bounds[-1] / root * 2 * mu == pytest.approx(1, abs=0.05)  # of order sqrt(R)
    rewound = [r * lengths.rewound_length(1.0, tolerance, beta) for r in (64, 4096)]
    assert rewound[1] / rewound[0] == pytest.approx(4096 / 64)


# --- T7.20, T7.21: going on or rewinding ---


def test_t7_20_for_uncorrelated_inputs_both_protocols_pass_through_the_same_networks():
    tau = [0.2, 0.5, 0.1, 0.9]
    sums = list(itertools.accumulate(tau))
    for seed in range(40):
        second = torch.diag(torch.exp(normal(seed, 8)))
        on = list(play(seed, tau, levels=4, second=second))
        back = list(play(seed, sums, levels=4, second=second, rewinding=True))
        for (mask, _, _, weights, *_), (other, _, _, again, *_) in zip(on, back, strict=True):
            assert torch.equal(mask, other)
            torch.testing.assert_close(weights, again)
    assert lengths.rewinding_ratio(tau) == pytest.approx(sum(sums) / sums[-1])


def test_t7_20_with_correlations_they_part():
    tau = [0.2, 0.5, 0.1, 0.9]
    on, back = (
        list(play(1, times, levels=4, rewinding=again))[-1][3]
        for times, again in ((tau, False), (list(itertools.accumulate(tau)), True))
    )
    assert (on - back).norm() > 0.01


def test_t7_20_what_rewinding_costs_at_equal_and_at_doubling_lengths():
    assert lengths.rewinding_ratio([3.0] * 10) == pytest.approx(5.5)
    for q in (1.5, 2.0, 3.0):
        ratio = lengths.rewinding_ratio([q**r for r in range(60)])
        assert ratio == pytest.approx(q / (q - 1), rel=1e-6)
    assert lengths.rewinding_ratio([1.0, 0.0, 0.0]) == 3.0  # the worst
    assert lengths.rewinding_ratio([0.0, 0.0, 1.0]) == 1.0


def test_t7_20_at_equal_cost_rewinding_has_the_geometric_mean_of_the_excesses():
    gap, rate, budget, levels = 5.0, 0.7, 4.0, 4
    best, mask, second = torch.zeros(1, 1).double(), torch.ones(1, 1).bool(), torch.eye(1) * rate
    start = torch.full((1, 1), math.sqrt(2 * gap / rate), dtype=torch.float64)
    times = torch.tensor([budget, budget / levels], dtype=torch.float64)
    on, back = s.start_excess(start, best, mask, second, times).tolist()
    assert back == pytest.approx(gap ** (1 - 1 / levels) * on ** (1 / levels))


def test_t7_20_a_network_trained_for_less_may_prune_another_input():
    """So the geometric mean needs that both protocols end on one mask."""
    start, best = torch.tensor([[0.0, 0.5]]).double(), torch.tensor([[1.0, 0.9]]).double()
    full, times = torch.ones(1, 2).bool(), torch.tensor([1.0, 2.0], dtype=torch.float64)
    short, long = s.masked_path(start, best, full, torch.eye(2), times)
    assert short.abs().argmin() == 0
    assert long.abs().argmin() == 1


def test_t7_21_the_excess_from_a_start_is_the_loss_of_its_path_less_the_price():
    times = torch.tensor([0.0, 0.4, 3.0]).double()
    for seed in range(25):
        start, best, mask, second = model(seed)
        path = s.masked_path(start, best, mask, second, times)
        expected = loss(path, best, second) - s.mask_price(best, mask, second)
        found = s.start_excess(start, best, mask, second, times)
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-9)


def test_t7_21_pruned_from_the_optimum_the_offset_comes_from_correlations_alone():
    for seed in range(25):
        _, best, mask, second = model(seed, rows=1)
        now = torch.zeros(1).double()
        excess = s.start_excess(best, best, mask, second, now).item()
        alone = torch.diag(second.diagonal())
        assert s.start_excess(best, best, mask, alone, now).item() == pytest.approx(0, abs=1e-12)
        largest = torch.linalg.eigvalsh(second)[-1].item()
        assert excess <= largest * best[~mask].square().sum().item() / 2 + 1e-12


def test_t7_21_strong_correlations_make_rewinding_better_by_hand():
    best, mask = torch.tensor([[1.0, 0.9]]).double(), torch.tensor([[True, False]])
    second = torch.tensor([[1.0, -0.9], [-0.9, 1.0]]).double()
    rest = selection.refit(best, mask, second)[0, 0].item()
    assert rest == pytest.approx(0.19)
    on, back = (
        s.start_excess(w, best, mask, second, torch.ones(1)).item() for w in (best, 0 * best)
    )
    assert on / back == pytest.approx((0.81 / 0.19) ** 2)


def test_t7_21_for_long_levels_the_slowest_direction_decides():
    decided = 0
    for seed in range(25):
        start, best, mask, second = model(seed, rows=1)
        kept = mask[0]
        rest = selection.refit(best, mask, second)[0, kept]
        slowest = torch.linalg.eigh(second[kept][:, kept]).eigenvectors[:, 0]
        on, back = ((slowest @ (w[0, kept] - rest)).abs().item() for w in (best, start))
        late = torch.tensor([60.0]).double()
        e_on, e_back = (s.start_excess(w, best, mask, second, late).item() for w in (best, start))
        if min(e_on, e_back) > 1e-300 and abs(math.log(on / back)) > 0.01:
            decided += 1
            assert (on < back) == (e_on < e_back)
    assert decided > 10


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: s.label_flow_gap(normal(0, 3, 2), normal(0, 2, 2), torch.ones(2, 2)), "samples"),
        (lambda: s.flow_gap(torch.ones(1, 2), torch.ones(1, 3), torch.eye(2)), "differ"),
        (lambda: s.flow_gap(torch.ones(1, 2), torch.ones(1, 2), torch.eye(3)), "second_moment"),
        (lambda: s.loss_interval(-1.0, torch.eye(2)), "distance"),
        (lambda: s.loss_interval(1.0, torch.zeros(2, 2)), "eigenvalue"),
        (lambda: s.frozen_loss_interval(1.0, torch.eye(1), math.nan), "offset"),
        (lambda: lengths.level_length(1.0, 0.0, 1.0), "tolerance"),
        (lambda: lengths.rewinding_ratio([0.0]), "total_length"),
        (lambda: lengths.excess_bound([1.0], [-1.0], [1.0]), "length"),
        (lambda: price_regret(0.0, 1.0), "price"),
        (
            lambda: s.masked_path(
                torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 2), torch.eye(2), torch.ones(1)
            ),
            "boolean",
        ),
    ],
)
def test_bad_input_to_the_solvable_model_gets_one_clear_line(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call()
