"""Prune networks with stop rules that read how information flows, in code small enough to read.

Source: Gharatappeh & Yasaei Sekeh 2025, arXiv:2501.15592.

>>> import infcop_lite
>>> rows = list(infcop_lite.run(infcop_lite.Config(levels=1, epochs=1, warmup_epochs=1)))
"""

import sys
from typing import Any

from . import _interrupted as _interrupted  # before what takes seconds to import
from . import _moved
from .collecting import collect as read_runs
from .compacting import compact
from .config import Config
from .flows import flow_distance, gradient_flow, information_flow
from .level import Start, Trainer
from .loop import compare, run, run_imp
from .masks import density, full_masks, keep_best, magnitude_masks
from .planning import plan
from .pruner import Pruner
from .pruning import prune
from .stopping import (
    AnyOf,
    BreakEven,
    Check,
    FixedEpochs,
    FlowConsistency,
    MaskStability,
    Patience,
    PriceOfTime,
    ReachAccuracy,
    ReachLoss,
    Schedule,
    SmallGradient,
)
from .sweep import run_many

__version__ = "0.1.0"
#: The front door; none of these names is a module's.
__all__ = [
    "AnyOf",
    "BreakEven",
    "Check",
    "Config",
    "FixedEpochs",
    "FlowConsistency",
    "MaskStability",
    "Patience",
    "PriceOfTime",
    "Pruner",
    "ReachAccuracy",
    "ReachLoss",
    "Schedule",
    "SmallGradient",
    "Start",
    "Trainer",
    "compact",
    "compare",
    "density",
    "flow_distance",
    "full_masks",
    "gradient_flow",
    "information_flow",
    "keep_best",
    "magnitude_masks",
    "plan",
    "prune",
    "read_runs",
    "run",
    "run_imp",
    "run_many",
]

_moved.register()


def __getattr__(name: str) -> Any:
    if name in _moved.MODULES:  # ``from infcop_lite import imp``
        return sys.modules[f"infcop_lite.{name}"]
    raise AttributeError(f"module 'infcop_lite' has no attribute {name!r}")
