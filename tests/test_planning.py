"""What will be pruned is said beforehand, and it is what then is pruned."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

import infcop_lite
from infcop_lite import masks
from infcop_lite.planning import check_plan, plan, what_is_left
from infcop_lite.pruner import Pruner


class Everything(nn.Module):
    """One module of each kind, and none of them ever called."""

    def __init__(self):
        super().__init__()
        self.words, self.lstm, self.cell = nn.Embedding(9, 4), nn.LSTM(4, 4), nn.GRUCell(4, 4)
        self.attention, self.norm = nn.MultiheadAttention(4, 2), nn.LayerNorm(4)
        self.bilinear, self.token = nn.Bilinear(4, 4, 2), nn.Parameter(torch.ones(1, 4))
        self.conv, self.up, self.hf = nn.Conv2d(4, 4, 3), nn.ConvTranspose2d(4, 4, 2), Conv1D(4, 4)
        self.frozen, self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.frozen.requires_grad_(False)
        self.twin, self.head = nn.Linear(4, 4), nn.Linear(4, 9, bias=False)
        self.twin.weight, self.head.weight = self.first.weight, self.words.weight


WHY = {
    "": "parameters of no Conv or Linear have no masks",
    "words": "tied to a layer that has no masks",
    "lstm": "recurrent layers have no masks",
    "cell": "recurrent layers have no masks",
    "attention": "in_proj has no mask; out_proj is a layer of its own",
    "norm": "biases and scales have no masks",
    "bilinear": "parameters of no Conv or Linear have no masks",
    "frozen": "frozen, requires_grad is False",
    "last": "dense, as was asked for",
    "twin": "its weight is that of a layer above",
}


def test_every_part_is_listed_with_its_parameters_and_the_reason_why_it_is_spared():
    model = Everything()
    planned = plan(model, dense="last", fraction=0.5)
    assert {p.name: p.verdict for p in planned.parts if not p.num_prunable} == {
        name: f"not pruned: {why}" for name, why in WHY.items()
    }
    pruned = {part.name: part.verdict for part in planned.parts if part.num_prunable}
    assert list(pruned) == ["attention.out_proj", "conv", "up", "hf", "first"]
    assert set(pruned.values()) == {"each removes 0.5 of what remains"}
    assert planned.num_parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dense": ("conv", "f*")},
        {"fraction": {"first": 0.5, "c*": 0.25}},
        {"scope": "global", "fraction": 0.9},
        {"amount": "sap", "p": 1, "q": 2},
    ],
)
@pytest.mark.filterwarnings("ignore:only .* have masks:UserWarning")
def test_what_is_pruned_then_is_what_was_said(settings):
    torch.manual_seed(0)
    model = Everything()
    planned = plan(model, **{"fraction": 0.5} | settings)
    pruner = Pruner(model, **{"fraction": 0.5} | settings)
    pruner.snapshot()
    pruner.next_level()
    touched = {name for name, mask in pruner.masks.items() if not mask.all()}
    said = {f"{part.name}.weight" for part in planned.parts if part.num_prunable}
    assert touched == said
    assert planned.num_prunable == sum(pruner.masks[name].numel() for name in said)


def test_the_headline_has_its_denominator():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(5, 16), nn.Linear(16, 3)

    assert plan(Net()).headline == "48 of 1,523 parameters (3 %) can be pruned"
    assert str(plan(Net())).startswith(plan(Net()).headline + "\nlayer ")
    few = nn.Sequential(nn.Embedding(1000, 10), nn.Linear(10, 1, bias=False))
    assert plan(few).headline == "10 of 10,010 parameters (0.1 %) can be pruned"
    assert plan(nn.Linear(3, 3, bias=False)).headline == "9 of 9 parameters (100 %) can be pruned"


def test_what_is_removed_already_is_counted():
    model = nn.Linear(4, 4, bias=False)
    half = masks.magnitude_masks(model, masks.full_masks(model), 0.5)
    assert plan(model, masks=half).parts[0].verdict == "each removes 0.2 of the 8 that remain"
    assert "what remains" in str(plan(model))
    masks.apply_masks(model, half)
    assert plan(model).parts[0].num_kept == 8
    assert "what SAP says of the 8 that remain" in str(plan(model, amount="sap"))


def test_a_plan_changes_nothing_and_refuses_what_pruning_refuses():
    model = Everything()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plan(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    for settings, message in (
        ({"dense": "nowhere"}, "no layer is called 'nowhere'"),
        ({"fraction": {"frozen": 0.5}}, "no layer that is pruned is called 'frozen'"),
        ({"final_density": 0.01}, "cannot be reached"),
        ({"masks": {}}, "masks do not fit"),
    ):
        with pytest.raises(ValueError, match=message):
            plan(model, **settings)
    with pytest.raises(ValueError, match="GRU has no Conv or Linear weights to prune; embeddings"):
        plan(nn.GRU(3, 3))


X, Y = torch.randn(20, 6), torch.arange(20) % 2
SHORT = {"levels": 1, "epochs": 1, "warmup_epochs": 0, "device": "cpu"}
WAYS = {"prune": lambda model: infcop_lite.prune(model, (X, Y), (X, Y), **SHORT), "Pruner": Pruner}


class Reader(nn.Module):
    """Most of it is an LSTM, and only the head has a mask."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.lstm(x.reshape(-1, 3, 2))[0][:, -1])


