"""The two measurements against numpy, autograd and the theory, and the model left as found."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from infcop_lite.flows import (
    SUMMARIES,
    collect_activations,
    correlation,
    flow_distance,
    gradient_flow,
    information_flow,
    sampling_floor,
)
from infcop_lite.masks import apply_masks, full_masks, magnitude_masks, prunable

seeded = settings(max_examples=60, derandomize=True, deadline=None, database=None)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def related(num_samples=200, widths=(4, 3), seed=0, dtype=torch.float64):
    """Return layers that share some signal, each with offsets and scales of its own."""
    common = normal(num_samples, 1, seed=seed)
    layers = {}
    for i, width in enumerate(widths):
        noise = normal(num_samples, width, seed=seed + 100 + i)
        layer = (noise + 0.7 * common) * (1 + normal(width, seed=seed + i) ** 2) + 3 * i
        layers[f"layer{i}"] = layer.to(dtype)
    return layers


def flow_by_numpy(layers):
    """Return the mean of numpy's cross-correlation block for each pair of layers, in float64."""
    arrays = [layer.numpy().astype(np.float64) for layer in layers.values()]
    return [
        np.corrcoef(a.T, b.T)[: a.shape[1], a.shape[1] :].mean()
        for a, b in itertools.pairwise(arrays)
    ]


def classifier(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))


def samples(num_samples=50, num_inputs=5, seed=0):
    x = normal(num_samples, num_inputs, seed=seed, dtype=torch.float32)
    return x, x[:, :3].argmax(1)


