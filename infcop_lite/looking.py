"""What looking is worth: what a timetable gains over a constant, and looking over a timetable.

Both are in epochs per level. They come from recorded runs of full retraining, which say what each
level would have lost by a stop at each check. No rule has to be tried for it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from . import labels
from .evidence import half_width

#: What a stop loses -> the column of the rows, and whether more of it is better.
LOSSES = {
    "mask": ("to_end", False),
    "loss": ("train_loss", False),
    "accuracy": ("validation_accuracy", True),
}
COLUMNS = ["family", "seeds", "levels", "of", "method", "rate", "timetable", "looking"]
COLUMNS += ["timetable_half_width", "looking_half_width"]


class NothingToSee(ValueError):
    """Rows that cannot say what looking is worth: of too few seeds, or without what is lost."""


@dataclass(frozen=True)
class Curves:
    """What a stop at each check loses against the whole budget, for all levels but the last.

    ``epochs`` is (check,) in ascending order, ``losses`` (seed, level, check).
    """

    epochs: np.ndarray
    losses: np.ndarray


def curves(rows: pd.DataFrame, of: str = "mask") -> Curves:
    """Return what stopping loses, from the full retraining of one family.

    Args:
        rows: as `evidence.read` or `evidence.collect` give them, of one family.
        of: "mask", how far the next mask is from that at the end: what a level that is rewound
            passes on. "loss", the training loss, or "accuracy", the error on the validation split,
            both less that at the end: for levels that go on.

    Returns:
        Levels and checks that all seeds have. A training loss is a mean since the check before, and
        stands in the middle of that interval.

    Raises:
        ValueError: an unknown loss, fewer than two seeds, or rows without these numbers.

    >>> rows = pd.DataFrame({"family": "all", "rule": "full", "kind": "full", "level": [0, 0, 1]})
    >>> rows = rows.assign(epoch=[0.0, 1.0, 0.0], to_end=[0.5, 0.0, 0.0], stopped=False)
    >>> curves(pd.concat([rows.assign(seed=0), rows.assign(seed=1)])).losses.tolist()
    [[[0.5, 0.0]], [[0.5, 0.0]]]
    """
    if of not in LOSSES:
        raise ValueError(f"a stop loses one of {', '.join(LOSSES)}, not {of!r}")
    column, is_gain = LOSSES[of]
    full = rows[labels.is_full(rows)]
    if full["seed"].nunique() < 2:
        raise NothingToSee(
            f"what looking is worth shows between seeds: {full['seed'].nunique()} of full "
            f"retraining (the rule {labels.FULL!r}) are here, and two is the least"
        )
    if column not in full or not full[column].notna().any():
        raise NothingToSee(
            f"no {column} in the rows of full retraining; try another loss than {of}"
        )
    if full.duplicated(["seed", "level", "epoch"]).any():
        raise ValueError("a seed has two runs of full retraining: pass the rows of one family")
    full = full[full["level"] < full.groupby("seed")["level"].transform("max")]
    num_seeds = full["seed"].nunique()
    values = full.pivot(index=["seed", "level"], columns="epoch", values=column)
    values = values.dropna(axis=1, how="all")
    sizes = values.groupby(level="level")[values.columns[:1]].transform("size")
    values = values[sizes == num_seeds].dropna(axis=1)
    epochs = values.columns.to_numpy(float)
    if len(epochs) < 2:
        raise NothingToSee(f"the seeds share fewer than two checks with a {column}; nothing to see")
    if of == "loss":
        epochs = (epochs + np.concatenate([[0.0], epochs[:-1]])) / 2
    losses = values.to_numpy(float).reshape(num_seeds, -1, len(epochs))
    losses = (losses - losses[..., -1:]) * (-1 if is_gain else 1)
    return Curves(epochs, losses)


def exponentials(found: Curves, until: float) -> tuple[np.ndarray, float]:
    """Fit ``A e^(-b t)`` with one rate b to what stopping loses.

    Args:
        found: of any number of seeds and levels.
        until: epochs up to which to fit, since the curves are 0 at the budget by definition.

    Returns:
        A as (seed, level), and b per epoch. Least squares on the logarithm, where a stop loses.

    Raises:
        ValueError: a curve with fewer than two such checks, or curves that do not fall.

    >>> t = np.arange(5.0)
    >>> exponentials(Curves(t, np.exp(-t / 2).reshape(1, 1, 5)), until=4)
    (array([[1.]]), 0.5)
    """
    fits = (found.losses > 0) & (found.epochs <= until)
    count = fits.sum(-1, keepdims=True)
    if (count < 2).any():
        raise NothingToSee(
            f"a level loses something at fewer than two checks up to epoch {until:g}"
        )
    logs = np.log(np.where(fits, found.losses, 1.0))
    mean_log = logs.sum(-1, keepdims=True) / count
    mean_time = (fits * found.epochs).sum(-1, keepdims=True) / count
    off = np.where(fits, found.epochs - mean_time, 0.0)
    rate = -float((off * (logs - mean_log)).sum() / (off**2).sum())
    if rate <= 0:
        raise NothingToSee("stopping does not lose less the longer a level trains: no rate to fit")
    return np.exp(mean_log + rate * mean_time)[..., 0], round(rate, 12)


def fitted_regrets(amplitudes: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what a constant and a timetable of the other seeds lose, for curves ``A e^(-b t)``.

    Source: T7.26. A stop that is best for A' loses ``(r - 1 - log r) / b`` epochs, r = A / A', at
    any price.

    Args:
        amplitudes: (seed, level), at least two seeds.
        rate: b per epoch.

    Returns:
        Two arrays (seed,), epochs per level above those of perfect foresight.

    >>> constant, timetable = fitted_regrets(np.array([[1.0, 3.0], [1.0, 3.0]]), rate=1.0)
    >>> constant.round(4).tolist(), timetable.tolist()
    ([0.1438, 0.1438], [0.0, 0.0])
    """
    num_seeds = len(amplitudes)
    others = (amplitudes.sum(0) - amplitudes) / (num_seeds - 1)  # (seed, level)
    regrets = []
    for believed in (others.mean(1, keepdims=True), others):
        ratio = amplitudes / believed
        regrets.append(((ratio - 1 - np.log(ratio)) / rate).mean(1))
    return regrets[0], regrets[1]


