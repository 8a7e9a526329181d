"""Callbacks for other people's trainers, over `infcop_lite.Pruner`.

Each is imported only when it is asked for, as is the library that it belongs to.
"""

from importlib import import_module
from typing import Any

#: Callback -> the module that has it, named after the library it belongs to.
CALLBACKS = {"LightningPruner": "lightning", "TrainerPruner": "transformers"}


def __getattr__(name: str) -> Any:
    if name not in CALLBACKS:
        raise AttributeError(f"module 'infcop_lite.integrations' has no attribute {name!r}")
    return getattr(import_module(f".{CALLBACKS[name]}", __name__), name)
