"""The whole loop at toy length: rows, levels, budgets, rewinding, and what must not matter."""

import copy
import math
import random
from dataclasses import asdict, dataclass, replace
from itertools import groupby, pairwise

import numpy as np
import pytest
import torch
from torch import nn

from infcop_lite import Config, data, level, models, monitor, prune, run_imp, training
from infcop_lite.amounts import sap_fraction
from infcop_lite.flows import collect_activations, gradient_flow, information_flow
from infcop_lite.masks import (
    density,
    full_masks,
    magnitude_masks,
    prunable,
    rewind,
)
from infcop_lite.rows import SECONDS
from infcop_lite.stopping import FixedEpochs, Schedule

OF_THE_RULE = "rule kind stop epsilon absolute reference epochs_fixed".split()
DISTANCES = "flow_distance reference_norm information_warmup information_trained".split()

# 180 training images in batches of 18: ten steps an epoch, some hundredths of a second.
FAST = {
    "data": "digits",
    "subset": 200,
    "batch_size": 18,
    "levels": 2,
    "epochs": 2,
    "warmup_epochs": 1,
    "probe_size": 100,
    "device": "cpu",
}
RULES = [
    "budget",
    "accuracy",
    "loss",
    "twice-loss",
    "information",
    "gradient",
    "small-gradient",
    "mask",
]
RULES += ["patience", "price", "break-even"]


def rows_of(**options):
    return list(run_imp(Config(**{**FAST, **options})))


def told(rows, *without):
    """Return rows as comparable text, exact to the last bit; the clock is always left out."""
    dropped = {*SECONDS, *without}
    return [repr({k: v for k, v in asdict(row).items() if k not in dropped}) for row in rows]


def last_of_levels(rows):
    return [list(group)[-1] for _, group in groupby(rows, key=lambda row: row.level)]


