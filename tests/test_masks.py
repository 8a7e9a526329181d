"""Masks: exact counts, magnitudes, the PQ index, SAP, rewinding, and weights that stay away."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn
from torch.nn.utils import prune as torch_prune

from infcop_lite import masks as masks_module
from infcop_lite.amounts import pq_index, sap_fraction, sap_fractions
from infcop_lite.masks import (
    Masked,
    apply_masks,
    dead,
    density,
    found,
    from_zeros,
    full_masks,
    magnitude_masks,
    mask_distance,
    n_of_m,
    prunable,
    rewind,
)
from infcop_lite.train import make_optimizer, shuffled_batches, train_steps

PAIRS = [(0.5, 1.0), (1.0, 2.0)]  # the published norm orders


def one_layer(weights):
    """Return a Linear layer with these weights in one row."""
    layer = nn.Linear(len(weights), 1)
    layer.weight.data = torch.tensor([weights], dtype=torch.float32)
    return layer


def mlp(*widths, seed=0):
    torch.manual_seed(seed)
    pairs = itertools.pairwise(widths)
    return nn.Sequential(*itertools.chain(*((nn.Linear(a, b), nn.ReLU()) for a, b in pairs)))


class ConvNet(nn.Module):
    """Convolution, batch norm, linear: everything that a rewind must reach."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4 * 6 * 6, 3)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).flatten(1))


def images(num_samples=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num_samples, 1, 8, 8, generator=generator)
    return x, torch.randint(0, 3, (num_samples,), generator=generator)


seeded = settings(max_examples=100, derandomize=True, deadline=None, database=None)
vectors = hnp.arrays(
    np.float64, st.integers(2, 12), elements=st.floats(0.0, 1.0, allow_subnormal=False)
).filter(lambda w: w.max() > 1e-3)
orders = st.tuples(st.floats(0.2, 3.0), st.floats(0.1, 2.0)).map(lambda t: (t[0], t[0] + t[1]))


# Which weights are prunable


def test_prunable_lists_conv_and_linear_weights_in_module_order():
    assert list(prunable(ConvNet())) == ["conv.weight", "head.weight"]


def test_prunable_weights_are_the_parameters_themselves():
    model = ConvNet()
    assert prunable(model)["head.weight"] is model.head.weight


def test_every_convolution_is_prunable_and_nothing_one_dimensional_is():
    model = nn.Sequential(
        nn.Conv1d(2, 2, 1), nn.Conv3d(2, 2, 1), nn.ConvTranspose2d(2, 2, 1), nn.LayerNorm(2)
    )
    assert list(prunable(model)) == ["0.weight", "1.weight", "2.weight"]
    assert all(weight.dim() > 1 for weight in prunable(model).values())


def test_a_weight_shared_by_two_modules_is_listed_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert list(prunable(model)) == ["0.weight"]


def test_a_model_without_prunable_weights_is_refused():
    with pytest.raises(ValueError, match="no Conv or Linear"):
        prunable(nn.Sequential(nn.ReLU(), nn.BatchNorm1d(3)))


def test_partial_masks_are_refused_in_a_line_that_says_how_to_fill_them_up():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    yours = {"0.weight": torch.eye(3).bool()}
    with pytest.raises(ValueError, match=r"missing or extra 1.weight; \{.*\} keeps whole") as error:
        apply_masks(model, yours)
    line = str(error.value).partition("; ")[2].partition(" keeps")[0]
    apply_masks(model, eval(line, {"masks": masks_module, "model": model, "yours": yours}))
    assert density(found(model)) == 9 / 15
    with pytest.raises(ValueError, match=r"missing or extra 2.weight$"):
        apply_masks(model, {**full_masks(model), "2.weight": yours["0.weight"]})


def test_full_masks_keep_everything_on_shapes_that_fit():
    model = ConvNet()
    masks = full_masks(model)
    assert density(masks) == 1.0
    assert {name: mask.shape for name, mask in masks.items()} == {
        name: weight.shape for name, weight in prunable(model).items()
    }


# Magnitude masks


def test_four_weights_by_hand():
    model = one_layer([0.5, -3.0, 0.1, 2.0])
    masks = magnitude_masks(model, full_masks(model), 0.5)
    assert masks["weight"].tolist() == [[False, True, False, True]]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.2, 0.5, 0.77, 0.99])
