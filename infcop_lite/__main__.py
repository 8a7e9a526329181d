"""Run, sweep, verify, download and referee from the command line."""

import argparse
import shlex
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
from tqdm import tqdm

from . import data, records, referee, results
from ._moved import ANNEAL
from .config import Config
from .options import parser
from .own import FUNCTIONS
from .rows import Row
from .sweep import grid, run_many, run_one
from .terminal import listeners, one_line
from .verifying import replay, verify


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Source: `Config`; one option per field.

    Args:
        arguments: the words after the program's name; those of the process unless given.

    Returns:
        0 when done; 1 if `verify` finds that something differs; 130 after an interruption. 2 after
        a bad input or failed runs of a sweep, with one line each on stderr.
    """
    code = 0  # also of a pipe whose reader had enough
    with listeners():
        code = _main(arguments)
    return code


def _main(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    words = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "infcop_lite", *words])
    try:
        if options.action == "run":
            _run(options, command)
        elif options.action == "sweep":
            return _sweep(options, command)
        elif options.action == "referee":
            _referee(options.places, options.margin, options.family)
        elif options.action == "verify":
            return _verify(options.folder, options.replay)
        else:
            print(f"{options.data} is ready in {data.download(options.data)}")
    except BrokenPipeError:
        raise
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"infcop_lite: error: {one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        out = getattr(options, "out", None)
        kept = f"; the rows so far are in {one_line(str(out))}" if out else ""
        print(f"infcop_lite: interrupted{kept}", file=sys.stderr)
        return 130
    return 0


def _fields(options: argparse.Namespace) -> dict[str, Any]:
    names = [f.name for f in fields(Config) if f.name not in FUNCTIONS]
    found = {name: getattr(options, name) for name in names}
    if options.anneal is not None:
        found |= ANNEAL[options.anneal]
        now = "--level-schedule {level_schedule} --last-schedule {last_schedule}".format(**found)
        print(f"infcop_lite: --anneal {options.anneal} is now {now}", file=sys.stderr)
    return found


def _run(options: argparse.Namespace, command: str) -> None:
    config = Config(**_fields(options))
    with tqdm(total=config.levels + 1, unit="level", disable=None, leave=False) as bar:
        is_new = run_one(config, options.out, command, lambda row: _report(bar, row, config))
    if not is_new:
        print(f"{one_line(str(options.out))} already holds this run, finished")
    rows, _ = records.read(options.out)
    if not {f.name for f in fields(Row)} <= set(rows) or not rows["stopped"].any():
        raise ValueError(f"{options.out / records.ROWS} does not hold the rows of a run")
    print(_table(rows, config))


def _sweep(options: argparse.Namespace, command: str) -> int:
    configs = grid(_fields(options), options.grid)
    with tqdm(total=len(configs), unit="run", disable=None, leave=False) as bar:
        num_done = 0

        def report(name: str, problem: str) -> None:
            nonlocal num_done
            num_done += 1
            bar.update()
            if problem:
                bar.write(f"infcop_lite: error: {name}: {one_line(problem)}", file=sys.stderr)
            elif bar.disable:
                print(f"run {num_done} of {len(configs)}: {name} finished", file=sys.stderr)

        failed = run_many(
            configs, options.out, options.processes, options.scheduler, command, report
        )
    num_finished, out = len(configs) - len(failed), one_line(str(options.out))
    print(f"{num_finished} of {len(configs)} runs are finished in {out}")
    return 2 if failed else 0


def _referee(places: Sequence[str], margin: float | None, family: str | None) -> None:
    tables = [results.rows_at(place) for place in places]
    if len(places) > 1:
        named = zip(tables, places, strict=True)
        tables = [rows.assign(family=f"{place}/" + rows["family"]) for rows, place in named]
    rows = pd.concat(tables, ignore_index=True)
    for text in referee.report(rows, referee.margin_of(rows, margin), family):
        print(textwrap.fill(text, 100, subsequent_indent="    ", break_on_hyphens=False))


def _verify(folder: Path, again: bool) -> int:
    wrong, name = verify(folder), one_line(str(folder))
    if not wrong and again:
        wrong = replay(folder)
    for line in wrong:
        print(f"{name}: {one_line(line)}")
    if not wrong:
        print(f"{name}: rows, network and masks are {'bit for bit ' * again}as the run left them")
    return 1 if wrong else 0


def _report(bar: "tqdm[NoReturn]", row: Row, config: Config) -> None:
    if bar.disable:
        if row.stopped:
            print(
                f"level {row.level}: density {row.density:.4f}, {row.epoch:g} epochs, "
                f"test accuracy {row.test_accuracy:.4f}, {row.elapsed_s:.0f} s so far",
                file=sys.stderr,
            )
        return
    bar.n = row.level + (1 if row.stopped else min(1, row.epoch / max(config.epochs, 1e-9)))
    bar.set_postfix_str(f"density {row.density:.3f}, validation {row.validation_accuracy:.4f}")


def _table(rows: pd.DataFrame, config: Config) -> str:
    ended = rows[rows["stopped"]]
    table = pd.DataFrame(
        {
            "level": ended["level"],
            "density": ended["density"],
            "test accuracy": ended["test_accuracy"],
            "epochs": ended["epoch"],
            "seconds": ended["elapsed_s"].diff().fillna(ended["elapsed_s"]),
        }
    )
    formats = {
        "density": "{:.4f}".format,
        "test accuracy": "{:.4f}".format,
        "epochs": "{:g}".format,
        "seconds": "{:.1f}".format,
    }
    total = ended["epoch"].sum() + config.warmup_epochs
    return (
        table.to_string(index=False, formatters=formats)
        + f"\n{total:g} epochs in all, {config.warmup_epochs:g} of them warm-up, "
        f"in {ended['elapsed_s'].iloc[-1]:.1f} s"
    )


if __name__ == "__main__":
    sys.exit(main())
