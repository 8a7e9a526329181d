"""How much to prune: the statements about the PQ index and SAP's count, and what refutes them."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from torch import nn

from infcop_lite.amounts import pq_index, sap_fraction
from infcop_lite.masks import full_masks, magnitude_masks
from infcop_lite.theory.amounts import (
    discarded_share,
    effective_number,
    gates_threshold,
    gaussian_densities,
    gaussian_share,
    least_kept,
    retained_bound,
    robin_hood_counterexample,
    stechkin_constant,
    stechkin_extremal,
    transfer_slope,
    untrained_fractions,
)

PUBLISHED = [(0.5, 1.0), (1.0, 2.0)]
PAIRS = [*PUBLISHED, (0.3, 0.6), (0.2, 3.0), (2.0, 3.0), (1.5, 1.6)]
each_pair = pytest.mark.parametrize(("p", "q"), PAIRS)
often = settings(deadline=None, derandomize=True, max_examples=50)

magnitudes = st.one_of(st.just(0.0), st.just(1.0), st.floats(1e-3, 1e3))
vectors = st.lists(magnitudes, min_size=2, max_size=12).filter(any)
orders = st.tuples(st.floats(0.1, 3), st.floats(1.05, 4)).map(lambda o: (o[0], o[0] * o[1]))
safe_orders = st.tuples(st.floats(0.1, 1), st.floats(1, 4)).filter(lambda o: o[1] > 1.05 * o[0])


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def normal(num_weights, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_weights, generator=generator, dtype=torch.float64)


def by_numpy(w, p, q):
    """The definition, in numpy: one minus the ratio of two power means."""
    w = np.abs(np.asarray(w, dtype=float))
    return 1 - np.mean(w**p) ** (1 / p) / np.mean(w**q) ** (1 / q)


# --- T1.1 to T1.4: what the index measures ---


@often
@given(vectors, orders, st.floats(1e-3, 1e3))
def test_t1_1_the_index_lies_in_its_range_and_forgets_scale_sign_and_clones(w, pq, scale):
    w, (p, q) = tensor(w), pq
    index = pq_index(w, p, q)
    assert -1e-12 <= index <= 1 - len(w) ** (1 / q - 1 / p) + 1e-12
    assert index == pytest.approx(by_numpy(w, p, q), abs=1e-10)
    for same in (scale * w, -w, w.flip(0), torch.cat([w, w]), torch.cat([w, w, w])):
        assert pq_index(same, p, q) == pytest.approx(index, abs=1e-12)


@each_pair
def test_t1_1_the_ends_of_the_range_belong_to_flat_and_to_single_weights_alone(p, q):
    for d in (2, 3, 7):
        flat, single = torch.ones(d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64)
        single[1] = -3
        top = 1 - d ** (1 / q - 1 / p)
        assert pq_index(flat, p, q) == pytest.approx(0, abs=1e-14)
        assert pq_index(single, p, q) == pytest.approx(top, abs=1e-14)
        flat[0], single[0] = 0.9, 0.1
        assert pq_index(flat, p, q) > 1e-6
        assert pq_index(single, p, q) < top - 1e-9


@often
@given(vectors, orders, st.integers(1, 20))
def test_t1_2_zeros_raise_the_index_by_an_exact_factor(w, pq, zeros):
    (p, q), d = pq, len(w)
    longer = pq_index(tensor(w + [0.0] * zeros), p, q)
    factor = (d / (d + zeros)) ** (1 / p - 1 / q)
    assert 1 - longer == pytest.approx(factor * (1 - pq_index(tensor(w), p, q)), abs=1e-12)
    assert longer > pq_index(tensor(w), p, q)


@often
@given(vectors, orders, st.floats(0.01, 100))
def test_t1_3_a_rising_tide_lowers_the_index(w, pq, tide):
    assume(max(w) > 1.01 * min(w))
    before, after = (pq_index(tensor(w) + t, *pq) for t in (0, tide))
    assert after < before


def test_t1_3_a_tide_raises_the_larger_power_mean_less_as_autograd_sees_it():
    x = normal(9).abs() + 0.1
    slopes = []
    for s in (-2.0, -0.5, 0.3, 1.0, 2.5):
        tide = torch.zeros((), dtype=torch.float64, requires_grad=True)
        ((x + tide).pow(s).mean().log() / s).backward()
        slopes.append(tide.grad.item())
        assert slopes[-1] == pytest.approx(((x ** (s - 1)).sum() / (x**s).sum()).item())
    assert slopes == sorted(slopes, reverse=True)


@often
@given(vectors, orders)
def test_t1_4_the_index_falls_before_the_threshold_and_rises_after_it(others, pq):
    others = tensor(others)
    threshold = gates_threshold(others, *pq)
    alive = others[others > 0]
    assert alive.min() * (1 - 1e-9) <= threshold <= alive.max() * (1 + 1e-9)
    for factors, sign in (((0.1, 0.4, 0.8), -1), ((1.25, 2.0, 5.0), 1)):
        indices = [pq_index(torch.cat([others, tensor([f * threshold])]), *pq) for f in factors]
        assert all(sign * (b - a) > 0 for a, b in itertools.pairwise(indices))


@each_pair
def test_t1_4_scipy_finds_the_same_threshold(p, q):
    others = normal(5, seed=3)
    found = optimize.minimize_scalar(
        lambda x: pq_index(torch.cat([others, tensor([x])]), p, q),
        bounds=(1e-6, 10),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert gates_threshold(others, p, q) == pytest.approx(found.x, rel=1e-4)


def test_t1_4_a_weight_that_is_already_the_largest_raises_the_index_by_growing():
    w = torch.cat([normal(6).abs(), tensor([3.0])])
    assert pq_index(w * tensor([1.0] * 6 + [1.1]), 1, 2) > pq_index(w, 1, 2)


# --- T1.5: Robin Hood ---


@often
@given(vectors, safe_orders, st.floats(0.05, 0.95), st.data())
def test_t1_5_robin_hood_lowers_the_index_when_p_is_at_most_1_and_q_at_least_1(w, pq, part, data):
    i, j = data.draw(st.permutations(range(len(w))))[:2]
    assume(w[i] > 1.05 * w[j] and w[i] > 1e-2 * max(w))
    amount = part * (w[i] - w[j]) / 2
    after = list(w)
    after[i], after[j] = w[i] - amount, w[j] + amount
    assert pq_index(tensor(after), *pq) < pq_index(tensor(w), *pq)


@often
@given(st.floats(0, 1), orders, st.floats(0.05, 0.95))
def test_t1_5_two_weights_obey_robin_hood_for_all_orders(poor, pq, part):
    assume(poor < 0.95)
    amount = part * (1 - poor) / 2
    before, after = tensor([1.0, poor]), tensor([1 - amount, poor + amount])
    assert pq_index(after, *pq) < pq_index(before, *pq)


@pytest.mark.parametrize(
    ("p", "q"), [(2, 3), (1.1, 1.2), (1.2, 4), (0.3, 0.6), (0.5, 0.9), (0.05, 0.1)]
)
def test_t1_5_outside_the_safe_orders_robin_hood_fails_and_zeros_do_not_help(p, q):
    before, after = robin_hood_counterexample(p, q)
    assert before.sum() == pytest.approx(after.sum().item())
    assert before[2:].equal(after[2:])
    assert before[0] > after[0] > after[1] > before[1]
    for zeros in (0, 5):
        w, v = (torch.cat([x, torch.zeros(zeros, dtype=torch.float64)]) for x in (before, after))
        assert pq_index(v, p, q) > pq_index(w, p, q)
        assert by_numpy(v, p, q) > by_numpy(w, p, q)


@pytest.mark.parametrize(("p", "q"), [*PUBLISHED, (1, 1.5), (0.2, 3)])
def test_t1_5_no_counterexample_is_offered_where_there_is_none(p, q):
    with pytest.raises(ValueError, match="Robin Hood holds"):
        robin_hood_counterexample(p, q)


def test_t1_5_the_two_violations_known_by_number():
    before, after = (pq_index(tensor(w), 2, 3) for w in ([10, 2, 1.0], [10, 1.7, 1.3]))
    assert (round(before, 5), round(after, 5)) == (0.14930, 0.15047)
    crowd = [1e-3] * 1000
    before, after = (pq_index(tensor(w + crowd), 0.3, 0.6) for w in ([2, 1.0], [1.75, 1.25]))
    assert after > before + 1e-5


def test_t1_5_the_smallest_orders_fail_in_three_dimensions_already():
    """An exhaustive grid: (0.05, 0.1) is violated at d = 3, (0.3, 0.6) is not, on this grid."""
    ratios = 10.0 ** np.arange(-8, 3, 0.25)
    slopes = {
        pq: min(transfer_slope(tensor([1.0, 0.5, c]), 0, 1, *pq) for c in ratios)
        for pq in ((0.05, 0.1), (0.3, 0.6))
    }
    assert slopes[0.05, 0.1] < -1e-6
    assert slopes[0.3, 0.6] > 0


@often
@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=8), orders)
def test_t1_5_the_slope_of_a_transfer_is_autograds(w, pq):
    p, q = pq
    x = tensor(w).requires_grad_()
    (x.pow(p).mean().log() / p - x.pow(q).mean().log() / q).backward()
    slope = (x.grad[1] - x.grad[0]).item()
    assert transfer_slope(x, 0, 1, p, q) == pytest.approx(slope, abs=1e-9)


# --- T1.6 and T1.7: the bound and the effective number ---


@often
@given(st.lists(magnitudes, min_size=2, max_size=8).filter(any), orders, st.floats(0, 5))
def test_t1_6_every_set_that_carries_the_mass_is_at_least_as_large_as_the_bound(w, pq, eta):
    (p, q), mass = pq, np.array(w) ** pq[0]
    bound = retained_bound(tensor(w), p, q, eta)
    sizes = [
        r
        for r in range(len(w) + 1)
        for kept in itertools.combinations(range(len(w)), r)
        if np.delete(mass, kept).sum() <= eta * mass[list(kept)].sum() * (1 + 1e-12)
    ]
    assert min(sizes) >= bound * (1 - 1e-9)
    assert least_kept(tensor(w), p, eta) == min(sizes)


@each_pair
def test_t1_6_equality_needs_a_flat_support_and_no_tolerance(p, q):
    flat = tensor([2.0, -2.0, 2.0, 0.0, 0.0])
    assert retained_bound(flat, p, q) == pytest.approx(3)
    assert least_kept(flat, p) == 3
    assert retained_bound(flat, p, q, eta=0.5) < least_kept(flat, p, 0.5) - 1e-3
    assert retained_bound(tensor([2.0, 2.0, 1.9]), p, q) < 3 - 1e-4


def test_t1_6_without_tolerance_the_condition_asks_for_every_nonzero_weight():
    w = normal(1000)
    w[:100] = 0
    assert least_kept(w, 1) == 900
    assert retained_bound(w, 1, 2) < 600, "the count that SAP keeps does not meet the condition"


@often
@given(vectors, orders, st.floats(0, 3))
def test_t1_6_sap_keeps_the_bound_rounded_up(w, pq, eta):
    bound = retained_bound(tensor(w), *pq, eta)
    assume(abs(bound - round(bound)) > 1e-6)
    kept = len(w) * (1 - sap_fraction(tensor(w), *pq, eta, beta=0.999999))
    assert kept == pytest.approx(math.ceil(bound), abs=1e-6 * len(w) + 1e-9)


@often
@given(vectors, orders)
def test_t1_7_the_effective_number_is_the_index_times_d_and_a_hill_number(w, pq):
    (p, q), d = pq, len(w)
    number = effective_number(tensor(w), p, q)
    assert number == pytest.approx(d * (1 - pq_index(tensor(w), p, q)) ** (p * q / (q - p)))
    shares = np.array(w) / max(w)
    shares = shares**p / (shares**p).sum()
    hill = (shares ** (q / p)).sum() ** (1 / (1 - q / p))
    assert number == pytest.approx(hill, rel=1e-9)
    assert 1 - 1e-9 <= number <= np.count_nonzero(w) * (1 + 1e-9)


@often
@given(vectors, orders, st.integers(1, 50))
def test_t1_7_zeros_do_not_change_the_effective_number(w, pq, zeros):
    number = effective_number(tensor(w), *pq)
    assert effective_number(tensor(w + [0.0] * zeros), *pq) == pytest.approx(number, rel=1e-12)
    assert effective_number(tensor(w + w), *pq) == pytest.approx(2 * number, rel=1e-12)


def test_t1_7_both_published_pairs_are_participation_ratios():
    w = normal(50)
    assert effective_number(w, 1, 2) == pytest.approx((w.abs().sum() ** 2 / (w**2).sum()).item())
    root = w.abs().sqrt()
    assert effective_number(w, 0.5, 1) == pytest.approx(effective_number(root, 1, 2))


@pytest.mark.parametrize(
    ("law", "half_one", "one_two"),
    [
        (stats.halfnorm(), 0.1528, 1 - 2 / math.pi),
        (stats.uniform(), 1 / 9, 1 / 4),
        (stats.expon(), 1 - math.pi / 4, 1 / 2),
    ],
)
def test_t1_7_population_values_of_the_first_fraction(law, half_one, one_two):
    def share(p, q):
        moments = [law.expect(lambda x, s=s: x**s) for s in (p, q)]
        return moments[0] ** (q / (q - p)) / moments[1] ** (p / (q - p))

    assert 1 - share(0.5, 1) == pytest.approx(half_one, abs=1e-4)
    assert 1 - share(1, 2) == pytest.approx(one_two, abs=1e-4)
    sample = torch.from_numpy(law.rvs(200_000, random_state=0))
    for (p, q), value in zip(PUBLISHED, (half_one, one_two), strict=True):
        assert sap_fraction(sample, p, q) == pytest.approx(value, abs=4e-3)


@often
@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=5), orders, st.integers(0, 9))
def test_t1_7_pooling_layers_of_one_shape_but_many_scales_raises_the_index(scales, pq, seed):
    w = normal(30, seed)
    pooled = pq_index(torch.cat([s * w for s in scales]), *pq)
    assert pooled >= pq_index(w, *pq) - 1e-12
    if max(scales) > 1.1 * min(scales):
        assert pooled > pq_index(w, *pq)


@often
@given(vectors, vectors, orders)
def test_t1_7_a_pooled_index_is_at_least_the_smallest_of_its_layers(a, b, pq):
    pooled = pq_index(tensor(a + b), *pq)
    assert pooled >= min(pq_index(tensor(a), *pq), pq_index(tensor(b), *pq)) - 1e-12


@often
@given(vectors, vectors, orders)
def test_t1_7_pooled_the_effective_number_is_at_most_the_sum_of_those_of_the_layers(a, b, pq):
    apart = effective_number(tensor(a), *pq) + effective_number(tensor(b), *pq)
    pooled = effective_number(tensor(a + b), *pq)
    assert pooled <= apart * (1 + 1e-9)
    counts = [effective_number(tensor(v), *pq) for v in (a, b)]
    up = sum(math.ceil(count * (1 + 1e-9)) for count in counts)  # rounded, still no more are kept
    assert math.ceil(pooled * (1 - 1e-9)) <= up


# --- T1.8: what the count guarantees ---


@often
@given(vectors, orders, st.floats(0, 2))
def test_t1_8_the_count_bounds_what_is_discarded(w, pq, eta):
    (p, q), w = pq, tensor(w)
    least = math.ceil(retained_bound(w, p, q, eta) * (1 - 1e-12))
    bound = ((1 + eta) ** (1 / p) * stechkin_constant(p, q)) ** q
    for kept in range(least, len(w) + 1):
        assert discarded_share(w, kept, q) <= bound * (1 + 1e-9)


@often
@given(vectors, orders, st.data())
def test_t1_8_stechkins_inequality_for_every_count(w, pq, data):
    (p, q), w = pq, tensor(w)
    kept = data.draw(st.integers(1, len(w)))
    error = (discarded_share(w, kept, q) * (w**q).sum().item()) ** (1 / q)
    p_norm = (w**p).sum().item() ** (1 / p)
    assert error <= stechkin_constant(p, q) * kept ** (1 / q - 1 / p) * p_norm * (1 + 1e-9)


@each_pair
def test_t1_8_the_constant_is_the_largest_value_over_the_vertices(p, q):
    """Brute force: a convex function on the cone of sorted vectors is largest at a flat one."""
    t, r = q / p, 1000
    k = np.arange(r + 1, 40 * r)
    largest = ((k - r) * (k / r) ** -t / r).max()
    assert stechkin_constant(p, q) ** q == pytest.approx(largest, rel=1e-3)
    assert stechkin_constant(p, q) ** q >= largest


@pytest.mark.parametrize(("p", "q"), PUBLISHED)
def test_t1_8_a_quarter_is_the_best_constant_and_is_never_attained(p, q):
    shares = []
    for size in (4, 10, 100, 1000, 100_000):
        w = stechkin_extremal(size, p, q)
        kept = math.ceil(effective_number(w, p, q) * (1 - 1e-12))
        shares.append(discarded_share(w, kept, q))
    assert shares == sorted(shares)
    assert 0.247 < shares[-1] < 0.25


@pytest.mark.parametrize(("p", "q"), [(1.0, 3.0), (0.4, 0.6)])
def test_t1_8_the_extremal_family_is_tight_for_other_orders_too(p, q):
    w = stechkin_extremal(10**6, p, q)
    share = discarded_share(w, math.ceil(effective_number(w, p, q)), q)
    assert 0.95 < share / stechkin_constant(p, q) ** q < 1


def test_t1_8_with_a_tolerance_a_flat_vector_attains_the_bound():
    """At 1 + eta = sqrt(2) the count of 2k equal weights is k, and half the energy goes."""
    flat, eta = torch.ones(40, dtype=torch.float64), math.sqrt(2) - 1
    assert retained_bound(flat, 1, 2, eta) == pytest.approx(20)
    bound = ((1 + eta) * stechkin_constant(1, 2)) ** 2
    assert discarded_share(flat, 20, 2) == pytest.approx(bound) == pytest.approx(0.5)


def test_t1_8_gamma_above_1_voids_the_guarantee_and_gamma_below_1_keeps_it():
    w = stechkin_extremal(100, 1, 2)
    for gamma, safe in ((0.7, True), (1.0, True), (1.5, False)):
        kept = len(w) - round(len(w) * sap_fraction(w, 1, 2, gamma=gamma))
        assert (discarded_share(w, kept, 2) <= 0.25) == safe


def test_t1_8_the_guarantee_holds_for_the_mask_of_the_library():
    layer = nn.Linear(27, 37)
    with torch.no_grad():
        layer.weight.copy_(stechkin_extremal(499, 1, 2).reshape(37, 27))
    w = layer.weight.detach().flatten()
    masks = magnitude_masks(layer, full_masks(layer), sap_fraction(w, 1, 2), "global")
    lost = (w[~masks["weight"].flatten()] ** 2).sum() / (w**2).sum()
    assert 0.2 < lost <= 0.25


def test_t1_8_nothing_is_promised_about_the_rewound_weights():
    """A mask ranked on trained weights may remove all the energy of the snapshot."""
    trained = torch.cat([torch.ones(50), torch.full((50,), 0.01)]).double()
    snapshot = trained.flip(0)
    kept = math.ceil(retained_bound(trained, 1, 2))
    survivors = trained.argsort(descending=True)[:kept]
    left = (snapshot[survivors] ** 2).sum() / (snapshot**2).sum()
    assert discarded_share(trained, kept, 2) < 0.01
    assert left < 0.05


# --- T1.9: self-braking ---


def share_beyond(law, density, p, q):
    """N / d of the largest part of a law, by numerical integration."""
    x = law.isf(density)
    upper = law.isf(1e-12)
    moments = [
        integrate.quad(lambda y, s=s: s * y ** (s - 1) * law.sf(y), x, upper, limit=400)[0]
        for s in (p, q)
    ]
    moments = [x**s + m / density for s, m in zip((p, q), moments, strict=True)]
    return moments[0] ** (q / (q - p)) / moments[1] ** (p / (q - p))


@pytest.mark.parametrize(
    "law",
    [stats.halfnorm(), stats.expon(), stats.uniform(), stats.lognorm(1), stats.weibull_min(0.5)],
    ids=["gaussian", "laplace", "uniform", "lognormal", "weibull"],
)
@pytest.mark.parametrize(("p", "q"), [*PUBLISHED, (2.0, 3.0)])
def test_t1_9_where_log_magnitudes_age_the_next_fraction_falls_with_the_density(law, p, q):
    shares = [share_beyond(law, density, p, q) for density in (0.99, 0.6, 0.3, 0.1, 0.03)]
    assert all(after > before + 1e-6 for before, after in itertools.pairwise(shares))


def test_t1_9_the_pareto_law_never_brakes():
    w = torch.from_numpy(stats.pareto(5).ppf((np.arange(10**6) + 0.5) / 10**6))
    fractions = untrained_fractions(w, 1, 2, 3)
    assert fractions == pytest.approx([1 / 16] * 3, rel=0.02)  # 1 / (a - 1)^2


def test_t1_9_an_outlier_among_equals_makes_sap_accelerate():
    """The law with atoms is no ageing one: 1000 ones and a ten, the fraction grows."""
    fractions = untrained_fractions(tensor([10.0] + [1.0] * 1000), 1, 2, 5)
    assert fractions == sorted(fractions)
    assert fractions[-1] > fractions[0] + 0.01


def test_t1_9_the_key_inequality_for_an_ageing_law_on_a_grid():
    """The integral of l e^(sl) S(l) is at most the squared integral of e^(sl) S(l)."""
    for law in (stats.uniform(), stats.weibull_min(2), stats.expon(scale=0.2)):
        for s in (0.5, 1.0, 2.0):
            whole, first = (
                integrate.quad(
                    lambda y, k=k, s=s, law=law: y**k * np.exp(s * y) * law.sf(y), 0, 12
                )[0]
                for k in (0, 1)
            )
            assert first <= whole**2 * (1 + 1e-6)
    young = lambda y: 0.5 * np.exp(-10 * y) + 0.5 * np.exp(-1.2 * y)  # noqa: E731
    whole, first = (
        integrate.quad(lambda y, k=k: y**k * np.exp(y) * young(y), 0, 200)[0] for k in (0, 1)
    )
    assert first > whole**2, "a mixture of old and young breaks it"


@pytest.mark.parametrize(("p", "q"), PUBLISHED)
def test_t1_9_the_gaussian_recursion_is_what_a_large_sample_does(p, q):
    w = torch.from_numpy(stats.norm.ppf((np.arange(400_000) + 0.5) / 400_000))
    densities = [1.0]
    for _ in range(4):
        fraction = sap_fraction(w, p, q)
        w = w[w.abs().argsort(descending=True)[: len(w) - round(fraction * len(w))]]
        densities.append(len(w) / 400_000)
    assert gaussian_densities(4, p, q) == pytest.approx(densities, abs=1e-3)


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1e200])
def test_t1_5_the_slope_of_a_transfer_has_the_unit_of_one_over_a_weight(scale):
    w = torch.tensor([10.0, 2.0, 1.0], dtype=torch.float64)
    slope = transfer_slope(w, 1, 2, 2, 3)
    assert transfer_slope(scale * w, 1, 2, 2, 3) * scale == pytest.approx(slope)


def test_t1_9_the_gaussian_share_stays_a_share_for_the_smallest_densities():
    shares = [gaussian_share(density, 1, 2) for density in (1e-300, 1e-100, 1e-10, 1.0)]
    assert 1 > shares[0] > shares[1] > shares[2] > shares[3] > 0
    with pytest.raises(ValueError, match="1e-300"):
        gaussian_share(1e-320, 1, 2)


def test_t1_9_the_gaussian_shares_are_those_of_numerical_integration():
    for density, (p, q) in itertools.product((1.0, 0.5, 0.05), PUBLISHED):
        expected = share_beyond(stats.halfnorm(), density, p, q)
        assert gaussian_share(density, p, q) == pytest.approx(expected, abs=1e-6)


def test_t1_9_the_fraction_is_at_most_what_the_hazard_allows():
    """1 - N / d <= 1 - (1 - q / a)^(p / (q - p)) with a = x h(x), here for the Gaussian."""
    for density, (p, q) in itertools.product((0.04, 0.01, 1e-4), PUBLISHED):
        x = stats.halfnorm.isf(density)
        a = x * stats.halfnorm.pdf(x) / density
        assert a > q
        assert 1 - gaussian_share(density, p, q) <= 1 - (1 - q / a) ** (p / (q - p))


# --- bad input ---


@pytest.mark.parametrize(
    "call",
    [
        lambda: effective_number(torch.zeros(3), 1, 2),
        lambda: effective_number(torch.tensor([1.0, math.nan]), 1, 2),
        lambda: effective_number(torch.ones(0), 1, 2),
        lambda: effective_number(torch.ones(3), 2, 1),
        lambda: retained_bound(torch.ones(3), 1, 2, eta=-0.1),
        lambda: least_kept(torch.ones(3), 0),
        lambda: least_kept(torch.ones(3), 1, eta=math.inf),
        lambda: discarded_share(torch.ones(3), 4, 2),
        lambda: discarded_share(torch.ones(3), -1, 2),
        lambda: discarded_share(torch.ones(3), 1, 0),
        lambda: stechkin_constant(1, 1),
        lambda: stechkin_extremal(0, 1, 2),
        lambda: gates_threshold(torch.zeros(2), 1, 2),
        lambda: transfer_slope(torch.tensor([1.0, 0.0, 2.0]), 0, 1, 1, 2),
        lambda: gaussian_share(0.0, 1, 2),
        lambda: gaussian_densities(-1, 1, 2),
        lambda: untrained_fractions(torch.ones(3), 1, 2, -1),
        lambda: robin_hood_counterexample(1 + 1e-9, 2),
    ],
)
def test_bad_input_is_refused_in_one_line(call):
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        call()
