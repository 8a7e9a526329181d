"""Whole units: which hang together, levels of them, and the network that is left without them."""

import copy
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision.models import DenseNet
from torchvision.models.resnet import BasicBlock, ResNet

from infcop_lite import FixedEpochs, MaskStability, Pruner, coupling, prune, storing, units
from infcop_lite.data import Split
from infcop_lite.masks import apply_masks, density, from_zeros, full_masks, magnitude_masks
from infcop_lite.models import build


class Skip(nn.Module):
    """What a skip connection adds up: units of `first` and of `second` go together."""

    def __init__(self, width=6):
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, width, 3, padding=1), nn.BatchNorm2d(width)
        self.second, self.head = nn.Conv2d(width, width, 3, padding=1), nn.Linear(width, 3)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        return self.head((x + self.second(x)).mean((2, 3)))


class Up(nn.Module):
    """Several outputs, channels put side by side, a transposed and a depthwise convolution."""

    def __init__(self):
        super().__init__()
        self.down, self.deep = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 6, 3, 2, 1)
        self.up, self.each = nn.ConvTranspose2d(6, 4, 2, 2), nn.Conv2d(4, 4, 3, 1, 1, groups=4)
        self.slope, self.out = nn.PReLU(4), nn.Conv2d(12, 2, 1)

    def forward(self, x):
        wide = self.down(x).relu()
        narrow = self.slope(self.each(self.up(self.deep(wide).relu())))
        return SimpleNamespace(map=self.out(torch.cat([wide, narrow], 1)), size=len(x))


