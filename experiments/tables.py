"""Make the runs that are missing in the tables, two at a time, one thread each.

make results                     all tables but those for a GPU: about two nights on two cores
make results ONLY="mlp convnet"  some of them; what is there is skipped, what was killed goes on

With --device cuda the runs are made on a GPU. The column `device` says where each was made: rules
of one folder may have been run on different ones, and then share seeds but no bits.

A folder is one network, one way to prune, one seed, and holds all stop rules: rows.csv has a row
for each rule and level, run.json says with what settings, full.safetensors has the final masks of
full retraining, with which the others are compared. A rule added to EVERYTHING, or to CORE, is the
only one that is run the next time. What the newer tables are for, and what they cost, protocol.md
says; replays join a table when it is run again after `make gather` has the rows of all its seeds.
"""

import argparse
import functools
import hashlib
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import gather
import numpy as np
import replay
import torch

from infcop_lite import labels, ledger, records, stopping
from infcop_lite.collecting import with_device
from infcop_lite.compute import accelerator, threads
from infcop_lite.config import Config
from infcop_lite.identity import identity
from infcop_lite.loop import compare
from infcop_lite.masks import Masks
from infcop_lite.resuming import about_start
from infcop_lite.rows import Row, from_csv
from infcop_lite.stopping import FixedEpochs, Schedule
from infcop_lite.sweep import run_many
from infcop_lite.train import AUTOCAST
from infcop_lite.tree import Result

FULL = "full"
WIDE = ("airnet-64", "airnet-64-converged", "airnet-64-epochs")
FOR_A_GPU = ("resnet18", "vgg16", *WIDE)  # tables that a CPU runs for days, and only if asked
EXACT = {"tf32": False}  # how a GPU multiplies; noted at every start
LARGEST = 2**24  # weights; the masks of more would weigh megabytes

Rules = Mapping[str, Mapping[str, Any]]

CONTROLS: dict[str, Any] = {
    f"k = {k:g}": {"stop": FixedEpochs(k)} for k in (0, 0.125, 0.25, 0.5, 1, 2, 4)
}
ACCURACY: dict[str, Any] = {"accuracy": {"stop": "accuracy"}}


def flow_rule(flow: str, epsilon: float, reference: str) -> dict[str, Any]:
    """Return the rule that compares a flow with a reference, under its name."""
    rule = {"stop": flow, "epsilon": epsilon, "reference": reference}
    return {f"{flow} {epsilon:g}, {reference}": rule}


def sure_rule(epsilon: float, reference: str, confidence: float) -> dict[str, Any]:
    """Return the rule that is sure that the information flow is close, under its name."""
    rule = stopping.FlowConsistency("information", epsilon, confidence=confidence)
    label = f"information {epsilon:g}, {reference}, confidence {confidence:g}"
    return {label: {"stop": rule, "reference": reference}}


def price_rule(price: float) -> dict[str, Any]:
    """Return the rule that trains as long as an epoch is worth its price, under its name."""
    return {f"price {price:g}": {"stop": stopping.PriceOfTime(price)}}


def mask_rule(epsilon: float) -> dict[str, Any]:
    """Return the rule that waits for a stable mask, under its name."""
    return {f"mask {epsilon:g}": {"stop": "mask", "epsilon": epsilon, "patience": 1}}


FLOW: dict[str, Any] = {}
for kind in itertools.product(("information", "gradient"), (0.5, 1.0), ("warmup", "trained")):
    FLOW |= flow_rule(*kind)
