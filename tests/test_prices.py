"""Rules with a price, on curves whose best moment is known: T7.9 and T7.11, and their gaps."""

import itertools
import math

import numpy as np
import pytest

from infcop_lite import collecting, records
from infcop_lite.stopping import BreakEven, Check, PriceOfTime

EVEN = np.arange(0, 401, 5)
DOUBLING = np.array([0, *(s * 2**k for k in range(7) for s in (2, 3))]) * 2
UNIT = 10  # steps per epoch


def checks_of(losses, ends):
    """Return the checks of a level whose steps have these losses, with means as a loop has them."""
    found = [Check(0.0, train_loss=math.nan)]
    for begin, end in itertools.pairwise(ends):
        found.append(Check(end / UNIT, train_loss=losses[begin:end].mean()))
    return found


def stop(rule, losses, ends):
    """Return the steps after which a rule stops, and the number of that check."""
    checks = checks_of(losses, ends)
    fired = (j for j in range(len(checks)) if rule.stop(checks[: j + 1]))
    j = next(fired, len(ends) - 1)
    return ends[j], j


def convex(rng, size=1000):
    """Return a falling convex sequence, of no special form."""
    drops = np.sort(rng.exponential(1, size) ** rng.uniform(0.5, 4))[::-1]
    losses = drops[::-1].cumsum()[::-1]
    return losses / losses[0]


def broken(best, price, size=1000, off=0.01):
    """Return a curve that falls by a little more than the price a step, then by a little less."""
    slopes = np.where(np.arange(size) < best, 1 + off, 1 - off) * price
    return 2 * price * size - np.concatenate([[0.0], slopes[:-1].cumsum()])


# T7.9


@pytest.mark.parametrize("ends", [EVEN, DOUBLING], ids=["even", "doubling"])
def test_t7_9_on_a_convex_curve_the_price_rule_is_never_early_and_three_intervals_late_at_most(
    ends,
):
    rng, late = np.random.default_rng(0), []
    for _ in range(300):
        losses = convex(rng)
        price = float(rng.choice(-np.diff(losses[: ends[-4]]))) * rng.uniform(0.5, 2)
        total = losses + price * np.arange(len(losses))
        best = int(total.argmin())
        end, j = stop(PriceOfTime(price * UNIT), losses, ends)
        assert best < end or j == len(ends) - 1
        assert best > ends[j - 3] or j == 2
        if best < end:
            assert total[end] - total[best] <= price * (end - best) * (1 + 1e-9)
            late.append((end - best) / (ends[j] - ends[j - 1]))
    assert max(late) > 1.5


@pytest.mark.parametrize("ends", [EVEN, DOUBLING], ids=["even", "doubling"])
@pytest.mark.parametrize("factor", [0.98, 1.0, 1.02])
def test_t7_9_a_price_that_is_off_by_two_percent_misses_the_best_moment(ends, factor):
    """The curve falls by 1 % more than the price an epoch up to the best step, then 1 % less."""
    price, best = 0.01, ends[6]
    end, j = stop(PriceOfTime(price * UNIT * factor), broken(best, price), ends)
    is_right = best < end <= ends[8]
    assert is_right == (factor == 1.0)
    assert (j == 2) == (factor == 1.02)  # at once
    assert (j == len(ends) - 1) == (factor == 0.98)  # never


def test_t7_9_a_slope_over_the_time_between_checks_is_early_where_their_spacing_changes():
    """As the theorem is often put: between means the time that has passed is that of middles."""
    losses, price = broken(10**6, 0.01, off=0.2), 0.01  # worth going on for ever
    checks = checks_of(losses, DOUBLING)
    assert stop(PriceOfTime(price * UNIT), losses, DOUBLING)[1] == len(DOUBLING) - 1
    naive = [
        before.train_loss - now.train_loss <= price * UNIT * (now.epoch - before.epoch)
        for before, now in itertools.pairwise(checks)
    ]
    assert any(naive)


def test_t7_9_gradient_descent_on_a_convex_loss_has_such_a_curve_up_to_the_step_of_the_theorem():
    rng = np.random.default_rng(1)
    for _ in range(100):
        values, vector = rng.uniform(0.01, 1, 6), rng.normal(0, 1, 6)
        step = rng.uniform(0.1, 1.5) / values.max()
        decay = (1 - step * values) ** np.arange(600)[:, None]
        losses = (values * (decay * vector) ** 2).sum(1) / 2
        assert np.diff(losses, 2).min() >= -1e-15
        price = float(losses[0] * 10 ** rng.uniform(-5, -2))
        total = losses + price * np.arange(600)
        end, _ = stop(PriceOfTime(price * UNIT), losses, np.arange(600))
        best = int(total.argmin())  # the first k that lowers the loss by no more than the price
        assert best == int((-np.diff(losses) <= price).argmax())
        assert end == (best + 2 if best < 598 else 599)  # one step to see it, one to have its mean


