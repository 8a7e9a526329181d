"""T7: what a mask rules out, and how sure a stop on one probe is. Tests that would refute it."""

import math
from itertools import pairwise
from statistics import NormalDist

import pytest
import torch
from torch import nn

from infcop_lite.flows import collect_activations, information_flow
from infcop_lite.theory import certainty as c
from infcop_lite.theory.consistency import covariance
from infcop_lite.theory.information import samples_needed


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def outputs(x, weights, biases=None):
    """Pre-activations of a ReLU network, by layer."""
    found, a = {}, x
    for i, w in enumerate(weights):
        a = a @ w.T + (0 if biases is None else biases[i])
        found[str(i)] = a
        a = a.relu()
    return found


# --- T7.12: from the mask alone ---


def random_masks(seed, widths, share):
    pairs = zip(widths[1:], widths[:-1], strict=True)
    return [uniform(seed + i, n, m) > share for i, (n, m) in enumerate(pairs)]


def test_t7_12_no_weights_on_a_mask_have_more_flow_than_the_shares_of_its_fed_units():
    for seed in range(150):
        widths = [3 + seed % 3, 4, 5, 3]
        masks = random_masks(seed, widths, 0.4 + 0.5 * (seed % 7) / 7)
        weights = [normal(seed + i, *m.shape) * m for i, m in enumerate(masks)]
        if seed % 2:  # adversarial: all that is alive pulls in one direction
            weights = [w.abs() for w in weights]
        biases = [3 * normal(seed + 9 + i, len(m)) for i, m in enumerate(masks)]
        x = normal(seed + 5, 40, widths[0])
        flow = information_flow(outputs(x, weights, biases))
        shares = c.fed_shares(masks)
        assert (flow.abs() <= shares[:-1] * shares[1:] + 1e-9).all()
        reference = 0.8 * normal(seed + 8, 2)
        low, high = c.mask_window(reference, masks)
        assert low - 1e-9 <= (flow - reference).norm().item() <= high + 1e-9


def test_t7_12_multiples_of_one_input_attain_the_shares_and_both_ends_of_the_window():
    masks = [
        torch.tensor([[True], [True], [False]]),
        torch.tensor([[True, True, True], [False] * 3]),
    ]
    weights = [m.double() for m in masks]
    found = information_flow(outputs(normal(0, 50, 1).abs(), weights))
    assert c.fed_shares(masks).tolist() == pytest.approx([2 / 3, 1 / 2])
    assert found.item() == pytest.approx(1 / 3)
    low, high = c.mask_window(torch.tensor([0.5]), masks)
    assert low == pytest.approx(abs(0.5 - found.item()))
    low, high = c.mask_window(torch.tensor([-0.5]), masks)
    assert high == pytest.approx(abs(-0.5 - found.item()))


def test_t7_12_a_unit_with_weights_but_no_path_to_an_input_is_not_fed():
    masks = [torch.tensor([[True, False], [False, False]]), torch.tensor([[False, True]])]
    assert c.fed_shares(masks).tolist() == [0.5, 0.0]
    weights = [m.double() for m in masks]
    flow = information_flow(outputs(normal(0, 30, 2), weights, [torch.ones(2), torch.ones(1)]))
    assert flow.item() == 0
    first = [torch.tensor([[True, False], [False, True]]), torch.ones(1, 2).bool()]
    assert c.fed_shares(first, torch.tensor([True, False])).tolist() == [0.5, 1.0]


def test_t7_12_after_flattening_the_positions_of_a_channel_stand_side_by_side():
    first = torch.tensor([[[True]], [[False]]])[..., None]  # two channels, the second is dead
    reads_dead = torch.tensor([[False, False, True, True]])  # two positions each
    assert c.fed_shares([first, reads_dead]).tolist() == [0.5, 0.0]
    assert c.fed_shares([first, ~reads_dead]).tolist() == [0.5, 1.0]


@torch.no_grad()
def test_t7_12_holds_for_convolutions_with_zeros_around_and_flattened_maps():
    for seed in range(20):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 5),
        ).double()  # fmt: skip
        masks = []
        for layer in (net[0], net[2], net[6]):
            kept = torch.rand(layer.weight.shape[:2]) > 0.5
            mask = kept.reshape(*kept.shape, *[1] * (layer.weight.dim() - 2)).expand_as(
                layer.weight
            )
            layer.weight.mul_(mask)
            masks.append(mask)
        flow = information_flow(collect_activations(net, normal(seed, 30, 2, 4, 4)))
        shares = c.fed_shares(masks)
        assert (flow.abs() <= shares[:-1] * shares[1:] + 1e-9).all()


