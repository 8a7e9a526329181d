"""The threshold explorer shows what the recorded rows say; a run of one's own can be stopped."""

import math
import re
import threading

import pandas as pd
import pytest

from infcop_lite import imp
from infcop_lite.config import Config
from infcop_lite.explorer import knobs, live
from infcop_lite.explorer.thresholds import CRITERIA, threshold_explorer

RULES = {  # rule -> epochs in levels 0 and 1 (level 2 is the last), final accuracy
    "full": (4.0, 4.0, 0.97),
    "k = 1": (1.0, 1.0, 0.95),
    "information 0.5, warmup": (1.0, 2.0, 0.96),
    "information 2, warmup": (1.0, 1.0, 0.94),
    "information 0.5, trained": (4.0, 1.0, 0.955),
    "gradient 0.5, warmup": (4.0, 3.0, 0.965),
    "mask 0.05": (2.0, 2.0, 0.945),
}
DISTANCES = {column: 1.0 for *_, column in CRITERIA.values()}


@pytest.fixture(scope="module")
def rows():
    found = []
    for rule, (*epochs, accuracy) in RULES.items():
        for seed in (0, 1):
            for level, end in enumerate([*epochs, 4.0]):
                for epoch in (0.5, end):
                    found.append(
                        DISTANCES
                        | {"rule": rule, "seed": seed, "level": level, "epoch": epoch}
                        | {"stopped": epoch == end, "density": 0.5**level, "overlap": 0.9}
                        | {"test_accuracy": accuracy + 0.001 * seed, "warmup_epochs": 2.0}
                        | {"information_warmup": 0.4 if epoch == end else 1.5}
                        | {"train_s": 1.0, "measure_s": 0.0, "validation_accuracy": 0.9}
                        | {"family": "fixed"}
                    )
    return pd.DataFrame(found)


def pictures(widget):
    if type(widget).__name__ == "HTML":
        return [widget.value]
    return [p for child in getattr(widget, "children", ()) for p in pictures(child)]


def test_every_tolerance_has_its_picture_with_its_own_numbers(rows):
    """2 epochs of warm-up, those of the levels, 4 of the last level."""
    found = {}
    for text in pictures(threshold_explorer(rows).widget):
        label = re.search(r'aria-label="([^"]*)"', text)[1]
        criterion, epsilon, epochs, saving, accuracy = re.match(
            r"([\w ,]+): ε = ([\d.]+): ([\d.]+) epochs instead of 14.0, ([\d.]+) times fewer. "
            r"Test accuracy ([\d.]+) ",
            label,
        ).groups()
        found[criterion, epsilon] = tuple(map(float, (epochs, saving, accuracy)))
    assert found == {
        ("information flow", "0.5"): (9.0, 1.6, 0.9605),
        ("information flow", "2"): (8.0, 1.8, 0.9405),
        ("information flow, trained reference", "0.5"): (11.0, 1.3, 0.9555),
        ("gradient flow", "0.5"): (13.0, 1.1, 0.9655),
        ("mask stability", "0.05"): (10.0, 1.4, 0.9455),
    }


def test_the_interval_is_students(rows):
    """Two seeds 0.001 apart: half of that times 12.706."""
    (text,) = [t for t in pictures(threshold_explorer(rows).widget) if "gradient flow: ε" in t]
    assert f"0.9655 ± {0.0005 * 12.706:.4f} instead of 0.9705 ±" in text
    assert "(2 seeds)" in text


def test_the_table_has_a_line_for_each_tolerance_and_one_for_full_retraining(rows):
    table = threshold_explorer(rows).table
    assert len(table) == 6
    full = table[table["ε"].isna()].iloc[0]
    assert (full["epochs"], full["saving"]) == (14.0, 1.0)
    assert full["accuracy"] == pytest.approx(0.9705)
    assert table["seed"].tolist() == [2] * 6


def test_axes_stay_where_they_are_while_the_knob_turns(rows):
    """Of one criterion: the same tick marks at the same places."""
    first, second = (
        re.findall(r"<text [^>]*>[\d.]+</text>", text)
        for text in pictures(threshold_explorer(rows).widget)
        if 'aria-label="information flow: ' in text
    )
    assert first == second


