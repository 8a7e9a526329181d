"""T6, and what of T5 is about masks. Each test would refute its statement."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import normalize

from infcop_lite import Config, data, masks, models, prune, run_imp, stopping
from infcop_lite.amounts import next_masks
from infcop_lite.level import Start
from infcop_lite.loop import State
from infcop_lite.theory.selection import (
    activation_scores,
    barrier_bound,
    collapse_scale,
    condition_number,
    k_term_error,
    loss_barrier,
    lth_count,
    mask_difference_bound,
    output_error,
    refit,
)

fifty = settings(deadline=None, derandomize=True, max_examples=50)
seeds = st.integers(0, 10_000)
whole = st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=9)


def randn(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def wishart(seed, size, samples=None):
    a = randn(seed + 77, samples or 3 * size, size) * torch.logspace(0, 1, size)
    return a.T @ a / len(a)


def top(scores, kept):
    """The mask of the `kept` largest scores of a tensor of any shape, by the library's rule."""
    layer = nn.Linear(scores.numel(), 1, dtype=torch.float64)
    layer.weight.data.copy_(scores.flatten())
    fraction = 1 - kept / scores.numel()
    found = masks.magnitude_masks(layer, masks.full_masks(layer), fraction)["weight"]
    assert int(found.sum()) == kept
    return found.reshape(scores.shape)


def small_net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))


def small_data(seed=0):
    x = randn(seed, 200, 4).float()
    return x, (x[:, 0] * x[:, 1] > 0).long()


# --- the two ends ---


@pytest.mark.parametrize("scope", masks.SCOPES)
@pytest.mark.parametrize("amount", ["fixed", "sap"])
@pytest.mark.parametrize("ties", [False, True])
def test_t5_4_no_training_is_one_shot_pruning_of_the_snapshot(scope, amount, ties):
    model = small_net()
    if ties:
        with torch.no_grad():
            for weight in masks.prunable(model).values():
                weight.copy_((5 * weight).round() + 0.5)
    config = Config(amount=amount, scope=scope, fraction=0.3)
    rounds = masks.full_masks(model)
    for _ in range(4):
        rounds = next_masks(model, rounds, config)
    weights, kept = list(rounds.values()), {k: int(m.sum()) for k, m in rounds.items()}
    if scope == "global":
        scores = torch.cat([w.detach().abs().flatten() for w in masks.prunable(model).values()])
        at_once = top(scores, sum(kept.values()))
        assert torch.equal(torch.cat([m.flatten() for m in weights]), at_once)
    else:
        for name, weight in masks.prunable(model).items():
            assert torch.equal(rounds[name], top(weight.detach().abs(), kept[name]))


def test_t5_4_the_loop_itself_with_no_epochs_is_one_shot_pruning():
    states = []
    options = {"subset": 200, "levels": 3, "warmup_epochs": 1, "fraction": 0.3}
    list(run_imp(Config(**options, stop=stopping.FixedEpochs(0)), keep=states.append))
    model = models.build("mlp", data.load("digits", subset=200))
    model.load_state_dict(states[0].start.weights)
    found = states[-1].start.masks
    for name, weight in masks.prunable(model).items():
        assert torch.equal(found[name], top(weight.detach().abs(), int(found[name].sum())))


def test_t5_4_training_to_the_budget_is_full_iterative_pruning():
    x, y = small_data()
    options = {"levels": 2, "epochs": 2, "warmup_epochs": 1, "fraction": 0.3, "batch_size": 50}
    full = prune(small_net(), (x, y), (x, y), **options)
    by_rule = prune(small_net(), (x, y), (x, y), **options, stop=stopping.FixedEpochs(2))
    assert masks.mask_distance(full[1], by_rule[1]) == 0
    assert full[2][-1].train_loss == by_rule[2][-1].train_loss


def test_t5_4_with_training_the_masks_are_others():
    x, y = small_data()
    options = {"levels": 3, "epochs": 4, "warmup_epochs": 1, "fraction": 0.3, "batch_size": 10}
    one_shot = prune(small_net(), (x, y), (x, y), **options, stop=stopping.FixedEpochs(0))[1]
    full = prune(small_net(), (x, y), (x, y), **options)[1]
    assert masks.mask_distance(one_shot, full) > 0


# --- only the mask survives rewinding ---


