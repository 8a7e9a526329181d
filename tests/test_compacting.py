"""Compacting: the same outputs from fewer units, whatever the masks; costs counted by hand."""

import copy
import io
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torchvision.models import VGG, resnet18
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.vgg import make_layers
from transformers.pytorch_utils import Conv1D

from infcop_lite import storing
from infcop_lite.compacting import compact
from infcop_lite.cost import cost
from infcop_lite.data import load
from infcop_lite.linking import Units
from infcop_lite.masks import apply_masks, full_masks, magnitude_masks, prunable
from infcop_lite.models import build

seeded = settings(max_examples=60, derandomize=True, deadline=None, database=None)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def trained_looking(model, seed=0):
    """Give biases, statistics and scales values that training might: shifted, some negative."""
    torch.manual_seed(seed)
    for module in model.modules():
        if isinstance(module, NORMS):
            module.running_mean.normal_()
            module.running_var.uniform_(0.1, 3)
            if module.affine:
                nn.init.normal_(module.weight)
        if getattr(module, "bias", None) is not None:
            nn.init.normal_(module.bias)
    return model


def random_masks(model, density, seed=0, rows=0.0):
    """Keep each weight with this probability; also remove whole units, incoming or outgoing."""
    generator = torch.Generator().manual_seed(seed)
    masks = {}
    for name, weight in prunable(model).items():
        masks[name] = torch.rand(weight.shape, generator=generator) < density
        masks[name][torch.rand(weight.shape[0], generator=generator) < rows] = False
        masks[name][:, torch.rand(weight.shape[1], generator=generator) < rows] = False
    return masks


@torch.no_grad()
def outputs(model, masks, inputs):
    """The oracle: the masked network in eval mode, at its full size."""
    masked = copy.deepcopy(model).eval()
    apply_masks(masked, masks)
    return masked(inputs)


def check_same(model, masks, inputs, tolerance=1e-5):
    """Compact, compare with the oracle relative to its largest output, and return the result."""
    small = compact(model, masks)
    expected = outputs(model, masks, inputs)
    with torch.no_grad():
        error = (small(inputs) - expected).abs().max()
    assert error <= tolerance * expected.abs().max().clamp_min(1e-30)
    return small


def num_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def widths(model):
    """Units of each layer, by name."""
    layers = (nn.Linear, nn.Conv2d)
    return {k: len(m.weight) for k, m in model.named_modules() if isinstance(m, layers)}


def mlp(*sizes, seed=0):
    torch.manual_seed(seed)
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def small_vgg():
    """Torchvision's class with few channels; its own classifier (400 MB) is never allocated."""
    with torch.device("meta"):
        model = VGG(nn.Identity(), num_classes=3, init_weights=False)
    model.features = make_layers([4, "M", 6, 8, "M"], batch_norm=True)
    model.classifier = nn.Sequential(
        *(nn.Linear(8 * 49, 12), nn.ReLU(True), nn.Dropout(), nn.Linear(12, 3))
    )
    return model


NETWORKS = {
    "mlp": lambda: build("mlp", load("digits"), widths=[40, 30]),
    "lenet5": lambda: nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 3)),
        *(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 24), nn.ReLU()),
        nn.Linear(24, 10),
    ),
    "convnet": lambda: build("convnet", load("digits"), width=6),
    "resnet20": lambda: build("resnet20", load("digits")),
    "vgg": small_vgg,
    "resnet18": lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5),
}
IMAGES = {"vgg": (3, 8, 8), "resnet18": (3, 16, 16)}
PLAIN = ("mlp", "lenet5", "convnet", "vgg")


def network(name):
    torch.manual_seed(0)
    return trained_looking(NETWORKS[name]()), torch.randn(4, *IMAGES.get(name, (1, 8, 8)))


# The same outputs