class ConvNet(nn.Module):
    """A network with batch norm and dropout, whose modules are defined in reverse order."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(6, 3)
        self.dropout = nn.Dropout(0.5)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(4, 6, 3)
        self.first = nn.Conv2d(1, 4, 3)

    def forward(self, x):
        x = torch.relu_(self.first(x))  # in place: what a hook keeps must be a copy
        x = torch.relu_(self.norm(self.second(x)))
        return self.head(self.dropout(x.mean((2, 3))))


def conv_net(seed=0):
    torch.manual_seed(seed)
    model = ConvNet()
    model.norm.running_mean.normal_()
    model.norm.running_var.uniform_(0.5, 2.0)
    return model


# Which outputs are collected


def test_activations_come_in_execution_order_not_in_the_order_of_definition():
    activations = collect_activations(conv_net(), torch.randn(5, 1, 8, 8))
    assert [(name, tuple(a.shape)) for name, a in activations.items()] == [
        ("first", (5, 4)),
        ("second", (5, 6)),
        ("head", (5, 3)),
    ]


def test_activations_are_outputs_before_batch_norm_and_activation():
    model, x = conv_net().eval(), normal(5, 1, 8, 8, dtype=torch.float32)
    activations = collect_activations(model, x)
    with torch.no_grad():
        first = model.first(x)
        second = model.second(first.relu())
        head = model.head(model.norm(second).relu().mean((2, 3)))
    assert (activations["first"] < 0).any()  # an in-place ReLU has not reached the copy
    torch.testing.assert_close(activations["first"], first.mean((2, 3)))
    torch.testing.assert_close(activations["second"], second.mean((2, 3)))
    torch.testing.assert_close(activations["head"], head)


def test_an_in_place_relu_after_a_linear_layer_does_not_reach_its_copy():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(inplace=True))
    model[0].weight.data.fill_(1.0)
    activations = collect_activations(model, torch.tensor([[-1.0], [2.0]]))
    assert activations["0"].tolist() == [[-1.0], [2.0]]


def test_a_convolution_is_averaged_over_space_by_hand():
    model = nn.Conv2d(1, 1, 1)
    model.weight.data.fill_(2.0)
    model.bias.data.fill_(1.0)
    x = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]]]])
    assert collect_activations(model, x)[""].tolist() == [[5.0]]


def test_a_linear_layer_on_tokens_is_averaged_over_the_tokens():
    model = nn.Linear(2, 1, bias=False)
    model.weight.data.fill_(1.0)
    x = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    assert collect_activations(model, x)[""].tolist() == [[7.0]]


def test_the_shortcut_convolutions_of_a_residual_network_are_left_out():
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=4)
    names = list(collect_activations(model, torch.randn(2, 3, 16, 16)))
    convolutions = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    assert any("downsample" in name for name in convolutions)
    assert names == [name for name in convolutions if "downsample" not in name] + ["fc"]


def test_a_module_named_shortcut_is_left_out_and_a_longer_name_is_not():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.shortcut = nn.Sequential(nn.Linear(2, 2))
            self.shortcuts = nn.Linear(2, 2)

        def forward(self, x):
            return self.shortcut(x) + self.shortcuts(x)

    assert list(collect_activations(Net(), torch.randn(3, 2))) == ["shortcuts"]


@pytest.mark.parametrize("batch_size", [2, 3, 100])
def test_a_module_that_runs_twice_appears_twice(batch_size):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(self.layer(x))

    model, x = Twice(), torch.randn(5, 2)
    activations = collect_activations(model, x, batch_size)
    assert list(activations) == ["layer", "layer:2"]
    torch.testing.assert_close(activations["layer:2"], model(x).detach())


def test_a_module_that_does_not_run_does_not_appear():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    assert list(collect_activations(Unused(), torch.randn(3, 2))) == ["used"]


@pytest.mark.parametrize("batch_size", [1, 7, 16, 50, 51, 1000])
def test_activations_do_not_depend_on_the_batch_size(batch_size):
    model, x = conv_net(), normal(50, 1, 8, 8, dtype=torch.float32)
    whole = collect_activations(model, x, 50)
    parts = collect_activations(model, x, batch_size)
    for name, activation in whole.items():
        torch.testing.assert_close(parts[name], activation, rtol=1e-5, atol=1e-6)


def test_no_samples_and_no_layers_are_refused():
    with pytest.raises(ValueError, match="at least one input sample"):
        collect_activations(classifier(), torch.zeros(0, 5))
    with pytest.raises(ValueError, match="ran no Conv or Linear"):
        collect_activations(nn.ReLU(), torch.zeros(2, 5))


# The model is left as it was found


def measure_information(model, x, y):
    information_flow(collect_activations(model, x, batch_size=7))


def measure_gradient(model, x, y):
    gradient_flow(model, x, y, full_masks(model), batch_size=7)


MEASUREMENTS = pytest.mark.parametrize("measure", [measure_information, measure_gradient])


def conv_samples(num_samples=20):
    x = normal(num_samples, 1, 8, 8, dtype=torch.float32)
    return x, torch.arange(num_samples) % 3


@MEASUREMENTS
@pytest.mark.parametrize("training", [True, False])
def test_a_measurement_leaves_modes_as_found_even_mixed_ones(measure, training):
    model = conv_net().train(training)
    model.norm.train(not training)
    before = {name: module.training for name, module in model.named_modules()}
    measure(model, *conv_samples())
    assert {name: module.training for name, module in model.named_modules()} == before


@MEASUREMENTS
def test_a_measurement_runs_in_eval_mode_whatever_the_mode(measure):
    seen = []
    model = conv_net().train()
    model.dropout.register_forward_hook(lambda module, *_: seen.append(module.training))
    measure(model, *conv_samples())
    assert seen
    assert not any(seen)


@MEASUREMENTS
def test_a_measurement_leaves_parameters_and_batch_norm_statistics_as_found(measure):
    model = conv_net().train()
    before = copy.deepcopy(model.state_dict())
    measure(model, *conv_samples())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@MEASUREMENTS
def test_a_measurement_leaves_every_grad_as_found(measure):
    model, (x, y) = conv_net(), conv_samples()
    nn.functional.cross_entropy(model(x), y).backward()
    model.head.weight.grad = None
    before = {name: copy.deepcopy(p.grad) for name, p in model.named_parameters()}
    measure(model, x, y)
    for name, parameter in model.named_parameters():
        if before[name] is None:
            assert parameter.grad is None
        else:
            assert torch.equal(parameter.grad, before[name])


@MEASUREMENTS
def test_a_measurement_leaves_the_random_number_generator_as_found(measure):
    model, (x, y) = conv_net().train(), conv_samples()
    before = torch.get_rng_state()
    measure(model, x, y)
    assert torch.equal(torch.get_rng_state(), before)


@MEASUREMENTS
def test_a_measurement_removes_its_hooks(measure):
    model = conv_net()
    measure(model, *conv_samples())
    assert not any(module._forward_hooks for module in model.modules())


@MEASUREMENTS
def test_an_exception_in_the_model_leaves_no_hooks_and_the_modes_as_found(measure):
    model = conv_net().train()
    model.norm.eval()
    model.head.weight.requires_grad_(False)
    before = {name: module.training for name, module in model.named_modules()}
    calls = []

    def interrupt(*_):
        calls.append(None)
        if len(calls) == 2:  # in the second batch
            raise RuntimeError("interrupted")

    handle = model.head.register_forward_pre_hook(interrupt)
    with pytest.raises(RuntimeError, match="interrupted"):
        measure(model, *conv_samples())
    handle.remove()
    assert not any(module._forward_hooks for module in model.modules())
    assert {name: module.training for name, module in model.named_modules()} == before
    assert not model.head.weight.requires_grad
    assert model.first.weight.requires_grad


# Correlation


def test_correlation_by_hand():
    a = torch.tensor([[1.0], [2.0], [3.0]])
    b = torch.tensor([[1.0, 0.0], [3.0, 1.0], [2.0, 0.0]])
    expected = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(correlation(a, b), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(5))
def test_correlation_agrees_with_numpy(seed, dtype):
    a, b = related(seed=seed, dtype=dtype).values()
    oracle = np.corrcoef(a.double().numpy().T, b.double().numpy().T)[:4, 4:]
    np.testing.assert_allclose(correlation(a, b).numpy(), oracle, rtol=0, atol=1e-12)


def test_correlation_agrees_with_numpy_on_units_with_a_large_offset():
    """Where the one-pass float32 variance has no correct digit left."""
    a = 1000 + normal(500, 3, seed=1, dtype=torch.float32)
    b = -3000 + a[:, :2] * torch.tensor([1.0, -2.0])
    oracle = np.corrcoef(a.double().numpy().T, b.double().numpy().T)[:3, 3:]
    np.testing.assert_allclose(correlation(a, b).numpy(), oracle, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1e20, 1e37])
def test_correlation_survives_every_scale_of_float32(scale):
    a = normal(100, 2, dtype=torch.float32)
    torch.testing.assert_close(correlation(a * scale, a), correlation(a, a), rtol=0, atol=1e-3)


def test_correlation_stays_within_one():
    a = normal(7, 50, seed=3)
    matrix = correlation(a, torch.cat([a, -3 * a + 1], 1))
    assert matrix.abs().max() <= 1
    torch.testing.assert_close(matrix[:, :50].diagonal(), torch.ones(50, dtype=torch.float64))


@seeded
@given(
    offset=st.floats(-1e6, 1e6, width=32),
    num_samples=st.integers(2, 3000),
    summary=st.sampled_from(sorted(SUMMARIES)),
)
def test_a_constant_unit_correlates_zero_whatever_its_offset(offset, num_samples, summary):
    constant = torch.full((num_samples, 1), offset)
    live = normal(num_samples, 1, dtype=torch.float32)
    matrix = correlation(torch.cat([constant, live], 1), live)
    assert matrix[0].item() == 0
    assert matrix[1].item() == pytest.approx(1)
    if num_samples > 2:
        for layers in ({"a": constant, "b": live}, {"a": live, "b": constant}):
            assert information_flow(layers, summary).item() == 0


def test_a_unit_that_only_flickers_in_the_last_bit_is_dead():
    offset = torch.tensor(1000.3)
    flicker = torch.nextafter(offset, torch.tensor(2000.0))
    a = torch.where(normal(300, 1) > 0, offset, flicker)
    live = torch.where(normal(300, 1) > 0, 0.0, 1.0)
    assert correlation(a, live).item() == 0


def test_a_small_but_genuine_signal_on_an_offset_is_alive():
    live = normal(300, 1, dtype=torch.float32)
    assert correlation(10 + 1e-3 * live, live).item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("remainder", [1, 2, 3])
def test_units_behind_a_collapsed_layer_are_dead_whatever_the_last_batch(remainder):
    """A matrix product of another shape may round differently: constant must stay constant."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(20, 1000), nn.ReLU(), nn.Linear(1000, 100), nn.ReLU(), nn.Linear(100, 10)
    )
    masks = full_masks(model)
    masks["0.weight"][:] = False
    apply_masks(model, masks)
    model[0].bias.data.normal_()
    x = normal(128 + remainder, 20, dtype=torch.float32)
    activations = collect_activations(model, x, batch_size=64)
    for name, activation in activations.items():
        assert (activation == activation[0]).all(), name
    assert information_flow(activations, "abs").tolist() == [0, 0]
    assert sampling_floor(activations) == 0


