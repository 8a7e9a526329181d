"""The tests that protocol.md announces: the primary endpoint, once; the secondary ones, corrected.

.venv/bin/python experiments/endpoint.py               # the primary one
.venv/bin/python experiments/endpoint.py --secondary   # each rule that looks, per network

The primary endpoint is computed when all its runs are in the tables, and not before: who looks at
each pair as it comes tests many times.
"""

import argparse
import sys
from collections.abc import Sequence

import gather
import pandas as pd
import tables

from infcop_lite import families, faults, pairing, referee, results, verdicts

#: Network -> where its pairs are, table/family.
PRIMARY = {
    "mlp": ("mlp-replay/fresh",),
    "lenet5": ("lenet5-global/fixed", "lenet5-global/fresh"),
    "airnet": ("airnet/fixed",),
}
SECONDARY = ("mlp-replay/fixed", "lenet5-global/fixed", "airnet/fixed", "airnet-converged/going-on")
#: Prefix of what a rule is held against -> what that is called.
AGAINST = {pairing.REPLAY: "its replay", pairing.LATE: "the late timetable", "": "constants"}


def rows_of(place: str) -> pd.DataFrame:
    """Return the rows of a table/family; none if they are not in the tables."""
    table, _, family = place.partition("/")
    try:
        rows = results.rows_at(table, gather.RESULTS)
    except FileNotFoundError:
        return pd.DataFrame(columns=["family"])
    return rows[rows["family"] == family]


def pairs_of(place: str) -> tuple[families.Family | None, pd.DataFrame]:
    """Return a family, and its rules held against all there is, with the margin of its data.

    Returns:
        The family, and pairs as `pairing` makes them; ``against``, a key of `AGAINST`; ``margin``.
        Twins of full retraining, of a constant or of what they are held against are left out.
    """
    rows = rows_of(place)
    if rows.empty:
        return None, pd.DataFrame(columns=[*pairing.COLUMNS, "against", "margin"])
    faults.check(rows)
    it = families.look(rows)
    runs = it.runs[~it.runs["rule"].isin([r for r in it.twins if not pairing.is_control(r)])]
    parts = []
    for prefix in AGAINST:
        found = pairing.against(runs, prefix) if prefix else pairing.against_constants(runs)
        same = [rule for rule in set(found["rule"]) if it.twins.get(prefix + rule) == rule]
        controls = [rule for rule in set(found["rule"]) if pairing.is_control(rule)]
        own = found[~found["rule"].isin([*same, *controls])]
        is_schedule = runs.loc[runs["kind"] == "schedule", "rule"]
        parts.append(own[~own["rule"].isin(is_schedule)].assign(against=prefix))
    return it, pd.concat(parts, ignore_index=True).assign(margin=referee.margin_of(rows))


def primary(rule: str = tables.LOSS) -> list[str]:
    """Return what the primary endpoint comes to, in a few lines; or what it waits for.

    Args:
        rule: the one that protocol.md names.
    """
    gains: dict[str, list[float]] = {}
    waiting = []
    for network, places in PRIMARY.items():
        gains[network] = []
        for place in places:
            table, _, family = place.partition("/")
            wanted = set(tables.TABLES[table][family].seeds)
            _, pairs = pairs_of(place)
            own = pairs[(pairs["rule"] == rule) & (pairs["against"] == pairing.REPLAY)]
            gains[network] += list(own["gain"] / own["margin"])
            if missing := sorted(wanted - set(own["seed"])):
                waiting.append(f"{place}: no pair on seeds {', '.join(map(str, missing))}")
    if waiting:
        return ["The primary endpoint waits for runs and is not looked at before.", *waiting]
    found = verdicts.endpoint(gains)
    (low, high), (low_90, high_90) = found.interval(), found.interval(0.9)
    each = [f"{name} {sum(g) / len(g):+.2f} ({len(g)} pairs)" for name, g in gains.items()]
    return [
        f"{rule}, less its replay, in margins: {found.mean:+.2f}, 95 % interval {low:+.2f} to "
        f"{high:+.2f}, 90 % {low_90:+.2f} to {high_90:+.2f}.",
        f"By network: {', '.join(each)}. Standard error {found.error:.2f}, {found.df:.1f} degrees "
        f"of freedom, p = {found.p():.2g}.",
        f"A gain of {found.detectable():.2f} margins would have been found four times in five.",
        f"Verdict: {verdicts.outcome(found)}.",
    ]


def secondary(places: Sequence[str] = SECONDARY) -> pd.DataFrame:
    """Return each rule that looks, held against its replay and, beside that, against constants.

    Source: secondary tests 1 and 2 of protocol.md: pooled variance of each family; Holm's
    correction over all networks, for the replays and for the rest apart.

    Returns:
        As `verdicts.judge`, with ``place``, ``against`` and ``said``: one of the two statements
        that are allowed, both, or "not told apart". Families that are not there are left out.
    """
    found = []
    for place in places:
        it, pairs = pairs_of(place)
        for against, group in pairs.groupby("against", sort=False):
            judged = verdicts.judge(group, group["margin"].iloc[0], it.noise if it else None)
            found.append(judged.assign(place=place, against=against))
    if not found:
        return pd.DataFrame(columns=["place", "against", "rule", "said", *verdicts.JUDGED])
    table = pd.concat(found, ignore_index=True)
    is_replay = table["against"] == pairing.REPLAY
    for group in (table[is_replay], table[~is_replay]):
        table.loc[group.index, "holm"] = verdicts.holm(group["p"])
    said = [
        " and ".join(
            ([f"beats {AGAINST[one.against]}"] if one.beats else [])
            + (["worth less than a margin"] if one.shown_useless else [])
        )
        or f"not told apart; {100 * one.detectable:.2f} points would have been found"
        for one in table.itertuples()
    ]
    return table.assign(said=said)


def main() -> int:
    parser = argparse.ArgumentParser(description="The tests that protocol.md announces.")
    parser.add_argument("--secondary", action="store_true", help="each rule that looks, instead")
    try:
        if not parser.parse_args().secondary:
            print(*primary(), sep="\n")
            return 0
        for one in secondary().itertuples():
            print(
                f"{one.place}, {one.rule}, against {AGAINST[one.against]}: {100 * one.gain:+.2f} "
                f"points ({100 * one.low:+.2f} to {100 * one.high:+.2f}), p {one.p:.2g}, "
                f"corrected {one.holm:.2g}: {one.said}"
            )
    except (ValueError, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
