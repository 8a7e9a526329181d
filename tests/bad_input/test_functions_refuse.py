"""Bad input through the public functions: the documented exception, in one line that says what."""

import ast
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.utils.prune import identity

import infcop_lite
from infcop_lite import Config, data, figures, flows, masks, models, prune, records, stopping, train
from infcop_lite.config import stop_rule

ROOT = Path(infcop_lite.__file__).parent
NAN, INF = math.nan, math.inf


def cloud(num_samples=12):
    inputs = torch.randn(num_samples, 4, generator=torch.Generator().manual_seed(0))
    return inputs, (inputs[:, 0] > 0).long()


def network():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


X, Y = cloud()
NET = network()
FULL = masks.full_masks(NET)
LAYERS = {"a": X, "b": X[:, :2]}


def spoilt(value, part="weight"):
    """Return a network with one entry that is not finite."""
    model = network()
    getattr(model[0], part).data.view(-1)[0] = value
    return model


def pruned(model=None, train=(X, Y), validation=(X, Y), test=None, **options):
    few = {"levels": 1, "epochs": 1, "warmup_epochs": 1, "probe_size": 8, "batch_size": 6}
    return prune(model or network(), train, validation, test, **{**few, **options})


def steps(model=None, mask=FULL, inputs=X, targets=Y, num_steps=2, batch_size=6, lr=0.1):
    model = model or network()
    sgd = train.make_optimizer(model, "sgd", lr, 0.9, 0.0)
    batches = train.shuffled_batches(12, batch_size, torch.Generator().manual_seed(0))
    return train.train_steps(model, sgd, inputs, targets, mask, batches, num_steps)


def with_mask(mask):
    return {**FULL, "0.weight": mask}


class Tuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x):
        return self.linear(x), x


class ReadsNonsense:
    reads = frozenset({"entropy"})

    def stop(self, checks):
        return False


class ReadsNumber(ReadsNonsense):
    reads = 5


class NeverStops:
    reads = frozenset()