@pytest.mark.parametrize("scope", ["layerwise", "global"])
@pytest.mark.parametrize("fraction", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_stay_the_same_after_magnitude_pruning(name, fraction, scope):
    model, inputs = network(name)
    check_same(model, magnitude_masks(model, full_masks(model), fraction, scope), inputs)


@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_stay_the_same_when_whole_units_are_removed(name, density):
    model, inputs = network(name)
    small = check_same(model, random_masks(model, density, rows=0.3), inputs)
    assert num_parameters(small) < num_parameters(model)


@pytest.mark.parametrize("name", [*PLAIN, "resnet20"])
def test_any_one_layer_may_collapse(name):
    model, inputs = network(name)
    for layer in prunable(model):
        masks = full_masks(model)
        masks[layer] = torch.zeros_like(masks[layer])
        check_same(model, masks, inputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_without_any_weights_still_gives_its_constants(name):
    model, inputs = network(name)
    masks = {name: torch.zeros_like(mask) for name, mask in full_masks(model).items()}
    small = check_same(model, masks, inputs)
    if name in PLAIN:
        *hidden, last = widths(small).values()
        assert set(hidden) == {1}
        assert last == len(outputs(model, masks, inputs)[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_full_masks_change_nothing_but_the_batch_norms(name):
    model, inputs = network(name)
    small = check_same(model, full_masks(model), inputs)
    assert widths(small) == widths(model)
    assert not any(isinstance(module, NORMS) for module in small.modules())
    if not any(isinstance(module, NORMS) for module in model.modules()):
        torch.testing.assert_close(small.state_dict(), model.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_compacting_twice_is_compacting_once(name):
    model, inputs = network(name)
    small = compact(model, random_masks(model, 0.05, rows=0.3))
    assert widths(check_same(small, full_masks(small), inputs)) == widths(small)


@st.composite
def chains(draw):
    """A random chain on (sample, 2, 8, 8) with random masks: (model, masks)."""
    size, channels, layers = 8, 2, []
    activation = st.sampled_from([nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, nn.ELU, nn.Identity])
    for _ in range(draw(st.integers(0, 3))):
        kernel = draw(st.sampled_from([1, 2, 3]))
        padding = draw(st.sampled_from([0, 1])) if kernel > 1 else 0
        mode = draw(st.sampled_from(["zeros", "circular", "replicate"]))
        if size + 2 * padding < kernel:
            break
        units = draw(st.integers(1, 5))
        bias = draw(st.booleans())
        layers.append(
            nn.Conv2d(channels, units, kernel, padding=padding, padding_mode=mode, bias=bias)
        )
        size, channels = size + 2 * padding - kernel + 1, units
        parts = [nn.BatchNorm2d(units, affine=draw(st.booleans())), draw(activation)()]
        layers += draw(st.permutations(parts))[: draw(st.integers(0, 2))]
        if size >= 4 and draw(st.booleans()):
            pools = [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AvgPool2d(2, padding=1)]
            pools += [nn.MaxPool2d(2, padding=1), nn.AdaptiveAvgPool2d(2)]
            layers.append(draw(st.sampled_from(pools)))
            size = layers[-1](torch.zeros(1, 1, size, size)).shape[-1]
    layers.append(nn.Flatten())
    features = channels * size * size
    for _ in range(draw(st.integers(0, 3))):
        units = draw(st.integers(1, 6))
        parts = [nn.BatchNorm1d(units), draw(activation)(), nn.Dropout(0.5)]
        layers += [nn.Linear(features, units, bias=draw(st.booleans()))]
        layers += draw(st.permutations(parts))[: draw(st.integers(0, 3))]
        features = units
    layers.append(nn.Linear(features, 3))
    seed = draw(st.integers(0, 10**6))
    model = trained_looking(nn.Sequential(*layers).double(), seed)
    masks = {}
    for i, name in enumerate(prunable(model)):
        density, rows = draw(st.sampled_from([(0.0, 0), (0.1, 0), (0.5, 0), (1, 0.5), (1, 0)]))
        masks[name] = random_masks(model, density, seed + i, rows)[name]
    return model, masks


@seeded
@given(chains())
def test_any_chain_with_any_masks_computes_the_same_to_nine_digits(chain):
    model, masks = chain
    inputs = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    small = check_same(model, masks, inputs, tolerance=1e-9)
    assert all(
        after <= before
        for after, before in zip(widths(small).values(), widths(model).values(), strict=True)
    )
    assert widths(compact(small, full_masks(small))) == widths(small)


# Which units go


def test_a_unit_that_hears_nothing_moves_into_the_next_bias():
    model = mlp(2, 3, 1)
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([1.0, 2.0, -3.0]))
        model[2].weight.copy_(torch.tensor([[10.0, 20.0, 30.0]]))
        model[2].bias.fill_(5.0)
    masks = full_masks(model)
    masks["0.weight"][1:] = False
    small = compact(model, masks)
    assert widths(small) == {"0": 1, "2": 1}
    assert small.get_submodule("2").bias.item() == 5 + 20 * 2 + 30 * 0  # relu(-3) = 0
    assert small.get_submodule("2").weight.tolist() == [[10.0]]


def test_a_unit_that_nobody_hears_is_dropped_and_frees_those_that_only_it_heard():
    model = mlp(4, 3, 3, 1)
    masks = full_masks(model)
    masks["4.weight"][0, 2] = False
    masks["2.weight"][:2, 0] = False  # unit 0 of the first layer speaks to the dropped one alone
    small = check_same(model, masks, torch.randn(5, 4))
    assert widths(small) == {"0": 2, "2": 2, "4": 1}


def test_constants_run_through_the_network_as_far_as_they_reach():
    model = mlp(4, 3, 3, 1)
    masks = full_masks(model)
    masks["0.weight"][0] = False
    masks["2.weight"][1, 1:] = False  # hears only the constant unit: a constant itself
    small = check_same(model, masks, torch.randn(5, 4))
    assert widths(small) == {"0": 2, "2": 2, "4": 1}


def test_a_dead_channel_takes_its_block_of_columns_along():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2))
    masks = full_masks(model)
    masks["0.weight"][1] = False
    inputs = torch.randn(4, 1, 6, 6)
    small = check_same(model, masks, inputs)
    assert small.get_submodule("3").in_features == 32
    kept = model[3].weight.reshape(2, 3, 16)[:, [0, 2]].flatten(1)
    torch.testing.assert_close(small.get_submodule("3").weight, kept)


def padded_pair(bias):
    """Two channels that hear nothing, with this bias, before a zero-padded convolution."""
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1))
    model[0].bias.data = torch.tensor([0.5, *bias])
    masks = full_masks(model)
    masks["0.weight"][1:] = False
    return model, masks


