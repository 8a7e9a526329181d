"""Every knob of the playground turns something."""

import functools
import json

import pytest
import torch

from infcop_lite import masks

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
def told():
    settings = [FIRST, *({**FIRST, name: value} for name, value in TURNED.items())]
    return json.loads(node("knobs.mjs", ENGINE, settings=settings))


def runs():
    return dict(zip(["first", *TURNED], told()["found"], strict=True))


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


def test_the_density_that_the_page_promises_is_that_of_the_library_and_the_first_below_the_goal():
    assert len(told()["left"]) == 3 * 9 * 3
    for goal in told()["left"]:
        shapes = zip(goal["sizes"], goal["sizes"][1:], strict=False)
        layers = [torch.nn.Linear(*shape, bias=False) for shape in shapes]
        network = torch.nn.Sequential(*layers)
        kept = masks.full_masks(network)
        found = [masks.density(kept)]
        while found[-1] > goal["density"]:
            kept = masks.magnitude_masks(network, kept, goal["fraction"])
            found.append(masks.density(kept))
        assert goal["densities"] == pytest.approx(found, abs=1e-12)


def test_a_run_ends_at_the_density_that_the_page_promises():
    promised = {
        (goal["density"], goal["fraction"], goal["sizes"][1]): goal["densities"]
        for goal in told()["left"]
    }
    for name, run in runs().items():
        settings = FIRST | ({name: TURNED[name]} if name in TURNED else {})
        goal = (settings.get("density", 0.2), settings["fraction"], run["sizes"][1])
        assert run["density"] == pytest.approx(promised[goal][-1])
        assert len(run["stops"]) == len(promised[goal])


def test_a_sweep_counts_tolerances_their_timetables_and_the_line_of_each_seed():
    """Twenty tolerances or one, as many timetables if it looks, eight constants; five seeds."""
    looking = dict.fromkeys(["information", "gradient", "mask"], 5 * (20 + 20 + 8))
    once = {"loss": 5 * (1 + 1 + 8), "own": 5 * (1 + 1 + 8)}
    assert told()["sweeps"] == looking | once | dict.fromkeys(["fixed", "full"], 5 * (1 + 8))


def test_every_rule_says_in_one_sentence_when_it_ends_a_level():
    for said in told()["says"]:
        assert said.endswith(".")
        assert said.count(".") == 1
        assert len(said.split()) < 30
    assert len(set(told()["says"])) == 7


def test_accuracies_are_as_uncertain_as_so_many_test_images_leave_them():
    assert told()["images"] == [360, 360]
