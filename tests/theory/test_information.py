"""T2, information flow: each test would fail if the statement in its name were false."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from infcop_lite import flows
from infcop_lite.theory import information as info

property_test = settings(deadline=None, derandomize=True, max_examples=50)
seeds = st.integers(0, 2**31)
widths = st.integers(1, 6)


def draw(seed):
    return torch.Generator().manual_seed(seed)


def normal(seed, *shape):
    return torch.randn(*shape, generator=draw(seed), dtype=torch.float64)


def random_covariance(seed, size, spread=1.0):
    """A nonsingular covariance with units of very different scale."""
    root = normal(seed, size, size + 2)
    scale = torch.exp(spread * normal(seed + 1, size))
    return scale[:, None] * (root @ root.T) * scale


def correlations_of(covariance):
    sd = covariance.diagonal().sqrt()
    return covariance / sd[:, None] / sd


def blocks(matrix, d):
    return matrix[:d, :d], matrix[:d, d:], matrix[d:, d:]


def pair(a, b):
    return {"a": a, "b": b}


def random_layers(seed, d, d_next, n=40):
    """Skewed, correlated units, some of them dead, some flipped."""
    a = normal(seed, n, d) @ normal(seed + 1, d, d)
    b = a.relu() @ normal(seed + 2, d, d_next) + 0.3 * normal(seed + 3, n, d_next).exp()
    if seed % 3 == 0:
        a[:, 0] = 2.5
    return pair(a, b)


# --- T2.1: Gaussian layers ---


@property_test
@given(seeds, widths, widths)
def test_t2_1_canonical_correlations_give_the_difference_of_entropies(seed, d, d_next):
    covariance = random_covariance(seed, d + d_next)
    logdets = [m.logdet() for m in (*blocks(covariance, d)[::2], covariance)]
    by_entropies = 0.5 * (logdets[0] + logdets[1] - logdets[2])
    kappa = info.canonical_correlations(*blocks(covariance, d))
    assert info.gaussian_mutual_information(kappa) == pytest.approx(by_entropies.item(), rel=1e-6)


@pytest.mark.parametrize(("large", "small"), [(1.0, 1e-14), (1e8, 1e-8), (1e-200, 1e200)])
def test_t2_1_no_unit_is_lost_because_another_has_a_larger_scale(large, small):
    sd = torch.tensor([large, small], dtype=torch.float64).sqrt()
    p = (0.5 * sd)[:, None]  # both units correlate 1/2 with the next
    kappa = info.canonical_correlations(torch.diag(sd.square()), p, torch.ones(1, 1))
    assert kappa.item() == pytest.approx(math.sqrt(0.5))
    dead = info.canonical_correlations(
        torch.diag(torch.tensor([1.0, 0.0])), p * 0, torch.ones(1, 1)
    )
    assert dead.item() == 0


@property_test
@given(seeds, widths, widths)
def test_t2_1_correlations_and_covariances_have_the_same_canonical_correlations(seed, d, d_next):
    covariance = random_covariance(seed, d + d_next)
    of_covariance = info.canonical_correlations(*blocks(covariance, d))
    of_correlation = info.canonical_correlations(*blocks(correlations_of(covariance), d))
    assert torch.allclose(of_covariance, of_correlation, atol=1e-7)


def test_t2_1_the_two_whitened_matrices_themselves_differ():
    covariance = random_covariance(0, 10)
    whitened = []
    for matrix in (covariance, correlations_of(covariance)):
        r, p, r_next = blocks(matrix, 5)
        whitened.append(info._inverse_root(r) @ p @ info._inverse_root(r_next))
    assert (whitened[0] - whitened[1]).abs().max() > 0.01


def test_t2_1_the_unwhitened_matrix_is_no_substitute():
    h, noise = normal(0, 4000, 1), normal(1, 4000, 12)
    f = h + 0.3 * noise
    a, b = f[:, :6], f[:, 6:]
    p, r, r_next = flows.correlation(a, b), flows.correlation(a, a), flows.correlation(b, b)
    norm = torch.linalg.matrix_norm(p, 2)
    assert 1 < norm <= (torch.linalg.matrix_norm(r, 2) * torch.linalg.matrix_norm(r_next, 2)).sqrt()
    assert torch.linalg.det(torch.eye(6) - p.T @ p) < 0
    assert info.canonical_correlations(r, p, r_next).max() < 1


def test_t2_1_the_library_measures_the_same_mutual_information():
    layers = random_layers(1, 3, 4, n=200)
    a, b = layers.values()
    own = info.canonical_correlations(*(flows.correlation(*ab) for ab in ((a, a), (a, b), (b, b))))
    measured = flows.information_flow(layers, "mutual-information").item()
    assert info.gaussian_mutual_information(own) == pytest.approx(measured, rel=1e-6)


def test_t2_1_a_dead_unit_carries_nothing():
    r = torch.diag(torch.tensor([1.0, 0.0]))
    kappa = info.canonical_correlations(r, torch.tensor([[0.6], [0.0]]), torch.ones(1, 1))
    assert torch.allclose(kappa, torch.tensor([0.6], dtype=torch.float64))


# --- T2.2: what is true without the Gaussian assumption ---


def log_normal_pair(rho, s):
    """(I, I_G, J(X), J(X, Y)) of (exp(s U), exp(s V)), (U, V) Gaussian with correlation rho."""
    variance = math.exp(s**2) * math.expm1(s**2)
    corr = math.expm1(rho * s**2) / math.expm1(s**2)
    entropy = 0.5 * math.log(2 * math.pi * math.e * s**2)  # the mean of the logarithm is 0
    joint = 2 * entropy + 0.5 * math.log(1 - rho**2)
    of_gaussian = 0.5 * math.log(2 * math.pi * math.e * variance)
    joint_of_gaussian = 2 * of_gaussian + 0.5 * math.log(1 - corr**2)
    truth, g = info.gaussian_mutual_information(rho), info.gaussian_mutual_information(corr)
    return truth, g, of_gaussian - entropy, joint_of_gaussian - joint


@property_test
@given(st.floats(-0.95, 0.95), st.floats(0.1, 1.5))
def test_t2_2a_mutual_information_is_the_gaussian_part_plus_negentropies(rho, s):
    truth, gaussian, single, joint = log_normal_pair(rho, s)
    assert min(single, joint) >= 0
    assert truth == pytest.approx(gaussian + joint - 2 * single, abs=1e-9)


@property_test
@given(st.floats(-0.95, 0.95), st.floats(0.1, 1.5))
def test_t2_2b_the_gaussian_value_less_the_smaller_negentropy_is_a_bound(rho, s):
    truth, gaussian, single, _ = log_normal_pair(rho, s)
    assert truth >= gaussian - single - 1e-12


def quantised_channel(seed, bins, letters, noise, best=True):
    """Exact (I, I_G) of a Gaussian X and a discrete Y that sees only the bin that X fell into."""
    generator = np.random.default_rng(seed)
    edges = np.concatenate([[-np.inf], np.sort(generator.normal(size=bins - 1)), [np.inf]])
    mass, first = np.diff(stats.norm.cdf(edges)), -np.diff(stats.norm.pdf(edges))  # P, E[X; bin]
    channel = (1 - noise) * np.eye(bins)[:, generator.permutation(max(bins, letters)) % bins]
    channel = channel[:, :letters] + 1e-3 + noise * generator.random((bins, letters))
    channel /= channel.sum(1, keepdims=True)
    joint = mass[:, None] * channel
    p_y, x_y = joint.sum(0), first @ channel
    values = x_y / p_y if best else generator.normal(size=letters)
    var = p_y @ values**2 - (p_y @ values) ** 2
    rho = (x_y @ values) / np.sqrt(var)
    truth = (joint * np.log(joint / (mass[:, None] * p_y))).sum()
    return truth, info.gaussian_mutual_information(min(float(rho), 1.0))


@property_test
@given(seeds, st.integers(2, 40), st.integers(2, 40), st.floats(0, 1), st.booleans())
def test_t2_2b_one_gaussian_side_makes_correlation_a_lower_bound(seed, bins, letters, noise, best):
    truth, gaussian = quantised_channel(seed, bins, letters, noise, best)
    assert truth >= gaussian - 1e-12


def test_t2_2b_the_sign_of_a_gaussian():
    gaussian = info.gaussian_mutual_information(math.sqrt(2 / math.pi))
    assert gaussian == pytest.approx(0.5061, abs=1e-4)
    assert math.log(2) >= gaussian


def test_t2_2b_gaussian_coordinates_are_not_enough():
    # X_i = B |N_i| is N(0, 1) for each i, Y = B: I = log 2 nats, whatever the number of copies
    rho = 2 / math.pi
    values = []
    for copies in (1, 2, 20):
        r = torch.full((copies, copies), rho).fill_diagonal_(1)
        p = torch.full((copies, 1), math.sqrt(rho))
        kappa = info.canonical_correlations(r, p, torch.ones(1, 1))
        values.append(info.gaussian_mutual_information(kappa))
    assert values[0] < math.log(2) < values[1] < values[2]


def test_t2_2c_second_moments_alone_bound_nothing():
    s = 0.1
    rho = 1 / (1 + s**2)  # of B + s N and B + s N', while I <= H(B) = log 2
    assert info.gaussian_mutual_information(rho) == pytest.approx(1.963, abs=1e-3)
    assert info.gaussian_mutual_information(rho) > math.log(2)
    x, weights = np.polynomial.hermite_e.hermegauss(20)
    assert abs(weights @ (x * x**2)) < 1e-9  # Y = X^2 is uncorrelated with X


def discrete_information(a, b):
    """The mutual information of the empirical law of rows, in nats."""
    (x, y), n = (torch.unique(f, dim=0, return_inverse=True)[1] for f in (a, b)), len(a)
    joint = torch.zeros(int(x.max()) + 1, int(y.max()) + 1, dtype=torch.float64)
    joint.index_put_((x, y), torch.full((n,), 1 / n, dtype=torch.float64), accumulate=True)
    ratio = joint / (joint.sum(1, keepdim=True) * joint.sum(0))
    return (joint[joint > 0] * ratio[joint > 0].log()).sum().item()


@pytest.mark.parametrize("n", [8, 64])
def test_t2_2d_a_deterministic_layer_tells_the_entropy_of_its_output(n):
    f = normal(0, n, 3)
    w = normal(1, 3, 2)
    assert discrete_information(f, f.relu() @ w + 1) <= math.log(n) + 1e-12
    assert discrete_information(f, f @ w) == pytest.approx(math.log(n))  # all outputs distinct
    assert discrete_information(f, 0 * f @ w) == pytest.approx(0)
    coarse = (f @ w > 0).double()
    p = torch.unique(coarse, dim=0, return_counts=True)[1] / n
    assert discrete_information(f, coarse) == pytest.approx(-(p * p.log()).sum().item())


def test_t2_2d_an_averaged_map_is_no_function_of_the_averages_before():
    net = nn.Sequential(
        nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(), nn.Conv2d(1, 1, 1, bias=False)
    ).double()
    for parameter in net.parameters():
        nn.init.ones_(parameter)
    maps = torch.tensor([[1.0, 1.0], [3.0, -1.0]]).double().reshape(2, 1, 1, 2)
    first, second = flows.collect_activations(net, maps).values()
    assert torch.equal(first[0], first[1])
    assert not torch.equal(second[0], second[1])


# --- T2.3: one covariance of two averages ---


@property_test
@given(seeds, widths, widths)
def test_t2_3_the_mean_connectivity_is_the_covariance_of_two_averages(seed, d, d_next):
    layers = random_layers(seed, d, d_next)
    a, b = (f.numpy() for f in layers.values())
    sd_a, sd_b = a.std(0), b.std(0)
    covariance = (a - a.mean(0)).T @ (b - b.mean(0)) / len(a)
    alive = sd_a[:, None] * sd_b > 1e-9
    p = np.divide(covariance, sd_a[:, None] * sd_b, out=np.zeros((d, d_next)), where=alive)
    rho, ceiling = info.average_correlations(layers), info.ceilings(layers)
    assert flows.information_flow(layers).item() == pytest.approx(p.mean(), abs=1e-12)
    assert (rho * ceiling).item() == pytest.approx(p.mean(), abs=1e-9)


@property_test
@given(seeds, widths, widths)
def test_t2_3_the_mean_self_correlation_is_the_mean_of_the_matrix_with_dead_units_zero(
    seed, d, d_next
):
    layers = random_layers(seed, d, d_next)
    for f, r_bar in zip(layers.values(), info.mean_self_correlations(layers), strict=True):
        assert flows.correlation(f, f).mean().item() == pytest.approx(r_bar.item(), abs=1e-12)
        assert 0 <= r_bar <= 1 + 1e-12


@property_test
@given(seeds, widths, widths)
def test_t2_3_no_mean_connectivity_is_above_its_ceiling(seed, d, d_next):
    layers = random_layers(seed, d, d_next)
    assert flows.information_flow(layers).abs() <= info.ceilings(layers) + 1e-12


def test_t2_3_the_ceiling_is_reached_when_both_averages_are_proportional():
    f = normal(0, 50, 3)
    layers = pair(f, -2 * f[:, [2, 0, 1]] + 1)
    assert torch.allclose(flows.information_flow(layers), -info.ceilings(layers))


def test_t2_3_uncorrelated_units_put_the_ceiling_at_one_over_the_width():
    q = torch.linalg.qr(torch.cat([torch.ones(64, 1), normal(0, 64, 24)], 1).double())[0][:, 1:]
    ceiling = info.ceilings(pair(q[:, :16], q[:, 15:]))
    assert ceiling.item() == pytest.approx(1 / math.sqrt(16 * 9))


@property_test
@given(seeds, seeds)
def test_t2_3_a_tolerance_above_the_sum_of_the_ceilings_is_vacuous(seed, other):
    one, two = (random_layers(s, 4, 5) for s in (seed, other))
    distance = flows.flow_distance(flows.information_flow(one), flows.information_flow(two))
    assert distance <= info.ceilings(one).norm() + info.ceilings(two).norm() + 1e-12


# --- T2.4: invariances, bias, blindness, certificate ---

ROTATION = torch.linalg.qr(normal(5, 3, 3))[0]
CHANGES = {
    "permutation": lambda f: f[:, [2, 0, 1]],
    "shift": lambda f: f + torch.tensor([1.0, -2.0, 3.0]),
    "scale": lambda f: f * torch.tensor([0.5, 2.0, 3.0]),
    "one scale": lambda f: 2.5 * f,
    "flip": lambda f: f * torch.tensor([1.0, -1.0, 1.0]),
    "rotation": lambda f: f @ ROTATION,
    "linear": lambda f: f @ normal(6, 3, 3),
}
INVARIANT = {
    "mean": {"permutation", "shift", "scale", "one scale"},
    "abs": {"permutation", "shift", "scale", "one scale", "flip"},
    "square": {"permutation", "shift", "scale", "one scale", "flip"},
    "cka": {"permutation", "shift", "one scale", "flip", "rotation"},
    "mutual-information": set(CHANGES),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("summary", INVARIANT)
def test_t2_4_the_table_of_invariances(summary, change):
    a = normal(0, 60, 3) @ normal(1, 3, 3)
    b = a.relu() @ normal(2, 3, 4)

    def value(f):
        if summary == "cka":
            return info.linear_cka(f, b)
        return flows.information_flow(pair(f, b), summary).item()

    moved = abs(value(CHANGES[change](a)) - value(a))
    if change in INVARIANT[summary]:
        assert moved < 1e-9
    else:
        assert moved > 1e-3


@property_test
@given(seeds, widths, widths)
def test_t2_4_cka_is_the_cosine_of_the_gram_matrices(seed, d, d_next):
    a, b = random_layers(seed, d, d_next).values()
    grams = [f @ f.T for f in (a - a.mean(0), b - b.mean(0))]
    norms = grams[0].norm() * grams[1].norm()
    cosine = (grams[0] * grams[1]).sum() / norms if norms > 1e-9 else torch.tensor(0.0)
    assert info.linear_cka(a, b) == pytest.approx(cosine.item(), abs=1e-9)


def test_t2_4_a_batch_norm_after_the_hook_can_only_flip_signs():
    torch.manual_seed(0)
    bn = nn.BatchNorm1d(4).double().eval()
    bn.running_mean.copy_(normal(1, 4))
    bn.weight.data.copy_(torch.tensor([0.5, -2.0, 1.5, -0.1]))
    a, b = random_layers(4, 3, 4).values()
    p, p_after = flows.correlation(a, b), flows.correlation(a, bn(b))
    assert torch.allclose(p_after, p * bn.weight.sign(), atol=1e-9)
    assert (p_after.mean() - p.mean()).abs() > 1e-2


def test_t2_4_at_independence_the_mean_is_unbiased_and_the_square_is_one_over_n_minus_one():
    # exhaustive: all 720 ways to pair two samples of 6, whatever the two laws are
    x, y = normal(0, 6).exp(), normal(1, 6) ** 3
    orders = torch.tensor(list(itertools.permutations(range(6))))
    rho = flows.correlation(x[:, None], y[orders].T).flatten()
    assert rho.mean().item() == pytest.approx(0, abs=1e-12)
    assert rho.square().mean().item() == pytest.approx(1 / 5, abs=1e-12)


def test_t2_4_finite_samples_lift_absolute_correlations_and_mutual_information():
    n, d, d_next = 40, 6, 4
    layers = [pair(normal(k, n, d), normal(10_000 + k, n, d_next)) for k in range(150)]
    mean_abs = np.mean([flows.information_flow(ab, "abs").item() for ab in layers])
    assert mean_abs == pytest.approx(math.sqrt(2 / (math.pi * n)), rel=0.03)
    plug_in = [flows.information_flow(ab, "mutual-information").item() for ab in layers]
    exact = info.mutual_information_bias(n, d, d_next)
    assert abs(np.mean(plug_in) - exact) < 4 * np.std(plug_in) / math.sqrt(len(plug_in))
    assert exact > d * d_next / (2 * n) * 1.1  # the first-order value is visibly too small here


def test_t2_4_pairs_of_opposite_units_blind_the_mean():
    h = normal(0, 200, 3)
    before, after = normal(1, 200, 2) + h[:, :2], h.relu() - (-h).relu()
    layers = {"before": before, "pairs": torch.cat([h, -h], 1), "after": after}
    assert torch.allclose(after, h)
    assert flows.information_flow(layers).abs().max() < 1e-12
    assert info.average_correlations(layers).abs().max() == 0
    assert flows.information_flow(layers, "square").min() > 0.1


@property_test
@given(seeds, widths, widths)
def test_t2_4_a_large_mean_certifies_information_between_gaussian_layers(seed, d, d_next):
    joint = correlations_of(random_covariance(seed, d + d_next))
    r, p, r_next = blocks(joint, d)
    truth = info.gaussian_mutual_information(info.canonical_correlations(r, p, r_next))
    delta, ceiling = p.mean(), (r.mean() * r_next.mean()).sqrt()
    certificate = info.gaussian_mutual_information((delta / ceiling).clamp(-1, 1))
    assert truth >= certificate - 1e-9
    assert certificate >= info.gaussian_mutual_information(delta) - 1e-9


@property_test
@given(seeds, widths, widths)
def test_t2_4_the_frobenius_norm_encloses_the_mutual_information(seed, d, d_next):
    r, p, r_next = blocks(correlations_of(random_covariance(seed, d + d_next)), d)
    kappa = info.canonical_correlations(r, p, r_next)
    truth, square = info.gaussian_mutual_information(kappa), kappa.square().sum().item()
    assert square / 2 <= truth + 1e-12
    assert truth <= square / (2 * (1 - kappa.max().item() ** 2)) + 1e-12
    assert truth >= p.abs().max().item() ** 2 / 2 - 1e-9
    assert p.mean() ** 2 <= p.abs().mean() ** 2 + 1e-15
    assert p.abs().mean() ** 2 <= p.square().mean() + 1e-15


# --- T2.5: sampling error ---


@property_test
@given(seeds, widths, widths)
def test_t2_5_the_influence_function_is_the_derivative_in_the_sample_weights(seed, d, d_next):
    layers = random_layers(3 * seed + 1, d, d_next)
    n = len(layers["a"])
    weights = torch.full((n,), 1 / n, dtype=torch.float64, requires_grad=True)
    share = weights / weights.sum()
    z = []
    for f in layers.values():
        centred = f - share @ f
        z.append(centred / (share @ centred.square()).sqrt())
    delta = (share * z[0].mean(1) * z[1].mean(1)).sum()
    (gradient,) = torch.autograd.grad(delta, weights)
    assert torch.allclose(info.influence(layers)[:, 0], gradient, atol=1e-9)


@property_test
@given(seeds, widths, widths)
def test_t2_5_influences_have_mean_zero_and_dead_units_add_nothing(seed, d, d_next):
    layers = random_layers(seed, d, d_next)
    psi = info.influence(layers)
    assert psi.mean(0).abs().max() < 1e-12
    a = torch.cat([layers["a"], torch.full((40, 1), 7.0)], 1)
    assert torch.allclose(info.influence(pair(a, layers["b"])), psi * d / (d + 1), atol=1e-12)


@property_test
@given(seeds, widths, widths)
def test_t2_5_gaussian_closed_form_is_the_variance_of_a_quadratic_form(seed, d, d_next):
    joint = correlations_of(random_covariance(seed, d + d_next))
    r, p, r_next = blocks(joint, d)
    q = torch.zeros_like(joint)
    q[:d, d:] = 0.5 / (d * d_next)
    q += q.T.clone()
    q.diagonal().sub_(0.5 * torch.cat([p.sum(1), p.sum(0)]) / (d * d_next))
    variance = 2 * (q @ joint @ q @ joint).trace()  # of z^T Q z, z ~ N(0, joint)
    assert info.gaussian_sigma(r, p, r_next) == pytest.approx(variance.sqrt().item(), rel=1e-8)


@property_test
@given(st.floats(-0.99, 0.99))
def test_t2_5_for_two_units_sigma_is_one_minus_rho_squared(rho):
    one = torch.ones(1, 1)
    sigma = info.gaussian_sigma(one, rho * one.double(), one)
    assert sigma == pytest.approx(1 - rho**2, abs=1e-7)


def resample(pool, n, times, seed=0, replace=True):
    """Flows on `times` probes of `n`: the pool is the population."""
    generator, size = draw(seed), len(next(iter(pool.values())))
    found = []
    for _ in range(times):
        part = (
            torch.randint(size, (n,), generator=generator)
            if replace
            else torch.randperm(size, generator=generator)[:n]
        )
        found.append(flows.information_flow({k: f[part] for k, f in pool.items()}))
    return torch.stack(found)


def test_t2_5_the_standard_error_is_that_of_many_probes_and_the_naive_one_is_not():
    h, noise = normal(0, 3000, 1), normal(1, 3000, 13)
    pool = pair((h + noise[:, :8]).relu(), 0.3 * h + noise[:, 8:].sinh())
    n = 250
    observed = resample(pool, n, 800).std(0).item()
    assert (info.influence(pool).std(0) / math.sqrt(n)).item() == pytest.approx(observed, rel=0.1)
    first = {k: f[:n] for k, f in pool.items()}
    assert info.standard_error(first).item() == pytest.approx(observed, rel=0.25)
    assert 1 / math.sqrt(n * 8 * 5) < 0.6 * observed


# --- T2.6: noise floor, number of samples ---


def two_states(n=3000):
    """A network and a slightly changed copy, seen on the same samples."""
    x = normal(0, n, 4)
    w, v = normal(1, 4, 6), normal(2, 6, 5)
    states = []
    for change in (0.0, 0.15):
        f = x @ (w + change * normal(3, 4, 6))
        states.append(pair(f, f.relu() @ (v + change * normal(4, 6, 5))))
    return states


def test_t2_6_the_squared_distance_splits_into_truth_and_noise_on_one_probe_and_on_two():
    net, later = two_states()
    n, times, size = 200, 500, 3000
    truth = flows.flow_distance(flows.information_flow(later), flows.information_flow(net)) ** 2
    paired = resample(later, n, times) - resample(net, n, times)  # equal seeds: the same samples
    unpaired = resample(later, n, times) - resample(net, n, times, seed=1)
    for same_probe, differences in ((True, paired), (False, unpaired)):
        squares = differences.square().sum(1)
        noise = info.noise_of_distance(later, net, same_probe) * size / n
        assert abs(squares.mean() - truth - noise) < 4 * squares.std() / times**0.5 + 0.1 * noise
    assert paired.var(0).sum() * 5 < unpaired.var(0).sum()


def test_t2_6_an_unchanged_network_has_no_noise_on_one_probe_and_the_floor_on_two():
    net, _ = two_states()
    assert info.noise_of_distance(net, net, same_probe=True) == 0
    unpaired = info.noise_of_distance(net, net, same_probe=False)
    assert math.sqrt(unpaired) == pytest.approx(flows.sampling_floor(net))


def test_t2_6_debiasing_finds_the_true_distance_and_the_plain_one_is_too_large():
    net, later = two_states()
    n, times = 100, 300
    truth = flows.flow_distance(flows.information_flow(later), flows.information_flow(net)) ** 2
    generator, plain, corrected = draw(7), [], []
    for _ in range(times):
        one, other = (torch.randint(3000, (n,), generator=generator) for _ in range(2))
        a, b = {k: f[one] for k, f in later.items()}, {k: f[other] for k, f in net.items()}
        flow, reference = flows.information_flow(a), flows.information_flow(b)
        noise = info.noise_of_distance(a, b, same_probe=False)
        plain.append(flows.flow_distance(flow, reference) ** 2)
        corrected.append(info.debiased_squared_distance(flow, reference, noise, clip=False))
    error = np.std(corrected) / math.sqrt(times)
    assert abs(np.mean(corrected) - truth) < 4 * error
    assert np.mean(plain) - truth > 4 * error
    assert info.debiased_squared_distance(flow, flow, 1.0) == 0


def test_t2_6_a_probe_drawn_without_replacement_has_less_noise():
    pool = {k: f[:400] for k, f in two_states()[0].items()}
    n = 300
    observed = resample(pool, n, 600, replace=False).var(0).item()
    with_replacement = (info.influence(pool).var(0) / n).item()
    assert observed == pytest.approx(with_replacement * (1 - n / 400), rel=0.2)


@property_test
@given(seeds, widths, widths, st.floats(0, 3))
def test_t2_6_the_planning_bound_holds_for_gaussian_layers(seed, d, d_next, tilt):
    root = normal(seed, d + d_next, d + d_next) + tilt  # tilt: from cancelling to redundant units
    r, p, r_next = blocks(correlations_of(root @ root.T + 1e-9 * torch.eye(d + d_next)), d)
    sigma, delta = info.gaussian_sigma(r, p, r_next), p.mean()
    r_bar, r_bar_next = (max(0.0, min(1.0, m.mean().item())) for m in (r, r_next))
    middle = math.sqrt(r_bar * r_bar_next + delta**2)
    middle += (p.mean(1).abs().sum() / d + p.mean(0).abs().sum() / d_next).item() / math.sqrt(2)
    assert sigma <= middle + 1e-7
    assert middle <= info.planning_bound(r_bar, r_bar_next) + 1e-6


def test_t2_6_the_first_step_of_the_bound_is_sharp_for_independent_units():
    one, zero = torch.ones(1, 1), torch.zeros(1, 1)
    assert info.gaussian_sigma(one, zero, one) == 1  # sqrt(R R' + 0) + 0


def test_t2_6_the_first_term_alone_is_no_bound():
    angle = torch.tensor([0, 2, 4], dtype=torch.float64) * math.pi / 3
    r, p = torch.cos(angle[:, None] - angle), torch.cos(angle)[:, None]
    assert abs(r.mean()) < 1e-12
    assert abs(p.mean()) < 1e-12
    assert info.gaussian_sigma(r, p, torch.ones(1, 1)) == pytest.approx(0.25)


def test_t2_6_the_gaussian_bound_needs_gaussian_units_and_the_kurtosis_form_does_not():
    generator = draw(0)
    scale = torch.where(torch.rand(4000, 1, generator=generator) < 0.005, 30.0, 0.1).double()
    layers = pair(scale * normal(1, 4000, 1), scale * normal(2, 4000, 1))
    sigma = info.influence(layers).std(0, correction=0).item()
    assert sigma > info.planning_bound(1.0, 1.0)
    assert sigma <= info.planning_bound(1.0, 1.0, kurtosis_of(layers))


def kurtosis_of(layers):
    """The largest E u^4 / (E u^2)^2 of all units and both averages."""
    largest = 1.0
    for f in layers.values():
        z = flows._standardise(f)
        u = torch.cat([z, z.mean(1, keepdim=True)], 1)
        second, fourth = u.square().mean(0), u.pow(4).mean(0)
        ratios = torch.where(second > 1e-20, fourth / second.square(), 1.0)
        largest = max(largest, ratios.max().item())
    return largest * (1 + 1e-9)


@property_test
@given(seeds, widths, widths)
def test_t2_6_the_kurtosis_form_of_the_planning_bound_holds_for_any_layers(seed, d, d_next):
    layers = random_layers(seed, d, d_next)
    r_bar, r_bar_next = info.mean_self_correlations(layers).tolist()
    sigma = info.influence(layers).std(0, correction=0).item()
    assert sigma <= info.planning_bound(r_bar, r_bar_next, kurtosis_of(layers)) + 1e-9


def test_t2_6_how_many_samples_a_tolerance_needs():
    assert info.samples_needed(0.11, 15 * 0.3**2) == 893
    net, _ = two_states()
    s = info.influence(net).var(0, correction=0).sum().item()
    epsilon = 2 * flows.sampling_floor(net)
    assert info.samples_needed(epsilon, s) == 3000
    assert info.samples_needed(0.5, 0.0) == 2
    # at a probe of that size two probes of one network are accepted three times in four or more
    probes = resample(net, 200, 300), resample(net, 200, 300, seed=1)
    distances = (probes[0] - probes[1]).norm(dim=1)
    assert (distances < 2 * math.sqrt(2 * s / 200)).double().mean() >= 0.75


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: info.canonical_correlations(torch.eye(2), torch.eye(3), torch.eye(2)), "blocks"),
        (lambda: info.gaussian_sigma(torch.eye(1), torch.eye(1) / 0, torch.eye(1)), "finite"),
        (lambda: info.gaussian_mutual_information(1.5), "correlations"),
        (lambda: info.gaussian_mutual_information(float("nan")), "correlations"),
        (lambda: info.mutual_information_bias(5, 3, 2), "need n"),
        (lambda: info.planning_bound(-0.1, 0.5), "mean self-correlations"),
        (lambda: info.planning_bound(0.1, 0.5, 0.5), "kurtosis"),
        (lambda: info.samples_needed(0.0, 1.0), "epsilon"),
        (lambda: info.influence({"a": torch.ones(3, 1)}), "two layers"),
        (lambda: info.ceilings(pair(torch.ones(3, 1), torch.ones(4, 1))), "same samples"),
        (lambda: info.linear_cka(torch.ones(3, 1), torch.ones(4, 1)), "same samples"),
        (lambda: info.debiased_squared_distance(torch.ones(1), torch.ones(2), 0.0), "different"),
        (lambda: info.debiased_squared_distance(torch.ones(1), torch.ones(1), -1.0), "noise"),
    ],
)
def test_bad_input_raises_one_clear_line(call, complaint):
    with pytest.raises(ValueError, match=complaint) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_flows_of_different_networks_or_probes_have_no_noise():
    net, other = random_layers(1, 3, 3), random_layers(2, 3, 3)
    with pytest.raises(ValueError, match="different networks"):
        info.noise_of_distance(net, other | {"c": other["b"]}, same_probe=False)
    with pytest.raises(ValueError, match="one probe"):
        info.noise_of_distance(net, {k: f[:9] for k, f in other.items()}, same_probe=True)


def test_t2_3_a_layer_of_one_unit_has_a_mean_self_correlation_of_exactly_one_at_most():
    for seed in range(40):
        f = torch.randn(7 + seed, 1, generator=torch.Generator().manual_seed(seed))
        r_bar = info.mean_self_correlations({"a": f, "b": f.exp()})
        assert (r_bar <= 1).all()
        assert info.planning_bound(*r_bar.tolist()) > 0


@pytest.mark.parametrize("scale", [1e-90, 1.0, 1e100])
def test_t2_4_linear_cka_ignores_the_scale_of_either_layer(scale):
    a = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    b = a[:, :2] + 1
    assert info.linear_cka(scale * a, b) == pytest.approx(info.linear_cka(a, b))
    assert info.linear_cka(a, scale * b) == pytest.approx(info.linear_cka(a, b))
    assert info.linear_cka(scale * torch.ones_like(a), b) == 0
