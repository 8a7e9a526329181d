"""Functions of your own as settings, the settings they replace, and the check for wrong names."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Settings that take only a function.
FUNCTIONS = ("loss", "evaluate", "scheduler")
#: Settings that take a name or something of one's own -> what that is.
OBJECTS = {
    "stop": "a rule",
    "score": "a function",
    "rewind": "a function",
    "augment": "a function",
    "optimizer": "a function, as lambda model: torch.optim.AdamW(model.parameters())",
    "loss": "a function (output, targets) -> mean, as torch.nn.functional.mse_loss",
    "evaluate": "a function (model) -> {name: number}",
    "scheduler": "a function (optimizer, num_steps) -> torch LRScheduler",
}
#: A function of one's own -> settings that it leaves nothing to.
VOID = {
    "loss": ("label_smoothing",),
    "optimizer": ("lr", "level_lr", "momentum", "weight_decay"),
    "scheduler": ("schedule", "level_schedule", "last_schedule"),
}
#: What people try that is no setting here -> where to turn.
INSTEAD = {
    "metric": "give evaluate=, a function (model) -> {name: number}",
    "metrics": "give evaluate=, a function (model) -> {name: number}",
    "exclude": "layers that are not pruned are named by dense=",
    "ignored_layers": "layers that are not pruned are named by dense=",
    "amp": "mixed precision is autocast='bfloat16'",
    "clip_grad_norm": "clip gradients in a loop of your own, with Pruner",
    "accumulate_grad_batches": "accumulate gradients in a loop of your own, with Pruner",
    "callbacks": "train in a loop of your own, with Pruner",
    "sparsity": "give final_density=, which is 1 - sparsity",
    "target_sparsity": "give final_density=, which is 1 - sparsity",
    "criterion": "give loss=, a function (output, targets) -> mean",
    "learning_rate": "the learning rate is lr=",
}


def check_function(name: str, value: Any, names: Sequence[str] = ()) -> bool:
    """Say whether a setting is a function of your own, after checking that it can be called.

    Args:
        name: the name of the setting, one of `OBJECTS`.
        value: its value.
        names: the names that the setting takes instead of a function.

    Raises:
        ValueError: a class, whose call would make an object, or a value that is neither a function
            nor one of the names.

    >>> check_function("loss", max), check_function("score", "taylor", ["taylor"])
    (True, False)
    """
    if isinstance(value, type):
        raise ValueError(f"{name} must be {_wanted(name)}, not the class {value.__name__}")
    if callable(value):
        return True
    if not isinstance(value, str if name not in FUNCTIONS else type(None)):
        raise ValueError(f"{name} must be {_wanted(name)}, not this {type(value).__name__}")
    if value is not None and value not in names:
        choice = f"choose from {', '.join(names)}, or give {OBJECTS[name]}"
        raise ValueError(f"unknown {name} {value!r}; {choice}")
    return False


def _wanted(name: str) -> str:
    return OBJECTS[name] if name in FUNCTIONS else f"a name or {OBJECTS[name]}"


def check_void(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Check that no setting is given that a function of your own replaces.

    Args:
        settings: name -> value.
        defaults: name -> value that counts as not given.

    Raises:
        ValueError: a setting that would not be read, such as ``lr`` beside your own optimiser.

    >>> check_void({"loss": max, "label_smoothing": 0.1}, {"label_smoothing": 0.0})
    Traceback (most recent call last):
    ValueError: label_smoothing is not read where loss is your own function: do it there
    """
    for own, names in VOID.items():
        for name in names if callable(settings.get(own)) else ():
            if settings[name] != defaults[name]:
                raise ValueError(
                    f"{name} is not read where {own} is your own function: do it there"
                )


def refuse_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    """Check that all given settings exist, and suggest the nearest name if one does not.

    Args:
        given: names of the settings that the caller gives.
        known: names of all settings.

    Raises:
        TypeError: a name that is no setting, in one line.

    >>> refuse_unknown(["optimiser"], ["optimizer", "lr"])
    Traceback (most recent call last):
    TypeError: no setting 'optimiser': did you mean 'optimizer'?
    """
    known = list(known)
    for name in given:
        if name in known:
            continue
        if name in INSTEAD:
            raise TypeError(f"no setting {name!r}: {INSTEAD[name]}")
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else "see Config for those there are"
        raise TypeError(f"no setting {name!r}: {hint}")