def cloud(num_samples=60, num_inputs=6, num_classes=3, seed=0):
    """Return (inputs, targets) that a small network can learn."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, num_inputs, generator=generator)
    return inputs, inputs[:, :num_classes].argmax(1)


def pictures(num_samples=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, 2, 6, 6, generator=generator)
    return inputs, (inputs.mean((1, 2, 3)) > 0).long()


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def small_mlp():
    return seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)))


def small_convnet():
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(16, 2),
        )
    )


def pruned(model=None, *, train=None, validation=None, test=None, **options):
    """Prune a small network on a small cloud of points."""
    settings = {"batch_size": 10, "levels": 2, "epochs": 2, "warmup_epochs": 1, "device": "cpu"}
    return prune(
        small_mlp() if model is None else model,
        cloud() if train is None else train,
        cloud(30, seed=1) if validation is None else validation,
        test,
        **{**settings, **options},
    )


def same_state(a, b):
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@dataclass(frozen=True)
class Never:
    """A rule that never stops."""

    reads = frozenset({"accuracy"})

    def stop(self, checks):
        return False


# --- rows and levels ---------------------------------------------------------------------------


def test_the_columns_of_the_contract_are_there_in_their_order():
    columns = list(asdict(rows_of(levels=0, epochs=0)[0]))
    agreed = ["data", "model", "rule", "kind", "stop", "epsilon", "reference", "epochs_fixed"]
    agreed += ["rewind", "amount", "scope", "seed", "level", "epoch"]
    agreed += ["density", "train_loss", "validation_accuracy", "test_accuracy", "flow_distance"]
    agreed += ["information_warmup", "information_trained", "gradient_norm", "mask_distance"]
    agreed += ["stopped", "elapsed_s", "device", "threads", "torch", "commit"]
    assert [column for column in columns if column in agreed] == agreed


def test_levels_are_counted_from_zero_and_each_ends_with_its_one_stopped_row():
    rows = rows_of(levels=3)
    assert [row.level for row in last_of_levels(rows)] == [0, 1, 2, 3]
    for _, group in groupby(rows, key=lambda row: row.level):
        assert [row.stopped for row in group][::-1] == [True, False, False]


def test_every_level_is_checked_before_training_and_after_every_epoch():
    rows = rows_of(levels=1, epochs=3)
    assert [row.epoch for row in rows] == [0.0, 1.0, 2.0, 3.0] * 2


def test_rows_say_what_was_run():
    row = rows_of(levels=0, epochs=0, stop="information", epsilon=0.3, seed=5, scope="global")[0]
    assert (row.data, row.model, row.amount, row.scope) == ("digits", "mlp", "fixed", "global")
    assert (row.stop, row.epsilon, row.seed) == ("information", 0.3, 5)


@pytest.mark.parametrize(("stop", "reads"), [("budget", False), ("accuracy+mask", True)])
def test_epsilon_is_recorded_only_for_rules_that_read_it(stop, reads):
    row = rows_of(levels=0, epochs=0, stop=stop)[0]
    assert row.epsilon == 0.25 if reads else math.isnan(row.epsilon)


def test_accuracies_losses_and_seconds_are_in_their_ranges():
    rows = rows_of(monitor=True)
    for row in rows:
        assert 0 <= row.validation_accuracy <= 1
        assert row.train_loss > 0 or (row.epoch == 0 and math.isnan(row.train_loss))
        assert row.flow_distance >= 0
        assert row.reference_norm > 0
    seconds = [row.elapsed_s for row in rows]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


def test_the_test_accuracy_is_measured_where_levels_end_and_nowhere_else():
    for row in rows_of():
        assert math.isnan(row.test_accuracy) is not row.stopped


def test_training_learns():
    rows = rows_of(levels=0, epochs=6, warmup_epochs=0)
    assert rows[-1].validation_accuracy > rows[0].validation_accuracy + 0.3
    assert rows[-1].test_accuracy > 0.7
    assert rows[-1].train_loss < rows[1].train_loss


def test_the_density_after_each_level_is_exact():
    splits = data.load("digits", subset=200)
    sizes = [weight.numel() for weight in prunable(models.build("mlp", splits)).values()]
    total, expected = sum(sizes), [1.0]
    for _ in range(4):
        sizes = [size - round(0.3 * size) for size in sizes]
        expected.append(sum(sizes) / total)
    rows = last_of_levels(rows_of(levels=4, epochs=0.1, fraction=0.3))
    assert [row.density for row in rows] == expected


def test_global_scope_has_the_exact_density_too_but_other_layers_in_it():
    model = small_mlp()
    model[0].weight.data *= 3  # one threshold for all spares the layer with the larger weights
    _, layerwise, _ = pruned(model, fraction=0.5)
    _, pooled, rows = pruned(model, fraction=0.5, scope="global")
    total = sum(mask.numel() for mask in pooled.values())
    kept = total - round(0.5 * total)
    assert rows[-1].density == (kept - round(0.5 * kept)) / total
    assert [int(m.sum()) for m in layerwise.values()] != [int(m.sum()) for m in pooled.values()]


def test_no_levels_is_the_dense_network_trained_once():
    _, masks, rows = pruned(levels=0, epochs=3)
    assert [(row.level, row.epoch, row.density) for row in rows] == [
        (0, 0.0, 1.0),
        (0, 1.0, 1.0),
        (0, 2.0, 1.0),
        (0, 3.0, 1.0),
    ]
    assert all(mask.all() for mask in masks.values())


def test_the_last_level_trains_its_own_number_of_epochs_whatever_the_rule():
    rows = rows_of(stop="information", epsilon=1e6, final_epochs=3)
    assert [row.epoch for row in last_of_levels(rows)] == [1.0, 1.0, 3.0]


def test_the_last_level_trains_as_long_as_the_others_may_unless_told_otherwise():
    rows = rows_of(stop="information", epsilon=1e6, epochs=3)
    assert [row.epoch for row in last_of_levels(rows)] == [1.0, 1.0, 3.0]


def test_a_run_yields_its_rows_as_it_goes():
    run = run_imp(Config(**{**FAST, "levels": 10**6}))
    assert [next(run).epoch for _ in range(4)] == [0.0, 1.0, 2.0, 0.0]


# --- budgets and rules -------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [*RULES, "accuracy+information", "mask+patience+gradient"])
def test_no_rule_trains_a_level_beyond_its_budget(stop):
    # tolerances that nothing meets: what ends the level is the budget
    rows = rows_of(stop=stop, epsilon=1e-300, price=1e-300, patience=50, epochs=1.5, check_steps=4)
    may_stop = {"loss", "twice-loss", "accuracy", "price"} & set(stop.split("+"))
    for row in last_of_levels(rows):
        assert row.epoch <= 1.5
        assert row.epoch == 1.5 or may_stop


def test_a_rule_that_never_stops_ends_at_the_budget():
    _, _, rows = pruned(stop=Never(), epochs=3)
    assert [row.epoch for row in last_of_levels(rows)] == [3.0, 3.0, 3.0]


def test_a_rule_of_ones_own_decides():
    _, _, rows = pruned(stop=FixedEpochs(1), epochs=3, final_epochs=2)
    assert [row.epoch for row in last_of_levels(rows)] == [1.0, 1.0, 2.0]


@pytest.mark.parametrize("stop", ["information", "gradient", "small-gradient", "mask"])
def test_a_vacuous_tolerance_stops_every_level_at_its_first_check_after_training(stop):
    rows = rows_of(stop=stop, epsilon=1e6, patience=1, epochs=3)
    assert [row.epoch for row in last_of_levels(rows)] == [1.0, 1.0, 3.0]


def test_one_more_rule_never_delays_the_first_level():
    alone = last_of_levels(rows_of(stop="information", epsilon=1.2, levels=1, epochs=4))
    more = last_of_levels(rows_of(stop="information+accuracy", epsilon=1.2, levels=1, epochs=4))
    assert more[0].epoch <= alone[0].epoch


def test_the_loss_rule_stops_where_the_loss_at_the_end_of_the_warm_up_is_reached():
    options = {"batch_size": 10, "epochs": 4, "warmup_epochs": 4, "check_steps": 1}
    options["fraction"] = 0.6  # or every level recovers at its first check
    _, _, rows = pruned(stop="loss", levels=3, **options)
    splits = data.Split(*cloud()), data.Split(*cloud(30, seed=1))
    trainer = level.Trainer(small_mlp(), *splits, None, Config(device="cpu", **options))
    trainer.warm_up()
    seen = {True: 0, False: 0}
    for row in rows:
        if row.level < 3 and 0 < row.epoch < 4:
            assert row.stopped == (row.train_loss <= trainer.loss)
            seen[row.stopped] += 1
    assert min(seen.values()) > 0


def test_a_loss_of_an_untrained_network_is_reached_at_once():
    rows = rows_of(stop="loss", warmup_epochs=0, epochs=3)
    assert [row.epoch for row in last_of_levels(rows)] == [1.0, 1.0, 3.0]


def test_checks_that_double_come_twice_for_each_doubling_and_at_the_budget():
    rows = rows_of(spacing="doubling", check_steps=1, epochs=3, levels=0)
    steps = [round(row.epoch * rows[-1].epoch / 3 / rows[1].epoch) for row in rows]
    assert steps[:9] == [0, 1, 2, 3, 4, 6, 8, 12, 16]
    assert rows[-1].epoch == 3.0


def test_checks_that_double_compare_masks_with_those_of_half_the_training():
    _, _, rows = pruned(stop="mask", epsilon=1e-9, spacing="doubling", check_steps=1, epochs=4)
    known = [not math.isnan(row.mask_distance) for row in rows if row.level == 0]
    assert known[:8] == [False, False, True, False, True, True, True, True]


def test_pruning_ends_at_the_final_density_and_the_level_that_is_there_is_the_last():
    for scope in ("layerwise", "global"):
        rows = rows_of(levels=20, fraction=0.3, final_density=0.4, final_epochs=1, scope=scope)
        densities = [row.density for row in last_of_levels(rows)]
        assert densities[:-1] == pytest.approx([1, 0.7, 0.49], abs=1e-3)
        assert densities[-1] == pytest.approx(0.4, abs=1e-3)
        assert last_of_levels(rows)[-1].epoch == 1.0


def test_sap_never_goes_below_the_final_density():
    for scope in ("layerwise", "global"):
        rows = rows_of(amount="sap", levels=30, epochs=0, final_density=0.6, scope=scope)
        assert rows[-1].density == pytest.approx(0.6, abs=1e-3)
        assert rows[-1].level < 30


def rates(monkeypatch, **options):
    """The learning rate of every step of a run with 2 steps an epoch, by (level, is_last)."""
    seen, original = [], training.train_batches

    def noted(model, optimizer, *rest):
        hook = optimizer.register_step_pre_hook(
            lambda *_: seen.append(optimizer.param_groups[0]["lr"])
        )
        loss = original(model, optimizer, *rest)
        hook.remove()
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(training, "train_batches", noted)
        _, _, rows = pruned(batch_size=30, lr=1.0, **options)
    return [round(rate, 3) for rate in seen], rows


def test_every_training_has_its_own_schedule(monkeypatch):
    """60 samples in 2 steps: a warm-up, level 0, level 1, the last; each starts its schedule."""
    options = {"levels": 2, "epochs": 2, "warmup_epochs": 2}
    found, _ = rates(monkeypatch, **options)
    assert found == [1.0] * 16
    found, _ = rates(monkeypatch, **options, last_schedule="linear")
    assert found == [1.0] * 12 + [1.0, 0.75, 0.5, 0.25]
    found, _ = rates(monkeypatch, **options, level_schedule="linear", level_lr=0.4)
    assert found == [1.0] * 4 + [0.4, 0.3, 0.2, 0.1] * 2 + [0.4] * 4
    found, _ = rates(monkeypatch, **options, schedule="linear", level_schedule="cosine")
    assert found == [1.0, 0.75, 0.5, 0.25, *[1.0, 0.854, 0.5, 0.146] * 2, *[1.0] * 4]
    found, _ = rates(monkeypatch, **options | {"warmup_epochs": 0}, level_schedule="triangular")
    assert found == [1.0, 0.75, 0.5, 0.25] * 2 + [1.0] * 4


def test_a_level_of_known_length_has_its_whole_schedule_in_it(monkeypatch):
    options = {"levels": 1, "epochs": 4, "warmup_epochs": 0, "level_schedule": "linear"}
    found, _ = rates(monkeypatch, **options, stop=FixedEpochs(1))
    assert found[:2] == [1.0, 0.5]
    found, _ = rates(monkeypatch, **options, stop=Schedule((2, 4)))
    assert found[:4] == [1.0, 0.75, 0.5, 0.25]
    found, _ = rates(monkeypatch, **options, stop="patience", patience=1)
    assert found[:2] == [1.0, 0.875]  # over the budget: nobody knows its length


def test_dense_training_is_one_run_with_the_warm_up_and_no_rule_ends_it(monkeypatch):
    """The snapshot lies within; level 0 counts the epochs after it."""
    options = {"levels": 1, "epochs": 1, "warmup_epochs": 1, "dense_epochs": 3}
    found, rows = rates(monkeypatch, **options, schedule="linear", stop=FixedEpochs(0))
    assert found[:8] == [1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    assert [(row.level, row.epoch) for row in rows] == [
        *[(0, 0.0), (0, 1.0), (0, 2.0), (0, 3.0)],
        *[(1, 0.0), (1, 1.0)],
    ]


def test_dense_training_is_what_a_long_warm_up_trains():
    """Its network is that of a warm-up of the same epochs, with the momentum that this carries."""
    options = {"levels": 1, "epochs": 0, "final_epochs": 0, "check_steps": 1, "fraction": 0.5}
    dense, _, _ = pruned(**options, warmup_epochs=1, dense_epochs=2, rewind="none")
    long, _, _ = pruned(**options, warmup_epochs=3)
    assert same_state(dense, long)
    rewound, _, _ = pruned(**options, warmup_epochs=1, dense_epochs=2)
    assert not same_state(rewound, long)


def test_anneal_of_the_first_release_still_works_and_says_what_it_is_now():
    for old, new in {"never": {}, "last": {"last_schedule": "linear"}}.items():
        with pytest.warns(DeprecationWarning, match="anneal=.* is now level_schedule='constant'"):
            config = Config(anneal=old)
        assert config == Config(**new)
    with pytest.warns(DeprecationWarning, match="last_schedule='linear'"):
        assert Config(anneal="always") == Config(level_schedule="linear", last_schedule="linear")
    with pytest.raises(ValueError, match="unknown anneal 'sometimes'"):
        Config(anneal="sometimes")


def test_the_accuracy_rule_stops_where_the_warm_up_accuracy_is_reached():
    rows = rows_of(stop="accuracy", epochs=6, levels=3, warmup_epochs=2)
    target = rows[0].validation_accuracy  # the first check is the snapshot itself
    for row in rows:
        if row.level < 3 and row.epoch > 0:
            assert row.stopped is (row.validation_accuracy >= target or row.epoch == 6)


def test_the_information_rule_stops_at_the_first_check_within_epsilon_of_the_norm():
    rows = rows_of(stop="information", epsilon=1.0, epochs=6, levels=3)
    for row in rows:
        if row.level < 3 and row.epoch > 0:
            assert row.stopped is (row.flow_distance < row.reference_norm or row.epoch == 6)
    assert {row.epoch for row in last_of_levels(rows)[:-1]} != {6.0}  # it did stop something


def test_an_absolute_epsilon_is_compared_with_the_distance_itself():
    rows = rows_of(stop="information", absolute=True, epsilon=0.0033, epochs=6, levels=3)
    for row in rows:
        if row.level < 3 and row.epoch > 0:
            assert row.stopped is (row.flow_distance < 0.0033 or row.epoch == 6)
    assert {row.epoch for row in last_of_levels(rows)[:-1]} not in ({6.0}, {1.0})


@pytest.mark.parametrize("stop", ["gradient", "small-gradient", "information+gradient"])
def test_rules_that_read_the_gradient_have_its_norm_recorded(stop):
    assert all(row.gradient_norm > 0 for row in rows_of(stop=stop, levels=1))


def test_the_mask_rule_records_how_many_weights_changed_their_fate():
    rows = rows_of(stop="mask", epsilon=1e-300, levels=1, epochs=3)
    dense = [row.mask_distance for row in rows if row.level == 0]
    assert math.isnan(dense[0])  # nothing to compare the first mask with
    assert all(0 < distance < 1 for distance in dense[1:])
    assert all(math.isnan(row.mask_distance) for row in rows if row.level == 1)


def test_checks_may_come_several_times_an_epoch():
    rows = rows_of(check_steps=4, levels=0, epochs=1)
    assert [row.epoch for row in rows] == [0.0, 0.4, 0.8, 1.0]


def test_the_default_reads_no_probe_larger_than_the_training_set():
    assert len(rows_of(probe_size=10**6, levels=0, epochs=1)) == 2


# --- what decides a run, and what must not ------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stop": "information+accuracy", "epsilon": 1.0},
        {"stop": "gradient", "scope": "global", "check_steps": 3},
        {"amount": "sap", "stop": "mask", "optimizer": "adam", "lr": 0.001},
        {"model": "convnet", "levels": 1, "epochs": 0.3, "warmup_epochs": 0.2, "stop": "gradient"},
    ],
    ids=["budget", "information", "gradient", "mask", "convnet"],
)
def test_the_seed_decides_everything(options):
    assert told(rows_of(**options)) == told(rows_of(**options))


def test_another_seed_is_another_run():
    first, second = rows_of(levels=1), rows_of(levels=1, seed=1)
    assert told(first, "seed") != told(second, "seed")
    assert first[0].validation_accuracy != second[0].validation_accuracy
    assert first[1].train_loss != second[1].train_loss


def test_the_callers_random_numbers_neither_matter_nor_move():
    torch.manual_seed(1)
    first = rows_of(levels=1)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002 - the legacy global state is what must stay as it is
    random.seed(2)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    second = rows_of(levels=1)
    pruned()
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002
    assert random.getstate() == before[2]
    assert told(first) == told(second)


def test_drawing_random_numbers_between_rows_changes_nothing():
    rows = []
    for row in run_imp(Config(**FAST)):
        torch.rand(7)
        rows.append(row)
    assert told(rows) == told(rows_of())


def test_two_rules_see_equal_training_until_one_of_them_stops():
    names = [*OF_THE_RULE, *DISTANCES, "stopped", "test_accuracy", "gradient_norm"]
    names += ["gradient_warmup", "gradient_trained", "mask_distance"]
    runs = {stop: rows_of(stop=stop, epochs=4, epsilon=0.8, patience=1) for stop in RULES}
    budget = told([row for row in runs["budget"] if row.level == 0], *names)
    assert len(budget) == 5
    lengths = set()
    for rows in runs.values():
        dense = told([row for row in rows if row.level == 0], *names)
        lengths.add(len(dense))
        assert dense == budget[: len(dense)]
    assert len(lengths) > 1  # some rule did stop before the budget


def test_a_level_does_not_depend_on_how_long_the_one_before_it_ran():
    # a fraction that removes nothing: whatever differs can only come from the training itself
    _, _, short = pruned(fraction=1e-9, stop=FixedEpochs(1), epochs=4)
    _, _, long = pruned(fraction=1e-9, stop=FixedEpochs(3), epochs=4)
    assert told([row for row in short if row.level == 2], *OF_THE_RULE) == told(
        [row for row in long if row.level == 2], *OF_THE_RULE
    )


def test_each_level_draws_an_order_of_its_own():
    _, _, rows = pruned(fraction=1e-9, epochs=2)
    losses = [row.train_loss for row in rows if row.epoch == 1.0]
    assert len(set(losses)) == 3
    assert len({row.validation_accuracy for row in rows if row.epoch == 0}) == 1


def test_checking_often_does_not_disturb_the_training():
    seldom, masks, few = pruned(epochs=2)
    often, same_masks, many = pruned(epochs=2, check_steps=2)
    assert len(many) > len(few)
    assert same_state(seldom, often)
    assert all(torch.equal(masks[name], same_masks[name]) for name in masks)
    common = [row for row in many if row.epoch.is_integer()]
    # the training loss is the mean since the check before, so it alone may differ
    assert told(common, "train_loss") == told(few, "train_loss")


def test_checking_often_does_not_disturb_dropout():
    def network():
        layers = nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)
        return seeded(lambda: nn.Sequential(*layers))

    model = network()
    seldom, _, _ = pruned(model, epochs=2)
    often, _, _ = pruned(model, epochs=2, check_steps=2)
    assert same_state(seldom, often)


def test_dropout_draws_a_new_mask_at_every_step():
    seen = []
    model = nn.Sequential(nn.Linear(6, 40), nn.Dropout(0.5), nn.Linear(40, 3))
    hook = lambda module, _, output: seen.append(output == 0) if module.training else None  # noqa: E731
    model[1].register_forward_hook(hook)
    pruned(model, levels=0, epochs=2, check_steps=2)
    assert len({tuple(zeros[0].tolist()) for zeros in seen}) == len(seen)


def test_monitoring_does_not_disturb_the_training():
    watched, _, rows = pruned(monitor=True)
    alone, _, blind = pruned(monitor=False)
    assert same_state(watched, alone)
    assert told(rows, *DISTANCES) == told(blind, *DISTANCES)
    assert all(math.isnan(row.flow_distance) for row in blind)
    assert not any(math.isnan(row.flow_distance) for row in rows)


@pytest.mark.parametrize("stop", ["budget", "loss", "information", "gradient", "mask", "patience"])
def test_nothing_is_measured_that_nobody_asked_for(stop, monkeypatch):
    """A flow that its rule reads, and no other, at every check and of every reference."""
    measured, original = [], monitor.Monitor.flow

    def counted(self, name, masks):
        measured.append(name)
        return original(self, name, masks)

    monkeypatch.setattr(monitor.Monitor, "flow", counted)
    num_measured = 1 + len(rows_of(stop=stop, epsilon=0.5))  # the snapshot's, too
    assert measured == [stop] * num_measured * (stop in ("information", "gradient"))


def test_the_gradient_is_measured_on_the_first_images_of_the_probe_as_many_as_asked_for():
    for size, used in ((30, 30), (100, 100), (10**6, 100)):
        trainer = level.Trainer.of(Config(**{**FAST, "gradient_probe": size}))
        inputs, targets = trainer.monitor.probe
        assert len(inputs) == 100
        expected = gradient_flow(trainer.model, inputs[:used], targets[:used])
        assert torch.equal(trainer.monitor.flow("gradient", trainer.masks), expected)
        everything = information_flow(collect_activations(trainer.model, inputs))
        assert torch.equal(trainer.monitor.flow("information", trainer.masks), everything)
        rows = list(run_imp(trainer.config))
        assert {row.gradient_probe for row in rows} == {used}


def test_the_reference_changes_distances_but_never_the_training():
    options = {"epochs": 3, "monitor": True}
    warmup, trained = rows_of(**options), rows_of(**options, reference="trained")
    assert told(warmup, *DISTANCES) == told(trained, *DISTANCES)
    assert [row.flow_distance for row in warmup] != [row.flow_distance for row in trained]


def test_the_rewind_point_is_the_snapshot_whatever_the_reference():
    options = {"epochs": 3, "final_epochs": 0, "levels": 1, "fraction": 0.5}
    snapshot, _, _ = pruned(levels=0, epochs=0)
    for reference in ("warmup", "trained"):
        ticket, masks, _ = pruned(**options, reference=reference)
        expected = copy.deepcopy(snapshot)
        rewind(expected, snapshot.state_dict(), masks)
        assert same_state(ticket, expected)


def test_the_warm_up_reference_is_the_snapshot_itself():
    rows = rows_of(monitor=True)
    assert rows[0].flow_distance == 0.0
    assert rows[1].flow_distance > 0


def test_the_trained_reference_is_the_dense_network_at_the_end_of_level_zero():
    rows = rows_of(reference="trained", stop="information", epsilon=1e6, epochs=3)
    dense, later = [r for r in rows if r.level == 0], [r for r in rows if r.level > 0]
    assert [row.epoch for row in dense] == [0.0, 1.0, 2.0, 3.0]  # its rule has no say yet
    assert all(math.isnan(row.flow_distance) for row in dense)
    assert not any(math.isnan(row.flow_distance) for row in later)
    assert last_of_levels(rows)[1].epoch == 1.0


def test_the_dense_network_of_a_trained_reference_uses_its_whole_budget():
    rows = rows_of(reference="trained", stop="small-gradient", epsilon=1e6, epochs=3)
    assert [row.epoch for row in last_of_levels(rows)] == [3.0, 1.0, 3.0]


def test_the_accuracy_target_of_a_trained_reference_is_that_of_the_trained_network():
    rows = rows_of(reference="trained", stop="accuracy", epochs=4, levels=3)
    target = last_of_levels(rows)[0].validation_accuracy
    for row in rows:
        if 0 < row.level < 3 and row.epoch > 0:
            assert row.stopped is (row.validation_accuracy >= target or row.epoch == 4)


def test_the_test_set_never_influences_anything(monkeypatch):
    honest = rows_of(stop="accuracy+patience+information", epsilon=0.5, epochs=3)
    load = data.load

    def spoiled(*arguments, **options):
        splits = load(*arguments, **options)
        generator = torch.Generator().manual_seed(1)
        noise = 100 * torch.randn(splits.test.inputs.shape, generator=generator)
        labels = torch.zeros_like(splits.test.targets)
        return replace(splits, test=data.Split(noise, labels))

    monkeypatch.setattr(level.data, "load", spoiled)
    garbage = rows_of(stop="accuracy+patience+information", epsilon=0.5, epochs=3)
    assert told(honest, "test_accuracy") == told(garbage, "test_accuracy")
    assert told(honest) != told(garbage)


def test_pruning_without_a_test_set_gives_the_same_network():
    with_test, _, rows = pruned(test=cloud(20, seed=2))
    without, _, blind = pruned()
    assert same_state(with_test, without)
    assert told(rows, "test_accuracy") == told(blind, "test_accuracy")
    assert all(math.isnan(row.test_accuracy) for row in blind)


def test_run_imp_is_prune_on_the_named_data_and_model():
    splits = data.load("digits", subset=200)
    model = seeded(lambda: models.build("mlp", splits))
    options = {k: v for k, v in FAST.items() if k != "subset"}
    _, _, rows = prune(model, splits.train, splits.validation, splits.test, **options)
    assert told(rows, "model") == told(rows_of(), "model")


@pytest.mark.parametrize(
    ("options", "flow"),
    [
        ({"stop": "information", "epsilon": 1.0, "epochs": 4}, "information"),
        ({"stop": "gradient", "reference": "trained"}, "gradient"),
        ({"stop": "budget", "reference": "trained", "monitor": True}, "information"),
        ({"stop": "mask"}, None),
    ],
)
def test_whoever_looks_sees_every_check_and_the_flows_whose_distance_its_row_holds(options, flow):
    states, looks, rows = [], [], []
    config = Config(**{**FAST, **options})
    for row in run_imp(config, keep=states.append, look=lambda *seen: looks.append(seen)):
        rows.append(row)
        assert looks[-1][0] is row  # before the row is out
    assert len(looks) == len(rows)
    assert told(rows) == told(run_imp(config))  # looking changes nothing
    for row, measured in looks:
        assert measured.accuracy == row.validation_accuracy
        references = states[row.level].references
        assert math.isnan(row.flow_distance) == (flow is None or not references)
        if flow and references:
            reference = references[config.reference].flows
            distance = (measured.flows[flow] - reference[flow]).square().sum().sqrt().item()
            assert distance == pytest.approx(row.flow_distance)


# --- pruning and rewinding ---------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["layerwise", "global"])
@pytest.mark.parametrize("amount", ["fixed", "sap"])
def test_no_training_is_one_shot_magnitude_pruning_of_the_snapshot(scope, amount):
    # T5.4: nested top-k sets of one vector compose, so only the final counts matter
    snapshot, _, _ = pruned(levels=0, epochs=0)
    _, masks, rows = pruned(levels=4, epochs=0, fraction=0.3, scope=scope, amount=amount)
    assert [row.epoch for row in rows] == [0.0] * 5
    scores = {name: w.detach().abs().flatten() for name, w in prunable(snapshot).items()}
    if scope == "global":
        count = sum(int(mask.sum()) for mask in masks.values())
        threshold = torch.cat(list(scores.values())).topk(count).values[-1]
        expected = {name: score >= threshold for name, score in scores.items()}
    else:
        counts = {name: int(mask.sum()) for name, mask in masks.items()}
        expected = {name: s >= s.topk(counts[name]).values[-1] for name, s in scores.items()}
    assert 0 < density(masks) < 1
    for name, mask in masks.items():
        assert torch.equal(mask.flatten(), expected[name])


def test_one_shot_by_levels_equals_one_shot_at_once():
    model = small_mlp()
    _, masks, _ = pruned(model, levels=2, epochs=0, warmup_epochs=0, fraction=0.5)
    at_once = magnitude_masks(model, full_masks(model), 0.75)
    assert all(torch.equal(masks[name], at_once[name]) for name in masks)


@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_sap_removes_the_fraction_that_its_formula_gives_for_the_trained_weights(scope):
    snapshot, _, _ = pruned(levels=0, epochs=0)
    options = {"p": 1.0, "q": 2.0, "gamma": 0.8, "eta": 0.1, "beta": 0.7}
    weights = [w.detach().flatten() for w in prunable(snapshot).values()]
    groups = [torch.cat(weights)] if scope == "global" else weights
    kept = [len(w) - round(sap_fraction(w, **options) * len(w)) for w in groups]
    _, masks, _ = pruned(levels=1, epochs=0, amount="sap", scope=scope, **options)
    counts = [int(mask.sum()) for mask in masks.values()]
    assert ([sum(counts)] if scope == "global" else counts) == kept
    assert sum(kept) < sum(len(w) for w in weights)


def test_a_mask_never_gives_a_weight_back():
    history = []

    def watch(module, _):
        history.append((module.weight == 0).clone())

    model = small_mlp()
    model[0].register_forward_pre_hook(watch)
    _, masks, _ = pruned(model, levels=4, fraction=0.4, optimizer="adam", lr=0.01)
    for before, after in pairwise(history):
        assert (after | ~before).all()
    assert torch.equal(history[-1], ~masks["0.weight"])


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "sgd", "momentum": 0.0},
        {"optimizer": "adam", "lr": 0.01},
    ],
    ids=["momentum", "plain", "adam"],
)
def test_pruned_weights_are_exactly_zero_when_all_is_done(options, weight_decay):
    model, masks, rows = pruned(levels=3, fraction=0.4, weight_decay=weight_decay, **options)
    for name, weight in prunable(model).items():
        assert torch.equal(weight == 0, ~masks[name])
    assert rows[-1].density == density(masks)
    assert all((model[i].bias != 0).all() for i in (0, 2))  # biases are not pruned


def test_everything_is_rewound_batch_norm_included():
    options = {"train": pictures(), "validation": pictures(20, seed=1), "batch_size": 8}
    snapshot, _, _ = pruned(small_convnet(), levels=0, epochs=0, **options)
    ticket, masks, _ = pruned(small_convnet(), levels=2, epochs=3, final_epochs=0, **options)
    assert snapshot.state_dict()["1.running_mean"].abs().sum() > 0  # there was something to rewind
    for name, value in ticket.state_dict().items():
        expected = snapshot.state_dict()[name]
        if name in masks:
            expected = expected.masked_fill(~masks[name], 0.0)
        assert torch.equal(value, expected), name


def test_the_final_network_depends_on_earlier_levels_through_its_mask_alone():
    # T5.5, with a fraction that removes nothing: all histories give one mask, so one network
    first, _, _ = pruned(fraction=1e-9, levels=2, epochs=3, final_epochs=2, stop=FixedEpochs(1))
    second, _, _ = pruned(fraction=1e-9, levels=2, epochs=3, final_epochs=2, stop=FixedEpochs(3))
    assert same_state(first, second)


def test_longer_training_draws_another_mask():
    _, short, _ = pruned(levels=1, fraction=0.5, epochs=0, lr=0.5)
    _, long, _ = pruned(levels=1, fraction=0.5, epochs=4, lr=0.5)
    assert any(not torch.equal(short[name], long[name]) for name in short)


# --- one's own network -------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_the_network_that_is_passed_in_stays_as_it_was(training):
    model = small_convnet().train(training)
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before, grad = copy.deepcopy(model.state_dict()), model[0].weight.grad.clone()
    result, _, _ = pruned(model, train=pictures(), validation=pictures(20, seed=1))
    assert result is not model
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training is training for module in model.modules())
    assert torch.equal(model[0].weight.grad, grad)
    assert model[5].weight.grad is None
    assert not {p.data_ptr() for p in model.parameters()} & {
        p.data_ptr() for p in result.parameters()
    }


@pytest.mark.parametrize("training", [True, False])
def test_the_pruned_network_comes_back_in_the_mode_of_the_one_passed_in(training):
    result, _, _ = pruned(small_mlp().train(training))
    assert result.training is training


def test_the_data_that_are_passed_in_stay_as_they_were():
    (inputs, targets), validation = cloud(), cloud(30, seed=1)
    before = inputs.clone(), targets.clone()
    pruned(train=(inputs, targets), validation=validation)
    assert torch.equal(inputs, before[0])
    assert torch.equal(targets, before[1])


def test_a_module_of_ones_own_can_be_pruned():
    class Twin(nn.Module):
        """Two branches, a shared weight, a normalisation and a bare parameter."""

        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(6, 5), nn.Linear(6, 5)
            self.right.weight = self.left.weight
            self.norm, self.scale = nn.LayerNorm(5), nn.Parameter(torch.ones(5, 1))
            self.head = nn.Linear(5, 3)

        def forward(self, x):
            hidden = self.norm(self.left(x) + self.right(-x).tanh())
            return self.head(hidden * self.scale.T)

    model, masks, rows = pruned(seeded(Twin), levels=3, fraction=0.4, stop="information+gradient")
    assert list(masks) == ["left.weight", "head.weight"]
    assert model.left.weight is model.right.weight
    for name, mask in masks.items():
        assert torch.equal(model.get_parameter(name) == 0, ~mask)
    assert (model.scale != 0).all()
    assert [row.level for row in last_of_levels(rows)] == [0, 1, 2, 3]
    assert rows[0].model == "Twin"
    assert rows[0].data == "custom"


def test_a_network_with_one_layer_can_be_pruned_without_a_flow():
    _, masks, rows = pruned(seeded(lambda: nn.Linear(6, 3)), fraction=0.5)
    assert int(masks["weight"].sum()) == 18 - 9 - round(0.5 * 9)
    assert rows[-1].density == density(masks)


def test_a_network_with_one_layer_can_be_watched_though_it_has_no_flow():
    _, _, rows = pruned(seeded(lambda: nn.Linear(6, 3)), monitor=True, fraction=0.5)
    assert math.isnan(rows[-1].flow_distance)


@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_pruning_to_nothing_ends_well(scope):
    _, _, rows = pruned(levels=6, fraction=0.9, scope=scope, stop="information+gradient", epochs=1)
    assert rows[-1].density < 0.05
    assert all(math.isfinite(row.flow_distance) for row in rows)


def test_sap_can_go_on_when_a_layer_has_lost_all_its_weights():
    options = {"amount": "sap", "eta": 1.0, "gamma": 50.0, "beta": 0.95}
    _, masks, _ = pruned(levels=6, epochs=0, **options)
    assert not all(mask.any() for mask in masks.values())


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_inputs_that_are_not_finite_are_refused(part, value):
    inputs, targets = cloud(12)
    inputs[3, 2] = value
    with pytest.raises(ValueError, match="inputs hold NaN or infinity"):
        pruned(**{part: (inputs, targets)})


@pytest.mark.parametrize(
    "targets",
    [
        torch.zeros(12),
        torch.zeros(12, dtype=torch.int32),
        torch.zeros(12, 3, dtype=torch.int64),
        torch.zeros(12, dtype=torch.bool),
    ],
    ids=["float", "int32", "one-hot", "bool"],
)
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_targets_that_are_no_class_indices_are_refused(part, targets):
    with pytest.raises(ValueError, match="targets must be int64 class indices"):
        pruned(**{part: (cloud(12)[0], targets)})


@pytest.mark.parametrize("num_targets", [0, 11, 13])
def test_inputs_and_targets_must_pair_up(num_targets):
    with pytest.raises(ValueError, match=f"12 inputs and {num_targets} targets"):
        pruned(train=(cloud(12)[0], torch.zeros(num_targets, dtype=torch.int64)))


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="0 inputs"):
        pruned(validation=(torch.zeros(0, 6), torch.zeros(0, dtype=torch.int64)))


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_inputs_of_another_dtype_than_the_weights_are_refused(part):
    inputs, targets = cloud(12)
    with pytest.raises(ValueError, match=r"float64.*float32"):
        pruned(**{part: (inputs.double(), targets)})


@pytest.mark.parametrize("target", [-1, -100])
def test_a_negative_class_is_refused(target):
    inputs, targets = cloud(12)
    targets[5] = target  # torch would pass over -100 in silence
    with pytest.raises(ValueError, match="class"):
        pruned(train=(inputs, targets))


def test_a_network_without_prunable_layers_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(6))
    with pytest.raises(ValueError, match="Sequential has no Conv or Linear weights to prune"):
        pruned(model)


def test_a_bad_field_is_refused_before_any_training():
    model = small_mlp()
    model.register_forward_hook(lambda *_: pytest.fail("the network ran"))
    with pytest.raises(ValueError, match="epsilon must be greater than 0"):
        pruned(model, epsilon=0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"data": "imagenet"}, "unknown data"), ({"model": "perceptron"}, "unknown model")],
)
def test_unknown_data_and_models_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rows_of(**options)


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="cuda"):
        rows_of(device="cuda")


@pytest.mark.parametrize(
    "options",
    [{}, {"check_steps": 1}, {"check_steps": 1, "monitor": False}, {"epochs": 0.1, "levels": 1}],
    ids=["epoch", "step", "unmonitored", "one step"],
)
def test_a_diverging_run_says_so(options):
    with pytest.raises(FloatingPointError, match="not finite"):
        rows_of(lr=1e30, warmup_epochs=0, **options)


def test_a_run_that_diverges_in_warm_up_says_so():
    with pytest.raises(FloatingPointError, match="not finite"):
        rows_of(lr=1e30, levels=0, epochs=0, warmup_epochs=0.1)


def test_a_state_in_another_precision_is_refused_and_not_rounded():
    states = []
    config = Config(**FAST)
    list(run_imp(config, keep=states.append))
    state = states[1]
    weights = {name: value.double() for name, value in state.start.weights.items()}
    forged = replace(state, start=replace(state.start, weights=weights))
    with pytest.raises(ValueError, match=r"holds .* in float64, the network has float32"):
        list(run_imp(config, forged))
