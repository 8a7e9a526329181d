"""The type, range and help text of one option, and the error when a value does not fit."""

import math
from collections.abc import Mapping
from dataclasses import field
from numbers import Real
from typing import Any

#: What values of a type are called in a message; one object is shown where it is this short.
WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a finite number",
    str: "a name",
    bool: "True or False",
    type(None): "None",
}
LONGEST = 60


def option(default: Any, help: str, **limits: Any) -> Any:
    """Declare a field of a dataclass with its help and its limits.

    Args:
        default: of the field.
        help: for the command line.
        limits: ``above``, ``least``, ``below`` of a number; ``choices`` of a name, and ``instead``,
            how other names begin -> what to do instead.
    """
    return field(default=default, metadata={"help": help, **limits})


def check(name: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> None:
    """See that a value is of its type and within its limits.

    Args:
        name: of the option, for the message.
        value: of the option.
        hint: its type annotation.
        limits: as for `option`.

    Raises:
        ValueError: it is not; the message is one line.

    >>> check("levels", -1, int, {"least": 0})
    Traceback (most recent call last):
    ValueError: levels must be at least 0, not -1
    >>> check("levels", 1.5, int, {"least": 0})
    Traceback (most recent call last):
    ValueError: levels must be a whole number, not 1.5
    """
    kinds = getattr(hint, "__args__", (hint,))
    allowed = (*kinds, int) if float in kinds else kinds
    if type(value) is int and abs(value) >= 2**63:
        raise ValueError(f"{name} must fit in 64 bits")
    if type(value) not in allowed or (isinstance(value, float) and not math.isfinite(value)):
        wanted = " or ".join(WORDS[kind] for kind in kinds if kind in WORDS)
        raise ValueError(f"{name} must be {wanted}, not {shown(value)}")
    if value is None:
        return
    if "choices" in limits and value not in limits["choices"]:
        hints = limits.get("instead", {}).items()
        hint = next((hint for start, hint in hints if value.startswith(start)), None)
        hint = hint or f"choose from {', '.join(limits['choices'])}"
        raise ValueError(f"unknown {name} {value!r}; {hint}")
    if "above" in limits and not value > limits["above"]:
        raise ValueError(f"{name} must be greater than {limits['above']}, not {value}")
    if "least" in limits and not value >= limits["least"]:
        raise ValueError(f"{name} must be at least {limits['least']}, not {value}")
    if "below" in limits and not value < limits["below"]:
        raise ValueError(f"{name} must be less than {limits['below']}, not {value}")


def expect(name: str, value: Any, kinds: Any, words: str) -> None:
    """See that an argument is of a kind, before something deep inside stumbles over it.

    Args:
        name: of the argument, for the message.
        value: of it.
        kinds: a class or several, as for ``isinstance``.
        words: what the message calls them.

    Raises:
        ValueError: it is not; the message is one line.

    >>> expect("configs", "mlp", dict, "name -> config")
    Traceback (most recent call last):
    ValueError: configs must be name -> config, not 'mlp'
    """
    if not isinstance(value, kinds):
        raise ValueError(f"{name} must be {words}, not {shown(value)}")


def number(name: str, value: Any) -> None:
    """See that an argument is one real number; NaN and infinity are numbers here.

    Raises:
        ValueError: it is not.

    >>> number("epoch", "1")
    Traceback (most recent call last):
    ValueError: epoch must be a number, not '1'
    """
    if not is_number(value):
        raise ValueError(f"{name} must be a number, not {shown(value)}")


def switch(name: str, value: Any) -> None:
    """See that an argument is True or False, of Python or numpy.

    Raises:
        ValueError: it is not.

    >>> switch("progress", None)
    Traceback (most recent call last):
    ValueError: progress must be True or False, not None
    """
    is_one = isinstance(value, int) and value in (0, 1)
    if not is_one and type(value).__name__ not in ("bool", "bool_"):  # the latter two of numpy
        raise ValueError(f"{name} must be True or False, not {shown(value)}")


def callback(name: str, value: Any) -> None:
    """See that an argument can be called, if it is given.

    Raises:
        ValueError: it is something else, or a class.

    >>> callback("report", "yes")
    Traceback (most recent call last):
    ValueError: report must be a function, not 'yes'
    """
    if value is not None and (not callable(value) or isinstance(value, type)):
        raise ValueError(f"{name} must be a function, not {shown(value)}")


def shown(value: Any) -> str:
    """Return a value as a message names it, short and in one line.

    >>> shown("0.5"), shown([0] * 99)
    ("'0.5'", 'an object of list')
    """
    text = " ".join(repr(value).split()) if not _is_huge(value) else ""
    return text if 0 < len(text) <= LONGEST else f"an object of {type(value).__name__}"


def is_number(value: Any) -> bool:
    """Say whether a value is a real number; numpy's are, text and booleans are not.

    >>> is_number(0.5), is_number("0.5"), is_number(True)
    (True, False, False)
    """
    return type(value) is not bool and isinstance(value, Real) and not _is_huge(value)


def _is_huge(value: Any) -> bool:
    return isinstance(value, int) and abs(value) >= 2**63


def patterns(dense: Any) -> tuple[str, ...]:
    """Return the layers that stay dense as a tuple of patterns.

    Raises:
        ValueError: something else than a text, or a list or tuple of texts.

    >>> patterns("fc1, conv*")
    ('fc1', 'conv*')
    """
    words = dense.split(",") if isinstance(dense, str) else dense
    if not isinstance(words, list | tuple) or not all(isinstance(w, str) for w in words):
        raise ValueError(f"dense must be names of layers, not {shown(dense)}")
    return tuple(word.strip() for word in words if word.strip())
