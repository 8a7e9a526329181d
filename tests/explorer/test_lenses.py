"""The lenses: what their pictures and tables say, against numpy, scipy and the library."""

import math
import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import seaborn as sns
import torch
from scipy import stats
from torch import nn

from infcop_lite.explorer import amounts, costs, knobs, lenses
from infcop_lite.masks import full_masks, magnitude_masks

MODULES = {
    "correlation_lens": lenses,
    "sign_cancellation": lenses,
    "how_much_to_prune": amounts,
    "speed_up_calculator": costs,
}
LIMITS = {  # of pictures, and of their bytes
    "correlation_lens": (50, 220_000),
    "sign_cancellation": (20, 80_000),
    "how_much_to_prune": (100, 380_000),
    "speed_up_calculator": (600, 200_000),
}


def opened(name, few=False, drawing=True, **options):
    """Call a lens and return what it hands to `explore`, with the picture of every setting."""

    def spread(draw, *knobs, table, title, name):
        settings = [()]
        for knob in knobs:
            settings = [
                (*setting, value)
                for setting in settings
                for value in (knob(*setting) if callable(knob) else knob).options.values()
            ]
        pictures = {
            setting: draw(*setting) for setting in settings[: 2 if few else None] if drawing
        }
        return SimpleNamespace(pictures=pictures, knobs=knobs, table=table, title=title)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MODULES[name], "explore", spread)
        return getattr(MODULES[name], name)(**options)


@pytest.fixture(scope="module")
def lens():
    return {name: opened(name) for name in MODULES}


each = pytest.mark.parametrize("name", MODULES)


def alt_of(picture):
    return re.search(r'aria-label="(.*?)"', picture)[1].replace("−", "-")


def text_of(picture):
    return re.sub(r"<.*?>", " ", picture.split("<svg")[0]).replace("−", "-")


