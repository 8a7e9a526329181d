"""What people bring: networks, data and calls as public reports have them, and each outcome.

Cases that belong to one module have their tests beside it; `ELSEWHERE` names these.
"""

import copy
import io
import pickle
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2Model,
    ViTConfig,
    ViTForImageClassification,
)

import infcop_lite
from infcop_lite import flows, scores
from infcop_lite.compute import choose_device
from infcop_lite.config import Config
from infcop_lite.cost import cost
from infcop_lite.limits import check
from infcop_lite.masks import Masked, apply_masks, density, full_masks, magnitude_masks, prunable
from infcop_lite.planning import plan
from infcop_lite.pruner import Pruner
from infcop_lite.pruning import prune
from infcop_lite.stopping import RULES, AnyOf, Check, FixedEpochs, Patience, Schedule, stop_rule

X = torch.randn(32, 10, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
SHORT = {"levels": 1, "fraction": 0.5, "epochs": 1, "warmup_epochs": 1, "batch_size": 16}
SHORT |= {"device": "cpu", "threads": 1}

#: Case -> the test that has it.
ELSEWHERE = {
    "a weight that is computed: weight_norm, spectral_norm, a parametrization, torch's pruning": (
        "test_layers.py::test_a_weight_that_is_computed_is_refused_with_the_line_that_undoes_it"
    ),
    "lazy layers": ("test_layers.py::test_a_lazy_module_is_refused_until_a_batch_has_gone_through"),
    "masks of some layers only": (
        "test_masks.py::test_partial_masks_are_refused_in_a_line_that_says_how_to_fill_them_up"
    ),
    "pruning that torch or Lightning made permanent": (
        "test_handover.py::test_pruning_that_torch_made_permanent_is_found_in_the_zeros_it_left"
    ),
    "2:4 masks of linear layers and convolutions": (
        "test_masks.py::test_two_of_four_is_what_the_published_library_draws_for_a_convolution"
    ),
    "a layer that global scope emptied": (
        "test_planning.py::test_the_summary_of_a_global_run_that_emptied_a_layer_says_so"
    ),
    "a share of parameters that is small": (
        "test_planning.py::"
        "test_one_line_at_the_call_warns_where_less_than_half_of_the_parameters_have_masks"
    ),
    "what is spared, and why": (
        "test_planning.py::"
        "test_every_part_is_listed_with_its_parameters_and_the_reason_why_it_is_spared"
    ),
    "an embedding that is also the output layer, a frozen layer": (
        "test_pruner.py::test_tied_and_frozen_layers_are_spared"
    ),
    "batch norms in eval mode within a network in train mode": (
        "test_own.py::test_a_frozen_batch_norm_stays_frozen"
    ),
    "a transformer's encoder layer": (
        "test_own.py::test_attention_keeps_its_bare_parameter_dense_and_prunes_its_projection"
    ),
    "a compiled network": "test_own.py::test_a_compiled_network_has_the_flow_of_its_layers",
    "several inputs": (
        "test_pruner.py::test_a_model_of_two_inputs_takes_them_by_name_or_one_by_one"
    ),
    "a sparse network comes in": (
        "test_pruner.py::"
        "test_a_sparse_network_goes_on_from_its_zeros_unless_the_call_says_otherwise"
    ),
    "segmentation": (
        "test_pruner.py::test_segmentation_is_pruned_under_both_flows_with_cross_entropy"
    ),
    "a rule that reads f1": (
        "test_pruner.py::test_rules_read_numbers_of_ones_own_and_a_nan_never_stops"
    ),
    "a deep copy under torch's pruning": (
        "test_handover.py::test_what_torch_has_pruned_itself_becomes_masks_that_fit"
    ),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_a_case_that_is_told_to_have_its_test_elsewhere_has_it(case):
    file, name = ELSEWHERE[case].split("::")
    source = (Path(__file__).parent / file).read_text()
    assert re.search(rf"^def {name}\(", source, re.MULTILINE)


def small(layer=None):
    return nn.Sequential(nn.Linear(10, 16), nn.ReLU(), layer or nn.Linear(16, 2))


def one_line(call, message, kind=ValueError):
    with pytest.raises(kind, match=message) as error:
        call()
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300


# Networks


class Depthwise(nn.Module):
    """A depthwise, a transposed and a plain convolution, group norm, a checkpointed block."""

    def __init__(self):
        super().__init__()
        self.first, self.depth = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=4)
        self.up, self.norm = nn.ConvTranspose2d(4, 6, 2, groups=2), nn.GroupNorm(2, 6)
        self.block, self.head = nn.Conv2d(6, 6, 1), nn.Linear(6, 3)

    def forward(self, x):
        x = self.norm(self.up(self.depth(self.first(x)).relu())).relu()
        x = torch.utils.checkpoint.checkpoint(self.block, x, use_reentrant=False)
        return self.head(x.mean((2, 3)))


WRAPPED = {
    "plain": lambda model: model,
    "channels last": lambda model: model.to(memory_format=torch.channels_last),
    "float64": lambda model: model.double(),
    "bfloat16": lambda model: model.bfloat16(),
    "data parallel": nn.DataParallel,
}


@pytest.mark.parametrize("way", WRAPPED)
def test_unusual_convolutions_layouts_and_precisions_are_pruned_under_all_scores_and_flows(way):
    torch.manual_seed(0)
    model = WRAPPED[way](Depthwise())
    dtype = next(model.parameters()).dtype
    x, y = torch.randn(12, 1, 8, 8, dtype=dtype), torch.arange(12) % 3
    for score in ("magnitude", "weight-times-input", "taylor"):
        settings = {"score": score, "stop": "information+gradient", "scope": "global"}
        pruner = Pruner(copy.deepcopy(model), fraction=0.5, **settings)
        pruner.snapshot(probe=(x, y))
        pruner.check(1.0)
        assert set(pruner.checks[0].distances) == {"information", "gradient"}
        assert pruner.next_level()
        assert pruner.density == pytest.approx(0.5, abs=0.01)


def gpt2():
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 16, "vocab_size": 20, "n_positions": 8}
    return GPT2Model(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


def test_gpt2_is_pruned_wherever_it_has_linear_layers():
    model = gpt2()
    assert all("attn" in name or "mlp" in name for name in prunable(model))
    planned = plan(model)
    assert planned.num_prunable == 16 * (48 + 16 + 64) + 64 * 16
    assert planned.share > 0.8
    ids = torch.arange(40).reshape(5, 8) % 20
    pruner = Pruner(model, fraction=0.5, stop="information")
    pruner.snapshot(probe=({"input_ids": ids}, None), loss=lambda out, _: out[0].mean())
    pruner.next_level()
    assert pruner.density == 0.5
    assert all((w != 0).sum() == w.numel() // 2 for w in prunable(model).values())


TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY |= {"intermediate_size": 16, "num_labels": 2}


class Logits(nn.Module):
    """The three lines that make a classifier of a network whose output is a class of its own."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x).logits


HUGGING_FACE = {
    "bert": (
        lambda: BertForSequenceClassification(BertConfig(vocab_size=40, **TINY)),
        torch.arange(128).reshape(16, 8) % 40,
    ),
    "vit": (
        lambda: ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, **TINY)),
        torch.randn(16, 3, 8, 8),
    ),
}


@pytest.mark.filterwarnings("ignore:only .* have masks:UserWarning")
@pytest.mark.parametrize("name", HUGGING_FACE)
def test_a_network_of_hugging_face_is_pruned_in_one_call_when_it_returns_logits(name):
    make, x = HUGGING_FACE[name]
    y = torch.arange(16) % 2
    if name == "vit":
        unwrapped = make()
        one_line(lambda: prune(unwrapped, (x, y), (x, y), **SHORT), "logits|loss of your own")
    found = prune(Logits(make()), (x, y), (x, y), monitor=True, **SHORT)
    assert found.rows[-1].density == 0.5


@pytest.mark.filterwarnings("ignore:only .* have masks:UserWarning")
def test_ids_with_their_attention_mask_are_a_dict_that_a_loop_of_ones_own_hands_over():
    make, ids = HUGGING_FACE["bert"]
    model = make()
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    pruner = Pruner(model, fraction=0.5, stop="gradient")
    y = torch.arange(16) % 2
    loss = lambda out, target: functional.cross_entropy(out.logits, target)  # noqa: E731
    pruner.snapshot(probe=(batch, y), loss=loss)
    pruner.check(1.0)
    assert pruner.checks[0].distances["gradient"] == 0
    pruner.next_level()
    assert pruner.density == pytest.approx(0.5, abs=0.01)


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(10, 2))

    def forward(self, x):
        return x @ self.weight


NOTHING = {"recurrent": lambda: nn.GRU(10, 2), "bare parameters": Bare, "int8": lambda: int8()}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", NOTHING)
def test_a_network_without_masks_is_told_what_masks_are_for(name):
    one_line(
        lambda: prune(NOTHING[name](), (X, Y), (X, Y), **SHORT),
        "has no Conv or Linear weights to prune; embeddings, recurrent layers and bare parameters",
    )


def test_a_fraction_of_each_layer_and_layers_that_stay_dense_can_be_said_to_prune():
    each = prune(small(), (X, Y), (X, Y), **SHORT | {"fraction": {"0": 0.75, "2": 0.25}})
    assert [int(mask.sum()) for mask in each.masks.values()] == [40, 24]
    spared = prune(small(), (X, Y), (X, Y), dense="2", **SHORT)
    assert [int(mask.sum()) for mask in spared.masks.values()] == [80, 32]
    assert "not pruned: 2 (dense)" in spared.summary()


def test_a_frozen_backbone_keeps_its_weights_and_is_named():
    model = small()
    model[0].requires_grad_(False)
    found = prune(model, (X, Y), (X, Y), **SHORT)
    assert torch.equal(found.model[0].weight, model[0].weight)
    assert "not pruned: 0 (frozen)" in found.summary()


# Data and calls


REGRESSION = {
    "one logit": (lambda: nn.Linear(16, 1), Y, "of one logit binary_cross_entropy_with_logits"),
    "a class to ignore": (lambda: nn.Linear(16, 2), Y.where(Y > 0, -100), "for others give a loss"),
    "too few outputs": (lambda: nn.Linear(16, 2), Y + 1, "classes, 0 to 1; for others give a loss"),
    "regression": (lambda: nn.Linear(16, 2), X[:, :2], "int64 classes, 0 to 1; for others give"),
    "one number": (
        lambda: nn.Sequential(nn.Linear(16, 1), nn.Flatten(0)),
        Y,
        r"logits are \(sample, class\), not \(32,\); for others give a loss",
    ),
}


@pytest.mark.parametrize("case", REGRESSION)
def test_what_is_no_classification_gets_the_same_line_everywhere(case):
    head, y, message = REGRESSION[case]
    model = small(head())
    one_line(lambda: flows.gradient_flow(model, X, y), message)
    one_line(lambda: scores.cross_entropy(model(X), y), message)
    pruner = Pruner(model, stop="gradient")
    one_line(lambda: pruner.snapshot(probe=(X, y)), message)
    if case in ("one logit", "too few outputs"):
        one_line(lambda: prune(small(head()), (X, y), (X, y), **SHORT), message)


def test_one_logit_is_pruned_with_the_loss_that_the_line_names():
    model = small(nn.Linear(16, 1))
    pruner = Pruner(model, fraction=0.5, stop="gradient", score="taylor")
    loss = functional.binary_cross_entropy_with_logits
    pruner.snapshot(probe=(X, Y[:, None].float()), loss=loss)
    pruner.next_level()
    assert pruner.density == 0.5


WRONG_TYPES = {
    "levels": (1.5, "levels must be a whole number, not 1.5"),
    "epochs": ("many", "epochs must be a finite number, not 'many'"),
    "lr": (float("nan"), "lr must be a finite number, not nan"),
    "level_lr": ("a", "level_lr must be a finite number or None, not 'a'"),
    "threads": (1.0, "threads must be a whole number or None, not 1.0"),
    "monitor": (3, "monitor must be True or False, not 3"),
    "scope": (None, "scope must be a name, not None"),
    "fraction": (X, "fraction must be .*a finite number"),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_an_option_of_another_type_is_told_in_words(name):
    value, message = WRONG_TYPES[name]
    one_line(lambda: Config(**{name: value}), message)


def test_an_object_of_many_lines_is_named_by_its_class():
    given = torch.optim.SGD(small().parameters(), 0.1)
    one_line(lambda: check("optimizer", given, str, {}), "must be a name, not an object of SGD$")


DEVICES = {
    "mps": "unknown device 'mps'; choose cpu, for flows are in double precision",
    "mps:0": "choose cpu",
    "cuda:1": "unknown device 'cuda:1'; choose cuda, and one of several by .*CUDA_VISIBLE_DEVICES",
    "tpu": "unknown device 'tpu'; choose from auto, cpu, cuda",
}


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_that_is_not_computed_on_is_refused_with_what_to_do_instead(name):
    one_line(lambda: Config(device=name), DEVICES[name])
    one_line(lambda: choose_device(name), DEVICES[name])


def test_data_of_another_precision_or_kind_are_refused_in_one_line():
    def call(x, model=small):
        return lambda: prune(model(), (x, Y), (X, Y), **SHORT)

    one_line(call(X, lambda: small().double()), "inputs are torch.float32, but the weights are")
    one_line(call(X.byte()), r"same dtype.*scale images first: inputs\.float\(\) / 255")
    one_line(call(X.double().numpy()), "train: .*or astype for an array")
    assert call(X.numpy())().rows


# What comes out


def test_training_goes_on_with_zeros_held_after_each_step_and_would_not_without():
    found = prune(small(), (X, Y), (X, Y), **SHORT | {"fraction": 0.9})
    revived = {}
    for name in ("plain", "held"):
        net = copy.deepcopy(found.model)
        hold, adam = Masked(net, found.masks), torch.optim.Adam(net.parameters(), weight_decay=0.01)
        for _ in range(3):
            adam.zero_grad()
            functional.cross_entropy(net(X), Y).backward()
            adam.step()
            if name == "held":
                hold()
        weights = prunable(net)
        revived[name] = sum(int((weights[k] != 0)[~m].sum()) for k, m in found.masks.items())
        assert all(
            (weights[k] != prunable(found.model)[k])[m].any() for k, m in found.masks.items()
        )
    assert revived["held"] == 0
    assert revived["plain"] > 100


def int8():
    return torch.ao.quantization.quantize_dynamic(small(), {nn.Linear}, dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_cost_of_a_quantised_network_is_refused_with_its_bytes():
    model = int8()
    one_line(lambda: cost(model, X), r"quantised, and torch counts no FLOPs of that: .* bytes now")
    with pytest.raises(ValueError, match="quantised") as error:
        cost(model, X)
    (num_bytes,) = re.findall(r"([\d,]+) bytes", str(error.value))
    integers, rest = 16 * 10 + 2 * 16, 4 * (16 + 2)  # weights of a byte, biases of four
    assert integers + rest <= int(num_bytes) <= integers + rest + 24  # scales and zero points
    assert cost(small(), X)["num_bytes"] == 4 * (integers + 18)
    half = cost(small().half(), X.half())
    assert half["num_bytes"] == 2 * (integers + 18)
    assert half["num_flops"] == cost(small(), X)["num_flops"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_zeros_stay_zero_through_a_file_a_copy_half_precision_export_and_int8():
    model = small()
    masks = magnitude_masks(model, full_masks(model), 0.75)
    apply_masks(model, masks)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    exported = torch.export.export(model, (X,)).module()
    copies = [torch.load(file, weights_only=False), pickle.loads(pickle.dumps(model))]
    copies += [copy.deepcopy(model), copy.deepcopy(model).half(), copy.deepcopy(model).bfloat16()]
    for other in copies:
        assert density({k: w != 0 for k, w in prunable(other).items()}) == 0.25
    assert torch.allclose(exported(X), model(X), atol=1e-6)
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert not quantised[0].weight().dequantize()[~masks["0.weight"]].any()


# Rules and their numbers


NEEDY = [name for name in RULES if name != "budget"]


@pytest.mark.parametrize("name", NEEDY)
def test_every_named_rule_refuses_a_check_that_lacks_what_it_reads_alone_and_joined(name):
    """Joined with one that would stop at once, too: else nobody would miss the number."""
    joined = (name, f"budget+{name}", f"{name}+budget")
    for stop in joined:
        rule = stop_rule(Config(stop=stop, epochs=1), 0.5, 0.5)
        message = "^the stop rule reads .*, which this check was not given$"
        one_line(lambda rule=rule: rule.stop([Check(0.0), Check(1.0)]), message)


def test_rules_that_read_nothing_need_nothing():
    for rule in (FixedEpochs(1), Schedule((1,)), AnyOf(FixedEpochs(1), Schedule((2,)))):
        assert rule.stop([Check(0.0), Check(1.0)])


def test_any_of_asks_every_rule_so_that_a_misspelt_number_is_noticed_at_the_first_check():
    rule = infcop_lite.AnyOf(FixedEpochs(1), Patience(2, of="fl"))
    given = [Check(1.0, metrics={"f1": 0.5})]
    one_line(lambda: rule.stop(given), "^the stop rule reads fl, which this check was not given$")
