"""What the first release found, as it computed it itself: no later code may find anything else.

The fixture was written by the code of the first release: every final network's accuracy and cost,
every verdict, loss and gain, and a hash of every file of rows under book/results.
"""

import hashlib
import json
import math
from pathlib import Path

import pytest

from infcop_lite import evidence

FOUND = json.loads((Path(__file__).parent / "fixtures" / "first-release.json").read_text("utf-8"))
RESULTS = Path(__file__).parent.parent / "book" / "results"


def same(now, then):
    """Numbers to 12 digits, all else exactly; NaN, which JSON has no word for, is null."""
    if then is None:
        return isinstance(now, float) and math.isnan(now)
    if isinstance(then, float):
        return math.isclose(now, then, rel_tol=1e-12, abs_tol=1e-12)
    return bool(now == then)


def lines(table):
    return [dict(zip(table.columns, line, strict=True)) for line in table.itertuples(index=False)]


def differences(now, then, columns):
    """The first lines in which two tables are not the same, as pairs."""
    if len(now) != len(then):
        return [(len(now), len(then))]
    return [
        (a, b) for a, b in zip(now, then, strict=True) if not all(same(a[c], b[c]) for c in columns)
    ]


@pytest.mark.parametrize("table", sorted(FOUND["tables"]))
def test_verdicts_losses_and_gains_are_those_of_the_first_release(table):
    found = FOUND["tables"][table]
    runs = evidence.final(evidence.read(table))
    now = {
        "final": runs,
        "paired": evidence.paired(runs, found["margin"]),
        "against_control": evidence.against_control(runs),
    }
    for kind, result in now.items():
        columns = list(found[kind][0])
        assert differences(lines(result), found[kind], columns) == []


@pytest.mark.parametrize("folder", sorted(FOUND["rows"]))
def test_no_row_of_the_first_release_is_lost(folder):
    content = (RESULTS / folder / "rows.csv").read_bytes()
    assert hashlib.sha256(content).hexdigest() == FOUND["rows"][folder]


def test_the_fixture_holds_every_table_and_numbers_in_plenty():
    """So that an emptied fixture is no pass."""
    assert len(FOUND["rows"]) >= 211
    assert len(FOUND["tables"]) == 9
    kinds = ("final", "paired", "against_control")
    assert sum(len(table[kind]) for table in FOUND["tables"].values() for kind in kinds) > 1000


def test_a_changed_number_is_noticed():
    (line, *_), then = FOUND["tables"]["mlp"]["paired"], FOUND["tables"]["mlp"]["paired"]
    changed = [{**line, "loss": line["loss"] + 1e-6}, *then[1:]]
    assert len(differences(changed, then, list(line))) == 1