def numbers(text):
    return [float(number) for number in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?", text)]


def ticks(picture):
    """The words of a picture and where they stand: the same as long as the axes are."""
    return re.findall(
        r'text-anchor: (?:middle|end)[^>]*? x="(.*?)" y="(.*?)".*?>(.*?)</text>', picture
    )


class TestEveryLens:
    @each
    def test_its_pictures_fit_on_a_page(self, lens, name):
        pictures = lens[name].pictures.values()
        most, heaviest = LIMITS[name]
        assert len(pictures) <= most
        assert sum(len(picture.encode()) for picture in pictures) < heaviest

    @each
    def test_every_setting_has_a_picture_of_its_own(self, lens, name):
        pictures = lens[name].pictures
        assert len(set(map(alt_of, pictures.values()))) == len(pictures)
        assert all(picture.count("<svg") == 1 for picture in pictures.values())
        assert all(numbers(alt_of(picture)) for picture in pictures.values())

    @each
    def test_it_never_says_nan_or_infinite(self, lens, name):
        words = " ".join(lens[name].pictures.values())
        assert not re.search(r"\b(nan|inf)\b|-0\.0+\b", words.replace("−", "-"))

    @each
    def test_its_table_is_complete(self, lens, name):
        assert not lens[name].table.isna().any(axis=None)
        assert not lens[name].table.isin([math.inf, -math.inf]).any(axis=None)
        assert not lens[name].table.duplicated().any()
        pictures = [p for p in lens[name].pictures.values() if "Nothing is removed" not in p]
        assert name == "sign_cancellation" or len(lens[name].table) == len(pictures)

    @pytest.mark.parametrize("name", ["sign_cancellation", "how_much_to_prune"])
    def test_a_notebook_with_a_style_of_its_own_gets_the_same_pictures(self, lens, name):
        with plt.style.context("default"):
            sns.set_theme(style="whitegrid", font_scale=2)
            assert opened(name, few=True).pictures.items() <= lens[name].pictures.items()

    @each
    def test_its_colours_follow_the_theme(self, lens, name):
        picture = next(iter(lens[name].pictures.values()))
        assert "currentColor" in picture
        assert not re.search(r"#fff|white|#000000|black", picture)

    @each
    @pytest.mark.parametrize("what", ["ticks", "frame"])
    def test_its_axes_stay_while_a_knob_turns(self, lens, name, what):
        see = {"ticks": ticks, "frame": lambda p: re.search('viewBox="(.*?)"', p)[1]}[what]
        first, *others = (see(picture) for picture in lens[name].pictures.values())
        assert all(other == first for other in others)
        assert what == "frame" or name == "speed_up_calculator" or len(first) >= 6

    @each
    def test_without_ipywidgets_the_pictures_of_the_first_knob_stand_side_by_side(
        self, lens, name, monkeypatch
    ):
        monkeypatch.setattr(knobs, "ipywidgets", None)
        explorer = getattr(MODULES[name], name)()
        first, *_ = lens[name].knobs
        assert explorer.widget is None
        assert explorer.plain.count("<svg") == len(first.options)
        assert all(f"{first.label}: {text}" in explorer.plain for text in first.options)

    def test_with_ipywidgets_every_picture_is_there(self, lens):
        def pictures(widget):
            if type(widget).__name__ == "HTML":
                return [widget.value]
            return [p for child in getattr(widget, "children", ()) for p in pictures(child)]

        found = pictures(costs.speed_up_calculator().widget)
        assert len(found) == len(lens["speed_up_calculator"].pictures)
        for picture in lens["speed_up_calculator"].pictures.values():
            assert any(picture in html for html in found)


class TestCorrelationLens:
    def test_the_table_agrees_with_numpy_and_the_formulas(self, lens):
        draws = torch.randn(
            2, 1000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(5)
        )
        x, z = draws[:, :, 0].numpy()
        table = lens["correlation_lens"].table
        for rho, n, measured, error, expected, information, plug_in in table.to_numpy():
            a, b = x[: int(n)], (rho * x + (1 - rho**2) ** 0.5 * z)[: int(n)]
            assert measured == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)
            assert expected == pytest.approx((1 - rho**2) / n**0.5)
            assert information == pytest.approx(-0.5 * math.log(1 - rho**2), abs=1e-12)
            assert plug_in == pytest.approx(-0.5 * math.log(1 - measured**2), rel=1e-9)
            leave_one_out = [
                np.corrcoef(np.delete(a, k), np.delete(b, k))[0, 1] for k in range(min(int(n), 100))
            ]
            if n == 100:
                jackknife = np.std(leave_one_out) * (n - 1) / n**0.5
                assert error == pytest.approx(jackknife, rel=0.1)

    def test_the_estimates_lie_within_two_standard_errors(self, lens):
        table = lens["correlation_lens"].table
        off = (table["measured ρ"] - table["ρ"]).abs() / table["(1 − ρ²)/√n"]
        assert 0.9 < off.max() < 2

    def test_only_the_correlation_turns_with_its_knob(self, lens):
        """Common random numbers: the x of every point stays, whatever the correlation."""
        pictures = lens["correlation_lens"].pictures
        for n in lenses.COUNTS:
            seen = set()
            for rho in lenses.RHOS:
                dots = re.findall(r'M (\S+) (\S+) L \1 \2(?= |")', pictures[rho, n])
                assert len(dots) == min(n, lenses.NUM_DRAWN)
                seen.add(tuple(x for x, _ in dots))
            assert len(seen) == 1

    def test_the_dots_have_the_measured_correlation(self, lens):
        for (rho, n), picture in lens["correlation_lens"].pictures.items():
            dots = re.findall(r'M (\S+) (\S+) L \1 \2(?= |")', picture)
            x, y = np.array(dots, float).T
            seen = np.corrcoef(x, -y)[0, 1]  # the y of an SVG points down
            table = lens["correlation_lens"].table.set_index(["ρ", "n"])
            if n <= lenses.NUM_DRAWN:
                assert seen == pytest.approx(table.loc[(rho, n), "measured ρ"], abs=2e-3)

    def test_text_and_alternative_hold_the_numbers_of_the_table(self, lens):
        for rho, n, measured, error, expected, information, plug_in in lens[
            "correlation_lens"
        ].table.to_numpy():
            picture = lens["correlation_lens"].pictures[rho, int(n)]
            said = numbers(text_of(picture))
            for value in (rho, n, measured, error, expected, information, plug_in):
                assert min(abs(value - number) for number in said) <= 5.001e-4
            told = numbers(alt_of(picture))
            assert told == pytest.approx([min(n, 150), n, rho, measured], abs=5.001e-4)

    def test_another_seed_gives_other_points(self):
        one, other = (opened("correlation_lens", drawing=False, seed=seed).table for seed in (0, 1))
        assert (one["measured ρ"] != other["measured ρ"]).all()


