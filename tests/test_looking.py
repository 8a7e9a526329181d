"""What looking is worth: exact where all is known, by fit and as recorded; from any rows."""

import math

import looking as command
import numpy as np
import pandas as pd
import pytest
import torch

from infcop_lite import looking, records
from infcop_lite.looking import Curves
from infcop_lite.theory import decisions

RATE, TIMES = 0.7, np.linspace(0, 16, 81)


def decays(amplitudes, rate=RATE, times=TIMES):
    return Curves(times, amplitudes[..., None] * np.exp(-rate * times))


def amplitudes(seed, *shape, spread=0.4):
    return 2 * np.exp(spread * np.random.default_rng(seed).standard_normal(shape))


def rows_of(found, family="all", **columns):
    """Rows of full retraining with these curves in `to_end`, and a last level without."""
    made = []
    for seed, levels in enumerate(found.losses):
        for level, losses in enumerate([*levels, 0 * levels[0]]):
            one = pd.DataFrame({"epoch": found.epochs, "to_end": losses, **columns})
            made.append(one.assign(seed=seed, level=level, family=family))
    return pd.concat(made).assign(rule="full", kind="full", stopped=False, warmup_epochs=0)


def regret(believed, true):
    """Epochs that a stop loses that is best for another amplitude; the price does not matter."""
    total = [
        true * math.exp(-RATE * t) + t for t in np.log(np.array([believed, true]) * RATE) / RATE
    ]
    return total[0] - total[1]


def test_the_fit_finds_the_rate_and_every_amplitude():
    a = amplitudes(0, 3, 4)
    found, rate = looking.exponentials(decays(a), until=10)
    assert rate == pytest.approx(RATE)
    np.testing.assert_allclose(found, a)


def test_t7_26_what_copied_stops_lose_is_the_price_of_believing_other_amplitudes():
    a = amplitudes(1, 3, 2)
    constant, timetable = looking.fitted_regrets(a, RATE)
    for seed in range(3):
        others = np.delete(a, seed, 0).mean(0)
        by_hand = [regret(others[level], a[seed, level]) for level in (0, 1)]
        assert timetable[seed] == pytest.approx(np.mean(by_hand))
        by_hand = [regret(others.mean(), a[seed, level]) for level in (0, 1)]
        assert constant[seed] == pytest.approx(np.mean(by_hand))


def test_t7_26_a_timetable_of_other_seeds_never_looks_worse_than_one_that_knew_them_all():
    """So that what looking gains over it bounds what looking is worth from above."""
    for seed in range(20):
        a = amplitudes(seed, 4, 3)
        _, timetable = looking.fitted_regrets(a, RATE)
        within = decisions.looking_epochs(torch.from_numpy(a), RATE).mean().item()
        assert within < timetable.mean() < 3 * within


@pytest.mark.parametrize("pace", [3.0, 8.0])
def test_played_and_fitted_agree_on_curves_that_are_exponential(pace):
    a = amplitudes(2, 4, 3)
    for fitted, played in zip(
        looking.fitted_regrets(a, RATE), looking.played_regrets(decays(a), pace), strict=True
    ):
        np.testing.assert_allclose(played, fitted, atol=0.02)


def test_equal_seeds_leave_nothing_to_look_for_and_equal_levels_nothing_to_copy():
    a = amplitudes(3, 1, 5)
    same_seeds = looking.worth(rows_of(decays(a.repeat(3, 0))), pace=5.0)
    assert same_seeds["looking"].to_numpy() == pytest.approx(0, abs=1e-9)
    exact = math.log(a.mean() / np.exp(np.log(a).mean())) / RATE
    assert same_seeds["timetable"].to_numpy() == pytest.approx(exact, abs=0.02)
    same_levels = looking.worth(rows_of(decays(a.reshape(5, 1).repeat(4, 1))), pace=5.0)
    assert same_levels["timetable"].to_numpy() == pytest.approx(0, abs=1e-9)
    assert (same_levels["looking"] > 0.05).all()


def test_the_hull_is_convex_below_its_curve_and_the_largest_such():
    y = np.random.default_rng(0).standard_normal((40, 2, 9)).cumsum(-1)
    t = np.array([0, 0.1, 0.3, 1, 1.5, 2, 4, 5, 8])
    low = looking.hulls(Curves(t, y))
    slopes = np.diff(low) / np.diff(t)
    assert (np.diff(slopes) >= -1e-9).all()
    assert (low <= y + 1e-12).all()
    kinks = np.diff(slopes) > 1e-9  # where it bends it touches: nothing larger is convex
    assert np.allclose(low[..., 1:-1][kinks], y[..., 1:-1][kinks])
    assert (low[..., [0, -1]] == y[..., [0, -1]]).all()


def test_what_is_played_are_the_hulls_on_which_a_price_allocates_best():
    rough = Curves(np.arange(9.0), -np.random.default_rng(1).random((4, 3, 9)).cumsum(-1))
    played = looking.played_regrets(rough, 3.0)
    smooth = looking.played_regrets(Curves(rough.epochs, looking.hulls(rough)), 3.0)
    np.testing.assert_allclose(played, smooth)