# T7.11


def falling(rng, size=1000):
    """Return a curve that does not rise: plateaus, jumps, or both."""
    drops = rng.exponential(1, size) ** rng.uniform(1, 8) * (rng.random(size) < rng.random())
    losses = drops[::-1].cumsum()[::-1]
    return losses / max(losses[0], 1e-9)


def cost(rule, losses, ends, price):
    """Return what a rule pays in all, the least one could pay, and the price of its last gaps."""
    end, j = stop(rule, losses, ends)
    totals = losses[: ends[-1] + 1] + price * np.arange(ends[-1] + 1)
    return totals[end], totals.min(), price * np.diff([0, *ends])[max(j - 1, 0) : j + 1]


@pytest.mark.parametrize("ends", [EVEN, DOUBLING], ids=["even", "doubling"])
def test_t7_11_break_even_pays_at_most_twice_the_least_and_its_last_two_intervals(ends):
    rng, largest = np.random.default_rng(0), 0.0
    for _ in range(1000):
        losses, price = falling(rng), 10 ** rng.uniform(-2.4, -0.5)
        paid, least, gaps = cost(BreakEven(price * UNIT), losses, ends, price)
        if price * ends[-1] >= 1:  # else the budget may have ended it
            assert paid <= 2 * least + gaps.sum() + 1e-12
            largest = max(largest, (paid - gaps.sum()) / max(least, price))
    assert 1.3 < largest <= 2


def test_t7_11_one_interval_is_not_enough_if_the_loss_is_known_as_a_mean():
    """A loss that is gone after one step: the mean of the first interval still holds it."""
    losses, ends, price = np.array([1.0, *[0.0] * 300]), np.array([0, 100, 200, 300]), 9e-5
    paid, least, (before, last) = cost(BreakEven(price * UNIT), losses, ends, price)
    assert paid > 2 * least + last
    assert paid <= 2 * least + before + last


@pytest.mark.parametrize("factor", [0.98, 1.0, 1.02])
def test_t7_11_a_price_that_is_off_by_two_percent_breaks_the_factor(factor):
    """The adversary holds the loss at 1 and lets it go when the rule has stopped, or never."""
    price, ends = 1e-3, np.arange(0, 2001)
    end, _ = stop(BreakEven(price * UNIT * factor), np.ones(2002), ends)
    paid, slack = 1 + price * end, 2 * price
    within = [paid <= 2 * least + slack for least in (1.0, price * end)]
    assert all(within) == (factor == 1.0)
    assert paid >= 2 * min(1.0, price * end) - slack  # whatever it is, 2 is lost


def test_t7_11_a_floor_is_what_nothing_can_gain_and_break_even_is_above_it():
    assert BreakEven(0.125, 0.5).stop([Check(1.0, train_loss=0.625)])
    assert not BreakEven(0.125, 0.49).stop([Check(1.0, train_loss=0.625)])


@pytest.mark.parametrize("floor", [-0.1, math.nan, math.inf, "0", None])
def test_a_floor_that_is_no_loss_is_refused(floor):
    with pytest.raises(ValueError, match=r"^floor must be a loss of at least 0, not "):
        BreakEven(0.1, floor)


def test_the_first_check_after_training_may_break_even_but_has_no_slope():
    for checks in ([Check(1.0, train_loss=0.0)], [Check(0.0), Check(1.0, train_loss=0.0)]):
        assert BreakEven(0.1).stop(checks)
        assert not PriceOfTime(0.1).stop(checks)


def test_a_loss_that_has_left_the_range_of_numbers_is_no_reason_to_stop():
    for now, before in ((math.inf, 1.0), (math.inf, math.inf), (1.0, math.nan), (math.nan, 1.0)):
        checks = [Check(1.0, train_loss=before), Check(2.0, train_loss=now)]
        assert not PriceOfTime(0.1).stop(checks)


def test_a_level_is_trained_even_if_there_is_nothing_to_gain():
    assert not BreakEven(0.1, floor=0.5).stop([Check(0.0, train_loss=0.3)])


def test_runs_of_two_prices_are_two_rules_of_one_family(tmp_path):
    shared = {"stop": "price", "seed": 0, "warmup_epochs": 2}
    row = {"rule": "price", "kind": "loss", "stop": "price", "level": 0, "epoch": 1.0}
    for name, more in {"a": {}, "b": {"price": 0.2}}.items():  # a default is left out
        records.begin(tmp_path / name, shared | more)
        rows = [row | {"stopped": True}]
        records.save(tmp_path / name, shared | more, rows, finished=True)
    found = collecting.collect(tmp_path)
    assert found["family"].tolist() == ["all", "all"]
    assert found["rule"].tolist() == ["price", "price, price=0.2"]
