"""The threshold explorer shows what the recorded rows say; a run of one's own can be stopped."""

import copy
import math
import re
import threading
from dataclasses import replace

import pandas as pd
import pytest
import torch

from infcop_lite import data, labels, run_imp
from infcop_lite.config import Config
from infcop_lite.explorer import knobs, live, thresholds
from infcop_lite.explorer.thresholds import CRITERIA, threshold_explorer
from infcop_lite.level import Trainer

RULES = {  # rule -> epochs in levels 0 and 1 (level 2 is the last), final accuracy
    "full": (4.0, 4.0, 0.97),
    "k = 1": (1.0, 1.0, 0.95),
    "k = 2": (2.0, 2.0, 0.955),
    "information 0.5, warmup": (1.0, 2.0, 0.96),
    "information 2, warmup": (1.0, 1.0, 0.94),
    "information 0.5, trained": (4.0, 1.0, 0.955),
    "gradient 0.5, warmup": (4.0, 3.0, 0.965),
    "mask 0.05": (2.0, 2.0, 0.945),
}
WHAT = {
    rule: labels.from_setting(f"stop={setting}", 4.0)
    for rule, setting in {
        "full": "budget",
        "k = 1": "FixedEpochs(n=1)",
        "k = 2": "FixedEpochs(n=2)",
        "information 0.5, warmup": "information epsilon=0.5",
        "information 2, warmup": "information epsilon=2.0",
        "information 0.5, trained": "information epsilon=0.5 reference=trained",
        "gradient 0.5, warmup": "gradient epsilon=0.5",
        "mask 0.05": "mask epsilon=0.05 patience=1",
    }.items()
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
                        | WHAT[rule]
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


@pytest.fixture(scope="module")
def explorer(rows):
    return threshold_explorer(rows)


@pytest.fixture(scope="module")
def table(explorer):
    return explorer.table


def test_every_tolerance_has_its_picture_with_its_own_numbers(explorer):
    """2 epochs of warm-up, those of the levels, 4 of the last level."""
    found = {}
    for text in pictures(explorer.widget):
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
        ("gradient profile", "0.5"): (13.0, 1.1, 0.9655),
        ("mask stability", "0.05"): (10.0, 1.4, 0.9455),
    }


def test_the_alternative_tells_where_the_levels_stop(rows):
    text = drawing(rows)("gradient profile", 0.5)
    assert "The levels drawn train 4, 3, 4 epochs." in text


def test_the_interval_is_students(rows):
    """Two seeds 0.001 apart: half of that times 12.706."""
    text = drawing(rows)("gradient profile", 0.5)
    assert f"0.9655 ± {0.0005 * 12.706:.4f} instead of 0.9705 ±" in text
    assert "(2 seeds)" in text


def test_the_table_has_a_line_for_each_tolerance_and_one_for_full_retraining(table):
    assert len(table) == 6
    full = table[table["ε"].isna()].iloc[0]
    assert (full["epochs"], full["saving"]) == (14.0, 1.0)
    assert full["accuracy"] == pytest.approx(0.9705)
    assert table["seed"].tolist() == [2] * 6


def test_the_table_tells_where_each_level_of_the_run_that_is_drawn_stopped(table):
    table = table.set_index(["criterion", "ε"])
    for criterion, rule, distance in (
        ("information flow", "information 0.5, warmup", "0.4"),
        ("gradient profile", "gradient 0.5, warmup", "1"),
    ):
        told = table.loc[(criterion, 0.5)]
        assert told["epochs of each level"] == ", ".join(f"{x:g}" for x in (*RULES[rule][:2], 4))
        assert told["distances at their ends"] == ", ".join([distance] * 3)