@pytest.mark.parametrize("without", ["full", "information|gradient|mask"])
def test_rows_without_a_grid_are_refused(rows, without):
    with pytest.raises(ValueError, match="no grid of tolerances, or no full retraining"):
        threshold_explorer(rows[~rows["rule"].str.match(without)])


def test_it_works_without_ipywidgets(rows, monkeypatch):
    monkeypatch.setattr(knobs, "ipywidgets", None)
    assert threshold_explorer(rows).plain.count("<svg ") == 4


class TestRunNow:
    CONFIG = Config(levels=2, epochs=2, warmup_epochs=1, fraction=0.5, threads=1)

    def controls(self, config=None):
        _, criterion, epsilon, buttons, bar, result = live.run_now(config or self.CONFIG).children
        return criterion, epsilon, *buttons.children, bar, result

    def finish(self):
        for thread in threading.enumerate():
            if thread is not threading.main_thread() and "work" in thread.name:
                thread.join(60)

    @pytest.mark.parametrize("criterion", CRITERIA)
    def test_it_runs_what_the_reader_asks_for(self, criterion, monkeypatch):
        monkeypatch.delenv("INFCOP_STATIC_PAGE", raising=False)
        asked = []
        monkeypatch.setattr(live, "run_imp", lambda c: asked.append(c) or imp.run_imp(c))
        choice, epsilon, start, cancel, bar, result = self.controls()
        choice.value, epsilon.value = criterion, 0.3
        start.click()
        self.finish()
        (config,) = asked
        assert (config.stop, config.epsilon) == (CRITERIA[criterion][0], 0.3)
        assert config.reference == (CRITERIA[criterion][1] or "warmup")
        rows = list(imp.run_imp(config))
        epochs = 1 + sum(row.epoch for row in rows if row.stopped)
        assert f"ε = 0.3: {epochs:.1f} epochs instead of 7.0" in result.value
        assert f"{rows[-1].test_accuracy:.4f}" in result.value
        assert "<svg " in result.value
        assert (bar.value, start.disabled, cancel.disabled) == (1.0, False, True)

    def test_it_can_be_cancelled_and_started_again(self, monkeypatch):
        monkeypatch.delenv("INFCOP_STATIC_PAGE", raising=False)
        going, go_on = threading.Event(), threading.Event()

        def slow(config):
            for row in imp.run_imp(config):
                going.set()
                go_on.wait(60)
                yield row

        monkeypatch.setattr(live, "run_imp", slow)
        _, _, start, cancel, bar, result = self.controls()
        start.click()
        assert going.wait(60)
        assert (start.disabled, cancel.disabled) == (True, False)
        cancel.click()
        go_on.set()
        self.finish()
        assert result.value == "<p>Cancelled.</p>"
        assert bar.value < 1
        assert not start.disabled
        start.click()
        self.finish()
        assert "<svg " in result.value

    @pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf])
    def test_a_tolerance_that_is_none_gets_one_clear_line(self, epsilon):
        _, tolerance, start, *_, result = self.controls()
        tolerance.value = epsilon
        start.click()
        assert "epsilon must be" in result.value
        assert not start.disabled

    def test_a_run_that_fails_says_why(self, monkeypatch):
        monkeypatch.setenv("INFCOP_DATA_DIR", "/nowhere/at/all")
        *_, start, _, _, result = self.controls(Config(data="mnist", levels=1))
        start.click()
        self.finish()
        assert re.search(r"<p>[^<]*mnist[^<]*</p>", result.value, re.I)
        assert not start.disabled

    def test_in_a_page_without_a_kernel_every_control_is_off_and_says_why(self, monkeypatch):
        monkeypatch.setenv("INFCOP_STATIC_PAGE", "1")
        *controls, _, result = self.controls()
        assert all(control.disabled for control in controls)
        assert "Needs a kernel" in result.value

    def test_without_ipywidgets_it_says_so(self, monkeypatch):
        monkeypatch.setattr(live, "ipywidgets", None)
        assert "Needs ipywidgets" in live.run_now(self.CONFIG).data