def test_a_constant_of_zero_leaves_even_before_zero_padding():
    small = check_same(*padded_pair([-1.0, 0.0]), torch.randn(2, 1, 8, 8))
    assert widths(small) == {"0": 1, "2": 2}


def test_before_zero_padding_one_channel_carries_all_constants():
    small = check_same(*padded_pair([2.0, 1.0]), torch.randn(2, 1, 8, 8))
    assert widths(small) == {"0": 2, "2": 2}


def test_before_zero_padding_a_constant_is_not_put_into_the_bias():
    model, masks = padded_pair([2.0, -1.0])
    small = check_same(model, masks, torch.randn(2, 1, 8, 8))
    assert widths(small) == {"0": 2, "2": 2}
    torch.testing.assert_close(small.get_submodule("2").bias, model[2].bias, rtol=0, atol=0)


def test_without_padding_or_with_padding_that_repeats_constants_leave():
    for options in ({}, {"padding": 1, "padding_mode": "reflect"}, {"padding": "valid"}):
        model, masks = padded_pair([2.0, 1.0])
        model[2] = nn.Conv2d(3, 2, 3, **options)
        assert widths(check_same(model, masks, torch.randn(2, 1, 8, 8))) == {"0": 1, "2": 2}
    model, masks = padded_pair([2.0, 1.0])
    model[2] = nn.Conv2d(3, 2, 3, padding="same")
    assert widths(check_same(model, masks, torch.randn(2, 1, 8, 8))) == {"0": 2, "2": 2}


def test_a_bias_is_added_only_where_a_constant_needs_one():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1, bias=False))
    model[0].bias.data = torch.tensor([0.0, 1.0])
    masks = full_masks(model)
    masks["0.weight"][0] = False
    assert compact(model, masks).get_submodule("2").bias is None
    masks["0.weight"] = masks["0.weight"].flip(0)
    check = check_same(model, masks, torch.randn(3, 2))
    torch.testing.assert_close(check.get_submodule("2").bias, model[2].weight[:, 1])


def test_a_batch_norm_after_the_activation_shrinks_with_its_channels():
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3), nn.Flatten())
    )
    trained_looking(model)
    masks = full_masks(model)
    masks["0.weight"][:2] = False
    small = check_same(model, masks, torch.randn(2, 1, 8, 8))
    assert small.get_submodule("2").num_features == 2
    assert len(small.get_submodule("2").running_var) == 2