def test_t5_5_after_a_full_rewind_only_the_mask_matters():
    options = {"subset": 300, "levels": 2, "epochs": 2, "warmup_epochs": 1, "fraction": 0.5}
    finals = {}
    for epochs in (1, 2):
        states = []
        list(run_imp(Config(**options, stop=stopping.FixedEpochs(epochs)), keep=states.append))
        finals[epochs] = states
    assert masks.mask_distance(finals[1][-2].start.masks, finals[2][-2].start.masks) > 0
    swapped = State(Start(2, finals[2][-2].start.masks, finals[1][0].start.weights))
    states = []
    config = Config(**options, stop=stopping.FixedEpochs(1))
    list(run_imp(config, swapped, keep=states.append))
    for name, value in finals[2][-1].start.weights.items():
        assert torch.equal(states[-1].start.weights[name], value)
    assert any(
        not torch.equal(finals[1][-1].start.weights[k], v)
        for k, v in states[-1].start.weights.items()
    )


def test_t5_5_counterexample_what_is_not_rewound_carries_the_history_past_the_mask():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    x, y = small_data()
    snapshot = {k: v.clone() for k, v in net.state_dict().items()}
    kept, outputs = masks.full_masks(net), {}
    for steps in (1, 30):
        masks.rewind(net, snapshot, kept)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        with torch.no_grad():  # as the published code: weights go back, the rest stays
            for name, weight in masks.prunable(net).items():
                weight.copy_(snapshot[name])
        outputs[steps, "weights"] = net.eval()(x)
        masks.rewind(net, snapshot, kept)
        outputs[steps, "all"] = net.eval()(x)
        net.train()
    assert torch.equal(outputs[1, "all"], outputs[30, "all"])
    assert not torch.allclose(outputs[1, "weights"], outputs[30, "weights"], atol=1e-2)


def ham(u, v, kept, kept_later=None):
    later = top(v.abs(), kept if kept_later is None else kept_later)
    return int((top(u.abs(), kept) ^ later).sum())


@fifty
@given(seeds, st.integers(2, 40), st.floats(0, 2), st.floats(0.01, 3), st.booleans())
def test_t5_5_masks_differ_in_no_more_entries_than_the_bound(seed, n, size, above, ties):
    u = randn(seed, n)
    v = u + size * randn(seed + 1, n)
    if ties:
        u, v = u.round(), v.round()
    for kept in range(1, n + 1):
        delta = abs(u.abs().sort().values[n - kept] - v.abs().sort().values[n - kept]).item()
        assert delta <= (u.abs() - v.abs()).abs().max() + 1e-12
        bound = mask_difference_bound(u, v, kept)
        assert ham(u, v, kept) <= bound
        assert bound <= mask_difference_bound(u, v, kept, delta + above)


@fifty
@given(seeds, st.integers(2, 30), st.integers(1, 29), st.integers(1, 29))
def test_t5_5_another_count_adds_the_difference_of_the_counts(seed, n, kept, kept_later):
    assume(max(kept, kept_later) <= n)
    u, v = randn(seed, n), randn(seed + 1, n)
    bound = abs(kept - kept_later) + mask_difference_bound(u, v, kept_later)
    assert ham(u, v, kept, kept_later) <= bound


def test_t5_5_the_bound_is_attained():
    u, v = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 1.0])
    assert ham(u, v, 1) == mask_difference_bound(u, v, 1) == 2


def test_t5_5_the_threshold_term_is_needed():
    generator = torch.Generator().manual_seed(0)
    violated = 0
    for _ in range(300):
        u = torch.randn(6, generator=generator, dtype=torch.float64)
        v = u + 0.5 * torch.randn(6, generator=generator, dtype=torch.float64)
        gap = (v.abs() - v.abs().sort().values[3]).abs()
        violated += ham(u, v, 3) > int((gap <= (u.abs() - v.abs()).abs()).sum())
    assert violated > 0


def test_t5_5_counterexample_a_mask_may_change_little_at_every_check_and_still_go_far():
    n, kept = 100, 50
    paths = [torch.arange(n).roll(shift).double() + 1 for shift in range(0, 51)]
    steps = [ham(a, b, kept) / n for a, b in itertools.pairwise(paths)]
    assert max(steps) <= 0.02
    assert ham(paths[0], paths[-1], kept) == n
    assert ham(paths[0], paths[-1], kept) <= n * sum(steps)


# --- best k-term approximation ---


