"""What the first release found, as it computed it itself: no later code may find anything else.

The fixtures were written by the code of the first release: every final network's accuracy and cost,
every verdict, loss and gain, a hash of every file of rows under experiments/results, and the rows
of its loop on digits, over every setting.
"""

import functools
import gzip
import hashlib
import io
import itertools
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import gather
import pandas as pd
import pytest
import torch

from infcop_lite import data, evidence
from infcop_lite.config import Config
from infcop_lite.loop import compare, run
from infcop_lite.stopping import FixedEpochs, Schedule

FIXTURES = Path(__file__).parent / "fixtures"
FOUND = json.loads((FIXTURES / "first-release.json").read_text("utf-8"))


def same(now, then):
    """Numbers to 12 digits, all else exactly; NaN, which JSON has no word for, is null."""
    if then is None:
        return isinstance(now, float) and math.isnan(now)
    if isinstance(then, float):
        return math.isclose(now, then, rel_tol=1e-12, abs_tol=1e-12)
    return bool(now == then)


@functools.cache
def gathered():
    """The files of every folder of runs, out of the tables."""
    return gather.read()


def lines(table):
    return [dict(zip(table.columns, line, strict=True)) for line in table.itertuples(index=False)]


def differences(now, then, columns):
    """The first lines in which two tables are not the same, as pairs."""
    if len(now) != len(then):
        return [(len(now), len(then))]
    return [
        (a, b) for a, b in zip(now, then, strict=True) if not all(same(a[c], b[c]) for c in columns)
    ]


#: Verdicts that the first release passed on networks of unequal density, and that are none now.
UNEQUAL = {("mlp", "paired"): [("sap-half-layerwise", "k = 1")]}


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
        changed = differences(lines(result), found[kind], columns)
        assert [a | {"non_inferior": True} for a, _ in changed] == [b for _, b in changed]
        assert [(a["family"], a["rule"]) for a, _ in changed] == UNEQUAL.get((table, kind), [])


@pytest.mark.parametrize("folder", sorted(FOUND["rows"]))
def test_no_row_of_the_first_release_is_lost(folder):
    assert hashlib.sha256(gathered()[folder]["rows.csv"]).hexdigest() == FOUND["rows"][folder]


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


# --- the rows of its loop ------------------------------------------------------------------------