def test_dead_units_of_a_pruned_network_never_make_a_flow_nan():
    model, x = conv_net(), normal(40, 1, 8, 8, dtype=torch.float32)
    masks = full_masks(model)
    masks["second.weight"][::2] = False
    apply_masks(model, masks)
    activations = collect_activations(model, x)
    matrix = correlation(activations["first"], activations["second"])
    assert (matrix[:, ::2] == 0).all()
    assert (matrix[:, 1::2] != 0).all()
    for summary in ("mean", "abs", "square", "mutual-information"):
        assert torch.isfinite(information_flow(activations, summary)).all()


def test_activations_of_a_diverged_network_are_refused():
    for bad in (math.nan, math.inf):
        a = torch.tensor([[0.0], [bad]])
        with pytest.raises(ValueError, match="diverged"):
            correlation(a, torch.zeros(2, 1))
        with pytest.raises(ValueError, match="diverged"):
            information_flow({"a": torch.zeros(2, 1), "b": a})


def test_layers_with_different_samples_are_refused():
    a, b = torch.zeros(3, 1), torch.zeros(4, 1)
    for use in (
        lambda: correlation(a, b),
        lambda: information_flow({"a": a, "b": b}),
        lambda: sampling_floor({"a": a, "b": b}),
    ):
        with pytest.raises(ValueError, match="same samples, not 3 and 4"):
            use()