def test_layerwise_removes_exactly_the_rounded_fraction_of_every_layer(fraction, seed):
    model = mlp(7, 5, 3, seed=seed)
    masks = full_masks(model)
    for _ in range(4):
        pruned = magnitude_masks(model, masks, fraction)
        for name, mask in masks.items():
            remaining = int(mask.sum())
            assert int(pruned[name].sum()) == remaining - round(fraction * remaining)
        masks = pruned


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.2, 0.5, 0.77, 0.99])
def test_global_removes_exactly_the_rounded_fraction_of_all_layers_pooled(fraction):
    model = mlp(7, 5, 3)
    masks = full_masks(model)
    for _ in range(4):
        remaining = sum(int(mask.sum()) for mask in masks.values())
        masks = magnitude_masks(model, masks, fraction, "global")
        left = sum(int(mask.sum()) for mask in masks.values())
        assert left == remaining - round(fraction * remaining)


@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_of_equal_magnitudes_the_smaller_index_goes_first(scope):
    model = one_layer([1.0, -1.0, 2.0, 1.0, -1.0])
    masks = magnitude_masks(model, full_masks(model), 0.4, scope)
    assert masks["weight"].tolist() == [[False, False, True, True, True]]


def test_ties_across_layers_are_broken_by_module_order():
    model = nn.Sequential(one_layer([1.0, 1.0]), nn.Linear(1, 2))
    model[1].weight.data.fill_(1.0)
    masks = magnitude_masks(model, full_masks(model), 0.75, "global")
    assert masks["0.weight"].tolist() == [[False, False]]
    assert masks["1.weight"].tolist() == [[False], [True]]


@seeded
@given(
    weights=st.lists(st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0]), min_size=1, max_size=12),
    fraction=st.floats(0.0, 0.99),
    scope=st.sampled_from(["layerwise", "global"]),
)
def test_with_ties_the_mask_is_that_of_a_stable_sort(weights, fraction, scope):
    model = one_layer(weights)
    mask = magnitude_masks(model, full_masks(model), fraction, scope)["weight"][0]
    order = np.argsort(np.abs(weights), kind="stable")
    removed = sorted(order[: round(fraction * len(weights))])
    assert (~mask).nonzero().flatten().tolist() == removed


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.9])
def test_layerwise_masks_agree_with_torch_l1_unstructured(amount):
    model = mlp(9, 8, 4)
    masks = magnitude_masks(model, full_masks(model), amount)
    for name, weight in prunable(model).items():
        oracle = torch_prune.L1Unstructured(amount).compute_mask(weight, torch.ones_like(weight))
        assert torch.equal(masks[name], oracle.bool())


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.9])
def test_global_masks_agree_with_torch_global_unstructured(amount):
    model = mlp(9, 8, 4)
    masks = magnitude_masks(model, full_masks(model), amount, "global")
    oracle = copy.deepcopy(model)
    layers = [(module, "weight") for module in oracle if isinstance(module, nn.Linear)]
    torch_prune.global_unstructured(layers, torch_prune.L1Unstructured, amount=amount)
    for mask, (module, _) in zip(masks.values(), layers, strict=True):
        assert torch.equal(mask, module.weight_mask.bool())


@seeded
@given(
    seed=st.integers(0, 1000),
    fractions=st.lists(st.floats(0.0, 0.95), min_size=1, max_size=5),
    scope=st.sampled_from(["layerwise", "global"]),
)
def test_masks_are_nested_even_when_the_weights_change_between_levels(seed, fractions, scope):
    masks = full_masks(mlp(4, 3, 2))
    for level, fraction in enumerate(fractions):
        pruned = magnitude_masks(mlp(4, 3, 2, seed=seed + level), masks, fraction, scope)
        for name, mask in masks.items():
            assert not (pruned[name] & ~mask).any()
        masks = pruned


def test_pruning_reads_the_model_and_the_old_masks_and_changes_neither():
    model = mlp(6, 4, 2)
    weights, masks = copy.deepcopy(model.state_dict()), full_masks(model)
    pruned = magnitude_masks(model, masks, 0.5)
    assert all(torch.equal(weights[key], value) for key, value in model.state_dict().items())
    assert density(masks) == 1.0
    pruned["0.weight"][:] = False
    assert density(masks) == 1.0


def test_removed_weights_are_not_ranked_again_whatever_their_value():
    model = one_layer([9.0, 1.0, 2.0, 3.0])
    masks = {"weight": torch.tensor([[False, True, True, True]])}
    masks = magnitude_masks(model, masks, 1 / 3)
    assert masks["weight"].tolist() == [[False, False, True, True]]


def test_every_layer_may_have_a_fraction_of_its_own():
    model = mlp(4, 2, 2)
    masks = magnitude_masks(model, full_masks(model), {"0.weight": 0.25, "2.weight": 0.5})
    assert [int(mask.sum()) for mask in masks.values()] == [6, 2]


def test_a_layer_that_is_already_empty_stays_empty_and_does_no_harm():
    model = mlp(4, 2, 2)
    masks = full_masks(model)
    masks["0.weight"][:] = False
    for scope in ("layerwise", "global"):
        pruned = magnitude_masks(model, masks, 0.5, scope)
        assert [int(mask.sum()) for mask in pruned.values()] == [0, 2]


