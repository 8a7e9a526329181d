"""One run in a folder: killed at any moment and started again, it goes on after its last level."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import records
from .masks import Masks
from .records import Row
from .train import accelerator

PARTS = ("masks", "weights", "references")
FINAL = "network"  # what a finished run ends with: network.safetensors


@dataclass(frozen=True)
class State:
    """Where a run stands between two levels: all that the next level depends on.

    Source: ours; with it a killed run goes on as if nothing had happened.

    Args:
        level: the level to train next; one more than ``levels`` when the run is finished.
        target: validation accuracy of the reference network; NaN before there is one.
        elapsed_s: seconds spent so far.
        masks: of that level; of the final network in a finished run.
        weights: the state dict that is rewound to; that of the final network in a finished run.
        references: flow name -> reference flow; none before there is a reference.
        loss: training loss of the reference network; infinite before there is one.
    """

    level: int
    target: float
    elapsed_s: float
    masks: Masks
    weights: dict[str, Tensor]
    references: dict[str, Tensor]
    loss: float = math.inf


Steps = Callable[[State | None, Callable[[State], None]], Iterator[Row]]


def resume(
    steps: Steps,
    settings: Mapping[str, Any],
    folder: Path | str,
    command: str = "",
    report: Callable[[Row], None] = lambda row: None,
) -> bool:
    """Run a run into a folder; one that was interrupted there goes on after its last level.

    Source: ours. Killed at any moment and started again, it ends with the same rows (but for their
    seconds), weights and masks, bit by bit, on one machine and thread count.

    Args:
        steps: called with a state to go on from, or None, and with what keeps a state; it yields
            the rows that are left, like `imp.run_imp`.
        settings: all that decides the run, JSON values only; ``levels`` is one of them.
        folder: for rows.csv, run.json and network.safetensors.
        command: the command line, for the record.
        report: called with every new row.

    Returns:
        Whether there was anything to do; False if the run was already finished there.

    Raises:
        ValueError: the folder holds another run, or a damaged file; nothing is guessed at.
        OSError: a full disk or a read-only folder; what was there is intact.

    >>> import tempfile
    >>> resume(lambda state, keep: iter([]), {"levels": 1}, tempfile.mkdtemp())
    True
    """
    if records.begin(folder, settings):
        _final(settings, folder)  # without its network it is not finished
        return False
    state = _read(folder, records.STATE, settings)
    kept = records.rows_before(folder, state.level) if state else []
    rows: list[dict[str, Any]] = [*kept]
    saved_s = -math.inf
    gpu = accelerator(settings.get("device", "cpu"))

    def keep(now: State) -> None:
        parts = {part: getattr(now, part) for part in PARTS}
        tensors = {
            f"{p}/{k}": v.cpu().numpy() for p, named in parts.items() for k, v in named.items()
        }
        name = records.STATE if now.level <= settings["levels"] else FINAL
        if not rows:
            records.save(folder, settings, rows, command, accelerator=gpu)
        scalars = {"level": now.level, "target": now.target, "loss": now.loss}
        records.save_tensors(folder, name, tensors, settings, elapsed_s=now.elapsed_s, **scalars)

    for row in steps(state, keep):
        rows.append(asdict(row))
        if row.stopped or time.monotonic() - saved_s > 1:
            records.save(folder, settings, rows, command, accelerator=gpu)
            saved_s = time.monotonic()
        report(row)
    records.save(folder, settings, rows, command, finished=True, accelerator=gpu)
    return True


def finished(settings: Mapping[str, Any], folder: Path | str) -> tuple[State, list[Row]]:
    """Return the final network and the rows of a run that `resume` has finished, bit by bit.

    Source: what `resume` wrote.

    Args:
        settings, folder: as for `resume`.

    Raises:
        ValueError: a file that is damaged or gone, or another run's.
    """
    state = _final(settings, folder)
    num_levels = int(records.read(folder)[0]["level"].max()) + 1
    kinds = Row.__annotations__
    rows = [
        Row(**{name: _parse(text, kinds[name]) for name, text in row.items()})
        for row in records.rows_before(folder, num_levels)
    ]
    return state, rows


def _final(settings: Mapping[str, Any], folder: Path | str) -> State:
    state = _read(folder, FINAL, settings)
    if state is None:
        raise ValueError(
            f"{folder} holds a finished run without its network; choose another folder"
        )
    return state


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """Return a number that other tensors, names, types or shapes do not have, as hexadecimal text.

    Source: SHA-256, FIPS 180-4.

    Args:
        tensors: name -> tensor; what may be trained and what may not differ, too.

    Raises:
        ValueError: a value that is no tensor, or of a type that no file of a run can hold.

    >>> fingerprint({"a": torch.zeros(2)}) == fingerprint({"a": torch.zeros(3)})
    False
    """
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name} is not a tensor; a run in a folder keeps tensors only")
        try:
            array = tensor.detach().cpu().contiguous().numpy()
        except TypeError:
            raise ValueError(f"{name} is of {tensor.dtype}, which a folder cannot hold") from None
        about = f"{name} {tensor.dtype} {tuple(tensor.shape)} {tensor.requires_grad};"
        digest.update(about.encode("utf-8"))
        digest.update(array.tobytes())
    return digest.hexdigest()


def _read(folder: Path | str, name: str, settings: Mapping[str, Any]) -> State | None:
    try:
        arrays, numbers = records.read_tensors(folder, name, settings)
    except FileNotFoundError:
        return None
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    try:
        for key, array in arrays.items():
            part, _, key = key.partition("/")
            parts[part][key] = torch.from_numpy(array)
        level, last = int(numbers["level"]), settings["levels"] + (name == FINAL)
        if level != numbers["level"] or not 0 <= level <= last:
            raise ValueError
        target, seconds, loss = (numbers[name] for name in ("target", "elapsed_s", "loss"))
        return State(level, target, seconds, loss=loss, **parts)
    except (KeyError, ValueError, TypeError):
        raise ValueError(f"the state in {folder} is damaged; delete it to start anew") from None


def _parse(text: str, kind: Any) -> Any:
    if kind is bool:
        return text == "True"
    return kind(text or "nan") if kind is float else kind(text)
