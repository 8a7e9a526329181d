"""What consistent flows guarantee, and what they do not: each statement, attacked."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from infcop_lite import flows
from infcop_lite.theory import consistency as c
from infcop_lite.theory import convolutions

seeds = st.integers(0, 10_000)
often = settings(deadline=None, derandomize=True, max_examples=40)
ACTIVATIONS = (torch.relu, torch.tanh, torch.abs, lambda f: f)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(seed, *shape):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def network(seed, widths, scale=1.0):
    return [
        (scale * normal(seed + 31 * i, m, n) / n**0.5, scale * normal(seed + 31 * i + 7, m))
        for i, (n, m) in enumerate(itertools.pairwise(widths))
    ]


def pre_activations(layers, x, activation=torch.relu):
    outputs = []
    for w, b in layers:
        outputs.append((activation(outputs[-1]) if outputs else x) @ w.T + b)
    return outputs


def relative(layers, seed, size):
    """Another network near the first: every weight and bias moved by noise of this size."""
    noise = network(seed, [layers[0][0].shape[1], *(len(b) for _, b in layers)], size)
    return [(w + v, b + e) for (w, b), (v, e) in zip(layers, noise, strict=True)]


def pruned(layers, seed, share):
    return [
        (w * (torch.rand(w.shape, generator=generator(seed + i)) > share), b)
        for i, (w, b) in enumerate(layers)
    ]


# --- T3.0: losses are Lipschitz ---


def cross_entropies(logits, y):
    return functional.cross_entropy(logits, y, reduction="none")


@often
@given(seeds, st.floats(-3, 3))
def test_t3_0_cross_entropy_moves_at_most_sqrt_two_times_the_logits(seed, log_size):
    logits = 3 * normal(seed, 20, 5)
    others = logits + 10**log_size * normal(seed + 1, 20, 5)
    y = torch.randint(5, (20,), generator=generator(seed))
    gap = (cross_entropies(logits, y).mean() - cross_entropies(others, y).mean()).abs()
    assert gap <= c.cross_entropy_gap(c.rms_distance(logits, others)) + 1e-12


def test_t3_0_the_gradient_of_cross_entropy_is_p_minus_y_and_shorter_than_sqrt_two():
    logits, y = (5 * normal(0, 500, 7)).requires_grad_(), torch.arange(500) % 7
    (gradient,) = torch.autograd.grad(cross_entropies(logits, y).sum(), logits)
    expected = logits.softmax(1) - functional.one_hot(y, 7)
    torch.testing.assert_close(gradient, expected.detach())
    assert (gradient.norm(dim=1) < math.sqrt(2)).all()


def test_t3_0_the_constant_of_cross_entropy_cannot_be_lowered():
    logits = torch.tensor([[0.0, 30.0]], dtype=torch.float64)  # sure, and wrong
    others = logits + torch.tensor([[-1.0, 1.0]]) / math.sqrt(2)
    gap = cross_entropies(others, torch.tensor([0])) - cross_entropies(logits, torch.tensor([0]))
    bound = c.cross_entropy_gap(c.rms_distance(logits, others))
    assert gap.item() == pytest.approx(bound, rel=1e-3)


@often
@given(seeds, st.floats(-3, 3))
def test_t3_0_squared_losses_lie_within_the_gap(seed, log_size):
    f, y = normal(seed, 20, 3), normal(seed + 1, 20, 3)
    other = f + 10**log_size * normal(seed + 2, 20, 3)
    losses = [(g - y).square().sum(1).mean().item() / 2 for g in (f, other)]
    bound = c.squared_loss_gap(c.rms_distance(f, other), losses[0])
    assert abs(losses[0] - losses[1]) <= bound * (1 + 1e-9)


def test_t3_0_the_gap_of_squared_losses_is_attained_when_the_residuals_are_parallel():
    residual = normal(0, 20, 3)
    losses = [(t * residual).square().sum(1).mean().item() / 2 for t in (1.0, 1.5)]
    bound = c.squared_loss_gap(c.rms_distance(residual, 1.5 * residual), losses[0])
    assert losses[1] - losses[0] == pytest.approx(bound)


@often
@given(seeds, st.floats(-2, 1))
def test_t3_0_predictions_differ_only_where_the_margin_is_small(seed, log_size):
    logits = normal(seed, 50, 4)
    others = logits + 10**log_size * normal(seed + 1, 50, 4)
    disagree = logits.argmax(1) != others.argmax(1)
    errors = (logits - others).norm(dim=1)
    assert (c.leads(logits)[disagree] <= math.sqrt(2) * errors[disagree] + 1e-12).all()
    distance, share = c.rms_distance(logits, others), disagree.double().mean()
    assert share <= c.disagreement_bound(logits, distance) + 1e-12
    for gamma in (0.01, 0.1, 1.0):
        small = (c.leads(logits) <= gamma).double().mean()
        assert share <= small + 2 * distance**2 / gamma**2 + 1e-12
        below = (c.leads(logits) < gamma).double().mean()
        assert c.disagreement_bound(logits, distance) <= below + 2 * distance**2 / gamma**2 + 1e-12


def test_t3_0_equal_logits_agree_everywhere_even_where_two_are_tied():
    assert c.disagreement_bound(torch.tensor([[1.0, 1.0], [0.0, 3.0]]), 0.0) == 0.0
    assert c.disagreement_bound(torch.tensor([[1.0, 1.0], [0.0, 3.0]]), 1e-9) == 0.5


def test_t3_0_the_disagreement_bound_is_attained():
    logits = torch.tensor([[2.0, 0.0]] * 10, dtype=torch.float64)
    others = logits.clone()
    others[0] = torch.tensor([0.999, 1.001])  # just enough to change one prediction of ten
    assert c.disagreement_bound(logits, c.rms_distance(logits, others)) == pytest.approx(0.1, 0.01)


# --- T3.1: linear networks ---


def linear_pair(seed, widths, size):
    layers = [(w, 0 * b) for w, b in network(seed, widths)]
    others = [(w, 0 * b) for w, b in relative(layers, seed + 500, size)]
    x = normal(seed + 900, 60, widths[0]) @ normal(seed + 901, widths[0], widths[0])
    x = x - x.mean(0)
    return [w for w, _ in layers], [w for w, _ in others], x


def weight_bounds(weights, others, x):
    a, a_other, bounds = x, x, []
    for w, v in zip(weights, others, strict=True):
        f, f_other = a @ w.T, a_other @ v.T
        crosses = c.covariance(f, a), c.covariance(f_other, a_other)
        covs = c.covariance(a, a), c.covariance(a_other, a_other)
        bounds.append(c.linear_weight_bound(w, *crosses, *covs))
        a, a_other = f, f_other
    return bounds, a, a_other


@often
@given(seeds, st.floats(-4, 1), st.sampled_from([[4, 3, 2], [5, 5, 5, 5], [3, 3], [6, 4, 3, 1]]))
def test_t3_1_consistent_linear_networks_are_the_same_map(seed, log_size, widths):
    weights, others, x = linear_pair(seed, widths, 10**log_size)
    bounds, f, f_other = weight_bounds(weights, others, x)
    for w, v, bound in zip(weights, others, bounds, strict=True):
        assert torch.linalg.matrix_norm(w - v, 2) <= bound * (1 + 1e-6) + 1e-9
    maps = [
        torch.linalg.multi_dot([*reversed(ws), torch.eye(widths[0]).double()])
        for ws in (weights, others)
    ]
    difference = torch.linalg.matrix_norm(maps[0] - maps[1], 2).item()
    bound = c.linear_map_bound(weights, others, bounds)
    assert difference <= bound * (1 + 1e-6) + 1e-9
    distance = c.rms_distance(f, f_other)
    energy = c.covariance(x, x).trace().sqrt().item()
    assert distance <= bound * energy * (1 + 1e-6) + 1e-9
    target = normal(seed + 5, *f.shape)
    losses = [(g - target).square().sum(1).mean().item() / 2 for g in (f, f_other)]
    gap = c.squared_loss_gap(bound * energy, losses[0])
    assert abs(losses[0] - losses[1]) <= gap * (1 + 1e-6) + 1e-9


def test_t3_1_the_bound_on_the_weights_is_attained_by_isotropic_inputs():
    w, v, cov = normal(0, 3, 3), normal(1, 3, 3), 0.3 * torch.eye(3).double()
    bound = c.linear_weight_bound(w, w @ cov, v @ cov, cov, cov)
    assert torch.linalg.matrix_norm(w - v, 2).item() == pytest.approx(bound)


def test_t3_1_a_late_error_is_amplified_by_the_other_networks_layers_below():
    weights, others = [
        [torch.eye(2).double() * s for s in pair] for pair in ((3.0, 1.0), (4.0, 2.0))
    ]
    # |W2 W1 - V2 V1| = 5 = |W2| |W1 - V1| + |W2 - V2| |V1|: the layer below is the other's
    assert c.linear_map_bound(weights, others, [1.0, 1.0]) == pytest.approx(8.0 - 3.0)


def test_t3_1_flows_between_layers_alone_do_not_bound_the_weights():
    """W C = W~ C~ with W~ = 2 W: only the flow within the layer differs, and the bound is tight."""
    eye = torch.eye(3).double()
    assert c.linear_weight_bound(eye, eye, 2 * eye @ (eye / 2), eye, eye / 2) == pytest.approx(1.0)


@often
@given(seeds)
def test_t3_1_correlations_and_output_deviations_determine_the_map(seed):
    weights, _, x = linear_pair(seed, [5, 4, 3], 1.0)
    outputs = [x]
    for w in weights:
        outputs.append(outputs[-1] @ w.T)
    sds = [f.std(0, correction=0) for f in outputs]
    product = torch.diag(1 / sds[0])
    for f, g, s, t, w in zip(outputs, outputs[1:], sds, sds[1:], weights, strict=False):
        p, r = flows.correlation(f, g), flows.correlation(f, f)
        torch.testing.assert_close(c.weights_from_correlations(p, r, t, s), w, rtol=1e-5, atol=1e-6)
        product = torch.linalg.solve(r, p).T @ product  # no hidden deviation is used
    expected = weights[1] @ weights[0]
    torch.testing.assert_close(torch.diag(sds[-1]) @ product, expected, rtol=1e-5, atol=1e-6)


def test_t3_1_a_hidden_layer_wider_than_the_data_defeats_the_inversion():
    x = normal(0, 50, 2)
    f = x @ normal(1, 3, 2).T
    cov, r = c.covariance(f, f), flows.correlation(f, f)
    assert c.linear_weight_bound(normal(2, 1, 3), *[normal(3, 1, 3)] * 2, cov, cov) == math.inf
    with pytest.raises(ValueError, match="invertible"):
        c.weights_from_correlations(normal(2, 3, 1), r, torch.ones(1), f.std(0))


# --- T3.2: any 1-Lipschitz activation ---

depths = st.sampled_from([[4, 3], [4, 5, 3], [3, 6, 6, 2], [5, 4, 3, 2, 2]])


def gaps_and_distance(layers, others, x, activation=torch.relu):
    f, f_other = [pre_activations(net, x, activation)[-1] for net in (layers, others)]
    return c.network_gaps(layers, others, x, activation), c.rms_distance(f, f_other)


@often
@given(seeds, st.floats(-4, 1), depths, st.integers(0, 3), st.booleans())
def test_t3_2_local_errors_bound_the_outputs_and_flows_bound_the_local_errors(
    seed, log_size, widths, which, cut
):
    layers, x = network(seed, widths), 2 * normal(seed + 3, 40, widths[0]) + 1
    others = pruned(layers, seed, 0.5) if cut else relative(layers, seed + 77, 10**log_size)
    gaps, distance = gaps_and_distance(layers, others, x, ACTIVATIONS[which])
    for gap, (w, _) in zip(gaps, layers, strict=True):
        assert gap.local <= gap.bound * (1 + 1e-6) + 1e-7
        assert gap.local <= gap.strong * (1 + 1e-6) + 1e-7
        assert gap.norm == pytest.approx(np.linalg.norm(w.numpy(), 2))
    norms = [gap.norm for gap in gaps]
    local, bound = ([getattr(gap, kind) for gap in gaps] for kind in ("local", "bound"))
    assert distance <= c.unroll(norms, local) * (1 + 1e-9) + 1e-9
    assert c.unroll(norms, local) <= c.unroll(norms, bound) * (1 + 1e-6) + 1e-6


def test_t3_2_delta_and_nu_are_the_flows_of_the_statement():
    layers, x = network(0, [4, 5, 3]), normal(1, 30, 4)
    others = relative(layers, 50, 0.3)
    a, b = [pre_activations(net, x)[0].relu().numpy() for net in (layers, others)]
    f, g = [pre_activations(net, x)[1].numpy() for net in (layers, others)]
    cov = lambda u, v: np.cov(u.T, v.T, bias=True)[: u.shape[1], u.shape[1] :]  # noqa: E731
    norm = np.linalg.norm(layers[1][0].numpy(), 2)
    delta = np.linalg.norm(cov(f, a) - cov(g, b)) + norm * np.linalg.norm(cov(a, a) - cov(b, b))
    nu = np.linalg.norm((f - g).mean(0)) + norm * np.linalg.norm((a - b).mean(0))
    gap = c.network_gaps(layers, others, x)[1]
    assert gap.delta == pytest.approx(delta)
    assert gap.nu == pytest.approx(nu)
    w, v = layers[1][0], others[1][0]
    smallest = np.linalg.eigvalsh(cov(b, b))[0]
    assert (w - v).norm().item() <= gap.delta / smallest
    assert gap.strong == pytest.approx(math.sqrt(delta**2 / smallest + nu**2))


def test_t3_2_the_bound_is_attained_by_white_inputs_and_a_last_layer_that_differs():
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)), dtype=torch.float64)
    first = torch.eye(3).double(), torch.full((3,), 2.0).double()  # every ReLU is on
    layers = [first, (normal(0, 2, 3), normal(1, 2))]
    others = [first, (normal(2, 2, 3), normal(3, 2))]
    gaps, distance = gaps_and_distance(layers, others, signs)
    assert gaps[0].bound == 0
    bound = c.unroll([gap.norm for gap in gaps], [gap.bound for gap in gaps])
    assert distance == pytest.approx(bound)


def test_t3_2_an_early_error_is_amplified_by_exactly_the_layers_above_it():
    layers = [(torch.eye(2).double() * s, torch.ones(2).double()) for s in (2.0, 3.0, 5.0)]
    others = [(layers[0][0], 2 * layers[0][1]), *layers[1:]]
    gaps, distance = gaps_and_distance(
        layers, others, torch.rand(6, 2, generator=generator(0)).double()
    )
    norms, local = [gap.norm for gap in gaps], [gap.local for gap in gaps]
    assert distance == pytest.approx(3 * 5 * math.sqrt(2))
    assert c.unroll(norms, local) == pytest.approx(distance)


def test_t3_2_the_difference_of_pre_activations_is_no_local_error():
    """The layers' own distances, unrolled, count an error once for every layer above it."""
    layers = [(torch.eye(1).double(), torch.ones(1).double())] * 3
    others = [(layers[0][0], 2 * layers[0][1]), *layers[1:]]
    x = torch.ones(5, 1).double()
    gaps, distance = gaps_and_distance(layers, others, x)
    assert [gap.local for gap in gaps] == [1.0, 0.0, 0.0]
    assert distance == c.unroll([1.0] * 3, [gap.local for gap in gaps]) == 1.0
    own = [
        c.rms_distance(f, g)
        for f, g in zip(pre_activations(layers, x), pre_activations(others, x), strict=True)
    ]
    assert c.unroll([1.0] * 3, own) == 3.0


