"""The method around a training loop of one's own: any loss, any inputs, killed and resumed."""

import copy
import io
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from infcop_lite import (
    Config,
    FlowConsistency,
    MaskStability,
    Patience,
    Pruner,
    Start,
    gradient_flow,
    masks,
    prune,
)
from infcop_lite.data import Split
from infcop_lite.level import Trainer
from infcop_lite.train import make_optimizer
from infcop_lite.training import seed_of

mse, cross_entropy = nn.functional.mse_loss, nn.functional.cross_entropy


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def made(build, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def mlp(inputs=4, outputs=1):
    sizes = (inputs, 16), (16, 12), (12, outputs)
    return made(
        lambda: nn.Sequential(*(part for size in sizes for part in (nn.Linear(*size), nn.ReLU())))
    )[:-1]


class Sum(nn.Module):
    """A model of two inputs, one by one or by name."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(4, 8), nn.Linear(3, 8), nn.Linear(8, 1)

    def forward(self, a, b, scale=1.0):
        return SimpleNamespace(value=self.head(torch.relu(self.left(a) + scale * self.right(b))))


class Tied(nn.Module):
    """A language model in small: the output layer has the weight of the embedding."""

    def __init__(self):
        super().__init__()
        self.emb, self.mid, self.out = nn.Embedding(7, 6), nn.Linear(6, 6), nn.Linear(6, 7)
        self.out.weight = self.emb.weight

    def forward(self, ids):
        return self.out(torch.relu(self.mid(self.emb(ids))))


X = random(8, 4)


def training(model, pruner, optimizer, inputs, targets, loss, epochs=3, feed=lambda m, x: m(x)):
    """Train whole levels, full batch, until the pruner is done; return epochs of each level."""
    ends = []
    while True:
        for epoch in range(1, epochs + 1):
            optimizer.zero_grad()
            part = loss(feed(model, inputs), targets)
            part.backward()
            optimizer.step()
            pruner.step()
            if pruner.check(epoch, train_loss=part):
                break
        ends.append(epoch)
        if not pruner.next_level(optimizer):
            return ends


# Any loss, any inputs, any outputs


def test_fourteen_lines_of_plain_pytorch_prune_a_regression():
    model, x = mlp(), random(64, 4)
    y = x[:, :1] * x[:, 1:2]
    sgd = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    pruner = Pruner(model, fraction=0.5, stop="information", epsilon=0.5, levels=2)
    pruner.snapshot(probe=(x, y), loss=mse)
    for _level in range(3):
        for epoch in range(1, 6):
            for xb, yb in zip(x.split(16), y.split(16), strict=True):
                sgd.zero_grad()
                mse(model(xb), yb).backward()
                sgd.step()
                pruner.step()
            if pruner.check(epoch):
                break
        more = pruner.next_level(sgd)
    assert not more
    assert pruner.level == 2
    assert pruner.density == pytest.approx(0.25, abs=0.01)
    zeros = {name: weight != 0 for name, weight in masks.prunable(model).items()}
    assert all(torch.equal(zeros[name], mask) for name, mask in pruner.masks.items())
    assert {check.level for check in pruner.checks} == {0, 1, 2}
    assert all(check.distances["information"] > 0 for check in pruner.checks)


@pytest.mark.parametrize("rule", ["information", "gradient", "mask", "information+gradient"])
@pytest.mark.parametrize("kind", ["dict", "tuple"])
def test_a_model_of_two_inputs_takes_them_by_name_or_one_by_one(kind, rule):
    model, a, b = made(Sum), random(32, 4), random(32, 3, seed=1)
    inputs = {"a": a, "b": b, "scale": 2.0} if kind == "dict" else (a, b, 2.0)

    def feed(model, inputs):
        return model(**inputs) if kind == "dict" else model(*inputs)

    def loss(output, target):
        return mse(output.value, target)

    pruner = Pruner(model, stop=rule, epsilon=1e-9, fraction=0.5, levels=1)
    pruner.snapshot(probe=(inputs, a[:, :1]), loss=loss)
    sgd = torch.optim.SGD(model.parameters(), 0.05)
    assert training(model, pruner, sgd, inputs, a[:, :1], loss, feed=feed) == [3, 3]
    check = pruner.checks[-1]
    measured = {**check.distances, "mask": check.mask_distance}
    assert all(measured[name] >= 0 for name in rule.split("+"))


@pytest.mark.parametrize("score", ["taylor", "weight-times-input"])
def test_scores_read_a_probe_of_several_inputs(score):
    found = []
    for is_changed in (False, True):
        model, a, b = made(Sum), random(600, 4), random(600, 3, seed=1)
        pruner = Pruner(model, score=score, fraction=0.5)
        pruner.snapshot(probe=((a, b), a[:, :1]), loss=lambda out, target: mse(out.value, target))
        if is_changed:
            b[:, 0] = 0  # the batch is the caller's, the probe is a copy
        assert pruner.next_level()
        assert pruner.density == 0.5
        found.append(pruner.masks)
    assert all(torch.equal(mask, found[1][name]) for name, mask in found[0].items())
    assert not torch.equal(
        found[0]["right.weight"],
        masks.magnitude_masks(made(Sum), masks.full_masks(made(Sum)), 0.5)["right.weight"],
    )


def test_a_gradient_is_that_of_the_loss_and_does_not_depend_on_the_batch_size():
    model, x = mlp(), random(50, 4)
    y = random(50, 1, seed=1)
    mse(model(x), y).backward()
    expected = [weight.grad.norm().item() for weight in masks.prunable(model).values()]
    for size in (7, 50, 999):
        assert gradient_flow(model, x, y, loss=mse, batch_size=size).tolist() == pytest.approx(
            expected, rel=1e-5
        )


def test_segmentation_is_pruned_under_both_flows_with_cross_entropy():
    def build():
        return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))

    model, x = made(build), random(12, 3, 8, 8)
    y = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
    pruner = Pruner(model, stop="information+gradient", fraction=0.5, levels=1)
    pruner.snapshot(probe=(x, y))
    sgd = torch.optim.SGD(model.parameters(), 0.1)
    training(model, pruner, sgd, x, y, cross_entropy)
    assert set(pruner.checks[-1].distances) == {"information", "gradient"}
    assert pruner.density == 0.5


def test_a_loss_that_the_model_computes_needs_no_targets():
    model, a, b = made(Sum), random(8, 4), random(8, 3)
    pruner = Pruner(model, stop="gradient")
    pruner.snapshot(probe=((a, b), None), loss=lambda output, _: output.value.square().mean())
    pruner.check(1)
    assert pruner.checks[0].distances == {"gradient": 0.0}


# What comes in


def test_tied_and_frozen_layers_are_spared():
    model, ids = made(Tied), torch.arange(28).reshape(4, 7) % 7
    pruner = Pruner(model, fraction=0.5)
    pruner.snapshot()
    assert pruner.next_level()
    assert (model.emb.weight != 0).all()
    assert int(pruner.masks["mid.weight"].sum()) == 18
    assert model(ids).shape == (4, 7, 7)

    backbone = mlp()
    backbone[0].requires_grad_(False)
    pruner = Pruner(backbone, fraction=0.5, dense=("4",))
    pruner.snapshot()
    pruner.next_level()
    assert [float(m.float().mean()) for m in pruner.masks.values()] == [1.0, 0.5, 1.0]


def test_a_sparse_network_goes_on_from_its_zeros_unless_the_call_says_otherwise():
    x = random(64, 4)
    y = (x[:, 0] > 0).long()
    pruned = prune(mlp(outputs=2), (x, y), (x, y), levels=2, fraction=0.5, epochs=1, device="cpu")
    with pytest.warns(UserWarning, match=r"density 0\.25.*full_masks"):
        pruner = Pruner(pruned.model, fraction=0.5)
    assert pruner.density == masks.density(pruned.masks)
    pruner.snapshot()
    pruner.next_level()
    assert pruner.density == pytest.approx(0.125, abs=0.01)
    assert Pruner(pruned.model, masks=masks.full_masks(pruned.model)).density == 1.0
    assert Pruner(pruned.model, masks=pruned.masks).density == masks.density(pruned.masks)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_fresh_network_is_dense_in_any_precision_and_with_a_layer_of_zeros(dtype, recwarn):
    model = made(lambda: nn.Sequential(nn.Linear(300, 300), nn.Linear(300, 300))).to(dtype)
    model[1].weight.data.zero_()
    model[0].weight.data[0, 0] = 0
    assert Pruner(model).density == 1.0
    assert not recwarn


def test_masks_that_are_given_are_applied_and_held():
    model = mlp()
    given = {name: mask.clone() for name, mask in masks.full_masks(model).items()}
    given["0.weight"][0] = False
    pruner = Pruner(model, masks=given)
    assert not model[0].weight[0].any()
    with torch.no_grad():
        model[0].weight += 1
    pruner.step()
    assert not model[0].weight[0].any()
    assert model[0].weight[1:].all()


# The same as the rest of the library


@pytest.mark.parametrize("rewind", ["weights", "none"])
@pytest.mark.parametrize("score", ["magnitude", "random", "taylor"])
def test_with_the_same_batches_the_masks_are_those_of_prune(score, rewind):
    x = random(96, 4)
    y = (x[:, 0] > 0).long()
    settings = {"score": score, "fraction": 0.3, "rewind": rewind, "seed": 3, "levels": 2}
    shared = {"batch_size": 32, "device": "cpu", "warmup_epochs": 1, "epochs": 2}
    network = mlp(outputs=2)
    expected = prune(copy.deepcopy(network), (x, y), (x, y), **settings, **shared)

    config = Config(**settings, **shared)
    trainer = Trainer(copy.deepcopy(network), Split(x, y), Split(x, y), None, config)
    pruner = Pruner(network, **settings, epochs=2)

    def optimiser():
        return make_optimizer(network, "sgd", 0.05, 0.9, 5e-4)

    def epoch(sgd, batches):
        for _ in range(3):
            inputs, targets = next(batches)
            sgd.zero_grad()
            cross_entropy(network(inputs), targets).backward()
            sgd.step()
            pruner.step()

    epoch(optimiser(), trainer.source.batches(seed_of(config, 0, "warmup")))
    pruner.snapshot(probe=trainer.monitor.probe)
    more, sgd = True, optimiser()
    while more:
        batches = trainer.source.batches(seed_of(config, pruner.level, "level"))
        for n in (1, 2):
            epoch(sgd, batches)
            is_over = pruner.check(n)
        assert is_over
        more = pruner.next_level(sgd)
    assert pruner.level == 2
    assert all(torch.equal(mask, expected.masks[name]) for name, mask in pruner.masks.items())
    final, other = network.state_dict(), expected.model.state_dict()
    assert all(torch.equal(final[name], other[name]) for name in final)


def test_a_start_of_ones_own_is_what_the_next_level_begins_with():
    def halved(level, snapshot, now, kept):
        return Start(level, kept, {name: value / 2 for name, value in now.items()})

    model = mlp()
    before = model[4].bias.clone()
    pruner = Pruner(model, rewind=halved)
    pruner.snapshot()
    assert pruner.next_level()
    assert torch.equal(model[4].bias, before / 2)


def test_the_last_level_trains_its_budget_and_ends_with_the_rule_if_there_is_none():
    x = random(32, 4)
    ends = {}
    for epochs in (4, None):
        model = mlp()
        pruner = Pruner(model, stop="information", epsilon=1e9, levels=1, epochs=epochs)
        pruner.snapshot(probe=(x, x[:, :1]), loss=mse)
        sgd = torch.optim.SGD(model.parameters(), 0.01)
        ends[epochs] = training(model, pruner, sgd, x, x[:, :1], mse, epochs=9)
    assert ends == {4: [1, 4], None: [1, 1]}


def test_final_density_is_the_end_and_is_not_undercut():
    pruner = Pruner(mlp(inputs=40), fraction=0.5, final_density=0.3)
    pruner.snapshot()
    assert pruner.next_level()
    assert pruner.next_level()
    assert not pruner.next_level()
    assert pruner.density == pytest.approx(0.3, abs=0.005)


# Killed and resumed


RULE = "information+gradient+mask+patience+loss"


@pytest.mark.parametrize("score", ["magnitude", "taylor", "random"])
@pytest.mark.parametrize("make", ["sgd", "adam"])
@pytest.mark.parametrize("killed", [1, 4, 5, 9, 11])
def test_a_killed_loop_goes_on_with_the_same_bits(make, killed, score):
    """Ten checks of three levels; after one of them everything is rebuilt from one file."""
    x = random(64, 4)
    y = x[:, :1].sin()

    def build():
        model = mlp()
        pruner = Pruner(
            model, stop=RULE, epsilon=1e-4, patience=3, score=score, fraction=0.4, levels=3
        )
        kinds = {"sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9), "adam": torch.optim.Adam}
        return SimpleNamespace(
            model=model, pruner=pruner, optimizer=kinds[make](model.parameters())
        )

    def loop(it, time, until):
        while time < until:
            it.optimizer.zero_grad()
            part = mse(it.model(x), y)
            part.backward()
            it.optimizer.step()
            it.pruner.step()
            time += 1
            epoch = 1 + (time - 1) % 4
            is_over = it.pruner.check(epoch, train_loss=part, validation_accuracy=1 - part)
            if is_over or epoch == 4:
                it.pruner.next_level(it.optimizer)
        return time

    def begun():
        it = build()
        it.pruner.snapshot(probe=(x, y), loss=mse, train_loss=1e-9)
        return it

    whole = begun()
    loop(whole, 0, 14)
    first = begun()
    time = loop(first, 0, killed)
    file = io.BytesIO()
    state = {name: getattr(first, name).state_dict() for name in ("model", "pruner", "optimizer")}
    torch.save(state, file)
    file.seek(0)
    second = build()
    for name, held in torch.load(file, weights_only=True).items():
        more = {"loss": mse} if name == "pruner" else {}
        getattr(second, name).load_state_dict(held, **more)
    loop(second, time, 14)
    assert second.pruner.level == whole.pruner.level > 0
    assert str(second.pruner.checks) == str(whole.pruner.checks)  # NaN is not NaN
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name])
    for name, mask in whole.pruner.masks.items():
        assert torch.equal(mask, second.pruner.masks[name])


def test_the_state_holds_what_was_never_given_apart_from_what_is_nan():
    pruner = Pruner(mlp())
    pruner.snapshot()
    pruner.check(1, train_loss=float("nan"), f1=0.5)
    held = pruner.state_dict()["checks"][0]
    assert "validation_accuracy" not in held
    assert held["train_loss"] != held["train_loss"]
    assert held["metrics"] == {"f1": 0.5}


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("level", "1"),
        ("level", -1),
        ("level", True),
        ("masks", None),
        ("masks", [X]),
        ("masks", {"0.weight": None, "2.weight": None, "4.weight": None}),
        ("snapshot", 3),
        ("reference", {"accuracy": "high", "flows": {}}),
        ("reference", {"flows": {"information": 3.0}}),
        ("reference", {"precision": 0.5, "flows": {}}),
        ("checks", 3),
        ("checks", [{"epoch": "one"}]),
        ("checks", [{"era": 1.0}]),
        ("checks", [3]),
        ("drawn", {"soon": {}}),
        ("drawn", [1]),
        ("probe", 3),
        ("probe", X[:1]),
    ],
)
def test_a_state_of_wrong_types_is_refused_in_one_line_and_changes_nothing(part, value):
    pruner = begun(stop="information+mask", fraction=0.5)
    pruner.check(1)
    before = pruner.state_dict()
    with pytest.raises(
        ValueError, match=r"of the state is not what|masks do not fit|mask of"
    ) as error:
        pruner.load_state_dict({**before, "level": 7, part: value})
    assert "\n" not in str(error.value)
    assert str(pruner.state_dict()) == str(before)


# Wrapped networks


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        lambda model: torch.compile(model, backend="eager"),
        lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
    ],
    ids=["parallel", "compiled", "both"],
)
def test_a_wrapped_network_is_pruned_as_the_one_inside_and_with_the_same_bits(wrap):
    x, found = random(64, 4), []
    for wrapper in (lambda model: model, wrap):
        model = mlp()
        trained = wrapper(model)
        pruner = Pruner(trained, fraction=0.5, levels=2, stop="information+gradient", epsilon=0.1)
        pruner.snapshot(probe=(x, x[:, :1]), loss=mse)
        sgd = torch.optim.SGD(trained.parameters(), 0.05, momentum=0.9)
        ends = training(trained, pruner, sgd, x, x[:, :1].sin(), mse)
        assert list(pruner.masks) == ["0.weight", "2.weight", "4.weight"]
        assert torch.equal(model[0].weight != 0, pruner.masks["0.weight"])
        found.append((ends, str(pruner.checks), str(model.state_dict())))
    assert found[0] == found[1]


def shard_of_zero3():
    model = mlp()
    model[2].weight.ds_tensor = torch.zeros(96)
    model[2].weight.data = torch.zeros(0)
    return model


ELSEWHERE = {
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(3)), "is lazy, still uninitialized: call the"),
    "meta": (lambda: nn.Linear(3, 2, device="meta"), "on the meta device and holds no values"),
    "ZeRO-3": (shard_of_zero3, r"2\.weight is sharded over processes by DeepSpeed ZeRO-3"),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_weights_that_are_not_here_are_refused_in_one_clear_line(name):
    make, message = ELSEWHERE[name]
    with pytest.raises(ValueError, match=message) as error:
        Pruner(make())
    assert "\n" not in str(error.value)


def test_zeros_of_a_tied_embedding_s_padding_are_no_pruning():
    model = made(Tied)
    with torch.no_grad():
        model.emb.weight[0] = 0
    assert Pruner(model).density == 1.0


# One multiply a step


def test_a_step_is_one_multiplication_whatever_was_pruned(monkeypatch):
    model = mlp()
    pruner = Pruner(model, fraction=0.5)
    pruner.snapshot()
    pruner.next_level()
    pruner.step()
    calls, multiply = Counter(), torch._foreach_mul_

    def counted(weights, kept):
        calls["multiply"] += 1
        multiply(weights, kept)

    monkeypatch.setattr(torch, "_foreach_mul_", counted)
    monkeypatch.setattr(masks, "check_masks", lambda *_: calls.update(["check"]))
    for _ in range(5):
        pruner.step()
    assert calls == {"multiply": 5}


@pytest.mark.parametrize("change", ["half", "assign", "channels last", "double"])
def test_a_step_notices_parameters_that_have_changed_underneath(change):
    model = made(lambda: nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 2, 3)))
    pruner = Pruner(model, fraction=0.5)
    pruner.snapshot()
    pruner.next_level()
    pruner.step()
    if change == "half":
        model.half()
    elif change == "double":
        model.double()
    elif change == "channels last":
        model.to(memory_format=torch.channels_last)
    else:
        state = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
        model.load_state_dict(state, assign=True)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 1
    pruner.step()
    for name, weight in masks.prunable(model).items():
        assert torch.equal(weight != 0, pruner.masks[name])


def test_a_moving_average_is_held_sparse_too():
    model = mlp()
    pruner = Pruner(model, fraction=0.5)
    pruner.snapshot()
    ema = torch.optim.swa_utils.AveragedModel(model)
    assert (ema.module[0].weight != 0).all()
    for density in (0.5, 0.25):
        pruner.next_level()
        pruner.step(ema)
        assert (ema.module[0].weight != 0).float().mean() == density
    with pytest.raises(ValueError, match="masks do not fit the model"):
        pruner.step(nn.Linear(3, 3))


def test_momentum_does_not_bring_a_weight_back_and_a_level_starts_a_fresh_optimiser():
    model, x = mlp(), random(16, 4)
    adam = torch.optim.Adam(model.parameters(), 0.1)
    pruner = Pruner(model, fraction=0.5, rewind="none")
    pruner.snapshot()
    for level in (0, 1):
        for _ in range(3):
            adam.zero_grad()
            mse(model(x), x[:, :1]).backward()
            adam.step()
            pruner.step()
        assert not model[0].weight[~pruner.masks["0.weight"]].any()
        assert adam.state[model[0].weight]["step"] == 3
        assert pruner.next_level(adam)
        assert pruner.level == level + 1
        assert not adam.state
        assert model[0].weight.grad is None


# Wrong use


def begun(**settings):
    pruner = Pruner(mlp(), **settings)
    pruner.snapshot(probe=(X, X[:, :1]), loss=mse)
    return pruner


class ReadsF1:
    reads = frozenset({"f1"})

    def stop(self, checks):
        return checks[-1].metrics["f1"] > 0.5


WRONG = {
    "check before snapshot": (lambda: Pruner(mlp()).check(1), "check comes after snapshot"),
    "next_level before snapshot": (lambda: Pruner(mlp()).next_level(), "comes after snapshot"),
    "unknown setting": (lambda: Pruner(mlp(), fractoin=0.2), "unknown setting 'fractoin'"),
    "unknown rule": (lambda: Pruner(mlp(), stop="f1"), "unknown stop rule 'f1'"),
    "no rule": (lambda: Pruner(mlp(), stop=3), "a name or a rule, not 3"),
    "a flow without a probe": (
        lambda: Pruner(mlp(), stop="gradient").snapshot(),
        r"reads the gradient flow: give snapshot\(probe=",
    ),
    "a score without a probe": (
        lambda: (p := Pruner(mlp(), score="taylor")).snapshot() or p.next_level(),
        "this score reads a batch",
    ),
    "a reference without its accuracy": (
        lambda: begun(stop="accuracy"),
        r"the stop rule accuracy needs snapshot\(validation_accuracy=",
    ),
    "a metric that was not given": (
        lambda: begun(stop=ReadsF1()).check(1, f2=0.5),
        r"reads f1: give check\(epoch, f1=",
    ),
    "patience of a metric": (
        lambda: begun(stop=Patience(2, of="f1")).check(1, train_loss=1.0),
        r"give check\(epoch, f1=",
    ),
    "patience of the accuracy": (lambda: begun(stop="patience").check(1), "validation_accuracy"),
    "patience of the loss": (
        lambda: begun(stop=Patience(1, "train_loss", "min")).check(1),
        "reads train_loss",
    ),
    "a metric that is no number": (lambda: begun().check(1, f1="good"), "f1 must be one number"),
    "a metric of many numbers": (lambda: begun().check(1, f1=X), "f1 must be one number"),
    "regression without its loss": (
        lambda: Pruner(mlp(), stop="gradient").snapshot(probe=(X, X[:, :1])),
        "int64 classes, 0 to 0; for others give a loss, of one logit binary_cross_entropy",
    ),
    "a score's regression without its loss": (
        lambda: (p := Pruner(mlp(), score="taylor")).snapshot(probe=(X, X)) or p.next_level(),
        "int64 classes, 0 to .; for others give a loss",
    ),
    "unequal inputs": (lambda: Pruner(made(Sum), stop="information").snapshot(
        probe=((X, X[:5]), None)), "not 5 and 8 rows"),
    "no state": (lambda: begun().load_state_dict({"level": 0}), "no state of a Pruner"),
    "state of another network": (
        lambda: begun().load_state_dict(Pruner(nn.Linear(2, 2)).state_dict()),
        "masks do not fit the model",
    ),
    "loss not given again": (
        lambda: resumed(begun(stop="gradient")).check(1),
        r"give load_state_dict\(state, loss=",
    ),
}  # fmt: skip


def resumed(pruner):
    other = Pruner(mlp(), stop=pruner.stop)
    other.load_state_dict(pruner.state_dict())
    return other


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_refused_in_one_clear_line(name):
    do, message = WRONG[name]
    with pytest.raises(ValueError, match=message) as error:
        do()
    assert "\n" not in str(error.value)


def test_a_refused_state_changes_nothing():
    pruner = begun(fraction=0.5)
    pruner.next_level()
    state = pruner.state_dict()
    with pytest.raises(ValueError, match="snapshot of another network"):
        pruner.load_state_dict({**state, "level": 9, "snapshot": {"0.weight": X}})
    assert pruner.level == 1
    assert pruner.state_dict()["snapshot"] is state["snapshot"]


def test_rules_read_numbers_of_ones_own_and_a_nan_never_stops():
    pruner = begun(stop=Patience(2, of="f1"))
    assert [pruner.check(n, f1=f1) for n, f1 in enumerate([0.1, float("nan"), 0.3, 0.2, 0.3])] == [
        *[False] * 4,
        True,
    ]
    dead = begun(stop=FlowConsistency("information", 0.5))
    dead._reference.flows["information"] *= float("nan")
    assert not dead.check(1)


def test_before_any_training_there_is_no_loss_to_be_given():
    class Halved:
        reads = frozenset()

        def stop(self, checks):
            return checks[-1].train_loss < 0.5

    pruner = begun(stop=Halved())
    assert not pruner.check(0)
    assert pruner.check(1, train_loss=0.4)
    with pytest.raises(ValueError, match="reads train_loss, which this check was not given"):
        pruner.check(2)
    assert [check.epoch for check in pruner.checks] == [0, 1]


def test_the_mask_change_is_that_since_the_check_before():
    model = mlp()
    pruner = Pruner(model, stop=MaskStability(0.01), fraction=0.5)
    pruner.snapshot()
    assert not pruner.check(0)
    assert pruner.check(1)
    with torch.no_grad():
        model[0].weight.copy_(random(16, 4, seed=9))
    assert not pruner.check(2)
    assert 0 < pruner.checks[-1].mask_distance < 1