PUBLISHED: dict[str, Any] = {
    f"{flow} {epsilon:g}, published": {"stop": flow, "epsilon": epsilon, "absolute": True}
    for flow, epsilon in stopping.PUBLISHED.items()
}
OTHERS: dict[str, Any] = {
    "small gradient 0.2": {"stop": "small-gradient", "epsilon": 0.2},
    "small gradient 5": {"stop": "small-gradient", "epsilon": 5.0},
    **mask_rule(0.1),
    **mask_rule(0.2),
    **{f"patience {n}": {"stop": "patience", "patience": n} for n in (1, 2)},
}
#: Our rule in two lengths, fixed before any test result was looked at: no tolerance, no cost, the
#: same for every task. Only the mask survives rewinding (T5.5), and the ranking of a network that
#: is worse than the snapshot it was rewound to is no better informed than the snapshot's own.
OURS: dict[str, Any] = {
    "ours: loss recovered": {"stop": "loss"},
    "ours: twice as long": {"stop": "twice-loss"},
}
#: A third of the levels each: the same epochs as k = 1, spent early or late.
SPREADS: dict[str, Any] = {
    f"{name} 1": {"stop": Schedule(tuple(epochs))}
    for name, epochs in {
        "early": [2.0] * 5 + [0.75] * 5 + [0.25] * 6,
        "late": [0.25] * 6 + [0.75] * 5 + [2.0] * 5,
    }.items()
}
#: What protocol.md names and the library did not have when its first runs were made.
WAITED: dict[str, Any] = sure_rule(0.5, "warmup", 0.95) | price_rule(0.1)
EVERYTHING = OURS | CONTROLS | ACCURACY | PUBLISHED | FLOW | OTHERS
ALL = EVERYTHING | WAITED  # the older tables are not run again for what waited
CORE = (
    *OURS,
    *("k = 0", "k = 0.25", "k = 0.5", "k = 1", "k = 2", "accuracy", "patience 1"),
    *("information 0.11, published", "gradient 0.5, published"),
    *("information 0.5, warmup", "information 0.5, trained", "gradient 0.5, trained"),
)
ENDS = {name: EVERYTHING[name] for name in ("k = 0", "k = 1")}
FEW = OURS | {
    name: EVERYTHING[name]
    for name in (
        *("k = 0", "k = 0.25", "k = 0.5", "k = 1", "k = 2", "accuracy"),
        *("information 0.11, published", "gradient 0.5, published"),
        *("information 0.5, warmup", "information 0.5, trained"),
    )
}
#: For the explorer: the tolerance turned from "never fires" to "fires at once".
GRID: dict[str, Any] = {name: rule for name, rule in CONTROLS.items() if name != "k = 4"}
for flow, reference in (
    ("information", "warmup"),
    ("information", "trained"),
    ("gradient", "warmup"),
):
    for epsilon in (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0):
        GRID |= flow_rule(flow, epsilon, reference)
for epsilon in (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3):
    GRID |= mask_rule(epsilon)
DEEPER = (
    *("k = 0.125", "k = 4", "mask 0.2", "information 1, warmup", "information 1, trained"),
    *("gradient 0.5, warmup", "gradient 1, trained"),
)


@dataclass(frozen=True)
class Family:
    """One way to prune: what it changes, the rules that are compared, the seeds.

    The rows hold where each rule ended each level; with `every_check`, all its checks. A rule is
    replayed from the first table/family of `replay` that has it, once that is gathered with all its
    seeds.
    """

    own: Mapping[str, Any]
    rules: Rules
    seeds: Sequence[int]
    every_check: bool = False
    replay: Sequence[str] = ()
    late: Sequence[str] = ()


def core(*more: str) -> Rules:
    """Return the rules that every table has."""
    return {name: ALL[name] for name in (*CORE, *more)}