class TestSignCancellation:
    def test_the_mean_crosses_zero_while_the_information_stays(self, lens):
        table = lens["sign_cancellation"].table
        assert table["share"].tolist() == pytest.approx(np.arange(13) / 12)
        assert (np.diff(table["mean ρ"]) < 0).all()
        assert table["mean ρ"].iloc[0] == pytest.approx(-table["mean ρ"].iloc[-1], abs=1e-12)
        assert table["mean ρ"].iloc[0] == pytest.approx(table["mean |ρ|"].iloc[0], abs=1e-12)
        assert table["mean ρ"].abs().min() < 0.1 * table["mean |ρ|"].min()
        for column in ("mean |ρ|", "root mean square", "information"):
            assert np.ptp(table[column]) < 1e-9
            assert table[column].min() > 0.3

    def test_the_bars_are_the_correlations_that_the_table_summarises(self, lens):
        for flipped, (_, _, mean, mean_abs, rms, _) in enumerate(
            lens["sign_cancellation"].table.to_numpy()
        ):
            picture = lens["sign_cancellation"].pictures[(flipped,)]
            bars = re.findall(
                r'<path d="M \S+ (\S+) L \S+ \1 L \S+ (\S+) [^>]*?fill: #(\w+)', picture
            )
            zero, tip, colour = zip(*bars, strict=True)
            height = 0.5 * (0.97 - 0.17) * 3.2 * 72  # of a correlation of 1, in points
            rho = (np.array(zero, float) - np.array(tip, float)) / height
            assert len(rho) == 12
            assert rho.mean() == pytest.approx(mean, abs=2e-3)
            assert np.abs(rho).mean() == pytest.approx(mean_abs, abs=2e-3)
            assert np.sqrt((rho**2).mean()) == pytest.approx(rms, abs=2e-3)
            assert (rho < 0).tolist() == [k < flipped for k in range(12)]
            assert len(set(zip(rho < 0, colour, strict=True))) == len(set(colour)) <= 2

    def test_the_information_is_that_of_the_canonical_correlation(self):
        """Oracle: least squares. One unit: kappa^2 is the R^2 of the regression on the layer."""
        generator = torch.Generator().manual_seed(0)
        signal, own, *others = torch.randn(14, 400, dtype=torch.float64, generator=generator)
        louder = torch.linspace(0.5, 2.5, 12)[torch.randperm(12, generator=generator)]
        layer = (signal[:, None] + louder * torch.stack(others, 1)).numpy()
        unit = (signal + 0.5 * own).numpy()
        design = np.c_[np.ones(400), layer]
        residual = unit - design @ np.linalg.lstsq(design, unit)[0]
        expected = -0.5 * math.log(residual.var() / unit.var())
        assert opened("sign_cancellation", drawing=False).table[
            "information"
        ].to_numpy() == pytest.approx(expected, abs=1e-9)

    def test_text_and_alternative_hold_the_numbers_of_the_table(self, lens):
        for flipped, _, mean, mean_abs, rms, information in lens[
            "sign_cancellation"
        ].table.to_numpy():
            picture = lens["sign_cancellation"].pictures[(int(flipped),)]
            expected = [flipped, 12, mean, mean_abs, rms, information]
            assert numbers(text_of(picture)) == pytest.approx(expected, abs=5.001e-3)
            assert numbers(alt_of(picture)) == pytest.approx([12, flipped, mean, rms], abs=5.001e-3)


def laws_by_scipy(d):
    v = (np.arange(d) + 0.5) / d
    gaussian = stats.halfnorm.ppf(v)
    return {
        "Gaussian": gaussian,
        "uniform": v,
        "Laplace": stats.expon.ppf(v),
        "heavy tail": stats.t(3).ppf((1 + v) / 2),
        "two scales": np.sort(np.r_[gaussian[::2] / 10, gaussian[1::2]]),
    }