def test_t7_12_a_relative_tolerance_above_one_accepts_a_dead_network():
    masks = [torch.ones(3, 2).bool(), torch.zeros(3, 3).bool(), torch.ones(2, 3).bool()]
    reference = torch.tensor([0.3, -0.4])
    low, high = c.mask_window(reference, masks)
    assert low == high == pytest.approx(0.5)  # the norm: relative distance 1
    dead = [m.double() for m in masks]
    flow = information_flow(outputs(normal(0, 20, 2), dead, [torch.ones(n) for n in (3, 3, 2)]))
    assert (flow - reference).norm().item() == pytest.approx(0.5)


# --- T7.13: first pair ---


def averages(x, weights):
    z = x @ weights.T
    z = z - z.mean(0)
    z = z / z.square().mean(0).sqrt().clamp_min(1e-12)
    return z.mean(1).square().mean().sqrt().item()


def test_t7_13_no_weights_on_the_mask_have_a_longer_average_than_the_ceiling():
    closest = 0.0
    for seed in range(30):
        d, units, n = 3 + seed % 3, 1 + seed % 4, 40
        x = normal(seed, n, d) @ normal(seed + 1, d, d) + 5
        mask = uniform(seed + 2, units, d) > 0.5
        mask[:, 0] |= ~mask.any(1)
        ceiling = c.input_ceiling(x, mask)
        for weights in (normal(seed + 3, units, d), normal(seed + 4, units, d).abs()):
            assert averages(x, weights * mask) <= ceiling + 1e-9
        # adversarial: every unit follows the common direction as well as its inputs allow
        direction = x[:, 0] - x[:, 0].mean()
        centred = x - x.mean(0)
        for _ in range(12):
            fits = [
                centred[:, m] @ torch.linalg.lstsq(centred[:, m], direction[:, None]).solution
                for m in mask
            ]
            best = torch.cat([f / f.norm().clamp_min(1e-12) for f in fits], 1).mean(1)
            direction = best / best.norm().clamp_min(1e-12)
        assert best.norm().item() <= ceiling + 1e-9
        closest = max(closest, best.norm().item() / ceiling if units > 1 else 0.0)
    assert closest > 0.999


def test_t7_13_disjoint_uncorrelated_inputs_cancel_and_shared_ones_do_not():
    x = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).double() * 7 + 3
    assert c.input_ceiling(x, torch.eye(2).bool()) == pytest.approx(math.sqrt(1 / 2))
    assert c.input_ceiling(x, torch.tensor([[True, False]] * 2)) == pytest.approx(1.0)
    assert averages(x, torch.eye(2).double()) == pytest.approx(math.sqrt(1 / 2))
    assert c.input_ceiling(x, torch.zeros(2, 2).bool()) == 0
    assert c.input_ceiling(torch.ones(4, 2), torch.eye(2).bool()) == 0


def test_t7_13_the_ceiling_is_never_above_the_share_of_units_with_an_input_that_varies():
    x, one = normal(0, 40, 3), torch.tensor([[True, False, False]])
    for fed, units in ((1, 4), (3, 4), (2, 2)):
        mask = torch.cat([one] * fed + [~one & one] * (units - fed))
        assert c.input_ceiling(x, mask) == pytest.approx(fed / units)
        assert averages(x, mask.double()) == pytest.approx(fed / units)
    x[:, 1] = 5.0  # does not vary, so it feeds nothing
    assert c.input_ceiling(x, torch.cat([one, one.roll(1)])) == pytest.approx(1 / 2)


def test_t7_13_with_the_fed_share_above_it_bounds_the_first_connectivity():
    for seed in range(60):
        x = normal(seed, 50, 5)
        masks = random_masks(seed, [5, 4, 3], 0.5)
        weights = [normal(seed + i, *m.shape).abs() * m for i, m in enumerate(masks)]
        flow = information_flow(outputs(x, weights))
        bound = c.input_ceiling(x, masks[0]) * c.fed_shares(masks)[1].item()
        assert flow.abs().item() <= bound + 1e-9


# --- T7.14: a floor for deeper layers ---


def delta(weight, cov, other, other_cov):
    """What (T3.2) calls delta: the distance of the flows plus that of the covariances."""
    norm = torch.linalg.matrix_norm(weight, 2)
    return ((weight @ cov - other @ other_cov).norm() + norm * (cov - other_cov).norm()).item()


def test_t7_14_no_retraining_brings_a_deeper_layer_below_the_floor():
    closest = math.inf
    for seed in range(150):
        n = 4
        weight, mask = normal(seed, 3, n), uniform(seed + 1, 3, n) > 0.3
        cov = covariance(normal(seed + 2, 30, n), normal(seed + 2, 30, n))
        change = covariance(*[10 ** -(seed % 4) * normal(seed + 3, 30, n)] * 2)
        other_cov = cov + change if seed % 2 else cov * (1 - 0.1 * (seed % 9))
        bound = c.deep_floor_bound(weight, mask, cov)
        target = weight @ cov @ torch.linalg.inv(other_cov)  # what would make the flows equal
        for other in (target * mask, weight * mask, normal(seed + 4, 3, n) * mask):
            found = delta(weight, cov, other, other_cov)
            assert found >= bound * (1 - 1e-9)
            closest = min(closest, found / bound if bound > 0 else math.inf)
    assert closest < 2


