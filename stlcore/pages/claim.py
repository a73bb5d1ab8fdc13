"""One claim: what a page asserts, what was measured, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["OPEN", "REFUTED", "REPRODUCED", "Claim", "Mark", "Relation", "holds", "worst"]

Relation = Literal["==", "<=", ">="]
Mark = Literal["paper", "derived", "choice", "reconstructed"]
REPRODUCED, REFUTED, OPEN = "reproduced", "not reproduced", "not testable here"


@dataclass(frozen=True)
class Claim:
    """One row of the claims table.

    Attributes
    ----------
    id, page : str
        ``"C-02.1"`` and ``"C-02"``.
    source : str
        Where the statement stands, for example ``"Paper C, Theorem 3.1"``.
    mark : str
        Whose statement it is: paper, derived, choice or reconstructed.
    sentence : str
        The claim in words.
    measured, expected, tolerance : float or None
        The check is ``measured relation expected``, give or take the tolerance.
    relation : str
        ``"=="``, ``"<="`` or ``">="``.
    false_alarm : float
        Probability that chance alone refutes a true claim; 0 for a sure one.
    verdict : str
        ``"reproduced"``, ``"not reproduced"`` or ``"not testable here"``.
    control : bool
        Whether this row is a negative control, which must not be reproduced.
    surprising : bool
        Whether the verdict differs from the one the page expects, or nothing was measured.
    decisive : bool
        Whether the page as it stands in the book should settle it; a page says False where
        its quick sizes may be too small to tell.
    """

    id: str
    page: str
    source: str
    mark: str
    sentence: str
    measured: float | None
    relation: str
    expected: float | None
    tolerance: float
    false_alarm: float
    verdict: str
    control: bool
    surprising: bool
    decisive: bool = True


def holds(measured: float, relation: Relation, expected: float, tolerance: float) -> bool:
    """The comparison; anything that is not a number refutes it."""
    if relation == "==":
        return abs(measured - expected) <= tolerance
    if relation == "<=":
        return measured <= expected + tolerance
    if relation == ">=":
        return measured >= expected - tolerance
    raise ValueError(f"the relation must be '==', '<=' or '>=', not {relation!r}")


def worst(measured, relation: Relation, expected) -> tuple[float, float]:
    """The pair of entries that comes closest to refuting the claim, or does so most."""
    measured, expected = np.broadcast_arrays(
        np.asarray(measured, dtype=float), np.asarray(expected, dtype=float)
    )
    if measured.size == 0:
        raise ValueError("a claim needs at least one measured number")
    gap = measured - expected
    badness = {"==": np.abs(gap), "<=": gap, ">=": -gap}.get(relation, gap)
    place = np.argmax(np.where(np.isnan(badness), np.inf, badness))
    return float(measured.flat[place]), float(expected.flat[place])