def drawing(rows):
    """What draws one setting, with nothing drawn yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "explore", lambda draw, *knobs, **others: draw)
        return threshold_explorer(rows)


def verdict(rows, criterion, epsilon=0.5):
    """What the picture of a setting says after its numbers."""
    text = drawing(rows)(criterion, epsilon)
    return re.sub("<.*?>", "", re.search(r"seeds?\)\. (.*?)</p>", text)[1])


def with_noise(rows, rule):
    """A seed of that rule ends 0.02 lower."""
    is_one = (rows["rule"] == rule) & (rows["seed"] == 1)
    return rows.assign(test_accuracy=rows["test_accuracy"] - 0.02 * is_one)


class TestVerdict:
    def test_a_rule_below_a_constant_that_costs_the_same_is_told_so(self, rows):
        """It trains 2 epochs in each level, as k = 2 does, which ends at 0.955 and 0.956."""
        assert verdict(rows, "mask stability", 0.05) == (
            "A fixed number of epochs of the same cost: 0.9555; "
            "looking bought −1.00 ± 0.00 points, below the line."
        )

    def test_between_two_constants_the_line_is_that_of_the_evidence(self, rows):
        """1 + 2 epochs lie between k = 1 and k = 2, as logarithms of one more."""
        share = math.log(4 / 3) / math.log(5 / 3)
        constant = 0.9505 + 0.005 * share
        assert verdict(rows, "information flow") == (
            f"A fixed number of epochs of the same cost: {constant:.4f}; "
            f"looking bought +{100 * (0.9605 - constant):.2f} ± 0.00 points, above the line."
        )

    def test_full_retraining_is_the_last_constant(self, rows):
        """4 + 3 epochs, more than any other constant takes."""
        share = math.log(8 / 5) / math.log(9 / 5)
        constant = 0.9555 + 0.015 * share
        assert f"of the same cost: {constant:.4f};" in verdict(rows, "gradient profile")

    def test_a_difference_within_its_interval_is_called_noise(self, rows):
        """Gains of -1 and -3 points: their mean's interval is 12.706 points to either side."""
        said = verdict(with_noise(rows, "mask 0.05"), "mask stability", 0.05)
        assert "looking bought −2.00 ± 12.71 points, on the line, within noise." in said

    def test_one_seed_is_no_verdict(self, rows):
        said = verdict(rows[rows["seed"] == 0], "mask stability", 0.05)
        assert said.endswith("bought −1.00 points, which one seed cannot tell from noise.")

    def test_seeds_without_a_control_are_not_counted_in_silence(self, rows):
        rows = rows[~((rows["kind"] == "constant") & (rows["seed"] == 1))]
        assert verdict(rows, "mask stability", 0.05).endswith("noise (1 of 2 seeds).")

    def test_without_constants_there_is_no_verdict(self, rows):
        said = verdict(rows[rows["kind"] != "constant"], "mask stability", 0.05)
        assert said.strip() == "No fixed number of epochs of the same cost is among these runs."

    def test_the_table_says_the_same(self, table):
        line = table.set_index("criterion").loc["mask stability"]
        assert line["constant k"] == pytest.approx(0.9555)
        assert line["bought"] == pytest.approx(-0.01)
        assert line["± of bought"] == pytest.approx(0, abs=1e-12)


def figures(rows, monkeypatch):
    """(level chart, final networks) of every setting."""
    seen = []
    monkeypatch.setattr(thresholds, "as_svg", lambda figure, alt: seen.append(figure) or "")
    threshold_explorer(rows)
    return list(zip(seen[::2], seen[1::2], strict=True))


def test_the_line_of_constants_reaches_full_retraining(rows, monkeypatch):
    for _, networks in figures(rows, monkeypatch):
        (line,) = [x for x in networks.axes[0].lines if x.get_linestyle() == "--"]
        ends = [(x.item(), y.item()) for x, y in line.get_xydata()[[0, -1]]]
        assert ends == [pytest.approx((8.0, 0.9505)), pytest.approx((14.0, 0.9705))]


@pytest.mark.parametrize("epsilon", [0.01, 100.0])
def test_every_interval_and_every_tolerance_lies_within_its_axes(rows, epsilon, monkeypatch):
    is_gradient = rows["rule"] == "gradient 0.5, warmup"
    rows = rows.assign(epsilon=rows["epsilon"].mask(is_gradient, epsilon))
    for levels, networks in figures(rows, monkeypatch):
        above, below = levels.axes[0], networks.axes[0]
        dashed = [line.get_ydata()[0] for line in above.lines if line.get_linestyle() == "--"]
        ends = [y for bars in below.collections for line in bars.get_segments() for _, y in line]
        for ax, values in ((above, dashed), (below, ends)):
            assert values
            assert ax.get_ylim()[0] < min(values)
            assert max(values) < ax.get_ylim()[1]


def test_axes_stay_where_they_are_while_the_knob_turns(explorer):
    """Of one criterion: the same tick marks at the same places."""
    first, second = (
        re.findall(r"<text [^>]*>[\d.]+</text>", text)
        for text in pictures(explorer.widget)
        if 'aria-label="information flow: ' in text
    )
    assert first == second


@pytest.mark.parametrize("without", [["full"], ["flow", "mask"]])
def test_rows_without_a_grid_are_refused(rows, without):
    with pytest.raises(ValueError, match="no grid of tolerances, or no full retraining"):
        threshold_explorer(rows[~rows["kind"].isin(without)])


def test_what_a_rule_is_called_does_not_matter(rows, explorer):
    """Its columns say what it is; an absolute tolerance is not one of these."""
    renamed = rows.assign(rule="rule " + rows["rule"].map(list(RULES).index).astype(str))
    assert pictures(threshold_explorer(renamed).widget) == pictures(explorer.widget)
    absolute = rows.assign(absolute=rows["rule"] == "gradient 0.5, warmup")
    text = "".join(pictures(threshold_explorer(absolute).widget))
    assert "gradient profile: ε" not in text