@pytest.mark.parametrize("way", WAYS)
def test_one_line_at_the_call_warns_where_less_than_half_of_the_parameters_have_masks(way):
    with pytest.warns(UserWarning, match="have masks") as told:
        WAYS[way](Reader())
    assert len(told) == 1
    assert str(told[0].message).startswith("only 8 of 138 parameters (6 %) have masks, ")
    assert "\n" not in str(told[0].message)
    assert told[0].filename == __file__
    few = nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 2))
    few[0].requires_grad_(False)
    WAYS[way](few)  # frozen as was asked for: no word, for a warning would be an error here


def test_half_of_the_parameters_is_enough():
    model = nn.Sequential(nn.Linear(6, 1, bias=False), nn.Module())
    for size in (6, 7):
        model[1].register_parameter("bare", nn.Parameter(torch.ones(size)))
        if size == 6:
            check_plan(model, infcop_lite.Config())
    with pytest.warns(UserWarning, match=r"only 6 of 13 parameters \(46 %\)"):
        check_plan(model, infcop_lite.Config())


def test_what_is_left_is_of_all_parameters_and_names_layers_that_died():
    model = Everything()
    kept = masks.full_masks(model)
    kept["conv.weight"][:], kept["attention.out_proj.weight"][:] = False, False
    total = sum(parameter.numel() for parameter in model.parameters())
    share, died = what_is_left(model, kept).splitlines()
    assert share == f"{1 - 160 / total:.4f} of all {total:,} left"
    assert died == "layers without weights: attention.out_proj, conv"
    assert what_is_left(model, masks.full_masks(model)) == f"1.0000 of all {total:,} left\n"


def test_the_summary_of_a_global_run_that_emptied_a_layer_says_so():
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8))
    model[2].weight.data *= 1e-3
    short = SHORT | {"epochs": 0, "fraction": 0.75}
    found = infcop_lite.prune(model, (X, Y), (X, Y), scope="global", **short)
    lines = found.summary().splitlines()
    assert lines[0].endswith("16 other parameters, never pruned; 0.3438 of all 128 left")
    assert lines[1] == "layers without weights: 2"
    whole = infcop_lite.prune(model, (X, Y), (X, Y), **short)
    assert "without" not in whole.summary()


def test_a_wrapped_network_is_planned_as_the_one_inside():
    net, asked = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), {"dense": "1", "fraction": 0.5}
    assert plan(nn.DataParallel(net), **asked) == plan(net, **asked)