@pytest.mark.parametrize("fraction", [-0.1, 1.0, 1.5, math.nan, math.inf])
@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_a_fraction_outside_zero_to_one_is_refused(fraction, scope):
    model = one_layer([1.0, 2.0])
    with pytest.raises(ValueError, match="fraction must be in"):
        magnitude_masks(model, full_masks(model), fraction, scope)


def test_fractions_that_do_not_name_every_layer_are_refused():
    model = mlp(4, 2, 2)
    with pytest.raises(ValueError, match="name every prunable weight"):
        magnitude_masks(model, full_masks(model), {"0.weight": 0.5})
    with pytest.raises(ValueError, match="global scope takes one fraction"):
        magnitude_masks(model, full_masks(model), {"0.weight": 0.5, "2.weight": 0.4}, "global")


def test_an_unknown_scope_is_refused():
    model = one_layer([1.0, 2.0])
    with pytest.raises(ValueError, match="unknown scope 'local'; choose from layerwise, global"):
        magnitude_masks(model, full_masks(model), 0.5, "local")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_a_surviving_weight_that_is_not_finite_is_refused(bad, scope):
    model = one_layer([1.0, bad, 2.0])
    with pytest.raises(ValueError, match="weight holds weights that are NaN or infinite"):
        magnitude_masks(model, full_masks(model), 0.5, scope)
    masks = {"weight": torch.tensor([[True, False, True]])}  # a removed weight is nobody's business
    assert magnitude_masks(model, masks, 0.5, scope)["weight"].tolist() == [[False, False, True]]


BAD_MASKS = {
    "missing": {},
    "extra": {"weight": torch.ones(1, 2, dtype=torch.bool), "b": torch.ones(1, dtype=torch.bool)},
    "of another shape": {"weight": torch.ones(2, dtype=torch.bool)},
    "of numbers": {"weight": torch.ones(1, 2)},
}


@pytest.mark.parametrize("masks", BAD_MASKS.values(), ids=BAD_MASKS)
def test_masks_that_do_not_fit_are_refused_before_anything_changes(masks):
    model = one_layer([1.0, 2.0])
    before = copy.deepcopy(model.state_dict())
    other = {name: torch.zeros_like(value) for name, value in before.items()}
    for use in (
        lambda: magnitude_masks(model, masks, 0.5),
        lambda: apply_masks(model, masks),
        lambda: rewind(model, other, masks),
    ):
        with pytest.raises(ValueError, match="mask"):
            use()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


# T6.1 and T6.4: what a magnitude mask is good for


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, math.inf])
def test_no_choice_of_as_many_weights_is_nearer_to_the_dense_vector(power):
    """T6.1 by brute force over every support."""

    def error(removed):
        return max(removed) if power == math.inf else sum(x**power for x in removed)

    for seed in range(5):
        weights = np.random.default_rng(seed).normal(size=7).astype(np.float32)
        model = one_layer(weights.tolist())
        for num_kept in range(1, 8):
            masks = magnitude_masks(model, full_masks(model), 1 - num_kept / 7)
            removed = np.abs(weights[~masks["weight"][0].numpy()])
            supports = itertools.combinations(np.abs(weights), 7 - num_kept)
            best = min(error(s) for s in supports if s) if num_kept < 7 else 0
            assert (error(removed) if len(removed) else 0) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
def test_at_equal_count_the_global_mask_discards_no_more_energy_than_the_layerwise(seed):
    model = mlp(10, 8, 5, seed=seed)
    model[0].weight.data *= 3.0  # without a difference of scale there is little to see
    energy, count = {}, {}
    for scope in ("layerwise", "global"):
        masks = magnitude_masks(model, full_masks(model), 0.5, scope)
        pairs = [(weight.detach(), masks[name]) for name, weight in prunable(model).items()]
        energy[scope] = sum((weight[~mask] ** 2).sum().item() for weight, mask in pairs)
        count[scope] = sum(int(mask.sum()) for _, mask in pairs)
    assert count["global"] == count["layerwise"]
    assert energy["global"] < energy["layerwise"]


def test_a_rescaling_that_keeps_the_function_lets_a_global_threshold_empty_a_layer():
    """T6.4: the function is the same, the layerwise masks too; the global mask kills a layer."""
    model = mlp(6, 6, 6, 6)[:-1]
    scaled = copy.deepcopy(model)
    c = 2.0**-10
    scaled[2].weight.data *= c
    scaled[2].bias.data *= c
    scaled[4].weight.data /= c
    x = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(scaled(x), model(x))

    same = [magnitude_masks(net, full_masks(net), 0.4) for net in (model, scaled)]
    assert all(torch.equal(same[0][name], same[1][name]) for name in same[0])

    alive = [magnitude_masks(net, full_masks(net), 0.4, "global") for net in (model, scaled)]
    assert alive[0]["2.weight"].any()
    assert not alive[1]["2.weight"].any()
    apply_masks(scaled, alive[1])
    assert scaled(x).std(0).max() < 1e-6  # the output no longer depends on the input