def test_t7_14_the_constant_is_sharp_in_many_dimensions():
    ratios = []
    for d in (8, 32, 128, 512):
        h = torch.ones(1, 1, dtype=torch.float64)
        while len(h) < d:
            h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
        eta, h = 1e-6, h[1:]
        mask = h > 0
        weight = h + mask * 2 * eta / (1 - eta)
        e = torch.ones(d, 1, dtype=torch.float64) / math.sqrt(d)
        cov, other_cov = torch.eye(d).double(), torch.eye(d).double() - (1 - eta) * e @ e.T
        other = (weight + 1) * mask  # obeys the mask, and makes the flows equal
        assert (weight @ cov - other @ other_cov).norm() < 1e-3
        ratios.append(delta(weight, cov, other, other_cov) / c.deep_floor_bound(weight, mask, cov))
    assert ratios == pytest.approx(
        [1 + math.sqrt(2 / (d - 1)) for d in (8, 32, 128, 512)], rel=2e-3
    )


def test_t7_14_without_an_invertible_covariance_or_a_removed_weight_there_is_no_floor():
    weight, mask = torch.ones(1, 2), torch.tensor([[True, False]])
    ones = torch.ones(2, 2).double()  # equal inputs: the kept one takes over
    assert c.deep_floor_bound(weight, mask, ones) == 0
    assert delta(weight.double(), ones, 2 * mask.double(), ones) == 0
    assert c.deep_floor_bound(weight, torch.ones(1, 2).bool(), torch.eye(2)) == 0


# --- T7.15: the error of the relative distance ---


def weighted_flow(activations, share):
    """The mean connectivities when samples count by their share."""
    z = []
    for f in activations.values():
        f = f - share @ f
        z.append((f / (share @ f.square()).sqrt()).mean(1))
    return torch.stack([share @ (a * b) for a, b in pairwise(z)])


def two_networks(seed, n):
    x, first = normal(seed, n, 4), normal(seed + 1, 5, 4)
    weights, others = ([w, normal(seed + 2, 3, 5), normal(seed + 3, 2, 3)] for w in (first, first))
    others = [w + 0.4 * normal(seed + 4 + i, *w.shape) for i, w in enumerate(others)]
    return outputs(x, weights), outputs(x, others)


def cancelling(seed, n):
    """Adversarial: heavy tails, and a reference whose signs cancel to a hundredth of its flow."""
    x = normal(seed, n, 3) ** 3
    a, b, c = x.T
    then = {"1": torch.stack([a, 0.1 * b - 0.98 * a], 1), "2": torch.stack([a, c], 1)}
    now = {"1": torch.stack([a, 0.1 * b - 0.96 * a], 1), "2": torch.stack([a, c + 0.02 * b], 1)}
    return now, then


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("networks", [two_networks, cancelling])
def test_t7_15_the_error_is_the_infinitesimal_jackknife_of_the_log_distance(networks, relative):
    now, then = networks(3, 60)

    def log_distance(share):
        flow, reference = weighted_flow(now, share), weighted_flow(then, share)
        unit = reference.norm() if relative else 1.0
        return ((flow - reference).norm() / unit).log()

    even = torch.full((60,), 1 / 60, dtype=torch.float64, requires_grad=True)
    value = log_distance(even)
    (slopes,) = torch.autograd.grad(value, even)
    psi = slopes - slopes.mean()
    found, error = c.distance_error(now, then, relative)
    assert found == pytest.approx(value.item())
    assert error == pytest.approx(psi.square().mean().sqrt().item() / math.sqrt(60))


def probes(relative=True, n=400, draws=300):
    """(logs, errors, truth) of distances on probes drawn from a population of 20 000 images."""
    now, then = two_networks(1, 20_000)
    truth = c.distance_error(now, then, relative)[0]
    g, found = torch.Generator().manual_seed(0), []
    for _ in range(draws):
        i = torch.randint(20_000, (n,), generator=g)
        pair = ({k: f[i] for k, f in net.items()} for net in (now, then))
        found.append(c.distance_error(*pair, relative))
    logs, errors = torch.tensor(found, dtype=torch.float64).T
    return logs, errors, truth


def test_t7_16_a_margin_has_the_promised_error_rate_and_the_plug_in_rule_is_a_coin():
    logs, errors, truth = probes()
    assert (logs.std() / errors.mean()).item() == pytest.approx(1, abs=0.1)
    # a tolerance exactly at the true distance: the network is not consistent
    fires = [(logs + z * errors <= truth).double().mean() for z in (0.0, c.safety_distance(0.95))]
    assert 0.42 <= fires[0] <= 0.58
    assert 0.02 <= fires[1] <= 0.09