def hulls(found: Curves) -> np.ndarray:
    """Return the largest convex curves below those that were recorded, at the same checks.

    Source: T7.22 asks for convex curves, on which stopping at a price allocates epochs best.

    >>> hulls(Curves(np.arange(4.0), np.array([[[4.0, 3.0, 1.0, 1.0]]]))).tolist()
    [[[4.0, 2.5, 1.0, 1.0]]]
    """
    t, y = found.epochs, found.losses
    low = y.copy()
    for i in range(len(t)):
        for j in range(i + 2, len(t)):
            share = (t[i + 1 : j] - t[i]) / (t[j] - t[i])
            chord = y[..., i : i + 1] * (1 - share) + y[..., j : j + 1] * share
            low[..., i + 1 : j] = np.minimum(low[..., i + 1 : j], chord)
    return low


def played_regrets(found: Curves, pace: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what a constant and a timetable of the other seeds lose, on the recorded curves.

    Source: T7.26, on convex hulls: each stop is the best of its knowledge, at a price at which
    perfect foresight takes so many epochs per level.

    Args:
        found: of at least two seeds.
        pace: epochs per level that are spent, between the first check and the budget.

    Returns:
        Two arrays (seed,), epochs per level above those of perfect foresight.

    Raises:
        ValueError: a pace that no price gives.
    """
    low, t = hulls(found), found.epochs
    if not t[0] < pace < t[-1]:
        raise ValueError(f"the pace must be between {t[0]:g} and {t[-1]:g} epochs, not {pace:g}")
    lowest, highest = 1e-12, 1e12
    for _ in range(100):  # the higher the price, the earlier the stops
        price = (lowest * highest) ** 0.5
        is_cheap = t[(low + price * t).argmin(-1)].mean() > pace
        lowest, highest = (price, highest) if is_cheap else (lowest, price)
    total = low + price * t
    best = total.min(-1).mean(1)
    others = (total.sum(0) - total) / (len(total) - 1)
    stops = others.mean(1).argmin(-1)
    constant = np.array([own[:, stop].mean() for own, stop in zip(total, stops, strict=True)])
    timetable = np.take_along_axis(total, others.argmin(-1)[..., None], -1).mean((1, 2))
    return (constant - best) / price, (timetable - best) / price


def worth(rows: pd.DataFrame, of: str = "mask", pace: float = 1.0) -> pd.DataFrame:
    """Return what a timetable and looking are worth in each family of full retraining.

    Source: T7.26 to T7.28.

    Args:
        rows: as `evidence.read` or `evidence.collect` give them.
        of: what a stop loses, as for `curves`.
        pace: epochs per level that are spent, for the method "hulls". Families whose levels do not
            last that long are left out.

    Returns:
        A table with two lines for each family with two seeds or more. The method "exponential" fits
        one rate up to half the budget, "hulls" takes the curves as recorded. ``timetable`` is what
        the stops that are best on the other seeds gain over one number of epochs. ``looking`` is
        what perfect foresight gains over that timetable. Both are in epochs per level. The half
        widths are of 95 % intervals over seeds, by Student's t: a smaller gain cannot be told from
        none.

    Raises:
        ValueError: no such family with two seeds, or as for `curves`.
    """
    named = rows if "family" in rows else rows.assign(family="all")
    full = named[labels.is_full(named)]
    seeds = full.groupby("family", sort=False)["seed"].nunique()
    budgets = full.groupby("family", sort=False)["epoch"].max()
    families = [name for name in seeds.index if seeds[name] > 1 and budgets[name] > pace]
    lines = []
    for family in families or seeds.index[:1]:
        found = curves(full[full["family"] == family], of)
        amplitudes, rate = exponentials(found, found.epochs[-1] / 2)
        methods = {"exponential": (rate, fitted_regrets(amplitudes, rate))}
        methods["hulls"] = (np.nan, played_regrets(found, pace))
        for method, (b, (constant, timetable)) in methods.items():
            gain = constant - timetable
            sizes = len(timetable), found.losses.shape[1]
            means = float(gain.mean()), float(timetable.mean())
            widths = half_width(gain), half_width(timetable)
            lines.append((family, *sizes, of, method, b, *means, *widths))
    if not lines:
        raise NothingToSee(f"no full retraining (the rule {labels.FULL!r}) among these rows")
    return pd.DataFrame(lines, columns=COLUMNS)