def test_t3_2_without_bounded_weights_small_flow_differences_allow_large_errors():
    """delta -> 0 while the local error stays 1: the rate needs |W - W~| or an eigenvalue."""
    for size in (1.0, 1e-2, 1e-4):
        x = torch.tensor([[-size], [size]]).double()
        zero = torch.zeros(1).double()
        (gap,) = c.network_gaps(
            [(torch.zeros(1, 1).double(), zero)], [(torch.ones(1, 1).double() / size, zero)], x
        )
        assert gap.delta == pytest.approx(size)
        assert gap.local == pytest.approx(1.0)
        assert gap.bound == pytest.approx(1.0)


# --- T3.3: the pruning floor ---


def correlated(seed, n, d):
    mixing = normal(seed, d, d)
    return normal(seed + 1, n, d) @ mixing


@often
@given(seeds, st.floats(0.1, 0.9))
def test_t3_3_no_weights_on_the_mask_come_below_the_floor(seed, share):
    w, x = normal(seed, 3, 5), correlated(seed + 2, 50, 5)
    mask = torch.rand(3, 5, generator=generator(seed)) > share
    cov = c.covariance(x, x)
    floor, lower = c.pruning_floor(w, mask, cov), c.pruning_floor_bound(w, mask, cov)
    assert lower <= floor * (1 + 1e-9) + 1e-9
    for trial in range(5):
        other = mask * (w + 10 ** (trial - 3) * normal(seed + trial, 3, 5))
        (gap,) = c.network_gaps([(w, torch.zeros(3))], [(other, torch.zeros(3))], x)
        assert gap.delta == pytest.approx(((w - other) @ cov).norm().item(), abs=1e-9)
        assert gap.delta >= floor * (1 - 1e-9) - 1e-9