ALIKE = {
    "last_schedule": "linear",
    "spacing": "doubling",
    "probe_size": 1000,
    "gradient_probe": 1000,
    "warmup_epochs": 2,
    "levels": 40,
}
MNIST = ALIKE | {"data": "mnist", "subset": 20_000, "check_steps": 18, "final_density": 0.03}
CIFAR = ALIKE | {"data": "cifar10", "check_steps": 18, "final_density": 0.1, "fraction": 0.36}
#: The networks of the paper, at the size of the data, from scratch: no pretrained weights, not 224
#: pixels. The long warm-up is a level of training, so that the snapshot is near convergence.
PUBLISHED_NET = {"subset": 20_000, "warmup_epochs": 8, "epochs": 4}
#: With gamma = 1 it has not reached the final density after 40 levels.
SAP_HALF = {"amount": "sap", "p": 0.5, "q": 1.0, "gamma": 3.0, "scope": "global"}
SAP_ONE = {"amount": "sap", "p": 1.0, "q": 2.0, "scope": "global"}
ALONE: dict[str, Any] = {"threads": 1, "monitor": False}
SHARED: dict[str, dict[str, Any]] = {
    "mlp": MNIST | {"model": "mlp", "epochs": 8},
    "convnet": CIFAR | {"model": "convnet", "subset": 20_000, "epochs": 8},
    "convnet-cpu": CIFAR | {"model": "convnet", "subset": 20_000, "epochs": 8},
    "lenet5": MNIST | {"model": "lenet5", "epochs": 8, "fraction": 0.36},
    "resnet20": CIFAR | {"model": "resnet20", "subset": 20_000, "epochs": 4},
    "resnet18": CIFAR | PUBLISHED_NET | {"model": "resnet18"},
    "vgg16": CIFAR | PUBLISHED_NET | {"model": "vgg16", "lr": 0.01},
    "mlp-grid": MNIST | {"model": "mlp", "epochs": 4, "fraction": 0.36},
    "convnet-grid": CIFAR | {"model": "convnet", "subset": 10_000, "check_steps": 9, "epochs": 4},
}


def budgets(seeds: Sequence[int], *epochs: float) -> dict[str, Family]:
    """Return full retraining with other budgets: is the one that is used no longer than needed?"""
    return {f"budget-{n:g}": Family({"epochs": n}, {}, seeds) for n in epochs}


TABLES = {
    "mlp": {
        "fixed": Family({}, EVERYTHING | SPREADS, range(5)),
        "fixed-global": Family({"scope": "global"}, core(), range(5)),
        "sap-one": Family(SAP_ONE, core(), range(5)),
        "sap-half": Family(SAP_HALF, core(), range(5)),
        "sap-half-layerwise": Family(SAP_HALF | {"scope": "layerwise"}, ENDS, range(5)),
        "long-warmup": Family(
            {"warmup_epochs": 16}, OURS | CONTROLS | ACCURACY | PUBLISHED | FLOW, range(5)
        ),
        **budgets(range(5), 1, 2, 4, 16),
    },
    "convnet": {
        "fixed": Family({}, core(*DEEPER), range(5)),
        **budgets(range(5), 2, 4, 16),
        "long-warmup": Family({"warmup_epochs": 8}, core(), range(3)),
    },
    # the same seed on another kind of device: what of the differences is chance?
    "convnet-cpu": {"fixed": Family({}, core(*DEEPER), range(1))},
    "lenet5": {
        "fixed": Family({}, core("k = 4"), range(5)),
        **budgets(range(2), 2, 4),
    },
    "resnet20": {
        "fixed": Family({}, FEW, range(3)),
        **budgets(range(3), 2, 8),
    },
    "resnet18": {"fixed": Family({}, FEW, range(2))},
    "vgg16": {"fixed": Family({}, FEW, range(1))},
    "mlp-grid": {"fixed": Family({}, GRID, range(5), every_check=True)},
    "convnet-grid": {"fixed": Family({}, GRID, range(3), every_check=True)},
}


# --- what protocol.md announces: new tables, under settings that no older one has ---

#: What it recommends once it does, by table: settings of one family. Until then nobody looks.
RECIPE: Mapping[str, Mapping[str, Any]] = {}
CONFIRMATION = ("mlp-fashion", "lenet5-fashion")

LOSS = "ours: loss recovered"
ARMS = (
    *("k = 0", "k = 0.5", "k = 1", "k = 2", "k = 4", LOSS),
    *("information 0.11, published", "information 0.5, warmup"),
)
AIRNET: dict[str, Any] = {
    **{"data": "cifar10", "model": "airnet", "augment": "flip-shift", "label_smoothing": 0.2},
    "autocast": "bfloat16",
    **{"batch_size": 250, "lr": 0.2, "scope": "global", "fraction": 0.445, "final_density": 0.1},
    **{"levels": 40, "check_steps": 18, "spacing": "doubling", "probe_size": 1000},
}


