"""A number that was never given, which is not the NaN that somebody has measured."""

from typing import Any


class Never(float):
    """The NaN of a number that was never given, whose name an error tells on comparison.

    >>> Never("f1") < 0.5
    Traceback (most recent call last):
    ValueError: the stop rule reads f1, which this check was not given
    """

    name: str

    def __new__(cls, name: str) -> "Never":
        number = super().__new__(cls, "nan")
        number.name = name
        return number

    def __reduce__(self) -> tuple[Any, ...]:
        return Never, (self.name,)

    def _refuse(self, other: object) -> bool:
        raise ValueError(f"the stop rule reads {self.name}, which this check was not given")

    __lt__ = __le__ = __gt__ = __ge__ = _refuse
