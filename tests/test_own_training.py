"""`prune` in people's own training: loss, evaluation, optimiser, schedule, masks, modes, Ctrl-C."""

import math
import warnings
from copy import deepcopy

import pytest
import torch
from torch import distributed, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from infcop_lite import flows, masks, prune
from infcop_lite.amounts import first_masks
from infcop_lite.config import Config
from infcop_lite.monitor import Monitor
from infcop_lite.records import read
from infcop_lite.stopping import AnyOf, FixedEpochs, FlowConsistency, Patience, ReachAccuracy
from infcop_lite.train import evaluating, to_train

TINY = {"levels": 2, "fraction": 0.5, "epochs": 2, "warmup_epochs": 1, "batch_size": 16}
TINY |= {"device": "cpu", "probe_size": 16}


def points(num=48):
    return torch.randn(num, 4, generator=torch.Generator().manual_seed(0))


def mlp(num_outputs=1, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, num_outputs))


def adamw(model):
    return torch.optim.AdamW(model.parameters(), 3e-3)


def one_cycle(optimizer, num_steps):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=num_steps)


def segmenting(output, targets):
    return cross_entropy(output, targets, ignore_index=-100)


def one_logit(output, targets):
    return binary_cross_entropy_with_logits(output[:, 0], targets.float())


def rare():
    """Points of which one in twelve is positive, and what a network makes of them."""
    x = points()
    y = (torch.arange(48) % 12 == 0).long()
    return (x + 2 * y[:, None], y), lambda model: {"recall": _recall(model(x + 2 * y[:, None]), y)}


def _recall(logits, y):
    return (logits.argmax(1) == 1)[y == 1].float().mean()


def is_sparse(found, density=0.25):
    kept = sum(int((weight != 0).sum()) for weight in masks.prunable(found.model).values())
    whole = sum(weight.numel() for weight in masks.prunable(found.model).values())
    return kept / whole == pytest.approx(density, abs=0.02) == found.rows[-1].density


# --- a loss ---------------------------------------------------------------------------------------


def test_a_regression_with_adamw_and_one_cycle_learns_while_it_is_pruned():
    x = points()
    data = x, x[:, :1] * 2
    own = {"loss": mse_loss, "optimizer": adamw, "scheduler": one_cycle}
    found = prune(mlp(), data, data, **TINY | {"epochs": 30}, **own)
    assert is_sparse(found)
    assert found.rows[-1].train_loss < 0.5 * next(r.train_loss for r in found.rows if r.epoch > 0)
    assert all(math.isnan(row.validation_accuracy) for row in found.rows)
    assert "accuracy" not in found.summary()
    assert "nan" not in found.summary()