@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (0, 2)])
def test_activations_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"must be \(sample, unit\)"):
        correlation(torch.zeros(shape), torch.zeros(shape))


# Information flow


def test_a_flow_of_three_layers_by_hand():
    f = torch.tensor([[1.0], [2.0], [3.0]])
    g = torch.tensor([[1.0], [3.0], [2.0]])
    flow = information_flow({"a": f, "b": torch.cat([f, g], 1), "c": -f})
    torch.testing.assert_close(flow, torch.tensor([0.75, -0.75], dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(5))
def test_the_flow_agrees_with_numpy(seed, dtype):
    layers = related(widths=(5, 4, 1, 3), seed=seed, dtype=dtype)
    np.testing.assert_allclose(information_flow(layers), flow_by_numpy(layers), atol=1e-12)


def test_the_flow_of_a_network_agrees_with_numpy():
    activations = collect_activations(conv_net(), normal(100, 1, 8, 8, dtype=torch.float32))
    np.testing.assert_allclose(
        information_flow(activations), flow_by_numpy(activations), rtol=0, atol=1e-5
    )


@seeded
@given(
    num_samples=st.integers(2, 60),
    widths=st.lists(st.integers(1, 8), min_size=2, max_size=4),
    seed=st.integers(0, 1000),
)
def test_the_flow_is_the_mean_correlation_and_a_covariance_of_averages(num_samples, widths, seed):
    """T2.3: mean(P) = Cov(a_bar, b_bar)."""
    layers = related(num_samples, widths, seed)
    flow = information_flow(layers)
    for value, (a, b) in zip(flow, itertools.pairwise(layers.values()), strict=True):
        a_bar, b_bar = (((f - f.mean(0)) / f.std(0, correction=0)).mean(1) for f in (a, b))
        covariance = ((a_bar - a_bar.mean()) * (b_bar - b_bar.mean())).mean()
        assert value.item() == pytest.approx(correlation(a, b).mean().item(), abs=1e-6)
        assert value.item() == pytest.approx(covariance.item(), abs=1e-6)


@seeded
@given(
    num_samples=st.integers(3, 60),
    widths=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    seed=st.integers(0, 1000),
)
def test_the_flow_stays_below_its_ceiling(num_samples, widths, seed):
    """T2.3: |mean(P)| <= sqrt(mean(R) mean(R'))."""
    a, b = related(num_samples, widths, seed).values()
    ceiling = (correlation(a, a).mean() * correlation(b, b).mean()).sqrt()
    assert information_flow({"a": a, "b": b}).abs().item() <= ceiling.item() + 1e-9


def test_the_ceiling_is_reached_when_both_averages_are_one():
    x = normal(50, 3)
    flow = information_flow({"a": x, "b": x})
    torch.testing.assert_close(flow[0], correlation(x, x).mean())


def test_means_are_ordered_as_cauchy_and_schwarz_say():
    """T2.4: mean^2 <= (mean |rho|)^2 <= mean rho^2."""
    for seed in range(10):
        layers = related(50, (4, 5, 3), seed)
        mean, absolute, square = (information_flow(layers, s) for s in ("mean", "abs", "square"))
        assert (mean.square() <= absolute.square() + 1e-12).all()
        assert (absolute.square() <= square + 1e-12).all()


@pytest.mark.parametrize("summary", ["mean", "abs", "square"])
def test_summaries_agree_with_numpy(summary):
    layers = related(80, (4, 5))
    a, b = (f.numpy() for f in layers.values())
    p = np.corrcoef(a.T, b.T)[:4, 4:]
    expected = {"mean": p, "abs": np.abs(p), "square": p**2}[summary].mean()
    assert information_flow(layers, summary).item() == pytest.approx(expected, abs=1e-12)


def flow_after(summary, change):
    """Return the flow of one pair of layers before and after a change of the first."""
    a, b = related(100, (4, 3)).values()
    return [information_flow({"a": f, "b": b}, summary).item() for f in (a, change(a))]


ORTHOGONAL = torch.linalg.qr(normal(4, 4, seed=5)).Q
INVERTIBLE = ORTHOGONAL * torch.tensor([1.0, 0.5, 2.0, 3.0], dtype=torch.float64)
CHANGES = {
    "permutation": lambda f: f[:, [2, 0, 3, 1]],
    "positive scaling and shift": lambda f: f * torch.tensor([0.1, 2.0, 3.0, 1e4]) + 7,
    "sign flip": lambda f: f * torch.tensor([-1.0, 1.0, 1.0, -1.0]),
    "rotation": lambda f: f @ ORTHOGONAL,
    "invertible map": lambda f: f @ INVERTIBLE,
}
INVARIANT = {  # T2.4's table
    "mean": {"permutation", "positive scaling and shift"},
    "abs": {"permutation", "positive scaling and shift", "sign flip"},
    "square": {"permutation", "positive scaling and shift", "sign flip"},
    "mutual-information": set(CHANGES),
}


@pytest.mark.parametrize("summary", SUMMARIES)
@pytest.mark.parametrize("change", CHANGES)
def test_each_summary_has_exactly_the_invariances_of_the_table(summary, change):
    before, after = flow_after(summary, CHANGES[change])
    if change in INVARIANT[summary]:
        assert after == pytest.approx(before, abs=1e-9)
    else:
        assert abs(after - before) > 1e-3


def test_pairs_of_opposite_units_are_invisible_to_the_mean_alone():
    """T2.4: with units h and -h both flows vanish, although the layer carries h completely."""
    h = normal(500, 1)
    pair = torch.cat([h, -h], 1)
    layers = {
        "before": h,
        "pair": pair,
        "after": pair.relu() @ torch.tensor([[1.0], [-1.0]]).double(),
    }
    torch.testing.assert_close(layers["after"], h)
    torch.testing.assert_close(information_flow(layers), torch.zeros(2, dtype=torch.float64))
    assert (information_flow(layers, "abs") > 0.99).all()
    assert (information_flow(layers, "mutual-information") > 3).all()


def test_mutual_information_of_one_unit_each_is_the_scalar_formula():
    """T2.1, scalar: -1/2 log(1 - rho^2)."""
    for seed in range(5):
        a, b = related(100, (1, 1), seed).values()
        rho = correlation(a, b).item()
        mi = information_flow({"a": a, "b": b}, "mutual-information").item()
        assert mi == pytest.approx(-0.5 * math.log(1 - rho**2), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_mutual_information_agrees_with_the_log_determinants(seed):
    """T2.1: 1/2 log(det S_xx det S_yy / det S), in numpy."""
    a, b = (f.numpy() for f in related(300, (4, 6), seed).values())
    blocks = (np.cov(a.T), np.cov(b.T), np.cov(a.T, b.T))
    det_a, det_b, det_ab = (np.linalg.slogdet(block)[1] for block in blocks)
    mi = information_flow(related(300, (4, 6), seed), "mutual-information").item()
    assert mi == pytest.approx((det_a + det_b - det_ab) / 2, rel=1e-9)


def test_mutual_information_ignores_copies_and_dead_units():
    a, b = related(100, (3, 2)).values()
    more = torch.cat([a, a[:, :2] * 5 - 1, torch.full((100, 2), 0.1)], 1)
    flows = [information_flow({"a": f, "b": b}, "mutual-information") for f in (a, more)]
    torch.testing.assert_close(flows[0], flows[1])


def test_mutual_information_of_a_deterministic_layer_is_capped_not_infinite():
    a = normal(100, 3)
    mi = information_flow({"a": a, "b": a @ normal(3, 2, seed=1)}, "mutual-information").item()
    assert mi == pytest.approx(-0.5 * 2 * math.log(1e-6), rel=1e-6)


def test_the_unwhitened_formula_would_have_no_meaning_on_redundant_units():
    """T2.1's warning: the operator norm of P may exceed 1; the whitened value stays finite."""
    h = normal(200, 1)
    a, b = h + 0.1 * normal(200, 6, seed=1), h + 0.1 * normal(200, 6, seed=2)
    assert torch.linalg.matrix_norm(correlation(a, b), 2) > 5
    assert 0 < information_flow({"a": a, "b": b}, "mutual-information").item() < 10


@pytest.mark.parametrize("num_samples", [2, 6, 7])
def test_mutual_information_from_too_few_samples_is_refused(num_samples):
    layers = {"a": normal(num_samples, 4), "b": normal(num_samples, 3, seed=1)}
    with pytest.raises(ValueError, match="more samples than units"):
        information_flow(layers, "mutual-information")


def test_mutual_information_is_available_from_one_sample_more():
    layers = {"a": normal(8, 4), "b": normal(8, 3, seed=1)}
    assert torch.isfinite(information_flow(layers, "mutual-information")).all()


def test_a_flow_needs_two_layers_and_a_known_summary():
    with pytest.raises(ValueError, match="at least two layers"):
        information_flow({"a": torch.zeros(3, 1)})
    with pytest.raises(ValueError, match="unknown summary 'median'; choose from mean, abs"):
        information_flow({"a": torch.zeros(3, 1), "b": torch.zeros(3, 1)}, "median")


def test_the_flow_does_not_change_what_it_reads():
    layers = related()
    before = {name: layer.clone() for name, layer in layers.items()}
    for summary in SUMMARIES:
        information_flow(layers, summary)
    assert all(torch.equal(before[name], layer) for name, layer in layers.items())


# Gradient flow


def autograd_norms(model, x, y, masks=None):
    """Return the gradient norm per prunable tensor by plain backward on a copy in eval mode."""
    model = copy.deepcopy(model).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    return torch.stack(
        [
            (w.grad if masks is None else w.grad * masks[name]).double().norm()
            for name, w in prunable(model).items()
        ]
    )


def test_the_gradient_of_two_weights_by_hand():
    """Softmax of (0, 0) is (1/2, 1/2); with x = 2 and target 0 the gradient is (-1, 1)."""
    model = nn.Linear(1, 2, bias=False)
    model.weight.data.zero_()
    flow = gradient_flow(model, torch.tensor([[2.0]]), torch.tensor([0]))
    assert flow.tolist() == pytest.approx([math.sqrt(2)])
    half = {"weight": torch.tensor([[True], [False]])}
    assert gradient_flow(model, torch.tensor([[2.0]]), torch.tensor([0]), half).item() == 1.0


@pytest.mark.parametrize("make", [classifier, conv_net])
def test_the_gradient_flow_agrees_with_autograd_layer_by_layer(make):
    model = make().train()
    x, y = samples() if make is classifier else conv_samples()
    flow = gradient_flow(model, x, y)
    assert flow.dtype == torch.float64
    assert not flow.requires_grad
    torch.testing.assert_close(flow, autograd_norms(model, x, y), rtol=1e-5, atol=1e-8)


def test_removed_weights_do_not_count_in_the_gradient_flow():
    model, (x, y) = classifier(), samples()
    masks = magnitude_masks(model, full_masks(model), 0.6)
    apply_masks(model, masks)
    flow = gradient_flow(model, x, y, masks)
    torch.testing.assert_close(flow, autograd_norms(model, x, y, masks), rtol=1e-5, atol=1e-8)
    assert (flow < gradient_flow(model, x, y)).all()  # their gradients are not zero


def test_an_empty_layer_has_no_gradient_flow():
    model, (x, y) = classifier(), samples()
    masks = full_masks(model)
    masks["2.weight"][:] = False
    flow = gradient_flow(model, x, y, masks)
    assert flow[1] == 0
    assert flow[0] > 0


@pytest.mark.parametrize("batch_size", [1, 7, 50, 1000])
def test_the_gradient_flow_does_not_depend_on_the_batch_size(batch_size):
    model, (x, y) = classifier(), samples()
    flow = gradient_flow(model, x, y, batch_size=batch_size)
    torch.testing.assert_close(flow, gradient_flow(model, x, y, batch_size=50), rtol=1e-5, atol=0)


def test_the_gradient_flow_depends_on_the_data_it_reads():
    """The reference code's value does not: it re-reads the last gradient of training."""
    model, (x, y) = classifier(), samples()
    assert flow_distance(gradient_flow(model, x, y), gradient_flow(model, x, (y + 1) % 3)) > 0.01


def test_a_frozen_weight_is_measured_and_stays_frozen():
    model, (x, y) = classifier(), samples()
    expected = gradient_flow(model, x, y)
    model[2].weight.requires_grad_(False)
    assert torch.equal(gradient_flow(model, x, y), expected)
    assert [p.requires_grad for p in model.parameters()] == [True, True, False, True, True, True]


def test_the_gradient_flow_works_inside_no_grad():
    model, (x, y) = classifier(), samples()
    expected = gradient_flow(model, x, y)
    with torch.no_grad():
        assert torch.equal(gradient_flow(model, x, y), expected)


def test_a_layer_the_loss_does_not_reach_has_no_gradient_flow():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(5, 3), nn.Linear(5, 3)

        def forward(self, x):
            return self.used(x)

    flow = gradient_flow(Unused(), *samples())
    assert flow[0] > 0
    assert flow[1] == 0


def test_samples_that_do_not_match_are_refused_for_the_gradient():
    model, (x, y) = classifier(), samples()
    for inputs, targets in ((x, y[:-1]), (x[:0], y[:0])):
        with pytest.raises(ValueError, match="do not make samples"):
            gradient_flow(model, inputs, targets)


@pytest.mark.parametrize("masks", [{}, {"weight": torch.tensor([True, False, True])}])
def test_masks_that_do_not_fit_are_refused_for_the_gradient(masks):
    with pytest.raises(ValueError, match="mask"):
        gradient_flow(nn.Linear(5, 3), *samples(), masks)


# Distances and the sampling floor


def test_the_distance_is_euclidean():
    assert flow_distance(torch.tensor([1.0, 2.0, 2.0]), torch.zeros(3)) == 3.0


def test_flows_of_different_networks_have_no_distance():
    with pytest.raises(ValueError, match="different networks"):
        flow_distance(torch.zeros(3), torch.zeros(1))


def test_a_nan_in_a_flow_shows_in_the_distance():
    assert math.isnan(flow_distance(torch.tensor([math.nan, 0.0]), torch.zeros(2)))


def draw(num_samples, generator):
    """Return three jointly Gaussian layers, of 3, 4 and 2 units, with fixed mixing weights."""
    common = torch.randn(num_samples, 2, generator=generator, dtype=torch.float64)
    layers = {}
    for i, width in enumerate((3, 4, 2)):
        noise = torch.randn(num_samples, width, generator=generator, dtype=torch.float64)
        layers[f"layer{i}"] = common @ normal(2, width, seed=i) + noise
    return layers


def test_the_sampling_floor_is_what_two_independent_probes_differ_by():
    """T2.6 against Monte Carlo: 200 pairs of probes, root mean square within 10 %."""
    generator = torch.Generator().manual_seed(0)
    squares, floors = [], []
    for _ in range(200):
        first, second = draw(400, generator), draw(400, generator)
        distance = flow_distance(information_flow(first), information_flow(second))
        squares.append(distance**2)
        floors.append(sampling_floor(first))
    assert np.mean(floors) == pytest.approx(math.sqrt(np.mean(squares)), rel=0.1)


def test_the_floor_of_one_gaussian_pair_is_the_classical_standard_error():
    """T2.5, one unit each: sigma = 1 - rho^2, so the floor is sqrt(2 / n) (1 - rho^2)."""
    n, rho = 200_000, 0.6
    a, noise = normal(n, 1), normal(n, 1, seed=1)
    b = rho * a + math.sqrt(1 - rho**2) * noise
    expected = math.sqrt(2 / n) * (1 - rho**2)
    assert sampling_floor({"a": a, "b": b}) == pytest.approx(expected, rel=0.02)


def test_cancelling_signs_leave_a_floor_although_the_ceiling_is_zero():
    """T2.6: three units at 120 degrees; sigma is 1/4, and the normalisation alone makes it."""
    n = 200_000
    plane = normal(n, 2)
    angles = torch.arange(3, dtype=torch.float64) * (2 * math.pi / 3)
    triangle = plane @ torch.stack([angles.cos(), angles.sin()])
    floor = sampling_floor({"a": triangle, "b": plane[:, :1]})
    assert floor == pytest.approx(math.sqrt(2 / n) * 0.25, rel=0.03)


def test_the_floor_falls_with_the_square_root_of_the_probe():
    layers = draw(1000, torch.Generator().manual_seed(0))
    four = {name: layer.repeat(4, 1) for name, layer in layers.items()}
    assert sampling_floor(four) == pytest.approx(sampling_floor(layers) / 2)


def test_dead_units_add_nothing_to_the_floor_but_width():
    a, b = related(100, (2, 2)).values()
    dead = torch.full((100, 2), 5.0, dtype=torch.float64)
    floor = sampling_floor({"a": a, "b": b})
    assert sampling_floor({"a": torch.cat([a, dead], 1), "b": b}) == pytest.approx(floor / 2)
    assert sampling_floor({"a": dead, "b": b}) == 0


def test_a_floor_needs_two_layers():
    with pytest.raises(ValueError, match="at least two layers"):
        sampling_floor({"a": torch.zeros(3, 1)})