@fifty
@given(whole, st.sampled_from([0.5, 1.0, 2.0, math.inf]), st.data())
def test_t6_1_the_largest_magnitudes_are_best_in_every_norm(values, p, draw):
    w, n = torch.tensor(values), len(values)
    kept = draw.draw(st.integers(0, n))

    def norm(v):
        return v.abs().max().item() if math.isinf(p) else v.abs().pow(p).sum().pow(1 / p).item()

    errors = []
    for support in itertools.combinations(range(n), kept):
        v = torch.zeros(n).index_copy(0, torch.tensor(support, dtype=torch.long), w[list(support)])
        errors.append(norm(w - v))
    assert k_term_error(w, kept, p) == pytest.approx(min(errors))
    if kept:
        assert norm(w * ~top(w.abs(), kept)) == pytest.approx(min(errors))


@fifty
@given(whole, st.sampled_from([0.5, 1.0, 2.0]), st.data())
def test_t6_1_the_minimiser_is_unique_exactly_without_a_tie_or_with_enough_terms(values, p, draw):
    w, n = torch.tensor(values), len(values)
    kept = draw.draw(st.integers(0, n))
    least, minimisers = k_term_error(w, kept, p), set()
    for support in itertools.combinations(range(n), kept):
        v = torch.zeros(n).index_copy(0, torch.tensor(support, dtype=torch.long), w[list(support)])
        if k_term_error(w - v, 0, p) <= least * (1 + 1e-9):
            minimisers.add(tuple((v + 0.0).tolist()))
    order = w.abs().sort(descending=True).values
    tie = 0 < kept < n and order[kept - 1] == order[kept]
    unique = not tie or int((w != 0).sum()) <= kept
    assert (len(minimisers) == 1) == unique


def test_t6_1_counterexample_the_maximum_norm_has_many_minimisers():
    w = torch.tensor([3.0, 2.0, 1.0])
    for kept_value in (2.0, 2.5, 3.0, 3.5, 4.0):
        v = torch.tensor([kept_value, 2.0, 0.0])
        assert (w - v).abs().max() == k_term_error(w, 2, math.inf) == 1


# --- output error ---


def test_t6_2_the_output_error_is_a_trace():
    a, w, v = randn(0, 500, 4), randn(1, 3, 4), randn(2, 3, 4)
    second_moment = a.T @ a / len(a)
    sampled = ((w - v) @ a.T).square().sum(0).mean().item()
    assert output_error(w, v, second_moment) == pytest.approx(sampled)
    difference = w - v
    trace = torch.trace(difference @ second_moment @ difference.T).item()
    assert output_error(w, v, second_moment) == pytest.approx(trace)


@fifty
@given(seeds, st.booleans())
def test_t6_2_the_magnitude_mask_is_within_the_condition_number_of_the_best_refit(seed, per_row):
    w, s = randn(seed, 2, 4), wishart(seed, 4)
    bound = condition_number(s)
    if per_row:
        chosen = torch.stack([top(row.abs(), 2) for row in w])
        supports = itertools.product(itertools.combinations(range(4), 2), repeat=2)
        candidates = [list(pair[0]) + [4 + c for c in pair[1]] for pair in supports]
    else:
        chosen = top(w.abs(), 3)
        candidates = [list(c) for c in itertools.combinations(range(8), 3)]
    least, least_refit = math.inf, math.inf
    for support in candidates:
        mask = torch.zeros(8, dtype=torch.bool)
        mask[support] = True
        mask = mask.reshape(2, 4)
        least = min(least, output_error(w, w * mask, s))
        fitted = refit(w, mask, s)
        assert not fitted[~mask].any()
        least_refit = min(least_refit, output_error(w, fitted, s))
    assert least_refit <= least + 1e-9
    assert output_error(w, w * chosen, s) <= bound * least_refit * (1 + 1e-9)


@fifty
@given(seeds)
def test_t6_2_the_refit_is_the_best_on_its_mask(seed):
    w, s = randn(seed, 3, 5), wishart(seed, 5)
    mask = randn(seed + 5, 3, 5) > 0
    fitted = refit(w, mask, s)
    assert torch.allclose(((w - fitted) @ s)[mask], torch.zeros(1, dtype=torch.float64), atol=1e-8)
    nudged = fitted + 0.01 * mask * randn(seed + 6, 3, 5)
    assert output_error(w, fitted, s) <= output_error(w, nudged, s)


