"""Which layers masks are for, how their weights lie, and what is said of those that cannot be."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils import prune as torch_prune
from transformers.pytorch_utils import Conv1D

from infcop_lite import compact, handover, prune
from infcop_lite.cost import cost
from infcop_lite.flows import collect_activations, gradient_flow
from infcop_lite.layers import copied, has_inputs_first, is_layer
from infcop_lite.masks import density, full_masks, prunable
from infcop_lite.pruner import Pruner
from infcop_lite.scores import cross_entropy, weight_times_input

# torch announces the end of its old weight_norm
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")

COMPUTED = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "old weight norm": nn.utils.weight_norm,
    "old spectral norm": nn.utils.spectral_norm,
    "pruned by torch": lambda layer: torch_prune.l1_unstructured(layer, "weight", 1),
}
LAYERS = {"linear": lambda: nn.Linear(3, 2), "convolution": lambda: nn.Conv2d(2, 2, 3)}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", COMPUTED)
def test_a_weight_that_is_computed_is_refused_with_the_line_that_undoes_it(name, kind):
    model = nn.Sequential(COMPUTED[name](LAYERS[kind]()))
    with pytest.raises(ValueError, match=r"^0\.weight is computed, not a parameter") as error:
        prunable(model)
    line = str(error.value).partition("first call ")[2].partition(", after")[0]
    exec(line, {"torch": torch, "module": model[0]})
    assert list(prunable(model)) == ["0.weight"]


@pytest.mark.parametrize("name", [name for name in COMPUTED if name != "pruned by torch"])
def test_masks_of_torchs_pruning_are_refused_for_other_computed_weights_with_the_same_line(name):
    model = nn.Sequential(COMPUTED[name](nn.Linear(3, 2)))
    with pytest.raises(ValueError, match=r"^0\.weight is computed, and not by torch") as error:
        handover.from_torch_prune(model)
    exec(str(error.value).partition("first call ")[2], {"torch": torch, "module": model[0]})
    assert list(handover.from_torch_prune(model)) == ["0.weight"]


def test_another_tensor_that_is_computed_bars_no_weight():
    layer = torch_prune.l1_unstructured(nn.Linear(3, 2), "bias", 1)
    assert list(prunable(layer)) == ["weight"]
    for make in (nn.utils.weight_norm, parametrizations.weight_norm):
        words = nn.Sequential(make(nn.Embedding(3, 2)), nn.Linear(2, 2))
        assert list(prunable(words)) == ["1.weight"]


@pytest.mark.parametrize("kind", [nn.LazyLinear, nn.LazyConv1d, nn.LazyBatchNorm1d])
def test_a_lazy_module_is_refused_until_a_batch_has_gone_through(kind):
    sizes = {nn.LazyLinear: (2,), nn.LazyConv1d: (2, 1), nn.LazyBatchNorm1d: ()}
    model = nn.Sequential(nn.Conv1d(2, 2, 1), kind(*sizes[kind]))
    for do in (prunable, full_masks):
        with pytest.raises(ValueError, match=r"^1 is lazy, still uninitialized: call the model"):
            do(model)
    model(torch.ones(3, 2, 4))
    assert "0.weight" in prunable(model)


class Cached(nn.Linear):
    """It remembers what it gave, as networks do whose authors look at activations."""

    def forward(self, x):
        self.last = super().forward(x)
        return self.last


UNCOPIED = {
    "pruned by torch": lambda: torch_prune.l1_unstructured(nn.Linear(3, 3), "bias", 1),
    "old weight norm": lambda: nn.utils.weight_norm(nn.Bilinear(3, 3, 3)),
    "parametrized": lambda: parametrizations.weight_norm(nn.Bilinear(3, 3, 3)),
}


@pytest.mark.parametrize("name", UNCOPIED)
def test_a_network_that_cannot_be_copied_after_a_pass_says_what_undoes_that(name):
    layer, head = UNCOPIED[name](), nn.Linear(3, 2)
    model, x = nn.ModuleDict({"layer": layer, "head": head}), torch.ones(4, 3)
    layer(*([x, x] if isinstance(layer, nn.Bilinear) else [x]))
    if name == "parametrized":  # torch's successor of weight_norm keeps no result
        assert copied(model) is not model
        return
    for do in (copied, lambda net: cost(net, x), lambda net: compact(net, full_masks(net))):
        with pytest.raises(ValueError, match=r"^layer\.\w+ is computed in a forward pass") as error:
            do(model)
    line = str(error.value).partition("first call ")[2].partition(", after")[0]
    exec(line, {"torch": torch, "module": layer})
    assert list(copied(model).state_dict()) == list(model.state_dict())


def test_prune_says_so_too_and_names_no_remedy_for_what_others_keep():
    x, y = torch.randn(8, 3), torch.arange(8) % 2
    model = nn.Sequential(Cached(3, 2))
    model(x)
    with pytest.raises(ValueError, match=r"^0.last is computed .* or detaches it$"):
        prune(model, (x, y), (x, y), levels=1, epochs=1, warmup_epochs=0, device="cpu")


# Conv1D of transformers: a linear layer whose weight lies the other way round


class Block(nn.Module):
    """GPT-2's perceptron, and a head; of Conv1D or of the same linear layers."""

    def __init__(self):
        super().__init__()
        self.fc, self.proj, self.head = Conv1D(12, 4), Conv1D(4, 12), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.proj(self.fc(x).relu()).mean(1))


