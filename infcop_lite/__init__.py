"""infcop_lite: Information Consistent Pruning, small enough to read.

Source: Gharatappeh & Yasaei Sekeh 2025, arXiv:2501.15592.
"""

from .compacting import compact
from .imp import Config, prune, run_imp

__version__ = "0.1.0"
__all__ = ["Config", "compact", "prune", "run_imp"]
