"""The options of the command line, one for each field of `Config`, and some more."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from ._moved import ANNEAL
from .config import Config
from .datasets import SOURCES
from .own import FUNCTIONS
from .terminal import one_line


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"infcop_lite: error: {one_line(message)}\n")


def _folder(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("the name of the folder is empty")
    return Path(text)


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line; a wrong word ends the process with code 2.

    >>> parser().parse_args(["verify", "runs/one"]).replay
    False
    """
    whole = _Parser(prog="python -m infcop_lite", description="Information Consistent Pruning.")
    actions = whole.add_subparsers(
        dest="action", required=True, metavar="run | sweep | verify | download | referee"
    )
    helps = {
        "run": ("prune a network and record every check", "folder for rows.csv and run.json"),
        "sweep": ("runs side by side, one per point of a grid", "folder for one folder per run"),
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
    run.add_argument(
        "--processes", type=int, help="processes on this machine; one per core unless given"
    )
    run.add_argument(
        "--scheduler",
        metavar="tcp://HOST:PORT",
        help="a Dask cluster to run on instead; its workers must see the same folder --out",
    )
    checked = actions.add_parser(
        "verify", help="check that the files of a finished run are unchanged"
    )
    checked.add_argument("folder", type=_folder, help="folder of the run, as given to --out")
    checked.add_argument(
        "--replay",
        action="store_true",
        help="also train again up to a random level, and compare bit for bit",
    )
    download = actions.add_parser("download", help="fetch a data set through torchvision")
    fetched = [name for name, record in SOURCES.items() if record.fetch]
    download.add_argument("data", help=f"data set: {', '.join(fetched)}")
    judge = actions.add_parser("referee", help="say what the rows of many runs are evidence for")
    judge.add_argument("places", nargs="+", help="folders of runs, or names of the book's tables")
    judge.add_argument(
        "--margin", type=float, metavar="POINTS", help="points of accuracy that matter"
    )
    judge.add_argument("--family", help="report this family of runs only")
    return whole


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