def arms(*more: str, without: Sequence[str] = ()) -> Rules:
    """Return the rules that protocol.md names for every network."""
    return {name: ALL[name] for name in (*ARMS, *more) if name not in without}


ALL_ARMS = arms("gradient 0.5, trained", *WAITED)
#: What the primary endpoint needs, for more seeds.
FEW_ARMS = {name: EVERYTHING[name] for name in ("k = 0", "k = 0.5", "k = 1", LOSS)}


def dense(seeds: Sequence[int], schedule: str, *totals: float) -> dict[str, Family]:
    """Return networks that are never pruned: what so many epochs are worth without."""
    own: dict[str, Any] = {"levels": 0, "final_density": None, "warmup_epochs": 0}
    own["schedule"] = schedule
    return {f"dense-{n:g}": Family(own | {"dense_epochs": n}, {}, seeds) for n in totals}


def gradual(seeds: Sequence[int], fraction: float, *totals: float) -> dict[str, Family]:
    """Return gradual pruning: a ninth of the epochs dense, four in 16 small steps, four after."""
    own = {"rewind": "none", "fraction": fraction, "last_schedule": "linear", "check_steps": None}
    return {
        f"gradual-{n:g}": Family(
            own | {"warmup_epochs": n / 9, "epochs": n / 36, "final_epochs": 4 * n / 9}, {}, seeds
        )
        for n in totals
    }


def lr_rewind(
    seeds: Sequence[int], prunings: int, schedule: str, *totals: float
) -> dict[str, Family]:
    """Return learning-rate rewinding: every level repeats the whole schedule, at equal lengths."""
    own: dict[str, Any] = {"rewind": "none", "warmup_epochs": 0, "check_steps": None}
    own |= dict.fromkeys(("schedule", "level_schedule", "last_schedule"), schedule)
    lengths = ("dense_epochs", "epochs", "final_epochs")
    return {
        f"lr-rewind-{n:g}": Family(own | dict.fromkeys(lengths, n / (prunings + 1)), {}, seeds)
        for n in totals
    }


def budgeted(
    seeds: Sequence[int], prunings: int, schedule: str, *totals: float
) -> dict[str, Family]:
    """Return budgeted pruning: four ninths dense, three in short levels, two in the last one."""
    own: dict[str, Any] = {"rewind": "none", "warmup_epochs": 0, "check_steps": None}
    own["schedule"] = schedule
    own |= {"level_schedule": "linear", "last_schedule": "linear"}
    families = {}
    for n in totals:
        lengths = {"dense_epochs": 4 * n / 9, "epochs": n / (3 * (prunings - 1))}
        families[f"budgeted-{n:g}"] = Family(own | lengths | {"final_epochs": 2 * n / 9}, {}, seeds)
    return families


