"""What a mask has decided before a level is trained (T7.12), and that runs say so."""

import itertools
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from infcop_lite.config import Config
from infcop_lite.flows import collect_activations, flow_distance, information_flow
from infcop_lite.loop import run
from infcop_lite.masks import apply_masks, full_masks
from infcop_lite.stopping import FlowConsistency
from infcop_lite.theory import certainty
from infcop_lite.windows import decided, fed_shares, mask_window

FAST = {"subset": 200, "levels": 1, "fraction": 0.5, "epochs": 1, "warmup_epochs": 1}
FAST |= {"probe_size": 100, "threads": 1, "device": "cpu"}


class Residual(nn.Module):
    """A network with a path around its middle layer."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        x = torch.relu(self.a(x))
        return self.c(x + torch.relu(self.b(x)))


def mlp(*sizes):
    pairs = itertools.pairwise(sizes)
    layers = [part for pair in pairs for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def convnet():
    parts = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*parts, nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 5))


def flow(model, inputs):
    return information_flow(collect_activations(model, inputs))


def random_masks(model, density, draw):
    return {
        name: torch.rand(mask.shape, generator=draw) < density
        for name, mask in full_masks(model).items()
    }


@pytest.mark.parametrize("build", [lambda: mlp(6, 8, 7, 5), convnet, Residual])
def test_t7_12_no_weights_on_a_mask_leave_its_window(build):
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    shape = {"Residual": (40, 3)}.get(type(build()).__name__, (40, 6))
    inputs = torch.randn((40, 2, 8, 8) if build is convnet else shape, generator=draw)
    for density in (0.02, 0.05, 0.1, 0.2):
        for _ in range(12):
            reference, model = build(), build()
            masks = random_masks(model, density, draw)
            with torch.no_grad():
                for parameter in model.parameters():  # whatever the surviving weights and biases
                    parameter.copy_(3 * torch.randn(parameter.shape, generator=draw).abs())
            apply_masks(model, masks)
            start = flow(reference, inputs)
            shares = list(fed_shares(model, masks, inputs).values())
            lowest, highest = mask_window(start, shares)
            assert lowest - 1e-9 <= flow_distance(flow(model, inputs), start) <= highest + 1e-9
            ceiling = torch.tensor(shares[:-1]) * torch.tensor(shares[1:])
            assert (flow(model, inputs).abs() <= ceiling + 1e-9).all()


def test_t7_12_fed_units_that_are_all_multiples_of_one_input_attain_both_ends():
    model = mlp(1, 4, 5)
    masks = full_masks(model)
    masks["0.weight"][1:], masks["2.weight"][2:, 0] = False, False
    masks["2.weight"][:, 1:] = False
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    apply_masks(model, masks)
    inputs = torch.linspace(0, 1, 50)[:, None]
    shares = list(fed_shares(model, masks, inputs).values())
    assert shares == [0.25, 0.4]
    attained = flow(model, inputs)
    for sign, end in ((1, 0), (-1, 1)):
        start = torch.tensor([sign * 0.5])
        assert flow_distance(attained, start) == pytest.approx(mask_window(start, shares)[end])


def test_a_unit_that_no_path_joins_to_a_varying_input_is_not_fed():
    model = mlp(2, 2, 2, 2)
    masks = full_masks(model)
    masks["0.weight"][1] = False  # the second unit is dead, and so is what reads it alone
    masks["2.weight"][1] = torch.tensor([False, True])
    masks["4.weight"][0] = torch.tensor([False, True])
    inputs = torch.tensor([[0.0, 1.0], [1.0, 1.0]])
    assert list(fed_shares(model, masks, inputs).values()) == [0.5, 0.5, 0.5]
    still = fed_shares(model, masks, torch.ones(2, 2))  # nothing varies at all
    assert list(still.values()) == [0.0, 0.0, 0.0]


def test_a_path_around_a_layer_is_not_overlooked():
    """A chain of masks would call its last layer dead, which the shortcut feeds."""
    model = Residual()
    masks = full_masks(model)
    masks["b.weight"][:] = False
    shares = fed_shares(model, masks, torch.randn(9, 3))
    assert shares == {"a": 1.0, "b": 0.0, "c": 1.0}


def test_shares_of_another_number_of_layers_are_refused():
    with pytest.raises(ValueError, match="2 layers have 1 flows, not 3"):
        mask_window(torch.zeros(3), [1.0, 1.0])


# What runs say


def warned(config):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = list(run(config))
    return [str(w.message) for w in caught if "on this mask" in str(w.message)], rows


def test_a_run_says_once_a_level_which_tolerances_the_mask_has_decided():
    config = Config(stop=FlowConsistency("information", 1e9), **FAST | {"levels": 2})
    said, rows = warned(config)
    assert [line.partition(":")[0] for line in said] == ["level 0", "level 1"]  # the last is whole
    assert all("is met by any weights, the distance is at most " in line for line in said)
    assert {row.epoch for row in rows if row.stopped} == {1.0}
    assert warned(replace(config, stop=FlowConsistency("information", 0.5)))[0] == []
    assert warned(Config(stop="gradient", **FAST))[0] == []


def test_a_tolerance_is_decided_at_the_ends_of_the_window_and_not_within():
    start, window = torch.tensor([3.0, 4.0]), (1.0, 6.0)
    found = {
        epsilon: decided(FlowConsistency("information", epsilon), start, window)
        for epsilon in (0.2, 0.21, 1.2, 1.21)
    }
    assert found[0.2] == "epsilon 0.2 can never be met, the distance is at least 0.2"
    assert found[1.21] == "epsilon 1.21 is met by any weights, the distance is at most 1.2"
    assert found[0.21] == found[1.2] == ""
    sure = FlowConsistency("information", 1.21, confidence=0.9)
    assert decided(sure, start, window) == ""
    absolute = FlowConsistency("information", 6.5, relative=False)
    assert "is at most 6" in decided(absolute, start, window)
    assert "zero" in decided(FlowConsistency("information", 0.5), torch.zeros(2), (0.0, 1.0))


@pytest.mark.parametrize("flow_name", ["information", "gradient"])
def test_t7_12_a_relative_epsilon_above_one_accepts_a_dead_network_and_the_config_says_so(
    flow_name,
):
    with pytest.warns(UserWarning, match="above 1 accepts a dead network") as caught:
        Config(stop=flow_name, epsilon=1.01)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for fine in ({"epsilon": 1.0}, {"epsilon": 1.5, "absolute": True}, {"stop": "mask"}):
            Config(**{"stop": flow_name, "epsilon": 0.9} | fine)
    model = mlp(3, 4, 3)
    start = flow(model, torch.randn(30, 3))
    for parameter in model.parameters():
        parameter.data.zero_()
    distance = flow_distance(flow(model, torch.randn(30, 3)), start)
    assert distance == start.norm().item()


def test_in_a_chain_the_equations_of_the_theory_give_the_same_window():
    draw, model = torch.Generator().manual_seed(4), mlp(6, 8, 7, 5)
    inputs = torch.randn(30, 6, generator=draw)
    inputs[:, 0] = 1.0
    for density in (0.1, 0.2, 0.4):
        masks = random_masks(model, density, draw)
        shares = fed_shares(model, masks, inputs)
        varying, start = (inputs != inputs[:1]).any(0), torch.tensor([0.3, -0.2])
        expected = certainty.mask_window(start, list(masks.values()), varying)
        assert mask_window(start, shares.values()) == pytest.approx(expected)