@fifty
@given(seeds)
def test_t6_2_for_a_diagonal_moment_the_activation_scores_are_optimal(seed):
    w = randn(seed, 2, 4)
    s = torch.diag(randn(seed + 1, 4).square() + 0.01)
    scores = activation_scores(w, s)
    error = output_error(w, w * top(scores, 3), s)
    for support in itertools.combinations(range(8), 3):
        mask = torch.zeros(8, dtype=torch.bool)
        mask[list(support)] = True
        assert error <= output_error(w, refit(w, mask.reshape(2, 4), s), s) + 1e-12


def test_t6_2_the_condition_number_is_attained_in_the_limit():
    for condition in (10.0, 1000.0):
        s = torch.diag(torch.tensor([1.0, condition], dtype=torch.float64))
        w = torch.tensor([[1 + 1e-6, 1.0]], dtype=torch.float64)
        by_magnitude = output_error(w, w * top(w.abs(), 1), s)
        best = output_error(w, w * top(activation_scores(w, s), 1), s)
        assert by_magnitude / best == pytest.approx(condition_number(s), rel=1e-5)


def test_t6_2_no_bound_for_inputs_that_miss_a_direction():
    a = randn(0, 50, 3)
    a[:, 2] = a[:, 0]
    assert condition_number(a.T @ a / 50) == math.inf
    assert condition_number((a.T @ a / 50).float()) == math.inf


# --- counts ---


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5, 0.9])
def test_t6_3_the_count_is_that_of_a_strict_quantile(fraction):
    rng = np.random.default_rng(0)
    for k in [*range(1, 400), 10_000, 100_001]:
        alive = np.sort(rng.permutation(4 * k)[:k] + 1.0)
        removed = int((alive < np.quantile(alive, fraction)).sum())
        assert removed == lth_count(k, fraction)


@fifty
@given(st.integers(1, 10**9), st.floats(0, 1).map(lambda f: round(f, 3)))
def test_t6_3_the_last_weight_of_a_layer_is_never_removed(k, fraction):
    assert 0 <= lth_count(k, fraction) <= k - 1


def test_t6_3_ties_remove_fewer():
    alive = np.array([1.0, 1.0, 1.0, 1.0, 2.0])
    assert int((alive < np.quantile(alive, 0.2)).sum()) == 0 < lth_count(5)


def test_t6_3_the_library_rounds_and_so_may_empty_a_layer_when_more_than_half_goes():
    layer = nn.Linear(1, 1)
    assert masks.magnitude_masks(layer, masks.full_masks(layer), 0.5)["weight"].all()
    assert not masks.magnitude_masks(layer, masks.full_masks(layer), 0.6)["weight"].any()
    assert lth_count(1, 0.6) == 0


def test_t6_3_counterexample_no_layer_is_empty_and_no_path_is_left():
    first, second = torch.tensor([[2.0, 0.3], [0.2, 1.0]]), torch.tensor([[0.1, 3.0]])
    kept = []
    for weight in (first, second):
        alive = np.sort(weight.flatten().numpy())
        while len(alive) > 1:
            alive = alive[lth_count(len(alive)) :]
        kept.append(weight * (weight >= float(alive[0])))
    assert all(weight.any() for weight in kept)
    assert not (kept[1] @ kept[0]).any()


# --- global thresholds ---


def chain(seed, depth=4, width=6):
    torch.manual_seed(seed)
    layers = [nn.Linear(width, width, dtype=torch.float64) for _ in range(depth)]
    return nn.Sequential(*itertools.chain.from_iterable((f, nn.ReLU()) for f in layers))[:-1]


def rescale(net, first, last, c):
    """W_l c, b_j c for l <= j < l', W_l' / c: the same function for every c > 0."""
    linear = [module for module in net if isinstance(module, nn.Linear)]
    with torch.no_grad():
        linear[first].weight.mul_(c)
        for layer in linear[first:last]:
            layer.bias.mul_(c)
        linear[last].weight.div_(c)


@fifty
@given(seeds, st.floats(0, 0.9))
def test_t6_4_the_global_mask_discards_the_least_energy(seed, fraction):
    net = chain(seed)
    full = masks.full_masks(net)
    weights = masks.prunable(net)
    layerwise = masks.magnitude_masks(net, full, fraction)
    count = sum(int((~m).sum()) for m in layerwise.values())
    total = sum(w.numel() for w in weights.values())
    together = masks.magnitude_masks(net, full, count / total, "global")

    def energy(kept):
        return sum(w.detach()[~kept[k]].square().sum().item() for k, w in weights.items())

    assert sum(int((~m).sum()) for m in together.values()) == count
    assert energy(together) <= energy(layerwise) + 1e-12
    pooled = torch.cat([w.detach().flatten() for w in weights.values()])
    assert energy(together) == pytest.approx(k_term_error(pooled, total - count) ** 2)


