"""Figures: the right numbers under the right names, legible, and one clear line when impossible."""

import math

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from infcop_lite import figures

LEVELS = 4
PLOTS = [figures.accuracy_against_density, figures.epochs_per_level]
ALL = [*PLOTS, figures.flow_distance]


@pytest.fixture(autouse=True)
def no_figure_is_left_behind():
    with mpl.rc_context(), plt.style.context("default"):
        plt.switch_backend("agg")
        yield
        plt.close("all")


def a_run(stop="budget", epsilon=math.nan, seed=0, num_levels=LEVELS, epochs=2, lift=0.0):
    """Return the rows of one made-up run; every number can be told from where it stands."""
    return pd.DataFrame(
        {
            "stop": stop,
            "absolute": False,
            "epsilon": epsilon,
            "seed": seed,
            "level": level,
            "epoch": float(epoch),
            "density": 0.8**level,
            "test_accuracy": math.nan if epoch < epochs else 0.9 - 0.01 * level + lift,
            "flow_distance": 0.1 * level + 0.01 * epoch,
            "reference_norm": 0.5,
            "stopped": epoch == epochs,
        }
        for level in range(num_levels)
        for epoch in range(epochs + 1)
    )


def drawn(ax):
    """Return the drawn lines as {label: (x, y)}, in the legend's words."""
    handles, labels = ax.get_legend_handles_labels()
    colours = {to_rgb(handle.get_color()): label for handle, label in zip(handles, labels)}  # noqa: B905
    lines = [line for line in ax.get_lines() if len(line.get_xdata())]
    return {colours[to_rgb(line.get_color())]: line.get_xydata().T for line in lines}


def band_at_level_0(ax):
    """Return the height of the confidence band at density 1."""
    vertices = ax.collections[0].get_paths()[0].vertices
    return float(np.ptp(vertices[vertices[:, 0] == 1.0, 1]))


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_accuracy_is_drawn_against_density_where_levels_end():
    ax = figures.accuracy_against_density(a_run())
    x, y = drawn(ax)["budget"]
    assert sorted(zip(x, y, strict=True), reverse=True) == [
        (0.8**level, pytest.approx(0.9 - 0.01 * level)) for level in range(LEVELS)
    ]


def test_density_falls_from_left_to_right_on_a_logarithmic_axis():
    ax = figures.accuracy_against_density(a_run())
    assert ax.get_xscale() == "log"
    left, right = ax.get_xlim()
    assert left > 1.0 > 0.8 ** (LEVELS - 1) > right


def test_density_ticks_are_densities_of_the_run_written_in_full():
    ax = figures.accuracy_against_density(a_run(num_levels=15))
    ticks, texts = ax.get_xticks(), [label.get_text() for label in ax.get_xticklabels()]
    assert 2 < len(ticks) <= 8
    assert texts == [f"{tick:.2g}" for tick in ticks]
    assert {round(math.log(tick, 0.8), 9) for tick in ticks} <= set(range(15))


def test_epochs_are_drawn_for_every_level():
    ax = figures.epochs_per_level(a_run(epochs=3))
    x, y = drawn(ax)["budget"]
    assert (list(x), list(y)) == ([0, 1, 2, 3], [3, 3, 3, 3])
    assert ax.get_ylim()[0] == 0


def test_levels_are_ticked_in_whole_numbers():
    for num_levels in (1, 2, 4, 15):
        ax = figures.epochs_per_level(a_run(num_levels=num_levels))
        assert all(float(tick).is_integer() for tick in ax.get_xticks())


def test_flow_distance_is_drawn_in_units_of_the_reference_one_line_per_level():
    ax = figures.flow_distance(a_run())
    lines = [line.get_xydata().T for line in ax.get_lines() if len(line.get_xdata())]
    assert len(lines) == LEVELS
    for level, (x, y) in enumerate(sorted(lines, key=lambda line: line[1][0])):
        assert list(x) == [0, 1, 2]
        assert y == pytest.approx([(0.1 * level + 0.01 * epoch) / 0.5 for epoch in range(3)])
    assert ax.get_ylim()[0] == 0
    assert ax.get_legend().get_title().get_text() == "level"


