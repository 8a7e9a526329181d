"""The rules that a reader writes in chapter 7: what they mean, and where they stop."""

import gzip
import json
import math
import os
import shutil
import subprocess

import build
import numpy as np
import pytest

from infcop_lite import evidence, hindsight, stopping
from infcop_lite.explorer import challenge

FOLDER = build.ROOT / "book" / "_static"
PLAY = """
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
const Language = await import(`${process.argv[1]}/playground/language.mjs`);
const Replay = createRequire("file:///")(`${process.argv[1]}/challenge/replay.js`);
const given = JSON.parse(readFileSync(0));
const entries = (check) => Object.entries(check).map(([name, value]) => [name, value ?? NaN]);
const checks = given.checks.map((check) => Object.fromEntries(entries(check)));
const answer = (text) => {
  try {
    return Language.decide(Language.parse(text), checks, given.constants);
  } catch (error) {
    return `${error.constructor.name}: ${error.message}`;
  }
};
const stops = ([name, text, x]) => {
  const tree = Language.parse(text);
  return Replay.stops(given.tables[name], (...seen) => Language.decide(tree, ...seen), x);
};
const near = ([name, epochs]) => {
  const { one, gap } = Replay.nearest(given.tables[name], epochs);
  return [one.rule, gap, Replay.ofConstants(given.tables[name], Replay.total(epochs))];
};
console.log(JSON.stringify({
  answers: given.rules.map(answer), stops: given.replays.map(stops), near: given.near.map(near),
}));
"""
CHECKS = [
    {"epoch": 0, "loss": None, "accuracy": 0.7, "information": 0, "gradient": 0.1, "mask": None},
    {"epoch": 1, "loss": 0.5, "accuracy": 0.9, "information": 0.4, "gradient": 0.3, "mask": 0.2},
    {"epoch": 2, "loss": 0.4, "accuracy": 0.8, "information": 0.25, "gradient": 2, "mask": None},
]
CONSTANTS = {"level": 3, "levels": 6, "x": 0.5, "ref_loss": 0.45, "ref_accuracy": 0.85}
#: What a rule says at the last of these checks; None where it cannot know.
MEANINGS = {
    "loss <= ref_loss": True,
    "accuracy >= ref_accuracy": False,
    "Loss < .5": True,
    "epoch >= 2 and level < 3": False,
    "level == 3": "column 7: “=” means nothing here",
    # the one that binds closer comes first
    "1 < 2 or 1 < 2 and 2 < 1": True,
    "not 1 < 2 or 1 < 2": True,
    "not (1 < 2 or 1 < 2)": False,
    "2 + 3 * 4 <= 14 and 2 + 3 * 4 >= 14": True,
    "8 - 4 - 2 <= 2 and 8 / 4 / 2 >= 1": True,
    "-2 * -3 >= 6 and 2 - -3 >= 5": True,
    "(2 + 3) * 4 >= 20": True,
    "((loss)) < (x)": True,
    "min(3, 1, 2) <= 1 and max(3, abs(-4)) >= 4": True,
    "1e-3 < 2.5e1": True,
    # of the checks before, where they are known
    "prev(loss) - loss > 0.09": True,
    "prev(mask) <= 0.2 and prev(mask) >= 0.2": True,
    "accuracy <= best(accuracy)": True,
    "best(information) <= 0 and best(loss) >= 0.5": True,
    # what is not known is neither true nor false, and stops nothing
    "mask < 0.5": None,
    "not mask < 0.5": None,
    "mask < 0.5 or loss < 1": True,
    "mask < 0.5 or loss > 1": None,
    "mask < 0.5 and loss > 1": False,
    "min(mask, 1) < 2": None,
    "0 / 0 < 1": None,
    # one line, with the column
    "": "column 1: expected a number or a name, found the end",
    "   loss": "column 4: expected a comparison, such as loss < 0.1, found a number",
    "losz < 1": "column 1: “losz” is not known; choose from epoch, loss, accuracy, information, "
    "gradient, mask, level, levels, x, ref_loss, ref_accuracy, prev, best, abs, min, max",
    "loss < ": "column 7: expected a number or a name, found the end",
    "loss < 1 and": "column 13: expected a number or a name, found the end",
    "loss < 1 2": "column 10: expected the end, found “2”",
    "(loss < 1": "column 10: expected “)”, found the end",
    "0 < loss < 1": "column 10: compare two numbers at a time; join with “and”",
    "1 + (loss < 1) < 2": "column 5: expected a number, found a comparison",
    "loss and 1 < 2": "column 1: expected a comparison, such as loss < 0.1, found a number",
    "prev(level) < 1": "column 6: prev takes one of epoch, loss, accuracy, information",
    "min(1) < 2": "column 1: min takes 2 to 9 arguments, not 1",
    "abs(1, 2) < 2": "column 1: abs takes one argument, not 2",
    "loss < constructor": "column 8: “constructor” is not known",
    "loss < x; alert(1)": "column 9: “;” means nothing here",
    "loss[0] < 1": "column 5: “[” means nothing here",
    "(" * 201: "column 201: a rule has at most 200 characters",
}
TABLES = {"mlp-replay": "MLP", "convnet": "ConvNet"}


@pytest.fixture(scope="module")
def recorded():
    found = {}
    for name in TABLES:
        rows = evidence.read(name)
        found[name] = rows[rows["family"] == "fixed"]
    return found