def test_t7_15_equal_flows_have_no_error_and_a_zero_reference_an_infinite_one():
    now, _ = two_networks(0, 50)
    assert c.distance_error(now, now) == (-math.inf, 0)
    x = normal(0, 50, 1)
    zero = {"a": x, "b": torch.cat([x, -x], 1)}
    assert c.distance_error({"a": x, "b": torch.cat([x, x], 1)}, zero) == (math.inf, math.inf)


# --- T7.16, T7.17: error rate and probe size ---


def test_t7_16_fails_where_the_distance_has_no_sampling_error_at_all():
    """Correlations of 1 and -1 on every probe: a network at the tolerance always passes."""
    x = normal(0, 50, 1)
    log_distance, error = c.distance_error({"a": x, "b": x}, {"a": x, "b": -x})
    assert error == pytest.approx(0, abs=1e-9)
    for confidence in (0.5, 0.95, 0.999):
        met = log_distance + c.safety_distance(confidence) * error
        assert met == pytest.approx(math.log(2))  # the tolerance, whatever the confidence


@pytest.mark.parametrize("looks", [1, 3, 20])
def test_t7_16_the_errors_of_several_looks_add_up_at_most_which_disjoint_ones_attain(looks):
    z = c.safety_distance(0.9, looks)
    each = NormalDist().cdf(-z)  # that one reading at the tolerance fires
    assert looks * each == pytest.approx(0.1)
    u = uniform(0, 200_000)
    # adversarial: look k errs exactly where the k-th interval is hit
    readings = torch.special.ndtri((u[:, None] + torch.arange(looks) / looks) % 1)
    assert (readings <= -z).any(1).double().mean().item() == pytest.approx(0.1, abs=0.005)
    same = torch.special.ndtri(u)[:, None].expand(-1, looks)  # one probe, one network: conservative
    assert (same <= -z).any(1).double().mean().item() == pytest.approx(0.1 / looks, abs=0.005)


def test_t7_16_across_levels_one_probe_can_double_the_rate_and_a_fresh_one_cannot():
    """Level 1 has a consistent branch for each sign of the error; both err in their own tail."""
    z, u = c.safety_distance(0.95), normal(0, 200_000)
    one = torch.where(u > 0, -u, u) <= -z  # the branch that stopped reads with the sign it likes
    fresh = normal(1, 200_000) <= -z
    assert one.double().mean().item() == pytest.approx(0.1, abs=0.005)
    assert fresh.double().mean().item() == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize(("spread", "slack", "looks"), [(3.0, 0.2, 1), (9.0, 0.5, 5)])
def test_t7_17_so_many_samples_have_the_power_and_two_per_cent_fewer_have_not(spread, slack, looks):
    n = c.probe_needed(spread, slack, size=0.05, power=0.9, looks=looks)
    for samples, enough in ((n, True), (int(0.98 * n), False)):
        z = c.safety_distance(0.95, looks)
        power = NormalDist().cdf(slack * math.sqrt(samples) / spread - z)
        assert (power >= 0.9) == enough


def test_t7_17_a_probe_has_at_least_two_hundred_samples():
    assert c.probe_needed(0.45, math.log(1.25)) == 200
    assert c.probe_needed(0.0, 1.0) == 200


def test_t7_17_the_rule_for_two_probes_and_an_absolute_tolerance_is_another():
    now, then = two_networks(1, 400)
    error = c.distance_error(now, then, relative=True)[1]
    spread = error * math.sqrt(400)
    assert c.probe_needed(spread, math.log(1.5)) != samples_needed(0.1, 0.1)


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda: c.fed_shares([]), "mask"),
        (lambda: c.fed_shares([torch.ones(2, 3).bool(), torch.ones(2, 3).bool()]), "follow"),
        (lambda: c.mask_window(torch.ones(3), [torch.ones(2, 2).bool()] * 2), "flows"),
        (lambda: c.input_ceiling(torch.ones(4, 2), torch.ones(1, 3).bool()), "mask"),
        (lambda: c.input_ceiling(torch.full((4, 2), math.nan), torch.ones(1, 2).bool()), "finite"),
        (
            lambda: c.deep_floor_bound(torch.ones(1, 2), torch.ones(1, 2).bool(), torch.eye(3)),
            "cov",
        ),
        (lambda: c.safety_distance(1.0), "confidence"),
        (lambda: c.safety_distance(0.9, 0), "looks"),
        (lambda: c.probe_needed(1.0, 0.0), "slack"),
    ],
)
def test_bad_input_to_certainty_gets_one_clear_line(call, complaint):
    with pytest.raises(ValueError, match=complaint):
        call()