SHARED |= {
    "mlp-replay": SHARED["mlp"],
    "mlp-epochs": SHARED["mlp"],
    "lenet5-global": SHARED["lenet5"] | {"scope": "global"},
    # levels at a constant rate: a schedule over a length that a rule does not know beforehand, and
    # its replay does, would be a second difference between the two
    "airnet": AIRNET
    | {"warmup_epochs": 2, "epochs": 6, "final_epochs": 10, "last_schedule": "triangular"},
    # the snapshot is the converged network; the rate of the levels is a tenth of its own
    "airnet-converged": AIRNET
    | {"warmup_epochs": 16, "schedule": "triangular", "level_lr": 0.02}
    | {"epochs": 4, "final_epochs": 4, "last_schedule": "linear"},
    "airnet-epochs": AIRNET,
    "mlp-fashion": SHARED["mlp"] | {"data": "fashion-mnist"},
    "lenet5-fashion": SHARED["lenet5"] | {"data": "fashion-mnist", "scope": "global"},
}
LOOKING = {name: EVERYTHING[name] for name in replay.adaptive(EVERYTHING)}
#: On the MLP they cost more than half of full retraining: late, they would be cut at the budget.
_DEAR = ("information 0.5, warmup", "information 0.5, trained", "information 1, trained")
_CHEAP = tuple(name for name in LOOKING if name not in _DEAR)
_REWOUND = arms("gradient 0.5, warmup", without=("k = 4",))  # which here is full retraining
_GOING_ON = {**_REWOUND, **WAITED}
TABLES |= {
    "mlp-replay": {
        "fixed": Family(
            {},
            CONTROLS | LOOKING | WAITED,
            range(5),
            replay=("mlp/fixed", "mlp-replay/fixed"),  # the latter has what waited
            late=_CHEAP,
        ),
        "fresh": Family({}, FEW_ARMS, range(5, 15), replay=("mlp/fixed",), late=(LOSS,)),
    },
    "airnet": {
        "fixed": Family({}, ALL_ARMS, range(5), replay=("airnet/fixed",), late=(LOSS,)),
        **dense(range(5), "triangular", 16, 36),
    },
    "airnet-converged": {
        "going-on": Family(
            {"rewind": "none"}, _GOING_ON, range(5), replay=("airnet-converged/going-on",)
        ),
        "rewound": Family({}, _REWOUND, range(3)),
    },
    "airnet-epochs": {
        **gradual(range(3), 0.136, 7, 12, 16, 24, 36),
        **lr_rewind(range(3), 4, "triangular", 16, 36),
        **budgeted(range(3), 4, "triangular", 16, 24, 36),
    },
    "mlp-epochs": {
        **dense(range(5), "linear", 26, 138),
        **gradual(range(5), 0.2, 15, 26, 50, 90, 138),
        **lr_rewind(range(5), 16, "linear", 26, 138),
        **budgeted(range(5), 16, "linear", 26, 50, 138),
    },
    "lenet5-global": {
        "fixed": Family(
            {}, core("k = 4", *WAITED), range(5), replay=("lenet5-global/fixed",), late=(LOSS,)
        ),
        "fresh": Family({}, FEW_ARMS, range(5, 10), replay=("lenet5-global/fixed",), late=(LOSS,)),
        **dense(range(5), "linear", 18, 74),
        **gradual(range(5), 0.2, 14, 18),
    },
    **{
        table: {
            "fixed": Family({}, ALL_ARMS, range(5), replay=(f"{table}/fixed",)),
            **dense(range(5), "linear", *totals),
            "recipe": Family(RECIPE.get(table, {}), {}, range(5)),
        }
        for table, totals in zip(CONFIRMATION, ((26, 138), (18, 74)), strict=True)
    },
}
#: The tables of airnet again, of a network four times as wide, with ten seeds.
for wide in WIDE:
    narrow = wide.replace("-64", "")
    SHARED[wide] = SHARED[narrow] | {"model": "airnet-64"}
    TABLES[wide] = {
        name: replace(
            family,
            seeds=range(10),
            replay=tuple(place.replace(narrow, wide) for place in family.replay),
        )
        for name, family in TABLES[narrow].items()
    }


def configs_of(table: str, family: str, seed: int, device: str) -> dict[str, Config]:
    """Return rule -> config of one folder; full retraining comes first."""
    wanted = TABLES[table][family]
    fixed = {**SHARED[table], **wanted.own, **ALONE, "seed": seed, "device": device}
    rules = {FULL: {}, **wanted.rules, **controls_of(wanted, seed)}
    return {name: Config(**{**fixed, **rule}) for name, rule in rules.items()}


def controls_of(wanted: Family, seed: int) -> Rules:
    """Return the rules of a family as timetables, once their rows are there."""
    found: dict[str, Any] = {}
    left = dict(wanted.rules)
    for place in wanted.replay:
        source, _, family = place.partition("/")
        rows, whose = replay.gathered(source, family, gather.RESULTS), TABLES[source][family]
        rules = {name: left.pop(name) for name in list(left) if name in whose.rules}
        found |= replay.controls(rows, rules, whose.seeds, seed, wanted.late)
    return found


