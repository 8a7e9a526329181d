"""What our tests would notice: the list of mutants is up to date, survivors have their tests."""

import copy
from pathlib import Path

import mutants
import numpy as np
import pytest
import torch
from test_evidence import CURVE, runs
from torch import nn

from infcop_lite import data, evidence
from infcop_lite.config import Config
from infcop_lite.drawing import drawn_masks
from infcop_lite.explorer import history
from infcop_lite.identity import identity_of_own
from infcop_lite.level import Trainer
from infcop_lite.masks import full_masks
from infcop_lite.measured import Measured
from infcop_lite.recording import _overlap, describe
from infcop_lite.stopping import FixedEpochs, Patience
from infcop_lite.training import seed_of
from infcop_lite.tree import _Branch

ALL = mutants.read()

# --- the list ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_what_a_mutant_changes_is_there_once_and_its_tests_are_there(name):
    mutant = ALL[name]
    assert set(mutant) == {"file", "old", "new", "test"}
    text = (mutants.ROOT / mutant["file"]).read_text("utf-8")
    assert mutants.mutated(text, mutant) != text
    compile(mutants.mutated(text, mutant), mutant["file"], "exec")
    for test in mutant["test"].split():
        path, _, function = test.partition("::")
        assert f"def {function}(" in (mutants.ROOT / path).read_text("utf-8") or not function


def test_there_are_sixty_and_the_book_shows_them():
    assert len(ALL) >= 60
    text = mutants.PAGE.read_text("utf-8")
    assert mutants.page(text, ALL) == text, "run tools/mutants.py --page"


LINE = {"file": "a.py", "old": "x > 0", "new": "x >= 0", "test": "test_a.py"}


@pytest.mark.parametrize(
    ("code", "verdict"), [(0, "SURVIVED"), (1, "noticed"), (4, "no test ran: pytest said 4")]
)
def test_each_mutant_is_tried_alone_and_put_back(tmp_path, monkeypatch, code, verdict):
    (tmp_path / "infcop_lite").mkdir()
    source = tmp_path / "infcop_lite" / "a.py"
    source.write_text("x > 0\n")
    seen = []

    def tested(folder, tests):
        seen.append(Path(folder, "infcop_lite", "a.py").read_text())
        return code

    monkeypatch.setattr(mutants, "tested", tested)
    line = LINE | {"file": "infcop_lite/a.py"}
    gone = line | {"old": "y > 0"}
    found = dict(mutants.verdicts({"one": line, "gone": gone, "two": line}, tmp_path))
    assert found == {
        "one": verdict,
        "gone": "infcop_lite/a.py: 'y > 0' is no longer there",
        "two": verdict,
    }
    assert seen == ["x >= 0\n"] * 2
    assert source.read_text() == "x > 0\n"


@pytest.mark.parametrize(("verdict", "code"), [("noticed", 0), ("SURVIVED", 1), ("gone", 1)])
def test_a_survivor_fails_the_whole(monkeypatch, capsys, verdict, code):
    monkeypatch.setattr(mutants, "verdicts", lambda chosen: [(name, verdict) for name in chosen])
    monkeypatch.setattr("sys.argv", ["mutants.py", "two controls"])
    assert mutants.main() == code
    assert "of 1 mutants were noticed" in capsys.readouterr().out


# --- those that once survived -------------------------------------------------------------------


def test_a_gain_whose_interval_reaches_zero_beats_nothing():
    (line,) = evidence.against_control(runs(**CURVE, mixed=(7, [0.8, 0.72]))).to_dict("records")
    assert line["gain"] == pytest.approx(0.01)
    assert line["seeds"] == 2
    assert line["beats"] is False


def test_two_controls_enclose_nothing():
    two = {name: CURVE[name] for name in ("k_=_0", "full")}
    (line,) = evidence.against_control(runs(**two, between=(7, [0.8, 0.8]))).to_dict("records")
    assert line["seeds"] == 0