def test_rows_of_no_known_kind_are_refused(rows):
    with pytest.raises(ValueError, match="unknown kind 'flux' of rule"):
        threshold_explorer(rows.replace({"kind": {"flow": "flux"}}))


def test_it_works_without_ipywidgets(rows, monkeypatch):
    monkeypatch.setattr(knobs, "ipywidgets", None)
    assert threshold_explorer(rows).plain.count("<svg ") == 8


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
        monkeypatch.setattr(live, "run", lambda c, trainer: asked.append(c) or run_imp(c))
        choice, epsilon, start, cancel, bar, result = self.controls()
        choice.value, epsilon.value = criterion, 0.3
        start.click()
        self.finish()
        (config,) = asked
        assert (config.stop, config.epsilon) == (CRITERIA[criterion][0], 0.3)
        assert config.reference == (CRITERIA[criterion][1] or "warmup")
        rows = list(run_imp(config))
        epochs = 1 + sum(row.epoch for row in rows if row.stopped)
        assert f"ε = 0.3: {epochs:.1f} epochs instead of 7.0" in result.value
        assert f"{rows[-1].test_accuracy:.4f}" in result.value
        assert "<svg " in result.value
        assert (bar.value, start.disabled, cancel.disabled) == (1.0, False, True)

    def test_it_runs_on_a_network_and_data_of_the_reader_s_own(self, monkeypatch):
        monkeypatch.delenv("INFCOP_STATIC_PAGE", raising=False)
        torch.manual_seed(0)
        inputs = torch.randn(60, 4)
        mine = data.as_split((inputs, (inputs[:, 0] > 0).long()))
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        weights = copy.deepcopy(net.state_dict())
        config = replace(self.CONFIG, data="custom", model="mine")
        box = live.run_now(config, lambda c: Trainer(copy.deepcopy(net), mine, mine, None, c))
        assert "custom (mine)" in box.children[0].value
        for _ in range(2):  # the network is as fresh the second time
            box.children[3].children[0].click()
            self.finish()
            assert "Accuracy on the validation data" in box.children[-1].value
        assert all(torch.equal(net.state_dict()[name], w) for name, w in weights.items())

    def test_its_bar_fills_check_by_check_and_never_goes_back(self, monkeypatch):
        monkeypatch.delenv("INFCOP_STATIC_PAGE", raising=False)
        _, _, start, _, bar, _ = self.controls()
        seen = []
        bar.observe(lambda change: seen.append(change["new"]), "value")
        start.click()
        self.finish()
        assert seen == sorted(set(seen))
        assert len(seen) >= 5  # 3 levels, each checked after every epoch
        assert 0 < seen[0] < 0.4
        assert seen[-1] == 1

    def test_it_can_be_cancelled_and_started_again(self, monkeypatch):
        monkeypatch.delenv("INFCOP_STATIC_PAGE", raising=False)
        going, go_on = threading.Event(), threading.Event()

        def slow(config, trainer):
            for row in run_imp(config, trainer=trainer):
                going.set()
                go_on.wait(60)
                yield row

        monkeypatch.setattr(live, "run", slow)
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

    @pytest.mark.parametrize("error", [RuntimeError("CUDA <out> of memory"), KeyError()])
    def test_it_survives_whatever_a_network_of_ones_own_raises(self, error, monkeypatch):
        monkeypatch.delenv("INFCOP_STATIC_PAGE", raising=False)

        def broken(_):
            raise error

        box = live.run_now(self.CONFIG, broken)
        start, cancel = box.children[3].children
        start.click()
        self.finish()
        assert (start.disabled, cancel.disabled) == (False, True)
        wanted = "CUDA &lt;out&gt; of memory" if str(error) else "KeyError"
        assert box.children[-1].value == f"<p>{wanted}</p>"

    @pytest.mark.parametrize("address", ["https://colab.example/a.ipynb", "1"])
    def test_a_page_without_a_kernel_says_what_it_would_do_and_leads_there(
        self, monkeypatch, address
    ):
        monkeypatch.setenv("INFCOP_STATIC_PAGE", address)
        said = live.run_now(self.CONFIG).data
        assert "It prunes digits (mlp) with them, in 2 levels of at most 2 epochs" in said
        assert (
            ("<a " in said) == (f'href="{address}">Open in Colab</a>' in said) == (address != "1")
        )
        assert "<input" not in said

    def test_without_ipywidgets_it_says_so(self, monkeypatch):
        monkeypatch.setattr(live, "ipywidgets", None)
        assert "Needs ipywidgets" in live.run_now(self.CONFIG).data