def test_a_segmentation_with_pixels_that_are_ignored_is_pruned():
    x = torch.randn(24, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    y[:, 0] = -100
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    own = {"loss": segmenting, "stop": "information"}
    found = prune(net, (x, y), (x, y), **TINY, **own)
    assert is_sparse(found)
    assert found.rows[-1].train_loss < math.log(2)


@pytest.mark.parametrize("targets", ["one logit", "several labels", "soft labels", "hard labels"])
def test_whatever_a_loss_takes_are_targets(targets):
    x = points()
    y, net, loss = {
        "one logit": ((x[:, 0] > 0).long(), mlp(1), one_logit),
        "several labels": ((x[:, :2] > 0).float(), mlp(2), binary_cross_entropy_with_logits),
        "soft labels": (x[:, :3].softmax(1), mlp(3), cross_entropy),
        "hard labels": ((x[:, 0] > 0).long(), mlp(2), cross_entropy),
    }[targets]
    found = prune(net, (x, y), (x, y), (x, y), loss=loss, score="taylor", **TINY)
    assert is_sparse(found)
    has_accuracy = not math.isnan(found.rows[-1].validation_accuracy)
    assert has_accuracy == (targets == "hard labels") == ("accuracy" in found.summary())


def test_cross_entropy_of_ones_own_is_the_cross_entropy_of_the_library_bit_by_bit():
    x = points()
    data = x, (x[:, 0] > 0).long()
    nets = [prune(mlp(2), data, data, **TINY, **own).model for own in ({}, {"loss": cross_entropy})]
    assert torch.equal(nets[0][0].weight, nets[1][0].weight)


def test_the_gradient_flow_and_the_taylor_score_are_those_of_the_loss():
    x = points()
    data = x, x[:, :1]
    seen = []

    def loss(output, targets):
        seen.append(torch.is_grad_enabled())
        return mse_loss(output, targets)

    stop = FlowConsistency("gradient", 1e9)
    options = TINY | {"levels": 1, "warmup_epochs": 0, "epochs": 0}
    found = prune(mlp(), data, data, loss=loss, score="taylor", stop=stop, **options)
    net = mlp()
    weight = net[0].weight
    (grad,) = torch.autograd.grad(mse_loss(net(x), data[1]), weight)
    probe = Monitor(net, data, None, 48, mse_loss)
    full = masks.full_masks(net)
    assert torch.equal(
        probe.flow("gradient", full), flows.gradient_flow(net, *data, full, loss=mse_loss)
    )
    assert True in seen
    found = prune(mlp(), data, data, loss=mse_loss, score="taylor", **options | {"probe_size": 48})
    kept = (weight * grad).abs() >= (weight * grad).abs().flatten().kthvalue(17).values
    assert torch.equal(found.masks["0.weight"], kept)


def test_without_a_loss_other_targets_are_refused_and_the_way_out_is_named():
    x = points()
    for y in (x[:, :1], x.softmax(1), (x > 0).long()):
        with pytest.raises(
            ValueError, match=r"^train: targets must be .* give a loss= of your own$"
        ):
            prune(mlp(), (x, y), (x, y), **TINY)
    y = (x[:, 0] > 0).long()
    with pytest.raises(ValueError, match="a loss, of one logit binary_cross_entropy_with_logits"):
        prune(mlp(1), (x, y), (x, y), **TINY)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda output, targets: (output - targets) ** 2, "one number, a mean over samples"),
        (lambda output, targets: 1.0, "not a float"),
        (lambda output, targets: mse_loss(output, targets).detach(), "no gradient"),
        (nn.MSELoss, "not the class MSELoss"),
        ("mse", "must be a function"),
        (lambda output: output, "the loss cannot take outputs of shape"),
    ],
)
def test_a_loss_that_is_none_is_refused_in_one_line(loss, words):
    x = points()
    with pytest.raises(ValueError, match=words) as refused:
        prune(mlp(), (x, x[:, :1]), (x, x[:, :1]), loss=loss, **TINY)
    assert "\n" not in str(refused.value)


def test_a_rule_that_reads_the_accuracy_is_refused_before_the_run_where_there_is_none():
    x, asked = points(), []

    def loss(output, targets):
        asked.append(output.requires_grad)
        return mse_loss(output, targets)

    for stop in ("accuracy", AnyOf(Patience(2), FixedEpochs(1)), ReachAccuracy(0.5)):
        with pytest.raises(ValueError, match=r"the targets are not classes: .* evaluate="):
            prune(mlp(), (x, x[:, :1]), (x, x[:, :1]), loss=loss, stop=stop, **TINY)
    assert True not in asked

    def within(model):
        return {"accuracy": ((model(x) - x[:, :1]).abs() < 1).float().mean()}

    own = {"loss": loss, "evaluate": within, "stop": "accuracy"}
    found = prune(mlp(), (x, x[:, :1]), (x, x[:, :1]), **TINY, **own)
    assert all(0 <= row.validation_accuracy <= 1 for row in found.rows if row.stopped)


def test_label_smoothing_and_a_loss_of_ones_own_are_refused_together():
    with pytest.raises(ValueError, match="label_smoothing is not read where loss"):
        Config(loss=mse_loss, label_smoothing=0.1)


def test_a_network_that_diverges_is_told_without_an_accuracy_too():
    x = points()
    own = {"loss": mse_loss, "optimizer": lambda model: torch.optim.SGD(model.parameters(), 1e20)}
    with pytest.raises(FloatingPointError, match="smaller lr"):
        prune(mlp(), (x, x[:, :1]), (x, x[:, :1]), **TINY, **own)


# --- an evaluation --------------------------------------------------------------------------------


def f1(model):
    x = points()
    found, true = model(x).argmax(1), (x[:, 0] > 0).long()
    both = ((found == 1) & (true == 1)).sum()
    return {"f1": 2 * both / (found.sum() + true.sum())}


