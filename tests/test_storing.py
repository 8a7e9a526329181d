"""Smaller networks on disk: what is refused, and what else reads the file."""

import pytest
import torch
from torch import nn

from infcop_lite import compact, handover, storing
from infcop_lite.masks import full_masks, rewind


def mlp(*widths, norm=True):
    first, second = widths
    torch.manual_seed(0)
    between = nn.BatchNorm1d(first) if norm else nn.Identity()
    layers = nn.Linear(4, first), between, nn.ReLU(), nn.Linear(first, second)
    return nn.Sequential(nn.Flatten(), *layers)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "small.safetensors"


def half(model):
    masks = full_masks(model)
    masks["1.weight"][::2] = False
    return compact(model.eval(), masks)


def test_weights_trained_further_come_back(path):
    small = half(mlp(6, 3))
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.add_(1)
    storing.save(small, path)
    loaded, inputs = storing.load(path, mlp(6, 3)), torch.randn(5, 4)
    assert torch.equal(loaded(inputs), small(inputs))
    assert loaded.get_submodule("1").out_features == 3
    assert loaded(inputs).requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_precisions_come_back_bit_by_bit(dtype, path):
    small = half(mlp(6, 3)).to(dtype)
    storing.save(small, path)
    state = storing.load(path, mlp(6, 3).to(dtype)).state_dict()
    for key, value in small.state_dict().items():
        assert torch.equal(state[key], value)
        assert state[key].dtype == dtype


def test_frozen_parameters_stay_frozen_and_modes_are_those_of_the_fresh_one(path):
    storing.save(mlp(3, 3), path)
    fresh = mlp(6, 3)
    fresh[1].weight.requires_grad_(False)
    fresh[2].eval()
    loaded = storing.load(path, fresh)
    assert [p.requires_grad for p in loaded[1].parameters()] == [False, True]
    assert (loaded.training, loaded[2].training) == (True, False)


def test_the_weights_and_what_is_not_zero_are_there_for_handover_too(path):
    small = half(mlp(6, 3))
    with torch.no_grad():
        small.get_submodule("4").weight[0] = 0
    storing.save(small, path)
    state, masks = handover.load(path)
    assert masks["4.weight"].tolist() == [[False] * 3, [True] * 3, [True] * 3]
    rewind(small, state, masks)


@pytest.mark.parametrize(
    ("saved", "model", "message"),
    [
        (half(mlp(6, 3)), nn.Linear(4, 3), "than Linear: it is of Sequential"),
        (half(mlp(6, 3)), mlp(6, 3, norm=False), "than this Sequential: its forward pass differs"),
        (mlp(6, 3), mlp(6, 3, norm=False), "than this Sequential: 2.bias is in one of them only"),
        (
            half(mlp(6, 3)),
            mlp(6, 2),
            r"than this Sequential: 4.weight is \(3, 3\), not at most \(2, 6\)",
        ),
        (mlp(6, 3), mlp(5, 3), r"than this Sequential: 1.weight is \(6, 4\), not at most \(5, 4\)"),
    ],
)
def test_another_network_is_refused_and_the_line_says_what_differs(saved, model, message, path):
    storing.save(saved, path)
    with pytest.raises(ValueError, match=f"small.safetensors holds another network {message}"):
        storing.load(path, model)


def test_a_layer_whose_size_nobody_knows_how_to_change_is_refused(path):
    storing.save(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), path)
    with pytest.raises(ValueError, match="Sequential: the size of 1 cannot be changed"):
        storing.load(path, nn.Sequential(nn.Linear(4, 5), nn.LayerNorm(5)))


def test_masked_networks_and_damaged_files_are_refused(path):
    model = mlp(6, 3)
    handover.save(model, full_masks(model), path)
    with pytest.raises(ValueError, match="holds weights of full size: use handover"):
        storing.load(path, mlp(6, 3))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is damaged"):
        storing.load(path, mlp(6, 3))
    with pytest.raises(ValueError, match="must end in"):
        storing.save(model, path.with_suffix(".pt"))
