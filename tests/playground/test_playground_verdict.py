"""What the playground says about a rule, against scipy; and how its modules become one script."""

import gzip
import json
import re

import numpy as np
import playground_page
import pytest
from scipy import stats

from .node import ENGINE, node

MEANS = [(0, [7 / 3, 1]), (1, [7 / 3, 5 / 3]), (2, [2, 4 / 3]), (3, [4 / 3, 2])]
LINE = [{"epochs": 30, "accuracy": 0.9}, {"epochs": 10, "accuracy": 0.8}]


def run(epochs, accuracy):
    return {"epochs": epochs, "accuracy": accuracy}


def weighed(gain_of_seed, values=(0.0, 1.0), at=(), stops=()):
    """Two tolerances, on each seed so far above its line; lines differ by more than the gains."""
    lines = [[s, [run(p["epochs"], p["accuracy"] + s / 50) for p in LINE]] for s in range(5)]
    swept = [
        [epsilon, [[s, run(epochs, 0.85 + s / 50 + gain + extra)] for s, gain in gain_of_seed]]
        for epsilon, epochs, extra in ((0.1, 20, 0.01), (0.2, 20, -0.01))
    ]
    given = {"values": values, "line": LINE, "at": at, "swept": swept, "lines": lines}
    given["stops"] = stops
    return json.loads(node("weigh.mjs", ENGINE, **given))


def test_the_interval_is_students_and_the_line_is_straight_between_two_constants():
    values = [0.3, -0.1, 0.25, 0.4, 0.05]
    found = weighed([], values, at=[0, 10, 20, 25, 30, 99])
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    assert found["interval"]["mean"] == pytest.approx(np.mean(values))
    assert found["interval"]["half"] == pytest.approx(half, rel=1e-3)
    assert found["line"] == pytest.approx([0.8, 0.8, 0.85, 0.875, 0.9, 0.9])


@pytest.mark.parametrize(
    ("gain", "where"), [(0.02, "above"), (-0.02, "below"), (0.0, "on")], ids=["up", "down", "noise"]
)
def test_seeds_are_paired_with_their_own_lines_so_that_what_they_share_is_no_noise(gain, where):
    noise = [0.001, -0.002, 0.0, 0.002, -0.001]
    found = weighed([(seed, gain + noise[seed]) for seed in range(5)])
    assert found["gains"] == pytest.approx([gain + each for each in noise])
    assert f"Over 2 tolerances and 5 seeds the rule lies {where} the line" in found["verdict"]
    assert ("within noise" in found["verdict"]) == (where == "on")


def test_a_timetable_is_the_mean_of_the_other_seeds_to_the_next_check_and_leaves_the_last_out():
    found = weighed([], stops=[[0.5, 3, 10], [1, 1, 10], [2, 2, 10], [4, 0, 10]])
    assert found["timetables"] == [[s, pytest.approx(epochs)] for s, epochs in MEANS]


def test_what_looking_adds_to_its_timetable_is_paired_by_seed():
    found = weighed([(seed, 0.02) for seed in range(4)])
    added = [0.01, 0.03, 0.01, 0.03]
    half = stats.sem(added) * stats.t.ppf(0.975, 3)
    assert found["alone"] == (
        f"Its timetable alone, told by the other seeds: 0.0 ± {100 * half:.1f} points. "
        f"So looking added 2.0 ± {100 * half:.1f}."
    )


def test_one_run_is_within_noise_unless_it_lies_beyond_what_the_images_leave_uncertain():
    found = weighed([])
    shares = (np.array([0.95, 1]) * 360 + 2) / 364
    assert found["uncertain"] == pytest.approx(1.96 * np.sqrt(shares * (1 - shares) / 364))
    said = [
        re.search(r"gained (.+) ± ([\d.]+) points, (.+) with", each) for each in found["single"]
    ]
    assert [each[1] for each in said] == ["5.0", "0.0", "−15.0"]
    assert [each[3] for each in said] == [
        "more than the noise of one run",
        "within noise",
        "more than the noise of one run",
    ]
    for each in said:
        gain = abs(float(each[1].replace("−", "-")))
        assert (gain > float(each[2])) == each[3].startswith("more")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('import { b } from "./b.mjs";\nexport const a = b;\n', "in a circle: a > b > a"),
        ('import { c } from "./c.mjs";\nexport const a = c;\n', "a imports c, which c does not"),
    ],
)
def test_modules_that_cannot_be_joined_are_refused_in_one_line(tmp_path, text, complaint):
    (tmp_path / "a.mjs").write_text(text)
    (tmp_path / "b.mjs").write_text('import { a } from "./a.mjs";\nexport const b = 1;\n')
    (tmp_path / "c.mjs").write_text("const c = 1;\n")
    with pytest.raises(ValueError, match=complaint):
        playground_page.joined(tmp_path, "a")


def test_the_page_is_light_as_a_server_sends_it():
    """80 kB: more than half are the digits, and their deflated text does not pack any smaller."""
    picture = (playground_page.SOURCES / "picture.svg").read_bytes()
    sent = [gzip.compress(part) for part in (playground_page.script().encode(), picture)]
    assert sum(map(len, sent)) <= 80_000
