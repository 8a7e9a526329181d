# mypy: disable-error-code="no-untyped-def,var-annotated"
# Given: what the tests say, and your points so far. Leave this cell as it is.
import functools
import inspect

earned = {}


def plain(value):
    """Return a number where a tensor or an array holds a single one."""
    if type(value) in (list, tuple):
        return type(value)(plain(part) for part in value)
    return value.item() if getattr(value, "shape", None) == () else value


def even(test):
    """Let a test take a tensor that holds a number for that number: `.item()` may be forgotten."""

    def plainly(function):
        return lambda *args, **named: plain(function(*args, **named))

    return functools.wraps(test)(
        lambda **functions: test(**{n: plainly(f) for n, f in functions.items()})
    )


def check(test, points):
    """Say whether a test passes, and why not."""
    names = inspect.signature(test).parameters
    sentence = test.__name__.removeprefix("test_").replace("_", " ")
    try:
        for name in names:
            assert name in globals(), f"{name} is not defined: does its cell run on its own?"
        even(test)(**{name: globals()[name] for name in names})
    except Exception as error:
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        said = f"not yet: {sentence}\n    {kind}{error}"
    else:
        said = f"passed: {sentence}"
    earned[test.__name__] = (points if said.startswith("passed") else 0, points)
    print(said)
