"""What is looking worth? In epochs per level, from recorded runs of full retraining.

.venv/bin/python experiments/looking.py                   every table that has two seeds of it
.venv/bin/python experiments/looking.py mlp airnet        some of them, by name
.venv/bin/python experiments/looking.py --of loss runs/x  a folder of runs, by the training loss

`timetable`: what the best stops of the other seeds gain over one number of epochs. `looking`: what
perfect foresight gains over that timetable, so that no rule gains more. A smaller gain than the
number after the ± cannot be told from none. `look`: what one look at a probe costs; `looks`: what
the looks of a level of `--pace` epochs do. Where levels go on from the weights they have, the
training loss (`--of loss`) or the accuracy is what a stop loses; where they are rewound, the mask.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from infcop_lite import evidence, labels, looking, records
from infcop_lite.theory.schedules import probe_cost


def read(source: str) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """Return the rows of a table or of a folder of runs, and the config of one of them."""
    if Path(source).is_dir():
        rows = evidence.collect(source)
        path = sorted(Path(source).glob(f"*/{records.RUN}"))[0]
        return rows, json.loads(path.read_text("utf-8"))["config"]
    made = evidence.provenance(source)
    return evidence.read(source), next((made[name]["config"] for name in sorted(made)), {})


def price_of_a_look(config: Mapping[str, Any], probe: int | None, images: int | None) -> float:
    """Return what one forward pass over the probe costs, in epochs; NaN if sizes are not known."""
    probe = probe or config.get("probe_size")
    if images is None and config.get("subset"):
        images = config["subset"] - config["subset"] // 10  # a tenth is held out for validation
    return probe_cost(probe, images) if probe and images else math.nan


def table(
    source: str, of: str, pace: float = 1.0, probe: int | None = None, images: int | None = None
) -> pd.DataFrame:
    """Return `looking.worth` of one table or folder, with the price of the looks beside it."""
    rows, config = read(source)
    found = looking.worth(rows, of, pace)
    look = price_of_a_look(config, probe, images)
    times = rows.loc[labels.is_full(rows), "epoch"].unique()
    num_looks = ((times > 0) & (times <= pace)).sum()
    return found.assign(look=look, looks=look * num_looks)


def lines(found: pd.DataFrame) -> Iterator[str]:
    """Say each line in words."""
    for row in found.itertuples():
        yield (
            f"{row.family}, {row.seeds} seeds, {row.levels} levels, {row.of}, {row.method}: "
            f"timetable {row.timetable:+.3f} ± {row.timetable_half_width:.3f}, "
            f"looking at most {row.looking:.3f} ± {row.looking_half_width:.3f}; "
            f"one look {row.look:.3f}, {row.looks:.3f} a level"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what looking is worth; return 2 after one line on bad input."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="*", help="tables or folders of runs; all tables if none")
    parser.add_argument("--of", choices=looking.LOSSES, default="mask", help="what a stop loses")
    parser.add_argument("--pace", type=float, default=1.0, help="epochs per level that are spent")
    parser.add_argument("--probe", type=int, help="images of a look, if other than recorded")
    parser.add_argument("--images", type=int, help="training images, if other than recorded")
    asked = parser.parse_args(arguments)
    try:
        for source in asked.sources or evidence.tables():
            try:
                found = table(source, asked.of, asked.pace, asked.probe, asked.images)
            except looking.NothingToSee:
                if asked.sources:
                    raise
                continue
            print(source, *lines(found), sep="\n  ")
    except (ValueError, OSError) as error:
        print(f"looking.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