# What is done, and what the refusal must say. A case is a ValueError unless it is in one of the
# other tables below.
PRUNE = {
    "target beyond the last class": (lambda: pruned(train=(X, Y + 5)), "classes, 0 to 1"),
    "validation target beyond": (lambda: pruned(validation=(X, Y + 5)), "classes, 0 to 1"),
    "test target beyond": (lambda: pruned(test=(X, Y + 5)), "classes, 0 to 1"),
    "target negative": (lambda: pruned(train=(X, Y - 1)), "0 or more"),
    "target ignored by torch": (lambda: pruned(train=(X, Y * 0 - 100)), "0 or more"),
    "targets float": (lambda: pruned(train=(X, Y.float())), "int64"),
    "targets one-hot": (lambda: pruned(train=(X, torch.eye(2)[Y])), "int64"),
    "targets of text": (lambda: pruned(train=(X, np.array(["a"] * len(Y)))), "no tensor; turn it"),
    "inputs of text": (lambda: pruned(train=(X.numpy().astype(str), Y)), "no tensor; turn it"),
    "inputs a ragged list": (lambda: pruned(train=([[1.0], []], Y[:2])), "inhomogeneous"),
    "inputs sparse": (lambda: pruned(train=(X.to_sparse(), Y)), "dense tensors"),
    "inputs without storage": (lambda: pruned(train=(X.to("meta"), Y)), "dense tensors"),
    "inputs of one number": (lambda: pruned(train=(X[0, 0], Y[0])), "one row per sample"),
    "inputs nan": (lambda: pruned(train=(X * NAN, Y)), "NaN or infinity"),
    "validation inputs inf": (lambda: pruned(validation=(X * INF, Y)), "NaN or infinity"),
    "inputs int64": (lambda: pruned(train=(X.long(), Y)), "cannot take inputs"),
    "inputs bool": (lambda: pruned(train=(X > 0, Y)), "cannot take inputs"),
    "inputs complex": (lambda: pruned(train=(X + 0j, Y)), "cannot take inputs"),
    "inputs float64": (lambda: pruned(train=(X.double(), Y)), "float64"),
    "inputs too narrow": (lambda: pruned(train=(X[:, :3], Y)), r"shape \(12, 3\)"),
    "test inputs too narrow": (lambda: pruned(test=(X[:, :3], Y)), r"shape \(12, 3\)"),
    "no samples": (lambda: pruned(train=(X[:0], Y[:0])), "0 inputs"),
    "targets missing": (lambda: pruned(train=(X, Y[:5])), "12 inputs and 5 targets"),
    "no pair but a tensor": (lambda: pruned(train=X), "must be .inputs, targets., not a Tensor"),
    "no pair but three": (lambda: pruned(train=(X, Y, Y)), "pair"),
    "no data": (lambda: pruned(train=None), "not a NoneType"),
    "model is a name": (lambda: pruned("mlp"), "torch module, not str"),
    "model is a class": (lambda: pruned(nn.Linear), "torch module, not type"),
    "model without weights": (lambda: pruned(nn.Flatten()), "no Conv or Linear weights"),
    "model not yet shaped": (lambda: pruned(nn.LazyLinear(2)), "uninitialized"),
    "layer without units": (
        lambda: pruned(nn.Sequential(nn.Linear(4, 0), nn.Linear(0, 2))),
        "0.weight is empty",
    ),
    "network without classes": (lambda: pruned(nn.Linear(4, 0)), "weight is empty"),
    "network returns a tuple": (lambda: pruned(Tuple()), "one tensor"),
    "network returns numbers": (
        lambda: pruned(nn.Sequential(nn.Linear(4, 1), nn.Flatten(0))),
        r"logits \(sample, class\)",
    ),
    "network returns a cube": (
        lambda: pruned(nn.Sequential(nn.Linear(4, 6), nn.Unflatten(1, (2, 3)))),
        r"logits \(sample, class\)",
    ),
    "network of two dtypes": (
        lambda: pruned(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2).double())),
        "cannot take inputs",
    ),
    "network complex": (
        lambda: pruned(nn.Linear(4, 2, dtype=torch.complex64)),
        "the weights are torch.complex64",
    ),
    "network frozen": (lambda: pruned(network().requires_grad_(False)), "requires_grad"),
    "network pruned by torch": (
        lambda: pruned(identity(nn.Linear(4, 2), "weight")),
        "is computed",
    ),
    "batch norm on a batch of one": (
        lambda: pruned(
            nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)), batch_size=11
        ),
        "more than 1 value per channel",
    ),
    "rule of unknown measurements": (lambda: pruned(stop=ReadsNonsense()), "entropy"),
    "rule that reads a number": (lambda: pruned(stop=ReadsNumber()), "a name or a rule"),
    "rule that cannot stop": (lambda: pruned(stop=NeverStops()), "a name or a rule"),
    "rule is a class": (lambda: pruned(stop=stopping.Patience), "a name or a rule"),
}
CONFIG = {
    "batch size beyond 64 bits": (lambda: Config(batch_size=2**63), "batch_size"),
    "threads beyond 64 bits": (lambda: Config(threads=2**63), "threads"),
    "threads beyond any machine": (lambda: Config(threads=2**20), "threads must be less"),
    "levels beyond 64 bits": (lambda: Config(levels=2**70), "levels"),
    "lr a huge whole number": (lambda: Config(lr=10**400), "lr"),
    "fraction numpy nan": (lambda: Config(fraction=np.float64("nan")), "fraction must be a finite"),
    "levels numpy fraction": (
        lambda: Config(levels=np.float64(2.5)),
        "levels must be a whole number",
    ),
    "epsilon numpy complex": (lambda: Config(epsilon=np.complex128(1)), "epsilon"),
    "lr an array": (lambda: Config(lr=np.array(0.1)), "lr must be a finite number"),
    "lr a tensor": (lambda: Config(lr=torch.tensor(0.1)), "lr must be a finite number"),
    "lr text": (lambda: Config(lr="0.1"), "lr must be a finite number"),
    "data none": (lambda: Config(data=None), "data must be"),
    "stop of several lines": (lambda: Config(stop="budget\nbudget"), r"'budget\\nbudget'"),
    "stop none": (lambda: Config(stop=None), "a name or a rule"),
    "stop joined to nothing": (lambda: Config(stop="budget+"), "unknown stop rule ''"),
    "target no accuracy": (lambda: stop_rule(Config(stop="accuracy"), target=2.0), "target"),
}
MASKS = {
    "mask missing": (lambda: masks.apply_masks(NET, {}), "missing or extra 0.weight, 2.weight"),
    "mask extra": (lambda: masks.apply_masks(NET, {**FULL, "x": FULL["0.weight"]}), "extra x"),
    "mask named by a number": (lambda: masks.apply_masks(NET, {**FULL, 0: X}), "extra 0"),
    "mask mis-shaped": (
        lambda: masks.apply_masks(NET, with_mask(FULL["2.weight"])),
        r"mask of 0.weight .* \(3, 4\)",
    ),
    "mask of numbers": (
        lambda: masks.apply_masks(NET, with_mask(FULL["0.weight"].float())),
        "mask of 0.weight must be boolean",
    ),
    "mask a list": (
        lambda: masks.apply_masks(NET, with_mask([[True]])),
        "mask of 0.weight must be a tensor",
    ),
    "mask numpy": (
        lambda: masks.apply_masks(NET, with_mask(FULL["0.weight"].numpy())),
        "mask of 0.weight must be a tensor",
    ),
    "fraction 1": (lambda: masks.magnitude_masks(NET, FULL, 1.0), "fraction must be in"),
    "fraction negative": (lambda: masks.magnitude_masks(NET, FULL, -0.1), "fraction must be in"),
    "fraction nan": (lambda: masks.magnitude_masks(NET, FULL, NAN), "fraction must be in"),
    "fractions of other layers": (
        lambda: masks.magnitude_masks(NET, FULL, {"x": 0.1}),
        "fractions",
    ),
    "scope unknown": (
        lambda: masks.magnitude_masks(NET, FULL, 0.1, "here"),
        "unknown scope 'here'",
    ),
    "weights nan": (lambda: masks.magnitude_masks(spoilt(NAN), FULL, 0.1), "0.weight holds"),
    "weights infinite": (lambda: masks.magnitude_masks(spoilt(-INF), FULL, 0.1), "0.weight holds"),
    "density of nothing": (lambda: masks.density({}), "no masks"),
    "density of empty masks": (lambda: masks.density({"a": FULL["0.weight"][:0]}), "empty masks"),
    "distance of other networks": (lambda: masks.mask_distance(FULL, {}), "different networks"),
    "distance of numbers": (lambda: masks.mask_distance({"a": X}, {"a": X}), "boolean"),
    "rewind to nothing": (lambda: masks.rewind(NET, {}, FULL), "does not fit the model"),
    "rewind to no state": (lambda: masks.rewind(NET, None, FULL), "does not fit the model"),
    "rewind to another network": (
        lambda: masks.rewind(NET, nn.Linear(2, 2).state_dict(), FULL),
        "does not fit the model",
    ),
    "p above q": (lambda: masks.pq_index(X, 2, 1), "0 < p < q"),
    "p nan": (lambda: masks.pq_index(X, NAN, 1), "0 < p < q"),
    "index of a dead layer": (lambda: masks.pq_index(X * 0, 1, 2), "not all zero"),
    "index of nothing": (lambda: masks.pq_index(X[:0], 1, 2), "not all zero"),
    "index of nan": (lambda: masks.pq_index(X * NAN, 1, 2), "finite"),
    "eta negative": (lambda: masks.sap_fraction(X, 1, 2, eta=-1), "eta=-1"),
    "beta 1": (lambda: masks.sap_fraction(X, 1, 2, beta=1), "beta=1"),
    "SAP of a dead network": (
        lambda: masks.sap_fractions(
            NET, {k: torch.zeros_like(m) for k, m in FULL.items()}, "global", 1, 2
        ),
        "not all zero",
    ),
}
FLOWS = {
    "one layer": (lambda: flows.information_flow({"a": X}), "at least two layers"),
    "summary unknown": (lambda: flows.information_flow(LAYERS, "sum"), "unknown summary 'sum'"),
    "activations nan": (lambda: flows.information_flow({**LAYERS, "b": X * NAN}), "diverged"),
    "activations whole": (lambda: flows.information_flow({**LAYERS, "b": X.long()}), "int64"),
    "activations complex": (lambda: flows.information_flow({**LAYERS, "b": X + 0j}), "complex"),
    "layer without units": (lambda: flows.information_flow({**LAYERS, "b": X[:, :0]}), "12, 0"),
    "layer of images": (lambda: flows.information_flow({**LAYERS, "b": X[:, :, None]}), "12, 4, 1"),
    "layers of other samples": (lambda: flows.correlation(X, X[:5]), "12 and 5"),
    "too few samples": (
        lambda: flows.information_flow({"a": X[:5], "b": X[:5]}, "mutual-information"),
        "more samples than units",
    ),
    "nothing to collect from": (lambda: flows.collect_activations(NET, X[:0]), "one input sample"),
    "nothing that is collected": (lambda: flows.collect_activations(nn.ReLU(), X), "ReLU ran no"),
    "batch size 0": (lambda: flows.collect_activations(NET, X, 0), "batch_size"),
    "batch size negative": (lambda: flows.collect_activations(NET, X, -1), "batch_size"),
    "gradient target beyond": (lambda: flows.gradient_flow(NET, X, Y + 2), "0 to 1"),
    "gradient target negative": (lambda: flows.gradient_flow(NET, X, Y * 0 - 100), "0 to 1"),
    "gradient targets float": (lambda: flows.gradient_flow(NET, X, Y.float()), "int64"),
    "gradient batch size 0": (lambda: flows.gradient_flow(NET, X, Y, batch_size=0), "batch_size"),
    "gradient of nan": (lambda: flows.gradient_flow(NET, X * NAN, Y), "diverged"),
    "gradient masks missing": (lambda: flows.gradient_flow(NET, X, Y, {}), "masks do not fit"),
    "flows of other networks": (lambda: flows.flow_distance(X[0], X[0, :2]), "different networks"),
    "floor of one layer": (lambda: flows.sampling_floor({"a": X}), "at least two layers"),
}
TRAIN = {
    "optimiser unknown": (
        lambda: train.make_optimizer(NET, "lion", 0.1, 0.9, 0.0),
        "unknown optimizer 'lion'",
    ),
    "lr nan": (lambda: train.make_optimizer(NET, "sgd", NAN, 0.9, 0.0), "lr"),
    "momentum nan": (lambda: train.make_optimizer(NET, "sgd", 0.1, NAN, 0.0), "momentum"),
    "weight decay infinite": (lambda: train.make_optimizer(NET, "adam", 0.1, 0.9, INF), "decay"),
    "no batches": (lambda: steps(num_steps=0), "0 steps"),
    "batch size 0": (lambda: steps(batch_size=0), "batches of 0"),
    "training of no samples": (
        lambda: next(train.shuffled_batches(0, 2, torch.Generator())),
        "0 samples",
    ),
    "training with foreign masks": (lambda: steps(mask={}), "masks do not fit"),
    "evaluation of nothing": (lambda: train.evaluate(NET, X[:0], Y[:0]), "no samples"),
    "evaluation without targets": (lambda: train.evaluate(NET, X, Y[:0]), "0 targets"),
    "evaluation beyond the classes": (lambda: train.evaluate(NET, X, Y + 2), "0 to 1"),
    "evaluation of ignored targets": (lambda: train.evaluate(NET, X, Y * 0 - 100), "0 to 1"),
    "evaluation in batches of 0": (lambda: train.evaluate(NET, X, Y, 0), "batch_size"),
}
OTHERS = {
    "epsilon nan": (lambda: stopping.SmallGradient(NAN), "epsilon"),
    "epsilon 0": (lambda: stopping.FlowConsistency("information", 0.0), "epsilon"),
    "flow unknown": (lambda: stopping.FlowConsistency("heat", 0.1), "unknown flow 'heat'"),
    "patience 0": (lambda: stopping.Patience(0), "patience"),
    "epochs infinite": (lambda: stopping.FixedEpochs(INF), "number of epochs"),
    "accuracy of 2": (lambda: stopping.ReachAccuracy(2.0), "accuracy in"),
    "any of nothing": (lambda: stopping.AnyOf(), "at least one rule"),
    "any of a name": (lambda: stopping.AnyOf("budget"), "not 'budget'"),
    "data unknown": (lambda: data.load("../digits"), "unknown data set '../digits'"),
    "subset too large": (lambda: data.load("digits", subset=10**6), "1437 training images"),
    "subset a truth value": (lambda: data.load("digits", subset=True), "subset"),
    "seed negative": (lambda: data.load("digits", seed=-1), "seed"),
    "model unknown": (lambda: models.build("a\nb"), r"unknown model 'a\\nb'"),
    "model option unknown": (lambda: models.build("mlp", depth=3), "no option 'depth'"),
    "width 0": (lambda: models.build("mlp", widths=[0]), "widths"),
    "pretrained weights from a path": (
        lambda: models.build("resnet18", weights="../../weights.pt"),
        "unknown weights",
    ),
    "images too small": (lambda: models.build("vgg16", data.load("digits")), "at least 32×32"),
    "figure of no rows": (lambda: figures.epochs_per_level(pd.DataFrame()), "no column"),
    "no runs": (lambda: records.read_all([]), "no runs"),
}
DIVERGED = {
    "lr too large": (lambda: pruned(lr=1e30, epochs=5), "not finite"),
    "weights nan in training": (lambda: pruned(spoilt(NAN)), "not finite"),
    "weights nan without training": (
        lambda: pruned(spoilt(NAN), epochs=0, warmup_epochs=0, monitor=False),
        "not finite",
    ),
    "bias infinite": (lambda: pruned(spoilt(INF, "bias")), "not finite"),
    "a step on inputs that are nan": (lambda: steps(inputs=X * NAN), "not finite"),
    "a step with lr too large": (lambda: steps(lr=1e30, num_steps=5), "not finite"),
}
MISSING = {
    "mnist not there": (lambda: data.load("mnist", "/nowhere"), "mnist not found: no /nowhere"),
    "cifar10 not there": (lambda: data.load("cifar10", "/nowhere"), "cifar10 not found"),
    "run not there": (lambda: records.read("/nowhere"), "/nowhere/run.json"),
}
TABLES = (
    ("prune", PRUNE, ValueError),
    ("config", CONFIG, ValueError),
    ("masks", MASKS, ValueError),
    ("flows", FLOWS, ValueError),
    ("train", TRAIN, ValueError),
    ("others", OTHERS, ValueError),
    ("diverged", DIVERGED, FloatingPointError),
    ("missing", MISSING, FileNotFoundError),
)
CASES = [
    pytest.param(attempt, message, kind, id=f"{area}: {name}")
    for area, table, kind in TABLES
    for name, (attempt, message) in table.items()
]


