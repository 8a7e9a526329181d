"""Which rule a row is of, in columns that every release shares; what to call it among others.

The first release wrote a rule as text, ``setting``. It is parsed here and nowhere else.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from .stopping import HELD_AGAINST

FULL = "full"
#: What `Row.kind` may be; those that read nothing are the controls of all others.
KINDS: tuple[str, ...] = (FULL, "constant", "schedule", "flow", "gradient", "loss", "accuracy")
KINDS += ("mask", "patience", "any", "own")
#: Columns of `Row` that say which rule it is of.
COLUMNS = ("kind", "stop", "epsilon", "absolute", "reference", "epochs_fixed")
#: Settings that make a rule, of which some are no columns.
RULE = ("stop", "epsilon", "absolute", "patience", "reference", "price", "confidence")
#: Those that are no columns -> the names of the rules that they matter to.
MORE = {"patience": {"mask", "patience"}, "price": {"price", "break-even"}}
MORE |= {"confidence": {"information"}}

_KIND_OF = {"budget": FULL, "accuracy": "accuracy", "information": "flow", "gradient": "flow"}
_KIND_OF |= {"small-gradient": "gradient", "mask": "mask", "patience": "patience"}
_KIND_OF |= {"loss": "loss", "twice-loss": "loss"}
_TOLERANT = {"information", "gradient", "small-gradient", "mask"}
_NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"
_SETTING = re.compile(
    r"stop=(?P<stop>[a-z+-]+|FixedEpochs\(n=(?P<n>N)\)|Schedule\(epochs=\(N,(?: N(?:, N)*)?\)\))"
    r"(?: epsilon=(?P<epsilon>N))?(?: absolute=(?P<absolute>True|False))?"
    r"(?: patience=\d+)?(?: reference=(?P<reference>warmup|trained))?".replace("N", _NUMBER)
)


def from_setting(setting: str, budget: float = math.nan) -> dict[str, Any]:
    """Return the columns that say which rule it is from the text that the first release wrote.

    Values at the defaults of that release, epsilon 0.25 and the rest, are left out
    there.

    Args:
        setting: such as ``stop=information epsilon=0.5 reference=trained``.
        budget: epochs of a level, which full retraining trains.

    Returns:
        ``kind``, ``stop``, ``epsilon``, ``absolute``, ``reference`` and ``epochs_fixed``, as in
        `Row`.

    Raises:
        ValueError: text that the first release cannot have written.

    >>> from_setting("stop=FixedEpochs(n=0.5)")["epochs_fixed"]
    0.5
    """
    found = _SETTING.fullmatch(setting)
    names = found["stop"].split("+") if found else []
    if found is None or not (found["stop"].endswith(")") or set(names) <= set(_KIND_OF)):
        raise ValueError(f"no rule of the first release has the setting {setting!r}")
    if found["n"]:
        kind, fixed = "constant", float(found["n"])
    elif found["stop"].startswith("Schedule"):
        kind, fixed = "schedule", math.nan
    else:
        kind = _KIND_OF[names[0]] if len(names) == 1 else "any"
        fixed = budget if "budget" in names else math.nan
    is_flow = bool({"information", "gradient"} & set(names))
    is_held = bool(HELD_AGAINST & set(names))
    return {
        "kind": kind,
        "stop": found["stop"],
        "epsilon": float(found["epsilon"] or 0.25) if _TOLERANT & set(names) else math.nan,
        "absolute": is_flow and found["absolute"] == "True",
        "reference": (found["reference"] or "warmup") if is_held else "",
        "epochs_fixed": fixed,
    }


def with_rules(rows: pd.DataFrame, config: Mapping[str, Any]) -> pd.DataFrame:
    """Return rows that say which rule each is of, whichever release wrote them.

    Rows of other things than stop rules, without a column rule or stop, are returned as they are.

    Args:
        rows: of one folder.
        config: of that folder; says what a single run of the first release stops by.

    Raises:
        ValueError: rows that do not say, or text that is not understood.

    >>> rows = pd.DataFrame({"rule": ["my name"], "setting": ["stop=mask epsilon=0.1 patience=1"]})
    >>> with_rules(rows, {})[["rule", "kind", "epsilon"]]
          rule  kind  epsilon
    0  my name  mask      0.1
    """
    if not {"rule", "stop"} & set(rows):
        return rows
    blank = (rows["kind"] == "") if "kind" in rows else pd.Series(True, index=rows.index)
    if not blank.any():
        return rows
    if "setting" in rows:
        settings = rows["setting"]
    elif "rule" not in rows and "stop" in config:
        settings = pd.Series(_as_setting(config), index=rows.index)
    else:
        raise ValueError("these rows do not say which rule they are of: no kind, no setting")
    found = {text: from_setting(text, config.get("epochs", math.nan)) for text in settings[blank]}
    columns = {}
    for name in COLUMNS:
        values = settings[blank].map({text: rule[name] for text, rule in found.items()})
        if not blank.all():
            values = rows[name].where(~blank, values)
        columns[name] = values.astype(bool) if name == "absolute" else values
    return rows.assign(**columns)


def _as_setting(config: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={config[name]}" for name in RULE if name in config)


def is_full(runs: pd.DataFrame) -> pd.Series:
    """Return which runs are full retraining, by their kind or, where that is missing, by name.

    >>> is_full(pd.DataFrame({"rule": ["budget", "k = 1"], "kind": ["full", "constant"]})).tolist()
    [True, False]
    """
    return (runs["kind"] if "kind" in runs else runs["rule"]) == FULL


def check_kinds(runs: pd.DataFrame) -> None:
    """Refuse runs of which it is not known what kind of rule they are.

    Args:
        runs: with the columns rule and kind.

    Raises:
        ValueError: no column kind, or a word that is none of `KINDS`.

    >>> check_kinds(pd.DataFrame({"rule": ["k = 1"], "kind": ["konstant"]}))
    Traceback (most recent call last):
    ValueError: unknown kind 'konstant' of rule 'k = 1'; choose from accuracy, any, ...
    """
    if "kind" not in runs:
        raise ValueError("runs need a column kind, which says what is a control; see labels.KINDS")
    for rule, kind in zip(runs["rule"], runs["kind"], strict=True):
        if kind not in KINDS:
            known = ", ".join(sorted(KINDS))
            raise ValueError(f"unknown kind {kind!r} of rule {rule!r}; choose from {known}")


def tell_apart(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a label for each rule, with the settings in which rules of one label differ.

    Labels are for people; what a rule is stands in the other columns.

    Args:
        rules: each with its label, ``rule``, and any of the settings `RULE`; what is missing or
            NaN does not matter to that rule.

    >>> tell_apart([{"rule": "mask", "epsilon": 0.1}, {"rule": "mask", "epsilon": 0.2}])
    ['mask, epsilon=0.1', 'mask, epsilon=0.2']
    >>> tell_apart([{"rule": "mask", "epsilon": 0.1}, {"rule": "patience"}])
    ['mask', 'patience']
    """
    values: dict[tuple[str, str], set[str]] = {}
    for rule in rules:
        for name in RULE:
            values.setdefault((rule["rule"], name), set()).add(_short(rule.get(name)))
    labels = []
    for rule in rules:
        differ = [name for name in RULE if len(values[rule["rule"], name]) > 1]
        found = {name: _short(rule.get(name)) for name in differ}
        words = [f"{name}={value}" for name, value in found.items() if value]
        labels.append(", ".join([rule["rule"], *words]))
    return labels


def _short(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.15g}" if isinstance(value, float) else str(value)
