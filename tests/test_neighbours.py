"""The neighbours of the method: each does what its source says, on a run of a few seconds."""

from dataclasses import replace
from itertools import pairwise

import gather
import neighbours
import pytest
import torch

from infcop_lite import level, records, run_imp, training
from infcop_lite.config import Config
from infcop_lite.masks import density, prunable
from infcop_lite.stopping import FixedEpochs

TINY = Config(
    subset=400,
    levels=40,
    fraction=0.4,
    final_density=0.1,
    epochs=2,
    warmup_epochs=1,
    check_steps=1,
    last_schedule="linear",
    spacing="doubling",
    threads=1,
    monitor=False,
)
LEVELS = neighbours.num_levels(TINY)
EPOCHS_LIKE_K = {"one-shot-0.25": 0.25, "one-shot-full": 8}
each_method = pytest.mark.parametrize("name", neighbours.METHODS)


@pytest.fixture(scope="module")
def rows():
    """The row of every method under TINY."""
    return {name: neighbours.run_method(name, TINY) for name in neighbours.METHODS}


def trial(name, config=TINY):
    method, options = neighbours.METHODS[name]
    return method(config, **options)


def trained_masks(name, monkeypatch, config=TINY):
    """The masks of every stretch of training, in order, and the trial that they led to."""
    seen, original = [], training.train_batches

    def train_batches(model, optimizer, masks, *rest):
        seen.append(masks)
        return original(model, optimizer, masks, *rest)

    monkeypatch.setattr(training, "train_batches", train_batches)
    return trial(name, config), seen


def is_within(masks, others):
    return all(not (mask & ~others[name]).any() for name, mask in masks.items())


@each_method
def test_a_method_comes_to_the_density_it_says(rows, name):
    if name == "filters":
        assert 0.08 < rows[name]["density"] <= TINY.final_density
    elif name == "filters-0.2":
        assert rows[name]["filters"] == pytest.approx(0.2)
    else:
        assert rows[name]["density"] == pytest.approx(TINY.final_density, abs=2e-4)


@each_method
def test_a_method_spends_the_epochs_it_says(rows, name):
    step = 128 / 360
    most = TINY.warmup_epochs + LEVELS * EPOCHS_LIKE_K.get(name, 1) + TINY.last_epochs
    if name.startswith("early-bird"):
        assert rows[name]["epochs"] <= most
    else:
        assert rows[name]["epochs"] == pytest.approx(most, abs=step)


@pytest.mark.parametrize("name", ["cyclical", "filters", "quantised-2", "early-bird"])
def test_equal_seeds_give_equal_rows(rows, name):
    again = neighbours.run_method(name, TINY)
    assert {**again, "seconds": 0} == {**rows[name], "seconds": 0}


def test_other_seeds_give_other_rows(rows):
    other = neighbours.run_method("gradual", replace(TINY, seed=1))
    assert other["validation_accuracy"] != rows["gradual"]["validation_accuracy"]


def test_one_shot_with_no_epochs_to_spend_is_the_loop_without_retraining():
    *_, last = run_imp(replace(TINY, stop=FixedEpochs(0)))
    row = neighbours.one_shot(TINY, like=0).row()
    assert row["test_accuracy"] == last.test_accuracy
    assert row["density"] == last.density


def test_rounding_to_32_bits_is_the_loop_with_one_epoch_per_level():
    *_, last = run_imp(replace(TINY, stop=FixedEpochs(1), check_steps=3))
    finished = neighbours.quantised(TINY, bits=32, jointly=False)
    assert finished.trainer.test_accuracy() == last.test_accuracy
    assert density(finished.trainer.masks) == last.density


def test_gradual_pruning_never_gives_a_weight_back(monkeypatch):
    _, seen = trained_masks("gradual", monkeypatch)
    assert all(is_within(after, before) for before, after in pairwise(seen))
    assert len({density(masks) for masks in seen}) > 4


def test_cyclical_pruning_gives_weights_back_and_some_of_them_stay(monkeypatch):
    finished, seen = trained_masks("cyclical", monkeypatch, replace(TINY, batch_size=16))
    densities = [density(masks) for masks in seen]
    restarts = [i for i in range(1, len(seen)) if densities[i] > densities[i - 1]]
    assert len(restarts) == neighbours.METHODS["cyclical"][1]["cycles"] - 1
    assert all(densities[i] == 1 for i in restarts)
    before_restart = seen[restarts[0] - 1]
    assert not is_within(finished.trainer.masks, before_restart)


