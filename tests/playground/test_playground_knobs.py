"""Every knob of the playground turns something."""

import functools
import json

import pytest

from .node import ENGINE, node

FIRST = {"rule": "fixed", "fixed": 1, "epochs": 2, "warmupEpochs": 1, "fraction": 0.5}
TURNED = {
    "rule": "full",
    "fixed": 1.3333,
    "epochs": 3,
    "warmupEpochs": 2,
    "fraction": 0.4,
    "density": 0.05,
    "rewind": 0,
    "units": 12,
    "seed": 1,
}


@functools.cache
def runs():
    settings = [FIRST, *({**FIRST, name: value} for name, value in TURNED.items())]
    found = json.loads(node("knobs.mjs", ENGINE, settings=settings))
    return dict(zip(["first", *TURNED], found, strict=True))


@pytest.mark.parametrize("name", TURNED)
def test_a_knob_changes_what_a_run_comes_to(name):
    assert runs()[name] != runs()["first"]


def test_sizes_and_levels_are_those_that_the_knobs_say():
    assert runs()["first"]["sizes"] == [64, 24, 24, 10]
    assert runs()["units"]["sizes"] == [64, 12, 12, 10]
    assert runs()["first"]["stops"] == [1, 1, 1, 2]
    assert len(runs()["density"]["stops"]) == 6
    assert runs()["density"]["density"] <= 0.05
    assert runs()["rewind"]["stops"] == runs()["first"]["stops"]


def test_the_dense_network_that_reads_drawings_is_trained_for_a_whole_level():
    """Whatever the rule: a rule that stops early would leave a beginner to compare with."""
    assert all(run["isWhole"] for run in runs().values())