def test_channels_inside_a_residual_branch_go_and_those_on_the_skip_stay():
    model, inputs = network("resnet18")
    masks = full_masks(model)
    for name in ("layer1.0.conv1", "layer1.0.conv2", "layer2.0.conv1"):
        masks[f"{name}.weight"][0] = False
    masks["layer1.0.conv2.weight"][:, 1] = False
    masks["layer2.0.conv2.weight"][:, 0] = False
    before, after = widths(model), widths(check_same(model, masks, inputs))
    changed = {name: before[name] - after[name] for name in before if before[name] != after[name]}
    assert changed.pop("layer1.0.conv1") in (1, 2)  # the first may shine, and then it stays
    assert changed == {"layer2.0.conv1": 1}


def test_torchvisions_own_resnet_is_understood():
    torch.manual_seed(0)
    model = trained_looking(resnet18(num_classes=3))
    masks = full_masks(model)
    masks["layer4.1.conv2.weight"][:, :500] = False
    small = check_same(model, masks, torch.randn(2, 3, 32, 32))
    assert widths(small)["layer4.1.conv1"] == 12


# Written in many ways, or not understood


class Functional(nn.Module):
    """A network as people write it: functions and methods between the layers."""

    def __init__(self, flatten):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3)
        self.fc1, self.fc2 = nn.Linear(6, 5), nn.Linear(5, 3)
        self.flatten = flatten

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.adaptive_avg_pool2d(torch.tanh(self.conv2(x)), 1)
        x = functional.dropout(self.flatten(x), training=self.training)
        return self.fc2(functional.leaky_relu(self.fc1(x), 0.3).sigmoid())


@pytest.mark.parametrize(
    "flatten",
    [
        lambda x: x.flatten(1),
        lambda x: torch.flatten(x, 1),
        lambda x: torch.flatten(x, start_dim=1),
        lambda x: x.view(x.size(0), -1),
    ],
)
def test_functions_and_methods_are_as_good_as_modules(flatten):
    model = trained_looking(Functional(flatten))
    masks = full_masks(model)
    for name in masks:
        masks[name][0] = False
    small = check_same(model, masks, torch.randn(4, 1, 8, 8))
    assert widths(small) == {"conv1": 3, "conv2": 5, "fc1": 4, "fc2": 3}


class Odd(nn.Module):
    """Two layers and something between them or about them."""

    def __init__(self, between, first=None, second=None):
        super().__init__()
        self.first, self.second = first or nn.Linear(4, 4), second or nn.Linear(4, 4)
        self.between = between

    def forward(self, x):
        return self.second(self.between(self, self.first(x)))


ODD = {
    "heard twice": lambda _, h: h + h.relu(),
    "mixed": lambda _, h: h.softmax(-1),
    "normalised together": lambda _, h: functional.layer_norm(h, [4]),
    "rolled": lambda _, h: h.roll(1, -1),
    "reshaped": lambda _, h: h.view(-1, 2, 2).transpose(1, 2).flatten(1),
    "called twice": lambda net, h: net.first(h),
    "its weight read": lambda net, h: h * net.first.weight[0, 0],
    "the next one's weight read": lambda net, h: h @ net.second.weight,
    "seen by two layers": lambda net, h: net.second(h) + h,
    "in place on the side": lambda _, h: (h, h.relu_())[0],
    "random on purpose": lambda _, h: functional.dropout(h, 0.0, training=True),
    "depending on a tensor": lambda _, h: torch.where(h > 0, h, h.mean(-1, keepdim=True)),
}


@pytest.mark.parametrize("case", ODD)
def test_what_is_not_understood_is_kept_as_it_is(case):
    model = trained_looking(Odd(ODD[case]))
    masks = full_masks(model)
    masks["first.weight"][:2] = False
    masks["second.weight"][:, 3] = False
    assert widths(check_same(model, masks, torch.randn(5, 4))) == {"first": 4, "second": 4}


@pytest.mark.parametrize(
    "between",
    [
        nn.GroupNorm(2, 4),
        nn.MaxPool2d(2, dilation=2, padding=1),
        nn.AvgPool2d(3, padding=1),
        nn.AvgPool2d(2, divisor_override=3),
        nn.PixelShuffle(2),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.Softmax(1),
        nn.PReLU(4),
    ],
    ids=lambda module: type(module).__name__,
)
def test_unfamiliar_modules_are_kept_as_they_are(between):
    channels = 1 if isinstance(between, nn.PixelShuffle) else 4
    model = nn.Sequential(nn.Conv2d(1, 4, 3), between, nn.Conv2d(channels, 2, 1))
    trained_looking(model[:1])
    masks = full_masks(model)
    masks["0.weight"][:2] = False
    small = check_same(model, masks, torch.randn(3, 1, 9, 9))
    assert widths(small) == widths(model)