def test_a_rule_follows_a_number_of_ones_own():
    x = points()
    data, calls = (x, (x[:, 0] > 0).long()), []

    def evaluate(model):
        calls.append(model.training)
        return f1(model)

    options = TINY | {"epochs": 40, "final_epochs": 1, "lr": 0.2}
    found = prune(mlp(2), data, data, stop=Patience(2, of="f1"), evaluate=evaluate, **options)
    for level in (0, 1):
        rows = [row for row in found.rows if row.level == level]
        numbers = [row.metrics["f1"] for row in rows]
        best = numbers.index(max(numbers))
        assert len(numbers) - 1 - best == 2
        assert rows[-1].epoch < 40
    assert not any(calls)


def test_numbers_are_measured_where_levels_end_and_not_where_no_rule_asks():
    x = points()
    data, calls = (x, (x[:, 0] > 0).long()), []

    def evaluate(model):
        calls.append(1)
        return {"f1": 0.5, "accuracy": 1}

    found = prune(mlp(2), data, data, evaluate=evaluate, **TINY)
    assert [bool(row.metrics) for row in found.rows] == [row.stopped for row in found.rows]
    assert len(calls) == 1 + 3  # before the run, and one for each of three levels
    assert [row.validation_accuracy for row in found.rows if row.stopped] == [1, 1, 1]
    assert found.rows[-1].metrics == {"f1": 0.5}


def test_the_summary_shows_a_rare_class_that_pruning_has_lost():
    data, evaluate = rare()
    found = prune(mlp(2), data, data, evaluate=evaluate, **TINY | {"levels": 6, "lr": 0.3})
    lines = found.summary().splitlines()
    first, last = found.rows[0], found.rows[-1]
    dense = next(row for row in found.rows if row.stopped)
    before, after = dense.metrics["recall"], last.metrics["recall"]
    assert f"recall: {before:.4f} dense, {after:.4f} pruned" in lines
    assert first.metrics == {}
    assert last.validation_accuracy > after


def test_numbers_survive_a_folder(tmp_path):
    x = points()
    data = x, (x[:, 0] > 0).long()
    alone = prune(mlp(2), data, data, evaluate=f1, **TINY)
    found = prune(mlp(2), data, data, evaluate=f1, folder=tmp_path, **TINY)
    assert [row.metrics for row in found.rows] == [row.metrics for row in alone.rows]
    table, _ = read(tmp_path)
    assert (table["metrics"] != "").tolist() == [row.stopped for row in found.rows]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"f1": math.nan}, "finite numbers, but f1 is nan"),
        ({"f1": [1, 2]}, "one number as f1, not a list"),
        ({"f1": torch.ones(2)}, "one number as f1, not a Tensor"),
        ({"mask": 1}, "'mask', which has a meaning"),
        ({"train_loss": 1}, "'train_loss', which has a meaning"),
        ({"accuracy": 96}, r"accuracy in \[0, 1\]"),
        (0.5, "must return name -> number, not a float"),
        ({"auc": 0.5}, "reads f1, but evaluate gives auc"),
    ],
)
def test_an_evaluation_that_is_none_is_refused_before_the_run(given, words):
    x = points()
    data = x, (x[:, 0] > 0).long()
    own = {"evaluate": lambda model: given, "stop": Patience(1, of="f1")}
    with pytest.raises(ValueError, match=words):
        prune(mlp(2), data, data, **TINY, **own)


def test_a_number_that_nobody_measures_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="reads f1, which is not measured: give evaluate="):
        Config(stop=Patience(1, of="f1"))


def test_an_evaluation_that_draws_random_numbers_changes_no_run():
    x = points()
    data = x, (x[:, 0] > 0).long()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 2))
    noisy = {"evaluate": lambda model: {"noise": torch.rand(())}, "stop": Patience(9, of="noise")}
    models = [prune(net, data, data, **TINY, **own).model for own in ({}, noisy)]
    assert torch.equal(models[0][0].weight, models[1][0].weight)


# --- an optimiser and a schedule ------------------------------------------------------------------


