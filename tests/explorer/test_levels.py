"""The level chart: every level in its column, and nothing left out because it has no logarithm."""

import math

import pandas as pd
import pytest

from infcop_lite.explorer import knobs
from infcop_lite.explorer.levels import ROOM, draw_levels, panel

WIDTH = ROOM[1] - ROOM[0]


def drawn(epsilon, distances, epochs, seen=()):
    """The axes on which a run is drawn that checks each of its levels at its end alone."""
    run = pd.DataFrame({"level": range(len(epochs)), "epoch": epochs, "distance": distances})
    with knobs.style():
        _, ax = panel()
        draw_levels(run, epsilon, 4.0, len(epochs), ax, seen)
    return ax


def marks(ax):
    found = [line for line in ax.lines if line.get_marker() == "o" and len(line.get_xdata())]
    return [line for line in found if line.get_markersize() == 7]


def strips(ax):
    """Tick labels that are no numbers of the axis -> their height."""
    labels = [label.get_text() for label in ax.get_yticklabels()]
    named = dict(zip(labels, ax.get_yticks(), strict=True))
    return {name: named[name] for name in ("0", "none") if name in named}


def test_each_level_has_a_column_with_a_bar_as_long_as_its_training():
    lines = drawn(0.5, [0.4, 0.6, 0.1], [1.0, 4.0, 2.0]).lines
    feet = [line.get_xdata() for line in lines if line.get_linewidth() == 5]
    budgets, bars = feet[::2], feet[1::2]
    assert [start for start, _ in bars] == [level + ROOM[0] for level in range(3)]
    assert [b - a for a, b in bars] == pytest.approx([WIDTH / 4, WIDTH, WIDTH / 2])
    assert [b - a for a, b in budgets] == pytest.approx([WIDTH] * 3)


def test_every_mark_lies_within_the_column_whose_number_it_has():
    """Also at epoch 0, and at the end of the budget."""
    ax = drawn(0.5, [0.4, 0.6, 0.1], [0.0, 4.0, 2.0])
    for level, mark in enumerate(marks(ax)):
        assert level < mark.get_xdata()[0] < level + 1
    assert [tick - 0.5 for tick in ax.get_xticks()] == [0, 1, 2]


def test_a_mark_is_filled_where_the_tolerance_ended_a_level_but_for_the_last():
    ends = marks(drawn(0.5, [0.4, 0.6, 0.1], [1.0, 4.0, 4.0]))
    assert [mark.get_markerfacecolor() != "none" for mark in ends] == [True, False, False]
    assert [mark.get_ydata()[0] for mark in ends] == [0.4, 0.6, 0.1]


def test_a_distance_of_zero_and_none_at_all_have_a_mark_in_a_strip_of_their_own():
    ax = drawn(0.5, [0.0, 0.6, math.nan], [4.0, 4.0, 4.0])
    at = strips(ax)
    assert [mark.get_ydata()[0] for mark in marks(ax)] == [at["0"], 0.6, at["none"]]
    assert ax.get_ylim()[0] < at["none"] < at["0"] < 0.5


def test_an_axis_has_no_strip_for_what_none_of_its_runs_has():
    assert not strips(drawn(0.5, [0.4, 0.6], [4.0, 4.0]))
    assert strips(drawn(0.5, [0.4, 0.6], [4.0, 4.0], seen=[0.0])).keys() == {"0"}


def test_a_level_with_one_distance_among_checks_without_shows_it():
    run = pd.DataFrame(
        {"level": 0, "epoch": [0.0, 1.0, 2.0], "distance": [math.nan, 0.3, math.nan]}
    )
    with knobs.style():
        _, ax = panel()
        draw_levels(run, 0.5, 2.0, 1, ax)
    (dot,) = [line for line in ax.lines if line.get_marker() == "."]
    assert dot.get_ydata().tolist() == [0.3]


def test_the_axis_does_not_move_with_the_run_that_is_drawn():
    seen = [0.01, 3.0, 0.0, math.nan]
    first, second = (drawn(0.5, [x, 0.6], [4.0, 4.0], seen) for x in (0.02, 2.5))
    assert first.get_ylim() == second.get_ylim()
    assert first.get_yticks().tolist() == second.get_yticks().tolist()