@fifty
@given(seeds, st.integers(0, 2), st.integers(1, 3), st.floats(1e-3, 1e3))
def test_t6_4_rescaling_keeps_the_function_and_the_layerwise_masks(seed, first, gap, c):
    last = min(first + gap, 3)
    assume(last > first)
    net, x = chain(seed), randn(seed + 3, 20, 6)
    before, full = net(x), masks.full_masks(net)
    kept = masks.magnitude_masks(net, full, 0.4)
    rescale(net, first, last, c)
    assert torch.allclose(net(x), before, atol=1e-9)
    assert masks.mask_distance(kept, masks.magnitude_masks(net, full, 0.4)) == 0


@pytest.mark.parametrize("first", [0, 1, 2])
def test_t6_4_a_small_factor_makes_the_global_threshold_empty_the_layer(first):
    net, x = chain(1), randn(3, 20, 6)
    full = masks.full_masks(net)
    before = masks.magnitude_masks(net, full, 0.25, "global")
    name = f"{2 * first}.weight"
    assert before[name].any()
    scale = collapse_scale(list(masks.prunable(net).values()), first)
    rescale(net, first, 3, 0.999 * scale)
    collapsed = masks.magnitude_masks(net, full, 0.25, "global")  # a quarter: one layer of four
    assert not collapsed[name].any()
    assert all(mask.all() for other, mask in collapsed.items() if other != name)
    masks.apply_masks(net, collapsed)
    assert torch.allclose(net(x), net(x)[:1].expand(20, -1))


def test_t6_4_one_weight_fewer_and_the_layer_survives():
    net = chain(1)
    scale = collapse_scale(list(masks.prunable(net).values()), 1)
    rescale(net, 1, 2, 0.999 * scale)
    kept = masks.magnitude_masks(net, masks.full_masks(net), 35 / 144, "global")
    assert int(kept["2.weight"].sum()) == 1


def test_t6_4_before_batchnorm_no_compensation_is_needed():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, eps=1e-12), nn.ReLU(), nn.Linear(6, 2))
    x = small_data()[0]
    before = net.train()(x)
    full = masks.full_masks(net)
    with torch.no_grad():
        net[0].weight.mul_(1e-3)
        net[0].bias.mul_(1e-3)
    assert torch.allclose(net(x), before, atol=1e-4)
    kept = masks.magnitude_masks(net, full, 24 / 36, "global")
    assert not kept["0.weight"].any()
    masks.apply_masks(net, kept)
    net.eval()
    assert torch.allclose(net(x), net(x)[:1].expand(len(x), -1))


# --- barriers ---


def along(f, start, end, points=2001):
    share = torch.linspace(0, 1, points, dtype=torch.float64)
    return torch.stack([f(torch.lerp(start, end, s)) for s in share])


@fifty
@given(seeds, st.floats(0.1, 3))
def test_t6_5_a_weakly_convex_loss_has_a_barrier_of_the_second_order(seed, size):
    start, end = size * randn(seed, 3), size * randn(seed + 1, 3)
    matrix = randn(seed + 2, 3, 3)
    matrix = matrix + matrix.T
    nu = max(0.0, -torch.linalg.eigvalsh(matrix)[0].item())
    losses = along(lambda w: w @ matrix @ w / 2, start, end, 101)
    distance = (start - end).norm().item()
    assert loss_barrier(losses) <= barrier_bound(distance, weak_convexity=nu) + 1e-9
    if nu == 0:
        assert loss_barrier(losses) == pytest.approx(0, abs=1e-9)


def test_t6_5_both_bounds_are_attained():
    one = torch.ones(1, dtype=torch.float64)
    concave = along(lambda w: -1.5 * w.square().sum(), -one, one)
    assert loss_barrier(concave) == pytest.approx(barrier_bound(2.0, weak_convexity=3.0))
    tent = along(lambda w: 2.0 * (1 - w.abs().sum()), -one, one)
    assert loss_barrier(tent) == pytest.approx(barrier_bound(2.0, lipschitz=2.0))