def test_every_level_gets_a_fresh_optimiser_and_a_schedule_over_its_steps():
    x, made, lengths, rates = points(), [], [], []

    def optimizer(model):
        made.append(torch.optim.AdamW(model.parameters(), 3e-3))
        made[-1].register_step_pre_hook(lambda own, *_: rates.append(own.param_groups[0]["lr"]))
        return made[-1]

    def scheduler(optimizer, num_steps):
        lengths.append(num_steps)
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)

    own = {"loss": mse_loss, "optimizer": optimizer, "scheduler": scheduler}
    options = TINY | {"final_epochs": 3}
    prune(mlp(), (x, x[:, :1]), (x, x[:, :1]), **options, **own)
    assert lengths == [3, 6, 6, 9]
    assert len({id(each) for each in made}) == 4
    assert rates == [3e-3 * 0.5**step for length in lengths for step in range(length)]


def test_a_schedule_is_not_made_for_a_training_of_no_steps():
    x = points()
    own = {"loss": mse_loss, "optimizer": adamw, "scheduler": one_cycle}
    options = TINY | {"warmup_epochs": 0, "epochs": 0, "final_epochs": 1}
    assert is_sparse(prune(mlp(), (x, x[:, :1]), (x, x[:, :1]), **options, **own))


elsewhere = mlp()


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"optimizer": lambda m: torch.optim.LBFGS(m.parameters())}, "LBFGS calls a closure"),
        ({"optimizer": lambda m: adamw(elsewhere)}, "a copy of yours"),
        ({"optimizer": lambda m: None}, "not a NoneType"),
        ({"optimizer": torch.optim.AdamW}, "lambda model: .* not the class AdamW"),
        ({"optimizer": adamw(elsewhere)}, "lambda model: .* not this AdamW"),
        ({"optimizer": lambda: 0}, r"called with \(model\) and fails: TypeError"),
        ({"optimizer": "adamw"}, "unknown optimizer 'adamw'; .*lambda model"),
        ({"optimizer": adamw, "lr": 0.1}, "lr is not read where optimizer"),
        ({"scheduler": lambda o, n: None}, "LRScheduler"),
        (
            {"scheduler": lambda o, n: torch.optim.lr_scheduler.ReduceLROnPlateau(o)},
            "without a metric, not a ReduceLROnPlateau",
        ),
        ({"scheduler": one_cycle, "schedule": "linear"}, "schedule is not read where scheduler"),
    ],
)
def test_an_optimiser_or_a_schedule_that_cannot_work_is_refused_in_one_line(own, words):
    x = points()
    data = x, (x[:, 0] > 0).long()
    with pytest.raises(ValueError, match=words) as refused:
        prune(mlp(2), data, data, **TINY, **own)
    assert "\n" not in str(refused.value)


# --- what comes in --------------------------------------------------------------------------------


def test_what_comes_out_can_be_pruned_further():
    x = points()
    data = x, (x[:, 0] > 0).long()
    first = prune(mlp(2), data, data, **TINY)
    with pytest.warns(UserWarning, match=r"came in sparse, density 0\.25.*masks\.full_masks"):
        second = prune(first.model, data, data, **TINY | {"levels": 1})
    assert [row.density for row in second.rows if row.stopped] == [0.25, 0.125]
    for name, mask in second.masks.items():
        assert not (mask & ~first.masks[name]).any()
    assert "at density 0.2500" in second.summary()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        full = masks.full_masks(first.model)
        dense = prune(first.model, data, data, masks=full, **TINY | {"levels": 1})
        same = prune(first.model, data, data, masks=first.masks, **TINY | {"levels": 1})
    assert [row.density for row in dense.rows if row.stopped] == [1.0, 0.5]
    assert torch.equal(same.model[0].weight, second.model[0].weight)


def test_masks_that_come_in_hold_from_the_warm_up_on():
    x = points()
    data = x, (x[:, 0] > 0).long()
    net = mlp(2)
    kept = masks.magnitude_masks(net, masks.full_masks(net), 0.5)
    for warmup in (0, 1):
        options = TINY | {"levels": 0, "warmup_epochs": warmup}
        found = prune(net, data, data, masks=kept, **options)
        for name, weight in masks.prunable(found.model).items():
            assert torch.equal(found.masks[name], kept[name])
            assert not weight[~kept[name]].any()


def test_layers_that_stay_dense_and_levels_that_go_on_are_settings_of_prune():
    x = points()
    data = x, (x[:, 0] > 0).long()
    options = TINY | {"epochs": 0, "warmup_epochs": 0, "final_epochs": 2}
    found = prune(mlp(2), data, data, dense="2", rewind="none", **options)
    assert found.masks["2.weight"].all()
    assert masks.density({"0.weight": found.masks["0.weight"]}) == 0.25
    going_on = prune(mlp(2), data, data, rewind="none", **TINY)
    rewound = prune(mlp(2), data, data, **TINY)
    assert not torch.equal(going_on.model[0].weight, rewound.model[0].weight)


