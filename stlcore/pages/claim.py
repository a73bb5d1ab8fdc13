"""One claim: what a page asserts, what was measured, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

__all__ = [
    "MARKS",
    "OPEN",
    "REFUTED",
    "REPRODUCED",
    "Check",
    "Claim",
    "Mark",
    "Relation",
]

Relation = Literal["==", "<=", ">="]
RELATIONS = get_args(Relation)
Mark = Literal["paper", "reconstructed", "derived", "choice", "observed"]
MARKS = get_args(Mark)
REPRODUCED, REFUTED, OPEN = "reproduced", "not reproduced", "not testable here"


@dataclass(frozen=True)
class Claim:
    """One row of the claims table.

    Attributes
    ----------
    id, page : str
        ``"C-02.1"`` and ``"C-02"``.
    mark : str
        Whose statement it is. ``paper``: the words at hand say it, or another public source
        shows the formula; ``reconstructed``: the words stand, the formula is ours; ``derived``:
        proved here; ``choice``: a constant or a reading of ours; ``observed``: what a run shows
        and nobody proved.
    key : str or None
        The entry of ``book/sources.yml`` that a statement of the paper refers to.
    source : str
        Where the statement stands, for people.
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
    control_of : str or None
        The id of the claim whose check this row puts to something wrong: a negative control,
        which must not be reproduced.
    power : str or None
        The smallest mutation of the statement, of those tried, that the check rejects.
    surprising : bool
        Whether the verdict differs from the one the page expects, or nothing was measured.
    decisive : bool
        Whether the page as it stands in the book should settle it; a page says False where
        its quick sizes may be too small to tell.
    kind : str
        What the numbers are: ``"check"``, both sides of a comparison; ``"test"``, a p-value
        and its level; ``"effect"``, a standardised effect and its critical value.
    """

    id: str
    page: str
    mark: str
    key: str | None
    source: str
    sentence: str
    measured: float | None
    relation: str
    expected: float | None
    tolerance: float
    false_alarm: float
    verdict: str
    control_of: str | None = None
    power: str | None = None
    surprising: bool = False
    decisive: bool = True
    kind: str = "check"

    def _ipython_display_(self) -> None:
        """Show nothing where a cell ends with a claim: the page's table shows all of them."""


@dataclass(frozen=True)
class Check:
    """How a claim compares, so that the same can be done to a mutation of its statement.

    Attributes
    ----------
    measured, expected : ndarray
        The two sides; of a statistical test the p-value and the level.
    relation, tolerance
        As in :class:`Claim`.
    p_value : callable, optional
        Of a statistical test: takes a statement to its p-value.
    statement : Any
        What was given to ``p_value``.
    """

    measured: np.ndarray
    relation: Relation
    expected: np.ndarray
    tolerance: float = 0.0
    p_value: Callable[[Any], Any] | None = None
    statement: Any = None

    def __post_init__(self) -> None:
        if self.relation not in RELATIONS:
            raise ValueError(f"the relation must be '==', '<=' or '>=', not {self.relation!r}")
        for side in ("measured", "expected"):
            object.__setattr__(self, side, np.asarray(getattr(self, side), dtype=float))
        if self.measured.size == 0:
            raise ValueError("a claim needs at least one measured number")

    @property
    def excess(self) -> np.ndarray:
        """By how much each entry misses; NaN where there is no number."""
        with np.errstate(invalid="ignore"):  # infinity minus infinity, settled in the same line
            gap = np.where(self.measured == self.expected, 0.0, self.measured - self.expected)
        return {"==": np.abs(gap), "<=": gap, ">=": -gap}[self.relation]

    @property
    def holds(self) -> bool:
        """Whether every entry fits; what is not a number does not."""
        return bool(np.all(self.excess <= self.tolerance))

    def entry(self, *, worst: bool) -> tuple[float, float]:
        """Both sides of the entry that misses most, or least; one without a number goes first."""
        excess = self.excess if worst else -self.excess
        place = np.argmax(np.where(np.isnan(excess), np.inf, excess))
        sides = np.broadcast_arrays(self.measured, self.expected)
        return tuple(float(side.flat[place]) for side in sides)

    def where(self, part: np.ndarray) -> Check:
        """The same check on some of the entries."""
        measured, expected = np.broadcast_arrays(self.measured, self.expected)
        return replace(self, measured=measured[part], expected=expected[part])