def test_t3_3_the_floor_is_reached_by_least_squares():
    w, cov = normal(0, 1, 4), c.covariance(*[correlated(1, 50, 4)] * 2)
    mask = torch.tensor([[True, False, True, False]])
    best = np.linalg.lstsq(cov[:, mask[0]].numpy(), (w @ cov)[0].numpy(), rcond=None)[0]
    other = torch.zeros(1, 4).double()
    other[mask] = torch.from_numpy(best)
    assert c.pruning_floor(w, mask, cov) == pytest.approx(((w - other) @ cov).norm().item())


def test_t3_3_the_lower_bound_is_attained_by_white_inputs():
    w, mask = normal(0, 3, 4), torch.rand(3, 4, generator=generator(0)) > 0.5
    floors = [f(w, mask, 0.7 * torch.eye(4)) for f in (c.pruning_floor, c.pruning_floor_bound)]
    assert floors[0] == pytest.approx(floors[1])
    assert floors[1] == pytest.approx(0.7 * w[~mask].norm().item(), rel=1e-6)


def test_t3_3_a_duplicate_input_can_take_over_so_that_nothing_is_lost():
    x = normal(0, 100, 3)
    x = torch.cat([x, x[:, :1]], 1)
    w, mask = torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([[True, True, True, False]])
    cov = c.covariance(x, x)
    assert c.pruning_floor(w, mask, cov) < 1e-9
    assert c.pruning_floor_bound(w, mask, cov) == 0
    merged = torch.tensor([[5.0, 2.0, 3.0, 0.0]]).double()
    assert ((w - merged) @ cov).norm() < 1e-9