@fifty
@given(seeds, st.floats(0.1, 5), st.floats(0.1, 3), st.booleans())
def test_t6_5_the_barrier_is_at_most_half_of_lipschitz_times_distance(seed, slope, size, is_tent):
    """Losses whose Lipschitz constant is known beforehand: waves, and tents across the segment."""
    start, end = size * randn(seed, 3), size * randn(seed + 1, 3)
    distance = (start - end).norm().item()
    ridge = (end - start) / distance if is_tent else normalize(randn(seed + 2, 3), dim=0)
    middle = ridge @ (start + end) / 2
    walk = torch.linspace(-distance, distance, 2001, dtype=torch.float64) / 2
    waves = slope / 7 * torch.sin(7 * walk)
    tent = along(lambda w: -slope * (ridge @ w - middle).abs(), start, end, 101)
    bound = barrier_bound(distance, slope)
    assert loss_barrier(tent) <= bound * (1 + 1e-9)
    assert loss_barrier(waves) <= bound
    if is_tent:  # the kink lies in the middle and the walk is as steep as it can be
        assert loss_barrier(tent) == pytest.approx(bound)


@pytest.mark.parametrize("distance", [0.2, 0.02, 0.002])
def test_t6_5_counterexample_a_concave_kink_admits_no_bound_of_the_second_order(distance):
    half = torch.full((1,), distance / 2, dtype=torch.float64)
    losses = along(lambda w: (1 - w.relu()).square().sum() / 2, -half, half)
    assert 8 * loss_barrier(losses) / distance**2 == pytest.approx(2 / distance - 0.5)
    assert loss_barrier(losses) <= barrier_bound(distance, lipschitz=1.0)


# --- any scale ---


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_t6_1_the_best_error_scales_with_the_weights_and_no_power_leaves_the_range(scale):
    w = torch.tensor([3.0, -1.0, 2.0, 2.0, -9.0], dtype=torch.float64)
    for p, expected in ((2.0, 3.0), (1.0, 5.0), (math.inf, 2.0)):
        assert k_term_error(scale * w, 2, p) / scale == pytest.approx(expected)
    assert k_term_error(0 * w, 2) == 0 == k_term_error(w, 5)


@pytest.mark.parametrize("scale", [1e-14, 1.0, 1e14])
def test_t5_5b_the_bound_ignores_the_scale_and_the_coarse_form_is_never_below_the_sharp(scale):
    w = scale * (1 + torch.arange(100, dtype=torch.float64) / 100)
    assert mask_difference_bound(w, w, 50) == 1.0  # the weight at the threshold itself
    v = scale * torch.tensor([3.0, 2.0, 1.0, 0.1], dtype=torch.float64)
    u = v + scale * torch.tensor([0.0, -0.3, 0.3, 0.0], dtype=torch.float64)
    for gamma in (0.4, 0.6, 1.0, 2.0):
        sharp, coarse = (
            mask_difference_bound(u, v, 2),
            mask_difference_bound(u, v, 2, gamma * scale),
        )
        assert sharp >= 0
        assert coarse <= sharp or coarse == pytest.approx(sharp)


def test_t6_5_no_bound_follows_from_a_number_that_is_none():
    for numbers in ((math.nan,), (1.0, math.nan), (1.0, 1.0, math.nan), (0.0, math.nan)):
        with pytest.raises(ValueError, match="0 or more"):
            barrier_bound(*numbers)


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: k_term_error(torch.ones(2), 3), "kept must be"),
        (lambda: k_term_error(torch.ones(2), 1, 0), "p > 0"),
        (lambda: output_error(torch.ones(1, 2), torch.ones(1, 3), torch.eye(2)), "must be \\(unit"),
        (lambda: condition_number(torch.ones(2, 3)), "must be \\(input"),
        (lambda: refit(torch.ones(1, 2), torch.ones(1, 2), torch.eye(2)), "must be boolean"),
        (lambda: lth_count(0), "cannot be removed"),
        (lambda: collapse_scale([torch.ones(2)], 0), "needs other layers"),
        (lambda: mask_difference_bound(torch.ones(2), torch.ones(3), 1), "one shape"),
        (lambda: mask_difference_bound(torch.ones(2), torch.ones(2), 3), "kept must be"),
        (lambda: mask_difference_bound(torch.ones(2), torch.zeros(2), 1, 1.0), "above the change"),
        (lambda: loss_barrier(torch.ones(1)), "at least the two ends"),
        (lambda: barrier_bound(-1.0), "0 or more"),
    ],
)
def test_bad_input_gets_one_clear_line(call, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        call()
    assert "\n" not in str(error.value)