def test_levels_without_training_are_one_shot_pruning():
    """T5.4: top-k sets of one vector are nested, so they compose."""
    model = one_layer(torch.randn(64, generator=torch.Generator().manual_seed(0)).tolist())
    masks = full_masks(model)
    for _ in range(3):
        masks = magnitude_masks(model, masks, 0.5)
    assert torch.equal(masks["weight"], magnitude_masks(model, full_masks(model), 0.875)["weight"])


# The PQ index


def test_pq_index_by_hand():
    assert pq_index(torch.tensor([1.0, 2.0]), 1, 2) == pytest.approx(1 - 3 / math.sqrt(10))


@pytest.mark.parametrize(("p", "q"), [*PAIRS, (0.3, 2.5), (2.0, 3.0)])
def test_pq_index_agrees_with_its_definition_in_numpy(p, q):
    w = np.random.default_rng(0).normal(size=50)
    norms = [(np.abs(w) ** s).sum() ** (1 / s) for s in (p, q)]
    expected = 1 - len(w) ** (1 / q - 1 / p) * norms[0] / norms[1]
    assert pq_index(torch.from_numpy(w), p, q) == pytest.approx(expected, abs=1e-12)


@seeded
@given(w=vectors, orders=orders)
def test_pq_index_lies_between_the_flat_and_the_one_hot_vector(w, orders):
    """T1.1."""
    p, q = orders
    index, d = pq_index(torch.from_numpy(w), p, q), len(w)
    assert 0 <= index <= 1 - d ** (1 / q - 1 / p) + 1e-12


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_pq_index_is_zero_for_flat_vectors_and_largest_for_one_hot_vectors(p, q):
    """T1.1, the two ends."""
    assert pq_index(torch.tensor([2.0, -2.0, 2.0]), p, q) == pytest.approx(0, abs=1e-12)
    assert pq_index(torch.tensor([0.0, -7.0, 0.0]), p, q) == pytest.approx(1 - 3 ** (1 / q - 1 / p))


@seeded
@given(w=vectors, orders=orders, scale=st.floats(1e-30, 1e30), negative=st.booleans())
def test_pq_index_knows_neither_scale_nor_sign_nor_cloning(w, orders, scale, negative):
    """T1.1."""
    index = pq_index(torch.from_numpy(w), *orders)
    scaled = torch.from_numpy(w * (-scale if negative else scale))
    assert pq_index(scaled, *orders) == pytest.approx(index, abs=1e-9)
    assert pq_index(torch.from_numpy(np.tile(w, 3)), *orders) == pytest.approx(index, abs=1e-9)


@seeded
@given(w=vectors, orders=orders, num_zeros=st.integers(1, 20))
def test_adding_zeros_multiplies_one_minus_the_index_by_the_exact_factor(w, orders, num_zeros):
    """T1.2 (Babies)."""
    (p, q), d = orders, len(w)
    before = pq_index(torch.from_numpy(w), p, q)
    after = pq_index(torch.from_numpy(np.append(w, np.zeros(num_zeros))), p, q)
    factor = (d / (d + num_zeros)) ** (1 / p - 1 / q)
    assert 1 - after == pytest.approx(factor * (1 - before), rel=1e-9)


@seeded
@given(w=vectors, orders=orders, rise=st.floats(0.01, 10.0))
def test_a_rising_tide_makes_the_weights_more_equal(w, orders, rise):
    """T1.3."""
    assume(np.ptp(w) > 0.01)
    assert pq_index(torch.from_numpy(w + rise), *orders) < pq_index(torch.from_numpy(w), *orders)


@seeded
@given(w=vectors, orders=orders, below=st.floats(0.3, 0.9), above=st.floats(1.1, 3.0))
def test_one_growing_weight_lowers_the_index_up_to_the_exact_threshold(w, orders, below, above):
    """T1.4 (Bill Gates): x* = (A_q / A_p)^(1 / (q - p)) is the minimum."""
    assume((w > 0.05).all())
    p, q = orders
    threshold = ((w**q).sum() / (w**p).sum()) ** (1 / (q - p))

    def index(x):
        return pq_index(torch.from_numpy(np.append(w, x)), p, q)

    assert index(threshold) < index(below * threshold) < index(0.9 * below * threshold)
    assert index(threshold) < index(above * threshold) < index(1.1 * above * threshold)