def test_t3_3_two_inputs_by_hand():
    for rho in (0.0, 0.5, 0.9):
        cov = torch.tensor([[1.0, rho], [rho, 1.0]]).double()
        w, mask = torch.ones(1, 2), torch.tensor([[True, False]])
        expected = (1 - rho**2) / math.sqrt(1 + rho**2)
        assert c.pruning_floor(w, mask, cov) == pytest.approx(expected)
        assert c.pruning_floor_bound(w, mask, cov) == pytest.approx(1 - rho)


@often
@given(seeds)
def test_t3_3_reference_magnitudes_minimise_the_factor_of_the_lower_bound(seed):
    w, cov = normal(seed, 1, 6), c.covariance(*[correlated(seed + 1, 50, 6)] * 2)
    bounds = {}
    for removed in itertools.combinations(range(6), 3):
        mask = torch.ones(1, 6, dtype=torch.bool)
        mask[0, list(removed)] = False
        bounds[removed] = c.pruning_floor_bound(w, mask, cov)
    smallest, magnitudes = np.linalg.eigvalsh(cov.numpy())[0], w.abs().flatten()
    assert min(bounds, key=bounds.get) == tuple(sorted(magnitudes.argsort()[:3].tolist()))
    least = smallest * math.hypot(*magnitudes.sort().values[:3].tolist())
    assert min(bounds.values()) == pytest.approx(least)


def test_t3_3_reference_magnitudes_need_not_minimise_the_floor_itself():
    cov = torch.tensor([[1.0, 0.0, 0.99], [0.0, 1.0, 0.0], [0.99, 0.0, 1.0]]).double()
    w = torch.tensor([[2.0, 1.0, 2.0]])
    by_magnitude = c.pruning_floor(w, torch.tensor([[True, False, True]]), cov)
    redundant = c.pruning_floor(w, torch.tensor([[True, True, False]]), cov)
    assert redundant < by_magnitude


# --- T3.4: Gaussian pre-activations ---


def test_t3_4_gaussian_pre_activations_identify_the_next_weights():
    x = normal(0, 200_000, 4)
    (w1, b1), (w2, b2) = network(3, [4, 3, 2])
    f1 = x @ w1.T + b1
    found = c.gaussian_weights(f1, f1.relu() @ w2.T + b2)
    assert (found - w2).norm() / w2.norm() < 0.03


def test_t3_4_the_gaussian_identity_by_quadrature():
    """Cov(relu(f), g) = P(f > 0) Cov(f, g), to the precision of a quadrature."""
    points, mass = np.polynomial.hermite_e.hermegauss(120)
    mass = mass / mass.sum()
    x, y = np.meshgrid(points, points)
    weight = np.outer(mass, mass)
    for mean, slope in ((0.0, 0.4), (0.7, -1.1), (-1.2, 2.0)):
        f, g = x + mean, slope * x + 0.3 * y
        kept = np.maximum(f, 0)
        left = (weight * kept * g).sum() - (weight * kept).sum() * (weight * g).sum()
        share_on = 0.5 * math.erfc(-mean / math.sqrt(2))
        assert left == pytest.approx(share_on * slope, abs=0.02)


def test_t3_4_other_laws_break_the_identity():
    x = torch.rand(200_000, 1, generator=generator(0)).double().pow(4) - 0.1
    found = c.gaussian_weights(x, x.relu())
    assert abs(found.item() - 1) > 0.2


def test_t3_4_a_singular_layer_hides_the_weights_even_when_it_is_gaussian():
    h = normal(0, 1000, 1)
    h = torch.cat([h, -h])  # exactly symmetric, so that the covariance below is exactly zero
    f = torch.cat([h, -h], 1)
    for t in (0.0, 1.0, -3.0):
        f_next = f.relu() @ torch.tensor([[1.0 + t], [-1.0 + t]]).double()
        torch.testing.assert_close(c.covariance(f_next, f), c.covariance(h, f), atol=1e-9, rtol=0)
        assert (f_next - h).square().mean().item() == pytest.approx(t**2 * h.square().mean().item())
    with pytest.raises(ValueError, match="invertible"):
        c.gaussian_weights(f, h)


def test_t3_4_dependent_inputs_can_still_leave_the_first_layer_nonsingular():
    """An invertible input covariance suffices but is not needed."""
    x = torch.cat([h := normal(0, 500, 1), h, normal(1, 500, 1)], 1)
    f = x @ torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).double().T
    assert torch.linalg.matrix_rank(c.covariance(x, x)) == 2
    c.gaussian_weights(f, f.relu())


# --- T3.5: the dense-sparse certificate ---


@often
@given(seeds, st.floats(-3, 3))
def test_t3_5_mean_scale_and_shape_add_up(seed, log_size):
    f = normal(seed, 30, 4) + 5
    other = f + 10**log_size * normal(seed + 1, 30, 4)
    other[:, 0] = 3.0  # dead in one network
    f[:, 1] = other[:, 1] = 1.0  # dead in both
    parts = c.dense_sparse(f, other)
    assert sum(parts) == pytest.approx(c.rms_distance(f, other) ** 2, rel=1e-9)
    assert min(parts) >= 0
    r = flows.correlation(f, other).diagonal()
    s, t = [g.std(0, correction=0) for g in (f, other)]
    expected = (2 * s * t * (1 - r)).sum().item()
    assert parts.shape == pytest.approx(expected, rel=1e-6, abs=1e-9)


@often
@given(seeds, st.floats(-3, 0.5), st.integers(0, 2))
def test_t3_5_from_any_layer_upwards_the_certificate_holds(seed, log_size, start):
    layers, x = network(seed, [4, 5, 5, 3]), normal(seed + 3, 40, 4)
    others = relative(layers, seed + 77, 10**log_size)
    gaps, distance = gaps_and_distance(layers, others, x)
    f, f_other = [pre_activations(net, x)[start] for net in (layers, others)]
    errors = [0.0] * start + [math.sqrt(sum(c.dense_sparse(f, f_other)))]
    errors += [gap.local for gap in gaps[start + 1 :]]
    assert distance <= c.unroll([gap.norm for gap in gaps], errors) * (1 + 1e-6) + 1e-7


# --- T3.6: continuity ---


def flow_of(*layers):
    return flows.information_flow(dict(zip("abcdef", layers, strict=False)))


def mean_units(f):
    return (flows.correlation(f, f).mean()).clamp_min(0).sqrt().item()


