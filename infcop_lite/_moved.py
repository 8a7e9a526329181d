"""Where the names of the first release are now; each still works for one more release, and says so.

`infcop_lite.run` and `infcop_lite.compare` are functions now; the modules of these names, and three
others, are gone. Their names are looked up here.
"""

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

#: Module of the first release -> its names -> where they are now.
MODULES = {
    "imp": {
        "Config": "config.Config",
        "Pruned": "pruning.Pruned",
        "Row": "rows.Row",
        "next_masks": "amounts.next_masks",
        "prune": "pruning.prune",
        "run_imp": "loop.run",
    },
    "compare": {
        "MAY_DIFFER": "loop.MAY_DIFFER",
        "Result": "tree.Result",
        "Stop": "rows.Row",
        "compare": "loop.compare",
    },
    "pruned": {"Pruned": "pruning.Pruned"},
    "run": {"next_masks": "amounts.next_masks"},
}
#: Names that left a module which is still there.
NAMES = {
    "config": {"READS": "stopping.READS", "grid": "sweep.grid"},
    "compacting": {"cost": "cost.cost"},
    "masks": {name: f"amounts.{name}" for name in ("pq_index", "sap_fraction", "sap_fractions")},
    "resuming": {"fingerprint": "identity.fingerprint"},
    "sweep": {name: f"pool.{name}" for name in ("DIED", "die_with_parent")},
    "theory.consistency": {
        name: f"theory.convolutions.{name}"
        for name in ("conv_norm_bound", "kernel_gap", "kernel_matrix", "patches", "pool_lipschitz")
    },
    "train": {
        name: f"compute.{name}" for name in ("accelerator", "choose_device", "lay_out", "threads")
    },
}
#: What `anneal`, of the first release, stands for: the schedules of the levels and of the last.
ANNEAL = {
    "never": {"level_schedule": "constant", "last_schedule": "constant"},
    "last": {"level_schedule": "constant", "last_schedule": "linear"},
    "always": {"level_schedule": "linear", "last_schedule": "linear"},
}
_A_VALUE = "what a level begins with is a value now"
#: What has no successor that takes the same arguments.
GONE = {
    "imp.Run": f"{_A_VALUE}; see infcop_lite.level: Start and Trainer",
    "run.Run": f"{_A_VALUE}; see infcop_lite.level: Start and Trainer",
    "imp.State": f"{_A_VALUE}: tree.State(level.Start(level, masks, weights))",
}


def lookup(old: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module whose names have moved.

    Args:
        old: the module's name in the package.
        names: of the module -> where each is now.
    """

    def find(name: str) -> Any:
        if (gone := GONE.get(f"{old}.{name}")) is not None:
            raise ImportError(f"infcop_lite.{old}.{name} is gone: {gone}")
        if name not in names:
            raise AttributeError(f"module 'infcop_lite.{old}' has no attribute {name!r}")
        module, _, new = names[name].rpartition(".")
        message = f"infcop_lite.{old}.{name} is now infcop_lite.{module}.{new}"
        warnings.warn(
            f"{message}; the old name goes with the next release", DeprecationWarning, stacklevel=2
        )
        return getattr(import_module(f"infcop_lite.{module}"), new)

    return find


def register() -> None:
    """Let the modules that are gone be imported as before."""
    for old, names in MODULES.items():
        module = ModuleType(f"infcop_lite.{old}", "Names of the first release, which have moved.")
        module.__getattr__ = lookup(old, names)  # type: ignore[method-assign]
        sys.modules.setdefault(module.__name__, module)


def from_anneal(anneal: str) -> dict[str, str]:
    """Return the schedules that `anneal`, of the first release, stands for, and say so."""
    if not isinstance(anneal, str) or anneal not in ANNEAL:
        given = " ".join(repr(anneal).split())
        raise ValueError(f"unknown anneal {given}; choose from {', '.join(ANNEAL)}")
    instead = ", ".join(f"{name}={value!r}" for name, value in ANNEAL[anneal].items())
    message = f"anneal={anneal!r} is now {instead}; the old name goes with the next release"
    warnings.warn(message, DeprecationWarning, stacklevel=4)
    return ANNEAL[anneal]