def test_a_rule_as_cheap_as_the_cheapest_control_counts():
    (line,) = evidence.against_control(runs(**CURVE, shot=(0, [0.6, 0.7]))).to_dict("records")
    assert (line["seeds"], line["gain"]) == (2, pytest.approx(0.1))


def test_a_subset_is_drawn_from_all_images():
    whole, part = data.load("digits", seed=3), data.load("digits", seed=3, subset=100)
    number = len(whole.train) + len(whole.validation)
    order = np.random.default_rng(3).permutation(number)
    assert order[:100].max() >= 100
    images = torch.empty(number, *whole.train.inputs.shape[1:])
    held_back = number // 10
    images[order[:held_back]] = whole.validation.inputs
    images[order[held_back:]] = whole.train.inputs
    torch.testing.assert_close(part.validation.inputs, images[order[:10]])
    torch.testing.assert_close(part.train.inputs, images[order[10:100]])


def test_a_distance_of_exactly_epsilon_is_not_said_to_be_within():
    class Exactly:
        epsilon = 0.5

        def __call__(self, row):
            return 0.5

    sizes = {"subset": 100, "probe_size": 10, "levels": 1, "warmup_epochs": 0}
    config = Config(stop=FixedEpochs(1), epochs=2, **sizes)
    first, _ = history.record(config, Trainer.of(config), Exactly())
    assert first.decision.startswith("another rule stops it")


@pytest.mark.parametrize("purpose", ["probe", "level", "warmup"])
def test_the_seed_draws_batches_and_probes(purpose):
    assert seed_of(Config(seed=0), 0, purpose) != seed_of(Config(seed=1), 0, purpose)


def test_joined_rules_say_that_a_tolerance_is_absolute():
    joined = Config(stop="information+accuracy", epsilon=0.1, absolute=True)
    assert describe(joined)["absolute"] is True
    assert describe(Config(stop="information+accuracy", epsilon=0.1))["absolute"] is False


def test_random_scores_are_drawn_anew_in_each_level():
    net, config = nn.Linear(40, 2), Config(score="random", fraction=0.5)
    one, same, other = (drawn_masks(net, full_masks(net), config, n, None) for n in (0, 0, 1))
    assert torch.equal(one["weight"], same["weight"])
    assert not torch.equal(one["weight"], other["weight"])


def test_savings_are_a_ratio_of_sums():
    table = runs(full=(64, [0.9, 0.9]), rule=(8, [0.9, 0.9]))
    table.loc[(table["rule"] == "rule") & (table["seed"] == 1), "epochs"] = 1000.0
    (line,) = evidence.paired(table, 0.01).to_dict("records")
    own = table[table["rule"] == "rule"]["epochs"].sum()
    assert line["saving"] == pytest.approx(table[table["rule"] == "full"]["epochs"].sum() / own)


def test_a_part_in_eval_mode_makes_another_run():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    frozen = copy.deepcopy(net)
    frozen[1].eval()
    split = data.Split(torch.zeros(2, 2), torch.tensor([0, 1]))
    one, other = (identity_of_own(Config(), model, None, split) for model in (net, frozen))
    assert other == one | {"in eval mode": "1"}


def test_an_overlap_is_a_share_of_the_final_weights():
    mine, final = ({"a": torch.tensor(kept).bool()} for kept in ([1, 1, 1, 0], [1, 0, 0, 0]))
    assert _overlap(mine, final) == 1.0
    assert _overlap(final, mine) == pytest.approx(1 / 3)


def test_a_rule_pays_for_what_it_reads_and_not_for_what_others_asked_for():
    now = Measured(accuracy=0.5)
    now.seconds.update({"accuracy": 1.0, "information": 5.0})
    branch = _Branch(Patience(1), None)
    branch.stops(now, 1.0, 0)
    assert branch.measure_s == 1.0