@seeded
@given(
    w=vectors,
    p=st.floats(0.3, 1.0),
    q=st.floats(1.0, 3.0),
    share=st.floats(0.05, 0.95),
)
def test_robin_hood_lowers_the_index_when_one_lies_between_p_and_q(w, p, q, share):
    """T1.5, the safe range."""
    assume(q - p > 0.05)
    rich, poor = w.argmax(), w.argmin()
    assume(w[rich] - w[poor] > 0.01)
    moved = w.copy()
    alpha = share * (w[rich] - w[poor]) / 2
    moved[[rich, poor]] += [-alpha, alpha]
    assert pq_index(torch.from_numpy(moved), p, q) < pq_index(torch.from_numpy(w), p, q)


def test_robin_hood_fails_outside_the_safe_range():
    """T1.5, the two explicit violations: a transfer to the poorer that raises the index."""
    before, after = torch.tensor([10.0, 2.0, 1.0]), torch.tensor([10.0, 1.7, 1.3])
    assert round(pq_index(before, 2, 3), 5) == 0.14930
    assert round(pq_index(after, 2, 3), 5) == 0.15047
    assert all(pq_index(after, p, q) < pq_index(before, p, q) for p, q in PAIRS)


@pytest.mark.parametrize(("p", "q"), [(0.3, 0.6), (2, 3), (0.05, 0.1)])
def test_robin_hood_holds_for_two_weights_whatever_the_orders(p, q):
    """T1.5, d = 2: the index of (x, 1) rises with x > 1."""
    indices = [pq_index(torch.tensor([x, 1.0]), p, q) for x in (1.0, 1.5, 2.0, 4.0, 8.0)]
    assert indices == sorted(indices)
    assert len(set(indices)) == len(indices)


@pytest.mark.parametrize(("p", "q"), [(0.001, 0.002), (0.001, 1.0), (1.0, 500.0)])
def test_extreme_orders_neither_overflow_nor_leave_the_range(p, q):
    """The powers of sums leave the range of float64; their logarithms do not."""
    w = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    assert 0 < pq_index(w, p, q) < 1
    assert pq_index(torch.ones(10_000), p, q) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("p", "q"), [(1, 1), (2, 1), (0, 1), (-1, 1), (1, math.inf), (math.nan, 1)]
)
def test_orders_that_are_not_increasing_and_positive_are_refused(p, q):
    with pytest.raises(ValueError, match="0 < p < q"):
        pq_index(torch.ones(3), p, q)


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, math.nan], [1.0, math.inf]])
def test_weights_without_an_index_are_refused(weights):
    for function in (pq_index, sap_fraction):
        with pytest.raises(ValueError, match="finite weights that are not all zero"):
            function(torch.tensor(weights), 1, 2)


# SAP


def num_kept(w, p, q, eta=0.0):
    """Return how many weights SAP keeps, from the fraction it prescribes."""
    d = len(w)
    return d - round(d * sap_fraction(torch.from_numpy(w), p, q, eta, beta=1 - 1e-12))


@seeded
@given(w=vectors, orders=orders, eta=st.sampled_from([0.0, 0.1, 1.0]), seed=st.integers(0, 99))
def test_no_set_with_little_mass_outside_is_smaller_than_the_bound(w, orders, eta, seed):
    """T1.6: take weights in any order until at most eta of their mass is left outside."""
    (p, q), d = orders, len(w)
    mass = np.append(0, np.random.default_rng(seed).permutation(w) ** p).cumsum()
    size = int((mass[-1] - mass <= eta * mass).argmax())
    index = pq_index(torch.from_numpy(w), p, q)
    bound = d * (1 + eta) ** (-q / (q - p)) * (1 - index) ** (p * q / (q - p))
    assert size >= bound * (1 - 1e-9)
    assert size >= num_kept(w, p, q, eta)


@pytest.mark.parametrize(("p", "q"), [*PAIRS, (0.5, 2.0)])
@pytest.mark.parametrize("support", [1, 2, 5, 7])
def test_flat_weights_on_a_support_are_kept_exactly_and_zeros_go(support, p, q):
    """T1.6 with equality; an exact integer is not lifted by round-off."""
    w = np.array([0.3] * support + [0.0] * (20 - support))
    assert num_kept(w, p, q) == support


@pytest.mark.parametrize("seed", range(5))
def test_the_count_is_the_effective_number_of_weights_whatever_d(seed):
    """T1.7: (1, 2) is the participation ratio, (0.5, 1) its square-root cousin; zeros are free."""
    w = np.random.default_rng(seed).normal(size=200)
    a = np.abs(w)
    effective = {
        (1.0, 2.0): a.sum() ** 2 / (a**2).sum(),
        (0.5, 1.0): np.sqrt(a).sum() ** 2 / a.sum(),
    }
    for (p, q), number in effective.items():
        index = pq_index(torch.from_numpy(w), p, q)
        assert len(w) * (1 - index) ** (p * q / (q - p)) == pytest.approx(number, rel=1e-12)
        assert num_kept(w, p, q) == math.ceil(number)
        assert num_kept(np.append(w, np.zeros(100)), p, q) == math.ceil(number)


