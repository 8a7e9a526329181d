"""infcop_lite: Information Consistent Pruning, small enough to read.

Source: Gharatappeh & Yasaei Sekeh 2025, arXiv:2501.15592.
"""

import sys
from typing import Any

from . import _moved
from .compacting import compact
from .config import Config
from .loop import compare, run, run_imp
from .pruning import prune

__version__ = "0.1.0"
__all__ = ["Config", "compact", "compare", "prune", "run", "run_imp"]

_moved.register()


def __getattr__(name: str) -> Any:
    if name in _moved.MODULES:  # ``from infcop_lite import imp``
        return sys.modules[f"infcop_lite.{name}"]
    raise AttributeError(f"module 'infcop_lite' has no attribute {name!r}")