class TestHowMuchToPrune:
    def test_the_laws_are_those_of_scipy(self):
        for law, w in amounts.laws(1000).items():
            expected = laws_by_scipy(1000)[law]
            np.testing.assert_allclose(w, expected / expected.mean(), rtol=1e-8)

    def test_the_table_agrees_with_the_norms(self, lens):
        table, by_scipy = lens["how_much_to_prune"].table, laws_by_scipy(1000)
        for law, p, q, index, fraction, kept, threshold, lost in table.itertuples(index=False):
            w = by_scipy[law] / by_scipy[law].mean()
            norms = [np.linalg.norm(w, s) for s in (p, q)]
            assert index == pytest.approx(1 - 1000 ** (1 / q - 1 / p) * norms[0] / norms[1])
            effective = (norms[0] / norms[1]) ** (p * q / (q - p))  # (T1.7)
            assert kept == max(math.ceil(effective - 1e-9), 100)
            assert fraction == pytest.approx(1 - kept / 1000)
            assert threshold == pytest.approx(w[1000 - kept])
            assert lost == pytest.approx((w[: 1000 - kept] ** q).sum() / (w**q).sum())

    def test_larger_orders_prune_more_and_like_weights_least(self, lens):
        fractions = lens["how_much_to_prune"].table.set_index(["weights", "p", "q"])["SAP fraction"]
        assert len(fractions) == 70
        for (law, p, q), fraction in fractions.items():
            larger = [f for (w, r, s), f in fractions.items() if w == law and r >= p and s >= q]
            assert fraction == min(larger)
            assert fractions["uniform", p, q] <= fraction

    def test_pruning_a_layer_keeps_what_the_table_says(self, lens):
        table = lens["how_much_to_prune"].table
        for law, w in amounts.laws(1000).items():
            layer = nn.Linear(1000, 1).double()
            layer.weight.data[0] = w
            for row in table[table["weights"] == law].to_dict("records"):
                (kept,) = magnitude_masks(layer, full_masks(layer), row["SAP fraction"]).values()
                assert int(kept.sum()) == row["kept"]
                assert layer.weight[kept].min().item() == row["threshold"]

    def test_no_knob_resets_another_and_a_pair_without_an_index_says_so(self, lens):
        p_knob, q_knob, _ = lens["how_much_to_prune"].knobs
        starts = [list(knob.options.values())[knob.start] for knob in (p_knob, q_knob)]
        assert starts == [1, 2]  # a published pair
        for (p, q, _), picture in lens["how_much_to_prune"].pictures.items():
            refused = f"q = {q:g} does not lie above p = {p:g}" in text_of(picture)
            assert refused == (p >= q) == ("Nothing is removed" in alt_of(picture))
            assert refused == ("<pattern" not in picture)

    def test_the_hatched_part_ends_where_the_filled_part_begins(self, lens):
        left, right = 0.16 * 5.2 * 72, 0.97 * 5.2 * 72
        table = lens["how_much_to_prune"].table.set_index(["p", "q", "weights"])
        drawn = lens["how_much_to_prune"].pictures.items()
        for (p, q, law), picture in (entry for entry in drawn if entry[0][0] < entry[0][1]):
            hatched, filled = re.findall(
                r'<path d="M ([^"]*?)(?: z)?" clip-path[^>]*?fill: (?:url|#)', picture
            )
            ends = [
                [float(v) for v in path.replace("L ", "").split()[::2]]
                for path in (hatched, filled)
            ]
            where = left + table.loc[(p, q, law), "threshold"] / 5 * (right - left)
            assert min(ends[0]) == pytest.approx(left, abs=0.1)
            assert max(ends[0]) == pytest.approx(where, abs=0.11)
            assert min(ends[1]) == pytest.approx(where, abs=0.11)
            assert "<pattern" in picture  # seen without colour, too

    def test_text_and_alternative_hold_the_numbers_of_the_table(self, lens):
        table = lens["how_much_to_prune"].table
        for law, p, q, index, fraction, kept, threshold, lost in table.itertuples(index=False):
            picture = lens["how_much_to_prune"].pictures[p, q, law]
            said = numbers(text_of(picture).replace("|w|", "|w| "))
            expected = [index, fraction, kept, 1000, threshold, lost, q]
            assert said[:7] == pytest.approx(expected, abs=5.001e-3)
            assert said[:2] == pytest.approx([index, fraction], abs=5.001e-4)
            beyond = int((amounts.laws(1000)[law] > 5).sum())
            assert said[7:] == ([beyond] if beyond else [])
            assert ("its cap" in picture) == (kept == 100)
            told = numbers(alt_of(picture))
            assert told == pytest.approx([p, q, threshold, 1000 - kept, 1000], abs=5.001e-3)
            assert law in alt_of(picture)