LAWS = {
    "gaussian": (np.random.Generator.standard_normal, 1 - 2 / math.pi, 0.153),
    "uniform": (np.random.Generator.random, 0.25, 1 / 9),
    "laplace": (
        lambda rng, size: rng.laplace(size=size),
        0.5,
        1 - math.pi / 4,
    ),
}


@pytest.mark.parametrize("law", LAWS)
def test_the_first_fraction_of_three_laws_is_the_reference_number(law):
    """T1.7, population values; 400 000 weights agree to three digits."""
    draw, one_two, half_one = LAWS[law]
    w = torch.from_numpy(draw(np.random.default_rng(0), size=400_000))
    assert sap_fraction(w, 1, 2) == pytest.approx(one_two, abs=3e-3)
    assert sap_fraction(w, 0.5, 1) == pytest.approx(half_one, abs=3e-3)


@seeded
@given(w=vectors)
def test_sap_discards_at_most_a_quarter_of_the_mass_in_one_round(w):
    """T1.8 at eta = 0: of the energy for (1, 2), of the l1 mass for (0.5, 1)."""
    for p, q in PAIRS:
        mass = np.sort(w) ** q
        removed = len(w) - num_kept(w, p, q)
        assert mass[:removed].sum() <= 0.25 * mass.sum() * (1 + 1e-9)


@pytest.mark.parametrize(("p", "q"), PAIRS)
def test_a_quarter_is_the_best_constant(p, q):
    """T1.8: one large weight and 2 r equal ones come near to it."""
    r, t = 10_000, q / p
    w = np.ones(1 + int(t / (t - 1) * r))
    w[0] = (((t / (t - 1)) ** t - t / (t - 1)) * r) ** (1 / q)
    mass = np.sort(w) ** q
    discarded = mass[: len(w) - num_kept(w, p, q)].sum() / mass.sum()
    assert 0.23 < discarded <= 0.25


def test_sap_slows_down_on_its_own_survivors():
    """T1.9, observed: without retraining, the fractions of a Gaussian vector decrease."""
    w = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    fractions = []
    for _ in range(4):
        fractions.append(sap_fraction(w, 1, 2))
        w = w[w.abs().argsort()[round(fractions[-1] * len(w)) :]]
    assert fractions == pytest.approx([0.363, 0.178, 0.138, 0.115], abs=0.005)


@seeded
@given(
    w=vectors,
    orders=orders,
    eta=st.floats(0.0, 5.0),
    gamma=st.floats(0.01, 5.0),
    beta=st.floats(0.01, 0.99),
)
def test_the_sap_fraction_never_leaves_zero_to_beta(w, orders, eta, gamma, beta):
    assert 0 <= sap_fraction(torch.from_numpy(w), *orders, eta, gamma, beta) <= beta