@pytest.mark.parametrize("name", ["filters", "filters-0.2"])
def test_filters_go_as_a_whole_and_do_not_return(name, monkeypatch):
    finished, seen = trained_masks(name, monkeypatch)
    assert all(is_within(after, before) for before, after in pairwise(seen))
    for mask in finished.trainer.masks.values():
        rows, columns = mask.any(1), mask.any(0)
        assert torch.equal(mask, rows[:, None] & columns)
    row = finished.row()
    assert row["flops"] == pytest.approx(row["density"], rel=0.01)


def test_filters_of_convolutions_go_with_those_who_hear_them():
    config = replace(TINY, model="convnet", warmup_epochs=0)
    run = neighbours.Trial(config).trainer
    masks = list(neighbours.filter_masks(run, 0.5).values())
    for mask, following in pairwise(masks):
        kept = mask.flatten(1).any(1)
        assert kept.float().mean() == 0.5
        assert torch.equal(following.transpose(0, 1).flatten(1).any(1), kept)
    norms = next(iter(prunable(run.model).values())).detach().abs().flatten(1).sum(1)
    first = masks[0].flatten(1).any(1)
    assert norms[first].min() >= norms[~first].max()


def test_structured_pruning_saves_more_work_than_scattered_zeros(rows):
    assert rows["filters"]["flops"] < rows["gradual"]["flops"]
    assert rows["filters"]["size"] == pytest.approx(rows["filters"]["density"], rel=1e-4)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_quantised_weights_take_few_values_and_removed_ones_are_zero(bits):
    finished = neighbours.quantised(TINY, bits, jointly=True)
    masks = finished.trainer.masks
    for name, weight in finished.model.rounded().items():
        assert len(weight.unique()) <= 2**bits
        assert not weight[~masks[f"net.{name}"]].any()
        assert weight.any()
    size = (density(masks) * bits + 1) / 32
    assert finished.row()["size"] == pytest.approx(size)


def test_training_goes_through_the_rounding():
    model = neighbours.Quantised(torch.nn.Linear(4, 2))
    model.bits = 2
    model(torch.ones(3, 4)).sum().backward()
    assert (model.net.weight.grad != 0).any()
    outputs = torch.nn.functional.linear(
        torch.ones(3, 4), model.rounded()["weight"], model.net.bias
    )
    assert torch.equal(model(torch.ones(3, 4)), outputs)


def test_the_published_mask_distance_cannot_see_sparse_masks_move(monkeypatch):
    long = replace(TINY, fraction=0.15, final_density=0.04)
    _, seen = trained_masks("early-bird", monkeypatch, long)
    dense = [masks for masks in seen[1:] if density(masks) == 1]
    assert len(dense) == 5  # as soon as there are five distances


def test_early_birds_go_on_from_the_weights_they_have(monkeypatch):
    states = []
    original = level.Trainer.begin
    monkeypatch.setattr(level.Trainer, "begin", lambda *a: states.append(a) or original(*a))
    finished = trial("early-bird")
    assert not states
    assert density(finished.trainer.masks) == pytest.approx(TINY.final_density, abs=2e-4)


def test_would_be_masks_leave_the_run_as_it_was():
    run = neighbours.Trial(TINY).trainer
    masks = neighbours.last_masks(run)
    assert density(run.masks) == 1
    assert density(masks) == pytest.approx(TINY.final_density, abs=2e-4)


def test_a_finished_run_is_skipped_and_another_setting_is_refused(tmp_path, monkeypatch):
    shared = {
        k: getattr(TINY, k) for k in ("subset", "levels", "fraction", "epochs", "last_schedule")
    }
    shared |= {"final_density": 0.1, "warmup_epochs": 1, "check_steps": 1}
    monkeypatch.setattr(gather, "RUNS", tmp_path)
    monkeypatch.setitem(neighbours.SHARED, "mlp", shared)
    assert neighbours.run_folder("cpu", "mlp", "gradual", 3) > 0
    folder = tmp_path / "neighbours" / "mlp-gradual-3"
    rows, record = records.read(folder)
    assert record["config"]["cycles"] == 1
    assert rows.loc[0, "method"] == "gradual"
    assert rows.loc[0, "seed"] == 3
    assert neighbours.run_folder("cpu", "mlp", "gradual", 3) == 0
    monkeypatch.setitem(neighbours.SHARED, "mlp", shared | {"lr": 0.1})
    with pytest.raises(ValueError, match="differs in lr"):
        neighbours.run_folder("cpu", "mlp", "gradual", 3)