#: On digits, over every setting, to six digits; made with one thread and AVX2, by torch 2.14.1.
ROWS = FIXTURES / "first-release-rows.json.gz"
#: The last bits of a sum depend on the vector instructions, and pruning multiplies them.
SAME_BITS = {"ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "1"}


def on_that_machine():
    """Say whether rows can come out to the last bit: that release of torch, those instructions."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return is_x86 and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


@functools.cache
def rows_again(kind):
    """What this file prints when run as a script, with those instructions."""
    command = [sys.executable, "-W", "ignore", __file__, kind]
    env = {**os.environ, **SAME_BITS, "PYTHONPATH": str(Path(gather.__file__).parent)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


needs_that_machine = pytest.mark.skipif(
    not on_that_machine(), reason="other vector instructions give other last bits"
)


@needs_that_machine
@pytest.mark.timeout(600)
def test_the_loop_comes_to_the_rows_of_the_first_release():
    """Alone and in company, over every setting.

    Two columns were wrong there. `mask_distance` of a rule that does not read it depended on who
    ran beside it; it is empty now, but where every check is kept. With even checks `to_end` was
    filled in at the first check alone, with 0.
    """
    num_runs, num_compared = 0, 0
    for about, then, now, expected in pairs_on_digits():
        names, num_rows = changed_columns(then, now)
        assert names <= expected, about
        num_runs, num_compared = num_runs + 1, num_compared + num_rows
    assert num_runs >= 100
    assert num_compared > (3_000 if rounds_as_then() else 300)


def pairs_on_digits():
    """Yield what a run is, its rows then and now, and columns that may be others."""
    then, now = json.loads(gzip.decompress(ROWS.read_bytes())), rows_again("digits")
    if torch.__version__.partition("+")[0] != then["torch"].partition("+")[0]:
        pytest.skip("another torch gives other last bits")
    assert len(now["alone"]) == len(then["alone"]) >= 59
    for a, b in zip(then["alone"], now["alone"], strict=True):
        yield a["options"], a["rows"], b["rows"], set()
    for a, b in zip(then["together"], now["together"], strict=True):
        expected = {"to_end"} if a["options"].get("spacing") != "doubling" else set()
        expected |= set() if a["every_check"] else {"mask_distance"}
        for rule, rows in a["rows"].items():
            yield (a["options"], rule), rows, b["rows"][rule], expected


@functools.cache
def rounds_as_then():
    """Whether every bit is that of the first release: its kind of processor, not only its code."""
    exact = functools.partial(changed_columns, rel_tol=0.0)
    return all(exact(then, now)[0] <= may for _, then, now, may in pairs_on_digits())


def changed_columns(then, now, rel_tol=1e-4):
    """Columns that hold another value where the first release had one, and how many rows agree.

    A processor of another kind may round the last digit otherwise, though its instructions have the
    same names, and training multiplies that. So from the first row on that differs, by rounding
    and no more, a run tells nothing further.
    """
    names = [name for name in then if name != "rule"]
    rows = zip(
        itertools.zip_longest(*(then[name] for name in names)),
        itertools.zip_longest(*(now[name] for name in names)),
        strict=True,
    )
    num_equal = 0
    changed = set()
    for old, new in rows:
        other = [(k, a, b) for k, a, b in zip(names, old, new, strict=True) if a not in (None, b)]
        is_rounding = [
            isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=rel_tol)
            for _, a, b in other
        ]
        changed |= {k for (k, _, _), so in zip(other, is_rounding, strict=True) if not so}
        if any(is_rounding):
            break
        num_equal += 1
    return changed, num_equal


def test_a_column_that_is_off_by_more_than_rounding_is_named():
    then = {"flow_distance": [0.0167486, None, 2.0], "level": [1, 2, 3], "rule": ["a", "b", "c"]}
    assert changed_columns(then, then) == (set(), 3)
    rounded = then | {"flow_distance": [0.0167488, 1.0, 3.0]}
    assert changed_columns(then, rounded) == (set(), 0)
    assert changed_columns(then, rounded, rel_tol=0.0) == ({"flow_distance"}, 3)
    off = then | {"flow_distance": [0.01676, 1.0, 2.0]}
    assert changed_columns(then, off) == ({"flow_distance"}, 3)
    assert changed_columns(then, then | {"level": [1, 2, 4]}) == ({"level"}, 3)


@needs_that_machine
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not data.available("mnist"), reason="needs MNIST")
def test_the_committed_rows_of_the_mlp_come_out_again():
    """Two rules of seed 0, 34 levels, all that was measured, to all six digits."""
    if not rounds_as_then():
        pytest.skip("a processor that rounds otherwise, as the rows on digits show")
    held = rows_again("mnist")
    table = pd.read_csv(io.BytesIO(gathered()["mlp/fixed-0"]["rows.csv"]))
    if evidence.provenance("mlp")["fixed-0"]["versions"]["torch"] != version("torch"):
        pytest.skip("another torch gives other last bits")
    assert set(held) == {"k = 1", "information 0.11, published"}
    for rule, rows in held.items():
        committed = table[table["rule"] == rule].drop(columns=["train_s", "measure_s", "setting"])
        assert len(committed) == 17
        then = {
            name: [None if value != value else value for value in column.tolist()]
            for name, column in committed.items()
        }
        measured = {name for name, column in then.items() if any(v is not None for v in column)}
        assert {"train_loss", "information_trained", "gradient_trained", "overlap"} <= measured
        assert changed_columns(then, rows, rel_tol=0.0)[0] == set()


def number(value):
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else float(f"{value:.6g}")


def columns_of(rows):
    table = [asdict(row) for row in rows]
    return {name: [number(row[name]) for row in table] for name in table[0]}


def again_on_digits():
    """Run what the fixture holds."""
    then = json.loads(gzip.decompress(ROWS.read_bytes()))

    def config(*parts):
        options = {"monitor": True, "gradient_probe": 2000}  # its defaults
        options |= {name: value for part in parts for name, value in part.items()}
        if "fixed" in options:
            options["stop"] = FixedEpochs(options.pop("fixed"))
        if "epochs_of" in options:
            options["stop"] = Schedule(options.pop("epochs_of"))
        return Config(**options)

    alone = [
        {"rows": columns_of(run(config(then["base"], each["options"])))} for each in then["alone"]
    ]
    together = []
    for each in then["together"]:
        configs = {
            rule: config(then["many"], each["options"], own) for rule, own in then["rules"].items()
        }
        results = compare(configs, "full", every_check=each["every_check"])
        together.append({"rows": {found.rule: columns_of(found.stops) for found in results}})
    return {"alone": alone, "together": together}


def again_on_mnist():
    """Run two rules as the experiments do, held against the committed masks of full retraining."""
    import tables

    configs = tables.configs_of("mlp", "fixed", 0, "cpu")
    with tempfile.TemporaryDirectory() as scratch:
        gather.restore("mlp/fixed-0".__eq__, Path(scratch))
        folder = Path(scratch, "mlp", "fixed-0")
        final = tables._read_masks(folder, tables.settings_of(folder, configs["full"]))
    rules = {rule: configs[rule] for rule in ("k = 1", "information 0.11, published")}
    return {
        found.rule: columns_of([row for row in found.stops if row.stopped])
        for found in compare(rules, final_masks=final, every_check=True)
    }


if __name__ == "__main__":
    found = {"digits": again_on_digits, "mnist": again_on_mnist}[sys.argv[1]]()
    print(json.dumps(found))
