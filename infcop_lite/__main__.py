"""The command line: ``run`` and ``sweep``, from `Config`; ``verify``; ``download``; ``referee``."""

import argparse
import shlex
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import pandas as pd
from tqdm import tqdm

from . import data, records, referee, results
from ._moved import ANNEAL
from .config import Config
from .datasets import SOURCES
from .own import FUNCTIONS
from .rows import Row
from .sweep import grid, run_many, run_one
from .terminal import listeners, one_line
from .verifying import replay, verify


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"infcop_lite: error: {one_line(message)}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Source: `Config`; one option per field.

    Args:
        arguments: the words after the program's name; those of the process unless given.

    Returns:
        0 when done, 1 if `verify` finds that something differs, 2 after a bad input or failed runs
        of a sweep (one line each on stderr), 130 after an interruption.
    """
    code = 0  # also of a pipe whose reader had enough
    with listeners():
        code = _main(arguments)
    return code


def _main(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
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


def _folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("the name of the folder is empty")
    return Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m infcop_lite", description="Information Consistent Pruning.")
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="run | sweep | verify | download | referee"
    )
    helps = {
        "run": ("prune a network and record every check", "folder for rows.csv and run.json"),
        "sweep": ("runs side by side, one for each point of a grid", "a folder for each run in it"),
    }
    hints = get_type_hints(Config)
    for action, (text, out) in helps.items():
        run = actions.add_parser(
            action,
            help=text,
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
            allow_abbrev=False,
        )
        for f in fields(Config):
            if f.name not in FUNCTIONS:
                _add_option(run, f.name, hints[f.name], f.default, f.metadata)
        run.add_argument("--anneal", choices=ANNEAL, help=argparse.SUPPRESS)  # first release
        run.add_argument("--out", type=_folder, required=True, help=out)
    run.add_argument(
        "--grid",
        action="append",
        required=True,
        metavar="FIELD=VALUE,VALUE",
        help="values for one of the options above; several grids give their product",
    )
    run.add_argument("--processes", type=int, help="workers here; one per core unless given")
    run.add_argument(
        "--scheduler",
        metavar="tcp://HOST:PORT",
        help="a Dask cluster to run on instead; its workers must see the same folder --out",
    )
    checked = actions.add_parser("verify", help="see that a finished run is as it was left")
    checked.add_argument("folder", type=_folder, help="what --out named")
    checked.add_argument(
        "--replay", action="store_true", help="train up to a random level again, bit for bit"
    )
    download = actions.add_parser("download", help="fetch a data set through torchvision")
    fetched = [name for name, record in SOURCES.items() if record.fetch]
    download.add_argument("data", help=", ".join(fetched))
    judge = actions.add_parser("referee", help="say what the rows of many runs are evidence for")
    judge.add_argument("places", nargs="+", help="folders of runs, or names of the book's tables")
    judge.add_argument("--margin", type=float, metavar="POINTS", help="of accuracy that matter")
    judge.add_argument("--family", help="the only way to prune that is reported")
    return parser


def _add_option(
    parser: argparse.ArgumentParser, name: str, hint: Any, default: Any, metadata: Any
) -> None:
    flag, text = "--" + name.replace("_", "-"), metadata["help"].replace("%", "%%")
    if hint is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=default, help=text)
        return
    kind = next(k for k in getattr(hint, "__args__", (hint,)) if k is not type(None))
    parser.add_argument(
        flag,
        type=kind,
        default=default,
        metavar=None if "choices" in metadata else kind.__name__.upper(),
        help=text,
        choices=metadata.get("choices"),
    )


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