def unsettled(table: str) -> str:
    """Say why a table that confirms must not be run yet; nothing if it may."""
    if table not in CONFIRMATION or table in RECIPE:
        return ""
    return f"{table} waits until protocol.md names what it is to confirm; see RECIPE in tables.py"


def settings_of(folder: Path, config: Config) -> dict[str, Any]:
    """Return what identifies a folder: a config, but the device on which the folder was begun."""
    if not (folder / records.RUN).exists():
        return identity(config)
    return identity(config) | {"device": records.read(folder)[1]["config"]["device"]}


def run_folder(device: str, table: str, family: str, seed: int) -> float:
    """Run the rules that are missing in one folder; return the seconds that took."""
    if problem := unsettled(table):
        raise ValueError(problem)
    folder = gather.RUNS / table / f"{family}-{seed}"
    configs = configs_of(table, family, seed, device)
    about = settings_of(folder, configs[FULL])
    records.begin(folder, about)
    with ledger.lock(folder):
        return complete(folder, about, configs, TABLES[table][family].every_check)


def complete(
    folder: Path, about: Mapping[str, Any], configs: Mapping[str, Config], every_check: bool
) -> float:
    """Run the rules of a folder that are missing there; return the seconds that took."""
    started, config = time.perf_counter(), configs[FULL]
    rows: list[dict[str, Any]] = []
    seconds, final_masks = 0.0, None
    if (folder / records.RUN).exists():
        held, record = records.read(folder)
        made_on = with_device(held, record)["device"]
        text = (folder / records.ROWS).read_text(encoding="utf-8")  # not a bit of it may change
        blank = dict.fromkeys((f.name for f in fields(Row)), "")  # columns of later releases
        rows = [
            blank | _rule_of(row, config) | row | {"device": where}
            for row, where in zip(from_csv(text), made_on, strict=True)
        ]
        seconds = record["seconds"]
        final_masks = _read_masks(folder, about)
    stale = {(r["rule"], r["setting"]) for r in rows} - {
        (n, _setting(c)) for n, c in configs.items()
    }
    if stale:
        raise ValueError(f"{folder} holds {stale}, which the script now defines otherwise")
    done = {row["rule"] for row in rows}
    if final_masks is None and done < set(configs):
        done.discard(FULL)  # the rules that are missing are held against its final masks
    rows = [row for row in rows if row["rule"] in done]
    missing = {name: config for name, config in configs.items() if name not in done}
    if not missing:
        return 0.0
    gpu, earlier = accelerator(config.device), ledger.starts(folder)
    start = {"rules": list(missing)} | about_start(config.device, config.threads)
    start |= EXACT | {"sums": sums(config.device, config.autocast)}
    for result in exact(compare(missing, FULL, final_masks, every_check)):
        rows += _rows(result, configs[result.rule])
        if result.rule == FULL and sum(m.numel() for m in result.masks.values()) < LARGEST:
            _write_masks(folder, about, result.masks)
        now = time.perf_counter() - started
        command = f'make results ONLY="{folder.parent.name}"'
        records.save(folder, about, rows, command, True, seconds + now, gpu)
        ledger.note_start(folder, [*earlier, start | {"seconds": round(now, 3)}])
    return time.perf_counter() - started


def sums(device: str, autocast: str = "none") -> str:
    """Return a digest of how a machine adds up, on one thread, under a setting of `Config`.

    Processors of one instruction set may differ in the last bits, which training multiplies. Where
    two digests differ, no run comes out again to the digit.
    """
    with threads(1):
        draw = torch.Generator().manual_seed(0)
        a, b = (torch.randn(n, 784, generator=draw).to(device) for n in (128, 300))
        product = a @ b.T
        images = a[:16].reshape(16, 1, 28, 28)
        kernels = b[:200].reshape(8, 25, 784)[:, :, :25].transpose(1, 2).reshape(200, 1, 5, 5)
        convolved = torch.nn.functional.conv2d(images, kernels)
        parts = [product, product.T @ a, convolved, product.softmax(1).log()]
        if mixed := AUTOCAST[autocast]:
            parts.append((a.to(mixed) @ b.T.to(mixed)).float())
    return hashlib.sha256(b"".join(p.cpu().numpy().tobytes() for p in parts)).hexdigest()[:12]