class Two(nn.Module):
    """Two inputs by name; numbers of features that the forward pass counts."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, 8), nn.Linear(3, 8), nn.Linear(8, 5)
        self.counted, self.last = nn.Linear(5, 6), nn.Linear(3, 2)

    def forward(self, a, b):
        hidden = self.counted(self.head(self.left(a).relu() + self.right(b).relu()).relu())
        return self.last(hidden.view(-1, 2, 3).sum(1))


def made(make, seed=0):
    torch.manual_seed(seed)
    model = make()
    for module in model.modules():  # as after some training
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.bias)
    return model


IMAGES = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(1))
COLOURS = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
NETWORKS = {
    "skip": (Skip, IMAGES),
    "up": (Up, IMAGES),
    "two": (Two, {"a": torch.randn(3, 4), "b": torch.randn(3, 3)}),
    "lenet5": (lambda: build("lenet5"), torch.randn(2, 1, 28, 28)),
    "convnet": (lambda: build("convnet", width=6), COLOURS),
    "resnet": (lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5), COLOURS[:, :, :16, :16]),
    "densenet": (lambda: DenseNet(4, (2, 2), 8, num_classes=3), COLOURS),
    "transformer": (
        lambda: nn.TransformerEncoderLayer(8, 2, 12, batch_first=True),
        torch.randn(2, 3, 8),
    ),
}


def num_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def why(groups):
    return {layer: group.why for group in groups for layer in group.layers}


# Which hang together


def test_a_skip_connection_joins_the_layers_that_it_adds_up():
    skip, head = coupling.find_groups(made(Skip), IMAGES)
    assert set(skip.layers) == {"first", "second"}
    found = {(name, axis, at.shape) for name, axis, at in skip.where}
    assert found == {
        ("first.weight", 0, (6, 1)),
        ("second.weight", 0, (6, 1)),
        ("second.weight", 1, (6, 1)),
        ("head.weight", 1, (6, 1)),
    }
    assert (skip.why, head.layers, head.why) == ("", ("head",), "its units are the output")


def test_the_smallest_unit_by_the_norm_of_all_its_weights_goes():
    model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[3.0], [0.0], [1.0]]))
        model[2].weight.copy_(torch.tensor([[0.0, 4.0, 2.0], [0.0, 0.0, 1.0]]))
    groups = coupling.find_groups(model, torch.ones(1, 1))
    kept = units.unit_masks(groups, full_masks(model), model.state_dict(), 0.4)
    # sums of squares 9, 16 and 6: the third goes, though its first weight is not the smallest
    assert kept["0.weight"].flatten().tolist() == [True, True, False]
    assert kept["2.weight"].tolist() == [[True, True, False]] * 2
    kept = units.unit_masks(groups, kept, model.state_dict(), 0.5)
    assert kept["0.weight"].flatten().tolist() == [False, True, False]
    last = units.unit_masks(groups, kept, model.state_dict(), 0.9)
    assert last["0.weight"].flatten().tolist() == [False, True, False], "one always stays"


def test_exactly_the_rounded_fraction_of_each_groups_units_goes():
    model = made(lambda: build("convnet", width=10))
    groups = coupling.find_groups(model, COLOURS)
    kept = units.unit_masks(groups, full_masks(model), model.state_dict(), 0.3)
    alive = [int(group.alive(kept).sum()) for group in groups if not group.why]
    assert alive == [7, 14, 28, 56]


def test_what_cannot_go_stays_and_says_why():
    groups = why(coupling.find_groups(*(made(NETWORKS["two"][0]), NETWORKS["two"][1])))
    assert "something else, or nothing" in groups.pop("counted")
    assert groups == {"left": "", "right": "", "head": "", "last": "its units are the output"}
    norm = nn.Sequential(nn.Conv2d(2, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 3, 1))
    assert "something else" in why(coupling.find_groups(norm, IMAGES))["0"]
    grouped = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 6, 1, groups=2), nn.Conv2d(6, 3, 1))
    found = why(coupling.find_groups(grouped, IMAGES))
    assert found["0"] == found["1"] == "1 is grouped"


def test_a_norm_over_channels_is_noticed_though_its_units_begin_as_zero():
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    assert "something else" in why(coupling.find_groups(model, torch.ones(2, 3)))["0"]


def test_dense_frozen_and_tied_layers_keep_their_units():
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(6)))
    model[1].requires_grad_(False)
    model[3].weight = model[2].weight
    found = why(coupling.find_groups(model, torch.ones(1, 4), dense=["0"]))
    assert found == {
        **{"0": "0 is dense", "1": "1 is frozen", "2": "2 shares its weight"},
        **{"3": "3 shares its weight", "4": "", "5": "its units are the output"},
    }


# The smaller network


@pytest.mark.parametrize("name", NETWORKS)
def test_without_its_dead_units_a_network_computes_what_it_computed_masked(name):
    make, example = NETWORKS[name]
    model = made(make)
    groups, kept = coupling.find_groups(model, example), full_masks(model)
    for _ in range(2):
        kept = units.unit_masks(groups, kept, model.state_dict(), 0.3)
    before = copy.deepcopy(model.state_dict())
    small = units.shrink(model, kept, example)
    masked = copy.deepcopy(model)
    apply_masks(masked, kept)
    assert coupling.difference(masked.eval(), small.eval(), example) < 1e-5
    assert type(small) is type(model)
    # as many weights are left as the masks keep: what was measured is what comes out
    assert sum(mask.numel() for mask in full_masks(small).values()) == sum(
        int(mask.sum()) for mask in kept.values()
    )
    assert num_parameters(small) < num_parameters(model)
    assert all(torch.equal(before[k], value) for k, value in model.state_dict().items())


def test_half_the_units_leave_the_network_of_half_the_width():
    model = made(lambda: build("convnet", width=6))
    found = coupling.find_groups(model, COLOURS)
    kept = units.unit_masks(found, full_masks(model), model.state_dict(), 0.5)
    small, narrow = units.shrink(model, kept, COLOURS), build("convnet", width=3)
    shapes = [{k: v.shape for k, v in net.state_dict().items()} for net in (small, narrow)]
    assert shapes[0] == shapes[1]


def test_modes_frozen_parameters_and_gradients_come_out_as_they_went_in():
    model = made(Skip)
    model.norm.eval()
    model.head.bias.requires_grad_(False)
    model(IMAGES).sum().backward()
    small = units.shrink(model, full_masks(model), IMAGES)
    assert (small.training, small.norm.training, small.head.training) == (True, False, True)
    assert {k for k, p in small.named_parameters() if not p.requires_grad} == {"head.bias"}
    assert all(parameter.grad is None for parameter in small.parameters())
    assert model.first.weight.grad is not None


def test_scattered_zeros_stay_where_they_are():
    model = made(Skip)
    kept = magnitude_masks(model, full_masks(model), 0.5)
    small = units.shrink(model, kept, IMAGES)
    assert torch.equal(small.second.weight == 0, ~kept["second.weight"])


class Noisy(Skip):
    def forward(self, x):
        return super().forward(x) + torch.rand(1)


def test_a_network_whose_outputs_cannot_be_compared_is_refused():
    model = made(Noisy)
    with pytest.raises(ValueError, match="Noisy cannot be shrunk: its outputs would change"):
        units.shrink(model, full_masks(model), IMAGES)


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"resnet"}))
def test_a_smaller_network_comes_back_in_its_class_bit_by_bit(name, tmp_path):
    make, example = NETWORKS[name]
    model = made(make)
    groups = coupling.find_groups(model, example)
    kept = units.unit_masks(groups, full_masks(model), model.state_dict(), 0.4)
    small = units.shrink(model, kept, example)
    storing.save(small, tmp_path / "small.safetensors")
    loaded = storing.load(tmp_path / "small.safetensors", make())
    assert str(loaded) == str(small)
    assert coupling.difference(small.eval(), loaded.eval(), example) == 0
    again = units.shrink(loaded, from_zeros(loaded), example)
    assert str(again) == str(small), "it is a network like any other"


# Levels


def data(num=64, seed=3):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(num, 2, 4, 4, generator=generator)
    return Split(x, (x.mean((1, 2, 3)) > 0).long())


SHORT = {"epochs": 2, "warmup_epochs": 1, "batch_size": 16, "device": "cpu"}


def test_levels_stop_rules_and_rows_are_those_of_prune():
    model = made(lambda: Skip(8))
    before = copy.deepcopy(model.state_dict())
    found = units.prune_units(
        *(model, data(), data()),
        **{"example": data().inputs[:2], "levels": 2, "fraction": 0.5, "stop": FixedEpochs(1)},
        **SHORT,
    )
    ends = [(row.level, row.epoch) for row in found.pruned.rows if row.stopped]
    assert ends == [(0, 1), (1, 1), (2, 2)]
    assert found.report == {
        **dict.fromkeys(("first", "second"), units.Units(8, 2, "")),
        "head": units.Units(3, 3, "its units are the output"),
    }
    assert found.num_parameters == (num_parameters(Skip(8)), num_parameters(Skip(2)))
    assert found.pruned.rows[-1].density == density(found.pruned.masks)
    assert "first 8 -> 2; second 8 -> 2; head 3 -> 3 (its units are the output)" in found.summary()
    assert all(torch.equal(before[k], value) for k, value in model.state_dict().items())


def test_a_level_begins_with_the_surviving_weights_of_the_snapshot():
    model, starts = made(Skip), []
    settings = units.whole_units(model, IMAGES, fraction=0.5)
    begin = settings["rewind"]

    def watched(*given):
        starts.append((given[1], begin(*given)))
        return starts[-1][1]

    pruned = prune(model, data(), data(), **settings | {"rewind": watched}, levels=1, **SHORT)
    snapshot, start = starts[0]
    assert start.weights is snapshot
    assert [int(mask.sum()) for mask in start.masks.values()] == [3 * 18, 3 * 3 * 9, 3 * 3]
    assert pruned.masks.keys() == start.masks.keys()
    going_on = units.whole_units(model, IMAGES, fraction=0.5, rewind="none")["rewind"]
    weights = copy.deepcopy(snapshot)
    assert going_on(1, snapshot, weights, full_masks(model)).weights is weights


def test_a_finished_folder_gives_the_same_network_and_another_fraction_is_another_run(tmp_path):
    given = (made(Skip), data(), data())
    options = {"example": IMAGES, "levels": 1, "folder": tmp_path, **SHORT}
    first, again = (units.prune_units(*given, fraction=0.5, **options) for _ in range(2))
    state = first.model.state_dict()
    assert all(torch.equal(state[k], value) for k, value in again.model.state_dict().items())
    with pytest.raises(ValueError, match="rewind"):
        units.prune_units(*given, fraction=0.4, **options)


def test_a_loop_of_ones_own_prunes_units_of_a_regression_with_two_inputs():
    make, example = NETWORKS["two"]
    model, loss = made(make), nn.functional.mse_loss
    sgd, target = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9), torch.ones(3, 2)
    pruner = Pruner(model, levels=2, **units.whole_units(model, example, fraction=0.5))
    pruner.snapshot(probe=(example, target), loss=loss)
    while True:
        for _ in range(3):
            sgd.zero_grad()
            loss(model(**example), target).backward()
            sgd.step()
            pruner.step()
        if not pruner.next_level(sgd):
            break
    small = units.shrink(model, pruner.masks, example)
    assert (small.left.out_features, small.head.out_features) == (2, 1)
    assert coupling.difference(model.eval(), small.eval(), example) < 1e-5


# Refusals


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"final_density": 0.5}, "final_density is of single weights"),
        ({"score": "taylor"}, "score is of single weights"),
        ({"stop": "information+mask"}, "stop='mask' is of single weights"),
        ({"stop": MaskStability(0.1)}, "stop='mask' is of single weights"),
        ({"fraction": 1.0}, r"fraction must be in \(0, 1\), not 1.0"),
        ({"rewind": "early"}, "rewind must be weights or none, not 'early'"),
        ({"dense": ["first"]}, "Skip has no units that can go .*first is dense.*the output"),
        ({"example": torch.ones(2, 5, 8, 8)}, "Torch-Pruning cannot follow Skip: .*channels"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_before_any_training(wrong, message):
    with pytest.raises(ValueError, match=message) as caught:
        units.prune_units(made(Skip), data(), data(), **{"example": IMAGES} | SHORT | wrong)
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_refused():
    model = made(Skip)
    groups = coupling.find_groups(model, IMAGES)
    weights = model.state_dict() | {"head.weight": torch.full((3, 6), torch.nan)}
    with pytest.raises(ValueError, match="holds weights that are NaN or infinite"):
        units.unit_masks(groups, full_masks(model), weights, 0.5)


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(ValueError, match=r"pip install 'infcop-lite\[units\]'"):
        coupling.find_groups(made(Skip), IMAGES)