@often
@given(seeds, st.floats(-4, 2), st.booleans())
def test_t3_6_the_flow_moves_no_more_than_the_units(seed, log_size, deaths):
    f, g = normal(seed, 25, 4), normal(seed + 1, 25, 3)
    f2, g2 = [h + 10**log_size * normal(seed + 2, *h.shape) for h in (f, g)]
    if deaths:
        f[:, 0], f2[:, 1], g[:, 2], g2[:, 2] = 1.0, 2.0, 0.0, 5.0
    moved = (flow_of(f, g) - flow_of(f2, g2)).abs().item()
    assert moved <= c.unit_distance(f, f2) + c.unit_distance(g, g2) + 1e-7
    averages = [flows._standardise(h).mean(1) for h in (f, g, f2, g2)]
    rms = lambda h: h.square().mean().sqrt().item()  # noqa: E731
    sharper = rms(averages[0] - averages[2]) * mean_units(g)
    sharper += mean_units(f2) * rms(averages[1] - averages[3])
    assert moved <= sharper + 1e-7
    assert rms(averages[0] - averages[2]) <= c.unit_distance(f, f2) + 1e-7


@often
@given(seeds, st.floats(-3, 3), st.floats(-3, 3))
def test_t3_6_correlation_is_bounded_by_the_distance_of_centred_units(seed, log_scale, log_size):
    f = normal(seed, 25, 1)
    other = 10**log_scale * f + 10**log_size * normal(seed + 1, 25, 1)
    centred = [h - h.mean(0) for h in (f, other)]
    s, s_other = [h.square().mean().sqrt().item() for h in centred]
    distance = c.rms_distance(*centred)
    middle = 2 * distance / (s + s_other)
    assert c.unit_distance(f, other) <= middle * (1 + 1e-9) + 1e-7
    assert middle <= 2 * distance / s * (1 + 1e-9)


def test_t3_6_the_bound_is_attained_by_a_unit_that_turns_round():
    f = normal(0, 25, 1)
    assert (flow_of(f, f) - flow_of(-f, f)).abs().item() == pytest.approx(2.0)
    assert c.unit_distance(f, -f) + c.unit_distance(f, f) == pytest.approx(2.0, abs=1e-6)


def test_t3_6_a_unit_dead_in_both_networks_counts_nothing_and_in_one_sqrt_two():
    alive, dead = normal(0, 25, 1), torch.ones(25, 1).double()
    assert c.unit_distance(dead, 7 * dead) == 0
    assert c.unit_distance(dead, alive) == pytest.approx(math.sqrt(2))


def dead_end(layers, unit=0):
    """The same network with the outgoing weights of one hidden unit removed."""
    (w1, b1), (w2, b2), *rest = [(w.clone(), b.clone()) for w, b in layers]
    w2[:, unit] = 0
    return [(w1, b1), (w2, b2), *rest]


def test_t3_6_equal_outputs_do_not_make_equal_flows():
    layers, x = dead_end(network(0, [4, 5, 3])), normal(1, 200, 4)
    others = copy.deepcopy(layers)
    others[0][0][0] *= -1  # only the unit that leads nowhere
    f, g = pre_activations(layers, x), pre_activations(others, x)
    assert torch.equal(f[1], g[1])
    assert (flow_of(*f) - flow_of(*g)).norm() > 0.1 * flow_of(*f).norm()


def test_t3_6_for_tanh_a_sign_can_move_through_the_network_and_change_the_flow():
    layers, x = network(0, [4, 5, 3]), normal(1, 200, 4)
    others = copy.deepcopy(layers)
    others[0][0][0] *= -1
    others[0][1][0] *= -1
    others[1][0][:, 0] *= -1
    f, g = [pre_activations(net, x, torch.tanh) for net in (layers, others)]
    torch.testing.assert_close(f[1], g[1])
    assert (flow_of(*f) - flow_of(*g)).abs().max() > 0.01


@often
@given(seeds)
def test_t3_6_relu_symmetries_leave_the_flow_alone_and_the_flow_is_continuous(seed):
    layers, x = network(seed, [4, 5, 3]), normal(seed + 1, 100, 4)
    scales = normal(seed + 2, 5).exp()
    order = torch.randperm(5, generator=generator(seed))
    (w1, b1), (w2, b2) = layers
    moved = [((scales[:, None] * w1)[order], (scales * b1)[order]), ((w2 / scales)[:, order], b2)]
    f, g = pre_activations(layers, x), pre_activations(moved, x)
    torch.testing.assert_close(f[1], g[1])
    torch.testing.assert_close(flow_of(*f), flow_of(*g))
    if min(h.std(0).min() for h in f) > 0.01:
        near = pre_activations(relative(moved, seed + 9, 1e-7), x)
        assert (flow_of(*f) - flow_of(*near)).abs().max() < 1e-3


# --- T3.7: counterexamples ---


def test_t3_7_one_flow_belongs_to_perfect_useless_and_opposite_networks():
    h = normal(0, 100_000, 1)
    losses = []
    for v in ([1.0, -1.0], [-1.0, 1.0], [1.0, 0.0]):
        f1 = torch.cat([h, -h], 1)
        f2 = f1.relu() @ torch.tensor([v]).double().T
        assert flow_of(f1, f2).abs().item() < 1e-12
        losses.append((f2 - h).square().mean().item())
    assert losses[0] == 0
    assert losses[1] == pytest.approx(4, rel=0.05)
    assert losses[2] == pytest.approx(0.5, rel=0.05)


def linear_cka(a, b):
    cov = c.covariance
    return (cov(a, b).square().sum() / (cov(a, a).norm() * cov(b, b).norm())).item()


@often
@given(seeds)
def test_t3_7_no_permutation_invariant_flow_sees_the_classes_change_places(seed):
    layers, x = network(seed, [4, 6, 5]), normal(seed + 1, 200, 4)
    shift = 1 + seed % 4
    f1, f2 = pre_activations(layers, x)
    moved = [layers[0], tuple(p.roll(shift, 0) for p in layers[1])]
    f2_moved = pre_activations(moved, x)[1]
    for summary in flows.SUMMARIES:
        flow, other = [flows.information_flow({"a": f1, "b": f}, summary) for f in (f2, f2_moved)]
        torch.testing.assert_close(flow, other)
    assert linear_cka(f1, f2) == pytest.approx(linear_cka(f1, f2_moved))
    y = f2.argmax(1)  # the labels that the first network gets all right
    assert (f2_moved.argmax(1) != y).all()
    (_, gap) = c.network_gaps(layers, moved, x)
    assert gap.delta > 0  # the full covariances do see it


