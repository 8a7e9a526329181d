"""One check of one rule as a line of a table with the same columns everywhere."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NAN = float("nan")
SECONDS = ("train_s", "measure_s", "elapsed_s")  # all else two runs of one config have in common


@dataclass(frozen=True, kw_only=True)
class Row:
    """One check of one level, by one rule; the same in every table. The last one is the final net.

    What was not measured is NaN; names are empty and numbers of levels, seeds and threads there
    always. Nothing but the seconds depends on whether a rule ran alone, beside others, or was
    killed and resumed.

    Args:
        data, model: names of the data set and of the network.
        rule: label of the rule; where none was given, what ``stop`` says.
        kind: "full", "constant", "schedule", "flow", "gradient", "loss", "accuracy", "mask",
            "patience", "any" (several joined), or "own".
        stop: the setting of that name, a name or the repr of a rule.
        epsilon: tolerance, of rules that have one.
        absolute: whether it is one on the flow distance itself.
        reference: "warmup" or "trained", of rules that read a reference.
        epochs_fixed: epochs per level, of rules that fix them.
        rewind, amount, scope, seed: as in `Config`.
        level: 0 is dense; the last one has the final density.
        epoch: epochs trained in this level.
        density: fraction of the prunable weights that the level has.
        train_loss: since the check before, in nats.
        validation_accuracy, test_accuracy: in [0, 1]; the latter only where the level ends, and
            nothing reads it but the reader.
        flow_distance: of the flow that the rule reads, else the information flow, to the reference.
        reference_norm: of that reference flow.
        distance_error: standard error of the logarithm of that distance, of rules that read it; of
            the distance in units of the reference's norm unless it is absolute.
        information_warmup, information_trained, gradient_warmup, gradient_trained: distance of a
            flow to that of the warm-up snapshot, or of the trained dense network, in units of the
            norm of that.
        gradient_norm: of the surviving weights.
        gradient_probe: training images on which the gradient is measured, where it is.
        mask_distance: how much the next mask has changed; see `Config.spacing`.
        metrics: name -> number of `Config.evaluate`, where a level ends or the rule reads one of
            them; as text it is JSON, or empty.
        to_end: distance of the next mask to that after the whole budget; of what is watched.
        overlap: fraction of the watched rule's final weights that this network still has.
        stopped: the level ends here.
        train_s: processor seconds of training in this level, over all threads.
        measure_s: processor seconds of measuring what the rule reads in this level.
        elapsed_s: seconds since the start of the run.
        device, threads, torch, commit: with what the row was made: "cpu" or the name of the GPU;
            version of torch; commit of this library, if it is known.
    """

    data: str
    model: str
    rule: str = ""
    kind: str = ""
    stop: str
    epsilon: float
    absolute: bool
    reference: str = ""
    epochs_fixed: float = NAN
    rewind: str = "weights"
    amount: str
    scope: str
    seed: int
    level: int
    epoch: float
    density: float
    train_loss: float
    validation_accuracy: float
    test_accuracy: float
    flow_distance: float
    reference_norm: float
    distance_error: float = NAN
    information_warmup: float = NAN
    information_trained: float = NAN
    gradient_warmup: float = NAN
    gradient_trained: float = NAN
    gradient_norm: float
    gradient_probe: int = 0
    mask_distance: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    to_end: float = NAN
    overlap: float = NAN
    stopped: bool
    train_s: float = NAN
    measure_s: float = NAN
    elapsed_s: float
    device: str = ""
    threads: int = 0
    torch: str = ""
    commit: str = ""


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as the text of a CSV file; a number that is not there is empty.

    Args:
        rows: one mapping per check, in order, all with the same keys; those before ``metrics`` was
            a column may lack it.

    Raises:
        ValueError: rows with other keys.

    >>> to_csv([{"level": 0, "loss": NAN}])
    'level,loss\\n0,\\n'
    """
    text = io.StringIO()
    if rows:
        names = list(rows[-1])
        odd = {name for row in rows for name in row.keys() ^ set(names)} - {"metrics"}
        if odd:
            raise ValueError(f"not all rows of one table have the columns {', '.join(sorted(odd))}")
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _as_text(v) for k, v in row.items()} for row in rows)
    return text.getvalue()


def from_csv(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file as text, so that writing them again changes no bit.

    >>> from_csv(to_csv([{"level": 0, "loss": 0.5}]))
    [{'level': '0', 'loss': '0.5'}]
    """
    return list(csv.DictReader(io.StringIO(text)))


def parse(row: Mapping[str, str]) -> Row:
    """Return a row that was written as text; columns that the first release lacked may be missing.

    Raises:
        ValueError, TypeError: text that is no row.

    >>> parse({"level": "0"})
    Traceback (most recent call last):
    TypeError: ...
    """
    kinds = Row.__annotations__
    return Row(**{name: _value(text, kinds[name]) for name, text in row.items()})


def _value(text: str, kind: Any) -> Any:
    if kind is bool:
        return text == "True"
    if kind == Mapping[str, float]:
        return json.loads(text or "{}")
    return kind(text or "nan") if kind is float else kind(text)


def _as_text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return json.dumps(value) if value else ""
    return "" if isinstance(value, float) and math.isnan(value) else value