def test_a_tolerance_is_drawn_as_a_named_line():
    ax = figures.flow_distance(a_run(), epsilon=0.25)
    line = next(line for line in ax.get_lines() if line.get_label() == "ε = 0.25")
    assert set(line.get_ydata()) == {0.25}
    assert "ε = 0.25" in legend_texts(ax)
    assert "ε = 0.25" not in legend_texts(figures.flow_distance(a_run()))


def test_each_rule_has_a_line_a_colour_and_a_marker_of_its_own():
    rows = pd.concat(
        [
            a_run("budget"),
            a_run("information", 0.25, lift=0.01),
            a_run("information", 0.5, lift=0.02),
        ]
    )
    for plot in PLOTS:
        ax = plot(rows)
        assert legend_texts(ax) == ["budget", "information, ε = 0.25", "information, ε = 0.5"]
        handles = ax.get_legend_handles_labels()[0]
        assert len({str(handle.get_color()) for handle in handles}) == 3
        assert len({str(handle.get_marker()) for handle in handles}) == 3
    curves = drawn(figures.accuracy_against_density(rows))
    for name, lift in {
        "budget": 0,
        "information, ε = 0.25": 0.01,
        "information, ε = 0.5": 0.02,
    }.items():
        assert max(curves[name][1]) == pytest.approx(0.9 + lift)


def test_seeds_of_one_rule_are_one_line_of_means_with_a_band():
    rows = pd.concat([a_run(seed=seed, lift=0.01 * seed) for seed in range(3)], ignore_index=True)
    ax = figures.accuracy_against_density(rows)
    assert legend_texts(ax) == ["budget"]
    assert max(drawn(ax)["budget"][1]) == pytest.approx(0.9 + 0.01)
    assert band_at_level_0(ax) == pytest.approx(0.02, abs=0.01)
    alone = figures.accuracy_against_density(a_run())
    assert not any(band.get_paths() for band in alone.collections)  # one seed has no band


def test_the_band_is_drawn_the_same_every_time():
    rows = pd.concat([a_run(seed=seed, lift=0.01 * math.sin(seed)) for seed in range(12)])
    bands = []
    for global_seed in range(2):
        np.random.seed(global_seed)  # noqa: NPY002 - what must have no say
        bands.append(figures.accuracy_against_density(rows).collections[0].get_paths()[0].vertices)
    assert np.array_equal(*bands)


def test_a_column_named_rule_names_the_lines():
    rows = pd.concat([a_run().assign(rule="as published"), a_run().assign(rule="ours")])
    for plot in PLOTS:
        assert legend_texts(plot(rows)) == ["as published", "ours"]


@pytest.mark.parametrize(
    ("stop", "epsilon", "label"),
    [
        ("mask", 0.001, "mask, ε = 0.001"),
        ("budget", math.nan, "budget"),
        ("budget", None, "budget"),
        ("gradient", 1.0, "gradient, ε = 1"),
    ],
)
def test_a_rule_is_called_by_its_name_and_tolerance(stop, epsilon, label):
    assert figures.rule_label(stop, epsilon) == label


def test_an_absolute_tolerance_is_told_from_a_relative_one():
    relative = a_run("information", 0.25)
    absolute = relative.assign(absolute=True)
    rows = pd.concat([relative, absolute])
    labels = legend_texts(figures.accuracy_against_density(rows))
    assert len(labels) == 2
    assert labels[1] == f"{labels[0]} absolute"


@pytest.mark.parametrize("plot", ALL)
def test_a_figure_is_an_axes_with_named_axes_and_a_filled_legend(plot):
    ax = plot(a_run())
    assert isinstance(ax, Axes)
    assert len(ax.get_xlabel()) > 3
    assert len(ax.get_ylabel()) > 3
    assert all(legend_texts(ax))
    assert len(legend_texts(ax)) > 0