def exact(results: Iterable[Result]) -> Iterator[Result]:
    """Yield results that are computed without TF32, in which a GPU keeps 10 bits of each factor."""
    backends: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = EXACT["tf32"]
        yield from results
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


def _rule_of(row: Mapping[str, str], config: Config) -> dict[str, Any]:
    """Return the columns that say which rule a row is of, if the first release wrote it."""
    return {} if row.get("kind") else labels.from_setting(row["setting"], config.epochs)


def _setting(config: Config) -> str:
    rule = ("epsilon", "price", "confidence", "absolute", "patience", "reference")
    changed = {k: getattr(config, k) for k in rule if getattr(config, k) != getattr(Config, k)}
    return " ".join([f"stop={config.stop}", *(f"{k}={v}" for k, v in changed.items())])


def _rows(result: Result, config: Config) -> list[dict[str, Any]]:
    rows = [asdict(stop) | {"setting": _setting(config)} for stop in result.stops]
    return [{k: short(value) for k, value in row.items()} for row in rows]


def short(value: Any) -> Any:
    """Return a number with six digits, as the tables hold them."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _write_masks(folder: Path, settings: Mapping[str, Any], masks: Masks) -> None:
    bits = {name: np.packbits(mask.cpu().numpy()) for name, mask in masks.items()}
    shapes = {f"shape of {name}": np.array(mask.shape) for name, mask in masks.items()}
    records.save_tensors(folder, FULL, bits | shapes, settings)


def _read_masks(folder: Path, settings: Mapping[str, Any]) -> Masks | None:
    try:
        arrays, _ = records.read_tensors(folder, FULL, settings)
    except FileNotFoundError:
        return None
    masks = {}
    for name, bits in arrays.items():
        if not name.startswith("shape of "):
            shape = arrays[f"shape of {name}"]
            mask = np.unpackbits(bits, count=int(shape.prod())).astype(bool)
            masks[name] = torch.from_numpy(mask.reshape(shape))
    return masks


def run_jobs(
    run: Callable[[str, str, int], float], jobs: Sequence[tuple[str, str, int]], processes: int
) -> int:
    """Run jobs (table, name, seed) side by side, and print each when it is done.

    Returns:
        The exit code: 2 if one of them failed.
    """
    tasks = {" ".join(map(str, job)): functools.partial(run, *job) for job in jobs}

    def report(name: str, problem: str) -> None:
        print(f"{name}: {problem}" if problem else name, flush=True)

    return 2 if run_many(tasks, processes=processes, report=report) else 0


def add_resources(parser: argparse.ArgumentParser) -> None:
    """Add the options that say on what to run."""
    parser.add_argument(
        "--processes", type=int, default=2, help="side by side; default %(default)s"
    )
    parser.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="where to compute; default %(default)s",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Make the runs missing in the tables.")
    parser.add_argument(
        "tables", nargs="*", help=f"of {', '.join(TABLES)}; all but those for a GPU"
    )
    add_resources(parser)
    options = parser.parse_args()
    if unknown := set(options.tables) - set(TABLES):
        parser.error(f"no table {', '.join(sorted(unknown))}; choose from {', '.join(TABLES)}")
    for problem in filter(None, map(unsettled, options.tables)):
        parser.error(problem)
    affordable = [
        t for t in TABLES if not unsettled(t) and (t not in FOR_A_GPU or options.device == "cuda")
    ]
    wanted = options.tables or affordable
    gather.restore(lambda name: name.partition("/")[0] in wanted)
    jobs = [
        (table, name, seed)
        for table in wanted
        for name, family in TABLES[table].items()
        for seed in family.seeds
    ]
    return run_jobs(functools.partial(run_folder, options.device), jobs, options.processes)


if __name__ == "__main__":
    sys.exit(main())