@pytest.fixture(scope="module")
def tables(recorded):
    """What the page is handed, out of the element in which it is."""
    found = {name: challenge.table(rows, TABLES[name]) for name, rows in recorded.items()}
    text = challenge.script(found)
    return json.loads(text[text.index(">") + 1 : text.rindex("<")])


def equals(rows):
    """Text of a rule -> the rule of the library that it says, by seed."""
    dense = rows[(rows["rule"] == "full") & (rows["level"] == 0)]
    accuracies = dense[dense["epoch"] == 0].set_index("seed")["validation_accuracy"]
    losses = challenge.reference_losses(rows)
    return {
        "loss <= ref_loss": lambda seed: stopping.ReachLoss(losses[seed]),
        "accuracy >= ref_accuracy": lambda seed: stopping.ReachAccuracy(accuracies[seed]),
        "accuracy <= best(accuracy)": lambda seed: stopping.Patience(1),
        "information < x": lambda seed: stopping.FlowConsistency("information", 0.5),
        "gradient < x": lambda seed: stopping.FlowConsistency("gradient", 0.5),
        "mask < 0.06": lambda seed: stopping.MaskStability(0.06),
        "epoch >= 2 * x": lambda seed: stopping.FixedEpochs(1.0),
        "epoch >= x or mask < 0.06": lambda seed: stopping.AnyOf(
            stopping.FixedEpochs(0.5), stopping.MaskStability(0.06)
        ),
    }


@pytest.fixture(scope="module")
def played(recorded, tables):
    """What the scripts answer, from one run of node."""
    node = shutil.which("node")
    if node is None:
        refuse = pytest.fail if os.environ.get("INFCOP_NEED_BROWSER") else pytest.skip
        refuse("no node: install the Debian package nodejs")
    replays = [(name, text, 0.5) for name in TABLES for text in equals(recorded[name])]
    near = [(name, one["timetable"]) for name in TABLES for one in tables[name]["recorded"]]
    near += [("mlp-replay", [0.3] * 16), ("convnet", [0.1, 0.2, 0.5, 1, 2, 4])]
    given = {"checks": CHECKS, "constants": CONSTANTS, "rules": list(MEANINGS)}
    given |= {"tables": tables, "replays": replays, "near": near}
    command = [node, "--input-type=module", "-e", PLAY, str(FOLDER)]
    text = json.dumps(given)
    run = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    stops = dict(zip([replay[:2] for replay in replays], found["stops"], strict=True))
    return found["answers"], stops, list(zip(near, found["near"], strict=True))


def test_every_rule_means_what_its_grammar_says_and_errors_name_the_column(played):
    for (text, meaning), answer in zip(MEANINGS.items(), played[0], strict=True):
        if isinstance(meaning, str):
            assert answer.startswith(f"RuleError: {meaning}"), text
            assert "\n" not in answer
        else:
            assert answer is meaning, text


@pytest.mark.parametrize("table", TABLES)
def test_a_rule_that_is_replayed_stops_where_the_librarys_own_rule_does(played, recorded, table):
    rows = recorded[table]
    full, lengths = rows[rows["rule"] == "full"], set()
    for text, rule in equals(rows).items():
        for seed, found in enumerate(played[1][table, text]):
            own = hindsight.timetable(full[full["seed"] == seed], rule(seed))
            assert found == own["epoch"].tolist(), text
            lengths |= set(found)
    assert len(lengths) > 8  # they fire early, late and never


def test_the_nearest_timetable_and_the_constants_are_those_of_the_library(played, tables):
    for (name, epochs), (rule, gap, accuracy) in played[2]:
        recorded, curve = tables[name]["recorded"], tables[name]["constants"]
        gaps = [
            math.sqrt(np.mean((np.log1p(one["timetable"]) - np.log1p(epochs)) ** 2))
            for one in recorded
        ]
        assert gap == pytest.approx(min(gaps), abs=1e-12)
        assert gaps[[one["rule"] for one in recorded].index(rule)] == pytest.approx(gap, abs=1e-12)
        places = np.log1p([one["epochs"] for one in curve])
        heights = [one["accuracy"] for one in curve]
        exact = np.interp(np.log1p(sum(epochs)), places, heights)
        assert accuracy is None or accuracy == pytest.approx(exact, abs=1e-12)


def test_a_rule_of_the_tables_that_the_language_can_say_is_named_once(tables):
    for table in tables.values():
        said = [one["expression"] for one in table["recorded"] if one["expression"]]
        assert len(set(said)) == len(said) > 8
        assert {"loss <= ref_loss", "information < 0.5", "epoch >= 1"} <= set(said)


def test_the_gains_are_those_of_the_chapter_and_a_constant_has_none(recorded, tables):
    for name, rows in recorded.items():
        told = evidence.against_control(evidence.final(rows)).set_index("rule")
        for one in tables[name]["recorded"]:
            if one["kind"] in ("constant", "full"):
                assert one["gain"] == one["half_width"] == 0
            else:
                found = told.loc[one["rule"], ["gain", "half_width"]].tolist()
                assert [one["gain"], one["half_width"]] == pytest.approx(found)


def test_the_nearest_says_more_of_a_rule_left_out_than_that_it_gains_nothing(tables):
    for table in tables.values():
        tried = [one for one in table["recorded"] if one["kind"] not in ("constant", "full")]
        assert table["error"] < 0.6 * math.sqrt(np.mean([one["gain"] ** 2 for one in tried]))


def test_what_the_page_is_handed_weighs_little(tables):
    assert len(gzip.compress(challenge.script(tables).encode())) < 60e3