@pytest.mark.parametrize(("attempt", "message", "kind"), CASES)
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
def test_bad_input_is_refused_with_the_documented_exception(attempt, message, kind):
    weights = [p.clone() for p in NET.parameters()]
    with pytest.raises(kind) as caught:
        attempt()
    assert caught.type is kind
    assert re.search(message, str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(p, w) for p, w in zip(NET.parameters(), weights, strict=True))
    assert all(p.grad is None for p in NET.parameters())


@pytest.mark.parametrize("name", ["lrr", "epsilom", "__class__"])
def test_an_unknown_field_is_python_s_own_error(name):
    with pytest.raises(TypeError, match=name):
        pruned(**{name: 1})


# --- what is not bad, though it looks so -------------------------------------------------------


def test_a_dead_layer_is_no_error():
    model, dead = network(), with_mask(torch.zeros_like(FULL["0.weight"]))
    masks.apply_masks(model, dead)
    flow = flows.information_flow(flows.collect_activations(model, X))
    assert flow.tolist() == [0.0]
    assert masks.magnitude_masks(model, dead, 0.5)["0.weight"].sum() == 0
    assert masks.sap_fractions(model, dead, "layerwise", 1, 2)["0.weight"] == 0.0


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [
        ("lr", np.float64(0.2), 0.2),
        ("lr", np.float32(0.25), 0.25),
        ("levels", np.int64(3), 3),
        ("seed", np.uint8(3), 3),
        ("absolute", np.bool_(True), True),
        ("stop", np.str_("budget"), "budget"),
    ],
)
def test_a_number_of_numpy_becomes_python_s_own(name, value, plain):
    found = getattr(Config(**{name: value}), name)
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize("fails", [False, True])
def test_the_caller_keeps_its_number_of_threads(fails):
    before = torch.get_num_threads()
    if fails:
        with pytest.raises(FloatingPointError):
            pruned(threads=before + 1, lr=1e30, epochs=5)
    else:
        pruned(threads=before + 1)
    assert torch.get_num_threads() == before


