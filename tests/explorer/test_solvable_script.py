"""The script of chapter 11's picture with knobs computes what the library computes."""

import itertools
import json
import math
import os
import shutil
import subprocess

import build
import pytest
import torch

from infcop_lite.theory import selection, solvable
from infcop_lite.theory.consistency import pruning_floor

MODEL = build.ROOT / "book" / "_static" / "solvable" / "model.js"
PLAY = """
const S = require(process.argv[1]);
const cases = JSON.parse(require("fs").readFileSync(0));
const infinite = (key, x) => (x === Infinity ? "inf" : x);
const at = (s) => (f) => s.times.map((t) => S[f](s, t));
const numbers = (s) => ({
  paths: ["weight", "loss", "distance"].map(at(s)),
  levels: ["maskPrice", "restingDistance", "lowestDistance", "bestStop"].map((f) => S[f](s)),
  turn: S.turn(s), window: S.window(s),
});
console.log(JSON.stringify(cases.map(numbers), infinite));
"""
TIMES = [0.0, 0.1, 0.7, 2.5, 6.0]
MODELS = [
    *itertools.product((-0.95, -0.8, -0.3, 0.0, 0.6), (-1.7, 0.4, 1.0), (1, 2), (-2.0, 0.0, 1.0)),
    (-0.8, 1.0, 2, 0.19),  # the start is nearer to rest than the distance is low
]
KNOBS = "rho", "second", "pruned", "start", "epsilon", "price", "times"
SETTINGS = [
    dict(zip(KNOBS, (*model, *rule, TIMES), strict=True))
    for model in MODELS
    for rule in [(0.05, 0.003), (0.3, 0.01), (0.9, 0.5)]
]


@pytest.fixture(scope="module")
def played():
    """What the script finds for each setting, from one run of node."""
    node = shutil.which("node")
    if node is None:
        refuse = pytest.fail if os.environ.get("INFCOP_NEED_BROWSER") else pytest.skip
        refuse("no node: install the Debian package nodejs")
    command = [node, "-e", PLAY, str(MODEL)]
    text = json.dumps(SETTINGS)
    run = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return [(s, found) for s, found in zip(SETTINGS, json.loads(run.stdout), strict=True)]


def as_tensors(setting):
    """(start, best, mask, second moment) as the library takes them."""
    second = torch.tensor([[1.0, setting["rho"]], [setting["rho"], 1.0]], dtype=torch.float64)
    mask = torch.ones(1, 2, dtype=torch.bool)
    mask[0, setting["pruned"] - 1] = False
    best = torch.tensor([[1.0, setting["second"]]], dtype=torch.float64)
    return setting["start"] * mask.double(), best, mask, second


def path_of(setting, times):
    start, best, mask, second = as_tensors(setting)
    moments = torch.tensor(times, dtype=torch.float64)
    return list(solvable.masked_path(start, best, mask, second, moments))


def distances(setting, times):
    _, best, _, second = as_tensors(setting)
    return [solvable.flow_gap(w, best, second) for w in path_of(setting, times)]


def test_weight_loss_and_distance_are_those_of_the_masked_path(played):
    for setting, found in played:
        _, best, mask, second = as_tensors(setting)
        path = path_of(setting, TIMES)
        weights, losses, gaps = found["paths"]
        assert weights == pytest.approx([w[mask].item() for w in path], abs=1e-9)
        exact = [selection.output_error(w, best, second) / 2 for w in path]
        assert losses == pytest.approx(exact, abs=1e-9)
        assert gaps == pytest.approx(distances(setting, TIMES), abs=1e-9)


def test_price_of_the_mask_floors_and_best_stop_are_the_librarys(played):
    for setting, found in played:
        start, best, mask, second = as_tensors(setting)
        exact = [
            solvable.mask_price(best, mask, second),
            solvable.resting_distance(best, mask, second),
            pruning_floor(best, mask, second),
            solvable.best_stop(start, best, mask, second, setting["price"]),
        ]
        assert found["levels"] == pytest.approx(exact, abs=1e-9)


def test_the_distance_is_the_tolerance_at_both_ends_of_the_window_and_within_it_between(played):
    kinds = set()
    for setting, found in played:
        epsilon = setting["epsilon"]
        enter, leave = map(float, found["window"])
        kinds.add((enter > 0, enter < math.inf, leave < math.inf))
        for end in (enter, leave):
            if 0 < end < math.inf:
                assert distances(setting, [end])[0] == pytest.approx(epsilon, abs=1e-9)
        grid = torch.linspace(0, 9, 91).tolist()
        within = [enter - 1e-9 <= t <= leave + 1e-9 for t in grid]
        assert within == [gap <= epsilon + 1e-9 for gap in distances(setting, grid)]
    assert len(kinds) == 5  # at once or later, for good or not, and never


def test_no_time_has_a_smaller_distance_than_the_turn(played):
    kinds = set()
    for setting, found in played:
        turn = float(found["turn"])
        kinds.add((turn > 0, turn < math.inf))
        least = distances(setting, [min(turn, 40.0)])[0]
        assert least <= min(distances(setting, torch.linspace(0, 9, 91).tolist())) + 1e-9
    assert len(kinds) == 3  # it only rises, it turns, it only falls