def played(rounds, budget, rate, probe, floor):
    """Play a run epoch by epoch: what it trains, what its probes cost, whether it ever fires."""
    trained = measured = 0.0
    fired = False
    for _ in range(rounds - 1):
        for epoch in range(budget + 1):
            trained += epoch > 0
            measured += probe / (3 * 60_000)
            if 4 * rate**epoch + floor < 1:
                fired = True
                break
    return trained + budget, measured, fired


class TestSpeedUpCalculator:
    def test_every_picture_tells_the_run_played_epoch_by_epoch(self, lens):
        pictures = lens["speed_up_calculator"].pictures
        for (rounds, budget, rate, probe, floor), picture in pictures.items():
            trained, measured, fired = played(rounds, budget, rate, probe, floor)
            full, said = rounds * budget, numbers(text_of(picture).split("fires")[-1])
            per_level = (trained - budget) / (rounds - 1)
            speed_up = full / (trained + measured)
            assert said[:3] == [per_level, trained, full]
            assert said[3:] == pytest.approx([measured, speed_up], abs=0.0501)
            assert said[4] == pytest.approx(speed_up, abs=5.001e-3)
            assert ("never fires" in picture) == (not fired)
            assert ("resting distance lies above ε" in picture) == (floor > 1)
            told = numbers(alt_of(picture))
            assert told[:5] == [rounds, budget, rate, probe, floor]
            assert told[5:] == pytest.approx([trained, measured, full], abs=0.0501)

    def test_the_bar_is_as_long_as_the_cost(self, lens):
        for (rounds, budget, *_), picture in lens["speed_up_calculator"].pictures.items():
            said = numbers(alt_of(picture).split(":")[1])
            trained = float(re.search(r"M0 3H(\S+?)v", picture)[1])
            measured = float(re.search(r'opacity=".4" d="M\S+ 3H(\S+?)v8H', picture)[1])
            assert trained == pytest.approx(200 * said[0] / (rounds * budget), abs=0.06)
            assert measured == pytest.approx(200 * sum(said[:2]) / (rounds * budget), abs=0.6)
            assert measured <= 280

    def test_the_table_holds_every_picture(self, lens):
        knobs = ["rounds", "budget", "decay", "probe", "rest / ε"]
        settings = list(lens["speed_up_calculator"].pictures)
        table = lens["speed_up_calculator"].table
        assert list(table[knobs].itertuples(index=False, name=None)) == settings
        for setting, row in zip(settings, table.to_dict("records"), strict=True):
            rounds, budget, *_ = setting
            trained, measured, _ = played(*setting)
            assert row["epochs in all"] == trained
            assert row["measuring"] == pytest.approx(measured)
            assert row["speed-up"] == pytest.approx(rounds * budget / (trained + measured))
            assert f"{row['speed-up']:.2f}" in lens["speed_up_calculator"].pictures[setting]

    def test_a_resting_distance_above_epsilon_costs_more_than_it_saves(self, lens):
        table = lens["speed_up_calculator"].table
        above = table["rest / ε"] > 1
        assert (table["speed-up"][above] < 1).all()
        assert (table["first below ε"][above] == "never").all()
        assert all(isinstance(hit, int) for hit in table["first below ε"][~above])

    def test_the_amplitude_decides_when_a_level_stops(self):
        low, high = (
            opened("speed_up_calculator", drawing=False, amplitude=a).table for a in (2, 32)
        )
        useful = low["rest / ε"] < 1
        assert (low["first below ε"][useful] < high["first below ε"][useful]).all()

    def test_the_bar_stands_on_an_axis_that_names_full_retraining(self, lens):
        for (rounds, budget, *_), picture in lens["speed_up_calculator"].pictures.items():
            words = re.findall("<text [^>]*>(.*?)</text>", picture)
            full = rounds * budget
            assert words == ["0", f"{full / 2:g}", f"{full} epochs, full"]