@pytest.mark.parametrize("plot", ALL)
def test_a_figure_goes_where_it_is_told(plot):
    _, (left, right) = plt.subplots(1, 2)
    assert plot(a_run(), ax=right) is right
    assert not left.has_data()
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("plot", ALL)
def test_a_figure_of_its_own_is_white_wide_and_legible(plot):
    ax = plot(a_run())
    ax.figure.canvas.draw()  # anything that does not fit warns, and a warning is an error here
    assert tuple(ax.figure.get_size_inches()) == (6.4, 3.8)
    assert to_rgb(ax.get_facecolor()) == to_rgb(ax.figure.get_facecolor()) == (1, 1, 1)
    texts = [ax.xaxis.label, ax.yaxis.label, *ax.get_legend().get_texts(), *ax.get_xticklabels()]
    assert min(text.get_fontsize() for text in texts) >= 9


@pytest.mark.parametrize("plot", ALL)
def test_drawing_leaves_the_style_and_the_rows_as_they_were(plot):
    rows, style = a_run(), dict(mpl.rcParams)
    before = rows.copy()
    plot(rows)
    pd.testing.assert_frame_equal(rows, before)
    assert dict(mpl.rcParams) == style


@pytest.mark.parametrize("plot", ALL)
def test_one_level_is_enough_to_draw(plot):
    ax = plot(a_run(num_levels=1))
    ax.figure.canvas.draw()
    assert ax.has_data()


def test_as_many_rules_as_there_are_can_be_told_apart():
    rows = pd.concat([a_run(f"rule {i}", 0.1 * (i + 1)) for i in range(12)])
    ax = figures.epochs_per_level(rows)
    handles = ax.get_legend_handles_labels()[0]
    assert len({(str(h.get_color()), str(h.get_marker())) for h in handles}) == 12


def test_rows_without_a_reference_are_left_out_of_the_distances():
    rows = a_run()
    rows.loc[rows["level"] == 0, ["flow_distance", "reference_norm"]] = math.nan
    ax = figures.flow_distance(rows)
    assert len([line for line in ax.get_lines() if len(line.get_xdata())]) == LEVELS - 1
    assert "0" not in legend_texts(ax)


@pytest.mark.parametrize("plot", PLOTS)
def test_levels_that_have_not_ended_cannot_be_drawn(plot):
    rows = a_run().assign(stopped=False)
    for unfinished in (rows, rows.iloc[:0]):
        with pytest.raises(ValueError, match="no level has ended"):
            plot(unfinished)


@pytest.mark.parametrize("plot", PLOTS)
def test_the_last_level_of_an_unfinished_run_is_left_out(plot):
    ax = plot(a_run().iloc[:-1])
    assert len(drawn(ax)["budget"][0]) == LEVELS - 1


def test_rows_without_distances_cannot_be_drawn():
    rows = a_run().assign(flow_distance=math.nan)
    for nothing in (rows, rows.iloc[:0]):
        with pytest.raises(ValueError, match="no flow distance"):
            figures.flow_distance(nothing)


def test_rows_without_test_accuracies_cannot_be_drawn():
    with pytest.raises(ValueError, match="no test accuracy"):
        figures.accuracy_against_density(a_run().assign(test_accuracy=math.nan))


@pytest.mark.parametrize(
    ("plot", "column"),
    [
        (figures.accuracy_against_density, "density"),
        (figures.accuracy_against_density, "test_accuracy"),
        (figures.accuracy_against_density, "stopped"),
        (figures.accuracy_against_density, "epsilon"),
        (figures.epochs_per_level, "level"),
        (figures.epochs_per_level, "epoch"),
        (figures.epochs_per_level, "stop"),
        (figures.flow_distance, "flow_distance"),
        (figures.flow_distance, "reference_norm"),
        (figures.flow_distance, "level"),
    ],
)
def test_a_missing_column_is_named(plot, column):
    with pytest.raises(ValueError, match=rf"no column.*\b{column}\b"):
        plot(a_run().drop(columns=column))
    assert not plt.get_fignums()  # no empty figure is left on the page


@pytest.mark.parametrize("plot", PLOTS)
def test_a_failed_figure_leaves_no_empty_one(plot):
    with pytest.raises(ValueError, match="no level has ended"):
        plot(a_run().assign(stopped=False))
    assert not plt.get_fignums()