def test_tied_and_hooked_layers_are_left_alone():
    model = mlp(4, 4, 4, 4)
    model[2].weight = model[4].weight
    masks = full_masks(model)
    masks["2.weight"][:, 0] = masks["0.weight"][1] = False
    assert widths(check_same(model, masks, torch.randn(3, 4))) == {"0": 4, "2": 4, "4": 4}
    model = mlp(4, 4, 4)
    model[0].register_forward_hook(lambda _module, _inputs, output: output + 1)
    masks = full_masks(model)
    masks["0.weight"][:2] = False
    assert widths(check_same(model, masks, torch.randn(3, 4))) == {"0": 4, "2": 4}


class Scaled(nn.Module):
    """Scales by a width, as the neural tangent parametrisation does."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.second(self.first(x).relu()) / self.second.in_features**0.5


def test_a_width_read_in_the_forward_pass_stays_what_it_was():
    model = Scaled()
    masks = full_masks(model)
    masks["second.weight"][:, :2] = False
    assert widths(check_same(model, masks, torch.randn(3, 3))) == {"first": 2, "second": 2}


def test_linear_layers_on_tokens_lose_units_but_a_batch_norm_over_tokens_is_not_folded():
    model = trained_looking(mlp(4, 4, 4))
    masks = full_masks(model)
    masks["0.weight"][:2] = False
    tokens = torch.randn(3, 4, 4)
    assert widths(check_same(model, masks, tokens)) == {"0": 2, "2": 4}
    model = trained_looking(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)))
    assert widths(check_same(model, masks, tokens)) == {"0": 4, "2": 4}
    flat = nn.Sequential(nn.Flatten(), *model)
    masks = {f"{int(name[0]) + 1}.weight": mask for name, mask in masks.items()}
    small = check_same(flat, masks, torch.randn(5, 4))
    assert widths(small) == {"1": 2, "3": 4}
    assert not any(isinstance(module, NORMS) for module in small.modules())


def test_tokens_that_are_flattened_keep_their_layer():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6, 2))
    masks = full_masks(model)
    masks["0.weight"][0] = False
    assert widths(check_same(model, masks, torch.randn(5, 2, 4))) == {"0": 3, "3": 2}


def test_a_single_layer_is_returned_as_it_is():
    layer = nn.Linear(3, 2)
    masks = {"weight": torch.tensor([[True, False, True], [False, False, False]])}
    check_same(layer, masks, torch.randn(4, 3))


def test_a_layer_with_a_patched_forward_is_left_alone_and_such_a_model_refused():
    model = mlp(4, 4, 4)
    model[0].forward = lambda x: x + 1
    masks = full_masks(model)
    masks["0.weight"][:2] = False
    assert widths(check_same(model, masks, torch.randn(3, 4))) == {"0": 4, "2": 4}
    with pytest.raises(ValueError, match="hooks or a patched forward"):
        compact(model[0], {"weight": masks["0.weight"]})
    model = mlp(4, 4, 4)
    model.register_forward_hook(lambda _module, _inputs, output: output + 1)
    with pytest.raises(ValueError, match="hooks or a patched forward"):
        compact(model, masks)


# The result is an ordinary module, the model is untouched


def test_the_model_is_not_touched():
    model, inputs = network("convnet")
    model.train()
    model.bn1.eval()
    before = copy.deepcopy(model.state_dict())
    masks = random_masks(model, 0.1, rows=0.3)
    small = compact(model, masks)
    small(inputs).sum().backward()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert model.training
    assert not model.bn1.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module.training for module in small.modules())


def test_the_result_is_saved_copied_and_trained_like_any_module():
    model, inputs = network("vgg")
    small = compact(model, random_masks(model, 0.2, rows=0.3))
    file = io.BytesIO()
    torch.save(small.state_dict(), file)
    file.seek(0)
    twin = copy.deepcopy(small)
    for parameter in twin.parameters():
        nn.init.zeros_(parameter)
    twin.load_state_dict(torch.load(file, weights_only=True))
    with torch.no_grad():
        assert torch.equal(twin(inputs), small(inputs))
    assert isinstance(twin, nn.Module)
    assert set(twin.state_dict()) <= set(model.state_dict()) | {"features.0.bias"}
    before = small(inputs).square().sum()
    before.backward()
    torch.optim.SGD(small.parameters(), lr=1e-6).step()
    assert small(inputs).square().sum() < before


def test_frozen_weights_stay_frozen():
    model = mlp(3, 4, 2)
    model[0].requires_grad_(False)
    masks = full_masks(model)
    masks["0.weight"][0] = False
    assert {k: p.requires_grad for k, p in compact(model, masks).named_parameters()} == {
        k: p.requires_grad for k, p in model.named_parameters()
    }


# Bad input


def test_masks_that_do_not_fit_are_refused():
    model = mlp(3, 4, 2)
    with pytest.raises(ValueError, match=r"missing or extra 2\.weight"):
        compact(model, {"0.weight": torch.ones(4, 3, dtype=torch.bool)})
    with pytest.raises(ValueError, match="boolean of shape"):
        compact(model, {name: mask.T for name, mask in full_masks(model).items()})


def test_weights_that_are_not_numbers_are_refused_unless_pruned():
    model = mlp(3, 4, 2)
    model[0].weight.data[1, 2] = torch.nan
    masks = full_masks(model)
    with pytest.raises(ValueError, match=r"0.weight holds weights that are NaN"):
        compact(model, masks)
    masks["0.weight"][1, 2] = False
    check_same(model, masks, torch.randn(4, 3))


class Optional(nn.Module):
    """What is not given is not done, and a stand-in is never None."""

    def __init__(self):
        super().__init__()
        self.first, self.extra, self.second = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x, mask=None, features=False, name="plain"):
        h = self.first(x).relu()
        if mask is not None:
            h = self.extra(h) * mask
        return h if features or name != "plain" else self.second(h)


def test_what_is_optional_stays_as_it_is_by_default():
    model = trained_looking(Optional())
    masks = full_masks(model)
    masks["first.weight"][:2] = False
    small = check_same(model, masks, torch.randn(5, 4))
    assert "assert" not in small.code


def test_a_compiled_model_is_refused_and_the_hint_works():
    model = trained_looking(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3)))
    compiled = torch.compile(model, backend="eager")
    with pytest.raises(ValueError, match="is compiled; pass its _orig_mod"):
        compact(compiled, full_masks(compiled))
    check_same(compiled._orig_mod, full_masks(model), torch.randn(5, 4))


def test_a_model_that_cannot_be_traced_is_refused_in_one_line():
    model = Odd(lambda _, h: h if h.sum() > 0 else -h)
    message = r"torch.fx cannot trace Odd, .*units.shrink .* \(torch.fx: .+\)"
    with pytest.raises(ValueError, match=message) as caught:
        compact(model, full_masks(model))
    assert "\n" not in str(caught.value)


# On disk and back


@pytest.mark.parametrize("name", NETWORKS)
def test_a_compacted_network_comes_back_in_its_class_bit_by_bit(name, tmp_path):
    model, inputs = network(name)
    small = compact(model, random_masks(model, 0.7, rows=0.4))
    storing.save(small, tmp_path / "small.safetensors")
    fresh = NETWORKS[name]()
    before = copy.deepcopy(fresh.state_dict())
    loaded = storing.load(tmp_path / "small.safetensors", fresh)
    assert loaded.code == small.code
    assert widths(loaded) == widths(small)
    assert torch.equal(loaded(inputs), small(inputs))
    assert all(torch.equal(before[k], v) for k, v in fresh.state_dict().items())
    layers = (nn.Linear, nn.Conv2d)
    shapes = [[str(m) for m in net.modules() if isinstance(m, layers)] for net in (loaded, small)]
    assert shapes[0] == shapes[1], "also the sizes that they say they have"


def test_a_width_read_in_the_forward_pass_comes_back_as_it_was(tmp_path):
    model = Scaled()
    masks = full_masks(model)
    masks["second.weight"][:, :2] = False
    small, inputs = compact(model, masks), torch.randn(3, 3)
    storing.save(small, tmp_path / "small.safetensors")
    assert torch.equal(
        storing.load(tmp_path / "small.safetensors", Scaled())(inputs), small(inputs)
    )


# Why it kept what it kept


def test_the_report_counts_units_and_says_who_reads_what_was_kept():
    model = trained_looking(nn.Sequential(*mlp(4, 6, 5, 3), nn.Softmax(1)))
    masks = full_masks(model)
    masks["0.weight"][:2] = False
    small = compact(model, masks)
    assert small.report == {
        "0": Units(6, 4, "the others were dead"),
        "2": Units(5, 5, "all are alive"),
        "4": Units(3, 3, "read by 5 (Softmax)"),
    }
    assert copy.deepcopy(small).report == small.report
    assert {name: units.after for name, units in small.report.items()} == widths(small)


def test_a_report_names_the_skips_of_a_residual_network():
    model, _ = network("resnet18")
    report = compact(model, full_masks(model)).report
    assert report["layer1.0.conv1"].why == "all are alive"
    assert report["layer1.0.conv2"].why == "read by add"
    assert report["conv1"].why == "read by layer1.0.conv1 (Conv2d), add"
    assert report["fc"].why == "read by the output"


def test_a_report_says_what_stops_a_chain_or_keeps_a_layer_out_of_it():
    norm = nn.Sequential(nn.Conv2d(2, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 3, 1))
    report = compact(norm, full_masks(norm)).report
    assert report["0"].why == "read by 1 (GroupNorm)"
    shared = nn.Linear(3, 3)
    altered, tied, other = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3)
    altered.register_forward_hook(lambda *_: None)
    other.weight = tied.weight
    attention = nn.TransformerEncoderLayer(4, 1, 4, batch_first=True)
    parts = (nn.Conv1d(2, 4, 1), nn.Linear(5, 3), shared, shared, altered, tied, other)
    model = nn.Sequential(*parts, nn.Linear(3, 4), attention)
    assert {k: units.why for k, units in compact(model, full_masks(model)).report.items()} == {
        **{"0": "it is a Conv1d; only Linear and Conv2d are followed", "2": "it is called 2 times"},
        **{"1": "read by 2 (Linear)", "4": "it has hooks or a patched forward"},
        **dict.fromkeys("56", "something else reads its weights, too"),
        "7": "read by 8 (TransformerEncoderLayer)",
        **dict.fromkeys(
            ("8.self_attn.out_proj", "8.linear1", "8.linear2"),
            "inside 8, which torch.fx does not look into",
        ),
    }
    hf = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), Conv1D(3, 4), nn.Linear(3, 2))
    found = compact(hf, full_masks(hf)).report["2"]
    assert found == (3, 3, "it is a Conv1D; only Linear and Conv2d are followed")
    grouped = nn.Sequential(nn.Conv2d(2, 4, 1, groups=2), nn.Conv2d(4, 3, 1))
    assert compact(grouped, full_masks(grouped)).report["0"].why == "it is grouped"


# What a network costs


def test_the_cost_of_a_linear_and_a_convolution_by_hand():
    assert cost(nn.Linear(3, 2), torch.zeros(5, 3)) == {
        "num_parameters": 3 * 2 + 2,
        "num_flops": 2 * 5 * 3 * 2,
        "num_bytes": 4 * 8,
    }
    conv = nn.Sequential(nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3))
    assert cost(conv, torch.zeros(1, 2, 6, 6)) == {
        "num_parameters": 3 * 2 * 9 + 6,
        "num_flops": 2 * 54 * 4 * 4,
        "num_bytes": 4 * (54 + 6 + 6) + 8,  # and how many batches the statistics saw, as int64
    }


def test_costs_count_shared_weights_once_and_leave_the_model_as_it_was():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    before = copy.deepcopy(model.state_dict())
    costs = cost(model, torch.randn(3, 4))
    assert costs["num_parameters"] == 16 + 4 + 4 + 8
    assert costs["num_bytes"] == 4 * (32 + 8) + 8
    assert model.training
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_scattered_zeros_cost_as_much_as_other_weights_and_dead_units_nothing():
    model = mlp(10, 20, 5)
    inputs = torch.randn(1, 10)
    masks = full_masks(model)
    masks["0.weight"][:, ::2] = False
    assert cost(compact(model, masks), inputs) == cost(model, inputs)
    masks["0.weight"][:10] = False
    half = cost(compact(model, masks), inputs)
    assert half["num_flops"] == cost(model, inputs)["num_flops"] / 2
    assert half["num_parameters"] == 10 * 10 + 10 + 10 * 5 + 5