def test_losses_are_against_the_whole_budget_and_more_accuracy_is_better():
    a = amplitudes(4, 2, 3)
    times = np.arange(9.0)
    mask = decays(a, times=times)
    rows = rows_of(mask)
    rows = rows.assign(train_loss=rows["to_end"] + 0.3, validation_accuracy=0.9 - rows["to_end"])
    rows.loc[rows["epoch"] == 0, "train_loss"] = np.nan
    end = mask.losses[..., -1:]
    np.testing.assert_allclose(looking.curves(rows, "accuracy").losses, mask.losses - end)
    of_loss = looking.curves(rows, "loss")
    np.testing.assert_allclose(of_loss.losses, (mask.losses - end)[..., 1:])
    assert of_loss.epochs.tolist() == [0.5 + t for t in range(8)]  # the middle of each interval


def test_only_levels_and_checks_that_all_seeds_have_are_compared_and_never_the_last_level():
    rows = rows_of(decays(amplitudes(5, 3, 4), times=np.arange(6.0)))
    cut = ((rows["seed"] == 1) & (rows["level"] > 3)) | ((rows["seed"] == 2) & (rows["epoch"] == 2))
    found = looking.curves(rows[~cut])
    assert found.losses.shape == (3, 3, 5)
    assert found.epochs.tolist() == [0, 1, 3, 4, 5]


def test_families_with_one_seed_or_too_few_epochs_are_left_out():
    many = rows_of(decays(amplitudes(6, 3, 2)), "many")
    one = many[many["seed"] == 0].assign(family="one")
    short = many[many["epoch"] < 4].assign(family="short")
    found = looking.worth(pd.concat([one, many, short]), pace=5.0)
    assert found["family"].tolist() == ["many", "many"]
    assert found["method"].tolist() == ["exponential", "hulls"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda rows: rows[rows["seed"] == 0], "two is the least"),
        (lambda rows: rows.assign(kind="loss"), "no full retraining"),
        (lambda rows: rows.assign(to_end=math.nan), "try another loss"),
        (lambda rows: pd.concat([rows, rows]), "rows of one family"),
        (lambda rows: rows.assign(to_end=rows["epoch"] % 8), "no rate"),
        (lambda rows: rows[rows["epoch"] == rows["seed"]], "fewer than two checks"),
    ],
)
def test_rows_that_cannot_say_it_get_one_clear_line(change, complaint):
    rows = change(rows_of(decays(amplitudes(7, 2, 2), times=np.arange(9.0))))
    with pytest.raises(ValueError, match=complaint) as error:
        looking.worth(rows, pace=0.5)
    assert "\n" not in str(error.value)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="mask, loss, accuracy"):
        looking.curves(pd.DataFrame(), "price")


# --- the command ---


def write_runs(folder, subset):
    rows = rows_of(decays(amplitudes(8, 3, 2), times=np.arange(9.0))).assign(stop="budget")
    for seed, own in rows.drop(columns=["family", "warmup_epochs"]).groupby("seed"):
        config = {"seed": seed, "warmup_epochs": 2, "probe_size": 30, "subset": subset}
        held = own.drop(columns="seed").to_dict("records")
        records.begin(folder / f"fixed-{seed}", config)
        records.save(folder / f"fixed-{seed}", config, held, finished=True)


def test_the_command_takes_tables_and_folders_and_prices_the_looks(tmp_path, monkeypatch, capsys):
    write_runs(tmp_path / "mine", subset=1000)
    monkeypatch.setenv("INFCOP_RESULTS_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert command.main(["mine", "--pace", "3"]) == 0  # a folder here
    folder = capsys.readouterr().out
    monkeypatch.chdir("/")
    assert command.main(["mine", "--pace", "3"]) == 0  # a table there
    table = capsys.readouterr().out
    assert folder.replace("all, ", "fixed, ") == table
    assert "3 seeds, 2 levels, mask, hulls: timetable" in table
    assert "one look 0.011, 0.033 a level" in table  # 30 of 900 images, forward; three checks
    assert command.main(["mine", "--pace", "3", "--probe", "90", "--images", "90"]) == 0
    assert "one look 0.333" in capsys.readouterr().out


def test_bad_input_to_the_command_gets_one_line_and_tables_without_seeds_are_passed_over(
    tmp_path, monkeypatch, capsys
):
    write_runs(tmp_path / "mine", subset=None)
    monkeypatch.setenv("INFCOP_RESULTS_DIR", str(tmp_path))
    assert command.main(["nowhere"]) == command.main(["mine", "--of", "loss"]) == 2
    assert command.main(["mine", "--pace", "-1"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    assert all(line.startswith("looking.py: ") for line in told)
    assert command.main(["--of", "loss"]) == 0  # none of the tables has it
    assert capsys.readouterr().out == ""