def test_a_refused_network_is_left_as_it_was():
    model = spoilt(NAN).train()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(FloatingPointError):
        pruned(model)
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value.nan_to_num(), state[name].nan_to_num())


# --- no code in data ---------------------------------------------------------------------------

EXECUTING = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "subprocess"}
DANGEROUS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pd.read_pickle"}


def risks(source):
    """List what could execute data: imports of pickle and its kin, eval, torch.load at large."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [a.name for a in node.names if a.name.split(".")[0] in EXECUTING]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module] if node.module.split(".")[0] in EXECUTING else []
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if called in DANGEROUS:
                found.append(called)
            if called in ("torch.load", "hub.load") and options.get("weights_only") != "True":
                found.append(called)
            if called.split(".")[-1] == "get_state_dict" and options.get("weights_only") != "True":
                found.append(called)
            if (
                called in ("np.load", "numpy.load")
                and options.get("allow_pickle", "False") != "False"
            ):
                found.append(called)
    return found


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.py")), ids=lambda path: path.stem)
def test_no_module_executes_data(path):
    fixed = ["subprocess"] if path.stem == "ledger" else []  # git, and no word of it from data
    assert risks(path.read_text("utf-8")) == fixed


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import shelve as s",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "eval(text)",
        "pd.read_pickle(path)",
        "np.load(path, allow_pickle=True)",
        "os.system(line)",
        "weights.get_state_dict(check_hash=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(source):
    assert risks(source)


# --- the count ---------------------------------------------------------------------------------


def test_the_number_of_bad_inputs_does_not_fall():
    names = [case.id for case in CASES]
    assert len(names) == len(set(names))
    assert len(CASES) >= 150
