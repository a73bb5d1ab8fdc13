"""Claims: what a page asserts, what would refute it, and what came out.

A page collects its claims in a :class:`Claims`. Each compares a measured number
with an expected one. A *negative control* runs the same comparison on something
deliberately wrong and must be refuted; without one, a check that can never fail
would go unnoticed. :meth:`Claims.close` raises when a verdict differs from the
one the page expects.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
from scipy.stats import norm

from stlcore.pages.claim import OPEN, REFUTED, REPRODUCED, Claim, Mark, Relation, holds, worst
from stlcore.pages.claims_table import table

__all__ = ["Claim", "ClaimError", "Claims"]


class ClaimError(AssertionError):
    """A claim came out otherwise than its page expects."""


class Claims:
    """The claims of one page.

    Parameters
    ----------
    page : str
        The page's id, for example ``"C-02"``.
    """

    def __init__(self, page: str) -> None:
        self.page = page
        self.rows: list[Claim] = []

    def check(
        self,
        sentence: str,
        measured,
        relation: Relation,
        expected,
        *,
        source: str,
        mark: Mark = "paper",
        tolerance: float = 0.0,
        false_alarm: float = 0.0,
        expect: str = REPRODUCED,
    ) -> Claim:
        """Compare and record.

        Parameters
        ----------
        sentence : str
            The claim in words.
        measured, expected : float or array_like
            For arrays the entry that fits worst counts and is recorded.
        relation : {"==", "<=", ">="}
            How they should compare.
        source : str
            Where the statement stands.
        mark : {"paper", "derived", "choice", "reconstructed"}
            Whose statement it is.
        tolerance : float
            Slack of the comparison, of numerical origin or stated in the sentence.
        false_alarm : float
            Probability that chance refutes the claim although it is true.
        expect : str
            The verdict the page expects; "not reproduced" for a statement that
            the page shows to fail.

        Raises
        ------
        ValueError
            If nothing was measured, or a probability is outside [0, 1).
        """
        if not 0 <= false_alarm < 1:
            raise ValueError(f"a false-alarm rate must lie in [0, 1), not {false_alarm!r}")
        measured, expected = worst(measured, relation, expected)
        verdict = REPRODUCED if holds(measured, relation, expected, tolerance) else REFUTED
        claim = Claim(
            self._next_id(),
            self.page,
            source,
            mark,
            sentence,
            measured,
            relation,
            expected,
            float(tolerance),
            float(false_alarm),
            verdict,
            False,
            # A check that yields no number has failed, even where a refutation is expected.
            verdict != expect or math.isnan(measured) or math.isnan(expected),
        )
        self.rows.append(claim)
        return claim

    def test(
        self,
        sentence: str,
        p_value: float,
        *,
        level: float,
        source: str,
        mark: Mark = "paper",
        expect: str = REPRODUCED,
        false_alarm: float | None = None,
    ) -> Claim:
        """Record that a statistical test does not refute the sentence at ``level``.

        The false-alarm rate is the level itself, unless the test is known to keep
        its level only roughly; then ``false_alarm`` gives the rate it has.
        """
        return self.check(
            sentence,
            p_value,
            ">=",
            level,
            source=source,
            mark=mark,
            false_alarm=level if false_alarm is None else false_alarm,
            expect=expect,
        )

    def effect(
        self,
        sentence: str,
        z,
        *,
        level: float,
        source: str,
        mark: Mark = "paper",
        expect: str = REPRODUCED,
        decisive: bool = True,
    ) -> Claim:
        """Record an effect of the stated direction, tested two-sidedly.

        Parameters
        ----------
        sentence : str
            The claim in words.
        z : float or array_like
            Standardised effects, positive in the direction of the sentence; of
            several, all must hold, so the smallest counts.
        level : float
            Probability, for each of them, that chance alone reaches the critical
            value on one side. The false-alarm rate is the level times their number.
        source, mark, expect
            As in :meth:`check`.
        decisive : bool
            Whether the page's own sizes should settle it; False where they may not.

        Notes
        -----
        Beyond the critical value the verdict is "reproduced", beyond it on the
        other side "not reproduced". In between the sample is too small to tell:
        "not testable here", which does not fail a page that a reader runs at
        smaller sizes.
        """
        z = np.asarray(z, dtype=float)
        claim = self.check(
            sentence,
            z,
            ">=",
            float(norm.isf(level)),
            source=source,
            mark=mark,
            false_alarm=level * z.size,
            expect=expect,
        )
        if abs(claim.measured) < claim.expected:
            claim = replace(claim, verdict=OPEN, surprising=False)
        self.rows[-1] = claim = replace(claim, decisive=decisive)
        return claim

    def control(
        self, sentence: str, measured, relation: Relation, expected, *, tolerance: float = 0.0
    ) -> Claim:
        """Record a negative control: the same comparison on something wrong.

        It belongs to the claim before it, whose source and mark it takes, and
        the page fails unless the comparison is refuted. ValueError if there is no
        claim yet.
        """
        if not self.rows:
            raise ValueError("a negative control must follow the claim whose check it controls")
        last = self.rows[-1]
        claim = self.check(
            sentence,
            measured,
            relation,
            expected,
            source=last.source,
            mark=last.mark,
            tolerance=tolerance,
            expect=REFUTED,
        )
        self.rows[-1] = claim = replace(claim, control=True)
        return claim

    def not_testable(self, sentence: str, reason: str, *, source: str, mark: Mark = "paper"):
        """Record a statement that this page cannot test, and why."""
        self.rows.append(
            Claim(
                self._next_id(),
                self.page,
                source,
                mark,
                f"{sentence} ({reason})",
                None,
                "",
                None,
                0.0,
                0.0,
                OPEN,
                False,
                False,
            )
        )

    def close(self) -> None:
        """Raise :class:`ClaimError` if a verdict surprises or no control is there."""
        surprises = [row for row in self.rows if row.surprising]
        if surprises:
            raise ClaimError(
                "; ".join(
                    f"{row.id} came out '{row.verdict}': {row.sentence} "
                    f"[measured {row.measured:.6g}, expected {row.relation} {row.expected:.6g}]"
                    for row in surprises
                )
            )
        if not any(row.control for row in self.rows):
            raise ClaimError(f"{self.page} has no negative control")

    def to_records(self) -> list[dict]:
        """The rows as dictionaries for JSON, infinite and missing numbers as None."""
        return [
            {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in asdict(row).items()
            }
            for row in self.rows
        ]

    def _repr_html_(self) -> str:
        return table(self.to_records())

    def __repr__(self) -> str:
        return "\n".join(f"{row.id}  {row.verdict}: {row.sentence}" for row in self.rows)

    def _next_id(self) -> str:
        return f"{self.page}.{len(self.rows) + 1}"