def test_inputs_of_several_tensors_go_in_by_name_or_one_by_one(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x, keep):
            return self.head((self.body(x) * keep).relu())

    x = points()
    keep, y = (x[:, 1:2] > 0).float(), (x[:, 0] > 0).long()
    named, in_order = ({"x": x, "keep": keep}, y), ((x, keep), y)
    options = TINY | {"stop": "information", "score": "taylor"}
    found = prune(Two(), named, named, named, folder=tmp_path, **options)
    again = prune(Two(), in_order, in_order, in_order, **options)
    assert torch.equal(found.model.body.weight, again.model.body.weight)
    assert found.rows[-1].test_accuracy > 0.5
    named[0]["keep"] = 1 - keep
    with pytest.raises(ValueError, match="differs in test data, train data, validation data"):
        prune(Two(), named, named, named, folder=tmp_path, **options)


class Frozen(nn.Module):
    """Batch norms that stay in eval mode, by the usual override."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 2)

    def train(self, mode=True):
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).mean((2, 3)))


def test_a_batch_norm_that_an_override_freezes_stays_frozen():
    x = torch.randn(32, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    data = x, (x[:, 0].mean((1, 2)) > 0).long()
    found = prune(Frozen(), data, data, **TINY)
    assert not found.model.norm.running_mean.any()


def test_a_module_in_eval_mode_inside_a_training_network_stays_so_and_others_do_not():
    net = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1).eval())
    to_train(net)
    assert [module.training for module in net] == [True, False]
    net.eval()
    to_train(net)
    assert [module.training for module in net] == [True, True]


def test_what_eval_does_besides_train_may_undo():
    """A low-rank adapter merges its weights in eval mode, and takes them apart to train."""

    class Merging(nn.Linear):
        def train(self, mode=True):
            if mode != self.training:
                self.weight.data += -1 if mode else 1
            return super().train(mode)

    layer = Merging(1, 1)
    before = layer.weight.item()
    with evaluating(layer):
        assert layer.weight.item() == pytest.approx(before + 1)
    assert layer.weight.item() == pytest.approx(before)
    assert layer.training


# --- a folder -------------------------------------------------------------------------------------


class Killed(Exception):
    pass


def dying_loss(output, targets):
    if output.requires_grad and torch.is_grad_enabled():
        dying_loss.steps_left -= 1
        if dying_loss.steps_left == 0:
            raise Killed
    return mse_loss(output, targets)


def squared(model):
    return {"mse": mse_loss(model(points()), points()[:, :1])}


def test_a_run_with_a_training_of_ones_own_goes_on_where_it_was_killed(tmp_path):
    x = points()
    data = x, x[:, :1]
    own = {"loss": dying_loss, "optimizer": adamw, "scheduler": one_cycle, "evaluate": squared}
    own["stop"] = AnyOf(FlowConsistency("gradient", 0.5), Patience(3, of="mse", mode="min"))
    options = TINY | {"epochs": 4}
    dying_loss.steps_left = -1
    whole = prune(mlp(), data, data, **options, **own)
    for steps in (2, 12, 20):
        dying_loss.steps_left = steps
        with pytest.raises(Killed):
            prune(mlp(), data, data, folder=tmp_path / str(steps), **options, **own)
        dying_loss.steps_left = -1
        again = prune(mlp(), data, data, folder=tmp_path / str(steps), **options, **own)
        assert torch.equal(again.model[0].weight, whole.model[0].weight)
        assert [row.metrics for row in again.rows] == [row.metrics for row in whole.rows]


def test_other_functions_masks_or_modes_are_another_run(tmp_path):
    x = points()
    data = x, (x[:, 0] > 0).long()
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    own = {"loss": nn.CrossEntropyLoss(ignore_index=7)}
    prune(net, data, data, folder=tmp_path, **TINY, **own)

    def differs(what, net=net, **other):
        with pytest.raises(ValueError, match=f"differs in {what}"):
            prune(net, data, data, folder=tmp_path, **TINY, **own | other)

    differs("loss", loss=nn.CrossEntropyLoss(ignore_index=8))
    differs("loss", loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]), ignore_index=7))
    differs("optimizer", optimizer=adamw)
    differs("scheduler", scheduler=one_cycle)
    differs("evaluate", evaluate=squared)
    kept = masks.magnitude_masks(net, masks.full_masks(net), 0.5)
    differs("initial masks", masks=kept)
    part = deepcopy(net)
    part[1].eval()
    differs("in eval mode", part)
    part = deepcopy(net)
    part[0].bias.requires_grad_(False)
    differs("initial weights", part)
    with pytest.raises(ValueError, match="needs a loss that repr tells apart"):
        prune(net, data, data, folder=tmp_path, loss=lambda o, t: cross_entropy(o, t), **TINY)


def test_a_network_in_eval_mode_is_the_run_that_it_is_in_training_mode(tmp_path):
    x = points()
    data = x, (x[:, 0] > 0).long()
    first = prune(mlp(2), data, data, folder=tmp_path, **TINY)
    second = prune(mlp(2).eval(), data, data, folder=tmp_path, **TINY)
    assert torch.equal(first.model[0].weight, second.model[0].weight)
    assert not second.model.training


# --- Ctrl-C, several processes, names that are none ----------------------------------------------


def interrupting(at):
    calls = []

    def loss(output, targets):
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt
        return cross_entropy(output, targets)

    return loss


def test_an_interruption_hands_over_the_levels_that_are_finished(capsys):
    x = points()
    data = x, (x[:, 0] > 0).long()
    with pytest.raises(KeyboardInterrupt) as stopped:
        # 2 for the trial, 3 steps of warm-up, 6 of level 0, 6 of level 1, some of the last
        prune(mlp(2), data, data, loss=interrupting(2 + 3 + 6 + 6 + 3), **TINY)
    found = stopped.value.pruned
    assert [row.density for row in found.rows if row.stopped] == [1.0, 0.5]
    assert is_sparse(found, 0.5)
    whole = prune(mlp(2), data, data, **TINY | {"levels": 1})
    assert torch.equal(found.model[0].weight, whole.model[0].weight)
    assert "up to level 1, as .pruned" in capsys.readouterr().err
    assert "density 0.5" in found.summary()


def test_an_interruption_before_a_level_is_finished_hands_over_nothing(capsys):
    x = points()
    data = x, (x[:, 0] > 0).long()
    with pytest.raises(KeyboardInterrupt) as stopped:
        prune(mlp(2), data, data, loss=interrupting(6), **TINY)
    assert stopped.value.pruned is None
    assert capsys.readouterr().err == ""


def test_several_processes_are_refused_and_one_is_not(monkeypatch):
    x = points()
    data = x, (x[:, 0] > 0).long()
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    with pytest.raises(ValueError, match="in each of 2 processes: use Pruner"):
        prune(mlp(2), data, data, **TINY)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 1)
    prune(mlp(2), data, data, **TINY | {"levels": 0})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("optimiser", "did you mean 'optimizer'"),
        ("final_densty", "did you mean 'final_density'"),
        ("foldr", "did you mean 'folder'"),
        ("metric", "give evaluate="),
        ("exclude", "dense="),
        ("amp", "autocast='bfloat16'"),
        ("clip_grad_norm", "with Pruner"),
        ("sparsity", "final_density="),
        ("zzz", "see Config"),
    ],
)
def test_a_setting_that_is_none_names_the_nearest_or_the_way_out(name, words):
    x = points()
    with pytest.raises(TypeError, match=rf"^no setting '{name}': .*{words}"):
        prune(mlp(2), (x, x), (x, x), **{name: 1})


def test_a_row_of_padding_in_a_tied_embedding_is_no_pruning():
    """Pruner knew that and prune did not."""
    torch.manual_seed(0)
    words, out = nn.Embedding(5, 4, padding_idx=0), nn.Linear(4, 5, bias=False)
    out.weight = words.weight
    net = nn.Sequential(words, nn.Flatten(0, 1), nn.Linear(4, 4), out)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(mask.all() for mask in first_masks(net, (), 2).values())
    net[2].weight.data[0] = 0
    with pytest.warns(UserWarning, match="came in sparse"):
        kept = first_masks(net, (), 2)
    assert {name: int(mask.sum()) for name, mask in kept.items()} == {
        "2.weight": 12,
        "3.weight": 20,
    }