def toy(seed=0, widths=(3, 6, 5, 4)):
    torch.manual_seed(seed)
    layers = [nn.Linear(n, m) for n, m in itertools.pairwise(widths)]
    return nn.Sequential(*[m for layer in layers for m in (layer, nn.ReLU())][:-1]).double()


def outputs_of(model, x, theta):
    values, at = {}, 0
    for name, p in model.named_parameters():
        values[name] = theta[at : at + p.numel()].view_as(p)
        at += p.numel()
    layers = list(zip(*[iter(values.values())] * 2, strict=True))
    return pre_activations(layers, x)


@pytest.mark.parametrize(
    ("rows", "gradient", "left"),
    [
        ([[0.0, 0.0]], [1.0, 2.0], [1.0, 2.0]),  # a dead layer has a zero row
        ([[0.0, 1.0, 0.0]] * 2, [1.0, 2.0, 3.0], [1.0, 0.0, 3.0]),  # twice the same
        ([[0.0, 1.0], [0.0, 0.0]], [1.0, 2.0], [1.0, 0.0]),
        ([[1e-20, 0.0, 0.0], [0.0, 1e10, 0.0]], [1.0, 2.0, 3.0], [0.0, 0.0, 3.0]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_t3_7_the_tangent_part_is_orthogonal_to_rows_of_any_rank_and_scale(
    rows, gradient, left, dtype
):
    found = c.tangent(torch.tensor(gradient, dtype=dtype), torch.tensor(rows, dtype=dtype))
    torch.testing.assert_close(found, torch.tensor(left, dtype=dtype))


def test_t3_7_the_loss_can_be_moved_while_the_flow_stands_still():
    model, x = toy(), normal(0, 100, 3)
    y = torch.arange(100) % 4
    theta = nn.utils.parameters_to_vector(model.parameters()).detach()

    def flow(theta):
        return c.connectivities(outputs_of(model, x, theta))

    def loss(theta):
        return functional.cross_entropy(outputs_of(model, x, theta)[-1], y)

    start, loss_start = flow(theta), loss(theta).item()
    torch.testing.assert_close(start, flow_of(*outputs_of(model, x, theta)))
    for _ in range(60):
        jacobian = torch.autograd.functional.jacobian(flow, theta)
        assert torch.linalg.matrix_rank(jacobian) == 2
        direction = c.tangent(torch.autograd.functional.jacobian(loss, theta), jacobian)
        assert (jacobian @ direction).norm() < 1e-9 * jacobian.norm()
        assert direction.norm() > 0
        theta = theta + 0.1 * direction / direction.norm()
        for _ in range(3):  # Newton, back to the level set
            jacobian = torch.autograd.functional.jacobian(flow, theta)
            theta = theta - torch.linalg.lstsq(jacobian, flow(theta) - start).solution
    assert (flow(theta) - start).norm() < 1e-6
    assert loss(theta).item() > 2 * loss_start


def test_t3_7_the_differentiable_flow_has_the_gradient_of_the_flow():
    f, g = normal(0, 20, 3), normal(1, 20, 2)
    f.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: c.connectivities([f, g]), f)


def test_t3_7_a_dead_unit_counts_nothing_in_the_differentiable_flow():
    f, g = normal(0, 20, 3), normal(1, 20, 2)
    f[:, 1] = 0.1
    f.requires_grad_()
    flow = c.connectivities([f, g])
    torch.testing.assert_close(flow.detach(), flow_of(f, g))
    (gradient,) = torch.autograd.grad(flow.sum(), f)
    assert torch.isfinite(gradient).all()
    assert (gradient[:, 1] == 0).all()


# --- T3.8: convolutions ---


def conv_net(seed, padding_mode="zeros", stride=1, bias=True):
    torch.manual_seed(seed)
    options = {"padding": 1, "padding_mode": padding_mode, "bias": bias}
    convs = [
        nn.Conv2d(2, 3, 3, **options),
        nn.Conv2d(3, 4, 3, stride=stride, **options),
        nn.Conv2d(4, 2, 3, **options),
    ]
    return [conv.double() for conv in convs]


def maps_of(convs, x):
    maps = [x]
    for i, conv in enumerate(convs):
        maps.append(conv(maps[-1].relu() if i else x))
    return maps


@torch.no_grad()
def test_t3_8_c1_spatial_averages_see_only_the_sums_of_the_kernels():
    conv = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular").double()
    summed = copy.deepcopy(conv)
    summed.weight.zero_()
    summed.weight[:, :, 1, 1] = conv.weight.sum((2, 3))
    x = normal(0, 20, 2, 6, 6)
    f, g = conv(x), summed(x)
    torch.testing.assert_close(f.mean((2, 3)), g.mean((2, 3)))
    assert c.rms_distance(f, g) > 0.3 * c.rms_distance(f, 0 * f)


@torch.no_grad()
def test_t3_8_c1_a_zero_sum_kernel_is_dead_for_the_probe_and_alive_in_the_network():
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular").double()
    conv.weight -= conv.weight.mean()
    maps = conv(normal(0, 20, 1, 6, 6))
    assert maps.mean((1, 2, 3)).std() < 1e-12
    assert maps.std() > 0.1


@torch.no_grad()
def test_t3_8_c1_two_networks_with_one_joint_law_of_averages_differ():
    conv = nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular").double()
    x = normal(0, 10, 1, 5, 5)
    shifts = itertools.product(range(5), repeat=2)
    x = torch.cat([x.roll(shift, (2, 3)) for shift in shifts])  # a law that shifts leave alone
    a = conv(x).relu()
    f, f_other = a[:, 0, 0, 0], a[:, 0, 2, 3]
    averages = torch.cat([x.mean((2, 3)), conv(x).mean((2, 3)), a.mean((2, 3))], 1)
    rows = [torch.cat([averages, g[:, None]], 1).round(decimals=9) for g in (f, f_other)]
    rows = [torch.stack(sorted(row, key=lambda r: tuple(r.tolist()))) for row in rows]
    torch.testing.assert_close(rows[0], rows[1], atol=1e-7, rtol=0)
    r = flows.correlation(f[:, None], f_other[:, None]).item()
    expected = 2 * f.var(correction=0) * (1 - r)
    assert (f - f_other).square().mean().item() == pytest.approx(expected.item())
    assert expected > 0.01


@settings(deadline=None, derandomize=True, max_examples=25)
@given(seeds, st.floats(-3, 0.5), st.sampled_from(["zeros", "circular"]), st.booleans())
@torch.no_grad()
def test_t3_8_c2_patch_moments_bound_the_error_of_convolutions(seed, log_size, mode, bias):
    convs, x = conv_net(seed, mode, stride=2 if mode == "zeros" else 1, bias=bias), None
    x = normal(seed, 12, 2, 6, 6)
    others = copy.deepcopy(convs)
    for i, conv in enumerate(others):
        conv.weight += 10**log_size * normal(seed + i, *conv.weight.shape)
    maps, maps_other = maps_of(convs, x), maps_of(others, x)
    inputs = [[m.relu() if i else m for i, m in enumerate(ms)] for ms in (maps, maps_other)]
    gaps = [
        convolutions.kernel_gap(*four)
        for four in zip(convs, others, *[i[:-1] for i in inputs], strict=True)
    ]
    for conv, other, gap, a in zip(convs, others, gaps, inputs[1], strict=False):
        assert gap.local == pytest.approx(c.rms_distance(conv(a), other(a)), rel=1e-6)
        assert gap.local <= gap.bound * (1 + 1e-6) + 1e-7
        assert gap.local <= gap.strong * (1 + 1e-6) + 1e-7
    bound = c.unroll([gap.norm for gap in gaps], [gap.bound for gap in gaps])
    assert c.rms_distance(maps[-1], maps_other[-1]) <= bound * (1 + 1e-6)


def test_t3_8_c2_a_fully_connected_layer_is_the_case_of_one_position():
    conv, other = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 2, 1)
    x = normal(0, 40, 3)
    gap = convolutions.kernel_gap(conv, other, x[:, :, None, None], x[:, :, None, None])
    (full,) = c.network_gaps(
        [(conv.weight.flatten(1), conv.bias)], [(other.weight.flatten(1), other.bias)], x
    )
    assert gap.local == pytest.approx(full.local, rel=1e-5)


def test_t3_8_c2_delta_compares_the_moments_of_the_statement():
    conv, other = nn.Conv2d(2, 3, 1).double(), nn.Conv2d(2, 3, 1).double()
    maps, maps_other = normal(0, 10, 2, 3, 3), normal(1, 10, 2, 3, 3)
    moments = []
    for net, a in ((conv, maps), (other, maps_other)):
        rows = a.permute(0, 2, 3, 1).reshape(-1, 2).numpy()
        rows = np.hstack([rows, np.ones((len(rows), 1))])
        k = np.hstack([net.weight.detach().flatten(1).numpy(), net.bias.detach()[:, None].numpy()])
        moments.append((k, rows.T @ rows / 10, k @ rows.T @ rows / 10))
    (k, s, t), (k_other, s_other, t_other) = moments
    delta = np.linalg.norm(t - t_other) + np.linalg.norm(k, 2) * np.linalg.norm(s - s_other)
    gap = convolutions.kernel_gap(conv, other, maps, maps_other)
    assert gap.delta == pytest.approx(delta)
    assert gap.bound == pytest.approx(math.sqrt(delta * np.linalg.norm(k - k_other)))


def operator_norm(conv, size):
    """The largest singular value, from the matrix of the whole convolution."""
    basis = (
        torch.eye(conv.in_channels * size * size).double().view(-1, conv.in_channels, size, size)
    )
    with torch.no_grad():
        bias = 0 if conv.bias is None else conv.bias[:, None, None]
        return torch.linalg.matrix_norm((conv(basis) - bias).flatten(1), 2).item()


@settings(deadline=None, derandomize=True, max_examples=25)
@given(seeds, st.sampled_from([(1, 1), (2, 1), (3, 1), (3, 2), (2, 2), (3, 3), (5, 2)]))
def test_t3_8_c2_the_kernel_bounds_the_operator(seed, sizes):
    torch.manual_seed(seed)
    size, stride = sizes
    conv = nn.Conv2d(2, 2, size, stride=stride, padding=size // 2).double()
    assert operator_norm(conv, 7) <= convolutions.conv_norm_bound(conv) + 1e-9
    if stride == 1 and size % 2:
        conv.padding_mode, conv._reversed_padding_repeated_twice = "circular", [size // 2] * 4
        assert operator_norm(conv, 7) <= convolutions.conv_norm_bound(conv) + 1e-9


def test_t3_8_c2_the_norm_of_the_kernel_matrix_alone_is_no_bound():
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", bias=False).double()
    nn.init.ones_(conv.weight)
    assert torch.linalg.matrix_norm(
        convolutions.kernel_matrix(conv)[:, :-1], 2
    ).item() == pytest.approx(3)
    assert operator_norm(conv, 5) == pytest.approx(9) == convolutions.conv_norm_bound(conv)


@pytest.mark.parametrize("stride", [1, 2])
def test_t3_8_c2_circular_padding_of_another_size_breaks_the_count_of_patches(stride):
    """A pixel can lie in more windows than size/stride suggests; the library refuses."""
    options = {"stride": stride, "padding": 2, "padding_mode": "circular", "bias": False}
    conv = nn.Conv2d(1, 1, 2, **options).double()
    nn.init.ones_(conv.weight)
    kernel = torch.linalg.matrix_norm(convolutions.kernel_matrix(conv)[:, :-1], 2).item()
    assert operator_norm(conv, 5) > 1.05 * math.ceil(2 / stride) * kernel
    with pytest.raises(ValueError, match="keeps the size"):
        convolutions.conv_norm_bound(conv)


@torch.no_grad()
def test_t3_8_c1_circular_padding_that_enlarges_the_map_sees_more_than_the_sums():
    """C1 needs maps that keep their size: here the pixels at the seam are met twice."""
    conv = nn.Conv2d(1, 1, 2, padding=1, padding_mode="circular", bias=False).double()
    conv.weight.copy_(torch.tensor([[[[1.0, 0.0], [0.0, -1.0]]]]))  # sums to zero
    x = torch.zeros(2, 1, 3, 3).double()
    x[1, 0, 0, 0] = 1.0
    averages = conv(x).mean((1, 2, 3))
    assert conv(x).shape[-1] == 4
    x[1, 0, 0, 0], x[1, 0, 0, 2] = 0.0, 1.0
    assert averages.abs().max() > 0.01 or conv(x).mean((1, 2, 3)).abs().max() > 0.01


@settings(deadline=None, derandomize=True, max_examples=30)
@given(seeds, st.sampled_from([(2, 2), (3, 2), (2, 1), (3, 1), (3, 3), (2, 3)]))
def test_t3_8_c3_pools_are_lipschitz(seed, sizes):
    x = normal(seed, 20, 1, 7, 7)
    y = x + (
        normal(seed + 1, 20, 1, 7, 7) if seed % 2 else 10 * torch.eye(49)[:20].view(20, 1, 7, 7)
    )
    pools = {"max": functional.max_pool2d, "average": functional.avg_pool2d}
    for kind, pool in pools.items():
        moved = (pool(x, *sizes) - pool(y, *sizes)).flatten(1).norm(dim=1)
        limit = convolutions.pool_lipschitz(kind, *sizes) * (x - y).flatten(1).norm(dim=1)
        assert (moved <= limit + 1e-9).all()


def test_t3_8_c3_overlapping_max_pools_double_a_difference():
    x, y = torch.zeros(1, 1, 7, 7), torch.zeros(1, 1, 7, 7)
    y[0, 0, 2, 2] = 1.0  # the maximum of four windows
    gain = (functional.max_pool2d(y, 3, 2) - functional.max_pool2d(x, 3, 2)).norm().item()
    assert gain == convolutions.pool_lipschitz("max", 3, 2) == 2


@pytest.mark.parametrize("size", [2, 3, 6])
def test_t3_8_c3_an_average_over_windows_that_do_not_overlap_attains_its_constant(size):
    flat = torch.ones(1, 1, 6, 6).double()
    gain = (functional.avg_pool2d(flat, size).norm() / flat.norm()).item()
    assert gain == pytest.approx(convolutions.pool_lipschitz("average", size, size))


def test_t3_8_c3_averages_that_leave_the_padding_out_exceed_the_constant():
    y = torch.zeros(1, 1, 4, 4).double()
    y[0, 0, :2, :2] = 0.5  # all of the first window that is not padding; of norm 1
    counted = functional.avg_pool2d(y, 3, 3, 1).norm().item()
    left_out = functional.avg_pool2d(y, 3, 3, 1, count_include_pad=False).norm().item()
    assert counted <= convolutions.pool_lipschitz("average", 3, 3) + 1e-12 < left_out


def test_t3_8_c3_the_global_average_shrinks_by_the_root_of_the_positions():
    x = normal(0, 20, 3, 4, 4)
    assert (x.mean((2, 3)).norm(dim=1) <= x.flatten(1).norm(dim=1) / 4 + 1e-12).all()
    ones = torch.ones(1, 1, 4, 4).double()
    assert ones.mean((2, 3)).norm().item() == pytest.approx(ones.norm().item() / 4)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(seeds, st.floats(-3, 0.5))
@torch.no_grad()
def test_t3_8_c3_a_residual_block_adds_its_branches(seed, log_size):
    x, x_other = normal(seed, 10, 2, 5, 5), normal(seed + 1, 10, 2, 5, 5)
    torch.manual_seed(seed)
    block = [nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 2, 3, padding=1), nn.Conv2d(2, 2, 1)]
    block = [conv.double() for conv in block]
    other = copy.deepcopy(block)
    for conv in other:
        conv.weight += 10**log_size * torch.randn_like(conv.weight)

    def forward(net, x):
        return net[1](net[0](x).relu()) + net[2](x)

    norms = [operator_norm(conv, 5) for conv in block]
    first = convolutions.kernel_gap(block[0], other[0], x_other, x_other).local
    hidden = other[0](x_other).relu()
    second = convolutions.kernel_gap(block[1], other[1], hidden, hidden).local
    shortcut = convolutions.kernel_gap(block[2], other[2], x_other, x_other).local
    local = norms[1] * first + second + shortcut
    factor = norms[2] + norms[1] * norms[0]
    distance = c.rms_distance(forward(block, x), forward(other, x_other))
    assert distance <= factor * c.rms_distance(x, x_other) + local + 1e-9
    assert c.rms_distance(forward(block, x_other), forward(other, x_other)) <= local + 1e-9


@torch.no_grad()
def test_t3_8_c3_batch_norm_in_eval_mode_folds_into_the_kernel():
    conv, bn = nn.Conv2d(2, 3, 3, padding=1, bias=False).double(), nn.BatchNorm2d(3).double()
    bn.running_mean.copy_(normal(0, 3))
    bn.running_var.copy_(normal(1, 3).exp())
    bn.weight.copy_(normal(2, 3))
    bn.bias.copy_(normal(3, 3))
    bn.eval()
    folded = nn.Conv2d(2, 3, 3, padding=1).double()
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    conv.weight[0, 0, 0, 0] = 0  # a removed weight stays removed
    folded.weight.copy_(conv.weight * scale[:, None, None, None])
    folded.bias.copy_(bn.bias - bn.running_mean * scale)
    x = normal(4, 6, 2, 5, 5)
    torch.testing.assert_close(bn(conv(x)), folded(x))
    assert torch.equal(folded.weight == 0, conv.weight == 0)
    bn.train()
    assert not torch.allclose(bn(conv(x))[:1], bn(conv(x[:1])))  # depends on the batch


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: c.rms_distance(torch.ones(2, 1), torch.ones(3, 1)), "alike"),
        (lambda: c.rms_distance(torch.ones(0, 1), torch.ones(0, 1)), "alike"),
        (lambda: c.cross_entropy_gap(-1.0), "0 or more"),
        (lambda: c.squared_loss_gap(1.0, math.nan), "0 or more"),
        (lambda: c.leads(torch.ones(3, 1)), "class"),
        (lambda: c.covariance(torch.ones(3, 1), torch.ones(2, 1)), "samples"),
        (lambda: c.pruning_floor(torch.ones(1, 2), torch.ones(1, 2).bool(), torch.eye(3)), "cov"),
        (lambda: c.connectivities([torch.ones(3, 1)]), "two layers"),
        (lambda: c.unroll([1.0], [1.0, 2.0]), "zip"),
        (
            lambda: convolutions.patches(nn.Conv2d(2, 2, 3, groups=2), torch.ones(1, 2, 4, 4)),
            "group",
        ),
        (lambda: convolutions.conv_norm_bound(nn.Conv2d(1, 1, 3, dilation=2)), "dilation"),
        (
            lambda: convolutions.patches(
                nn.Conv2d(1, 1, 3, padding_mode="reflect"), torch.ones(1, 1, 4, 4)
            ),
            "padding",
        ),
        (lambda: convolutions.pool_lipschitz("min", 2, 2), "pooling"),
    ],
)
def test_bad_input_gets_one_clear_line(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call()
