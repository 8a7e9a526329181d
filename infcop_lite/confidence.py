"""By how many standard errors a reading must lie below a tolerance, to be sure of it (T7.16)."""

from statistics import NormalDist

from .limits import shown


def check_confidence(confidence: float | None, looks: int, flow: str = "information") -> None:
    """Refuse a confidence that is none, or that a rule cannot have.

    Args:
        confidence: None, or in (0.5, 1); at a half a reading would be taken as it is.
        looks: whole number, >= 1.
        flow: of the rule.

    Raises:
        ValueError: what is refused, in one line.

    >>> check_confidence(0.95, 4)
    """
    if type(looks) is not int or not 1 <= looks <= 10**9:
        raise ValueError(f"looks must be a whole number of at least 1, not {shown(looks)}")
    if confidence is None:
        if looks != 1:
            raise ValueError("looks share what confidence leaves: give a confidence, too")
        return
    if type(confidence) is not float or not 0.5 < confidence < 1:
        raise ValueError(f"confidence must be a probability in (0.5, 1), not {shown(confidence)}")
    if flow != "information":
        raise ValueError(f"confidence is for the information flow, not for the {flow} flow")


def quantile(confidence: float, looks: int = 1) -> float:
    """Return by how many standard errors a reading must be below the tolerance.

    Source: T7.16. The normal quantile of ``1 - (1 - confidence) / looks``, by Bonferroni.

    Args:
        confidence: in (0.5, 1).
        looks: that share what it leaves, >= 1.

    >>> round(quantile(0.95), 3), round(quantile(0.95, looks=4), 3)
    (1.645, 2.241)
    """
    return -NormalDist().inv_cdf((1 - confidence) / looks)
