"""Several rules on shared levels: what each comes to alone, for less training."""

import math
from dataclasses import replace

import pytest
import torch

from infcop_lite import loop
from infcop_lite.config import Config
from infcop_lite.level import Trainer
from infcop_lite.loop import compare, run_imp
from infcop_lite.stopping import FixedEpochs, Schedule

BASE = Config(
    subset=300,
    levels=9,
    fraction=0.4,
    final_density=0.2,
    epochs=4,
    final_epochs=2,
    warmup_epochs=1,
    check_steps=1,
    last_schedule="linear",
    threads=1,
    monitor=False,
)
RULES = {
    "full": {},
    "none": {"stop": FixedEpochs(0)},
    "half": {"stop": FixedEpochs(0.5)},
    "late": {"stop": Schedule((0, 1, 3))},
    "accuracy": {"stop": "accuracy"},
    "trained accuracy": {"stop": "accuracy", "reference": "trained"},
    "information": {"stop": "information", "epsilon": 0.2},
    "trained information": {"stop": "information", "epsilon": 0.6, "reference": "trained"},
    "absolute": {"stop": "information", "epsilon": 0.03, "absolute": True},
    "loss": {"stop": "loss"},
    "twice": {"stop": "twice-loss"},
    "gradient": {"stop": "gradient", "epsilon": 0.4},
    "small gradient": {"stop": "small-gradient", "epsilon": 0.4},
    "mask": {"stop": "mask", "epsilon": 0.05, "patience": 1},
    "patience": {"stop": "patience", "patience": 3},
    "any": {"stop": "information+accuracy", "epsilon": 0.2},
}


def configs(**changes):
    return {name: replace(BASE, **changes, **rule) for name, rule in RULES.items()}


@pytest.mark.parametrize("spacing", ["even", "doubling"])
def test_each_rule_comes_to_what_it_comes_to_alone(spacing):
    runs = configs(spacing=spacing)
    results = {result.rule: result for result in compare(runs, "full")}
    assert set(results) == set(runs)
    assert len({tuple(s.epoch for s in r.stops if s.stopped) for r in results.values()}) >= 7
    for name, result in results.items():
        alone = [row for row in run_imp(runs[name]) if row.stopped]
        shared = [stop for stop in result.stops if stop.stopped]
        for field in ("level", "epoch", "density", "validation_accuracy", "test_accuracy"):
            assert [getattr(row, field) for row in alone] == [getattr(s, field) for s in shared]


def test_levels_that_begin_alike_are_trained_once(monkeypatch):
    trained = []
    original = Trainer.train_level

    def counted(self, level, *rest):
        trained.append(level)
        return original(self, level, *rest)

    monkeypatch.setattr(Trainer, "train_level", counted)
    results = list(compare(configs(), "full"))
    paths = [tuple(s.epoch for s in r.stops if s.stopped) for r in results]
    for level in range(len(paths[0])):
        assert trained.count(level) == len({path[:level] for path in paths})


def test_the_watched_rule_comes_first_and_keeps_every_check():
    runs = configs()
    first, *others = compare(dict(reversed(runs.items())), "full")
    alone = list(run_imp(runs["full"]))
    assert first.rule == "full"
    assert [(s.level, s.epoch) for s in first.stops] == [(r.level, r.epoch) for r in alone]
    assert all(s.stopped for result in others for s in result.stops)


def test_every_check_of_all_rules_can_be_kept():
    """They are those of the rule alone, and the ends of the levels stay what they are."""
    few = {name: rule for name, rule in configs().items() if name in ("full", "mask", "gradient")}
    ends = {result.rule: result.stops for result in compare(few)}
    for result in compare(few, every_check=True):
        alone = [(row.level, row.epoch, row.stopped) for row in run_imp(few[result.rule])]
        assert [(s.level, s.epoch, s.stopped) for s in result.stops] == alone
        assert all(math.isfinite(stop.gradient_warmup) for stop in result.stops)
        last = [(stop.level, stop.test_accuracy) for stop in result.stops if stop.stopped]
        assert last == [(stop.level, stop.test_accuracy) for stop in ends[result.rule]]


def test_overlap_counts_the_weights_that_full_retraining_also_kept():
    results = {r.rule: r for r in compare(configs(), "full")}
    full = torch.cat([m.flatten() for m in results["full"].masks.values()])
    for result in results.values():
        kept = torch.cat([m.flatten() for m in result.masks.values()])
        expected = (kept & full).sum() / full.sum()
        assert result.stops[-1].overlap == pytest.approx(float(expected))
    assert results["full"].stops[-1].overlap == 1
    assert results["none"].stops[-1].overlap < 1
    (again,) = compare({"none": configs()["none"]}, "full", results["full"].masks)
    assert again.stops[-1].overlap == results["none"].stops[-1].overlap


def test_masks_close_in_on_the_mask_after_the_whole_budget():
    runs = {"full": configs(spacing="doubling")["full"]}
    (full,) = compare(runs, "full")
    levels = {s.level for s in full.stops[:-1]}
    for level in list(levels)[:-1]:
        to_end = [s.to_end for s in full.stops if s.level == level]
        assert to_end[-1] == 0 < to_end[0]


def test_all_is_measured_where_a_rule_stops():
    for result in compare(configs(), "full"):
        for stop in result.stops:
            assert 0 <= stop.validation_accuracy <= 1
            assert stop.gradient_norm > 0
            assert min(stop.information_warmup, stop.gradient_warmup) >= 0
            assert stop.stopped == (not math.isnan(stop.test_accuracy))


def test_only_what_a_rule_reads_is_charged_to_it():
    results = {r.rule: r for r in compare(configs(), "full")}
    assert all(s.measure_s == 0 for s in results["half"].stops + results["full"].stops)
    assert sum(s.measure_s for s in results["information"].stops) > 0


def test_configs_that_differ_in_more_than_the_rule_are_refused():
    with pytest.raises(ValueError, match="b differs in more than its stop rule"):
        list(compare({"a": BASE, "b": replace(BASE, lr=0.1)}))
    with pytest.raises(ValueError, match="no configs"):
        list(compare({}))


def test_what_may_differ_are_fields_of_a_config():
    assert set(loop.MAY_DIFFER) <= set(Config.__dataclass_fields__)