def test_gamma_scales_and_eta_raises_the_fraction_until_beta():
    w = torch.tensor([4.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    full = sap_fraction(w, 1, 2)
    assert full == 1 - 3 / 8  # participation ratio 49 / 19, rounded up
    assert sap_fraction(w, 1, 2, gamma=0.5) == pytest.approx(full / 2)
    assert sap_fraction(w, 1, 2, eta=1.0) == 1 - 1 / 8
    assert sap_fraction(w, 1, 2, beta=0.2) == 0.2


@pytest.mark.parametrize(
    "bad",
    [
        {"eta": -0.1},
        {"eta": math.nan},
        {"gamma": 0.0},
        {"gamma": math.inf},
        {"beta": 0.0},
        {"beta": 1.0},
    ],
    ids=str,
)
def test_sap_parameters_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match="SAP needs"):
        sap_fraction(torch.ones(3), 1, 2, **bad)


# Applying, training, rewinding


def test_applying_masks_zeroes_the_removed_weights_and_no_others():
    model = one_layer([1.0, 2.0, 3.0])
    bias = model.bias.detach().clone()
    apply_masks(model, {"weight": torch.tensor([[True, False, True]])})
    assert model.weight.tolist() == [[1.0, 0.0, 3.0]]
    assert torch.equal(model.bias, bias)


def test_applying_masks_removes_even_a_nan():
    model = one_layer([1.0, math.nan])
    apply_masks(model, {"weight": torch.tensor([[True, False]])})
    assert model.weight.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_pruned_weights_never_return_after_any_single_step(optimizer, weight_decay):
    torch.manual_seed(0)
    model, (x, y) = ConvNet(), images()
    opt = make_optimizer(model, optimizer, 0.05, 0.9, weight_decay)
    batches = shuffled_batches(len(x), 8, torch.Generator().manual_seed(0))
    masks = full_masks(model)
    train_steps(model, opt, x, y, masks, batches, 5)  # momentum is under way when pruning comes
    for _ in range(3):
        masks = magnitude_masks(model, masks, 0.5)
        for _ in range(4):
            before = {name: w.detach().clone() for name, w in prunable(model).items()}
            train_steps(model, opt, x, y, masks, batches, 1)
            for name, weight in prunable(model).items():
                assert (weight[~masks[name]] == 0).all()
                assert (weight[masks[name]] != before[name][masks[name]]).any()


def test_masks_hold_in_the_very_first_forward_pass_too():
    """One step from unmasked weights is one step from masked ones."""
    x, y = images()
    states = []
    for apply_first in (False, True):
        torch.manual_seed(0)
        model = ConvNet()
        masks = magnitude_masks(model, full_masks(model), 0.8)
        if apply_first:
            apply_masks(model, masks)
        opt = make_optimizer(model, "sgd", 0.1, 0.0, 0.0)
        train_steps(model, opt, x, y, masks, iter([torch.arange(len(x))]), 1)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def trained_away(seed=0):
    """Return a model, its masks, and the state it had before it was trained away from it."""
    torch.manual_seed(seed)
    model, (x, y) = ConvNet(), images()
    state = copy.deepcopy(model.state_dict())
    masks = magnitude_masks(model, full_masks(model), 0.5)
    opt = make_optimizer(model, "adam", 0.05, 0.9, 0.0)
    batches = shuffled_batches(len(x), 8, torch.Generator().manual_seed(seed))
    train_steps(model, opt, x, y, masks, batches, 10)
    return model, state, masks


def test_rewinding_restores_survivors_biases_and_batch_norm_buffers():
    model, state, masks = trained_away()
    changed = [
        key for key, value in model.state_dict().items() if not torch.equal(value, state[key])
    ]
    assert set(changed) == set(state)  # training reached everything
    rewind(model, state, masks)
    for name, value in model.state_dict().items():
        expected = state[name] * masks[name] if name in masks else state[name]
        assert torch.equal(value, expected), name


def test_rewinding_never_aliases_the_saved_state():
    model, state, masks = trained_away()
    saved = copy.deepcopy(state)
    for _ in range(2):  # the reference code loses its biases the second time
        rewind(model, state, masks)
        stored = {value.data_ptr() for value in state.values()}
        assert not any(value.data_ptr() in stored for value in model.state_dict().values())
        x, y = images()
        opt = make_optimizer(model, "sgd", 0.1, 0.9, 0.0)
        train_steps(model, opt, x, y, masks, iter([torch.arange(len(x))]), 1)
        assert all(torch.equal(saved[key], state[key]) for key in saved)


def test_rewinding_keeps_the_parameters_an_optimiser_holds():
    model, state, masks = trained_away()
    before = {name: id(parameter) for name, parameter in model.named_parameters()}
    rewind(model, state, masks)
    assert before == {name: id(parameter) for name, parameter in model.named_parameters()}


def test_a_state_that_does_not_fit_is_refused():
    model = one_layer([1.0, 2.0])
    with pytest.raises(ValueError, match="saved state does not fit"):
        rewind(model, nn.Linear(3, 1).state_dict(), full_masks(model))
    with pytest.raises(ValueError, match="saved state does not fit"):
        rewind(model, {}, full_masks(model))


def test_density_counts_weights_not_layers():
    masks = {"a": torch.tensor([True, False]), "b": torch.tensor([[True] * 6])}
    assert density(masks) == 7 / 8
    with pytest.raises(ValueError, match="no masks"):
        density({})


def test_the_distance_of_masks_counts_a_swap_as_two_of_those_that_are_alive():
    before = {"weight": torch.tensor([[True, True, False, False]])}
    now = {"weight": torch.tensor([[True, False, True, False]])}
    alive = {"weight": torch.tensor([[True, True, True, False]])}
    assert mask_distance(before, now) == 2 / 4
    assert mask_distance(before, now, alive) == 2 / 3
    assert mask_distance(now, now, alive) == 0


def test_masks_of_different_networks_have_no_distance():
    with pytest.raises(ValueError, match="different networks"):
        mask_distance({"a": torch.ones(1, dtype=bool)}, {"b": torch.ones(1, dtype=bool)})


def test_sap_pools_all_layers_in_global_scope_and_takes_each_alone_in_layerwise():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    masks = full_masks(model)
    weights = [weight.detach().flatten() for weight in prunable(model).values()]
    pooled = sap_fraction(torch.cat(weights), 0.5, 1)
    assert sap_fractions(model, masks, "global", 0.5, 1) == pooled
    each = [sap_fraction(w, 0.5, 1) for w in weights]
    assert list(sap_fractions(model, masks, "layerwise", 0.5, 1).values()) == each


# What comes in and what is left


def test_the_zeros_of_a_pruned_network_are_its_masks():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    kept = magnitude_masks(model, full_masks(model), 0.5)
    apply_masks(model, kept)
    for masks in (from_zeros(model), found(model)):
        assert all(torch.equal(masks[name], mask) for name, mask in kept.items())


def test_a_layer_of_zeros_is_an_initialisation_unless_another_layer_was_pruned():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 200))
    model[1].weight.data.zero_()
    model[2].weight.data.view(-1)[:15] = 0  # fewer than one in a hundred
    assert density(found(model)) == 1.0
    assert not from_zeros(model)["1.weight"].any()
    model[0].weight.data[:4] = 0
    masks = found(model)
    assert masks["0.weight"].sum() == 32
    assert not masks["1.weight"].any()
    assert masks["2.weight"].all()


