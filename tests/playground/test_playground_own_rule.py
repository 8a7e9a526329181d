"""A rule that a reader writes, in the address and in a run; and what a sweep trains once."""

import functools
import json

import pytest

from .node import ENGINE, node

SMALL = {"epochs": 3, "warmupEpochs": 1, "fraction": 0.5}
OTHERS = {
    "again": {"epsilon": 0.3},
    "another tolerance": {"epsilon": 0.6},
    "all": {"rule": "full"},
    "fixed": {"rule": "fixed", "fixed": 1},
    "mask": {"rule": "mask", "epsilon": 0.1},
    "told": {"timetable": [1, 0, 2]},
    "going on": {"rewind": 0, "epsilon": 0.3},
    "another seed": {"epsilon": 0.3, "seed": 1},
    "x": {"rule": "own", "text": "information < x and epoch >= 1", "epsilon": 0.4},
    "no x": {"rule": "own", "text": " accuracy >= ref_accuracy "},
    "a constant": {"rule": "own", "text": "epoch >= 1"},
    "nonsense": {"rule": "own", "text": "fetch(1) < 2"},
}


@functools.cache
def found(memory_bytes=None):
    settings = [SMALL | own for own in [{"epsilon": 0.3}, *OTHERS.values()]]
    told = json.loads(node("saved.mjs", ENGINE, settings=settings, bytes=memory_bytes))
    return dict(zip(["first", *OTHERS], told, strict=True))


@pytest.mark.parametrize("name", OTHERS)
def test_runs_that_share_what_they_trained_come_to_what_each_comes_to_alone(name):
    assert found()[name]["shared"] == found()[name]["alone"]


def test_they_differ_and_what_ran_before_is_hardly_trained_again():
    assert len({json.dumps(run["alone"]) for run in found().values()}) >= 8
    shared, alone = found()["again"]["spent"]
    assert shared < 0.2 * alone


def test_a_memory_that_is_full_is_emptied_and_spoils_nothing():
    for run in found(300_000).values():
        assert run["shared"] == run["alone"]


def test_a_timetable_ends_its_levels_when_it_says():
    assert found()["told"]["alone"]["stops"] == [1, 0, 2, 3]


@pytest.mark.parametrize("name", ["x", "no x", "nonsense"])
def test_a_rule_of_ones_own_stands_in_the_address_and_comes_back(name):
    run = found()[name]
    assert run["again"] == run["knobs"]
    assert "rule=own" in run["hash"]


def test_what_cannot_be_read_in_an_address_is_the_rule_to_begin_with():
    assert found()["nonsense"]["knobs"]["text"] == "loss <= ref_loss"
    assert found()["no x"]["knobs"]["text"] == "accuracy >= ref_accuracy"
    assert "accuracy%20%3E%3D%20ref_accuracy" in found()["no x"]["hash"]


def test_its_number_is_swept_if_it_has_one_and_its_timetable_replayed_if_it_looks():
    number = {name: run["hasNumber"] for name, run in found().items()}
    looks = {name: run["looks"] for name, run in found().items()}
    assert (number["x"], number["no x"], number["a constant"], number["first"]) == (1, 0, 0, 1)
    assert (looks["x"], looks["no x"], looks["a constant"], looks["fixed"]) == (1, 1, 0, 0)
    assert found()["a constant"]["alone"] == found()["fixed"]["alone"]
