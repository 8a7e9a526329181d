"""Bounds, tests and power: by hand, as protocol.md says, and as often right as they claim."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from infcop_lite import verdicts
from infcop_lite.verdicts import Estimate, Noise


def known(*of):
    """Return the endpoint of networks whose pairs have that standard deviation: (sd, number)."""
    parts = [(sd**2 / n, n - 1) for sd, n in of]
    total = sum(v for v, _ in parts)
    df = total**2 / sum(v**2 / d for v, d in parts)
    return Estimate(0.0, total**0.5 / len(of), df, sum(n for _, n in of))


def test_what_can_be_detected_is_what_the_protocol_says():
    found = known((0.72, 10), (0.72, 10), (0.5, 5))
    assert found.detectable() == pytest.approx(0.39, abs=0.005)
    assert 0.5 - found.interval(0.9)[1] == pytest.approx(0.27, abs=0.005)
    assert known((1 / 3, 10), (1 / 3, 10), (0.5, 5)).detectable() == pytest.approx(0.29, abs=0.005)
    assert known((0.72, 10), (0.72, 10), (1.1, 5)).detectable() == pytest.approx(0.6, abs=0.05)
    one = 0.216 / 5**0.5  # points; with its own variance, and with the pooled one
    assert Estimate(0, one, 4, 5).detectable() == pytest.approx(0.36, abs=0.005)
    assert Estimate(0, one, 92, 5).detectable() == pytest.approx(0.27, abs=0.005)


def test_the_endpoint_is_the_mean_of_means_with_satterthwaites_degrees_of_freedom():
    gains = {"a": [0.1, 0.5, -0.2, 0.4], "b": [1.0, 0.2]}
    found = verdicts.endpoint(gains)
    assert found.mean == pytest.approx((np.mean(gains["a"]) + np.mean(gains["b"])) / 2)
    welch = stats.ttest_ind(gains["a"], [-x for x in gains["b"]], equal_var=False)
    assert found.df == pytest.approx(welch.df)  # of a difference: the same sum of variances
    assert found.p() == pytest.approx(welch.pvalue)
    assert found.pairs == 6


def test_the_endpoint_errs_as_often_as_it_says_and_finds_what_it_says():
    """600 sets of three networks: 10, 10 and 5 pairs, as the protocol has them."""
    draw = np.random.default_rng(1)
    sds, sizes = (0.72, 0.72, 0.5), (10, 10, 5)
    covered, shown, equal = [], [], []
    for _ in range(600):
        noise = [draw.normal(0, sd, n) for sd, n in zip(sds, sizes, strict=True)]
        none = verdicts.endpoint({str(i): x for i, x in enumerate(noise)})
        low, high = none.interval()
        covered.append(low < 0 < high)
        equal.append("equivalence" in verdicts.outcome(none))
        shown.append(low + 0.39 > 0)  # the same noise around a gain of 0.39
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
    assert np.mean(shown) == pytest.approx(0.80, abs=0.04)
    assert np.mean(equal) > 0.9  # sd 0.13: within 0.27 of none


@pytest.mark.parametrize(
    ("mean", "error", "said"),
    [
        (0.9, 0.1, "success"),
        (0.3, 0.05, "success, by too little to matter"),
        (-0.2, 0.1, "shown equivalence"),
        (-0.9, 0.1, "no effect shown"),
        (0.2, 0.3, "no effect shown"),
        (0.2, math.nan, "no effect shown"),
    ],
)
def test_what_an_endpoint_shows_is_one_of_four(mean, error, said):
    assert verdicts.outcome(Estimate(mean, error, 20, 25)) == said


@pytest.mark.parametrize("gains", [{}, {"a": [0.1]}, {"a": [0.1, 0.2], "b": [0.1, math.nan]}])
def test_an_endpoint_of_too_little_is_refused_in_one_line(gains):
    with pytest.raises(ValueError, match="endpoint needs") as refused:
        verdicts.endpoint(gains)
    assert "\n" not in str(refused.value)


def test_power_is_that_of_the_noncentral_t():
    for df, gain in ((4, 2.0), (20, 2.9), (92, 1.0)):
        critical = stats.t.ppf(0.975, df)
        exact = stats.nct.sf(critical, df, gain) + stats.nct.cdf(-critical, df, gain)
        assert Estimate(0, 1, df, 5).power(gain) == pytest.approx(exact, abs=2e-3)


def test_the_noise_of_two_rules_is_that_of_their_difference():
    """So a pooled test of two rules alone is the paired one."""
    table = pd.DataFrame(np.random.default_rng(1).normal(size=(2, 6)))
    noise, found = verdicts.residual(table), verdicts.own(table.loc[0] - table.loc[1])
    pooled = verdicts.pooled(table.loc[0] - table.loc[1], noise)
    assert (pooled.error, pooled.df) == (pytest.approx(found.error), found.df)


def test_noise_leaves_rules_and_seeds_out_and_counts_a_network_once():
    draw = np.random.default_rng(2)
    table = pd.DataFrame(draw.normal(0, 0.3, (40, 8)))
    shifted = table.add(draw.normal(size=40), axis=0).add(draw.normal(size=8), axis=1)
    assert verdicts.residual(shifted).sd == pytest.approx(verdicts.residual(table).sd)
    assert verdicts.residual(table).sd == pytest.approx(0.3, rel=0.1)
    assert verdicts.residual(pd.concat([table, table])) == verdicts.residual(table)
    assert verdicts.residual(table).df == 39 * 7
    table.iloc[0, 0] = math.nan
    assert verdicts.residual(table).df == 39 * 7 - 1


def test_rules_without_gain_pass_as_often_as_five_in_a_hundred():
    draw = np.random.default_rng(3)
    passed, bounded = [], []
    for _ in range(30):
        runs = draw.normal(0, 1, (21, 5))
        noise = verdicts.residual(pd.DataFrame(runs))
        pairs = pd.DataFrame(runs[1:] - runs[:1]).stack().rename("gain").reset_index()
        judged = verdicts.judge(
            pairs.rename(columns={"level_0": "rule"}).assign(runs=2.0), 9, noise
        )
        passed += (judged["p"] < 0.05).tolist()
        bounded += (judged["upper"] > 0).tolist()
        assert judged["shown_useless"].all()
    assert np.mean(passed) == pytest.approx(0.05, abs=0.04)
    assert np.mean(bounded) == pytest.approx(0.95, abs=0.04)


def test_nothing_is_shown_where_no_noise_is_known():
    pairs = pd.DataFrame({"rule": ["a"], "gain": [0.9], "runs": [2.0]})
    for noise in (None, Noise(math.nan, 0)):
        (line,) = verdicts.judge(pairs, 0.1, noise).to_dict("records")
        assert not line["beats"]
        assert not line["shown_useless"]
        assert math.isnan(line["detectable"])


def test_two_groups_are_compared_as_welch_does():
    a, b = [0.685, 0.677, 0.690], [0.673, 0.668, 0.674, 0.675, 0.671]
    found, known = verdicts.unpaired(a, b), stats.ttest_ind(a, b, equal_var=False)
    assert found.p() == pytest.approx(known.pvalue)
    assert found.interval() == pytest.approx(tuple(known.confidence_interval()))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_runs_of_two_devices_are_no_pairs(elsewhere):
    seeds = range(3)
    one = pd.DataFrame({"seed": seeds, "accuracy": [0.5, 0.6, 0.8], "device": "cpu"})
    other = one.assign(accuracy=one["accuracy"] - 0.1, device=["cpu", "cpu", "gpu"])
    other = other if elsewhere else other.assign(device="cpu")
    found = verdicts.between(one, other)
    assert found.mean == pytest.approx(0.1)
    assert found.error == pytest.approx(0.1247 if elsewhere else 0, abs=1e-3)