def test_dead_names_layers_without_weights_as_their_modules_are_called():
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Conv2d(1, 1, 1)), nn.Linear(2, 2))
    masks = full_masks(model)
    assert dead(masks) == []
    masks["1.0.weight"][:] = False
    masks["0.weight"][0, 0] = False
    assert dead(masks) == ["1.0"]


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 4), (4, 8), (3, 3)])
def test_n_of_m_keeps_the_n_largest_of_every_group_ties_too(n, m):
    scores = {"a": torch.rand(5, 24), "ties": torch.ones(2, 24)}
    scores["conv"] = torch.rand(3, 24, 3, 3)
    for name, mask in n_of_m(scores, n, m).items():
        assert mask.shape == scores[name].shape
        assert mask.is_contiguous()
        # along the inputs: of a convolution, the channels at one place of the kernel
        groups, marks = (x.movedim(1, -1).reshape(-1, m) for x in (scores[name], mask))
        assert (marks.sum(1) == n).all()
        kept = groups.masked_fill(~marks, 9).amin(1)
        removed = groups.masked_fill(marks, -9).amax(1)
        assert (kept >= removed).all()


def test_n_of_m_leaves_rows_that_do_not_divide_dense_and_refuses_nonsense():
    assert n_of_m({"odd": torch.rand(4, 6)})["odd"].all()  # 24 weights, but six in a row
    with pytest.raises(ValueError, match="not 5 of 4"):
        n_of_m({"a": torch.rand(4, 4)}, 5, 4)
    for bad in (torch.full((1, 4), float("nan")), torch.rand(4)):
        with pytest.raises(ValueError, match="scores of a are NaN, or not"):
            n_of_m({"a": bad})
    # three colours of a kernel of four places: twelve numbers a unit, but no four input channels
    assert n_of_m({"conv": torch.rand(8, 3, 2, 2)})["conv"].all()


def test_two_of_four_is_what_the_published_library_draws_for_a_convolution():
    """As asp of NVIDIA's apex: permute(2, 3, 0, 1), rows of input channels, the best pattern."""
    weight = torch.randn(4, 8, 3, 3)
    patterns = torch.tensor([p for p in itertools.product((0.0, 1.0), repeat=4) if sum(p) == 2])
    rows = weight.permute(2, 3, 0, 1).reshape(-1, 4)
    best = patterns[(rows.abs() @ patterns.T).argmax(1)].reshape(3, 3, 4, 8).permute(2, 3, 0, 1)
    assert torch.equal(n_of_m({"weight": weight.abs()})["weight"], best.bool())


def test_masks_of_two_of_four_are_held_and_pruned_further():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(4, 2))
    scores = {name: weight.detach().abs() for name, weight in prunable(model).items()}
    masks = full_masks(model) | n_of_m(scores)
    assert [masks[name].sum().item() for name in masks] == [216, 16, 4]
    apply_masks(model, masks)
    assert all((model[i].weight != 0).sum() == masks[f"{i}.weight"].sum() for i in (0, 1, 3))
    assert density(magnitude_masks(model, masks, 0.5)) == density(masks) / 2


def test_masked_holds_zeros_as_apply_masks_does_and_leaves_none_negative():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Linear(4, 3), nn.Linear(3, 2))
    masks = magnitude_masks(model, full_masks(model), 0.5) | {
        "2.weight": torch.ones(2, 3, dtype=torch.bool)
    }
    other = copy.deepcopy(model)
    hold = Masked(model, masks)
    hold()
    hold.settle()
    apply_masks(other, masks)
    assert hold.names == ["0.weight", "1.weight"]  # a layer that keeps all costs nothing
    for mine, expected in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, expected)
        assert not (mine.signbit() & (mine == 0)).any()
    with pytest.raises(ValueError, match="masks do not fit"):
        Masked(model, {})
