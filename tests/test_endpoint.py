"""The tests that protocol.md announces, on rows whose answer is known."""

import re

import endpoint
import gather
import numpy as np
import pandas as pd
import pytest
import tables

RULE = tables.LOSS
KINDS = {"full": "full", "k = 1": "constant", "k = 4": "constant", f"replay of {RULE}": "schedule"}
EPOCHS = {"full": 8.0, "k = 1": 1.0, "k = 4": 4.0, RULE: 2.0, f"replay of {RULE}": 2.5}


def rows(seeds, gains, data="mnist"):
    """Return rows of three levels; on each seed the rule lies that far above its replay."""
    found = []
    for seed, gain in zip(seeds, gains, strict=True):
        worth = {"full": 0.9, "k = 1": 0.86, "k = 4": 0.88, RULE: 0.87 + gain}
        for rule, accuracy in (worth | {f"replay of {RULE}": 0.87}).items():
            for level in range(3):
                row = {"rule": rule, "kind": KINDS.get(rule, "loss"), "seed": seed, "data": data}
                row |= {"level": level, "epoch": 8.0 if level == 2 else EPOCHS[rule] + level / 10}
                row |= {"density": 0.5**level, "stopped": True, "validation_accuracy": 0.9}
                row |= {"test_accuracy": accuracy, "warmup_epochs": 2.0, "overlap": 1.0}
                found.append(row | {"family": "f", "device": "cpu", "train_s": 1, "measure_s": 0})
    return pd.DataFrame(found)


def offer(monkeypatch, gains):
    """Let the tables hold gains, in margins: place -> one for each of its first seeds."""

    def rows_of(place):
        table, _, family = place.partition("/")
        seeds, own = tables.TABLES[table][family].seeds, gains.get(place, [])
        data, margin = ("cifar10", 0.01) if table.startswith("airnet") else ("mnist", 0.003)
        return rows(seeds[: len(own)], [margin * g for g in own], data)

    monkeypatch.setattr(endpoint, "rows_of", rows_of)


def drawn(mean, seed=0):
    draw = np.random.default_rng(seed)
    sizes = {"mlp-replay/fresh": 10, "lenet5-global/fixed": 5, "lenet5-global/fresh": 5}
    return {p: draw.normal(mean, 0.3, n).tolist() for p, n in (sizes | {"airnet/fixed": 5}).items()}


def test_the_places_of_the_endpoint_are_those_of_the_protocol():
    text = (gather.RESULTS.parent / "protocol.md").read_text("utf-8")
    (said,) = re.findall(r"- Networks and n: (.*)\n", text)
    assert said == (
        "`mlp-replay/fresh` (10 seeds), `lenet5-global/fixed` and `fresh` (10), "
        "`airnet/fixed` (5): 25 pairs."
    )
    places = [p for of in endpoint.PRIMARY.values() for p in of]
    families = [tables.TABLES[p.partition("/")[0]][p.partition("/")[2]] for p in places]
    assert [len(family.seeds) for family in families] == [10, 5, 5, 5]
    assert all(RULE in family.rules for family in families)


def test_the_endpoint_is_not_looked_at_before_all_its_pairs_are_there(monkeypatch):
    gains = drawn(2.0)
    gains["airnet/fixed"].pop()
    offer(monkeypatch, gains)
    assert endpoint.primary() == [
        "The primary endpoint waits for runs and is not looked at before.",
        "airnet/fixed: no pair on seeds 4",
    ]


@pytest.mark.parametrize(
    ("mean", "verdict"), [(0.0, "shown equivalence"), (2.0, "success"), (-2.0, "no effect shown")]
)
def test_the_endpoint_is_the_mean_of_three_networks_in_margins(monkeypatch, mean, verdict):
    gains = drawn(mean)
    offer(monkeypatch, gains)
    text = endpoint.primary()
    of = [gains["mlp-replay/fresh"]]
    of += [gains["lenet5-global/fixed"] + gains["lenet5-global/fresh"], gains["airnet/fixed"]]
    expected = np.mean([np.mean(values) for values in of])
    error = (sum(np.var(values, ddof=1) / len(values) for values in of) / 9) ** 0.5
    assert text[0].startswith(f"{RULE}, less its replay, in margins: {expected:+.2f}, 95 %")
    assert f"Standard error {error:.2f}," in text[1]
    assert "lenet5" in text[1]
    assert "(10 pairs)" in text[1]
    assert text[3] == f"Verdict: {verdict}."


def test_the_secondary_tests_are_corrected_over_all_networks(monkeypatch):
    offer(monkeypatch, {"mlp-replay/fixed": [2.0, 2.1, 2.2, 1.9, 2.0], "airnet/fixed": [0.1, -0.1]})
    table = endpoint.secondary().set_index(["place", "against"])
    assert len(table) == 4, "a rule on two networks, held against its replay and constants"
    replay = table.xs("replay of ", level="against")
    assert replay["said"].to_dict() == {
        "mlp-replay/fixed": "beats its replay",
        "airnet/fixed": "worth less than a margin",
    }
    assert replay.loc["mlp-replay/fixed", "holm"] == 2 * replay.loc["mlp-replay/fixed", "p"]


def test_a_rule_that_is_its_replay_on_every_seed_is_not_counted(monkeypatch):
    monkeypatch.setitem(EPOCHS, f"replay of {RULE}", EPOCHS[RULE])
    offer(monkeypatch, {"mlp-replay/fixed": [0.0] * 5})
    assert set(endpoint.secondary()["against"]) == {""}