def linear_twin(model):
    twin = copy.deepcopy(model)
    for name in ("fc", "proj"):
        weight, bias = getattr(model, name).weight, getattr(model, name).bias
        layer = nn.Linear(*weight.shape)
        layer.load_state_dict({"weight": weight.detach().T, "bias": bias.detach()})
        setattr(twin, name, layer)
    return twin


def test_conv1d_of_transformers_is_measured_ranked_and_pruned_as_a_linear_layer():
    model = Block()
    twin = linear_twin(model)
    x, y = torch.randn(20, 5, 4), torch.randint(0, 3, (20,))
    assert (
        list(prunable(model)) == list(prunable(twin)) == ["fc.weight", "proj.weight", "head.weight"]
    )
    flows = [collect_activations(net, x) for net in (model, twin)]
    assert [tuple(f.shape) for f in flows[0].values()] == [(20, 12), (20, 4), (20, 3)]
    for mine, theirs in zip(*(f.values() for f in flows), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)
    assert torch.allclose(gradient_flow(model, x, y), gradient_flow(twin, x, y), atol=1e-6)
    scores = [weight_times_input(net, {}, (x, y), cross_entropy) for net in (model, twin)]
    for name in ("fc.weight", "proj.weight"):
        assert torch.allclose(scores[0][name], scores[1][name].T, atol=1e-5)
    pruners = [Pruner(net, fraction=0.5, score="weight-times-input") for net in (model, twin)]
    for pruner in pruners:
        pruner.snapshot(probe=(x, y))
        pruner.next_level()
    assert torch.equal(pruners[0].masks["fc.weight"], pruners[1].masks["fc.weight"].T)
    masks = handover.from_torch_prune(handover.to_torch_prune(model, pruners[0].masks))
    assert density(masks) == 0.5


def test_another_class_called_conv1d_is_none():
    kind = type("Conv1D", (nn.Module,), {})
    assert not is_layer(kind())
    assert not has_inputs_first(kind())


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("num_units", [2, 4, 6])
def test_a_transposed_convolution_has_a_norm_for_each_input_channel(num_units, groups):
    layer = nn.ConvTranspose1d(4, num_units, 2, groups=groups)
    x = torch.randn(9, 4, 5)
    score = weight_times_input(layer, full_masks(layer), (x, x), cross_entropy)["weight"]
    norms = x.movedim(1, 0).flatten(1).norm(dim=1)
    assert torch.allclose(score, layer.weight.abs() * norms[:, None, None])
